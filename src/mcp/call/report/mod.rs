//! Answer of a call that ran commands: text for a reader, and a typed outcome for a program.

mod blocks;
mod many;
mod screen;

use std::time::Duration;

use rmcp::model::{CallToolResult, JsonObject, MetaObject};
use serde::Serialize;
use serde_json::Value;

use self::blocks::{Block, BlockKind};
pub(in crate::mcp) use self::many::of_many;
use super::{Call, hints, tool_error::ToolError};
use crate::{
    capture::Nature,
    foreign_text::escape_line,
    session::job::{FinishedJob, Job, JobEnd},
    ssh::command::{
        exec::CommandResult,
        exit_status::{Ending, ExitStatus},
        output::{CommandOutput, UnseenOutput},
    },
};

/// Key in `_meta` of the typed outcome of a command.
const OUTCOME_KEY: &str = "mcp-ssh-sessions/outcome";

/// Notice about a command stopped by the user on the dashboard.
const UNWANTED: &str = "the person stopped it; ask them before you run it again";

/// Typed outcome of a command, for programs, in the `_meta` of the result.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CommandOutcome {
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
    /// Working directory of the shell after the command, escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<String>,
}

/// Snapshot of a command, from which the answer of a call is built.
#[derive(Clone)]
pub(in crate::mcp) struct CommandReport<'a> {
    /// Name of the session.
    pub(in crate::mcp) session: &'a str,
    /// True if the status line names the session, because several are connected.
    names_session: bool,
    /// Name of the job; `None` if later calls cannot ask for the command.
    pub(in crate::mcp) job: Option<&'a str>,
    /// Name of the shell; `None` for a separate channel.
    pub(in crate::mcp) shell: Option<&'a str>,
    /// Output in the answer: what the client has not been shown yet, or asked for by offset.
    pub(in crate::mcp) unseen: UnseenOutput,
    /// True if the output comes from a terminal, whose lines are folded.
    has_terminal: bool,
    /// Time from start to end, or to now.
    pub(in crate::mcp) duration: Duration,
    /// Progress of the command.
    pub(in crate::mcp) state: CommandState<'a>,
    /// True if the command lives on the remote host and survives this process.
    pub(in crate::mcp) detached: bool,
    /// Hint or remark for the caller, such as a better way to run the command.
    pub(in crate::mcp) notice: Option<String>,
}

/// Progress of a command.
#[derive(Clone)]
pub(in crate::mcp) enum CommandState<'a> {
    /// The command waits for the shell. `behind` is the job that occupies the shell, if known.
    Queued { behind: Option<String> },
    /// The command runs. `prompt` is the unfinished line at which the command seems to wait for
    /// input.
    Running { prompt: Option<String> },
    /// The command has ended.
    Ended(&'a FinishedJob),
}

impl<'a> CommandReport<'a> {
    /// Creates the report on a job for the call that started it. A job that has not ended can be
    /// asked for by later calls, which go on where this answer ends.
    ///
    /// # Errors
    /// The command was not run.
    pub(in crate::mcp) fn for_start(
        call: &Call,
        job: &'a Job,
        end: Option<&'a JobEnd>,
    ) -> Result<Self, ToolError> {
        match end {
            Some(_) => Self::of(call, job, end),
            None => Self::for_job(call, job, None, job.unseen(call.unseen_request(true))),
        }
    }

    /// Creates the report on a job for a later call, with this output.
    ///
    /// # Errors
    /// The command was not run.
    pub(in crate::mcp) fn for_job(
        call: &Call,
        job: &'a Job,
        end: Option<&'a JobEnd>,
        unseen: UnseenOutput,
    ) -> Result<Self, ToolError> {
        let report = Self::of(call, job, end)?;

        Ok(Self {
            job: Some(&job.id),
            unseen,
            ..report
        })
    }

