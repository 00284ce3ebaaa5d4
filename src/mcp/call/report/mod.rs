//! The answer of a command, for a reader and for a program.

mod blocks;

use std::time::Duration;

use rmcp::model::{CallToolResult, JsonObject, MetaObject};
use serde::Serialize;
use serde_json::{Value, json};

use self::blocks::{Block, BlockKind};
use super::{hints, tool_error::ToolError};
use crate::{
    capture::Nature,
    render::escape_line,
    session::{
        job::{FinishedJob, Job, JobEnd},
        registry::SessionRegistry,
    },
    ssh::command::{
        exec::CommandResult,
        exit_status::{Ending, ExitStatus},
        output::{CommandOutput, StdoutPortion},
    },
};

/// Where a program finds the typed outcome in a result's `_meta`.
const OUTCOME_KEY: &str = "mcp-ssh-sessions/outcome";

/// The same of many commands that were run by one call, a list.
const OUTCOMES_KEY: &str = "mcp-ssh-sessions/outcomes";

/// What the caller is told of a command that the person has stopped.
const UNWANTED: &str = "the person stopped it; ask them before you run it again";

/// The outcome of a command, typed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CommandOutcome {
    session: String,
    status: &'static str,
    exit_code: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    stdout_bytes: u64,
    stderr_bytes: u64,
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_file: Option<String>,
    /// Where the next part of stdout begins, if a part was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_offset: Option<u64>,
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
    /// The job that runs in the shell in which this command waits for its turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    queued_behind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    awaiting_input: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<String>,
    /// `null` where it could not be found out; absent where nothing was stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[expect(
        clippy::option_option,
        reason = "absent, null and known are three answers"
    )]
    process_gone: Option<Option<bool>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shell: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<String>,
}

/// What is to be said of a command, as it is now.
pub(in crate::mcp) struct CommandReport<'a> {
    pub(in crate::mcp) session: &'a str,
    /// Whether the status line says which session it was, because several are connected.
    names_session: bool,
    /// Its name, if a later call can ask for it.
    pub(in crate::mcp) job: Option<&'a str>,
    pub(in crate::mcp) shell: Option<&'a str>,
    pub(in crate::mcp) output: CommandOutput,
    /// The part of stdout that was asked for, instead of its beginning and end.
    pub(in crate::mcp) portion: Option<StdoutPortion>,
    pub(in crate::mcp) duration: Duration,
    pub(in crate::mcp) state: CommandState<'a>,
    /// Whether it lives on the remote machine.
    pub(in crate::mcp) detached: bool,
    /// What the caller should know besides.
    pub(in crate::mcp) notice: Option<String>,
}

/// How far a command is.
pub(in crate::mcp) enum CommandState<'a> {
    /// It waits for the shell to be free: for the end of this job, if it is known.
    Queued { behind: Option<String> },
    /// It runs, and perhaps waits for input behind this line.
    Running { prompt: Option<String> },
    /// It has ended.
    Ended(&'a FinishedJob),
}

impl<'a> CommandReport<'a> {
    /// The report on a job. `kept`: a later call can ask for it.
    ///
    /// # Errors
    /// It was not run.
    pub(in crate::mcp) fn of(
        registry: &SessionRegistry,
        job: &'a Job,
        end: Option<&'a JobEnd>,
        kept: bool,
    ) -> Result<Self, ToolError> {
        let state = match end.map(|end| &**end) {
            Some(Err(_)) if job.was_stopped_by_user() => {
                return Err(ToolError::new(
                    "the person stopped it before it began",
                    "ask them before you run it again",
                ));
            }
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(finished)) => CommandState::Ended(finished),
            None if job.shell.is_some() && !job.is_sent() => CommandState::Queued {
                behind: registry.jobs.ahead_of(job).map(|ahead| ahead.id.clone()),
            },
            None => CommandState::Running {
                prompt: job.prompt(),
            },
        };

        let hint = if let CommandState::Ended(finished) = &state {
            hints::of_command(job, &finished.command)
        } else {
            None
        };

