//! Typed outcome of a command, for programs.

use serde::Serialize;

use super::{CommandReport, CommandState, words::status};
use crate::{
    foreign_text::escape_line,
    session::job::FinishedJob,
    ssh::command::exit_status::{Ending, ExitStatus},
};

/// Typed outcome of a command, for programs, in the `_meta` of the result.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CommandOutcome {
    /// Name of the session.
    session: String,
    /// State in a word, such as `running`, `exited` or `connectionLost`.
    status: &'static str,
    /// Exit code; `None` unless the command exited with a code.
    exit_code: Option<u32>,
    /// Name of the signal by which the command ended, without `SIG`.
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    /// Bytes written to stdout in all.
    stdout_bytes: u64,
    /// Bytes written to stderr in all.
    stderr_bytes: u64,
    /// True if the answer does not contain the whole output.
    truncated: bool,
    /// Local file with the whole stdout, or with stderr if stdout needs no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_file: Option<String>,
    /// Offset of the next part of stdout, in bytes; `None` if later calls cannot ask for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_offset: Option<u64>,
    /// Time from start to end, or to now, in milliseconds.
    duration_ms: u64,
    /// Name of the job; `None` if later calls cannot ask for the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
    /// Job in front of this command in the queue of the shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    queued_behind: Option<String>,
    /// `true` if the command seems to wait for input, absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    awaiting_input: Option<bool>,
    /// Unfinished line at which the command seems to wait for input.
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<String>,
    /// True if no process of a stopped command is left. `null` if unknown; absent if nothing was
    /// stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[expect(
        clippy::option_option,
        reason = "absent, null and known are three answers"
    )]
    process_gone: Option<Option<bool>>,
    /// Remarks about anything unusual, and hints.
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<String>,
    /// Name of the shell; `None` for a separate channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    shell: Option<String>,
    /// User to whom the shell belongs; `None` for a separate channel and for the user of the log-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Working directory of the shell after the command, escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<String>,
}

impl CommandReport<'_> {
    /// Returns the typed outcome for `_meta`.
    pub(super) fn outcome(&self) -> CommandOutcome {
        let output = &self.unseen.output;
        let command = self.finished().map(|finished| &finished.command);

        // An exit code is present only if the command reported one. There is no -1 for the other
        // ends.
        let exited = command.and_then(|command| match &command.ending {
            Ending::Exited(status) => Some(status),
            _ => None,
        });

        let prompt = if let CommandState::Running { prompt } = &self.state {
            prompt.clone()
        } else {
            None
        };

        CommandOutcome {
            session: self.session.to_owned(),
            status: command.map_or("running", |command| status(&command.ending)),
            exit_code: exited.and_then(|status| {
                if let ExitStatus::Code(code) = status {
                    Some(*code)
                } else {
                    None
                }
            }),
            signal: exited.and_then(|status| {
                if let ExitStatus::Signal(signal) = status {
                    Some(signal.clone())
                } else {
                    None
                }
            }),
            stdout_bytes: output.stdout.total,
            stderr_bytes: output.stderr.total,
            truncated: output.truncated() || self.unseen.more,
            output_file: output
                .stdout_file
                .as_ref()
                .or(output.stderr_file.as_ref())
                .map(|path| path.display().to_string()),
            next_offset: self.job.map(|_| self.unseen.next),
            duration_ms: u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX),
            job: self.job.map(str::to_owned),
            queued_behind: if let CommandState::Queued { behind } = &self.state {
                behind.clone()
            } else {
                None
            },
            awaiting_input: prompt.is_some().then_some(true),
            prompt,
            process_gone: command
                .filter(|command| command.stopped)
                .map(|command| command.process_gone),
            notice: self.notices(),
            shell: self.shell.map(|shell| shell.name.clone()),
            user: self.other_user().map(str::to_owned),
            cwd: self.directory(),
        }
    }

    /// Returns the user to whom the shell belongs, if that is another than the user of the log-in.
    pub(super) fn other_user(&self) -> Option<&str> {
        Some(self.shell?.user.as_ref()?.name())
    }

    /// Returns all remarks on the command in one text. Returns `None` if there are none.
    pub(super) fn notices(&self) -> Option<String> {
        let finished = self.finished();

        let notices = [
            finished.and_then(|finished| finished.shell.as_ref()?.notice.clone()),
            finished.and_then(|finished| finished.command.notice.clone()),
            self.unseen.output.trouble.clone(),
            self.notice.clone(),
        ];

        let notices: Vec<String> = notices.into_iter().flatten().collect();
        (!notices.is_empty()).then(|| notices.join("; "))
    }

    /// Returns the directory of the shell after the command, escaped. Returns `None` if the command
    /// runs, or ran without a shell.
    pub(super) fn directory(&self) -> Option<String> {
        let shell = self.finished()?.shell.as_ref()?;
        Some(escape_line(&shell.directory)).filter(|directory| !directory.is_empty())
    }

    /// Returns the end of the command, or `None` if the command has not ended.
    pub(super) fn finished(&self) -> Option<&FinishedJob> {
        if let CommandState::Ended(finished) = &self.state {
            Some(finished)
        } else {
            None
        }
    }
}