    /// Creates the report on a job that later calls cannot ask for, with its whole output.
    ///
    /// # Errors
    /// The command was not run.
    fn of(call: &Call, job: &'a Job, end: Option<&'a JobEnd>) -> Result<Self, ToolError> {
        // A command that was not run is an error of the call. A command that ran and failed is a
        // result.
        let state = match end.map(|end| &**end) {
            Some(Err(_)) if job.was_stopped_by_user() => {
                return Err(ToolError::new(
                    "the person stopped it before it began",
                    "ask them before you run it again",
                ));
            }
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(finished)) => CommandState::Ended(finished),
            // From now on the registry keeps the job ahead for later calls: the caller may want to
            // stop that job.
            None if job.shell.is_some() && !job.is_sent() => CommandState::Queued {
                behind: call
                    .registry
                    .jobs
                    .ahead_of(job)
                    .map(|ahead| ahead.id.clone()),
            },
            None => CommandState::Running {
                prompt: job.prompt(),
            },
        };

        let hint = match &state {
            CommandState::Ended(finished) => hints::of_command(job, &finished.command),
            CommandState::Running { prompt } => prompt.as_ref().and_then(|prompt| {
                let can_ask = call.secret_prompter().can_ask_secrets();
                hints::of_prompt(prompt, can_ask).map(str::to_owned)
            }),
            CommandState::Queued { .. } => None,
        };