        Ok(Self {
            session: &job.session,
            names_session: registry.is_one_of_many(),
            job: kept.then_some(&job.id),
            shell: job.shell.as_deref(),
            output: if let CommandState::Ended(finished) = &state {
                finished.command.output.clone()
            } else {
                job.printed()
            },
            portion: None,
            duration: job.duration(),
            state,
            detached: job.detached.is_some(),
            notice: (end.is_some() && job.was_stopped_by_user())
                .then(|| UNWANTED.to_owned())
                .or(hint),
        })
    }

    /// The same for an answer that names the session by itself.
    pub(in crate::mcp) fn under_its_session(self) -> Self {
        Self {
            names_session: false,
            ..self
        }
    }

    /// The result of a call: stdout, stderr, what the background printed, then the status line.
    pub(in crate::mcp) fn result(&self) -> CallToolResult {
        let (blocks, outcome) = self.blocks();
        let (content, kinds) = blocks::split(blocks);
        let mut result = CallToolResult::success(content);
        result.meta = Some(meta(
            OUTCOME_KEY,
            serde_json::to_value(&outcome).unwrap_or(Value::Null),
            kinds,
        ));

        result
    }

    fn blocks(&self) -> (Vec<Block>, CommandOutcome) {
        let outcome = self.outcome();
        let stdout = self
            .portion
            .as_ref()
            .map_or(&self.output.stdout, |portion| &portion.shown);

        let between = match &self.state {
            CommandState::Ended(FinishedJob {
                shell: Some(shell), ..
            }) => Some(&shell.between),
            _ => None,
        };

        let printed = [
            (BlockKind::Stdout, "", Some(stdout)),
            (BlockKind::Stderr, "[stderr]\n", Some(&self.output.stderr)),
            (
                BlockKind::Background,
                "[background, since the last command]\n",
                between,
            ),
        ];

        let (mut blocks, mut spoofed_markers) = (Vec::new(), 0);

        for (kind, heading, printed) in printed {
            let Some(printed) = printed else { continue };
            let text = printed.text();
            if !text.is_empty() {
                let has_our_mark =
                    printed.omitted() > 0 || matches!(printed.nature(), Nature::Binary(_));
                spoofed_markers += blocks::spoofed_markers(&text, has_our_mark);
                blocks.push(Block {
                    kind,
                    text: format!("{heading}{text}"),
                });
            }
        }

        blocks.push(Block {
            kind: BlockKind::Status,
            text: self.status_line(&outcome, spoofed_markers),
        });

        (blocks, outcome)
    }

    fn outcome(&self) -> CommandOutcome {
        let output = &self.output;
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
            truncated: output.truncated(),
            output_file: output
                .stdout_file
                .as_ref()
                .or(output.stderr_file.as_ref())
                .map(|path| path.display().to_string()),
            next_offset: self.portion.as_ref().map(|portion| portion.next),
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

    fn status_line(&self, outcome: &CommandOutcome, spoofed_markers: usize) -> String {
        let mut parts = match &self.state {
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
                    format!("waits for input at {:?}", escape_line(prompt.as_bytes()))
                }));

                parts
            }
        };

        parts.extend(
            self.names_session
                .then(|| format!("session {}", self.session)),
        );

        parts.extend(self.job.map(|job| format!("job {job}")));
        parts.extend(self.detached.then(|| "detached".to_owned()));
        parts.push(duration(self.duration));

        parts.extend(
            outcome
                .cwd
                .as_ref()
                .map(|directory| format!("cwd {directory}")),
        );

        let kept = if self.output.trouble.is_some() {
            "what could be kept of it"
        } else {
            "all of it"
        };

        for (name, stream, file) in [
            ("stdout", &self.output.stdout, &self.output.stdout_file),
            ("stderr", &self.output.stderr, &self.output.stderr_file),
        ] {
            let place = file.as_ref().map(|path| path.display());
            let name = match stream.nature() {
                Nature::Text => name.to_owned(),
                Nature::NotUtf8 => format!("{name} is not UTF-8,"),
                Nature::Binary(_) => format!("{name} is binary,"),
            };

            if stream.omitted() > 0 {
                let place = place
                    .map(|place| format!(", {kept} in {place}"))
                    .unwrap_or_default();
                parts.push(format!("{name} {} bytes{place}", stream.total));
            } else if let Some(place) = place {
                parts.push(format!("{name} as it came in {place}"));
            } else if name.ends_with(',') {
                parts.push(name.trim_end_matches(',').to_owned());
            }
        }

        if let Some(portion) = &self.portion {
            let more = if portion.next < portion.shown.total {
                "more"
            } else {
                "what comes next"
            };
            parts.push(format!("{more} from offset {}", portion.next));
        }

        if let (CommandState::Running { .. }, Some(_)) = (&self.state, self.job) {
            // What a later call can go on from, so that it need not be read twice.
            if self.portion.is_none() && self.output.stdout.total > 0 {
                parts.push(format!(
                    "what comes next from offset {}",
                    self.output.stdout.total
                ));
            }

            parts.push("ssh_job waits for it, reads, feeds or stops it".to_owned());
        }

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

