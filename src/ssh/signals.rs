//! Signals for the processes of a command, through a second channel.

use std::{sync::Arc, time::Duration};

use super::{bounds::Stop, pool::Pool};
use crate::framing::stop::{self, Target};

/// How long sending a signal may take.
const SENT_WITHIN: Duration = Duration::from_secs(10);

impl Pool {
    /// Stops the processes of a command; `None` where the script for it could not be run.
    pub(super) async fn stop_processes(self: &Arc<Self>, target: Target<'_>, stop: Stop) -> Option<bool> {
        let grace = stop.grace_tenths();
        // The answer may have to wait behind megabytes of the command's own output.
        let limit = Duration::from_millis(u64::from(grace) * 300 + if stop == Stop::Ending { 400 } else { 30_000 });
        let answer = self.ask("exec /bin/sh", stop::script(target, stop.rung(), grace), limit).await.ok()?;
        let answer = String::from_utf8_lossy(&answer);
        if answer.contains(stop::GONE) { Some(true) } else { answer.contains(stop::ALIVE).then_some(false) }
    }

    /// Sends a signal once. What comes of it shows in what the command does.
    pub(super) async fn signal_processes(self: &Arc<Self>, target: Target<'_>, name: &str) {
        let _ = self.ask("exec /bin/sh", stop::send(target, name), SENT_WITHIN).await;
    }
}
