//! What the tools that run commands share: waiting for one, and answering.

use std::{sync::Arc, time::Duration};

use rmcp::model::CallToolResult;

use crate::{
    mcp::call::{Call, report::CommandReport, tool_error::ToolError},
    session::job::{Job, JobEnd, WaitOutcome},
};

/// How long a call waits when it does not say: some clients give up after a minute.
pub(super) const DEFAULT_WAIT: Duration = Duration::from_secs(45);

/// How long a call waits for the command that it has started.
#[derive(Debug, Clone, Copy)]
pub(super) enum CallWait {
    /// Until it has been sent.
    Sent,
    /// This long.
    For(Duration),
}

impl CallWait {
    pub(super) fn of(wait: Option<Duration>, background: bool) -> Self {
        match wait {
            Some(wait) => Self::For(wait),
            None if background => Self::Sent,
            None => Self::For(DEFAULT_WAIT),
        }
    }
}

/// Waits for a job that this call has started, and stops it if the caller gives up. `None`: it is still running, and
/// kept for later calls.
pub(super) async fn wait(call: &Call, job: &Arc<Job>, wait: CallWait) -> Option<JobEnd> {
    call.watched.watch(&job.output);
    call.registry.jobs.track(job);
    let _watching = job.detached.as_ref().map(|detached| detached.watch());
    let given_up = &call.caller.cancelled;
    let waited = match wait {
        CallWait::Sent => job.sent(given_up).await,
        CallWait::For(patience) => job.wait(patience, None, given_up).await,
    };

    let end = match waited {
        WaitOutcome::Ended(end) => Some(end),
        // What is to outlive this program outlives the call too, once it has begun.
        WaitOutcome::GivenUp if job.detached.is_some() => job.stop_unless_sent().await,
        WaitOutcome::GivenUp => Some(job.stop().await),
        WaitOutcome::Running => None,
    };

    if end.is_none() {
        call.registry.jobs.retain(job);
    }

    end
}

/// Clears away what is left of a job elsewhere, once its end is told.
pub(super) fn remove_remote_files_once_reported(job: &Job, end: Option<&JobEnd>) {
    if let Some(detached) = job.detached.as_ref().filter(|_| end.is_some()) {
        detached.remove_remote_files();
    }
}

/// Waits, and answers.
pub(super) async fn answer(
    call: &Call,
    job: &Arc<Job>,
    how_long: CallWait,
) -> Result<CallToolResult, ToolError> {
    let end = wait(call, job, how_long).await;
    let result = CommandReport::of(&call.registry, job, end.as_ref(), end.is_none())?.result();
    remove_remote_files_once_reported(job, end.as_ref());
    Ok(result)
}