/// The result of a call that ran a command in many sessions: for each its name, then its texts or its error.
pub(in crate::mcp) fn of_many(
    each: Vec<(String, Result<CommandReport<'_>, ToolError>)>,
) -> CallToolResult {
    let (mut all, mut outcomes, mut failed) = (Vec::new(), Vec::new(), 0);
    let sessions = each.len();

    for (session, report) in each {
        all.push(Block {
            kind: BlockKind::Session,
            text: format!("[session {}]", escape_line(session.as_bytes())),
        });

        match report {
            Ok(report) => {
                let (blocks, outcome) = report.blocks();
                all.extend(blocks);
                outcomes.push(serde_json::to_value(&outcome).unwrap_or(Value::Null));
            }
            Err(error) => {
                failed += 1;
                outcomes
                    .push(json!({"session": session, "error": error.message, "hint": error.hint}));
                all.push(Block {
                    kind: BlockKind::Error,
                    text: error.text(),
                });
            }
        }
    }

    let (content, kinds) = blocks::split(all);
    let mut result = if failed == sessions {
        CallToolResult::error(content)
    } else {
        CallToolResult::success(content)
    };

    result.meta = Some(meta(OUTCOMES_KEY, Value::Array(outcomes), kinds));

    result
}

fn meta(key: &str, outcome: Value, kinds: Value) -> MetaObject {
    MetaObject(JsonObject::from_iter([
        (key.to_owned(), outcome),
        (blocks::KEY.to_owned(), kinds),
    ]))
}

/// The word for how a command ended.
pub(in crate::mcp) fn status(ending: &Ending) -> &'static str {
    match ending {
        Ending::Exited(ExitStatus::Signal(_)) => "signaled",
        Ending::Exited(_) => "exited",
        Ending::TimedOut => "timedOut",
        Ending::Cancelled => "cancelled",
        Ending::ConnectionLost(_) => "connectionLost",
    }
}

/// The same for a reader.
pub(in crate::mcp) fn how_it_ended(command: &CommandResult) -> String {
    let gone = match command.process_gone {
        Some(true) => "its processes are gone",
        Some(false) => "SOME OF ITS PROCESSES ARE STILL RUNNING",
        None => "whether its processes are gone is not known",
    };

    let told = match &command.ending {
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

    if command.stopped {
        format!("{told}, was stopped, {gone}")
    } else {
        told
    }
}

/// A length of time as people say it.
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
            output,
            portion: None,
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
        assert_eq!(texts(&ended(done(0), "", "", None)), ["[exit 0 · 12 ms]"]);
        assert_eq!(
            texts(&ended(done(1), "out", "bad\n", None)),
            ["out", "[stderr]\nbad\n", "[exit 1 · 12 ms]"]
        );
    }

    #[test]
    fn a_directory_cannot_break_out_of_the_status_line() {
        let code = Ending::Exited(ExitStatus::Code(2));
        let lines = texts(&ended(code, "", "", Some(b"/a\n[exit 0]\x1b[2J")));
        assert_eq!(lines, ["[exit 2 · 12 ms · cwd /a\\n[exit 0]\\u{1b}[2J]"]);
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
