//! An MCP client of a daemon, in each way of speaking MCP over HTTP.

use serde_json::{Value, json};

use super::{
    mcp_client::ToolResult,
    wire::{self, Answer, DaemonAddress, Wire},
};

/// The revision without sessions.
pub(crate) const STATELESS: &str = "2026-07-28";

/// A way of speaking MCP over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Streamable HTTP with a session, in this revision.
    Session(&'static str),
    /// Streamable HTTP of 2026-07-28.
    Stateless,
    /// HTTP+SSE of 2024-11-05.
    Legacy,
}

impl Dialect {
    /// One of each kind.
    pub(crate) const KINDS: [Self; 3] =
        [Self::Session("2025-11-25"), Self::Stateless, Self::Legacy];
}

/// A client.
pub(crate) struct HttpClient {
    address: DaemonAddress,
    dialect: Dialect,
    token: Option<String>,
    capabilities: Value,
    /// The session's id, once there is one.
    pub(crate) session: Option<String>,
    /// The event stream of HTTP+SSE, and where to POST.
    events: Option<(Wire, String)>,
    /// Messages that came before the answer that was waited for.
    pub(crate) others: Vec<Value>,
    next_id: u64,
}

/// A request that was sent. Dropping it closes its stream, where it has one of its own.
pub(crate) struct Pending {
    pub(crate) id: u64,
    pub(crate) wire: Option<Wire>,
}

impl HttpClient {
    /// A client that has initialized MCP.
    pub(crate) async fn connect(address: &DaemonAddress, dialect: Dialect) -> Self {
        Self::connect_with(address, dialect, None).await
    }

    /// The same with a token.
    pub(crate) async fn connect_with(
        address: &DaemonAddress,
        dialect: Dialect,
        token: Option<&str>,
    ) -> Self {
        Self::connect_as(address, dialect, token, json!({})).await
    }

    /// The same with capabilities.
    pub(crate) async fn connect_as(
        address: &DaemonAddress,
        dialect: Dialect,
        token: Option<&str>,
        capabilities: Value,
    ) -> Self {
        let mut client = Self {
            address: address.clone(),
            dialect,
            token: token.map(str::to_owned),
            capabilities,
            session: None,
            events: None,
            others: Vec::new(),
            next_id: 0,
        };

        let version = match dialect {
            Dialect::Stateless => return client,
            Dialect::Session(version) => version,
            Dialect::Legacy => {
                client.events = Some(client.open_events(&[]).await);
                "2024-11-05"
            }
        };

        let initialize_params = json!({
            "protocolVersion": version, "capabilities": client.capabilities, "clientInfo": {"name": "test", "version": "0"},
        });
        let mut pending = client.begin("initialize", initialize_params).await;

        if let Some(wire) = &mut pending.wire {
            let head = wire.head().await.expect("an answer");
            assert_eq!(
                (head.status, head.header("content-type")),
                (200, Some("text/event-stream")),
                "{head:?}"
            );

            client.session = head.header("mcp-session-id").map(str::to_owned);
            assert!(client.session.is_some(), "{head:?}");
            let answer = wire
                .message(pending.id, &mut client.others)
                .await
                .expect("an answer");

            assert_eq!(answer["result"]["protocolVersion"], version, "{answer}");
        } else {
            assert_eq!(
                client.answer(pending).await["result"]["protocolVersion"],
                version
            );
        }

        let accepted = client.notify("notifications/initialized", json!({})).await;
        assert_eq!(accepted.status, 202, "{accepted:?}");

        client
    }

    /// A client of HTTP+SSE that knows its daemon from before a restart, and does not initialize again.
    pub(crate) async fn come_back(address: &DaemonAddress) -> Self {
        let address = address.clone();

        let mut client = Self {
            address,
            dialect: Dialect::Legacy,
            token: None,
            capabilities: json!({}),
            session: None,
            events: None,
            others: Vec::new(),
            next_id: 100,
        };

        client.events = Some(
            client
                .open_events(&[("MCP-Protocol-Version", "2024-11-05")])
                .await,
        );

        client
    }

    /// Where a client of HTTP+SSE is told to POST.
    pub(crate) fn endpoint(&self) -> &str {
        &self.events.as_ref().expect("an event stream").1
    }

    /// Waits until the event stream of HTTP+SSE ends.
    pub(crate) async fn end(&mut self) {
        self.events.as_mut().expect("an event stream").0.end().await;
    }

    /// Sends a request and leaves its answer for [`answer`](Self::answer).
    pub(crate) async fn begin(&mut self, method: &str, mut params: Value) -> Pending {
        self.next_id += 1;
        let id = self.next_id;
        let mut more = Vec::new();

        if self.dialect == Dialect::Stateless {
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(STATELESS);
            params["_meta"]["io.modelcontextprotocol/clientInfo"] =
                json!({"name": "test", "version": "0"});
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
                self.capabilities.clone();
            more.push(("Mcp-Method", method.to_owned()));
            if let Some(name) = params["name"].as_str() {
                more.push(("Mcp-Name", name.to_owned()));
            }
        }

        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let mut wire = self.post(&message, &more).await;
        if self.events.is_some() {
            let accepted = wire.answer().await.expect("an answer");
            assert_eq!((accepted.status, accepted.body.as_str()), (202, "Accepted"));
            return Pending { id, wire: None };
        }

        Pending {
            id,
            wire: Some(wire),
        }
    }

