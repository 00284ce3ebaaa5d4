//! Questions of the built program to a client that speaks HTTP.

use serde_json::json;

use crate::support::{
    daemon::Daemon,
    fixture::TestHost,
    http_client::{Dialect, HttpClient},
    page::Page,
};

const SECRET: &str = "correct-horse-battery";

#[tokio::test]
async fn a_secret_is_asked_for_on_the_calls_stream_and_never_written() {
    let world = TestHost::fake_with_password(SECRET);
    for dialect in Dialect::KINDS {
        let folder = tempfile::tempdir().unwrap();
        let daemon = Daemon::start(&world.config, folder.path(), &[]).await;

        let mut client = HttpClient::connect_as(
            &daemon.address,
            dialect,
            None,
            json!({"elicitation": {"url": {}}}),
        )
        .await;

        let mut arguments = json!({"name": "ssh_connect", "arguments": {"host": "box"}});

        if dialect == Dialect::Stateless {
            let asked = client.request("tools/call", arguments.clone()).await["result"].clone();
            Page::from_params(&asked["inputRequests"]["person"]["params"])
                .type_in(SECRET)
                .await;

            arguments["requestState"] = asked["requestState"].clone();
            arguments["inputResponses"] = json!({"person": {"action": "accept"}});
            let connected = client.request("tools/call", arguments).await["result"].clone();
            assert_ne!(connected["isError"], true, "{connected}");
        } else {
            let mut call = client.begin("tools/call", arguments).await;
            if let Some(wire) = &mut call.wire {
                wire.head().await.unwrap();
            }

            // No other stream is open on which it could come.
            let question = client.message(&mut call).await;
            assert_eq!(question["method"], "elicitation/create", "{question}");

            assert_eq!(
                client
                    .respond(&question["id"], json!({"action": "accept"}))
                    .await
                    .status,
                202
            );

            Page::from_params(&question["params"]).type_in(SECRET).await;

            let connected = loop {
                let message = client.message(&mut call).await;
                if message["id"] == call.id {
                    break message;
                }
            };

            assert!(
                connected["result"]["isError"] != true && !connected.to_string().contains(SECRET),
                "{connected}"
            );
        }

        world.sshd.drop_connections();

        assert_eq!(
            client
                .call("ssh_exec", json!({"command": "echo again"}))
                .await
                .ok()
                .stdout(),
            "again\n"
        );

        // The log at its most talkative, the store and everything else.
        assert!(
            daemon.log().contains("tool=ssh_exec answered=true"),
            "{}",
            daemon.log()
        );

        let found = std::process::Command::new("grep")
            .args(["-rlF", SECRET])
            .arg(folder.path())
            .output()
            .unwrap();

        assert_eq!(
            (
                found.status.code(),
                String::from_utf8_lossy(&found.stdout).as_ref()
            ),
            (Some(1), "")
        );
    }
}
