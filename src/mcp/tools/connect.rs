//! The tool `ssh_connect`.

use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Effect,
    session::{self, SessionResult},
};
use crate::{
    foreign_text::escape_line,
    mcp::call::{Call, params::Milliseconds, tool_error::ToolError},
    openssh::destination::TypedDestination,
    password::Password,
    session::{
        error::SessionError, live::ConnectOptions, name::SessionName, registry::ConnectRequest,
        saved::SavedSession,
    },
    ssh::auth::Credentials,
};

pub(super) const NAME: &str = "ssh_connect";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ConnectParams {
    /// Alias of ~/.ssh/config, user@host or address
    host: String,
    /// Default: host
    name: Option<String>,
    user: Option<String>,
    port: Option<u16>,
    key_path: Option<String>,
    #[schemars(with = "Option<String>")]
    passphrase: Option<Password>,
    /// If keys do not work; kept in memory
    #[schemars(with = "Option<String>")]
    password: Option<Password>,
    /// Default 30000
    timeout_ms: Option<Milliseconds>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ConnectResult {
    session: SessionResult,
    /// Default session, given only where the caller may be in doubt.
    #[serde(skip_serializing_if = "Option::is_none")]
    default_session: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notices: Vec<String>,
}

pub(super) fn tool() -> Tool {
    super::describe::<ConnectParams>(
        NAME,
        "Open a named SSH session to a remote server, as `ssh` would: its config, keys, agent and known_hosts. Saved \
         (without secrets); reconnects by itself.",
        Effect::Harmless,
    )
}

/// Connects a session, and saves everything except the secrets.
///
/// # Errors
/// The arguments are wrong, or the host cannot be connected to.
pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let params: ConnectParams = super::arguments(NAME, &mut call)?;

    if params.port == Some(0) {
        return Err(ToolError::new(
            "ssh_connect: port must be between 1 and 65535",
            "give another port, or leave out port",
        ));
    }

    // Agents write destinations as for `ssh`, with user, port or key file in the host.
    let parsed = TypedDestination::parse(&params.host).map_err(SessionError::from)?;
    let name = params.name.unwrap_or_else(|| parsed.name());

    // A parameter of its own is more explicit than a part of the host, so the parameter wins.
    let saved = SavedSession {
        name: SessionName::try_from(name).map_err(SessionError::from)?,
        host: parsed.destination.as_str().to_owned(),
        user: params.user.or(parsed.user),
        port: params.port.or(parsed.port),
        key_path: params
            .key_path
            .or(parsed.key_path)
            .map(|path| call.local(path)),
        password_auth: false,
        extra: serde_json::Map::new(),
    };

    // Secrets stay apart from the saved session: the store must never contain them.
    let credentials = Credentials {
        passphrase: params.passphrase,
        password: params.password,
        ..Credentials::default()
    };

    let secrets = ConnectOptions {
        credentials,
        limit: params.timeout_ms.map(Milliseconds::duration),
        ..ConnectOptions::default()
    };

    let (status, notices) = call
        .registry
        .connect(ConnectRequest { saved, secrets }, &call.caller)
        .await?;

    // An agent that has just connected may expect the new session to be the default. The answer
    // names the default unless this is the only connected session and is the default itself.
    let doubtful = call.registry.is_one_of_many() || !status.default;
    let default_session = if doubtful {
        call.registry.default_session().await
    } else {
        None
    };

    let result = ConnectResult {
        session: status.into(),
        default_session,
        notices,
    };

    let default = result.default_session.as_ref();

    let default = default.map(|name| {
        format!(
            "\ncalls without session go to {}",
            escape_line(name.as_bytes())
        )
    });

    // Notices may contain text from elsewhere, which must not start a line of its own.
    let notices = result
        .notices
        .iter()
        .map(|notice| format!("\nnotice: {}", escape_line(notice.as_bytes())));

    let text = result.session.line_with_facts()
        + &default.unwrap_or_default()
        + &notices.collect::<Vec<_>>().concat();
    session::text_and_facts(text, &result)
}
