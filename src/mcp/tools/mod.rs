//! The tools, one file each: name and description, parameters, result, and a function `call` that
//! asks the session registry.

mod command;
mod connect;
mod disconnect;
mod download;
mod exec;
mod job;
mod reconnect;
mod session;
mod sessions;
mod set_default;
mod shell;
mod transfer;
mod upload;

use std::sync::{Arc, LazyLock};

use rmcp::model::{CallToolResult, Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::call::{Call, params, tool_error::ToolError};

/// All tools, in the order of their use by a new user. The list is built on first use and not for
/// every call.
pub(super) static CATALOGUE: LazyLock<Vec<Tool>> = LazyLock::new(|| {
    vec![
        connect::tool(),
        exec::tool(),
        shell::tool(),
        job::tool(),
        upload::tool(),
        download::tool(),
        sessions::tool(),
        reconnect::tool(),
        disconnect::tool(),
        set_default::tool(),
    ]
});

/// Returns the tool of this name.
pub(super) fn find(name: &str) -> Option<&'static Tool> {
    CATALOGUE.iter().find(|tool| tool.name == name)
}

/// Runs a call of the tool `name`. Returns `None` if there is no such tool.
pub(super) async fn call(name: &str, call: Call) -> Option<Result<CallToolResult, ToolError>> {
    Some(match name {
        connect::NAME => connect::call(call).await,
        exec::NAME => exec::call(call).await,
        shell::NAME => shell::call(call).await,
        job::NAME => job::call(call).await,
        upload::NAME => upload::call(call).await,
        download::NAME => download::call(call).await,
        sessions::NAME => sessions::call(call).await,
        reconnect::NAME => reconnect::call(call).await,
        disconnect::NAME => disconnect::call(call).await,
        set_default::NAME => set_default::call(call).await,
        _ => return None,
    })
}

pub(super) use self::{
    job::JobResult, session::SessionResult, sessions::as_json as sessions_as_json,
};

/// Effects of a tool, as in the annotations of MCP. Clients use these to decide whether to ask the
/// user first.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "the four hints of MCP")]
struct Effects {
    /// True if the tool changes nothing.
    read_only: bool,
    /// True if the tool may overwrite or delete something.
    destructive: bool,
    /// True if a second call with the same arguments has no further effect.
    idempotent: bool,
    /// True if the tool talks to other machines.
    open_world: bool,
}

/// Builds the catalogue entry of a tool whose parameters are `P`.
fn describe<P: JsonSchema>(
    name: &'static str,
    title: &str,
    description: &'static str,
    effects: Effects,
) -> Tool {
    let annotations = ToolAnnotations::with_title(title)
        .read_only(effects.read_only)
        .destructive(effects.destructive)
        .idempotent(effects.idempotent)
        .open_world(effects.open_world);

    Tool::new(name, description, params::schema::<P>())
        .with_title(title)
        .with_annotations(annotations)
}

/// Reads the arguments of a call into the parameter type `P` of the tool `name`.
///
/// # Errors
/// An argument is unknown, missing or of the wrong type.
fn arguments<P: DeserializeOwned>(name: &str, call: &mut Call) -> Result<P, ToolError> {
    let schema = find(name)
        .map(|tool| Arc::clone(&tool.input_schema))
        .unwrap_or_default();
    params::parse(name, &schema, call.arguments.take())
}