        Ok(Self {
            session: &job.session,
            names_session: call.registry.is_one_of_many(),
            job: None,
            shell: job.shell.as_deref(),
            unseen: UnseenOutput {
                output: match &state {
                    CommandState::Ended(finished) => finished.command.output.clone(),
                    CommandState::Running { .. } | CommandState::Queued { .. } => {
                        CommandOutput::default()
                    }
                },
                ..UnseenOutput::default()
            },
            has_terminal: job.has_terminal(),
            duration: job.duration(),
            state,
            detached: job.detached.is_some(),
            notice: (end.is_some() && job.was_stopped_by_user())
                .then(|| UNWANTED.to_owned())
                .or(hint),
        })
    }

    /// Returns the report with one more notice, before the others.
    pub(in crate::mcp) fn noting(self, notice: Option<String>) -> Self {
        let notices: Vec<String> = notice.into_iter().chain(self.notice).collect();
        Self {
            notice: (!notices.is_empty()).then(|| notices.join("; ")),
            ..self
        }
    }

    /// Returns the result of a call: stdout, stderr, output of background processes, then the
    /// status line.
    pub(in crate::mcp) fn result(&self) -> CallToolResult {
        let blocks = self.blocks(self.job, self.time());
        let (content, kinds) = blocks::split(blocks);
        let mut result = CallToolResult::success(content);
        result.meta = Some(meta(
            OUTCOME_KEY,
            serde_json::to_value(self.outcome()).unwrap_or(Value::Null),
            kinds,
        ));

        result
    }

    /// Returns the duration for the status line. Returns `None` where no reader needs it: of a
    /// command that ended by itself within a second.
    fn time(&self) -> Option<String> {
        match &self.state {
            CommandState::Running { .. } => Some(whole_seconds(self.duration)),
            CommandState::Ended(finished)
                if !finished.command.stopped
                    && matches!(finished.command.ending, Ending::Exited(_))
                    && self.duration < Duration::from_secs(1) =>
            {
                None
            }
            CommandState::Ended(_) | CommandState::Queued { .. } => Some(duration(self.duration)),
        }
    }

    /// Returns the text blocks of the answer. The status line names the job and the time if given.
    fn blocks(&self, job: Option<&str>, time: Option<String>) -> Vec<Block> {
        let between = match &self.state {
            CommandState::Ended(FinishedJob {
                shell: Some(shell), ..
            }) if !self.unseen.end_is_known => Some(&shell.between),
            _ => None,
        };

        // Background processes print between two commands, so their output is kept apart from
        // stdout and stderr.
        let blocks_to_show = [
            (BlockKind::Stdout, "", Some(&self.unseen.output.stdout)),
            (
                BlockKind::Stderr,
                "[stderr]\n",
                Some(&self.unseen.output.stderr),
            ),
            (
                BlockKind::Background,
                "[background, since the last command]\n",
                between,
            ),
        ];

        // Remote output may imitate the headings and the status line, so imitations are counted in
        // all blocks.
        let (mut blocks, mut spoofed_markers) = (Vec::new(), 0);

        for (kind, heading, captured) in blocks_to_show {
            let Some(captured) = captured else { continue };
            let text = if self.has_terminal {
                screen::fold(&captured.text())
            } else {
                captured.text()
            };

            if !text.is_empty() {
                let has_our_mark =
                    captured.omitted() > 0 || matches!(captured.nature(), Nature::Binary(_));
                spoofed_markers += blocks::spoofed_markers(&text, has_our_mark);
                blocks.push(Block {
                    kind,
                    text: format!("{heading}{text}"),
                });
            }
        }

        // The status line is the last block, so nothing from the remote host follows it.
        blocks.push(Block {
            kind: BlockKind::Status,
            text: self.status_line(job, time, spoofed_markers),
        });

        blocks
    }

    /// Returns the typed outcome for `_meta`.
    fn outcome(&self) -> CommandOutcome {
        let output = &self.unseen.output;
        let (command, shell) = match &self.state {
            CommandState::Ended(finished) => (Some(&finished.command), finished.shell.as_ref()),
            CommandState::Running { .. } | CommandState::Queued { .. } => (None, None),
        };

        let notices = [
            shell.and_then(|shell| shell.notice.clone()),
            command.and_then(|command| command.notice.clone()),
            output.trouble.clone(),
            self.notice.clone(),
        ];

        let notices: Vec<String> = notices.into_iter().flatten().collect();
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
            notice: (!notices.is_empty()).then(|| notices.join("; ")),
            shell: self.shell.map(str::to_owned),
            cwd: shell
                .map(|shell| escape_line(&shell.directory))
                .filter(|directory| !directory.is_empty()),
        }
    }

    /// Describes the state of the command. These words come first in a status line.
    fn state_parts(&self) -> Vec<String> {
        match &self.state {
            CommandState::Ended(finished) => vec![how_it_ended(&finished.command)],
            CommandState::Queued {
                behind: Some(ahead),
            } => vec![format!("queued behind job {ahead}, not begun")],
            CommandState::Queued { behind: None } => {
                vec!["queued, not begun: its shell is not ready yet".to_owned()]
            }
            CommandState::Running { prompt } => {
                let mut parts = vec!["running".to_owned()];
                parts.extend(prompt.as_ref().map(|prompt| {
                    let words: Vec<&str> = prompt.split_whitespace().collect();
                    let prompt = escape_line(words.join(" ").as_bytes());
                    format!("waits for input at {prompt:?}")
                }));

                parts
            }
        }
    }

    /// Returns the status line, in brackets. The line names the job and the time if given.
    /// `spoofed_markers` is the number of imitations in the output above.
    fn status_line(
        &self,
        job: Option<&str>,
        time: Option<String>,
        spoofed_markers: usize,
    ) -> String {
        let outcome = self.outcome();
        // The state comes first, since `blocks::spoofed_markers` recognises a status line by these
        // words.
        let mut parts = self.state_parts();

        parts.extend(
            self.names_session
                .then(|| format!("session {}", self.session)),
        );

        parts.extend(job.map(|job| format!("job {job}")));
        parts.extend(self.detached.then(|| "detached".to_owned()));
        parts.extend(time);

        parts.extend(
            outcome
                .cwd
                .as_ref()
                .map(|directory| format!("cwd {directory}")),
        );

        // After trouble with the local file, the file does not have the whole output.
        let label = if self.unseen.output.trouble.is_some() {
            "what could be kept of it"
        } else {
            "all of it"
        };

        let mut is_anything_new = false;

        for (name, stream, file, from) in [
            (
                "stdout",
                &self.unseen.output.stdout,
                &self.unseen.output.stdout_file,
                self.unseen.from.stdout,
            ),
            (
                "stderr",
                &self.unseen.output.stderr,
                &self.unseen.output.stderr_file,
                self.unseen.from.stderr,
            ),
        ] {
            let is_empty = stream.text().is_empty();
            is_anything_new |= !is_empty;
            if is_empty && from > 0 {
                continue;
            }

            // The reader can go back with this offset.
            parts.extend((from > 0).then(|| format!("{name} from byte {from}")));

            // The file of a stream that is shown byte for byte adds nothing.
            let is_shown = stream.nature() == Nature::Text && stream.kept() as u64 == stream.total;
            let path = file
                .as_ref()
                .filter(|_| !is_shown)
                .map(|path| path.display());

            let name = match stream.nature() {
                Nature::Text => name.to_owned(),
                Nature::NotUtf8 => format!("{name} is not UTF-8,"),
                Nature::Binary(_) => format!("{name} is binary,"),
            };

            // A file may exist even if the answer has left nothing out, for instance with a
            // terminal. It is of use once it is whole.
            let is_whole = matches!(self.state, CommandState::Ended(_));
            if stream.omitted() > 0 {
                let path = path
                    .map(|path| format!(", {label} in {path}"))
                    .unwrap_or_default();
                parts.push(format!("{name} {} bytes{path}", stream.total));
            } else if let Some(path) = path.filter(|_| is_whole) {
                parts.push(format!("{name} as it came in {path}"));
            } else if name.ends_with(',') {
                parts.push(name.trim_end_matches(',').to_owned());
            }
        }

        parts.extend(
            self.unseen
                .more
                .then(|| format!("more from offset {}", self.unseen.next)),
        );

        let was_shown = self.unseen.from.stdout > 0 || self.unseen.from.stderr > 0;
        if was_shown && !is_anything_new && matches!(self.state, CommandState::Ended(_)) {
            parts.push("nothing new; offset: 0 reads it again".to_owned());
        }

        // A model that has not used jobs before learns the next step from this line.
        if let (CommandState::Running { .. }, Some(_)) = (&self.state, self.job) {
            parts.push("ssh_job continues".to_owned());
        }

        // A command that never ends would block its shell for good, so the line names the ways out.
        if let (CommandState::Queued { behind }, Some(_)) = (&self.state, self.job) {
            parts.extend(behind.as_ref().map(|ahead| {
                format!("to go on now: another shell, ssh_exec, or stop job {ahead} with ssh_job")
            }));
            parts.push("ssh_job waits for it or stops it".to_owned());
        }

        parts.extend(outcome.notice.clone());
        parts.extend(blocks::warning(spoofed_markers));

        format!("[{}]", escape_line(parts.join(" · ").as_bytes()))
    }
}

