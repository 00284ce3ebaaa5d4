//! Servers that are killed and come back, and those that let nobody in.

use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use serde_json::json;

use super::{Line, Rig, assert_helpful, runs};
use crate::support::{
    checks::eventually,
    link::{Break, Direction},
    open_sshd::{OpenSshd, OpenSshdSettings},
    processes,
};

/// Another server for the same person, with the same host key or one of its own.
fn with_key(rig: &Rig, same: bool) -> OpenSshd {
    let host_key = rig.sshd.dir().join("host_ed25519");
    OpenSshd::start(&OpenSshdSettings {
        host_key_types: if same { Vec::new() } else { vec!["ed25519"] },
        host_keys: same.then_some(host_key).into_iter().collect(),
        extra_config: format!(
            "SetEnv HOME={}\nAuthorizedKeysFile {}",
            rig.home.display(),
            rig.sshd.dir().join("authorized_keys").display()
        ),
        ..OpenSshdSettings::default()
    })
}

/// Kills a server and its connections, and has the link lead to one that starts anew with the same key.
fn restart(rig: &Rig, line: &Line, running: &OpenSshd) -> OpenSshd {
    running.kill_connections();
    processes::signal("KILL", &[running.pid().to_string()]);
    let new = with_key(rig, true);
    line.link.lead_to(new.port());
    new
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_is_used_again_only_with_the_same_key() {
    let rig = Rig::new();
    let mut line = rig.connected().await;
    let file = rig.home.join("runs");
    let mut second = None;

    for (number, tool) in ["ssh_exec", "ssh_shell"].into_iter().enumerate() {
        let command = format!("echo {tool} >> '{}'; sleep 7600", file.display());
        let call = line.mcp.begin_call(tool, json!({"command": command})).await;
        eventually("it runs", || runs(&file) > number).await;
        second = Some(restart(&rig, &line, second.as_ref().unwrap_or(&rig.sshd)));
        let cut = line.mcp.finish(call).await.ok();
        assert_eq!(cut.outcome()["status"], "connectionLost", "{}", cut.text());
        line.works(tool).await;
    }

    let second = second.unwrap();
    second.kill_connections();

    // It runs on, for the time when the right one is back.
    let other = with_key(&rig, false);
    line.link.lead_to(other.port());

    for tool in ["ssh_exec", "ssh_shell"] {
        let refused = line
            .call(tool, json!({"command": "echo never >> never"}))
            .await;
        assert_helpful(&refused);
        assert!(
            refused.text().contains("HAS CHANGED") && refused.text().contains("ssh-keygen -R"),
            "{}",
            refused.text()
        );
    }

    assert!(!rig.home.join("never").exists());
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        "ssh_exec\nssh_shell\n",
        "each ran once"
    );

    line.link.lead_to(second.port());
    line.works("ssh_exec").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_too_many_log_ins_is_an_error_that_says_so() {
    let rig = Rig::with(OpenSshdSettings {
        max_startups: "1",
        ..OpenSshdSettings::default()
    });

    let mut line = rig.line().await;

    // Somebody who does not log in takes the only place there is for those.
    let idler = loop {
        let mut idler = TcpStream::connect((Ipv4Addr::LOCALHOST, rig.sshd.port())).unwrap();
        idler
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();

        let mut identification = [0; 4];

        // Who was there before may not have been forgotten yet.
        if idler.read_exact(&mut identification).is_ok() && identification == *b"SSH-" {
            break idler;
        }
    };

    let refused = line.call("ssh_connect", json!({"host": "host"})).await;
    assert_helpful(&refused);
    assert!(refused.text().contains("MaxStartups"), "{}", refused.text());
    drop(idler);
    let log = || rig.sshd.log();
    assert!(log().contains("past MaxStartups"), "{}", log());

    // sshd notices the idler's end in its own time.
    eventually("nobody is served", || rig.sshd.serving().is_empty()).await;
    line.call("ssh_connect", json!({"host": "host"})).await.ok();
    line.works("ssh_exec").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_past_the_grace_time_is_an_error_and_the_next_works() {
    let extra_config = "LoginGraceTime 2".to_owned();
    let rig = Rig::with(OpenSshdSettings {
        extra_config,
        ..OpenSshdSettings::default()
    });

    let good = rig.connected().await.passed();

    for share in [0, 50] {
        let mut line = rig.line().await;

        // Our packets get lost, and the server's end arrives.
        line.link
            .break_after(Direction::Up, good[0] * share / 100, Break::Hole);
        let refused = line
            .call("ssh_connect", json!({"host": "host", "timeoutMs": 30_000}))
            .await;
        assert_helpful(&refused);
        assert!(
            refused.text().contains("LoginGraceTime"),
            "{}",
            refused.text()
        );

        assert!(
            !refused.text().contains("30s"),
            "the server ended it: {}",
            refused.text()
        );

        line.call("ssh_connect", json!({"host": "host"})).await.ok();
        line.works("ssh_exec").await;
    }
}
