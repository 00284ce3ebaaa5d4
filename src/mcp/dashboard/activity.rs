//! The activity of a daemon, as programs read it (`GET /status`) and as the page shows it.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::{
    foreign_text::ForeignText,
    mcp::{
        call::report,
        tools::{ForwardResult, JobResult, SessionResult},
    },
    session::{
        approvals::OpenQuestion,
        edits::EditEntry,
        job::Job,
        registry::Overview,
        status::{ShellState, ShellStatus},
        transfers::{Direction, TransferEntry},
    },
    ssh::prompt::prompter::ApprovalAnswer,
};

/// Limit of the text of a command, in characters.
const MAX_COMMAND_CHARS: usize = 4_000;
/// Number of last lines shown of stdout.
const LINES: usize = 12;
/// Number of last lines shown of stderr.
const ERROR_LINES: usize = 6;
/// Length limit of each of these lines, in characters.
const MAX_LINE: usize = 400;

/// Snapshot of the activity of a daemon, in the form of the JSON of `GET /status`.
#[derive(Debug, Serialize)]
pub(in crate::mcp) struct Activity {
    /// Version of the daemon.
    pub(in crate::mcp) version: &'static str,
    /// Questions which wait for the user's yes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::mcp) questions: Vec<QuestionActivity>,
    /// All known sessions, connected or not.
    pub(in crate::mcp) sessions: Vec<SessionResult>,
    /// Shells of all sessions.
    pub(in crate::mcp) shells: Vec<ShellActivity>,
    /// Commands which run or have ended lately, in the order of their start.
    pub(in crate::mcp) jobs: Vec<CommandActivity>,
    /// Transfers which are running.
    pub(in crate::mcp) transfers: Vec<TransferStatus>,
    /// Forwards of all sessions, as `ssh_forward` lists them.
    pub(in crate::mcp) forwards: Vec<ForwardResult>,
    /// Last edits of remote files, the oldest first.
    pub(in crate::mcp) edits: Vec<EditActivity>,
    /// Notice for the user about the store. `None` if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::mcp) notice: Option<String>,
}

/// Question which waits for the user's yes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::mcp) struct QuestionActivity {
    /// Number of the question in this process.
    pub(in crate::mcp) number: u64,
    pub(in crate::mcp) asked_at: String,
    /// Words that follow "The agent wants to".
    pub(in crate::mcp) doing: ForeignText,
    /// Hosts, each with its account and the setting that wants the question.
    pub(in crate::mcp) hosts: Vec<ForeignText>,
    /// Pairs of a label and a text.
    pub(in crate::mcp) details: Vec<(ForeignText, ForeignText)>,
    /// Command or the like. Empty if there is none.
    pub(in crate::mcp) text: ForeignText,
    pub(in crate::mcp) answers: Vec<&'static str>,
}

/// Shell of a session.
#[derive(Debug, Serialize)]
pub(in crate::mcp) struct ShellActivity {
    pub(in crate::mcp) session: String,
    pub(in crate::mcp) shell: String,
    /// State of the shell: `ready`, `busy`, `starting` or `gone`.
    pub(in crate::mcp) state: &'static str,
    /// Working directory. Empty if unknown.
    pub(in crate::mcp) cwd: String,
}

/// Command as `ssh_job` lists commands, with the last lines of output.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::mcp) struct CommandActivity {
    #[serde(flatten)]
    pub(in crate::mcp) job: JobResult,
    /// Ending of the command, in words. `None` while the command is running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::mcp) ending: Option<String>,
    /// Line at which the command seems to wait for input. `None` if the command does not seem to
    /// wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::mcp) prompt: Option<String>,
    /// True if the user stopped the command on the page.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::mcp) stopped_by_user: bool,
    pub(in crate::mcp) stdout_lines: Vec<String>,
    pub(in crate::mcp) stderr_lines: Vec<String>,
}

/// Transfer which is running.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::mcp) struct TransferStatus {
    pub(in crate::mcp) session: String,
    /// Direction of the transfer: `upload` or `download`.
    pub(in crate::mcp) direction: &'static str,
    pub(in crate::mcp) local_path: String,
    pub(in crate::mcp) remote_path: String,
    pub(in crate::mcp) duration_ms: u64,
    /// Number of content bytes which have arrived.
    pub(in crate::mcp) bytes: u64,
    /// Number of content bytes in total, as far as known. 0 if unknown.
    pub(in crate::mcp) expected: u64,
    /// Number of complete files.
    pub(in crate::mcp) files: u64,
    /// Name of the file which was begun last.
    pub(in crate::mcp) file: String,
}

/// Edit of a remote file, with the diff.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::mcp) struct EditActivity {
    /// Number of the edit in this process.
    pub(in crate::mcp) number: u64,
    pub(in crate::mcp) session: String,
    pub(in crate::mcp) path: ForeignText,
    pub(in crate::mcp) edited_at: String,
    pub(in crate::mcp) added: usize,
    pub(in crate::mcp) removed: usize,
    pub(in crate::mcp) diff: ForeignText,
}

