//! Connections that end, stall or were never made in this process.

use std::{fs, time::Duration};

use serde_json::json;

use super::list;
use crate::support::{
    checks::{assert_refused, eventually},
    fixture::TestHost,
    mcp_client::McpClient,
    open_sshd::{OpenSshd, OpenSshdSettings},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_session_connects_on_first_use_in_a_new_process() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    client.connect(json!({"host": "box"})).await;
    client.close().await;

    for (number, (tool, arguments)) in [
        ("ssh_exec", json!({"command": "echo hello"})),
        ("ssh_shell", json!({"command": "echo hello"})),
        (
            "ssh_download",
            json!({"remotePath": "/etc/passwd", "localPath": world.folder().join("copy")}),
        ),
        (
            "ssh_upload",
            json!({"localPath": "/etc/passwd", "remotePath": "copy"}),
        ),
        ("ssh_reconnect", json!({})),
    ]
    .into_iter()
    .enumerate()
    {
        let mut later = world.client().await;
        later.call("ssh_sessions", json!({})).await.ok();
        assert_eq!(
            world.sshd.connections(),
            number + 1,
            "listing connects nothing"
        );

        later.call(tool, arguments).await.ok();
        assert_eq!(world.sshd.connections(), number + 2, "{tool}");
        later.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_dropped_while_idle_is_replaced_at_the_next_call() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    client.connect(json!({"host": "box"})).await;

    // Often: the drop may be noticed before, during or after the next request is sent.
    for round in 0..10 {
        world.sshd.drop_connections();
        if round % 2 == 0 {
            eventually_disconnected(&mut client).await;
        }

        let command = format!("echo round {round} >> rounds; echo done");
        let result = client
            .call("ssh_exec", json!({"command": command}))
            .await
            .ok();

        let runs = fs::read_to_string(world.sshd.home().join("rounds")).unwrap_or_default();

        assert_eq!(
            runs.matches(&format!("round {round}\n")).count(),
            1,
            "{}",
            result.text()
        );

        assert_eq!(result.stdout(), "done\n", "{}", result.text());
    }
}

pub(crate) async fn eventually_disconnected(client: &mut McpClient) {
    let started = std::time::Instant::now();
    while list(client).await[0].1 != "disconnected" {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "the drop is not noticed"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_returns_in_its_directory_and_names_what_is_lost() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    client.connect(json!({"host": "box"})).await;
    let home = world.sshd.home().canonicalize().unwrap();
    let odd = home.join("it's a \"dir\"\nü");
    fs::create_dir(&odd).unwrap();
    client
        .call("ssh_shell", json!({"command": "cd it*; lost=1"}))
        .await
        .ok();

    for _ in 0..3 {
        world.sshd.drop_connections();
        eventually_disconnected(&mut client).await;

        let back = client
            .call(
                "ssh_shell",
                json!({"command": "pwd; echo \"${lost-nothing}\""}),
            )
            .await
            .ok();

        assert_eq!(
            back.stdout(),
            format!("{}\nnothing\n", odd.display()),
            "{}",
            back.text()
        );

        let notice = back.outcome()["notice"]
            .as_str()
            .unwrap_or_default()
            .to_owned();

        assert!(
            notice.contains("new shell") && notice.contains("same directory"),
            "{}",
            back.text()
        );

        assert!(back.status_line().contains(&notice), "{}", back.text());
        let next = client
            .call("ssh_shell", json!({"command": "true"}))
            .await
            .ok();

        assert!(
            next.outcome().get("notice").is_none(),
            "it is said once: {}",
            next.text()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_command_sent_around_the_drop_never_runs_twice() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    client.connect(json!({"host": "box"})).await;
    client
        .call("ssh_shell", json!({"command": "true"}))
        .await
        .ok();

    for round in 0..10 {
        world.sshd.drop_connections();
        let command = format!("echo round {round} >> rounds; echo done");
        let result = client
            .call("ssh_shell", json!({"command": command}))
            .await
            .ok();

        let runs = fs::read_to_string(world.sshd.home().join("rounds")).unwrap_or_default();
        let runs = runs.matches(&format!("round {round}\n")).count();

        match result.outcome()["status"].as_str() {
            Some("exited") => assert_eq!(
                (runs, result.stdout().as_str()),
                (1, "done\n"),
                "{}",
                result.text()
            ),
            Some("connectionLost") => assert!(runs <= 1, "{}", result.text()),
            _ => panic!("{}", result.text()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_cut_off_is_reported_and_never_run_again() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    client.connect(json!({"host": "box"})).await;

    for tool in ["ssh_exec", "ssh_shell"] {
        let file = world.sshd.home().join(format!("runs-{tool}"));
        let command =
            format!("echo ran >> runs-{tool}; echo begun; sleep 60; echo ended >> runs-{tool}");
        let call = client.begin_call(tool, json!({"command": command})).await;
        eventually("the command runs", || {
            fs::read_to_string(&file).is_ok_and(|text| text == "ran\n")
        })
        .await;

        world.sshd.drop_connections();
        let cut = client.finish(call).await;
        assert!(!cut.is_error(), "a result, not an error: {}", cut.text());
        assert_eq!(
            (&cut.outcome()["status"], &cut.outcome()["exitCode"]),
            (&json!("connectionLost"), &json!(null))
        );

        for part in ["connection lost", "may have run", "not run again"] {
            assert!(
                cut.status_line().contains(part),
                "{part:?} is missing in {}",
                cut.text()
            );
        }

        let next = client
            .call(tool, json!({"command": "echo next"}))
            .await
            .ok();

        assert_eq!(next.stdout(), "next\n", "{}", next.text());
        assert_eq!(fs::read_to_string(&file).unwrap(), "ran\n", "{tool}");
    }

    assert_eq!(
        world.received("echo begun"),
        1,
        "the shell's command comes on its stdin"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_sshd_losing_its_connection_process_is_the_same() {
    let folder = tempfile::tempdir().unwrap();

    // Startup files of the person who runs the tests may take locks, which a killed shell would leave behind.
    let extra_config = format!("SetEnv HOME={}", folder.path().display());
    let sshd = OpenSshd::start(&OpenSshdSettings {
        extra_config,
        ..OpenSshdSettings::default()
    });

    let config = sshd.write_ssh_config("box", "IdentityAgent none");
    let mut client = McpClient::start(&config, folder.path()).await;
    client.connect(json!({"host": "box"})).await;
    let file = folder.path().join("runs");
    let command = format!(
        "echo ran >> '{0}'; sleep 60; echo ended >> '{0}'",
        file.display()
    );

    let call = client
        .begin_call("ssh_exec", json!({"command": command}))
        .await;
    eventually("the command runs", || file.exists()).await;
    sshd.kill_connections();
    let cut = client.finish(call).await;
    assert_eq!(cut.outcome()["status"], "connectionLost", "{}", cut.text());

    assert_eq!(
        client
            .call("ssh_exec", json!({"command": "echo next"}))
            .await
            .stdout(),
        "next\n"
    );

    assert_eq!(fs::read_to_string(&file).unwrap(), "ran\n");
    sshd.kill_connections();
    let shell = client
        .call("ssh_shell", json!({"command": "echo shell"}))
        .await;
    assert_eq!(shell.stdout(), "shell\n", "{}", shell.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_at_once_on_a_saved_session_make_one_connection() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    client.connect(json!({"host": "box"})).await;
    client.close().await;
    let mut client = world.client().await;
    let before = world.sshd.connections();
    let mut calls = Vec::new();

    for number in 0..20 {
        let (tool, arguments) = match number % 4 {
            0 => ("ssh_connect", json!({"host": "box"})),
            1 => ("ssh_reconnect", json!({"session": "box"})),
            2 => (
                "ssh_shell",
                json!({"session": "box", "command": "echo here"}),
            ),
            _ => (
                "ssh_exec",
                json!({"session": "box", "command": "echo here"}),
            ),
        };

        calls.push((tool, client.begin_call(tool, arguments).await));
    }

    for (tool, call) in calls {
        let result = client.finish(call).await.ok();
        if result.outcome().is_object() {
            assert_eq!(result.stdout(), "here\n", "{tool}: {}", result.text());
        }
    }

    assert_eq!(world.sshd.connections(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_to_a_new_name_at_once_make_one_connection() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    let mut calls = Vec::new();

    for _ in 0..20 {
        calls.push(
            client
                .begin_call("ssh_connect", json!({"host": "box"}))
                .await,
        );
    }

    for call in calls {
        client.finish(call).await.ok();
    }

    assert_eq!(
        (world.sshd.connections(), list(&mut client).await.len()),
        (1, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_to_a_silent_server_ends_at_its_time_limit() {
    let world = TestHost::fake();
    world.sshd.stall();
    let mut client = world.client().await;
    let started = std::time::Instant::now();
    let refused = client
        .call("ssh_connect", json!({"host": "box", "timeoutMs": 1500}))
        .await;
    assert_refused(&refused, &["SSH handshake", "1.5s", "timeoutMs"]);
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );

    world.sshd.resume();
    client.connect(json!({"host": "box"})).await;

    // The same for a session that is there already and has another limit.
    world.sshd.drop_connections();
    eventually_disconnected(&mut client).await;
    world.sshd.stall();
    let started = std::time::Instant::now();
    let refused = client
        .call("ssh_connect", json!({"host": "box", "timeoutMs": 1500}))
        .await;
    assert_refused(&refused, &["SSH handshake", "1.5s"]);
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_for_one_dial_share_its_failure() {
    let world = TestHost::fake();
    world.sshd.stall();
    let mut client = world.client().await;
    let mut calls = Vec::new();

    for _ in 0..8 {
        calls.push(
            client
                .begin_call("ssh_connect", json!({"host": "box", "timeoutMs": 3000}))
                .await,
        );
    }

    for call in calls {
        assert_refused(&client.finish(call).await, &["SSH handshake", "3s"]);
    }

    assert_eq!(world.sshd.connections(), 1);
    world.sshd.resume();
    client.connect(json!({"host": "box"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_limit_holds_while_the_configuration_is_read_too() {
    let world = TestHost::fake();
    let blocks = format!(
        "Match exec \"sleep 30\"\nUser nobody\n{}",
        fs::read_to_string(&world.config).unwrap()
    );

    fs::write(&world.config, blocks).unwrap();
    let mut client = world.client().await;
    let started = std::time::Instant::now();
    let refused = client
        .call("ssh_connect", json!({"host": "box", "timeoutMs": 500}))
        .await;
    assert_refused(&refused, &["ssh -G", "timeoutMs"]);
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_a_session_does_not_wait_for_a_silent_server() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    client.connect(json!({"host": "box"})).await;
    client.close().await;
    world.sshd.stall();
    let mut client = world.client().await;

    let dialling = client
        .begin_call(
            "ssh_exec",
            json!({"session": "box", "command": "echo too late"}),
        )
        .await;

    eventually("it dials", || world.sshd.connections() == 2).await;
    let started = std::time::Instant::now();
    client
        .call("ssh_disconnect", json!({"session": "box"}))
        .await
        .ok();

    assert!(
        started.elapsed() < Duration::from_secs(12),
        "{:?}",
        started.elapsed()
    );

    assert_refused(&client.finish(dialling).await, &["cancelled"]);
    world.sshd.resume();
    assert_eq!(world.received("too late"), 0);

    assert_eq!(
        client
            .call("ssh_exec", json!({"command": "echo again"}))
            .await
            .stdout(),
        "again\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reconnecting_replaces_only_a_connection_that_does_not_answer() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    client.connect(json!({"host": "box"})).await;
    client
        .call("ssh_shell", json!({"command": "kept=yes"}))
        .await
        .ok();

    client.call("ssh_reconnect", json!({})).await.ok();

    assert_eq!(
        client
            .call("ssh_shell", json!({"command": "echo $kept"}))
            .await
            .stdout(),
        "yes\n"
    );

    assert_eq!(world.sshd.connections(), 1);
    world.sshd.stall();
    let call = client.begin_call("ssh_reconnect", json!({})).await;
    eventually("it dials anew", || world.sshd.connections() == 2).await;
    world.sshd.resume();
    let result = client.finish(call).await.ok();
    assert_eq!(result.structured()["session"]["state"], "connected");

    assert_eq!(
        client
            .call("ssh_exec", json!({"command": "echo ok"}))
            .await
            .stdout(),
        "ok\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_connection_shows_in_the_list_with_its_reason() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    client.connect(json!({"host": "box"})).await;
    world.sshd.drop_connections();
    eventually_disconnected(&mut client).await;
    world.sshd.refuse_connections(true).await;
    let refused = client.call("ssh_exec", json!({"command": "true"})).await;
    assert_refused(&refused, &["could not connect", "127.0.0.1", "refused"]);
    let listing = client.call("ssh_sessions", json!({})).await.ok();
    let session = &listing.structured()["sessions"][0];
    assert_eq!(session["state"], "disconnected");

    assert!(
        session["lastError"]
            .as_str()
            .unwrap()
            .contains("could not connect"),
        "{session}"
    );

    world.sshd.refuse_connections(false).await;

    assert_eq!(
        client
            .call("ssh_exec", json!({"command": "echo ok"}))
            .await
            .stdout(),
        "ok\n"
    );

    let listing = client.call("ssh_sessions", json!({})).await.ok();

    assert!(
        listing.structured()["sessions"][0]
            .get("lastError")
            .is_none(),
        "{}",
        listing.text()
    );
}
