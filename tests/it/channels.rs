//! Servers that let a connection have only so many channels: calls go over further connections, and nobody notices.

use std::collections::HashSet;
use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    checks::{assert_stopped, eventually, plain, random, status},
    fake_sshd::{FakeSshd, FakeSshdSettings},
    fixture::{ConnectedHost, TestHost},
    mcp_client::{McpClient, ToolResult},
    open_sshd::OpenSshd,
    processes::{self, running},
};

/// A real sshd with this `MaxSessions` and the `MaxStartups` that OpenSSH has by default.
async fn limited(max_sessions: usize) -> ConnectedHost<OpenSshd> {
    limited_with(max_sessions, "10:30:100").await
}

async fn limited_with(max_sessions: usize, max_startups: &'static str) -> ConnectedHost<OpenSshd> {
    TestHost::openssh_with(|settings| {
        (settings.max_sessions, settings.max_startups) = (max_sessions, max_startups);
    })
    .connect()
    .await
}

impl ConnectedHost<OpenSshd> {
    /// Begins `count` commands that never end, and waits until all run.
    async fn occupy(&mut self, count: usize, word: &str) -> Vec<u64> {
        let mut calls = Vec::new();

        for _ in 0..count {
            calls.push(
                self.begin("ssh_exec", &format!("sleep {word}"), plain())
                    .await,
            );
        }

        let port = self.sshd.port();
        eventually("all run", || running(port, word).len() == count).await;

        calls
    }

    fn logins(&self) -> usize {
        self.sshd.log().matches("Accepted publickey").count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_has_its_channel_before_it_is_asked_for() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    client
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok();

    // However many commands there were.
    for round in 0..3 {
        client
            .call("ssh_exec", json!({"command": format!("echo {round}")}))
            .await
            .ok();
    }

    eventually("one is ready", || world.sshd.channels_ready() == 1).await;
    world.sshd.withhold_channels();

    let result = client
        .call(
            "ssh_exec",
            json!({"command": "echo one round trip", "timeoutMs": 20_000}),
        )
        .await
        .ok();

    assert_eq!(result.stdout(), "one round trip\n");
}

/// A hundred commands that wait for each other, and a short one that does not wait behind them.
pub(crate) async fn a_hundred_at_once<S>(bench: &mut ConnectedHost<S>) {
    let mut calls = Vec::new();

    for number in 0..100 {
        let command =
            format!("touch began{number}; while [ ! -e go ]; do sleep 0.5; done; echo {number}");
        calls.push(
            bench
                .begin("ssh_exec", &command, json!({"cwd": bench.home}))
                .await,
        );
    }

    let home = bench.home.clone();
    eventually("all run", || {
        (0..100).all(|number| home.join(format!("began{number}")).exists())
    })
    .await;

    assert_eq!(bench.exec("echo short", plain()).await.stdout(), "short\n");
    fs::write(home.join("go"), "").unwrap();

    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(
            bench.mcp.finish(call).await.ok().stdout(),
            format!("{number}\n")
        );
    }

    let sessions = bench.mcp.call("ssh_sessions", json!({})).await.ok();
    assert_eq!(sessions.structured()["sessions"][0]["state"], "connected");
}

#[tokio::test]
async fn a_hundred_commands_run_at_the_same_time() {
    let mut bench = limited(10).await;
    a_hundred_at_once(&mut bench).await;
    assert!((11..=13).contains(&bench.logins()), "{}", bench.logins());
}

/// Two hundred short commands at once. Dropbear would close a channel whose command has not come yet at the end of each.
pub(crate) async fn two_hundred_at_once<S>(bench: &mut ConnectedHost<S>) {
    let mut calls = Vec::new();

    for number in 0..200 {
        calls.push(
            bench
                .begin(
                    "ssh_exec",
                    &format!("echo {number}; echo {number} >> ran"),
                    json!({"cwd": bench.home}),
                )
                .await,
        );
    }

    for (number, call) in calls.into_iter().enumerate() {
        let result = bench.mcp.finish(call).await.ok();
        assert_eq!(
            (result.stdout(), status(&result)),
            (format!("{number}\n"), "exited"),
            "{result:?}"
        );
    }

    let ran = fs::read_to_string(bench.home.join("ran")).unwrap();
    let different: HashSet<_> = ran.lines().collect();
    assert_eq!(
        (ran.lines().count(), different.len()),
        (200, 200),
        "each ran once"
    );
}