impl From<Overview> for Activity {
    fn from(overview: Overview) -> Self {
        // A shell runs its commands one after the other, so an open command keeps it busy.
        let is_busy = |shell: &ShellStatus| {
            overview.jobs.iter().any(|job| {
                job.session == shell.session
                    && job.shell.as_ref() == Some(&shell.name)
                    && job.ended().is_none()
            })
        };

        let shells = overview.shells.iter().map(|shell| ShellActivity {
            state: match shell.state {
                ShellState::Ready if is_busy(shell) => "busy",
                ShellState::Ready => "ready",
                ShellState::Starting => "starting",
                ShellState::Gone => "gone",
            },
            cwd: String::from_utf8_lossy(&shell.directory).into_owned(),
            session: shell.session.clone(),
            shell: shell.name.to_string(),
        });

        Self {
            version: env!("CARGO_PKG_VERSION"),
            questions: overview
                .questions
                .into_iter()
                .map(QuestionActivity::from)
                .collect(),
            shells: shells.collect(),
            jobs: overview
                .jobs
                .iter()
                .map(|job| CommandActivity::from(&**job))
                .collect(),
            transfers: overview
                .transfers
                .iter()
                .map(|transfer| TransferStatus::from(&**transfer))
                .collect(),
            forwards: overview
                .forwards
                .into_iter()
                .map(ForwardResult::from)
                .collect(),
            edits: overview
                .edits
                .iter()
                .map(|edit| EditActivity::from(&**edit))
                .collect(),
            sessions: overview
                .sessions
                .into_iter()
                .map(SessionResult::from)
                .collect(),
            notice: overview.notice,
        }
    }
}

impl From<OpenQuestion> for QuestionActivity {
    fn from(question: OpenQuestion) -> Self {
        let approval = question.approval;
        let answers = approval.answers().map(ApprovalAnswer::word).collect();
        let details = approval.act.details.into_iter();

        Self {
            number: question.number,
            asked_at: DateTime::<Utc>::from(question.since)
                .to_rfc3339_opts(SecondsFormat::Secs, true),
            doing: approval.act.doing.into(),
            hosts: approval
                .hosts
                .iter()
                .map(|host| host.to_string().into())
                .collect(),
            details: details
                .map(|(label, text)| (label.into(), text.into()))
                .collect(),
            text: approval.act.text,
            answers,
        }
    }
}

impl From<&Job> for CommandActivity {
    fn from(job: &Job) -> Self {
        let (output, end) = (job.output(), job.ended());
        let ending = end.as_deref().map(|end| match end {
            Ok(finished) => report::how_it_ended(&finished.command),
            Err(error) => error.to_string(),
        });

        // A command may be a long script, and every look sends it again.
        let command = job.command.chars().take(MAX_COMMAND_CHARS).collect();

        Self {
            job: JobResult {
                command,
                ..JobResult::from(job)
            },
            ending,
            prompt: job.prompt(),
            stopped_by_user: job.was_stopped_by_user(),
            stdout_lines: last_lines(&output.stdout.text(), LINES),
            stderr_lines: last_lines(&output.stderr.text(), ERROR_LINES),
        }
    }
}

impl From<&TransferEntry> for TransferStatus {
    fn from(transfer: &TransferEntry) -> Self {
        let moved = transfer.progress.now();
        Self {
            session: transfer.session.clone(),
            direction: match transfer.direction {
                Direction::Upload => "upload",
                Direction::Download => "download",
            },
            local_path: transfer.local.clone(),
            remote_path: transfer.remote.clone(),
            duration_ms: milliseconds(transfer.duration()),
            bytes: moved.bytes,
            expected: moved.expected,
            files: moved.files,
            file: moved.name,
        }
    }
}

impl From<&EditEntry> for EditActivity {
    fn from(edit: &EditEntry) -> Self {
        let at = DateTime::<Utc>::from(edit.at);
        Self {
            number: edit.number,
            session: edit.session.clone(),
            path: edit.path.clone(),
            edited_at: at.to_rfc3339_opts(SecondsFormat::Secs, true),
            added: edit.added,
            removed: edit.removed,
            diff: edit.diff.clone(),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the last lines of a text, each cut to `MAX_LINE` characters.
fn last_lines(text: &str, count: usize) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().rev().take(count).map(shortened).collect();
    lines.reverse();
    lines
}

/// Cuts a line to `MAX_LINE` characters.
fn shortened(line: &str) -> String {
    match line.char_indices().nth(MAX_LINE) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_few_and_short() {
        for (text, lines) in [
            ("", vec![]),
            ("one", vec!["one"]),
            ("one\ntwo\n", vec!["one", "two"]),
            ("one\r\ntwo\n\nfour", vec!["two", "", "four"]),
        ] {
            assert_eq!(last_lines(text, 3), lines);
        }

        let long = last_lines(&"é".repeat(MAX_LINE + 1), 3).concat();
        assert_eq!(long, "é".repeat(MAX_LINE) + "…");
    }
}
