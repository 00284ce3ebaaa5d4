//! Running a command on a persistent shell, from script to trailer.

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
        stream::Stream,
    },
    ssh::command::{
        exec::{CommandResult, random_sentinel},
        exit_status::{Ending, ExitStatus},
        limits::{StopConditions, StopReason},
        output::{CommandOutput, OutputWriter},
    },
};

/// Notice about the end of a shell whose state was kept.
const ENDED: &str = "the shell itself has ended; the next command gets a new one, in the state from before this command";
/// Notice about the end of a shell whose state was not kept.
const ENDED_FOR_GOOD: &str = "the shell itself has ended; the next command gets a new one, in the same directory but \
     without the variables and functions of this one";

/// State of the running command, from the script to the trailers on both streams.
struct RunningFrame {
    /// Time at which the script was written.
    started: Instant,
    /// Destination of the output.
    output: OutputWriter,
    /// Decoder for the mark of the first line, with the trailer to send after the mark; `None` in
    /// bash. Another shell may discard input that it has already read, so its trailer waits.
    go: Option<(StreamDecoder, Vec<u8>)>,
    /// Decoder for the trailer on stdout.
    stdout: StreamDecoder,
    /// Decoder for the trailer on stderr.
    stderr: StreamDecoder,
    /// Trailer on stdout, once complete.
    trailer: Option<Trailer>,
    /// True if the trailer on stderr is complete.
    stderr_done: bool,
    /// Filter for bash's messages about job control.
    noise: TerminalNoise,
    /// True if output has come since the last step of a stop.
    goes_on: bool,
    /// Reason of the stop, if the command is being stopped.
    stop: Option<StopReason>,
    /// True if a stop script found the processes gone; `None` if nothing is known.
    process_gone: Option<bool>,
    /// Output after the trailers, from processes in the background.
    late: Capture,
    /// Exit status of the shell itself, if the server has reported any.
    status: Option<ExitStatus>,
    /// True if the stream is out of step and no trailer can be found any more.
    broken: bool,
}

/// End of the frame, as seen on the channel.
enum FrameEnd {
    /// Both trailers have come.
    Complete,
    /// The shell has ended, or was given up.
    ShellEnded,
    /// The connection was lost.
    ConnectionLost,
}

impl ShellTask {
    /// Sends a command to the shell, and reads up to the end of the frame.
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

        self.mentioned.scan(&request.command);
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

        // A command that ends the shell leaves the next one with the state from before it, so that
        // state is asked for first.
        let may_end = self.mentioned.may_end(&request.command);
        let mut text = if may_end {
            self.snapshotter.catch_up(self.kind, self.streams)
        } else {
            Vec::new()
        };

        text.extend_from_slice(&command);
        let trailer = script::trailer(known, &sentinel);

        // bash gets the trailer at once, which saves a round trip. Another shell throws away input
        // that it has read when an error aborts a line, so its trailer waits for the mark.
        let (go, after_go) = match go {
            None => {
                text.extend_from_slice(&trailer);
                (None, None)
            }
            Some(go) => (Some(StreamDecoder::new(go)), Some(trailer)),
        };

        // Output from before this command goes into a field of its own in the result.
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

        // A task of its own: a script of megabytes must not wait for output that only this task can
        // take.
        let writer = send(Arc::clone(&self.write), text);
        let end = self.read_frame(&mut running, request.conditions).await;
        writer.abort();