/// Returns the `_meta` of a result: the outcome under `key`, and the kinds of the blocks.
fn meta(key: &str, outcome: Value, kinds: Value) -> MetaObject {
    MetaObject(JsonObject::from_iter([
        (key.to_owned(), outcome),
        (blocks::KEY.to_owned(), kinds),
    ]))
}

/// Returns the word for an ending in typed results.
pub(in crate::mcp) fn status(ending: &Ending) -> &'static str {
    match ending {
        Ending::Exited(ExitStatus::Signal(_)) => "signaled",
        Ending::Exited(_) => "exited",
        Ending::TimedOut => "timedOut",
        Ending::Cancelled => "cancelled",
        Ending::ConnectionLost(_) => "connectionLost",
    }
}

/// Describes the end of a command for a reader.
pub(in crate::mcp) fn how_it_ended(command: &CommandResult) -> String {
    // Processes that survive a stop may hold locks or ports, so the answer says so in capitals.
    let gone = match command.process_gone {
        Some(true) => "its processes are gone",
        Some(false) => "SOME OF ITS PROCESSES ARE STILL RUNNING",
        None => "whether its processes are gone is not known",
    };

    let ending = match &command.ending {
        Ending::Exited(ExitStatus::Code(code)) => format!("exit {code}"),
        Ending::Exited(ExitStatus::Signal(signal)) => format!("killed by {signal}"),
        Ending::Exited(ExitStatus::Unreported) => "ended without an exit status".to_owned(),
        Ending::TimedOut => return format!("timed out and was stopped, {gone}"),
        Ending::Cancelled => return format!("cancelled and was stopped, {gone}"),
        Ending::ConnectionLost(reason) => {
            let reason = reason
                .as_deref()
                .map(|reason| format!(" ({})", escape_line(reason.as_bytes())))
                .unwrap_or_default();
            return format!(
                "connection lost{reason}; the command may have run, it was not run again"
            );
        }
    };

    // A stopped command may still exit by itself, with a code of its own choice.
    if command.stopped {
        format!("{ending}, was stopped, {gone}")
    } else {
        ending
    }
}

