//! One command on a persistent shell, from its script to its trailer.

use std::{future::pending, sync::Arc, time::Duration};

use russh::{ChannelWriteHalf, client::Msg};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::{
    Event, ShellReply, ShellRequest, ShellResult, ShellTask, event,
    stop::{
        QUIET_AFTER_EXIT, STATE_AFTER_EXIT, StopStep, TRAILER_AFTER_OUTPUT, TRAILER_AFTER_STOP,
    },
};
use crate::{
    capture::{Capture, Captured},
    framing::{
        decoder::{DecodeStep, StreamDecoder, Trailer},
        job_control_messages::TerminalNoise,
        script::{self, FrameStdin, ShellTraits},
        shell_kind::ShellKind,
        stop::Signal,
    },
    ssh::command::{
        exec::{CommandResult, random_sentinel},
        exit_status::{Ending, ExitStatus},
        limits::{StopConditions, StopReason},
        output::{CommandOutput, OutputWriter},
    },
};

/// What the caller is told when a shell ends whose state was kept.
const ENDED: &str = "the shell itself has ended; the next command gets a new one, in the state from before this command";
/// The same where it was not.
const ENDED_FOR_GOOD: &str = "the shell itself has ended; the next command gets a new one, in the same directory but \
     without the variables and functions of this one";

/// A command that is running.
struct RunningFrame {
    started: Instant,
    output: OutputWriter,
    /// On a shell that is not bash: waits for the sign that the first line is being run.
    go: Option<(StreamDecoder, Vec<u8>)>,
    stdout: StreamDecoder,
    stderr: StreamDecoder,
    trailer: Option<Trailer>,
    stderr_done: bool,
    noise: TerminalNoise,
    /// Whether output came since the last step towards its end.
    goes_on: bool,
    stop: Option<StopReason>,
    process_gone: Option<bool>,
    late: Capture,
    status: Option<ExitStatus>,
    /// The stream is out of step: no trailer will be found any more.
    broken: bool,
}

/// How the frame itself ended.
enum FrameEnd {
    Complete,
    ShellEnded,
    ConnectionLost,
}

impl ShellTask {
    /// Sends a command and reads to its end.
    pub(super) async fn frame(&mut self, request: ShellRequest) -> ShellReply {
        let Ok(sentinel) = random_sentinel() else {
            return Ok(self.no_random());
        };

        let Ok(delimiter) = random_sentinel() else {
            return Ok(self.no_random());
        };
        let go = (self.kind == ShellKind::Posix).then_some(&delimiter);
        let stdin = request
            .stdin
            .as_deref()
            .map_or(FrameStdin::Null, FrameStdin::Bytes);

        self.mentioned.note(&request.command);
        let known = ShellTraits {
            kind: self.kind,
            streams: self.streams,
            mentioned: self.mentioned,
        };

        let command = script::command(
            known,
            &request.command,
            stdin,
            self.previous_status,
            go,
            &delimiter,
        )?;

        // Who gets a new shell after this command has the state from before it.
        let may_end = self.mentioned.may_end(&request.command);
        let mut text = if may_end {
            self.snapshotter.catch_up(self.kind, self.streams)
        } else {
            Vec::new()
        };

        text.extend_from_slice(&command);
        let trailer = script::trailer(known, &sentinel);

        let (go, after_go) = match go {
            None => {
                text.extend_from_slice(&trailer);
                (None, None)
            }
            Some(go) => (Some(StreamDecoder::new(go)), Some(trailer)),
        };

        let between = std::mem::replace(&mut self.between, fresh_between()).finish();

        let mut running = RunningFrame {
            started: Instant::now(),
            output: request.output.writer(),
            go: go.zip(after_go),
            stdout: StreamDecoder::new(&sentinel),
            stderr: StreamDecoder::new(&sentinel),
            trailer: None,
            stderr_done: false,
            noise: TerminalNoise::for_shell(self.process.pid()),
            goes_on: false,
            stop: None,
            process_gone: None,
            late: fresh_between(),
            status: None,
            broken: false,
        };

        self.snapshotter.command_begins();

        // A task of its own: a script of megabytes must not wait for output that only this task can take.
        let writer = send(Arc::clone(&self.write), text);
        let end = self.read_frame(&mut running, request.conditions).await;
        writer.abort();

        Ok(self.result(running, end, between).await)
    }