#[tokio::test]
async fn two_hundred_short_commands_succeed() {
    two_hundred_at_once(&mut limited(10).await).await;
}

#[tokio::test]
async fn a_short_command_does_not_wait_behind_long_ones() {
    let mut bench = limited(10).await;
    bench.occupy(12, "7200").await;
    assert_eq!(bench.exec("echo short", plain()).await.stdout(), "short\n");
    bench.occupy(10, "7201").await;
    assert_eq!(bench.exec("echo short", plain()).await.stdout(), "short\n");
    assert!((3..=4).contains(&bench.logins()), "{}", bench.logins());
}

/// Each of twenty shells counts by itself.
pub(crate) async fn twenty_shells<S>(bench: &mut ConnectedHost<S>) {
    for command in ["n=$((n + SHELL_NUMBER))", "echo $((n + SHELL_NUMBER))"] {
        let mut calls = Vec::new();
        for number in 0..20 {
            let command = command.replace("SHELL_NUMBER", &number.to_string());
            calls.push(
                bench
                    .begin(
                        "ssh_shell",
                        &command,
                        json!({"shell": format!("shell{number}")}),
                    )
                    .await,
            );
        }

        for (number, call) in calls.into_iter().enumerate() {
            let result = bench.mcp.finish(call).await.ok();
            assert_eq!(status(&result), "exited", "{result:?}");
            if command.starts_with("echo") {
                assert_eq!(result.stdout(), format!("{}\n", number * 2));
            }
        }
    }
}

#[tokio::test]
async fn twenty_shells_keep_their_state() {
    let mut bench = limited(10).await;
    twenty_shells(&mut bench).await;
    assert!((2..=3).contains(&bench.logins()), "{}", bench.logins());
}

#[tokio::test]
async fn a_hundred_commands_succeed_where_few_may_log_in_at_once() {
    let mut bench = limited_with(10, "2:100:2").await;
    a_hundred_at_once(&mut bench).await;
    twenty_shells(&mut bench).await;
}

#[tokio::test]
async fn work_is_stopped_while_every_channel_is_taken() {
    for max_sessions in [1, 2, 10] {
        let mut bench = limited(max_sessions).await;
        let port = bench.sshd.port();

        // The limit is not known yet the first time, and known the second.
        for _ in 0..2 {
            let others = bench.occupy(max_sessions - 1, "7202").await;
            let result = bench
                .exec("trap '' INT TERM; sleep 7203", json!({"timeoutMs": 500}))
                .await;
            assert_stopped(&result, "timedOut", port, "7203");
            assert_eq!(running(port, "7202").len(), max_sessions - 1);
            for call in others {
                bench.mcp.cancel(call).await;
            }

            eventually("the others are gone", || running(port, "7202").is_empty()).await;
        }

        let result = bench
            .shell("trap '' INT; sleep 7204", json!({"timeoutMs": 500}))
            .await;
        assert_stopped(&result, "timedOut", port, "7204");
    }
}

#[tokio::test]
async fn files_are_moved_while_every_channel_is_taken() {
    for max_sessions in [1, 3] {
        let mut bench = limited(max_sessions).await;
        bench.occupy(max_sessions, "7205").await;
        let (content, local, back) = (random(100_000), bench.local("there"), bench.local("back"));
        fs::write(&local, &content).unwrap();

        bench
            .mcp
            .call(
                "ssh_upload",
                json!({"localPath": local, "remotePath": bench.remote("file")}),
            )
            .await
            .ok();

        bench
            .mcp
            .call(
                "ssh_download",
                json!({"localPath": back, "remotePath": bench.remote("file")}),
            )
            .await
            .ok();

        assert!(
            fs::read(bench.remote("file")).unwrap() == content
                && fs::read(back).unwrap() == content
        );
    }
}

