//! The Model Context Protocol: every revision, the catalogue of tools, and whatever a client may send by mistake.

mod arguments;
mod bad_input;
mod program;
mod prompts_and_resources;

use std::path::Path;

use serde_json::{Value, json};

use crate::support::mcp_client::{McpClient, ToolResult};

/// The revisions with `initialize`, and the one without.
const WITH_INITIALIZE: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
const WITHOUT_INITIALIZE: &str = "2026-07-28";

/// Where nothing is found out about the person's own configuration.
const NO_CONFIG: &str = "/dev/null";

/// The capabilities: no list of ours tells when it changes.
fn declared() -> Value {
    json!({"tools": {}, "prompts": {}, "resources": {}, "completions": {}})
}

fn initialize_params(version: &str) -> Value {
    json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}})
}

/// Parameters with the `_meta` that every request of the revision without `initialize` carries.
fn with_meta(mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": WITHOUT_INITIALIZE,
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    params
}

async fn tools(client: &mut McpClient) -> Vec<Value> {
    client.request("tools/list", json!({})).await["result"]["tools"]
        .as_array()
        .unwrap()
        .clone()
}

#[tokio::test]
async fn every_revision_with_initialize_is_spoken() {
    for version in WITH_INITIALIZE {
        let folder = tempfile::tempdir().unwrap();
        let mut client = McpClient::start_silent(Path::new(NO_CONFIG), folder.path());
        let result = client
            .request("initialize", initialize_params(version))
            .await["result"]
            .clone();
        assert_eq!(result["protocolVersion"], version);
        assert_eq!(result["serverInfo"]["name"], "mcp-ssh-sessions");
        assert_eq!(result["serverInfo"]["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(
            result["capabilities"],
            declared(),
            "{version}: only what there is"
        );

        assert!(
            result["instructions"]
                .as_str()
                .unwrap()
                .contains("ssh_connect")
        );

        client
            .send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
            .await;

        assert_eq!(
            client.request("ping", json!({})).await["result"],
            json!({}),
            "{version}"
        );

        assert_eq!(tools(&mut client).await.len(), 14, "{version}");
        let listing = client.call("ssh_sessions", json!({})).await.ok();
        assert_eq!(listing.structured(), &json!({"sessions": []}), "{version}");
        assert!(listing.text().contains("no sessions"), "{version}");
        client.close().await;
    }
}

#[tokio::test]
async fn an_unknown_revision_is_answered_with_the_newest_possible() {
    for version in ["1999-01-01", "2099-12-31", WITHOUT_INITIALIZE, "nonsense"] {
        let folder = tempfile::tempdir().unwrap();
        let mut client = McpClient::start_silent(Path::new(NO_CONFIG), folder.path());
        let result = client
            .request("initialize", initialize_params(version))
            .await["result"]
            .clone();
        assert_eq!(result["protocolVersion"], "2025-11-25", "{version}");
        assert_eq!(tools(&mut client).await.len(), 14, "{version}");
    }
}

#[tokio::test]
async fn the_revision_without_initialize_is_spoken() {
    let folder = tempfile::tempdir().unwrap();
    let mut client = McpClient::start_silent(Path::new(NO_CONFIG), folder.path());
    let found = client
        .request("server/discover", with_meta(json!({})))
        .await["result"]
        .clone();

    let mut versions = WITH_INITIALIZE.to_vec();
    versions.push(WITHOUT_INITIALIZE);
    assert_eq!(found["supportedVersions"], json!(versions));
    assert_eq!(
        (&found["resultType"], &found["capabilities"]),
        (&json!("complete"), &declared())
    );

    assert_eq!(
        found["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
        "mcp-ssh-sessions"
    );

    assert!(
        found["instructions"]
            .as_str()
            .unwrap()
            .contains("ssh_connect")
    );

    let listed = client.request("tools/list", with_meta(json!({}))).await["result"].clone();

    assert_eq!(
        (
            listed["tools"].as_array().unwrap().len(),
            &listed["resultType"]
        ),
        (14, &json!("complete"))
    );

    assert!(
        listed["ttlMs"].is_u64() && listed["cacheScope"].is_string(),
        "{listed}"
    );

    let call = with_meta(json!({"name": "ssh_sessions", "arguments": {}}));
    let result = client.request("tools/call", call).await["result"].clone();
    assert_eq!(
        (
            &result["resultType"],
            &result["_meta"]["mcp-ssh-sessions/result"]
        ),
        (&json!("complete"), &json!({"sessions": []}))
    );

    let call = with_meta(json!({"name": "ssh_exec", "arguments": {"command": "true"}}));
    let result = client.request("tools/call", call).await["result"].clone();
    assert!(ToolResult(result).is_error(), "no session");

    // What is not as it must be is refused, and the next request is served.
    let mut unknown = with_meta(json!({}));
    unknown["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2099-12-31");

    for (method, params, part) in [
        ("tools/list", json!({}), "_meta"),
        ("tools/list", unknown, "Unsupported protocol version"),
        ("ping", with_meta(json!({})), "ping"),
        (
            "resources/subscribe",
            with_meta(json!({"uri": "a"})),
            "resources/subscribe",
        ),
    ] {
        let answer = client.request(method, params).await;

        assert!(
            answer["error"]["message"]
                .as_str()
                .is_some_and(|text| text.contains(part)),
            "{method}: {answer}"
        );

        let listed = client.request("tools/list", with_meta(json!({}))).await;
        assert!(listed["result"].is_object(), "after {method}: {listed}");
    }
}

#[tokio::test]
async fn a_client_that_looks_before_it_says_hello_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let mut client = McpClient::start_silent(Path::new(NO_CONFIG), folder.path());

    // As clients do that know both: discover, give up on it, initialize.
    let probe = client.begin("server/discover", with_meta(json!({}))).await;
    client.cancel(probe).await;
    client.answer(probe).await;
    client
        .send(&json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}))
        .await;

    assert!(client.request("tools/list", json!({})).await["error"].is_object());
    client
        .send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .await;

    assert_eq!(client.initialize().await["protocolVersion"], "2025-11-25");
    assert_eq!(tools(&mut client).await.len(), 14);
}

