//! Running a command on a persistent shell, from script to trailer.

mod result;
mod running;

use std::{future::pending, sync::Arc, time::Duration};

use russh::{ChannelMsg, ChannelWriteHalf, client::Msg};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use self::running::{FrameEnd, RunningFrame};
use super::{
    ShellReply, ShellRequest,
    message::ShellMessage,
    stop::STATE_AFTER_EXIT,
    task::{ShellTask, fresh_between},
};
use crate::{
    framing::{
        decoder::{DecodeStep, StreamDecoder},
        script::{self, FrameStdin, ShellTraits},
        shell_kind::ShellKind,
        stop::Signal,
        stream::Stream,
    },
    ssh::command::{
        exec::random_sentinel,
        limits::{StopConditions, StopReason},
        stop_ladder::{QUIET_AFTER_EXIT, StopAction, StopEvent},
    },
};

impl ShellTask {
    /// Sends a command to the shell, and reads up to the end of the frame.
    pub(in crate::ssh::command::shell) async fn frame(
        &mut self,
        request: ShellRequest,
    ) -> ShellReply {
        let Ok(sentinel) = random_sentinel() else {
            return Ok(self.no_random());
        };

        let Ok(delimiter) = random_sentinel() else {
            return Ok(self.no_random());
        };
        let start_mark = (self.kind == ShellKind::Posix).then_some(&delimiter);
        let stdin = request
            .stdin
            .as_deref()
            .map_or(FrameStdin::Null, FrameStdin::Bytes);

        self.mentioned.scan(&request.command);
        let traits = ShellTraits {
            kind: self.kind,
            streams: self.streams,
            mentioned: self.mentioned,
        };

        let command = script::command(
            traits,
            &request.command,
            stdin,
            self.previous_status,
            start_mark,
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
        let trailer = script::trailer(traits, &sentinel);

        // bash gets the trailer at once, which saves a round trip. Another shell throws away input
        // that it has read when an error aborts a line, so its trailer waits for the mark.
        let start = match start_mark {
            None => {
                text.extend_from_slice(&trailer);
                None
            }
            Some(mark) => Some((StreamDecoder::new(mark), trailer)),
        };

        // Output from before this command goes into a field of its own in the result.
        let between = std::mem::replace(&mut self.between, fresh_between()).finish();

        let mut running =
            RunningFrame::new(&sentinel, &self.process, request.output.writer(), start);

        self.snapshotter.command_begins();

        // A task of its own: a script of megabytes must not wait for output that only this task can
        // take.
        let writer = send(Arc::clone(&self.write), text);
        let frame_end = self.read_frame(&mut running, request.conditions).await;
        self.end_step(&mut running, matches!(frame_end, FrameEnd::Complete))
            .await;
        writer.abort();

        Ok(self.frame_result(running, frame_end, between).await)
    }

    /// Reads both streams to the end of the frame, and carries out the steps of a stop meanwhile.
    async fn read_frame(
        &mut self,
        running: &mut RunningFrame,
        conditions: StopConditions,
    ) -> FrameEnd {
        let met = conditions.wait(Duration::ZERO);
        tokio::pin!(met);

        while !running.is_complete() {
            let (runs_on, deadline) =
                (running.ladder.reason().is_none(), running.ladder.deadline());
            let quiet = self.quiet_after_exit(running);

            // `biased`: a stop comes before output, or endless output would put it off.
            let event = tokio::select! {
                biased;
                reason = &mut met, if runs_on => Some(StopEvent::StopWanted(reason)),
                signal = conditions.signals.next(), if runs_on => self.stop_event(signal, running),
                event = running.step_done() => Some(event),
                () = until(deadline) => Some(StopEvent::TimeOver),
                message = self.read.wait() => match self.read_message(running, message).await {
                    Ok(event) => event,
                    Err(frame_end) => return frame_end,
                },
                () = until(quiet) => return FrameEnd::ShellEnded,
            };

            let Some(event) = event else { continue };
            match running.ladder.handle(event, Instant::now()) {
                StopAction::Take(step, reason) => {
                    running.step = Some(self.begin(step, reason, running.started));
                }
                StopAction::Wait => {}
                StopAction::GiveUp => return FrameEnd::ShellEnded,
            }
        }

        FrameEnd::Complete
    }

    /// Waits for the present step of a stop, and reads on meanwhile if the channel `is_open`. The
    /// script must be over before another command runs, because it would take that command for its
    /// target.
    async fn end_step(&mut self, running: &mut RunningFrame, mut is_open: bool) {
        while running.step.is_some() {
            tokio::select! {
                event = running.step_done() => {
                    running.ladder.handle(event, Instant::now());
                }
                message = self.read.wait(), if is_open => {
                    match self.snapshotter.filter(ShellMessage::read(message)) {
                        ShellMessage::Output(_, bytes) => running.output_after.push(&bytes),
                        ShellMessage::Closed | ShellMessage::Lost => is_open = false,
                        ShellMessage::Status(_) | ShellMessage::Refused | ShellMessage::Other => {}
                    }
                }
            }
        }
    }

    /// Returns the time at which the output counts as complete after the shell's exit, unless
    /// something comes before; `None` while the shell runs.
    fn quiet_after_exit(&self, running: &RunningFrame) -> Option<Instant> {
        // Background jobs can hold the channel open after the shell has ended. A snapshot on its
        // way gets more time, because the next shell is restored from it.
        let quiet = if self.snapshotter.is_taking() {
            STATE_AFTER_EXIT
        } else {
            QUIET_AFTER_EXIT
        };

        running.status.is_some().then(|| Instant::now() + quiet)
    }

    /// Returns the event for a signal that stops the command. Sends any other signal once.
    fn stop_event(&self, signal: Signal, running: &RunningFrame) -> Option<StopEvent> {
        match signal {
            Signal::Stop(first_signal) => {
                Some(StopEvent::StopWanted(StopReason::Signalled(first_signal)))
            }
            Signal::Once(name) => {
                self.signal(name, running.started);
                None
            }
        }
    }

    /// Reads a message of the channel. Returns the event for a shell that is out of step.
    ///
    /// # Errors
    /// Fails with the end of the frame if nothing more will come.
    async fn read_message(
        &mut self,
        running: &mut RunningFrame,
        message: Option<ChannelMsg>,
    ) -> Result<Option<StopEvent>, FrameEnd> {
        match self.snapshotter.filter(ShellMessage::read(message)) {
            ShellMessage::Output(Stream::Stdout, bytes) => self.read_stdout(running, &bytes).await,
            ShellMessage::Output(Stream::Stderr, bytes) => running.read_stderr(&bytes).await,
            ShellMessage::Status(status) => running.status = Some(status),
            ShellMessage::Closed => return Err(FrameEnd::ShellEnded),
            ShellMessage::Lost => return Err(FrameEnd::ConnectionLost),
            ShellMessage::Refused | ShellMessage::Other => {}
        }

        Ok(running.broken.then_some(StopEvent::OutOfStep))
    }

    /// Reads stdout, at first up to the mark of the first line.
    async fn read_stdout(&mut self, running: &mut RunningFrame, bytes: &[u8]) {
        let Some((start, _)) = &mut running.start else {
            return running.read_stdout(bytes).await;
        };
        let mut before = Vec::new();

        if let DecodeStep::Complete { rest, .. } = start.push(bytes, &mut before)
            && let Some((_, trailer)) = running.start.take()
        {
            send(Arc::clone(&self.write), trailer);
            running.read_stdout(&rest).await;
        }

        running.output.push(Stream::Stdout, &before).await;
    }
}

/// Writes bytes to the channel in a new task.
fn send(write: Arc<ChannelWriteHalf<Msg>>, text: Vec<u8>) -> JoinHandle<()> {
    tokio::spawn(async move {
        // A failure shows on the reading side, as the end of the channel.
        let _ = write.data_bytes(text).await;
    })
}

/// Waits until this instant; for ever, if there is none.
async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}