    async fn read_frame(
        &mut self,
        running: &mut RunningFrame,
        conditions: StopConditions,
    ) -> FrameEnd {
        let reached = conditions.wait(Duration::ZERO);
        tokio::pin!(reached);

        // Each step runs beside the reading: an unread channel would hold up the one that the step needs.
        let mut taking: Option<(StopStep, JoinHandle<Option<bool>>)> = None;
        let mut last = StopStep::Stop;
        let mut give_up: Option<Instant> = None;
        let mut stopped: Option<Instant> = None;

        let end = loop {
            if running.trailer.is_some() && running.stderr_done {
                break FrameEnd::Complete;
            }

            let free = taking.is_none() && running.stop.is_none();
            let quiet = if self.snapshotter.is_taking() {
                STATE_AFTER_EXIT
            } else {
                QUIET_AFTER_EXIT
            };

            let quiet = running.status.is_some().then(|| Instant::now() + quiet);

            tokio::select! {
                biased;
                stop = &mut reached, if running.stop.is_none() => {
                    running.stop = Some(stop);
                    taking = Some((StopStep::Stop, self.begin(StopStep::Stop, stop, running.started)));
                }
                signal = conditions.signals.next(), if free => match signal {
                    Signal::Stop(first_signal) => {
                        running.stop = Some(StopReason::Asked(first_signal));
                        taking = Some((StopStep::Stop, self.begin(StopStep::Stop, StopReason::Asked(first_signal), running.started)));
                    }
                    Signal::Once(name) => self.signal(name, running.started),
                },
                found = done(&mut taking) => {
                    let step = running.note(taking.take(), found);
                    stopped.get_or_insert_with(Instant::now);
                    let patience = match (step, last.next(running.stop)) {
                        (StopStep::Look, Some(next)) if found == Some(true) => {
                            taking = Some((next, self.begin(next, running.stop.unwrap_or(StopReason::Cancelled), running.started)));
                            continue;
                        }
                        (StopStep::Look, _) => TRAILER_AFTER_STOP,
                        _ => {
                            last = step;
                            step.patience(running.stop)
                        }
                    };
                    give_up = Some(Instant::now() + patience);
                }
                () = until(give_up) => {
                    give_up = None;
                    let Some(next) = last.next(running.stop) else { break FrameEnd::ShellEnded };
                    let may_be_behind = running.goes_on && stopped.is_some_and(|at| at.elapsed() < TRAILER_AFTER_OUTPUT);
                    let next = if may_be_behind && running.stop != Some(StopReason::Ending) { StopStep::Look } else { next };
                    taking = Some((next, self.begin(next, running.stop.unwrap_or(StopReason::Cancelled), running.started)));
                }
                message = self.read.wait() => match self.snapshotter.filter(event(message)) {
                    Event::Stdout(bytes) => self.stdout(running, &bytes).await,
                    Event::Stderr(bytes) => running.stderr(&bytes).await,
                    Event::Status(status) => running.status = Some(status),
                    Event::Closed => break FrameEnd::ShellEnded,
                    Event::Lost => break FrameEnd::ConnectionLost,
                    Event::Other => {}
                },
                () = until(quiet) => break FrameEnd::ShellEnded,
            }

            if running.broken && running.stop.is_none() {
                // Whatever wrote over the trailer: the shell cannot be trusted to be in step any more.
                running.stop = Some(StopReason::Cancelled);
                taking = Some((
                    StopStep::Kill,
                    self.begin(StopStep::Kill, StopReason::Cancelled, running.started),
                ));
            }
        };

        // The script must be over before another command runs: it would take that for its target.
        let mut readable = matches!(end, FrameEnd::Complete);

        while taking.is_some() {
            tokio::select! {
                gone = done(&mut taking) => { running.note(taking.take(), gone); }
                message = self.read.wait(), if readable => match self.snapshotter.filter(event(message)) {
                    Event::Stdout(bytes) | Event::Stderr(bytes) => running.late.push(&bytes),
                    Event::Closed | Event::Lost => readable = false,
                    Event::Status(_) | Event::Other => {}
                },
            }
        }

        end
    }

    async fn stdout(&mut self, running: &mut RunningFrame, bytes: &[u8]) {
        let Some((go, _)) = &mut running.go else {
            return running.stdout(bytes).await;
        };
        let mut before = Vec::new();

        if let DecodeStep::Complete { rest, .. } = go.push(bytes, &mut before)
            && let Some((_, trailer)) = running.go.take()
        {
            send(Arc::clone(&self.write), trailer);
            running.stdout(&rest).await;
        }

        running.output.push_stdout(&before).await;
    }

