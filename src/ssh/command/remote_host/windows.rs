//! Hosts that run Windows: which login shell they have, and how their commands are stopped.

use std::{sync::Arc, time::Duration};

use super::RemoteHost;
use crate::{
    framing::{
        exec::{
            HostFacts, ShellProbe,
            windows::{WINDOWS_PROBE, WindowsFacts, WindowsShell, read_stop_report, stop_script},
        },
        sentinel::Sentinel,
        stop::StopReport,
    },
    ssh::{command::limits::StopReason, known_servers::Capacity},
};

/// Time limit of the probe. PowerShell reads the profile of the account first.
const PROBE_LIMIT: Duration = Duration::from_secs(20);
/// Time limit of the script that ends a command: the start of PowerShell, and the end of processes.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Time limit of that script while this program ends.
const URGENT_STOP_LIMIT: Duration = Duration::from_secs(5);

impl RemoteHost {
    /// Returns true if the host is known to run Windows.
    #[must_use]
    pub fn is_windows(&self) -> bool {
        let shell = self.login_shell.get();
        self.first().serves_windows() || shell.is_some_and(|probe| probe.shell.windows().is_some())
    }

    /// Returns true if the host runs Windows, and asks the login shell if that is not known.
    pub async fn runs_windows(self: &Arc<Self>) -> bool {
        self.is_windows() || self.login_shell().await.shell.windows().is_some()
    }

    /// Finds out the login shell, in a way that suits the server.
    ///
    /// # Errors
    /// Returns what is known for now, and the next caller is to try again.
    pub(super) async fn find_any_shell(
        self: &Arc<Self>,
        is_needed: bool,
    ) -> Result<ShellProbe, ShellProbe> {
        // The probes for other shells only make these say that they know no such command.
        if self.first().serves_windows()
            && let Some(windows) = self.ask_windows().await
        {
            return Ok(windows);
        }

        let found = self.find_shell(is_needed).await?;
        let may_ask =
            found.may_be_windows && !matches!(self.capacity(), None | Some(Capacity::OneCommand));
        if may_ask && let Some(windows) = self.ask_windows().await {
            return Ok(windows);
        }

        Ok(found)
    }

    /// Probes for a login shell of Windows; `None` if none has answered.
    async fn ask_windows(self: &Arc<Self>) -> Option<ShellProbe> {
        let (answer, _) = self.probe(WINDOWS_PROBE, PROBE_LIMIT, None).await.ok()?;
        let facts = WindowsFacts::read(&answer)?;
        // Its programs for files are not those of a Unix host.
        self.runs_no_programs();
        let _ = self.windows_facts.set(HostFacts::of_windows(&facts));

        Some(ShellProbe::windows(&facts))
    }

    /// Ends the command whose line holds the mark, with all processes that it started; `None` if
    /// nothing could be found out.
    pub(in crate::ssh::command) async fn stop_on_windows(
        self: &Arc<Self>,
        shell: WindowsShell,
        mark: &Sentinel,
        reason: StopReason,
    ) -> Option<StopReport> {
        let limit = if reason == StopReason::Ending {
            URGENT_STOP_LIMIT
        } else {
            STOP_LIMIT
        };
        let script = stop_script(shell, mark);
        let answer = self.run_helper(&script, String::new(), limit).await.ok()?;

        read_stop_report(&answer)
    }
}
