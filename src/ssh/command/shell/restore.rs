//! Gives a new shell the state of another shell, which has ended or whose connection was lost.

use super::{Shell, ShellRequest, ShellRunError, ShellTurn, snapshotter::KnownState};
use crate::{
    framing::script::change_directory,
    lock::lock,
    ssh::command::{exit_status::Ending, limits::StopConditions, output::Output},
};

impl Shell {
    /// Returns the known state of the shell.
    #[must_use]
    pub fn known_state(&self) -> KnownState {
        lock(&self.known_state).clone()
    }

    /// Gives this shell the state kept of another shell, which was last in `directory`. Nothing may
    /// have run in this shell yet. Returns a notice for the caller of the next command: the parts
    /// that were restored, and those that were not.
    ///
    /// # Errors
    /// See [`ShellRunError`]. After an error the shell must not be used.
    pub async fn restore(
        &self,
        before: &KnownState,
        directory: &[u8],
        conditions: StopConditions,
        output: Output,
    ) -> Result<String, ShellRunError> {
        let Some(snapshot) = before.snapshot.as_ref() else {
            return Err(ShellRunError::Gone);
        };
        let restore = snapshot.restore(directory);

        let request = ShellRequest {
            command: restore.command.clone(),
            stdin: None,
            conditions,
            output,
            turn: ShellTurn::default(),
        };

        // The script runs as an ordinary command, so that it can be stopped and its end is found
        // like any other.
        let result = self.run(request).await?;
        if result.shell_ended || !matches!(result.command.ending, Ending::Exited(_)) {
            return Err(ShellRunError::Lost);
        }

        // The new shell may be lost before its first snapshot: until then, the kept state is that
        // of the old shell.
        *lock(&self.known_state) = KnownState {
            jobs: Vec::new(),
            behind: 0,
            ended: false,
            ..before.clone()
        };

        let output = result.command.output.stdout.whole().unwrap_or_default();
        let (restored, missing) = restore.report(&output);

        // Background jobs cannot be restored. A job can come up twice in the list.
        let jobs = match before.jobs.as_slice() {
            [] => "background jobs".to_owned(),
            jobs => {
                let mut jobs = jobs.to_vec();
                jobs.sort_unstable();
                jobs.dedup();
                let jobs: Vec<String> = jobs.iter().map(u32::to_string).collect();
                format!("background jobs (process {})", jobs.join(", "))
            }
        };

        let behind = match before.behind {
            0 => String::new(),
            1 => ", what the last command changed".to_owned(),
            commands => format!(", what the last {commands} commands changed"),
        };

        let missing = missing
            .map(|missing| format!("; not restored: {missing}"))
            .unwrap_or_default();

        let reason = if before.ended {
            "the shell had ended and this is a new shell"
        } else {
            "this is a new shell over a new connection"
        };

        Ok(format!(
            "{reason}; restored: {restored}{missing}; lost: {jobs}, open files{behind}"
        ))
    }

    /// Changes to a directory, and returns true if the shell is there now.
    pub async fn enter(
        &self,
        directory: &[u8],
        conditions: StopConditions,
        output: Output,
    ) -> bool {
        let request = ShellRequest {
            command: change_directory(directory),
            stdin: None,
            conditions,
            output,
            turn: ShellTurn::default(),
        };

        // The trailer says where the shell really is: `cd` may have succeeded with another
        // spelling.
        !directory.is_empty()
            && self
                .run(request)
                .await
                .is_ok_and(|result| result.directory == directory)
    }
}
