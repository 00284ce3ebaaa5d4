//! What the tools that run commands share: waiting for one, and answering.

use std::{sync::Arc, time::Duration};

use rmcp::model::CallToolResult;

use crate::{
    mcp::{outcome::Report, server::Call, tool_error::ToolError},
    session::job::{End, Job, Waited},
};

/// How long a call waits when it does not say: some clients give up after a minute.
pub(super) const DEFAULT_WAIT: Duration = Duration::from_secs(45);

/// How long a call waits for the command that it has started.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wait {
    /// Until it has been sent.
    Sent,
    /// This long.
    For(Duration),
}

impl Wait {
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
pub(super) async fn wait(call: &Call, job: &Arc<Job>, wait: Wait) -> Option<End> {
    call.watched.watch(&job.output);
    let given_up = &call.caller.cancelled;
    let waited = match wait {
        Wait::Sent => job.sent(given_up).await,
        Wait::For(patience) => job.wait(patience, None, given_up).await,
    };
    match waited {
        Waited::Ended(end) => Some(end),
        Waited::GivenUp => Some(job.stop().await),
        Waited::Running => {
            call.registry.jobs.keep(Arc::clone(job));
            None
        }
    }
}

/// Waits, and answers.
pub(super) async fn answer(call: &Call, job: &Arc<Job>, how_long: Wait) -> Result<CallToolResult, ToolError> {
    let end = wait(call, job, how_long).await;
    Ok(Report::of(job, end.as_ref(), end.is_none())?.result())
}
