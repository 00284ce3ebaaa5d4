//! The client's end of a question: clients that can be asked, and their answers.

use std::path::Path;

use serde_json::{Value, json};

use super::mcp_client::{McpClient, ToolResult};

/// A client, of the newest revision that has `initialize`, that declares these capabilities.
pub(crate) async fn client_with(capabilities: Value, config: &Path, folder: &Path) -> McpClient {
    let mut client = McpClient::start_silent(config, folder);
    let initialize_params = json!({
        "protocolVersion": "2025-11-25", "capabilities": capabilities,
        "clientInfo": {"name": "test", "version": "0"},
    });

    client.request("initialize", initialize_params).await;
    client
        .send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .await;

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
    client
        .send(&json!({"jsonrpc": "2.0", "id": question["id"], "result": result}))
        .await;
    question["params"].clone()
}

/// The next question of the server, with the id to answer it by. Notifications before it are passed over.
pub(crate) async fn next_question(client: &mut McpClient) -> (Value, Value) {
    loop {
        let message = client.message().await.expect("the server asks");
        if message["method"] == "elicitation/create" {
            return (message["id"].clone(), message["params"].clone());
        }
        assert!(message["id"].is_null(), "no question: {message}");
    }
}

/// The result of a call, before which nothing more is asked.
pub(crate) async fn result(client: &mut McpClient, call: u64) -> ToolResult {
    loop {
        let message = client.message().await.expect("the server answers");
        assert_ne!(message["method"], "elicitation/create", "{message}");
        if message["id"] == call {
            return ToolResult(message["result"].clone());
        }
    }
}

/// Answers a question.
pub(crate) async fn reply(client: &mut McpClient, id: &Value, result: Value) {
    client
        .send(&json!({"jsonrpc": "2.0", "id": id, "result": result}))
        .await;
}