#[tokio::test]
async fn a_server_that_refuses_every_channel_is_an_error_at_once() {
    let mut bench = limited(0).await;
    let local = bench.local("file");
    fs::write(&local, "").unwrap();

    let mut calls = vec![
        bench
            .mcp
            .begin_call("ssh_shell", json!({"command": "echo"}))
            .await,
        bench
            .mcp
            .begin_call(
                "ssh_upload",
                json!({"localPath": local, "remotePath": "file"}),
            )
            .await,
    ];

    for _ in 0..20 {
        calls.push(
            bench
                .mcp
                .begin_call("ssh_exec", json!({"command": "echo"}))
                .await,
        );
    }

    for call in calls {
        let result: ToolResult = bench.mcp.finish(call).await;
        assert!(
            result.is_error() && result.text().contains("refused to open a channel"),
            "{result:?}"
        );

        assert!(result.text().contains("MaxSessions"), "{result:?}");
    }

    assert_eq!(bench.logins(), 1);
}

#[tokio::test]
async fn disconnecting_closes_every_connection() {
    let mut bench = limited(2).await;
    let calls = bench.occupy(7, "7206").await;
    assert!(bench.logins() >= 4, "{}", bench.logins());
    bench.mcp.call("ssh_disconnect", json!({})).await.ok();

    for call in calls {
        let result = bench.mcp.finish(call).await.ok();
        assert_eq!(
            (status(&result), &result.outcome()["processGone"]),
            ("cancelled", &json!(true)),
            "{result:?}"
        );
    }

    assert_eq!(running(bench.sshd.port(), "7206"), [0; 0]);
    eventually("no connection is left", || bench.sshd.serving().is_empty()).await;
    assert_eq!(bench.exec("echo again", plain()).await.stdout(), "again\n");
}

#[tokio::test]
async fn the_end_of_the_client_closes_every_connection() {
    let mut bench = limited(2).await;
    bench.occupy(5, "7207").await;
    let ConnectedHost { mcp, host } = bench;
    assert!(!host.sshd.serving().is_empty());
    mcp.close().await;
    eventually("no connection is left", || host.sshd.serving().is_empty()).await;
}

#[tokio::test]
async fn a_connection_beside_the_first_may_be_lost() {
    let mut bench = limited(1).await;
    bench.occupy(1, "7208").await;
    let first = bench.sshd.serving();
    bench.shell("kept=here", plain()).await;
    let later = bench
        .sshd
        .serving()
        .into_iter()
        .filter(|pid| !first.contains(pid));

    let later: Vec<_> = later.map(|pid| pid.to_string()).collect();
    assert!(!later.is_empty());
    processes::signal("KILL", &later);
    eventually("it is gone", || bench.sshd.serving().len() == first.len()).await;
    assert_eq!(bench.exec("echo alive", plain()).await.stdout(), "alive\n");
    let result = bench.shell("echo \"<$kept>\"", plain()).await;
    assert!(
        result.stdout() == "<>\n" && result.text().contains("this is a new shell"),
        "{result:?}"
    );

    assert_eq!(running(bench.sshd.port(), "7208").len(), 1);
}

