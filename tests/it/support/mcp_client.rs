//! An MCP client on an in-memory pipe: plain JSON-RPC to the library's server, as a program would be spoken to.

use std::{path::Path, sync::Arc, time::Duration};

use mcp_ssh_sessions::{
    mcp::transport::stdio::serve_over,
    session::registry::{RegistryOptions, SessionRegistry},
    ssh::prompt::askpass::Askpass,
};
use serde_json::{Value, json};
use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, Lines, ReadHalf,
        WriteHalf, duplex, split,
    },
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// No answer of a test takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A client with its own server: its own registry, store and output folder.
pub(crate) struct McpClient {
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    write: Option<WriteHalf<DuplexStream>>,
    next_id: u64,
    /// Answers that arrived while another was waited for.
    early: Vec<Value>,
    serving: JoinHandle<()>,
}

impl McpClient {
    /// Starts a server that resolves with `ssh_config` and keeps everything in `folder`, and initializes MCP.
    pub(crate) async fn start(ssh_config: &Path, folder: &Path) -> Self {
        let mut client = Self::start_silent(ssh_config, folder);
        client.initialize().await;
        client
    }

    /// The same with a program that asks for secrets.
    pub(crate) async fn with_askpass(ssh_config: &Path, folder: &Path, askpass: &Path) -> Self {
        let mut client = Self::with_registry(SessionRegistry::new(RegistryOptions {
            ssh_config: Some(ssh_config.to_owned()),
            store: Some(folder.join("sessions.json")),
            output: Some(folder.join("output")),
            settings: Arc::default(),
            own: Vec::new(),
            askpass: Some(Askpass::program(askpass)),
        }));

        client.initialize().await;
        client
    }

    /// the same without initializing.
    pub(crate) fn start_silent(ssh_config: &Path, folder: &Path) -> Self {
        let registry = SessionRegistry::new(RegistryOptions {
            ssh_config: Some(ssh_config.to_owned()),
            store: Some(folder.join("sessions.json")),
            output: Some(folder.join("output")),
            settings: Arc::default(),
            own: Vec::new(),
            askpass: None,
        });

        Self::with_registry(registry)
    }

    /// A client of a registry that the test has made.
    pub(crate) fn with_registry(registry: Arc<SessionRegistry>) -> Self {
        let (ours, theirs) = duplex(1024 * 1024);
        let (input, output) = split(theirs);

        let serving = tokio::spawn(serve_over(
            registry,
            input,
            output,
            CancellationToken::new(),
        ));

        let (read, write) = split(ours);

        Self {
            lines: BufReader::new(read).lines(),
            write: Some(write),
            next_id: 0,
            early: Vec::new(),
            serving,
        }
    }

