//! Answer of a call that ran commands: text for a reader, and a typed outcome for a program.

mod blocks;
mod many;
mod many_lines;
mod outcome;
mod ports;
mod screen;
mod status_line;
mod words;

use std::time::Duration;

use rmcp::model::{CallToolResult, JsonObject, MetaObject};
use serde_json::Value;

use self::{
    blocks::{Block, BlockKind},
    ports::PortHint,
    words::whole_seconds,
};
pub(in crate::mcp) use self::{
    many::{OUTCOMES_KEY, of_many},
    many_lines::of_many_lines,
    words::{duration, how_it_ended, status},
};
use super::{Call, hints, tool_error::ToolError};
use crate::{
    capture::{Captured, Nature},
    session::{
        job::{FinishedJob, Job, JobEnd},
        shell_name::ShellName,
    },
    ssh::command::{
        exit_status::Ending,
        output::{CommandOutput, UnseenOutput},
    },
};

/// Key in `_meta` of the typed outcome of a command.
pub(in crate::mcp) const OUTCOME_KEY: &str = "mcp-ssh-sessions/outcome";

/// Notice about a command stopped by the user on the dashboard.
const UNWANTED: &str = "the person stopped it; ask them before you run it again";

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
    pub(in crate::mcp) shell: Option<&'a ShellName>,
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
    /// Ports at which the command says that it listens, each in one answer only.
    ports: Vec<PortHint>,
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
            Some(_) => Ok(Self::new(call, job, end)?.with_ports(call, job)),
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
        let report = Self::new(call, job, end)?;

        let report = Self {
            job: Some(&job.id),
            unseen,
            ..report
        };

        Ok(report.with_ports(call, job))
    }

    /// Creates the report on a job that later calls cannot ask for, with its whole output.
    ///
    /// # Errors
    /// The command was not run.
    fn new(call: &Call, job: &'a Job, end: Option<&'a JobEnd>) -> Result<Self, ToolError> {
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
            shell: job.shell.as_ref(),
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
            ports: Vec::new(),
            notice: (end.is_some() && job.was_stopped_by_user())
                .then(|| UNWANTED.to_owned())
                .or(hint),
        })
    }

    /// Returns the report with one more notice, before the others.
    pub(in crate::mcp) fn with_notice(self, notice: Option<String>) -> Self {
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
                self.between(),
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

    /// Returns the output of background processes that the answer shows.
    fn between(&self) -> Option<&Captured> {
        match &self.state {
            CommandState::Ended(FinishedJob {
                shell: Some(shell), ..
            }) if !self.unseen.end_is_known => Some(&shell.between),
            _ => None,
        }
    }
}

/// Returns the `_meta` of a result: the outcome under `key`, and the kinds of the blocks.
fn meta(key: &str, outcome: Value, kinds: Value) -> MetaObject {
    MetaObject(JsonObject::from_iter([
        (key.to_owned(), outcome),
        (blocks::KEY.to_owned(), kinds),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capture::Capture,
        session::job::ShellEnd,
        ssh::command::{exec::CommandResult, exit_status::ExitStatus},
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

        let shell_name = ShellName::main();
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
            shell: directory.map(|_| &shell_name),
            unseen: UnseenOutput {
                output,
                ..UnseenOutput::default()
            },
            has_terminal: false,
            duration,
            state: CommandState::Ended(&finished),
            detached: false,
            ports: Vec::new(),
            notice: None,
        }
        .result()
    }

    /// Returns the texts of the blocks.
    pub(super) fn texts(result: &CallToolResult) -> Vec<String> {
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
}