/// Formats a duration for a human reader, as in `12 ms`, `1.5 s` or `2 min 5 s`.
pub(in crate::mcp) fn duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => format!("{:.1} s", duration.as_secs_f64()),
        _ => format!(
            "{} min {} s",
            milliseconds / 60_000,
            milliseconds / 1_000 % 60
        ),
    }
}

/// Formats a running time for a human reader, as in `45 s`.
fn whole_seconds(running: Duration) -> String {
    match running.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        _ => duration(running),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capture::{Capture, Captured},
        session::job::ShellEnd,
    };

    fn captured(text: &str) -> Captured {
        let mut capture = Capture::new(100, 100);
        capture.push(text.as_bytes());
        capture.finish()
    }

    fn ended(
        ending: Ending,
        stdout: &str,
        stderr: &str,
        directory: Option<&[u8]>,
    ) -> CallToolResult {
        let output = CommandOutput {
            stdout: captured(stdout),
            stderr: captured(stderr),
            ..CommandOutput::default()
        };

        let duration = Duration::from_millis(12);

        let command = CommandResult {
            ending,
            stopped: false,
            process_gone: None,
            output: output.clone(),
            duration,
            notice: None,
        };

        let shell = directory.map(|directory| ShellEnd {
            directory: directory.to_vec(),
            between: Captured::default(),
            notice: None,
        });

        let finished = FinishedJob { command, shell };

        CommandReport {
            session: "s",
            names_session: false,
            job: None,
            shell: directory.map(|_| "main"),
            unseen: UnseenOutput {
                output,
                ..UnseenOutput::default()
            },
            has_terminal: false,
            duration,
            state: CommandState::Ended(&finished),
            detached: false,
            notice: None,
        }
        .result()
    }

    fn texts(result: &CallToolResult) -> Vec<String> {
        let content = serde_json::to_value(&result.content).unwrap();
        content
            .as_array()
            .unwrap()
            .iter()
            .map(|block| block["text"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn the_blocks_come_in_order_and_empty_ones_are_left_out() {
        let done = |code| Ending::Exited(ExitStatus::Code(code));
        assert_eq!(texts(&ended(done(0), "", "", None)), ["[exit 0]"]);
        assert_eq!(
            texts(&ended(done(1), "out", "bad\n", None)),
            ["out", "[stderr]\nbad\n", "[exit 1]"]
        );
    }

    #[test]
    fn a_directory_cannot_break_out_of_the_status_line() {
        let code = Ending::Exited(ExitStatus::Code(2));
        let lines = texts(&ended(code, "", "", Some(b"/a\n[exit 0]\x1b[2J")));
        assert_eq!(lines, ["[exit 2 · cwd /a\\n[exit 0]\\u{1b}[2J]"]);
    }

    #[test]
    fn an_exit_code_is_a_number_or_null_and_never_minus_one() {
        for (ending, status, code, signal) in [
            (
                Ending::Exited(ExitStatus::Code(255)),
                "exited",
                Some(255),
                None,
            ),
            (
                Ending::Exited(ExitStatus::Signal("KILL".into())),
                "signaled",
                None,
                Some("KILL"),
            ),
            (Ending::Exited(ExitStatus::Unreported), "exited", None, None),
            (Ending::TimedOut, "timedOut", None, None),
            (Ending::Cancelled, "cancelled", None, None),
            (Ending::ConnectionLost(None), "connectionLost", None, None),
        ] {
            let result = ended(ending, "é", "", None);
            let outcome = &result.meta.unwrap().0[OUTCOME_KEY];
            assert_eq!(outcome["status"], status);
            assert_eq!(outcome["exitCode"].as_u64(), code);
            assert_eq!(outcome["signal"].as_str(), signal);

            assert_eq!(
                (
                    outcome["stdoutBytes"].as_u64(),
                    outcome["truncated"].as_bool()
                ),
                (Some(2), Some(false))
            );
        }
    }

    #[test]
    fn durations_read_as_people_say_them() {
        for (milliseconds, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_500, "1.5 s"),
            (125_000, "2 min 5 s"),
        ] {
            assert_eq!(duration(Duration::from_millis(milliseconds)), text);
        }
    }
}