    /// Begins the call of a tool.
    pub(crate) async fn begin_call(&mut self, tool: &str, arguments: Value) -> Pending {
        self.begin("tools/call", json!({"name": tool, "arguments": arguments}))
            .await
    }

    /// The answer to a request, whether it came as JSON or in an event stream.
    pub(crate) async fn answer(&mut self, pending: Pending) -> Value {
        let Some(mut wire) = pending.wire else {
            if let Some(at) = self
                .others
                .iter()
                .position(|message| message["id"] == pending.id)
            {
                return self.others.swap_remove(at);
            }

            let (events, _) = self.events.as_mut().expect("an event stream");
            return events
                .message(pending.id, &mut self.others)
                .await
                .expect("an answer");
        };

        let head = wire.head().await.expect("an answer");

        if head.header("content-type") == Some("text/event-stream") {
            return wire
                .message(pending.id, &mut self.others)
                .await
                .expect("an answer");
        }

        let body = wire.chunk().await.unwrap_or_default();

        serde_json::from_slice(&body)
            .unwrap_or_else(|_| panic!("{head:?}: {}", String::from_utf8_lossy(&body)))
    }

    /// The next message in the event stream of a call whose head was read, or of HTTP+SSE.
    pub(crate) async fn message(&mut self, pending: &mut Pending) -> Value {
        let events = self.events.as_mut().map(|(events, _)| events);
        let wire = pending.wire.as_mut().or(events).expect("an event stream");
        loop {
            let event = wire.event().await.expect("a message");
            if !event.data.is_empty() {
                return serde_json::from_str(&event.data).expect("JSON");
            }
        }
    }

    /// Answers a request of the server.
    pub(crate) async fn respond(&self, id: &Value, result: Value) -> Answer {
        let message = json!({"jsonrpc": "2.0", "id": id, "result": result});
        self.post(&message, &[])
            .await
            .answer()
            .await
            .expect("an answer")
    }

    /// A request and its answer.
    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Value {
        let pending = self.begin(method, params).await;
        self.answer(pending).await
    }

    /// The result of a call that was begun.
    pub(crate) async fn finish(&mut self, pending: Pending) -> ToolResult {
        let answer = self.answer(pending).await;
        assert!(answer["error"].is_null(), "a JSON-RPC error: {answer}");
        ToolResult(answer["result"].clone())
    }

    /// A call of a tool and its result.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> ToolResult {
        let pending = self.begin_call(tool, arguments).await;
        self.finish(pending).await
    }

    /// Sends a notification.
    pub(crate) async fn notify(&self, method: &str, params: Value) -> Answer {
        let message = json!({"jsonrpc": "2.0", "method": method, "params": params});
        self.post(&message, &[])
            .await
            .answer()
            .await
            .expect("an answer")
    }

    /// Sends a request without a body, with the headers of this client's session.
    pub(crate) async fn send(&self, method: &str, more: &[(&str, &str)]) -> Wire {
        let headers = self.headers(more);
        let mut wire = Wire::connect(&self.address).await;
        wire.send(wire::request(method, "/mcp", &borrowed(&headers), ""))
            .await;
        wire
    }

    async fn post(&self, message: &Value, more: &[(&str, String)]) -> Wire {
        let more: Vec<_> = more
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();

        let mut headers = self.headers(&more);
        headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        headers.push((
            "Accept".to_owned(),
            "application/json, text/event-stream".to_owned(),
        ));

        let target = self
            .events
            .as_ref()
            .map_or("/mcp", |(_, endpoint)| endpoint);

        let mut wire = Wire::connect(&self.address).await;

        wire.send(wire::request(
            "POST",
            target,
            &borrowed(&headers),
            &message.to_string(),
        ))
        .await;

        wire
    }

    fn headers(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut headers = vec![("Host".to_owned(), self.address.host())];
        if let Some(token) = &self.token {
            headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
        }

        if let Some(session) = &self.session {
            headers.push(("Mcp-Session-Id".to_owned(), session.clone()));
        }

        match self.dialect {
            // Before it is agreed on, and before there was the header, it is not sent.
            Dialect::Session(version) if self.session.is_some() && version >= "2025-06-18" => {
                headers.push(("MCP-Protocol-Version".to_owned(), version.to_owned()));
            }
            Dialect::Stateless => {
                headers.push(("MCP-Protocol-Version".to_owned(), STATELESS.to_owned()));
            }
            _ => {}
        }

        headers.extend(
            more.iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );

        headers
    }

    async fn open_events(&self, more: &[(&str, &str)]) -> (Wire, String) {
        let mut headers = vec![("Accept", "text/event-stream")];
        headers.extend(more);
        let mut wire = self.send("GET", &headers).await;
        let head = wire.head().await.expect("an answer");
        assert_eq!(
            (head.status, head.header("content-type")),
            (200, Some("text/event-stream")),
            "{head:?}"
        );

        let first = wire.event().await.expect("an event");
        assert_eq!(first.name, "endpoint");
        let id = first
            .data
            .strip_prefix("/mcp?sessionId=")
            .expect("a relative address");

        assert!(
            id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "128 random bits: {id}"
        );

        (wire, first.data)
    }
}

fn borrowed(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}
