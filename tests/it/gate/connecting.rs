//! Hosts by other names, jump hosts, and the forwards of the SSH configuration.

use serde_json::json;

use super::{World, answer, call, forms, is_refused};

/// A host behind `host`, which leads to the same server.
const BEHIND: &str = "Host behind\n  ProxyJump host\n  HostName 127.0.0.1\n  Port PORT\n";

/// World whose `behind` and `other` are reached like `host`.
fn world(settings: &str, extra: &str) -> World {
    let world = World::with_config(settings, extra);
    let config = std::fs::read_to_string(&world.host.config).unwrap();
    let config = config.replacen("Host host free third", "Host host free third behind", 1);
    std::fs::write(&world.host.config, config).unwrap();
    world
}

#[tokio::test]
async fn a_host_is_held_to_the_rules_of_its_other_names() {
    for (settings, refused) in [
        // A rule for the address holds for every alias.
        (
            "[host.'127.0.0.1']\naccess = 'never'\n[host.host]\naccess = 'full'",
            true,
        ),
        ("[host.'127.0.0.*']\nconnect = 'never'", true),
        ("[host.'::ffff:127.0.0.1']\nconnect = 'never'", true),
        ("[host.'127.0.0.2']\nconnect = 'never'", false),
        ("[host.free]\nconnect = 'never'", false),
    ] {
        let world = World::new(settings);
        let mut client = world.client(forms()).await;
        let result = client.call("ssh_connect", json!({"host": "host"})).await;
        assert_eq!(
            is_refused(&result),
            refused,
            "{settings}: {}",
            result.text()
        );
        assert_eq!(world.log_ins() == 0, refused, "{settings}");
    }

    // And a rule of an alias for the address, with the port.
    let world = World::new("[host.host]\naccess = 'never'");
    let mut client = world.client(forms()).await;
    for host in ["127.0.0.1", "localhost"] {
        let arguments = json!({"host": host, "port": world.host.port, "name": "x"});
        let refused = client.call("ssh_connect", arguments).await;
        assert!(is_refused(&refused), "{host}: {}", refused.text());
    }
    assert_eq!(world.log_ins(), 0);
}

#[tokio::test]
async fn a_jump_host_has_rules_of_its_own() {
    for setting in ["connect = 'never'", "access = 'never'"] {
        let world = world(&format!("[host.host]\n{setting}"), BEHIND);
        let mut client = world.client(forms()).await;
        for (tool, arguments) in [
            ("ssh_connect", json!({"host": "behind"})),
            (
                "ssh_exec",
                json!({"session": "behind", "command": world.leaving("mark")}),
            ),
            (
                "ssh_read",
                json!({"session": "behind", "path": "/etc/hosts"}),
            ),
        ] {
            let (questions, refused) = call(&mut client, tool, arguments, &answer("once")).await;
            assert!(questions.is_empty(), "{questions:?}");
            let text = refused.text();
            assert!(
                is_refused(&refused) && text.contains("the jump host host"),
                "{tool}: {text}"
            );
        }
        assert_eq!(world.log_ins(), 0, "{setting}");
    }

    // Commands on the jump host are another matter.
    let read = world("[host.host]\naccess = 'read'", BEHIND);
    let mut client = read.client(forms()).await;
    let arguments = json!({"session": "behind", "command": read.leaving("mark")});
    client.call("ssh_exec", arguments).await.ok();
    assert!(read.host.remote("mark").exists());

    // A connection over a jump host that is closed meanwhile is of no use any more.
    read.settings("[host.host]\naccess = 'never'");
    let arguments = json!({"session": "behind", "command": read.leaving("late")});
    let refused = client.call("ssh_exec", arguments).await;
    assert!(is_refused(&refused), "{}", refused.text());
    assert!(!read.host.remote("late").exists());
}

#[tokio::test]
async fn a_jump_host_and_a_command_are_one_question() {
    let world = world(
        "[host.host]\nconnect = 'ask'\n[host.behind]\nrun = 'ask'",
        BEHIND,
    );
    let mut client = world.client(forms()).await;
    let arguments = json!({"session": "behind", "command": world.leaving("mark")});

    let (questions, refused) =
        call(&mut client, "ssh_exec", arguments.clone(), &answer("no")).await;
    assert_eq!(questions.len(), 1, "{questions:?}");
    for part in [
        "on behind (",
        "on the jump host host (",
        "connect = \"ask\"",
    ] {
        assert!(questions[0].contains(part), "{part}: {questions:?}");
    }
    assert!(is_refused(&refused), "{}", refused.text());
    assert_eq!(world.log_ins(), 0);

    let (questions, ran) = call(&mut client, "ssh_exec", arguments, &answer("once")).await;
    assert_eq!(questions.len(), 1, "{questions:?}");
    ran.ok();
    assert!(world.host.remote("mark").exists());
}

#[tokio::test]
async fn configured_forwards_are_held_to_the_setting() {
    let extra = "Host host\n  RemoteForward 0 127.0.0.1:9\n";
    for (settings, asked, goes) in [
        ("", 0, true),
        ("[host.host]\nforward = 'never'", 0, false),
        ("[host.host]\naccess = 'read'", 0, false),
        ("[host.host]\nforward = 'ask'", 1, true),
    ] {
        let world = World::with_config(settings, extra);
        let mut client = world.client(forms()).await;
        let arguments = json!({"host": "host"});
        let (questions, connected) =
            call(&mut client, "ssh_connect", arguments, &answer("once")).await;
        assert_eq!(questions.len(), asked, "{settings}: {questions:?}");

        let text = connected.ok().text();
        assert_eq!(
            text.contains("the settings do not allow forwarding"),
            !goes,
            "{text}"
        );
        let list = client.call("ssh_forward", json!({})).await.ok().text();
        assert_eq!(list.contains("no forwards"), !goes, "{settings}: {list}");
    }
}

#[tokio::test]
async fn a_forward_connects_no_host_that_is_closed() {
    let world = World::new("");
    let mut client = world.client(forms()).await;
    client.connect(json!({"host": "host"})).await;
    let port = world.host.port.to_string();
    let opened = client
        .call("ssh_forward", json!({"session": "host", "to": port}))
        .await
        .ok();
    let listen = opened.structured()["forward"]["listen"]
        .as_str()
        .unwrap()
        .to_owned();

    let banner = async || {
        use tokio::io::AsyncReadExt as _;
        let mut stream = tokio::net::TcpStream::connect(&listen).await.unwrap();
        let mut bytes = [0; 4];
        stream
            .read_exact(&mut bytes)
            .await
            .is_ok_and(|_| bytes == *b"SSH-")
    };
    assert!(banner().await);
    world.settings("[host.host]\nforward = 'never'");
    assert!(!banner().await);
    world.settings("");
    assert!(banner().await);
}

#[tokio::test]
async fn a_lost_connection_is_not_made_again_where_that_is_forbidden() {
    let world = World::new("");
    let mut client = world.client(forms()).await;
    client.connect(json!({"host": "host"})).await;
    let log_ins = world.log_ins();

    world.settings("[host.host]\nconnect = 'ask'");
    world.host.sshd.kill_connections();
    let read = json!({"session": "host", "path": "/etc/hosts"});
    let (_, refused) = call(&mut client, "ssh_read", read.clone(), &answer("no")).await;
    assert!(is_refused(&refused), "{}", refused.text());
    assert_eq!(world.log_ins(), log_ins);

    let (_, shown) = call(&mut client, "ssh_read", read, &answer("once")).await;
    shown.ok();
    assert_eq!(world.log_ins(), log_ins + 1);
}
