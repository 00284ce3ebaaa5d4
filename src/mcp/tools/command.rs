//! Waiting and answering, shared by the tools that run commands.

use std::{sync::Arc, time::Duration};

use rmcp::model::CallToolResult;

use crate::{
    mcp::call::{Call, report::CommandReport, tool_error::ToolError},
    session::{
        job::{Job, JobEnd, WaitOutcome},
        live::LiveSession,
        registry::OpenedSession,
    },
};

/// Time limit of a wait if the call gives no `waitMs`. Some clients give up after a minute, so this
/// limit stays below a minute.
pub(super) const DEFAULT_WAIT: Duration = Duration::from_secs(45);

/// Least wait for a command after the call has connected its session.
const LEAST_WAIT: Duration = Duration::from_secs(1);

/// Command of a call, with what the answer says about its session.
#[derive(Debug)]
pub(super) struct StartedJob {
    pub(super) job: Arc<Job>,
    /// Session in which the command runs.
    session: Arc<LiveSession>,
    /// Notice about a host that became a session in this call.
    notice: Option<String>,
    /// Time in which the call has connected the session.
    took: Duration,
}

impl StartedJob {
    /// Combines a job with the session in which the call has started it.
    pub(super) fn new(job: Arc<Job>, opened: OpenedSession) -> Self {
        Self {
            job,
            session: opened.session,
            notice: opened.notice,
            took: opened.took,
        }
    }

    /// Returns the report on the command for the answer. `end` is `None` if the command still runs.
    ///
    /// # Errors
    /// The command was not run.
    pub(super) fn report<'a>(
        &'a self,
        call: &Call,
        end: Option<&'a JobEnd>,
    ) -> Result<CommandReport<'a>, ToolError> {
        self.session.say_last_host(&call.caller);

        let report = CommandReport::for_start(call, &self.job, end)?;
        let forwards = self.session.take_forward_notices();
        let forwards = (!forwards.is_empty()).then(|| forwards.join("; "));
        Ok(report
            .with_notice(forwards)
            .with_notice(self.notice.clone()))
    }
}

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

    /// Returns the limit after `taken`, the time in which the call has connected the session. A
    /// second is left for the command, or the whole of a shorter limit.
    fn after(self, taken: Duration) -> Self {
        match self {
            Self::For(wait) => Self::For(wait.saturating_sub(taken).max(wait.min(LEAST_WAIT))),
            Self::Sent => Self::Sent,
        }
    }
}

/// Waits for a job of this call, and stops the job if the client gives the call up. Returns `None`
/// if the job still runs; the registry then keeps the job for later calls.
///
/// A detached job is stopped only before the command was sent.
pub(super) async fn wait(call: &Call, started: &StartedJob, wait: CallWait) -> Option<JobEnd> {
    let job = &started.job;
    // Registered before the wait, so that progress messages and the dashboard show the command from
    // its start.
    call.watched.watch_output(&job.output);
    call.registry.jobs.track(job);
    let _watching = job.detached.as_ref().map(|detached| detached.watch());
    let given_up = &call.caller.cancelled;
    let waited = match wait.after(started.took) {
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
    started: &StartedJob,
    how_long: CallWait,
) -> Result<CallToolResult, ToolError> {
    let end = wait(call, started, how_long).await;
    let result = started.report(call, end.as_ref())?.result();
    remove_remote_files_once_reported(&started.job, end.as_ref());
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connecting_counts_as_a_part_of_the_wait() {
        for (wait, taken, left) in [
            (45_000, 0, 45_000),
            (45_000, 30_000, 15_000),
            (45_000, 60_000, 1_000),
            (5_000, 4_500, 1_000),
            (500, 400, 500),
            (0, 400, 0),
        ] {
            let [wait, taken, left] = [wait, taken, left].map(Duration::from_millis);
            let after = CallWait::For(wait).after(taken);
            assert!(
                matches!(after, CallWait::For(rest) if rest == left),
                "{wait:?} after {taken:?}: {after:?}"
            );
        }
    }
}
