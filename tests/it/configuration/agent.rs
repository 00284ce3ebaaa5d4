//! `ForwardAgent`, and channels that the server opens.

use std::{ffi::OsStr, path::Path, process::Command};

use serde_json::json;

use crate::support::{
    checks::eventually,
    fake_sshd::FakeSshdSettings,
    fixture::TestHost,
    keys,
    mcp_client::McpClient,
    open_sshd::{OpenSshd, OpenSshdSettings},
    program::Program,
    ssh_agent::SshAgent,
};

/// An agent that holds one key; returns it with the fingerprint of the key.
async fn agent(socket: &Path) -> (SshAgent, String) {
    let agent = SshAgent::start(socket).await;
    let key = socket.with_extension("key");
    keys::write_private_key(&key, &keys::ed25519(), None);

    let added = Command::new("ssh-add")
        .arg("-q")
        .arg(&key)
        .env("SSH_AUTH_SOCK", socket)
        .status()
        .unwrap();

    assert!(added.success());
    let public = russh::keys::load_public_key(key.with_extension("key.pub")).unwrap();

    (
        agent,
        public.fingerprint(russh::keys::HashAlg::Sha256).to_string(),
    )
}

const LIST: &str = "ssh-add -l 2>&1";

#[tokio::test(flavor = "multi_thread")]
async fn only_the_configured_agent_is_forwarded() {
    let sshd = OpenSshd::start(&OpenSshdSettings::default());
    let sockets = tempfile::tempdir().unwrap();
    let (mine, others) = (sockets.path().join("mine"), sockets.path().join("others"));
    let (_mine, my_key) = agent(&mine).await;
    let (_others, other_key) = agent(&others).await;

    for (lines, expected) in [
        (String::new(), None),
        ("ForwardAgent no".to_owned(), None),
        ("ForwardAgent yes".to_owned(), Some(&my_key)),
        (
            format!("ForwardAgent {}", others.display()),
            Some(&other_key),
        ),
        ("ForwardAgent $OTHER_AGENT".to_owned(), Some(&other_key)),
    ] {
        let config = sshd.write_ssh_config("box", &format!("{lines}\nIdentityAgent none"));
        let environment: [(_, &OsStr); 2] = [
            ("SSH_AUTH_SOCK", mine.as_ref()),
            ("OTHER_AGENT", others.as_ref()),
        ];

        let folder = tempfile::tempdir().unwrap();
        let mut program = Program::start_with(Some(&config), folder.path(), &environment).await;
        program
            .call("ssh_connect", json!({"host": "box"}))
            .await
            .ok();

        for tool in ["ssh_exec", "ssh_shell", "ssh_exec"] {
            let listed = program
                .call(tool, json!({"command": LIST}))
                .await
                .ok()
                .stdout();

            for key in [&my_key, &other_key] {
                assert_eq!(
                    listed.contains(key),
                    expected == Some(key),
                    "{lines} {tool}: {listed}"
                );
            }

            assert_eq!(
                listed.contains("Could not open a connection"),
                expected.is_none(),
                "{lines}: {listed}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lent_agent_keeps_to_the_hosts_that_a_key_is_limited_to() {
    let sshd = OpenSshd::start(&OpenSshdSettings::default());
    let sockets = tempfile::tempdir().unwrap();
    let socket = sockets.path().join("agent");
    let (_agent, free_key) = agent(&socket).await;
    let limited = sockets.path().join("limited");
    keys::write_private_key(&limited, &keys::ed25519(), None);
    let limited_key = russh::keys::load_public_key(limited.with_extension("pub")).unwrap();
    let limited_key = limited_key
        .fingerprint(russh::keys::HashAlg::Sha256)
        .to_string();
    let mut add = Command::new("ssh-add");
    add.arg("-q")
        .arg("-H")
        .arg(sshd.known_hosts_path())
        .arg("-h")
        .arg(format!("[127.0.0.1]:{}", sshd.port()));

    assert!(
        add.arg(&limited)
            .env("SSH_AUTH_SOCK", &socket)
            .status()
            .unwrap()
            .success()
    );

    let config = sshd.write_ssh_config(
        "box",
        &format!("ForwardAgent {}\nIdentityAgent none", socket.display()),
    );

    let folder = tempfile::tempdir().unwrap();
    let mut client = McpClient::start(&config, folder.path()).await;
    client
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok();

    let listed = client
        .call("ssh_exec", json!({"command": LIST}))
        .await
        .ok()
        .stdout();

    assert!(
        listed.contains(&free_key) && !listed.contains(&limited_key),
        "{listed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_that_nobody_asked_for_are_refused() {
    let settings = FakeSshdSettings {
        opens_channels: true,
        ..FakeSshdSettings::default()
    };

    let world = TestHost::fake_with(settings, "");
    let mut client = world.client().await;
    client.connect(json!({"host": "box"})).await;

    assert_eq!(
        client
            .call("ssh_exec", json!({"command": "echo works"}))
            .await
            .ok()
            .stdout(),
        "works\n"
    );

    eventually("seven answers", || world.sshd.opened().len() >= 7).await;
    assert!(
        world.sshd.opened().iter().all(|(_, taken)| !taken),
        "{:?}",
        world.sshd.opened()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lent_agent_opens_the_door_to_no_other_channel() {
    let sockets = tempfile::tempdir().unwrap();
    let socket = sockets.path().join("agent");
    let (_agent, _) = agent(&socket).await;
    let settings = FakeSshdSettings {
        opens_channels: true,
        ..FakeSshdSettings::default()
    };

    let world = TestHost::fake_with(settings, &format!("ForwardAgent {}", socket.display()));
    let mut client = world.client().await;
    client.connect(json!({"host": "box"})).await;
    eventually("seven answers", || world.sshd.opened().len() >= 7).await;
    for (kind, taken) in world.sshd.opened() {
        assert_eq!(taken, kind == "auth-agent@openssh.com", "{kind}");
    }
}
