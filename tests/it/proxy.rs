//! Hosts behind other hosts: `ProxyJump` and `ProxyCommand`.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::{
    fake_sshd::{FakeSshd, FakeSshdSettings},
    keys,
    mcp_client::McpClient,
    ssh_config,
};

/// Servers that accept the same key, and an `ssh_config` in which each has an alias and the lines given for it.
struct Network {
    servers: Vec<FakeSshd>,
    folder: tempfile::TempDir,
    config: PathBuf,
}

impl Network {
    fn new(hosts: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = keys::ed25519();
        keys::write_private_key(&folder.path().join("key"), &key, None);

        let servers: Vec<FakeSshd> = hosts
            .iter()
            .map(|_| {
                let authorized_keys = vec![key.public_key().clone()];
                FakeSshd::start(FakeSshdSettings {
                    authorized_keys,
                    ..FakeSshdSettings::default()
                })
            })
            .collect();

        let mut network = Self {
            servers,
            config: folder.path().join("ssh_config_network"),
            folder,
        };

        network.configure(hosts, |known_hosts| known_hosts);

        network
    }

    fn configure(&mut self, hosts: &[(&str, &str)], edit: impl Fn(String) -> String) {
        let known_hosts = self.path("known_hosts");

        std::fs::write(
            &known_hosts,
            edit(
                self.servers
                    .iter()
                    .map(FakeSshd::known_hosts_line)
                    .collect(),
            ),
        )
        .unwrap();

        let blocks = hosts
            .iter()
            .zip(&self.servers)
            .map(|((alias, lines), server)| {
                let lines = format!("IdentityFile {}\n{lines}", self.path("key").display());
                ssh_config::host(alias, &lines, server.port(), "agent", &known_hosts)
            });

        self.config = ssh_config::write(self.folder.path(), "network", &blocks.collect::<String>());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn client(&self) -> McpClient {
        McpClient::start(&self.config, self.folder.path()).await
    }
}

#[tokio::test]
async fn a_chain_of_jump_hosts_leads_to_the_host_behind_them() {
    let hosts = [("target", "ProxyJump near,far"), ("near", ""), ("far", "")];
    let network = Network::new(&hosts);
    let mut client = network.client().await;
    client
        .call("ssh_connect", json!({"host": "target"}))
        .await
        .ok();

    let answer = client
        .call(
            "ssh_exec",
            json!({"command": "echo here > where; echo through"}),
        )
        .await
        .ok();

    assert_eq!(answer.stdout(), "through\n");
    assert_eq!(
        std::fs::read_to_string(network.servers[0].home().join("where")).unwrap(),
        "here\n"
    );

    assert_eq!(
        network
            .servers
            .iter()
            .map(FakeSshd::connections)
            .collect::<Vec<_>>(),
        [1, 1, 1]
    );

    assert!(
        network.servers[1].commands().is_empty(),
        "nothing is run on a jump host"
    );
}

#[tokio::test]
async fn a_jump_host_is_reached_through_its_own_jump_host() {
    let hosts = [
        ("target", "ProxyJump near"),
        ("near", "ProxyJump gate"),
        ("gate", ""),
    ];

    let network = Network::new(&hosts);
    let mut client = network.client().await;
    client
        .call("ssh_connect", json!({"host": "target"}))
        .await
        .ok();

    assert_eq!(
        network
            .servers
            .iter()
            .map(FakeSshd::connections)
            .collect::<Vec<_>>(),
        [1, 1, 1]
    );
}

#[tokio::test]
async fn each_hop_is_verified_and_a_refused_one_is_named() {
    let hosts = [("target", "ProxyJump near"), ("near", "")];
    let mut network = Network::new(&hosts);
    network.configure(&hosts, |known_hosts| {
        known_hosts.lines().next().unwrap().to_owned() + "\n"
    });

    let mut client = network.client().await;
    let answer = client.call("ssh_connect", json!({"host": "target"})).await;
    assert!(
        answer.is_error() && answer.text().contains("through the jump host near"),
        "{}",
        answer.text()
    );

    assert!(answer.text().contains("is not known"), "{}", answer.text());
    assert_eq!(network.servers[0].connections(), 0);
}

#[tokio::test]
async fn jump_hosts_in_a_circle_are_refused() {
    let hosts = [("target", "ProxyJump near"), ("near", "ProxyJump target")];
    let network = Network::new(&hosts);
    let answer = network
        .client()
        .await
        .call("ssh_connect", json!({"host": "target"}))
        .await;

    assert!(
        answer.is_error() && answer.text().contains("more than 8 hops"),
        "{}",
        answer.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_command_connects_and_its_complaint_is_passed_on() {
    let hosts = [
        ("target", "ProxyCommand ssh -F CONFIG -W %h:%p near"),
        ("near", ""),
        ("broken", "ProxyCommand echo no way >&2; exit 1"),
    ];

    let mut network = Network::new(&hosts);
    let command = hosts[0]
        .1
        .replace("CONFIG", &network.config.display().to_string());

    network.configure(&[("target", &command), hosts[1], hosts[2]], |known_hosts| {
        known_hosts
    });

    let mut client = network.client().await;
    client
        .call("ssh_connect", json!({"host": "target"}))
        .await
        .ok();

    assert_eq!(
        client
            .call("ssh_exec", json!({"command": "echo through"}))
            .await
            .ok()
            .stdout(),
        "through\n"
    );

    assert_eq!(network.servers[1].connections(), 1);
    let answer = client.call("ssh_connect", json!({"host": "broken"})).await;
    assert!(
        answer.is_error() && answer.text().contains("its ProxyCommand says: \"no way\""),
        "{}",
        answer.text()
    );

    client.close().await;
    assert!(
        !still_runs(&network.config),
        "the proxy command was left running"
    );
}

fn still_runs(config: &Path) -> bool {
    let pattern = format!("ssh -F {} -W", config.display());
    let found = std::process::Command::new("pgrep")
        .args(["-f", "--", &pattern])
        .output()
        .unwrap();
    !found.stdout.is_empty()
}
