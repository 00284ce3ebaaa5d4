//! Commands about to be stopped. The stops of a moment share a script.

use std::sync::Mutex;

use tokio::sync::oneshot;

use crate::{
    framing::stop::{StopReport, StopRequest},
    lock::lock,
};

/// Queue of a host's commands about to be stopped.
#[derive(Debug, Default)]
pub(in crate::ssh::command) struct Stops(Mutex<Vec<PendingStop>>);

/// Command about to be stopped, with the way back to the caller who waits for the result.
#[derive(Debug)]
pub(in crate::ssh::command) struct PendingStop {
    /// Arguments of the stop script for this command.
    pub(in crate::ssh::command) request: StopRequest,
    /// Time for each signal to take effect, in tenths of a second.
    pub(in crate::ssh::command) grace_tenths: u32,
    /// True if the program ends, so that little time is left.
    pub(in crate::ssh::command) is_urgent: bool,
    /// Way back for the result; `None` means no report.
    pub(in crate::ssh::command) send_report: oneshot::Sender<Option<StopReport>>,
}

impl Stops {
    /// Adds a stop. Returns true for the first in the queue, whose caller must then run the script.
    pub(in crate::ssh::command) fn push(&self, stop: PendingStop) -> bool {
        let mut pending = lock(&self.0);
        pending.push(stop);
        pending.len() == 1
    }

    /// Takes all stops out of the queue.
    pub(in crate::ssh::command) fn take_all(&self) -> Vec<PendingStop> {
        std::mem::take(&mut *lock(&self.0))
    }
}