    /// `initialize` and `notifications/initialized`; returns the result.
    pub(crate) async fn initialize(&mut self) -> Value {
        let initialize_params = json!({
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "0"},
        });
        let answer = self.request("initialize", initialize_params).await;
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
            .await;
        answer["result"].clone()
    }

    /// Sends one message.
    pub(crate) async fn send(&mut self, message: &Value) {
        self.send_raw(format!("{message}\n").as_bytes()).await;
    }

    /// Sends bytes as they are.
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.write
            .as_mut()
            .expect("stdin is open")
            .write_all(bytes)
            .await
            .expect("the server reads");
    }

    /// Sends a request without waiting for its answer; returns its id.
    pub(crate) async fn begin(&mut self, method: &str, params: Value) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
            .await;
        id
    }

    /// Begins the call of a tool; [`finish`](Self::finish) waits for it.
    pub(crate) async fn begin_call(&mut self, tool: &str, arguments: Value) -> u64 {
        self.begin("tools/call", json!({"name": tool, "arguments": arguments}))
            .await
    }

    /// The answer to a request.
    pub(crate) async fn answer(&mut self, id: u64) -> Value {
        if let Some(at) = self.early.iter().position(|message| message["id"] == id) {
            return self.early.swap_remove(at);
        }

        loop {
            let message = self
                .message()
                .await
                .expect("the server answers before it ends");

            if message["id"] == id {
                return message;
            }

            self.early.push(message);
        }
    }

    /// The next message of any kind; `None` when the server has ended.
    pub(crate) async fn message(&mut self) -> Option<Value> {
        let line = timeout(PATIENCE, self.lines.next_line())
            .await
            .expect("an answer in time")
            .expect("readable")?;
        Some(serde_json::from_str(&line).expect("stdout carries JSON-RPC alone"))
    }

    /// A request and its answer.
    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params).await;
        self.answer(id).await
    }

    /// The result of a call that was begun.
    pub(crate) async fn finish(&mut self, id: u64) -> ToolResult {
        let answer = self.answer(id).await;
        assert!(answer["error"].is_null(), "a JSON-RPC error: {answer}");
        ToolResult(answer["result"].clone())
    }

    /// A call of a tool and its result.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> ToolResult {
        let id = self.begin_call(tool, arguments).await;
        self.finish(id).await
    }

    /// Connects a session.
    pub(crate) async fn connect(&mut self, arguments: Value) -> ToolResult {
        self.call("ssh_connect", arguments).await.ok()
    }

    /// Tells the server that the client gave a call up.
    pub(crate) async fn cancel(&mut self, id: u64) {
        let params = json!({"requestId": id, "reason": "test"});
        self.send(
            &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}),
        )
        .await;
    }

    /// Closes the server's stdin and waits for its end; returns how long that took.
    pub(crate) async fn close(mut self) -> Duration {
        let started = std::time::Instant::now();
        if let Some(mut write) = self.write.take() {
            write.shutdown().await.expect("closable");
        }

        timeout(PATIENCE, &mut self.serving)
            .await
            .expect("an end in time")
            .expect("no panic");

        started.elapsed()
    }
}

/// The result of a tool call.
#[derive(Debug, Clone)]
pub(crate) struct ToolResult(pub(crate) Value);

impl ToolResult {
    /// Whether the call could not be carried out.
    pub(crate) fn is_error(&self) -> bool {
        self.0["isError"] == true
    }

    /// Panics with the text if the call could not be carried out.
    pub(crate) fn ok(self) -> Self {
        assert!(!self.is_error(), "{}", self.text());
        self
    }

    /// All text blocks.
    pub(crate) fn blocks(&self) -> Vec<String> {
        let blocks = self.0["content"].as_array().expect("content");
        blocks
            .iter()
            .map(|block| block["text"].as_str().expect("a text block").to_owned())
            .collect()
    }

    /// All text, as a model reads it.
    pub(crate) fn text(&self) -> String {
        self.blocks().join("\n")
    }

    /// The status line of a command.
    pub(crate) fn status_line(&self) -> String {
        self.blocks().pop().expect("a status line")
    }

    /// What a command printed on stdout.
    pub(crate) fn stdout(&self) -> String {
        let mut blocks = self.blocks();
        blocks.pop();
        blocks
            .into_iter()
            .next()
            .filter(|block| !block.starts_with("[stderr]\n"))
            .unwrap_or_default()
    }

    /// What a command printed on stderr.
    pub(crate) fn stderr(&self) -> String {
        let blocks = self.blocks();
        blocks
            .iter()
            .find_map(|block| block.strip_prefix("[stderr]\n").map(str::to_owned))
            .unwrap_or_default()
    }

    /// The typed outcome of a command.
    pub(crate) fn outcome(&self) -> &Value {
        &self.0["_meta"]["mcp-ssh-sessions/outcome"]
    }

    /// The typed facts of a tool that has no outcome.
    pub(crate) fn structured(&self) -> &Value {
        &self.0["_meta"]["mcp-ssh-sessions/result"]
    }
}
