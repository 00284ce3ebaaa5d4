//! Which session an answer comes from, and log-ins that are made anew.

use serde_json::json;

use crate::support::{
    checks::{eventually, plain},
    fixture::TestHost,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_names_its_session_when_several_are_connected() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    let first = client.connect(json!({"host": "box", "name": "web"})).await;
    assert!(
        !first.text().contains("calls without session"),
        "{}",
        first.text()
    );

    let file = world.folder().join("file");
    std::fs::write(&file, "content").unwrap();

    let calls = [
        ("ssh_exec", json!({"command": "true"})),
        ("ssh_shell", json!({"command": "cd /"})),
        ("ssh_exec", json!({"command": "sleep 60", "timeoutMs": 100})),
        (
            "ssh_upload",
            json!({"localPath": file, "remotePath": "copy"}),
        ),
        (
            "ssh_download",
            json!({"localPath": world.folder().join("back"), "remotePath": "copy"}),
        ),
    ];

    for (tool, arguments) in calls.clone() {
        let alone = client.call(tool, arguments).await.ok().text();
        assert!(!alone.contains("session web"), "{tool}: {alone}");
    }

    let second = client.connect(json!({"host": "other", "name": "db"})).await;
    assert!(
        second.text().ends_with("\ncalls without session go to web"),
        "{}",
        second.text()
    );

    assert_eq!(second.structured()["defaultSession"], "web");

    for (tool, arguments) in calls {
        for (session, meant) in [(None, "web"), (Some("db"), "db")] {
            let mut arguments = arguments.clone();
            arguments["session"] = json!(session);
            let answer = client.call(tool, arguments).await.ok().text();

            assert!(
                answer
                    .lines()
                    .last()
                    .unwrap()
                    .contains(&format!("session {meant}")),
                "{tool}: {answer}"
            );
        }
    }

    client
        .call("ssh_set_default", json!({"session": "db"}))
        .await
        .ok();

    let third = client.connect(json!({"host": "third"})).await;
    assert!(
        third.text().contains("calls without session go to db"),
        "{}",
        third.text()
    );

    // Each stands under its own name.
    let both = client
        .call(
            "ssh_exec",
            json!({"command": "true", "sessions": ["web", "db"]}),
        )
        .await
        .ok();

    assert!(
        !both.status_line().contains("session db"),
        "{}",
        both.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reconnecting_keeps_the_connection_or_logs_in_anew_if_asked() {
    let mut bench = TestHost::openssh().connect().await;
    let serving = |sshd: &crate::support::open_sshd::OpenSshd| sshd.serving();
    bench.shell("kept=yes; cd /tmp", plain()).await;
    let before = serving(&bench.sshd);
    let kept = bench.mcp.call("ssh_reconnect", plain()).await.ok();
    assert!(kept.text().contains("was kept"), "{}", kept.text());
    assert_eq!(
        (&kept.structured()["connection"], serving(&bench.sshd)),
        (&json!("kept"), before.clone())
    );

    for fresh in [json!(true), json!("true")] {
        let old = serving(&bench.sshd);
        let job = bench
            .start("sleep 2; echo through", json!({"background": true}))
            .await;

        let anew = bench
            .mcp
            .call("ssh_reconnect", json!({"fresh": fresh}))
            .await
            .ok();

        assert!(anew.text().contains("logged in anew"), "{}", anew.text());
        assert_eq!(anew.structured()["connection"], "renewed");
        assert!(
            serving(&bench.sshd).iter().any(|pid| !old.contains(pid)),
            "a log-in of its own"
        );

        // What ran goes on, and the shell has its state.
        assert_eq!(bench.job(&job, plain()).await.stdout(), "through\n");
        let shell = bench.shell("echo $kept; pwd", plain()).await;
        assert_eq!(shell.stdout(), "yes\n/tmp\n", "{}", shell.text());
        let sshd = &bench.sshd;
        eventually("the connection before has ended", || {
            old.iter().all(|pid| !sshd.serving().contains(pid))
        })
        .await;
    }

    bench.mcp.call("ssh_disconnect", plain()).await.ok();
    let made = bench.mcp.call("ssh_reconnect", plain()).await.ok();
    assert_eq!(made.structured()["connection"], "made", "{}", made.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_log_in_that_fails_leaves_the_connection_as_it_was() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    client.connect(json!({"host": "box"})).await;
    client
        .call("ssh_shell", json!({"command": "kept=yes"}))
        .await
        .ok();

    world.sshd.refuse_connections(true).await;
    let refused = client.call("ssh_reconnect", json!({"fresh": true})).await;
    assert!(
        refused.is_error() && refused.text().contains("could not connect"),
        "{}",
        refused.text()
    );

    assert_eq!(
        client
            .call("ssh_shell", json!({"command": "echo $kept"}))
            .await
            .stdout(),
        "yes\n"
    );

    assert_eq!(world.sshd.connections(), 1);
}
