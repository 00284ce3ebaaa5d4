//! Questions put to the person at the client.

mod host_keys;

use std::path::Path;

use serde_json::{Value, json};

use crate::support::mcp_client::McpClient;

/// A client, of the newest revision that has `initialize`, that declares these capabilities.
pub(crate) async fn client_with(capabilities: Value, config: &Path, folder: &Path) -> McpClient {
    let mut client = McpClient::start_silent(config, folder);
    let hello = json!({
        "protocolVersion": "2025-11-25", "capabilities": capabilities,
        "clientInfo": {"name": "test", "version": "0"},
    });
    client.request("initialize", hello).await;
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    client
}

/// The parameters of a call in the revision without `initialize`, by a client with these capabilities.
pub(crate) fn stateless(capabilities: &Value, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    });
    params
}

/// The next question of the server, answered with `result`. Anything else that comes is an error.
pub(crate) async fn answer_question(client: &mut McpClient, result: Value) -> Value {
    let question = client.message().await.expect("the server asks");
    assert_eq!(question["method"], "elicitation/create", "{question}");
    client.send(&json!({"jsonrpc": "2.0", "id": question["id"], "result": result})).await;
    question["params"].clone()
}
