//! What clients offer to people: prompts with completion, and resources.

use std::path::Path;

use serde_json::json;

use super::NO_CONFIG;
use crate::support::{
    checks::counted,
    mcp_client::McpClient,
    open_sshd::{OpenSshd, OpenSshdSettings},
};

#[tokio::test]
async fn a_prompt_names_the_session_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut client = McpClient::start(Path::new(NO_CONFIG), folder.path()).await;
    let listed = client.request("prompts/list", json!({})).await["result"].clone();
    assert_eq!(listed["prompts"][0]["name"], "check-host", "{listed}");

    for (arguments, part) in [
        (json!({"session": "web"}), "\"web\""),
        (json!({"session": "  "}), "the default SSH session"),
        (json!({}), "the default SSH session"),
    ] {
        let params = json!({"name": "check-host", "arguments": arguments});
        let prompt = client.request("prompts/get", params).await["result"].clone();
        let text = prompt["messages"][0]["content"]["text"].as_str().unwrap();
        assert!(text.contains(part) && text.contains("ssh_exec"), "{text}");
    }
}

#[tokio::test]
async fn sessions_and_whole_outputs_are_completed_listed_and_read() {
    let sshd = OpenSshd::start(&OpenSshdSettings::default());
    let config = sshd.write_ssh_config("web", "");
    let folder = tempfile::tempdir().unwrap();
    let mut client = McpClient::start(&config, folder.path()).await;
    client
        .call("ssh_connect", json!({"host": "web"}))
        .await
        .ok();

    for (typed, names) in [
        ("", json!(["web"])),
        ("we", json!(["web"])),
        ("x", json!([])),
    ] {
        let params = json!({
            "ref": {"type": "ref/prompt", "name": "check-host"},
            "argument": {"name": "session", "value": typed},
        });

        let completion =
            client.request("completion/complete", params).await["result"]["completion"].clone();
        assert_eq!(completion["values"], names, "{typed:?}");
    }

    let sessions = client
        .request("resources/read", json!({"uri": "ssh-sessions://sessions"}))
        .await;
    let text = sessions["result"]["contents"][0]["text"].as_str().unwrap();
    let sessions: serde_json::Value = serde_json::from_str(text).unwrap();

    assert_eq!(
        (
            &sessions["sessions"][0]["name"],
            &sessions["sessions"][0]["state"]
        ),
        (&json!("web"), &json!("connected"))
    );

    for (command, whole) in [
        (
            "seq 0 99999",
            Ok(counted(100_000, |number| format!("{number}\n"))),
        ),
        ("head -c 100000 /dev/zero | tr '\\0' '\\377'", Err(100_000)),
        ("seq 0 999999", Err(0)),
    ] {
        let result = client
            .call("ssh_exec", json!({"command": command}))
            .await
            .ok();

        let file = Path::new(result.outcome()["outputFile"].as_str().unwrap())
            .file_name()
            .unwrap()
            .to_owned();

        let uri = format!("ssh-sessions://output/{}", file.to_str().unwrap());
        let listed =
            client.request("resources/list", json!({})).await["result"]["resources"].clone();
        let resource = listed
            .as_array()
            .unwrap()
            .iter()
            .find(|resource| resource["uri"] == json!(uri));

        assert_eq!(
            resource.unwrap()["size"],
            result.outcome()["stdoutBytes"],
            "{command}"
        );

        let read =
            client.request("resources/read", json!({"uri": uri})).await["result"]["contents"][0]
                .clone();

        match whole {
            Ok(text) => assert_eq!(read["text"], json!(text)),
            // Two mebibytes: both ends, and how much is missing.
            Err(0) => {
                let text = read["text"].as_str().unwrap();
                assert!(
                    text.starts_with("0\n1\n")
                        && text.ends_with("999999\n")
                        && text.contains("bytes left out")
                );

                assert!(text.len() < 1_100_000, "{}", text.len());
            }
            Err(length) => assert!(
                read["blob"]
                    .as_str()
                    .is_some_and(|blob| blob.len() > length),
                "{read}"
            ),
        }
    }
}
