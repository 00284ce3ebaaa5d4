//! The end of a command, as seen on the channel.

use crate::{
    foreign_text::ForeignText,
    framing::exec::ShellProbe,
    ssh::{
        command::{exit_status::ExitStatus, limits::StopReason, output::CommandOutput},
        error::{SshError, excerpt},
    },
};

/// End of a command's channel: output and exit status.
pub(super) struct CommandEnd {
    /// Output of the command.
    pub(super) output: CommandOutput,
    /// Exit status; `None` if the connection was lost, because the channel ended without being
    /// closed.
    pub(super) status: Option<ExitStatus>,
    /// True if the server said that no more output comes.
    pub(super) had_eof: bool,
    /// Remark for the caller.
    pub(super) notice: Option<String>,
    /// True if the login shell got as far as our script.
    pub(super) has_begun: bool,
    /// Refusal of the request; `None` if the server did not refuse.
    pub(super) refused: Option<SshError>,
    /// Last messages of a sudo which did not run the command.
    pub(super) sudo_messages: Option<ForeignText>,
    /// What answered in place of the login shell for which the command was written; `None` if the
    /// command was written for the login shell that is there.
    pub(super) taken_as_it_is: Option<ShellProbe>,
    /// Reason of the stop; `None` if the command ended by itself.
    pub(super) stopped: Option<StopReason>,
    /// True if a stop script found the processes gone; `None` if nothing is known.
    pub(super) process_gone: Option<bool>,
}

impl CommandEnd {
    /// Creates the end of a command that was refused and has no output of its own.
    pub(super) fn refused(error: SshError) -> Self {
        Self {
            output: CommandOutput::default(),
            status: None,
            had_eof: false,
            notice: None,
            has_begun: false,
            refused: Some(error),
            sudo_messages: None,
            taken_as_it_is: None,
            stopped: None,
            process_gone: None,
        }
    }

    /// Checks that a command which was not stopped has run at all. A login shell that exits with
    /// success before our script begins would otherwise look like a command that succeeded.
    /// `too_late` is true if the script did not begin in time, and `same_answer` is the host's
    /// answer to any command, if the host does not run commands.
    ///
    /// # Errors
    /// Fails if the server refused the command, or the command did not begin.
    pub(super) fn check_begun(
        &mut self,
        too_late: bool,
        same_answer: Option<&[u8]>,
    ) -> Result<(), SshError> {
        if let Some(refused) = self.refused.take() {
            return Err(refused);
        }

        if self.stopped.is_some() {
            return Ok(());
        }

        if self.status.is_some() && (too_late || !self.has_begun) {
            self.not_begun(too_late)
        } else if self.has_only_printed(same_answer) {
            self.not_begun(true)
        } else {
            Ok(())
        }
    }

    /// Treats the command as one that was sent without a script, because something else answers
    /// than the shell for which it was written. Returns what is known of that.
    pub(super) fn taken_as_it_is(&mut self) -> Option<ShellProbe> {
        let found = self.taken_as_it_is.take()?;
        self.has_begun = true;
        self.notice = Some(
            "the account no longer has the login shell of the last connection, so this command came with lines \
             of this program around it; further commands are sent as they are"
                .to_owned(),
        );

        Some(found)
    }

    /// Reports a command whose script did not begin, or which certainly did not run (`is_certain`).
    ///
    /// # Errors
    /// Fails if the command ended with success or printed nothing. A shell that could not read the
    /// command, for instance because of a syntax error, has printed a message and failed: that is a
    /// result.
    fn not_begun(&mut self, is_certain: bool) -> Result<(), SshError> {
        self.sudo_messages = None;
        let failed = matches!(self.status, Some(ExitStatus::Code(code)) if code != 0);

        // Only a failure with a message can be the shell's own verdict on the command's syntax.
        let words = self.output.stdout.text() + &self.output.stderr.text();
        if failed && !is_certain && !words.trim().is_empty() {
            self.notice = Some("the login shell ended before the command began".to_owned());
            return Ok(());
        }

        Err(SshError::NotBegun {
            said: excerpt(words.trim()),
        })
    }

    /// Adds a remark to a command that failed in an account which runs no commands, or only certain
    /// ones.
    pub(super) fn note_refusing_account(&mut self) {
        let failed = matches!(self.status, Some(ExitStatus::Code(code)) if code != 0);
        if failed && self.stopped.is_none() {
            self.notice = Some(
                "this account runs no commands, or only certain ones; ssh_upload, ssh_download, ssh_read and ssh_edit may work"
                    .to_owned(),
            );
        }
    }

    /// Returns true if the command succeeded and printed exactly `answer`.
    fn has_only_printed(&self, answer: Option<&[u8]>) -> bool {
        let succeeded = matches!(
            self.status,
            Some(ExitStatus::Code(0) | ExitStatus::Unreported)
        );

        let stdout = self.output.stdout.text();
        let is_same =
            answer.is_some_and(|answer| String::from_utf8_lossy(answer).trim() == stdout.trim());
        succeeded && is_same && self.output.stderr.total == 0
    }
}
