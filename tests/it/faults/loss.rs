//! A line that loses packets, with TCP of the system's own over it: between a network namespace and the rest of the machine.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::Rig;
use crate::support::{
    checks::skipped,
    open_sshd::OpenSshdSettings,
    program::{self, Program},
};

/// Of the packets of each direction.
const LOST: &str = "0.3";

struct LossyLine {
    /// Carries the packets; its devices go with it.
    carrier: Child,
    /// Where the near end is.
    namespace: String,
    /// Of the far end.
    address: Ipv4Addr,
}

impl LossyLine {
    /// `None` where namespaces or TUN devices are not to be had.
    fn new() -> Option<Self> {
        let pid = std::process::id();
        let (near, far, namespace) = (
            format!("near{pid}"),
            format!("far{pid}"),
            format!("lossy-{pid}"),
        );

        // For benchmarks (RFC 2544); four addresses for each process.
        let [.., third, fourth] = (pid << 2).to_be_bytes();
        let [near_address, address] = [1, 2].map(|end| Ipv4Addr::new(198, 18, third, fourth | end));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/lib/line.py");
        let mut carrier = Command::new("python3");
        carrier
            .arg(script)
            .args([&near, &far, "5", LOST])
            .stdout(Stdio::piped())
            .stderr(Stdio::null());

        let mut carrier = carrier.spawn().ok()?;
        let said = BufReader::new(carrier.stdout.take()?).lines().next();
        let line = Self {
            carrier,
            namespace,
            address,
        };

        let inside = ["-n", &line.namespace];
        let [near_network, far_network] =
            [near_address, address].map(|address| format!("{address}/30"));

        let is_up = said.and_then(Result::ok).is_some_and(|said| said == "up")
            && ip(&["netns", "add", &line.namespace])
            && ip(&["link", "set", &near, "netns", &line.namespace])
            && ip(&[&inside[..], &["addr", "add", &near_network, "dev", &near]].concat())
            && ip(&[&inside[..], &["link", "set", &near, "up"]].concat())
            && ip(&["addr", "add", &far_network, "dev", &far])
            && ip(&["link", "set", &far, "up"]);

        is_up.then_some(line)
    }
}

impl Drop for LossyLine {
    fn drop(&mut self) {
        let _ = self.carrier.kill();
        let _ = self.carrier.wait();
        ip(&["netns", "del", &self.namespace]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip")
        .args(arguments)
        .output()
        .is_ok_and(|output| output.status.success())
}

#[tokio::test]
async fn with_three_packets_of_ten_lost_all_arrives_and_runs_once() {
    let Some(line) = LossyLine::new() else {
        return skipped("may not make a line of its own");
    };

    let rig = Rig::with(OpenSshdSettings {
        extra_config: format!("ListenAddress {}", line.address),
        ..OpenSshdSettings::default()
    });

    let way = format!(
        "HostName {}\nHostKeyAlias [127.0.0.1]:{}",
        line.address,
        rig.sshd.port()
    );

    let config = rig.sshd.write_ssh_config("lossy", &way);
    let inner = program::command(rig.folder.path());
    let mut command = tokio::process::Command::new("ip");
    command
        .args(["netns", "exec", &line.namespace])
        .arg(inner.as_std().get_program());

    command
        .arg("--ssh-config")
        .arg(config)
        .arg("--store")
        .arg(rig.folder.path().join("store"));

    for (name, value) in inner.as_std().get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }

    let mut program = Program::spawn(command, rig.folder.path());
    program.initialize().await;

    // A handshake that is lost so often is begun again.
    let connected = async {
        for _ in 0..5 {
            let answer = program
                .call("ssh_connect", json!({"host": "lossy", "timeoutMs": 50_000}))
                .await;
            if !answer.is_error() {
                return true;
            }
        }

        false
    };

    assert!(connected.await, "five times not");

    for number in 0..6 {
        let tool = ["ssh_exec", "ssh_shell"][number % 2];
        let command = format!("echo run {number} >>~/runs; echo {number}");
        let result = program.call(tool, json!({"command": command})).await.ok();
        let runs = fs::read_to_string(rig.home.join("runs")).unwrap_or_default();
        let runs = runs.matches(&format!("run {number}\n")).count();

        match result.outcome()["status"].as_str() {
            Some("exited") => assert_eq!(
                (runs, result.stdout()),
                (1, format!("{number}\n")),
                "{result:?}"
            ),
            // Nothing may be heard for a minute.
            Some("connectionLost") => assert!(runs <= 1, "{result:?}"),
            _ => panic!("{result:?}"),
        }
    }

    let content: Vec<u8> = (0..96 * 1024_u32).flat_map(u32::to_le_bytes).collect();
    let [there, back] = ["there", "back"].map(|name| rig.folder.path().join(name));
    fs::write(&there, &content).unwrap();

    program
        .call(
            "ssh_upload",
            json!({"localPath": there, "remotePath": "~/copy"}),
        )
        .await
        .ok();

    assert!(
        fs::read(rig.home.join("copy")).unwrap() == content,
        "the upload is not what was sent"
    );

    program
        .call(
            "ssh_download",
            json!({"localPath": back, "remotePath": "~/copy"}),
        )
        .await
        .ok();

    assert!(
        fs::read(back).unwrap() == content,
        "the download is not what was there"
    );
}
