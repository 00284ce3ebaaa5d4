//! Signals for the processes of a command, through a second channel.

use std::{sync::Arc, time::Duration};

use super::{bounds::Stop, error::SshError, pool::Pool};
use crate::{
    framing::stop::{self, Target},
    password::Password,
};

/// How long sending a signal may take.
const SENT_WITHIN: Duration = Duration::from_secs(10);

impl Pool {
    /// Stops the processes of a command; `None` where the script for it could not be run. `password` is what sudo took, for
    /// a command that it runs: nobody but root may stop that.
    pub(super) async fn stop_processes(
        self: &Arc<Self>,
        target: Target<'_>,
        password: Option<&Password>,
        stop: Stop,
    ) -> Option<bool> {
        let grace = stop.grace_tenths();
        // The answer may have to wait behind megabytes of the command's own output.
        let limit = Duration::from_millis(u64::from(grace) * 300 + if stop == Stop::Ending { 400 } else { 30_000 });
        let script = |target| stop::script(target, stop.rung(), grace);
        let answer = self.run_for(target, password, script(target), limit, stop == Stop::Ending).await;
        match (report(answer), target) {
            // Who has started sudo may signal it, and it passes INT and TERM on.
            (None, Target::Sudo { sudo, .. }) => {
                report(self.ask("exec /bin/sh", script(Target::Exec { pid: sudo }), limit).await)
            }
            (gone, _) => gone,
        }
    }

    /// Sends a signal once. What comes of it shows in what the command does.
    pub(super) async fn signal_processes(
        self: &Arc<Self>,
        target: Target<'_>,
        password: Option<&Password>,
        name: &str,
    ) {
        let _ = self.run_for(target, password, stop::send(target, name), SENT_WITHIN, false).await;
    }

    async fn run_for(
        self: &Arc<Self>,
        target: Target<'_>,
        password: Option<&Password>,
        script: String,
        limit: Duration,
        hurry: bool,
    ) -> Result<Vec<u8>, SshError> {
        match target {
            Target::Sudo { .. } => self.ask_as_root(password, script, limit, hurry).await,
            Target::Exec { .. } | Target::Shell { .. } => self.ask("exec /bin/sh", script, limit).await,
        }
    }
}

/// What the stop script says; `None` if it does not.
fn report(answer: Result<Vec<u8>, SshError>) -> Option<bool> {
    let answer = String::from_utf8_lossy(&answer.ok()?).into_owned();
    if answer.contains(stop::GONE) { Some(true) } else { answer.contains(stop::ALIVE).then_some(false) }
}
