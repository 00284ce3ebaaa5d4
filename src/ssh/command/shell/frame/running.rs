//! The state of a running command on a shell, from the script to the trailers.

use std::future::pending;

use tokio::{task::JoinHandle, time::Instant};

use crate::{
    capture::Capture,
    framing::{
        decoder::{DecodeStep, StreamDecoder, Trailer},
        job_control_messages::TerminalNoise,
        sentinel::Sentinel,
        stop::Process,
        stream::Stream,
    },
    ssh::command::{
        exit_status::ExitStatus,
        output::OutputWriter,
        shell::task::fresh_between,
        stop_ladder::{StepResult, StopEvent, StopLadder, StopScope},
    },
};

/// State of the running command, from the script to the trailers on both streams.
pub(super) struct RunningFrame {
    /// Time at which the script was written.
    pub(super) started: Instant,
    /// Destination of the output.
    pub(super) output: OutputWriter,
    /// Decoder for the mark of the first line, with the trailer to send after the mark; `None` in
    /// bash. Another shell may discard input that it has already read, so its trailer waits.
    pub(super) start: Option<(StreamDecoder, Vec<u8>)>,
    /// Decoder for the trailer on stdout.
    pub(super) stdout: StreamDecoder,
    /// Decoder for the trailer on stderr.
    pub(super) stderr: StreamDecoder,
    /// Trailer on stdout, once complete.
    pub(super) trailer: Option<Trailer>,
    /// True if the trailer on stderr is complete.
    pub(super) stderr_done: bool,
    /// Filter for bash's messages about job control.
    pub(super) terminal_noise: TerminalNoise,
    /// Decision how the command is stopped.
    pub(super) ladder: StopLadder,
    /// Present step of a stop. Each step runs next to the reading: an unread channel would hold up
    /// the channel that the step needs.
    pub(super) step: Option<JoinHandle<StepResult>>,
    /// Output after the trailers, from processes in the background.
    pub(super) output_after: Capture,
    /// Exit status of the shell itself, if the server has reported any.
    pub(super) status: Option<ExitStatus>,
    /// True if the stream is out of step and no trailer can be found any more.
    pub(super) broken: bool,
}

/// End of the frame, as seen on the channel.
pub(super) enum FrameEnd {
    /// Both trailers have come.
    Complete,
    /// The shell has ended, or was given up.
    ShellEnded,
    /// The connection was lost.
    ConnectionLost,
}

impl RunningFrame {
    /// Creates the state of a frame with this sentinel, whose command was just sent. `start` is the
    /// decoder for the mark of the first line with the trailer to send, if the trailer waits.
    pub(super) fn new(
        sentinel: &Sentinel,
        shell: &Process,
        output: OutputWriter,
        start: Option<(StreamDecoder, Vec<u8>)>,
    ) -> Self {
        Self {
            started: Instant::now(),
            output,
            start,
            stdout: StreamDecoder::new(sentinel),
            stderr: StreamDecoder::new(sentinel),
            trailer: None,
            stderr_done: false,
            terminal_noise: TerminalNoise::for_shell(shell.pid()),
            ladder: StopLadder::new(StopScope::Shell),
            step: None,
            output_after: fresh_between(),
            status: None,
            broken: false,
        }
    }

    /// Returns true if the trailers on both streams have come.
    pub(super) fn is_complete(&self) -> bool {
        self.trailer.is_some() && self.stderr_done
    }

    /// Waits for the end of the present step of a stop; for ever, if there is none.
    pub(super) async fn step_done(&mut self) -> StopEvent {
        let Some(step) = &mut self.step else {
            return pending().await;
        };

        let result = step.await.unwrap_or(StepResult::Unknown);
        self.step = None;

        StopEvent::StepDone(result)
    }

    /// Records output for the ladder.
    fn record_output(&mut self) {
        self.ladder.handle(StopEvent::Output, Instant::now());
    }

    /// Reads stdout up to the trailer, and later bytes as output between two commands.
    pub(super) async fn read_stdout(&mut self, bytes: &[u8]) {
        self.record_output();
        if self.trailer.is_some() {
            return self.output_after.push(bytes);
        }

        // A trailer that does not parse was written over by something else: the frame has no
        // reliable end.
        let mut output = Vec::new();

        match self.stdout.push(bytes, &mut output) {
            DecodeStep::More => {}
            DecodeStep::Complete { trailer, rest } => {
                self.trailer = Trailer::parse(&trailer);
                self.broken |= self.trailer.is_none();
                self.output_after.push(&rest);
            }
            DecodeStep::Broken => self.broken = true,
        }

        self.output.push(Stream::Stdout, &output).await;
    }

    /// Reads stderr up to the trailer, without bash's messages about job control.
    pub(super) async fn read_stderr(&mut self, bytes: &[u8]) {
        self.record_output();
        if self.stderr_done {
            return self.output_after.push(bytes);
        }

        let (mut text, mut output) = (Vec::new(), Vec::new());
        let progress = self.stderr.push(bytes, &mut text);
        self.terminal_noise.push(&text, &mut output);

        match progress {
            DecodeStep::More => {}
            DecodeStep::Complete { rest, .. } => {
                self.stderr_done = true;
                self.terminal_noise.finish(&mut output);
                self.output_after.push(&rest);
            }
            DecodeStep::Broken => self.broken = true,
        }

        self.output.push(Stream::Stderr, &output).await;
    }
}
