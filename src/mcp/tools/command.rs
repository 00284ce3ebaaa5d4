//! Waiting and answering, shared by the tools that run commands.

use std::{sync::Arc, time::Duration};

use rmcp::model::CallToolResult;

use crate::{
    mcp::call::{Call, report::CommandReport, tool_error::ToolError},
    session::job::{Job, JobEnd, WaitOutcome},
};

/// Time limit of a wait if the call gives no `waitMs`. Some clients give up after a minute, so this
/// limit stays below a minute.
pub(super) const DEFAULT_WAIT: Duration = Duration::from_secs(45);

/// Limit on the time for which a call waits for a command. The wait ends earlier if the command
/// ends or the client gives the call up.
#[derive(Debug, Clone, Copy)]
pub(super) enum CallWait {
    /// Until the command is on the way to the host.
    Sent,
    /// For this time at most.
    For(Duration),
}

impl CallWait {
    /// Returns the limit for the parameters `waitMs` and `background`. An explicit `waitMs` also
    /// applies to a background command.
    pub(super) fn from_params(wait: Option<Duration>, background: bool) -> Self {
        match wait {
            Some(wait) => Self::For(wait),
            None if background => Self::Sent,
            None => Self::For(DEFAULT_WAIT),
        }
    }
}

/// Waits for a job of this call, and stops the job if the client gives the call up. Returns `None`
/// if the job still runs; the registry then keeps the job for later calls.
///
/// A detached job is stopped only before the command was sent.
pub(super) async fn wait(call: &Call, job: &Arc<Job>, wait: CallWait) -> Option<JobEnd> {
    // Registered before the wait, so that progress messages and the dashboard show the command from
    // its start.
    call.watched.watch_output(&job.output);
    call.registry.jobs.track(job);
    let _watching = job.detached.as_ref().map(|detached| detached.watch());
    let given_up = &call.caller.cancelled;
    let waited = match wait {
        CallWait::Sent => job.sent(given_up).await,
        CallWait::For(patience) => job.wait(patience, None, given_up).await,
    };

    // A detached job has to survive this program, so it survives its call as well. It is stopped
    // only if it has not been sent yet.
    let end = match waited {
        WaitOutcome::Ended(end) => Some(end),
        WaitOutcome::GivenUp if job.detached.is_some() => job.stop_unless_sent().await,
        WaitOutcome::GivenUp => Some(job.stop().await),
        WaitOutcome::Running => None,
    };

    // A job without an end has to be found by later calls of ssh_job.
    if end.is_none() {
        call.registry.jobs.retain(job);
    }

    end
}

/// Removes the files of a detached job from the remote host once the end of the job is in the
/// answer. Does nothing for other jobs, and nothing while the job runs.
pub(super) fn remove_remote_files_once_reported(job: &Job, end: Option<&JobEnd>) {
    if let Some(detached) = job.detached.as_ref().filter(|_| end.is_some()) {
        detached.remove_remote_files();
    }
}

/// Waits for a job as [`wait`] does, and returns the answer of the call.
///
/// # Errors
/// The command was not run.
pub(super) async fn answer(
    call: &Call,
    job: &Arc<Job>,
    how_long: CallWait,
) -> Result<CallToolResult, ToolError> {
    let end = wait(call, job, how_long).await;
    let result = CommandReport::for_job(&call.registry, job, end.as_ref(), end.is_none())?.result();
    remove_remote_files_once_reported(job, end.as_ref());
    Ok(result)
}
