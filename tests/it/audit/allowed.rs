//! Who allowed a call: the settings, or the person, and for how long.

use std::{fs, sync::Arc};

use mcp_ssh_sessions::session::{
    registry::{RegistryOptions, SessionRegistry},
    settings_file::SettingsFile,
};
use serde_json::{Value, json};

use super::Audited;
use crate::support::{
    fixture::TestHost,
    mcp_client::{McpClient, ToolResult},
    questions::{next_question, reply, result},
};

/// A client that shows forms, of a process that records its calls.
async fn with_forms<S>(audited: &Audited<S>) -> McpClient {
    let registry = SessionRegistry::new(RegistryOptions {
        ssh_config: Some(audited.host.config.clone()),
        store: Some(audited.host.local("sessions.json")),
        output: None,
        settings: Arc::new(SettingsFile::named(audited.settings.clone())),
        own: Vec::new(),
        askpass: None,
    });

    let mut client = McpClient::with_registry(registry);
    let params = json!({
        "protocolVersion": "2025-11-25", "capabilities": {"elicitation": {"form": {}}},
        "clientInfo": {"name": "test", "version": "0"},
    });
    client.request("initialize", params).await;
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    client.send(&initialized).await;

    client
}

/// Runs a command, and answers the question about it.
async fn run(client: &mut McpClient, command: &str, word: Option<&str>) -> ToolResult {
    let arguments = json!({"session": "host", "command": command});
    let call = client.begin_call("ssh_exec", arguments).await;

    if let Some(word) = word {
        let (id, _) = next_question(client).await;
        let answer = json!({"action": "accept", "content": {"answer": word}});
        reply(client, &id, answer).await;
    }

    result(client, call).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_call_says_who_allowed_it() {
    let audited = Audited::new(TestHost::openssh(), "[host.host]\nrun = 'ask'");
    let mut client = with_forms(&audited).await;
    client.connect(json!({"host": "host"})).await;
    let allowed = || audited.last_end()["parts"][0]["allowed"].clone();
    assert_eq!(allowed(), json!(["settings"]));

    for (command, word, by) in [
        ("true", Some("once"), "person once"),
        (
            "echo",
            Some("for this conversation"),
            "person for this conversation",
        ),
        // Remembered.
        ("echo", None, "person for this conversation"),
    ] {
        run(&mut client, command, word).await.ok();
        assert_eq!(allowed(), json!([by]), "{command} {word:?}");
    }

    let refused = run(&mut client, "false", Some("no")).await;
    assert!(refused.is_error(), "{}", refused.text());
    let end = audited.last_end();
    assert_eq!(
        (&end["error"], &end["parts"][0]["allowed"]),
        (&json!("not allowed"), &Value::Null)
    );
    assert_eq!(
        end["parts"][0]["hosts"][0]["port"], audited.host.port,
        "{end}"
    );

    let text = fs::read_to_string(&audited.settings).unwrap();
    fs::write(
        &audited.settings,
        text.replace("run = 'ask'", "access = 'never'"),
    )
    .unwrap();
    let refused = run(&mut client, "true", None).await;
    assert!(refused.is_error(), "{}", refused.text());
    assert_eq!(audited.last_end()["error"], "not allowed");

    let (_, shown) = audited.audit(&["--host", "host", "--tool", "exec"]).await;
    for words in [
        "allowed by person once",
        "allowed by person for this conversation",
        "error: not allowed",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}
