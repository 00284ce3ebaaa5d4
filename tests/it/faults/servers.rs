//! Servers that are killed and come back, and those that let nobody in.

use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use serde_json::json;

use super::{Line, Rig, assert_helpful};
use crate::commands::{eventually, running};
use crate::support::link::{Break, Way};
use crate::support::open_sshd::{OpenSshd, OpenSshdSettings};
use crate::support::processes;

/// Kills the server and its connections, and has the link lead to one that starts anew.
fn restart(rig: &Rig, line: &Line, same_key: bool) -> OpenSshd {
    let settings = OpenSshdSettings {
        host_key_types: if same_key { Vec::new() } else { vec!["ed25519"] },
        host_keys: if same_key { vec![rig.sshd.dir().join("host_ed25519")] } else { Vec::new() },
        extra_config: format!(
            "SetEnv HOME={}\nAuthorizedKeysFile {}",
            rig.home.display(),
            rig.sshd.dir().join("authorized_keys").display()
        ),
        ..OpenSshdSettings::default()
    };
    rig.sshd.kill_connections();
    processes::signal("KILL", &[rig.sshd.pid().to_string()]);
    let new = OpenSshd::start(&settings);
    line.link.lead_to(new.port());
    new
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_killed_and_has_the_same_key_is_used_again_and_with_another_key_refused() {
    let rig = Rig::new();
    let mut line = rig.connected().await;
    let file = rig.home.join("runs");
    let mut servers = Vec::new();
    for tool in ["ssh_exec", "ssh_shell"] {
        let command = format!("echo {tool} >> '{}'; sleep 7600", file.display());
        let call = line.mcp.begin_call(tool, json!({"command": command})).await;
        let count = super::runs(&file);
        eventually("it runs", || super::runs(&file) > count || running(rig.sshd.port(), "7600").len() == 1).await;
        servers.push(restart(&rig, &line, true));
        let cut = line.mcp.finish(call).await.ok();
        assert_eq!(cut.outcome()["status"], "connectionLost", "{}", cut.text());
        line.works(tool).await;
        // The next round kills this one.
        processes::signal("KILL", &servers[servers.len() - 1].serving().iter().map(u32::to_string).collect::<Vec<_>>());
    }
    servers.push(restart(&rig, &line, false));
    for tool in ["ssh_exec", "ssh_shell"] {
        let refused = line.call(tool, json!({"command": "echo never >> never"})).await;
        assert_helpful(&refused);
        assert!(refused.text().contains("HAS CHANGED") && refused.text().contains("ssh-keygen -R"), "{}", refused.text());
    }
    assert!(!rig.home.join("never").exists());
    assert_eq!(fs::read_to_string(&file).unwrap(), "ssh_exec\nssh_shell\n", "each ran once");
    line.link.lead_to(servers[0].port());
    line.works("ssh_exec").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drops_who_comes_while_others_log_in_is_an_error_that_says_so() {
    let rig = Rig::with(OpenSshdSettings { max_startups: "1", ..OpenSshdSettings::default() });
    let mut line = rig.line().await;
    // Somebody who does not log in takes the only place there is for those.
    let mut idler = TcpStream::connect((Ipv4Addr::LOCALHOST, rig.sshd.port())).unwrap();
    idler.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    idler.read_exact(&mut [0; 4]).unwrap();
    let refused = line.call("ssh_connect", json!({"host": "host"})).await;
    if std::env::var_os("SHOW").is_some() { eprintln!("MaxStartups {}", refused.text()); }
    assert_helpful(&refused);
    drop(idler);
    let log = || rig.sshd.log();
    assert!(log().contains("past MaxStartups"), "{}", log());
    // sshd notices the idler's end in its own time.
    let mut connected = line.call("ssh_connect", json!({"host": "host"})).await;
    for _ in 0..20 {
        if !connected.is_error() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        connected = line.call("ssh_connect", json!({"host": "host"})).await;
    }
    line.works("ssh_exec").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_that_takes_longer_than_the_grace_time_is_an_error_and_the_next_one_works() {
    let extra_config = "LoginGraceTime 2".to_owned();
    let rig = Rig::with(OpenSshdSettings { extra_config, ..OpenSshdSettings::default() });
    let good = rig.connected().await.passed();
    for share in [0, 50] {
        let mut line = rig.line().await;
        // Our packets get lost, and the server's end arrives.
        line.link.break_after(Way::Up, good[0] * share / 100, Break::Hole);
        let refused = line.call("ssh_connect", json!({"host": "host", "timeoutMs": 30_000})).await;
        if std::env::var_os("SHOW").is_some() { eprintln!("LoginGraceTime {}", refused.text()); }
        assert_helpful(&refused);
        assert!(!refused.text().contains("30s"), "the server ended it: {}", refused.text());
        line.call("ssh_connect", json!({"host": "host"})).await.ok();
        line.works("ssh_exec").await;
    }
}
