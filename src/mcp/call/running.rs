//! Running calls, and calls parked until the client returns with the user's answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use rmcp::model::CallToolResult;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{progress::ProgressSource, tool_error::ToolError};
use crate::{
    lock::lock, mcp::prompt::elicit::PendingAnswer, random, ssh::prompt::prompter::PromptRequest,
};

/// Answer of a tool; `None` if there is no such tool.
pub(in crate::mcp) type ToolAnswer = Option<Result<CallToolResult, ToolError>>;

/// Running call with a separate task. Dropping the value cancels the call.
pub(in crate::mcp) struct RunningCall {
    /// Task of the tool.
    operation: JoinHandle<ToolAnswer>,
    /// Questions of the call to the user or the client.
    questions: mpsc::Receiver<PromptRequest>,
    /// Token with which the tool is cancelled.
    cancelled: CancellationToken,
    /// Work whose progress the client is shown.
    pub(in crate::mcp) watched: ProgressSource,
    /// Cancels the tool on drop.
    _end: DropGuard,
}

/// Next event of a running call.
pub(in crate::mcp) enum CallStep {
    /// The call has ended.
    Done(ToolAnswer),
    /// The call needs an answer from the user or the client to go on.
    Asks(PromptRequest),
}

impl RunningCall {
    /// Starts the operation in a task. The questions of the operation come through `questions`, and
    /// `cancelled` stops the operation.
    pub(in crate::mcp) fn start(
        operation: impl Future<Output = ToolAnswer> + Send + 'static,
        questions: mpsc::Receiver<PromptRequest>,
        cancelled: CancellationToken,
        watched: ProgressSource,
    ) -> Self {
        let end = cancelled.clone().drop_guard();
        Self {
            operation: tokio::spawn(operation),
            questions,
            cancelled,
            watched,
            _end: end,
        }
    }

    /// Waits for the end or the next question. Once `given_up` is cancelled, the operation is
    /// cancelled too, and its end is still awaited.
    pub(in crate::mcp) async fn next(&mut self, given_up: &CancellationToken) -> CallStep {
        // The end is awaited even after a cancellation: a command has to be stopped on its host
        // first.
        loop {
            tokio::select! {
                done = &mut self.operation => {
                    let broken = || ToolError::new("the call broke off", "report this as a bug");
                    return CallStep::Done(done.unwrap_or_else(|_| Some(Err(broken()))));
                }
                Some(prompt_request) = self.questions.recv() => return CallStep::Asks(prompt_request),
                () = given_up.cancelled(), if !self.cancelled.is_cancelled() => self.cancelled.cancel(),
            }
        }
    }
}

/// Time in which a client has to return with an answer. Longer than the time that a user has for a
/// question.
const PATIENCE: Duration = Duration::from_secs(150);
/// Limit on the number of parked calls. Each holds a running task, so clients must not pile these
/// up.
const MAX_PARKED: usize = 64;

/// Calls waiting for the client to return with the user's answer. Used with the revision 2026-07-28
/// of MCP, which has no requests from server to client.
///
/// Clones share the same calls. A call is parked for 150 seconds at most, and the oldest makes room
/// for the 65th.
#[derive(Clone, Default)]
pub(in crate::mcp) struct ParkedCalls(Arc<Mutex<HashMap<String, ParkedCall>>>);

/// Parked call and the question for which the call waits.
struct ParkedCall {
    /// Name of the tool, which the client has to call again.
    tool: String,
    /// Parked call, whose task goes on.
    running: RunningCall,
    /// Destination of the client's answer.
    waiting: PendingAnswer,
    /// Time of parking.
    since: Instant,
}

impl ParkedCalls {
    /// Parks a call for 150 seconds, and returns the state with which the client has to return.
    /// Returns `None` if the system gives no random number.
    pub(in crate::mcp) fn keep(
        &self,
        tool: &str,
        running: RunningCall,
        waiting: PendingAnswer,
    ) -> Option<String> {
        // The state is a secret: a client that guesses another client's state could answer in its
        // place.
        let state = random::hex::<16>().ok()?;

        let entry = ParkedCall {
            tool: tool.to_owned(),
            running,
            waiting,
            since: Instant::now(),
        };

        {
            // A client that never returns must not keep out the questions of others, so the oldest
            // call makes room.
            let mut parked = self.lock();
            if parked.len() >= MAX_PARKED {
                let oldest = parked
                    .iter()
                    .min_by_key(|(_, entry)| entry.since)
                    .map(|(state, _)| state.clone());
                oldest.and_then(|state| parked.remove(&state));
            }

            parked.insert(state.clone(), entry);
        }

        // Dropping a forgotten call cancels it: nobody will take its answer.
        let (parked, forgotten) = (self.clone(), state.clone());
        tokio::spawn(async move {
            sleep(PATIENCE).await;
            parked.lock().remove(&forgotten);
        });

        Some(state)
    }

    /// Returns the parked call of this tool and `state`, and forgets the state. A state can be used
    /// once.
    pub(in crate::mcp) fn resume(
        &self,
        state: &str,
        tool: &str,
    ) -> Option<(RunningCall, PendingAnswer)> {
        // Checked before removal, so that a wrong tool name does not use the state up.
        let mut parked = self.lock();
        parked.get(state).filter(|entry| entry.tool == tool)?;
        parked
            .remove(state)
            .map(|entry| (entry.running, entry.waiting))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, ParkedCall>> {
        lock(&self.0)
    }
}

impl std::fmt::Debug for ParkedCalls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Parked").field(&self.lock().len()).finish()
    }
}