/// Some less than the contract allows, which counts the whole answer.
const MAX_LIST_BYTES: usize = 7_460;

#[tokio::test]
async fn the_catalogue_is_small_and_says_honestly_what_each_tool_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut client = McpClient::start(Path::new(NO_CONFIG), folder.path()).await;
    let answer = client.request("tools/list", json!({})).await;
    let list = answer["result"]["tools"].to_string();
    assert!(list.len() < MAX_LIST_BYTES, "{} bytes", list.len());
    let tools = tools(&mut client).await;

    // Name, read-only, destructive. An annotation that is not given has the default of MCP.
    let expected = [
        ("ssh_connect", false, false),
        ("ssh_exec", false, true),
        ("ssh_shell", false, true),
        ("ssh_job", false, true),
        ("ssh_read", true, true),
        ("ssh_search", true, true),
        ("ssh_edit", false, true),
        ("ssh_upload", false, true),
        ("ssh_download", false, true),
        ("ssh_forward", false, false),
        ("ssh_sessions", true, true),
        ("ssh_reconnect", false, false),
        ("ssh_disconnect", false, false),
        ("ssh_set_default", false, false),
    ];

    assert_eq!(tools.len(), expected.len());

    for (tool, (name, reads_only, destructive)) in tools.iter().zip(expected) {
        assert_eq!(tool["name"], name);
        let hint = |hint: &str, default| tool["annotations"][hint].as_bool().unwrap_or(default);
        assert_eq!(hint("readOnlyHint", false), reads_only, "{name}");
        assert_eq!(hint("destructiveHint", true), destructive, "{name}");

        assert!(
            tool["description"]
                .as_str()
                .is_some_and(|text| (20..200).contains(&text.len())),
            "{name}"
        );

        // What no model reads is not sent: output schemas, titles, bounds, formats, defaults.
        let text = tool.to_string();
        for word in [
            "outputSchema",
            "title",
            "minimum",
            "maximum",
            "format",
            "default\":",
            "$schema",
        ] {
            assert!(
                !text.contains(&format!("\"{word}")),
                "{name}: {word}: {text}"
            );
        }

        assert_eq!(tool["inputSchema"]["type"], "object", "{name}");
    }
}

#[tokio::test]
async fn the_catalogue_is_as_reviewed() {
    let folder = tempfile::tempdir().unwrap();
    let mut client = McpClient::start(Path::new(NO_CONFIG), folder.path()).await;
    for tool in tools(&mut client).await {
        insta::assert_json_snapshot!(tool["name"].as_str().unwrap(), tool);
    }
}

#[tokio::test]
async fn the_instructions_are_as_reviewed_and_begin_with_what_this_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut client = McpClient::start_silent(Path::new(NO_CONFIG), folder.path());
    let initialized = client.initialize().await;
    let instructions = initialized["instructions"].as_str().unwrap();

    // Codex shows the first line, cut at 250 characters.
    let first = instructions.lines().next().unwrap();
    assert!(
        first.chars().count() <= 250 && first.ends_with('.'),
        "{first}"
    );

    for word in [
        "SSH",
        "remote",
        "server",
        "command",
        "ssh_exec",
        "ssh_connect",
        "files",
        "SFTP",
    ] {
        assert!(first.contains(word), "{word:?} is missing in: {first}");
    }

    // About five bytes a token: 220 tokens.
    assert!(instructions.len() < 1_080, "{} bytes", instructions.len());
    insta::assert_snapshot!("instructions", instructions);
}
