//! Host names that only the system's own resolver knows.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::support::{
    fake_sshd::{FakeSshd, FakeSshdSettings},
    keys, ssh_config,
};

/// Runs the program with `folder` before everything else in its PATH, connects to `box`, and returns the result.
fn connect(folder: &Path, config: &Path) -> Value {
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());

    let mut program = Command::new(env!("CARGO_BIN_EXE_mcp-ssh-sessions"))
        .arg("--ssh-config")
        .arg(config)
        .arg("--store")
        .arg(folder.join("sessions.json"))
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();

    let mut stdin = program.stdin.take().unwrap();
    let initialize_params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}});

    for message in [
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": initialize_params}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "ssh_connect", "arguments": {"host": "box"}}}),
    ] {
        writeln!(stdin, "{message}").unwrap();
    }

    let lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let answers = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let answer = answers
        .into_iter()
        .find(|answer| answer["id"] == 2)
        .unwrap();

    drop(stdin);
    program.wait().unwrap();

    answer["result"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_in_the_dns_is_asked_of_the_system() {
    let folder = tempfile::tempdir().unwrap();
    let key = keys::ed25519();
    keys::write_private_key(&folder.path().join("key"), &key, None);
    let authorized_keys = vec![key.public_key().clone()];
    let sshd = FakeSshd::start(FakeSshdSettings {
        authorized_keys,
        ..FakeSshdSettings::default()
    });

    let known_hosts = folder.path().join("known_hosts");
    std::fs::write(
        &known_hosts,
        sshd.known_hosts_line().replace("127.0.0.1", "box.invalid"),
    )
    .unwrap();

    let lines = format!(
        "HostName box.invalid\nIdentityFile {}",
        folder.path().join("key").display()
    );

    let blocks = ssh_config::host("box", &lines, sshd.port(), "agent", &known_hosts);
    let config = ssh_config::write(folder.path(), "names", &blocks);

    let unknown = tokio::task::block_in_place(|| connect(folder.path(), &config));
    assert_eq!(unknown["isError"], true);

    assert!(
        unknown["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("could not resolve"),
        "{unknown}"
    );

    let getent = folder.path().join("getent");
    let script =
        "#!/bin/sh\n[ \"$*\" = 'ahosts box.invalid' ] && echo '127.0.0.1 STREAM box.invalid'\n";
    std::fs::write(&getent, script).unwrap();
    std::fs::set_permissions(&getent, std::fs::Permissions::from_mode(0o755)).unwrap();
    let found = tokio::task::block_in_place(|| connect(folder.path(), &config));
    assert_eq!(
        found["_meta"]["mcp-ssh-sessions/result"]["session"]["state"], "connected",
        "{found}"
    );
}
