//! How the host is reached: addresses, patience, hosts before it.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::json;

use super::world;
use crate::support::{
    checks::{assert_refused, eventually},
    mcp_client::McpClient,
    open_sshd::{OpenSshd, OpenSshdSettings},
    ssh_config,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_comes_from_the_address_that_is_configured() {
    let sshd = OpenSshd::start(&OpenSshdSettings::default());
    let folder = tempfile::tempdir().unwrap();
    let loopback = if cfg!(target_os = "linux") {
        "lo"
    } else {
        "lo0"
    };

    // All of 127.0.0.0/8 is there on Linux alone.
    let other = if cfg!(target_os = "linux") {
        "127.0.0.2"
    } else {
        "127.0.0.1"
    };

    for (lines, address) in [
        (format!("BindAddress {other}"), other),
        (format!("BindInterface {loopback}"), "127.0.0.1"),
        (
            format!(
                "BindInterface {loopback}\nBindAddress {other}\nAddressFamily inet\nTCPKeepAlive no"
            ),
            other,
        ),
    ] {
        let mut client =
            McpClient::start(&sshd.write_ssh_config("box", &lines), folder.path()).await;
        client.connect(json!({"host": "box"})).await;
        let seen = client
            .call("ssh_exec", json!({"command": "echo \"$SSH_CLIENT\""}))
            .await
            .ok()
            .stdout();

        assert!(seen.starts_with(&format!("{address} ")), "{lines}: {seen}");
    }

    for (lines, part) in [
        ("BindInterface no-such-interface", "no-such-interface"),
        ("AddressFamily inet6", "AddressFamily"),
        ("BindAddress 192.0.2.1", "could not connect"),
    ] {
        let mut client =
            McpClient::start(&sshd.write_ssh_config("box", lines), folder.path()).await;
        assert_refused(
            &client.call("ssh_connect", json!({"host": "box"})).await,
            &[part],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_is_abandoned_after_the_connect_timeout() {
    let world = world("ConnectTimeout 1");
    world.sshd.stall();
    let mut client = world.client().await;
    let started = Instant::now();
    let refused = client
        .call("ssh_connect", json!({"host": "box", "timeoutMs": 55_000}))
        .await;
    assert_refused(&refused, &["took longer than 1s"]);
    assert!(
        started.elapsed() < Duration::from_secs(40),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_tried_as_often_as_is_configured() {
    let world = world("ConnectionAttempts 3");
    world.sshd.refuse_connections(true).await;
    let mut client = world.client().await;
    let started = Instant::now();
    assert_refused(
        &client.call("ssh_connect", json!({"host": "box"})).await,
        &["could not connect"],
    );

    assert!(
        started.elapsed() >= Duration::from_secs(2),
        "three attempts are two seconds apart"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_link_is_noticed_after_the_configured_keepalives() {
    let world = world("ServerAliveInterval 1\nServerAliveCountMax 1");
    let mut client = world.client().await;
    client.connect(json!({"host": "box"})).await;
    let id = client
        .begin_call("ssh_exec", json!({"command": "sleep 600"}))
        .await;
    eventually("the command runs", || world.runs("600")).await;
    let started = Instant::now();
    world.sshd.stall();
    let answer = client.finish(id).await;

    assert_eq!(
        answer.outcome()["status"],
        "connectionLost",
        "{}",
        answer.text()
    );

    assert!(
        started.elapsed() < Duration::from_secs(30),
        "without these options it takes a minute"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hops_of_the_real_sshd_lead_to_the_third() {
    let servers: Vec<OpenSshd> = (0..3)
        .map(|_| OpenSshd::start(&OpenSshdSettings::default()))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let user = std::process::Command::new("id")
        .arg("-un")
        .output()
        .unwrap()
        .stdout;

    let user = String::from_utf8(user).unwrap();

    let block = |alias: &str, sshd: &OpenSshd, extra: &str| {
        let extra = format!(
            "IdentityFile {}\n{extra}",
            sshd.private_key_path().display()
        );

        ssh_config::host(
            alias,
            &extra,
            sshd.port(),
            user.trim(),
            &sshd.known_hosts_path(),
        )
    };

    let target = block(
        "target",
        &servers[0],
        "ProxyJump near-%n,far\nSetEnv A=1\nForwardAgent no",
    );

    let blocks = target
        + &block("near-target", &servers[1], "")
        + &block("far", &servers[2], "LocalForward 1 h:2");
    let config = ssh_config::write(folder.path(), "chain", &blocks);
    let mut client = McpClient::start(&config, folder.path()).await;
    let session = client.connect(json!({"host": "target"})).await;

    assert_eq!(
        session.structured().get("notices"),
        None,
        "nothing of a hop is missed: {}",
        session.text()
    );

    let seen = client
        .call("ssh_exec", json!({"command": "echo \"$SSH_CONNECTION\""}))
        .await
        .ok()
        .stdout();

    assert!(
        seen.trim_end()
            .ends_with(&format!(" 127.0.0.1 {}", servers[0].port())),
        "{seen}"
    );

    for sshd in &servers {
        assert!(sshd.log().contains("Accepted publickey"), "{}", sshd.log());
    }
}

/// `nc HOST PORT`, or bash where there is no `nc`.
pub(super) fn netcat() -> &'static str {
    let found = std::process::Command::new("nc").arg("-h").output().is_ok();
    if found {
        "nc %h %p"
    } else {
        "bash -c 'exec 3<>/dev/tcp/%h/%p; cat <&3 & exec cat >&3'"
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_command_with_netcat_ends_with_its_connection() {
    let sshd = OpenSshd::start(&OpenSshdSettings::default());
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    let pid = folder.path().join("pid");

    let command = format!(
        "sh -c 'echo %%,%h,%n,%p,%r > {}; echo $$ > {}; (sleep 47.25; :) & exec \"$@\"' x {}",
        tokens.display(),
        pid.display(),
        netcat()
    );

    let config = sshd.write_ssh_config("box", &format!("ProxyCommand {command}"));
    let mut client = McpClient::start(&config, folder.path()).await;
    let session = client.connect(json!({"host": "box"})).await;

    assert_eq!(
        client
            .call("ssh_exec", json!({"command": "echo through"}))
            .await
            .ok()
            .stdout(),
        "through\n"
    );

    let user = session.structured()["session"]["user"]
        .as_str()
        .unwrap()
        .to_owned();

    let expected = format!("%,127.0.0.1,box,{},{user}\n", sshd.port());
    assert_eq!(std::fs::read_to_string(&tokens).unwrap(), expected);

    let group = std::fs::read_to_string(&pid).unwrap().trim().to_owned();
    let alive = || crate::support::processes::signal("0", &[format!("-{group}")]);
    assert!(alive());
    client.call("ssh_disconnect", json!({})).await.ok();
    eventually("the proxy command and what it started are gone", || {
        !alive()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_proxy_command_is_an_error_with_its_reason() {
    for (lines, arguments, parts) in [
        (
            "ProxyCommand echo no way >&2; exit 1",
            json!({}),
            vec!["its ProxyCommand says: \"no way\""],
        ),
        (
            "ProxyCommand exit 1",
            json!({}),
            vec!["handshake", "failed"],
        ),
        (
            "ProxyCommand sh -c 'echo waiting for you >&2; exec sleep 600'",
            json!({"timeoutMs": 1500}),
            vec!["took longer", "waiting for you"],
        ),
        (
            "ProxyCommand nc %h %q",
            json!({}),
            vec!["ProxyCommand", "%q"],
        ),
        (
            "ProxyUseFdpass yes\nProxyCommand nc -F %h %p",
            json!({}),
            vec!["ProxyUseFdpass", "not supported"],
        ),
    ] {
        let world = world(lines);
        let mut client = world.client().await;
        let mut call = json!({"host": "box"});
        call.as_object_mut()
            .unwrap()
            .extend(arguments.as_object().unwrap().clone());

        let refused = client.call("ssh_connect", call).await;
        assert_refused(&refused, &parts);
        assert!(!refused.text().contains("says: \"\""), "{}", refused.text());
        assert_eq!(world.sshd.connections(), 0, "{lines}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_before_the_identification_is_read_as_far_as_ssh_does() {
    let sshd = OpenSshd::start(&OpenSshdSettings::default());
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("first");
    let config = sshd.write_ssh_config(
        "box",
        &format!("ProxyCommand sh {} {}", script.display(), netcat()),
    );

    for (prints, fits) in [
        ("", true),
        ("yes line | head -n 1023", true),
        (
            "yes \"$(head -c 8000 /dev/zero | tr '\\0' x)\" | head -n 200",
            true,
        ),
        ("printf 'SSH\\nSS\\n\\n-SSH-2.0-no\\r\\n'", true),
        ("yes line | head -n 1025", false),
        ("head -c 9000 /dev/zero | tr '\\0' x", false),
        ("echo 'Too many connections, come back later.'; exit", false),
    ] {
        std::fs::write(&script, format!("{prints}\nexec \"$@\"\n")).unwrap();
        let mut ssh = std::process::Command::new("ssh");
        ssh.arg("-F")
            .arg(&config)
            .args(["-o", "BatchMode=yes", "box", "true"]);

        // What its proxy leaves running would hold a pipe open.
        ssh.stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());

        assert_eq!(
            ssh.status().unwrap().success(),
            fits,
            "the real ssh: {prints}"
        );

        let mut client = McpClient::start(&config, folder.path()).await;
        let answer = client
            .call("ssh_connect", json!({"host": "box", "timeoutMs": 60_000}))
            .await;
        assert_eq!(!answer.is_error(), fits, "{prints}: {}", answer.text());

        if prints.contains("come back later") {
            assert_refused(
                &answer,
                &["the server says: Too many connections, come back later."],
            );
        }
    }
}