    async fn result(
        &mut self,
        mut running: RunningFrame,
        end: FrameEnd,
        between: Captured,
    ) -> ShellResult {
        let mut rest = Vec::new();

        if running.trailer.is_none() {
            let held = self.snapshotter.finish();
            self.stdout(&mut running, &held).await;
            running.stdout.finish(&mut rest);
            running.output.push_stdout(&rest).await;
        }

        rest.clear();

        if !running.stderr_done {
            let mut text = Vec::new();
            running.stderr.finish(&mut text);
            running.noise.push(&text, &mut rest);
            running.noise.finish(&mut rest);
            running.output.push_stderr(&rest).await;
        }

        self.between.push(&running.late.kept());
        let mut notice = None;

        let ending = match (end, running.stop) {
            (FrameEnd::ConnectionLost, _) => {
                tokio::task::yield_now().await;
                Ending::ConnectionLost(self.slot.connection().reason())
            }
            (FrameEnd::Complete | FrameEnd::ShellEnded, Some(stop)) => {
                let status = running
                    .trailer
                    .as_ref()
                    .map(|trailer| ExitStatus::Code(trailer.status));

                stop.ending(
                    status
                        .or_else(|| running.status.clone())
                        .map(Ending::Exited),
                )
            }
            (FrameEnd::Complete, None) => {
                let status = running.trailer.as_ref().map_or(0, |trailer| trailer.status);
                Ending::Exited(ExitStatus::Code(status))
            }
            (FrameEnd::ShellEnded, None) => {
                Ending::Exited(running.status.unwrap_or(ExitStatus::Unreported))
            }
        };

        let crippled = running
            .trailer
            .as_ref()
            .is_some_and(|trailer| trailer.crippled);

        let shell_ended = match running.trailer {
            Some(trailer) => {
                self.previous_status = u8::try_from(trailer.status).unwrap_or(u8::MAX);
                self.directory = trailer.directory;
                self.jobs = trailer.jobs;

                trailer.crippled
            }
            None => true,
        };

        if shell_ended && !matches!(ending, Ending::ConnectionLost(_)) {
            let ended = if self.snapshotter.shell_ended() {
                ENDED
            } else {
                ENDED_FOR_GOOD
            };

            notice = Some(if crippled {
                format!(
                    "it took away a builtin or the descriptors that every command needs; {ended}"
                )
            } else {
                ended.to_owned()
            });
        }

        let command = CommandResult {
            ending,
            stopped: running.stop.is_some(),
            process_gone: running.process_gone,
            output: running.output.finish().await,
            duration: running.started.elapsed(),
            notice,
        };

        ShellResult {
            command,
            directory: self.directory.clone(),
            between,
            shell_ended,
        }
    }

    fn no_random(&self) -> ShellResult {
        ShellResult {
            command: CommandResult {
                ending: Ending::Cancelled,
                stopped: true,
                process_gone: Some(true),
                output: CommandOutput::default(),
                duration: Duration::ZERO,
                notice: Some("the system gave no random bytes; the command was not run".to_owned()),
            },
            directory: self.directory.clone(),
            between: Captured::default(),
            shell_ended: false,
        }
    }
}

impl RunningFrame {
    /// Takes down what a step has found out, and returns which one it was.
    fn note(
        &mut self,
        step: Option<(StopStep, JoinHandle<Option<bool>>)>,
        gone: Option<bool>,
    ) -> StopStep {
        let step = step.map_or(StopStep::Stop, |(step, _)| step);
        self.goes_on = false;
        if matches!(step, StopStep::Stop | StopStep::Kill) {
            self.process_gone = gone;
        }
        step
    }

    async fn stdout(&mut self, bytes: &[u8]) {
        self.goes_on = true;
        if self.trailer.is_some() {
            return self.late.push(bytes);
        }

        let mut output = Vec::new();

        match self.stdout.push(bytes, &mut output) {
            DecodeStep::More => {}
            DecodeStep::Complete { trailer, rest } => {
                self.trailer = Trailer::parse(&trailer);
                self.broken |= self.trailer.is_none();
                self.late.push(&rest);
            }
            DecodeStep::Broken => self.broken = true,
        }

        self.output.push_stdout(&output).await;
    }

    async fn stderr(&mut self, bytes: &[u8]) {
        self.goes_on = true;
        if self.stderr_done {
            return self.late.push(bytes);
        }

        let (mut text, mut output) = (Vec::new(), Vec::new());
        let progress = self.stderr.push(bytes, &mut text);
        self.noise.push(&text, &mut output);

        match progress {
            DecodeStep::More => {}
            DecodeStep::Complete { rest, .. } => {
                self.stderr_done = true;
                self.noise.finish(&mut output);
                self.late.push(&rest);
            }
            DecodeStep::Broken => self.broken = true,
        }

        self.output.push_stderr(&output).await;
    }
}

fn fresh_between() -> Capture {
    Capture::new(super::BETWEEN_BUDGET / 2, super::BETWEEN_BUDGET / 2)
}

fn send(write: Arc<ChannelWriteHalf<Msg>>, text: Vec<u8>) -> JoinHandle<()> {
    tokio::spawn(async move {
        // A failure shows on the reading side, as the end of the channel.
        let _ = write.data_bytes(text).await;
    })
}

/// The end of the step that is being taken, if one is.
async fn done(step: &mut Option<(StopStep, JoinHandle<Option<bool>>)>) -> Option<bool> {
    match step {
        Some((_, task)) => task.await.ok().flatten(),
        None => pending().await,
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}
