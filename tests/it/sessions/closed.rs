//! A server that lets in and closes the connection at once: an account that is locked, or logged in too often.

use serde_json::json;

use crate::support::{
    checks::assert_refused,
    fake_sshd::{FakeSshd, FakeSshdSettings},
    fixture::TestHost,
};

fn closing() -> TestHost<FakeSshd> {
    TestHost::fake_with(
        FakeSshdSettings {
            closes: Some("Too many logins for 'agent'."),
            ..FakeSshdSettings::default()
        },
        "",
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_one_error_with_the_servers_words_after_few_log_ins() {
    for (tool, arguments) in [
        ("ssh_exec", json!({"command": "true"})),
        ("ssh_shell", json!({"command": "true"})),
        (
            "ssh_download",
            json!({"remotePath": "/etc/passwd", "localPath": "x"}),
        ),
        (
            "ssh_upload",
            json!({"remotePath": "x", "localPath": "/etc/passwd"}),
        ),
    ] {
        let world = closing();
        let mut client = world.client().await;
        client.call("ssh_connect", json!({"host": "box"})).await;
        let refused = client.call(tool, arguments.clone()).await;
        let parts = [
            "closes the connection right after each log-in",
            "Too many logins for 'agent'",
            "do not call again",
        ];

        assert_refused(&refused, &parts);
        assert!(
            !refused.text().contains("reconnects by itself"),
            "{tool}: {}",
            refused.text()
        );

        for _ in 0..3 {
            assert_refused(&client.call(tool, arguments.clone()).await, &parts);
        }

        assert!(
            world.sshd.connections() <= 4,
            "{tool}: {} log-ins",
            world.sshd.connections()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_were_of_use_may_be_lost_as_often_as_they_like() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    client.connect(json!({"host": "box"})).await;

    for count in 0..6 {
        let answer = client
            .call("ssh_exec", json!({"command": format!("echo {count}")}))
            .await
            .ok();

        assert_eq!(answer.stdout(), format!("{count}\n"));
        world.sshd.drop_connections();
    }
}
