//! An upload to several hosts at the same time.

use futures_util::future::join_all;
use rmcp::model::CallToolResult;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{
    OpenedSide, TransferArguments,
    answer::{TransferAnswer, TransferResult, answer, counts},
    notice, source, upload_to,
};
use crate::{
    mcp::{
        call::{Call, report, tool_error::ToolError},
        tools::{many, session::RESULT_KEY},
    },
    session::{
        caller::Caller,
        work::{RemoteRead, RemoteWrite},
    },
    ssh::transfer::TransferRequest,
};

/// Limit on the transfers of a call at a time. Each reads the source by itself, and has what is on
/// the way in memory.
const MAX_AT_ONCE: usize = 16;

/// Copies to the hosts of several sessions, from this machine or another host. An error of one
/// host is a part of the answer.
///
/// # Errors
/// The source is not there, so that nothing was copied.
pub(super) async fn upload(
    call: &Call,
    mut arguments: TransferArguments,
) -> Result<CallToolResult, ToolError> {
    let sessions = arguments.sessions.take().unwrap_or_default();
    let from = source(call, &arguments).await?;

    let work = arguments.written();
    call.registry
        .ask_about_all(&sessions, work.clone(), &call.caller)
        .await;

    let caller = many::caller(call);
    let request = arguments.into_request(call, from.is_some());
    let turns = Semaphore::new(MAX_AT_ONCE);
    let each = sessions.iter().map(async |name| {
        // Only a closed semaphore fails.
        let _turn = turns.acquire().await;
        let request = TransferRequest {
            progress: call.watched.transfer(),
            ..request.clone()
        };
        let from = from.as_ref();
        let copied = copied_to(call, &caller, name, work.clone(), from, request);
        (name.as_str(), Box::pin(copied).await)
    });

    Ok(answer_of_all(join_all(each).await))
}

/// Copies to the host of the session `name`.
async fn copied_to(
    call: &Call,
    caller: &Caller,
    name: &str,
    work: RemoteWrite,
    from: Option<&OpenedSide<RemoteRead>>,
    request: TransferRequest,
) -> Result<TransferAnswer, ToolError> {
    let to = call.registry.open(Some(name), work, caller).await?;
    let moved = upload_to(call, caller, from, &to, request).await?;

    let other = from.map(|(from, _)| from.session.saved.name.to_string());
    let verb = match &other {
        Some(from) => format!("copied {} from {from}", counts(&moved)),
        None => format!("uploaded {}", counts(&moved)),
    };
    let begin = format!("{verb}, to {}", moved.to);

    Ok(answer(&begin, &notice(&to.0), other, moved, false))
}

/// Returns the answer for all sessions, which are in the order of the call.
fn answer_of_all(each: Vec<(&str, Result<TransferAnswer, ToolError>)>) -> CallToolResult {
    let facts: Vec<&TransferResult> = each
        .iter()
        .filter_map(|(_, done)| Some(&done.as_ref().ok()?.facts))
        .collect();

    let sum =
        |count: fn(&TransferResult) -> u64| facts.iter().map(|facts| count(facts)).sum::<u64>();
    let all = json!({
        "files": sum(|facts| facts.files),
        "bytes": sum(|facts| facts.bytes),
        "failed": each.len() - facts.len(),
        "sessions": each.iter().map(|(name, done)| facts_of(name, done)).collect::<Vec<_>>(),
    });

    let lines: Vec<_> = each
        .into_iter()
        .map(|(name, done)| (name, done.map(|answer| answer.text)))
        .collect();
    report::of_many_lines(&lines, RESULT_KEY, all)
}

/// Returns the facts about one session.
fn facts_of(name: &str, done: &Result<TransferAnswer, ToolError>) -> Value {
    match done {
        Ok(answer) => {
            let mut facts = json!(answer.facts);
            if let Some(facts) = facts.as_object_mut() {
                facts.insert("session".to_owned(), name.into());
            }
            facts
        }
        Err(error) => json!({"session": name, "error": error.message, "hint": error.hint}),
    }
}