        Ok(self.result(running, end, between).await)
    }

    /// Reads both streams to the end of the frame, and carries out the steps of a stop meanwhile.
    async fn read_frame(
        &mut self,
        running: &mut RunningFrame,
        conditions: StopConditions,
    ) -> FrameEnd {
        let reached = conditions.wait(Duration::ZERO);
        tokio::pin!(reached);

        // Each step runs next to the reading: an unread channel would hold up the channel that the
        // step needs.
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

            // Background jobs can hold the channel open after the shell has ended. A snapshot on
            // its way gets more time, because the next shell is restored from it.
            let quiet = running.status.is_some().then(|| Instant::now() + quiet);

            // `biased`: a stop comes before output, or endless output would put it off.
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
                // Something wrote over the trailer: the shell cannot be trusted to be in step any
                // more.
                running.stop = Some(StopReason::Cancelled);
                taking = Some((
                    StopStep::Kill,
                    self.begin(StopStep::Kill, StopReason::Cancelled, running.started),
                ));
            }
        };

        // The script must be over before another command runs, because it would take that command
        // for its target.
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

    /// Takes bytes of stdout, at first up to the mark of the first line.
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

        running.output.push(Stream::Stdout, &before).await;
    }

    /// Builds the result from the end of the frame.
    async fn result(
        &mut self,
        mut running: RunningFrame,
        end: FrameEnd,
        between: Captured,
    ) -> ShellResult {
        let mut rest = Vec::new();

        // Without a trailer, bytes that were held back as a possible mark are output after all.
        if running.trailer.is_none() {
            let held = self.snapshotter.finish();
            self.stdout(&mut running, &held).await;
            running.stdout.finish(&mut rest);
            running.output.push(Stream::Stdout, &rest).await;
        }

        rest.clear();

        // stderr has a trailer of its own, and may lack it even where stdout is complete.
        if !running.stderr_done {
            let mut text = Vec::new();
            running.stderr.finish(&mut text);
            running.noise.push(&text, &mut rest);
            running.noise.finish(&mut rest);
            running.output.push(Stream::Stderr, &rest).await;
        }

        // Output after the trailers belongs to the time between two commands.
        self.between.push(&running.late.bytes());
        let mut notice = None;

        let ending = match (end, running.stop) {
            (FrameEnd::ConnectionLost, _) => {
                // russh ends the channels just before it reports the reason.
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

        // After a lost connection the ending says enough: the shell did not end by itself.
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

    /// Returns the result of a command not sent for want of a random sentinel.
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
    /// Notes the result of a step, and returns the step.
    fn note(
        &mut self,
        step: Option<(StopStep, JoinHandle<Option<bool>>)>,
        gone: Option<bool>,
    ) -> StopStep {
        let step = step.map_or(StopStep::Stop, |(step, _)| step);
        self.goes_on = false;
        // Only these two steps signal processes, so only their answer says if the processes are
        // gone.
        if matches!(step, StopStep::Stop | StopStep::Kill) {
            self.process_gone = gone;
        }
        step
    }

    /// Takes bytes of stdout up to the trailer, and later ones as output between two commands.
    async fn stdout(&mut self, bytes: &[u8]) {
        self.goes_on = true;
        if self.trailer.is_some() {
            return self.late.push(bytes);
        }

        // A trailer that does not parse was written over by something else: the frame has no
        // reliable end.
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

        self.output.push(Stream::Stdout, &output).await;
    }

    /// Takes bytes of stderr up to the trailer, without bash's messages about job control.
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

        self.output.push(Stream::Stderr, &output).await;
    }
}

/// Creates an empty capture for output between two commands.
fn fresh_between() -> Capture {
    Capture::new(super::BETWEEN_BUDGET / 2, super::BETWEEN_BUDGET / 2)
}

/// Writes bytes to the channel in a new task.
fn send(write: Arc<ChannelWriteHalf<Msg>>, text: Vec<u8>) -> JoinHandle<()> {
    tokio::spawn(async move {
        // A failure shows on the reading side, as the end of the channel.
        let _ = write.data_bytes(text).await;
    })
}

/// Waits for the present step of a stop; for ever, if there is none.
async fn done(step: &mut Option<(StopStep, JoinHandle<Option<bool>>)>) -> Option<bool> {
    match step {
        Some((_, task)) => task.await.ok().flatten(),
        None => pending().await,
    }
}

/// Waits until this instant; for ever, if there is none.
async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}
