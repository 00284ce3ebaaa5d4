//! The part of a job that runs the command, and the result that all callers get.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    capture::Captured,
    event::Event,
    session::error::SessionError,
    ssh::{
        command::{exec::CommandResult, limits::Signals},
        prompt::pausable_clock::PausableClock,
    },
};

/// Counterpart of a [`Job`](super::Job), owned by the task running the command.
///
/// Dropping the runner without [`finish`](Self::finish) ends the job with
/// [`SessionError::Cancelled`].
#[derive(Debug)]
pub struct JobRunner {
    /// Input for the command; `None` if the command takes no input.
    pub input: Option<mpsc::Receiver<Bytes>>,
    /// Signals to send to the command.
    pub signals: Signals,
    /// Token, cancelled when the command has to be stopped.
    pub stop: CancellationToken,
    /// Event, set by the runner when the command has been sent.
    pub sent: Event,
    /// Clock for waiting callers, which stands still while the user is asked.
    pub pause: PausableClock,
    pub(super) end: watch::Sender<Option<JobEnd>>,
}

/// Final result of a job, shared by all waiting callers. An error means that the command was not
/// run.
pub type JobEnd = Arc<Result<FinishedJob, SessionError>>;

/// Result of an ended command.
#[derive(Debug)]
pub struct FinishedJob {
    /// Result of the command.
    pub command: CommandResult,
    /// Additional result from the shell. `None` if the command had a channel of its own.
    pub shell: Option<ShellEnd>,
}

/// Information added by a shell to the result of a command.
#[derive(Debug)]
pub struct ShellEnd {
    /// Working directory after the command, as the shell spells the path.
    pub directory: Vec<u8>,
    /// Output of background processes since the previous command.
    pub between: Captured,
    /// Notice about a replaced shell; `None` if the shell is the same as before.
    pub notice: Option<String>,
}

impl JobRunner {
    /// Reports the end of the job to all waiting callers.
    pub fn finish(self, end: Result<FinishedJob, SessionError>) {
        self.end.send_replace(Some(Arc::new(end)));
    }
}
