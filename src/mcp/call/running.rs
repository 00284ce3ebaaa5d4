//! A call that runs, and the questions to the person that come up on its way.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
use crate::{mcp::prompt::elicit::PendingAnswer, ssh::prompt::prompter::PromptRequest};

/// What a tool answers; `None` if there is no such tool.
pub(in crate::mcp) type ToolAnswer = Option<Result<CallToolResult, ToolError>>;

/// A call at work. Dropped, it is cancelled.
pub(in crate::mcp) struct RunningCall {
    work: JoinHandle<ToolAnswer>,
    questions: mpsc::Receiver<PromptRequest>,
    cancelled: CancellationToken,
    /// The outputs that it waits for.
    pub(in crate::mcp) watched: ProgressSource,
    _end: DropGuard,
}

/// What comes next of a call.
pub(in crate::mcp) enum CallStep {
    /// It has ended.
    Done(ToolAnswer),
    /// It needs an answer from the person to go on.
    Asks(PromptRequest),
}

impl RunningCall {
    /// Starts the work. Its questions come through `questions`, and it stops when `cancelled` is.
    pub(in crate::mcp) fn start(
        work: impl Future<Output = ToolAnswer> + Send + 'static,
        questions: mpsc::Receiver<PromptRequest>,
        cancelled: CancellationToken,
        watched: ProgressSource,
    ) -> Self {
        let end = cancelled.clone().drop_guard();
        Self {
            work: tokio::spawn(work),
            questions,
            cancelled,
            watched,
            _end: end,
        }
    }

    /// Waits for the end or the next question. When the caller gives up (`given_up`), the work is told to stop.
    pub(in crate::mcp) async fn next(&mut self, given_up: &CancellationToken) -> CallStep {
        loop {
            tokio::select! {
                done = &mut self.work => {
                    let broken = || ToolError::new("the call broke off", "report this as a bug");
                    return CallStep::Done(done.unwrap_or_else(|_| Some(Err(broken()))));
                }
                Some(asked) = self.questions.recv() => return CallStep::Asks(asked),
                () = given_up.cancelled(), if !self.cancelled.is_cancelled() => self.cancelled.cancel(),
            }
        }
    }
}

/// How long a client may take to come back with an answer.
const PATIENCE: Duration = Duration::from_secs(150);
/// How many calls may wait for one.
const MAX_PARKED: usize = 64;

/// Calls whose client has to come back with the person's answer, since its revision has no requests from server to
/// client (2026-07-28).
#[derive(Clone, Default)]
pub(in crate::mcp) struct ParkedCalls(Arc<Mutex<HashMap<String, ParkedCall>>>);

struct ParkedCall {
    tool: String,
    running: RunningCall,
    waiting: PendingAnswer,
    since: Instant,
}

impl ParkedCalls {
    /// Keeps a call for two and a half minutes, and returns the word to come back with.
    pub(in crate::mcp) fn keep(
        &self,
        tool: &str,
        running: RunningCall,
        waiting: PendingAnswer,
    ) -> Option<String> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).ok()?;
        let state = format!("{:032x}", u128::from_be_bytes(random));

        let entry = ParkedCall {
            tool: tool.to_owned(),
            running,
            waiting,
            since: Instant::now(),
        };

        {
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

        let (parked, forgotten) = (self.clone(), state.clone());
        tokio::spawn(async move {
            sleep(PATIENCE).await;
            parked.lock().remove(&forgotten);
        });

        Some(state)
    }

    /// The call of this tool that waits for this word, once.
    pub(in crate::mcp) fn take(
        &self,
        state: &str,
        tool: &str,
    ) -> Option<(RunningCall, PendingAnswer)> {
        let mut parked = self.lock();
        parked.get(state).filter(|entry| entry.tool == tool)?;
        parked
            .remove(state)
            .map(|entry| (entry.running, entry.waiting))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, ParkedCall>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for ParkedCalls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Parked").field(&self.lock().len()).finish()
    }
}