#[tokio::test]
async fn without_another_connection_calls_wait_and_can_be_stopped() {
    let mut bench = limited(3).await;
    let port = bench.sshd.port();
    fs::write(bench.sshd.dir().join("authorized_keys"), "").unwrap();
    let mut calls = Vec::new();

    for number in 0..9 {
        calls.push(
            bench
                .begin("ssh_exec", &format!("sleep 0.2; echo {number}"), plain())
                .await,
        );
    }

    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(
            bench.mcp.finish(call).await.ok().stdout(),
            format!("{number}\n")
        );
    }

    let tried = bench.sshd.log().matches("Connection from").count();
    bench.occupy(1, "7209").await;

    let stopped = bench
        .begin(
            "ssh_exec",
            "trap '' INT TERM; sleep 7210",
            json!({"timeoutMs": 700}),
        )
        .await;

    let waiting = bench.begin("ssh_exec", "echo waited", plain()).await;

    assert_stopped(
        &bench.mcp.finish(stopped).await.ok(),
        "timedOut",
        port,
        "7210",
    );

    assert_eq!(bench.mcp.finish(waiting).await.ok().stdout(), "waited\n");
    let now = bench.sshd.log().matches("Connection from").count();
    assert_eq!(now, tried, "a log-in that was refused is not tried again");
}

#[tokio::test]
async fn a_connection_that_max_startups_drops_is_dialled_again() {
    let mut bench = limited_with(1, "1").await;
    bench.occupy(1, "7211").await;

    // Somebody who does not log in takes the only place there is for those.
    let mut idler = TcpStream::connect((Ipv4Addr::LOCALHOST, bench.sshd.port())).unwrap();
    idler
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();

    idler.read_exact(&mut [0; 4]).unwrap();
    let call = bench.begin("ssh_exec", "echo in", plain()).await;
    eventually("the dial is dropped", || {
        bench.sshd.log().contains("past MaxStartups")
    })
    .await;

    drop(idler);
    assert_eq!(bench.mcp.finish(call).await.ok().stdout(), "in\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_on_another_machine_of_the_same_name() {
    let folder = tempfile::tempdir().unwrap();
    let password = Some("a secret".to_owned());
    let sshd = FakeSshd::start(FakeSshdSettings {
        password,
        max_sessions: 1,
        ..FakeSshdSettings::default()
    });

    let config = sshd.write_ssh_config(folder.path(), "host", "");
    let mut mcp = McpClient::start(&config, folder.path()).await;

    mcp.call(
        "ssh_connect",
        json!({"host": "host", "password": "a secret"}),
    )
    .await
    .ok();

    let long = mcp
        .begin_call("ssh_exec", json!({"command": "sleep 7212"}))
        .await;
    eventually("it runs", || running(sshd.port(), "7212").len() == 1).await;
    let known = sshd.known_hosts_line();
    sshd.replace_host_key();
    fs::write(
        folder.path().join("known_hosts"),
        known + &sshd.known_hosts_line(),
    )
    .unwrap();

    let waiting = mcp
        .begin_call("ssh_exec", json!({"command": "echo waited"}))
        .await;

    eventually("the other machine was met twice", || {
        sshd.connections() >= 3
    })
    .await;

    assert!(
        !sshd
            .commands()
            .iter()
            .any(|command| command.contains("waited")),
        "{:?}",
        sshd.commands()
    );

    mcp.cancel(long).await;
    assert_eq!(mcp.finish(waiting).await.ok().stdout(), "waited\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn further_connections_use_the_password_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let sshd = FakeSshd::start(FakeSshdSettings {
        password: Some("a secret".to_owned()),
        max_sessions: 2,
        ..FakeSshdSettings::default()
    });

    let config = sshd.write_ssh_config(folder.path(), "host", "");
    let mut mcp = McpClient::start(&config, folder.path()).await;

    mcp.call(
        "ssh_connect",
        json!({"host": "host", "password": "a secret"}),
    )
    .await
    .ok();

    let started = Instant::now();
    let mut calls = Vec::new();

    for number in 0..6 {
        let command = format!(
            "touch {number}; until ls 0 1 2 3 4 5; do sleep 0.1; done >/dev/null 2>&1; echo {number}"
        );
        calls.push(
            mcp.begin_call("ssh_exec", json!({"command": command}))
                .await,
        );
    }

    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(
            mcp.finish(call).await.ok().stdout(),
            format!("{number}\n"),
            "{:?}",
            started.elapsed()
        );
    }

    assert!(sshd.connections() >= 3, "{}", sshd.connections());
}
