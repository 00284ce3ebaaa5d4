//! Names in errors.

use serde_json::json;

use super::{HOSTILE, assert_harmless};
use crate::support::fixture::TestHost;

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_one_line_of_message_and_one_of_hint() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    client.connect(json!({"host": "box"})).await;
    let here = world.folder().join("file");
    std::fs::write(&here, "x").unwrap();
    let here = here.to_str().unwrap();

    for name in [
        HOSTILE,
        "a\nhint: b",
        "\u{1b}[2J",
        "\u{202e}txt\u{2069}",
        "a\rb\tc\u{85}d\u{2029}e",
        "'\";$(id)\\\n`",
    ] {
        let nowhere = format!("/none/{name}");

        let mut calls = vec![
            ("ssh_connect", json!({"host": name})),
            ("ssh_connect", json!({"host": "box", "name": name})),
            (
                "ssh_connect",
                json!({"host": "box", "name": "other", "user": name}),
            ),
            (
                "ssh_connect",
                json!({"host": "box", "name": "other", "keyPath": nowhere}),
            ),
            ("ssh_exec", json!({"command": "true", "session": name})),
            ("ssh_exec", json!({"command": "true", "sessions": [name]})),
            ("ssh_exec", json!({"command": "true", "env": {(name): "x"}})),
            ("ssh_shell", json!({"command": "true", "session": name})),
            ("ssh_job", json!({"job": name})),
            ("ssh_job", json!({"session": name})),
            (
                "ssh_upload",
                json!({"localPath": nowhere, "remotePath": "x"}),
            ),
            (
                "ssh_upload",
                json!({"localPath": here, "remotePath": nowhere}),
            ),
            (
                "ssh_download",
                json!({"localPath": here, "remotePath": nowhere}),
            ),
        ];

        for tool in ["ssh_upload", "ssh_download"] {
            calls.push((
                tool,
                json!({"localPath": here, "remotePath": "x", "session": name}),
            ));
        }

        for tool in ["ssh_reconnect", "ssh_disconnect", "ssh_set_default"] {
            calls.push((tool, json!({"session": name})));
        }

        for tool in [
            "ssh_connect",
            "ssh_exec",
            "ssh_shell",
            "ssh_job",
            "ssh_upload",
            "ssh_download",
            "ssh_sessions",
        ] {
            calls.push((tool, json!({(name): 1})));
        }

        for (tool, arguments) in calls {
            let refused = client.call(tool, arguments.clone()).await;
            let what = format!("{tool} {arguments}");
            assert!(refused.is_error(), "{what}: {}", refused.text());
            for block in refused.blocks() {
                assert_harmless(&what, &block);
            }

            let error = refused.blocks().pop().unwrap();
            let lines: Vec<_> = error.lines().collect();
            assert!(
                lines.len() == 2 && lines[1].starts_with("hint: "),
                "{what}: {error}"
            );
        }
    }

    assert_eq!(world.store()["sessions"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_answers_stay_in_their_lines() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    client.connect(json!({"host": "box"})).await;
    let name = "a\u{1b}[2J\n1 file \u{202e}b";
    let here = world.folder().join(name);
    std::fs::write(&here, "x").unwrap();
    let there = world.sshd.home().join(name);
    let [here, there] = [&here, &there].map(|path| path.to_str().unwrap());

    for tool in ["ssh_upload", "ssh_download"] {
        let moved = client
            .call(tool, json!({"localPath": here, "remotePath": there}))
            .await
            .ok();

        let text = moved.text();
        assert_harmless(tool, &text);
        assert!(
            text.lines().count() == 1 && text.contains("/a\\u{1b}[2J\\n1 file \\u{202e}b ("),
            "{text}"
        );
    }

    client
        .call(
            "ssh_exec",
            json!({"command": format!(": '{name}'; sleep 9"), "background": true}),
        )
        .await
        .ok();

    let listed = client.call("ssh_job", json!({})).await.ok();
    assert_harmless("ssh_job", &listed.text());
    assert_eq!(listed.text().lines().count(), 1, "{}", listed.text());
}
