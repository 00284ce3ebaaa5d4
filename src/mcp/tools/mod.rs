//! The tools, one file each: name and description, parameters, result, and a function `call` that
//! asks the session registry.

mod audited;
mod command;
mod connect;
mod disconnect;
mod download;
mod edit;
mod exec;
mod forward;
mod job;
mod many;
mod read;
mod reconnect;
mod search;
mod session;
mod sessions;
mod set_default;
mod shell;
mod touched;
mod transfer;
mod upload;

use std::sync::{Arc, LazyLock};

use rmcp::model::{CallToolResult, JsonObject, MetaObject, Tool, ToolAnnotations};
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
        read::tool(),
        search::tool(),
        edit::tool(),
        upload::tool(),
        download::tool(),
        forward::tool(),
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

/// Runs a call of the tool `name`, between the two lines of the audit log. Returns `None` if there
/// is no such tool.
pub(super) async fn call(name: &str, mut call: Call) -> Option<Result<CallToolResult, ToolError>> {
    let tool = find(name)?;

    let asked = || audited::asked(name, &tool.input_schema, &call);
    let recorded = match call.registry.record_call(asked).await {
        Ok(recorded) => recorded,
        Err(error) => return Some(Err(audited::unrecorded(&error))),
    };

    let Some(recorded) = recorded else {
        return Box::pin(run(name, call)).await;
    };

    call.caller.audit = recorded.audit.clone();
    let cancelled = call.caller.cancelled.clone();
    let answer = Box::pin(run(name, call)).await?;
    let ended = recorded
        .end(audited::ended(name, &answer, &cancelled))
        .await;

    Some(audited::with_end(answer, ended))
}

/// Runs a call of the tool `name`. Returns `None` if there is no such tool.
async fn run(name: &str, call: Call) -> Option<Result<CallToolResult, ToolError>> {
    Some(match name {
        connect::NAME => connect::call(call).await,
        exec::NAME => exec::call(call).await,
        shell::NAME => shell::call(call).await,
        job::NAME => job::call(call).await,
        read::NAME => read::call(call).await,
        edit::NAME => edit::call(call).await,
        search::NAME => search::call(call).await,
        upload::NAME => upload::call(call).await,
        download::NAME => download::call(call).await,
        forward::NAME => forward::call(call).await,
        sessions::NAME => sessions::call(call).await,
        reconnect::NAME => reconnect::call(call).await,
        disconnect::NAME => disconnect::call(call).await,
        set_default::NAME => set_default::call(call).await,
        _ => return None,
    })
}

pub use self::touched::{Touch, TouchedHost, touches};
pub(super) use self::{
    forward::ForwardResult, job::JobResult, session::SessionResult,
    sessions::as_json as sessions_as_json,
};

/// Key in `_meta` of a tool with more words for the tool search of Claude Code.
const SEARCH_HINT: &str = "anthropic/searchHint";

/// Effect of a tool. Clients decide by it whether to ask the user first.
#[derive(Clone, Copy)]
enum Effect {
    /// The tool changes nothing.
    ReadsOnly,
    /// The tool overwrites and deletes nothing.
    Harmless,
    /// The tool may overwrite or delete something.
    Destructive,
}

/// Builds the catalogue entry of a tool whose parameters are `P`.
///
/// A tool has no title and no output schema, and only the annotations that differ from the defaults
/// of MCP: every byte of the list costs the model or the client, and models read neither.
fn describe<P: JsonSchema>(name: &'static str, description: &'static str, effect: Effect) -> Tool {
    let tool = Tool::new(name, description, params::schema::<P>());

    match effect {
        Effect::ReadsOnly => tool.with_annotations(ToolAnnotations::new().read_only(true)),
        Effect::Harmless => tool.with_annotations(ToolAnnotations::new().destructive(false)),
        Effect::Destructive => tool,
    }
}

/// Adds words by which the tool search of a client finds the tool.
fn found_by(tool: Tool, words: &str) -> Tool {
    tool.with_meta(MetaObject(JsonObject::from_iter([(
        SEARCH_HINT.to_owned(),
        words.into(),
    )])))
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
