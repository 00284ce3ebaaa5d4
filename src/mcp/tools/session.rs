//! Results that describe a session, shared by several tools.

use rmcp::model::{CallToolResult, ContentBlock, JsonObject, MetaObject};
use serde::Serialize;

use crate::{
    foreign_text::{ForeignText, escape_line},
    mcp::call::{Call, tool_error::ToolError},
    session::{
        registry::OpenedSession,
        status::{ConnectionState, SessionStatus},
    },
};

/// Length of a path in a status line, in bytes.
pub(super) const MAX_PATH_BYTES: usize = 1_000;

/// Key in `_meta` of the typed facts of a result, for programs. Commands have an outcome instead.
pub(super) const RESULT_KEY: &str = "mcp-ssh-sessions/result";

/// Returns the remarks about a session that end a status line. With a single connected session its
/// name would be noise in the answer.
pub(super) fn remarks(call: &Call, opened: &OpenedSession) -> impl Iterator<Item = String> {
    let is_named = call.registry.is_one_of_many();
    let name = is_named.then(|| format!("session {}", opened.session.saved.name));

    name.into_iter().chain(opened.notice.clone())
}

/// Session, as programs read it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::mcp) struct SessionResult {
    name: String,
    host: String,
    host_name: String,
    port: u16,
    user: String,
    state: StateResult,
    pub(in crate::mcp) default: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::mcp) auth_method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::mcp) connected_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::mcp) last_error: Option<String>,
    #[serde(flatten)]
    host_facts: HostFactsResult,
}

/// Facts about the host, as far as they are known.
#[derive(Debug, Default, Serialize)]
struct HostFactsResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    os: Option<ForeignText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<ForeignText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shell: Option<ForeignText>,
    /// Present if there is sudo, and the account is not root's.
    #[serde(skip_serializing_if = "Option::is_none")]
    sudo: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<&'static str>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
enum StateResult {
    Connected,
    Disconnected,
    Saved,
}

impl From<SessionStatus> for SessionResult {
    fn from(status: SessionStatus) -> Self {
        Self {
            name: status.name,
            host: status.host,
            host_name: status.host_name,
            port: status.port,
            user: status.user,
            state: match status.state {
                ConnectionState::Connected => StateResult::Connected,
                ConnectionState::Disconnected => StateResult::Disconnected,
                ConnectionState::Saved => StateResult::Saved,
            },
            default: status.default,
            auth_method: status.auth_method,
            host_key: status.host_key,
            connected_at: status.connected_at,
            last_error: status.last_error,
            host_facts: status
                .facts
                .map(|facts| HostFactsResult {
                    os: facts.os,
                    machine: facts.machine,
                    shell: facts.shell,
                    sudo: facts.has_sudo.then_some(true),
                    tools: facts.tools,
                })
                .unwrap_or_default(),
        }
    }
}

impl SessionResult {
    /// Returns the name of the session.
    pub(in crate::mcp) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the account, host and port of the session in words, such as `root@example.org port
    /// 22`. The account is left out if the user name is empty.
    pub(in crate::mcp) fn address(&self) -> String {
        let user = if self.user.is_empty() {
            String::new()
        } else {
            format!("{}@", self.user)
        };
        format!("{user}{} port {}", self.host_name, self.port)
    }

    /// Returns the state of the connection in the spelling of the JSON form.
    pub(in crate::mcp) fn state(&self) -> &'static str {
        match self.state {
            StateResult::Connected => "connected",
            StateResult::Disconnected => "disconnected",
            StateResult::Saved => "saved",
        }
    }

    /// Returns true if the session has a connection.
    pub(in crate::mcp) fn is_connected(&self) -> bool {
        matches!(self.state, StateResult::Connected)
    }

    /// Returns true if this process has not connected the session yet.
    pub(in crate::mcp) fn is_saved(&self) -> bool {
        matches!(self.state, StateResult::Saved)
    }

    /// Returns a line with what the next calls need, such as `web: connected ·
    /// deploy@10.0.0.5:22 · publickey · Debian 12 x86_64 · bash · sudo · rg git`. What is unknown
    /// is left out.
    pub(super) fn line_with_facts(&self) -> String {
        let facts = &self.host_facts;
        let system = [&facts.os, &facts.machine].map(|word| word.iter().map(ToString::to_string));

        self.line_with([
            self.auth_method.clone(),
            Some(system.into_iter().flatten().collect::<Vec<_>>().join(" ")),
            facts.shell.as_ref().map(ToString::to_string),
            facts.sudo.map(|_| "sudo".to_owned()),
            Some(facts.tools.join(" ")),
        ])
    }

    /// Returns the account, host and port as in `root@example.org:22` and `[::1]:22`.
    fn socket_address(&self) -> String {
        let Self {
            user,
            host_name,
            port,
            ..
        } = self;
        let at = if user.is_empty() { "" } else { "@" };

        if host_name.contains(':') {
            format!("{user}{at}[{host_name}]:{port}")
        } else {
            format!("{user}{at}{host_name}:{port}")
        }
    }

    /// Returns a line with the state and the address, such as `web: connected ·
    /// deploy@10.0.0.5:22 · default`.
    pub(super) fn line(&self) -> String {
        self.line_with([self.default.then(|| "default".to_owned())])
    }

    /// Returns a line with the state, the address, these details and the last error. An empty
    /// detail is left out.
    fn line_with(&self, details: impl IntoIterator<Item = Option<String>>) -> String {
        let mut parts = vec![
            format!("{}: {}", self.name, self.state()),
            self.socket_address(),
        ];

        parts.extend(
            details
                .into_iter()
                .flatten()
                .filter(|part| !part.is_empty()),
        );
        parts.extend(
            self.last_error
                .as_ref()
                .map(|error| format!("last error: {error}")),
        );

        escape_line(parts.join(" · "))
    }
}

/// Returns a successful result with a text for the model, and typed facts for programs in `_meta`.
///
/// The facts are not `structuredContent`: the main clients would then show the model the JSON and
/// drop the text.
///
/// # Errors
/// The facts cannot be written as JSON.
pub(super) fn text_and_facts(
    text: String,
    facts: &impl Serialize,
) -> Result<CallToolResult, ToolError> {
    let facts = serde_json::to_value(facts).map_err(|error| {
        ToolError::new(
            format!("the result cannot be written as JSON: {error}"),
            "report this as a bug",
        )
    })?;

    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.meta = Some(MetaObject(JsonObject::from_iter([(
        RESULT_KEY.to_owned(),
        facts,
    )])));

    Ok(result)
}
