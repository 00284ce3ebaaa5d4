//! The result of a command on a shell, from the end of its frame.

use std::time::Duration;

use super::running::{FrameEnd, RunningFrame};
use crate::{
    capture::Captured,
    framing::stream::Stream,
    ssh::{
        command::{
            exec::CommandResult,
            exit_status::{Ending, ExitStatus},
            output::CommandOutput,
            shell::{ShellResult, task::ShellTask},
        },
        error::SshError,
    },
};

/// Notice about the end of a shell whose state was kept.
const ENDED: &str = "the shell itself has ended; the next command gets a new one, in the state from before this command";
/// Notice about the end of a shell whose state was not kept.
const ENDED_FOR_GOOD: &str = "the shell itself has ended; the next command gets a new one, in the same directory but \
     without the variables and functions of this one";

impl ShellTask {
    /// Builds the result from the end of the frame.
    pub(super) async fn frame_result(
        &mut self,
        mut running: RunningFrame,
        frame_end: FrameEnd,
        between: Captured,
    ) -> ShellResult {
        self.release_held(&mut running).await;
        // Output after the trailers belongs to the time between two commands.
        self.between.push(&running.output_after.bytes());

        let ending = self.frame_ending(frame_end, &running).await;
        let is_crippled = running
            .trailer
            .as_ref()
            .is_some_and(|trailer| trailer.crippled);
        let shell_ended = is_crippled || running.trailer.is_none();

        if let Some(trailer) = running.trailer {
            self.previous_status = u8::try_from(trailer.status).unwrap_or(u8::MAX);
            self.directory = trailer.directory;
            self.jobs = trailer.jobs;
        }

        // After a lost connection the ending says enough: the shell did not end by itself.
        let notice = (shell_ended && !matches!(ending, Ending::ConnectionLost(_)))
            .then(|| self.end_notice(is_crippled));

        let command = CommandResult {
            ending,
            stopped: running.ladder.reason().is_some(),
            process_gone: running.ladder.process_gone(),
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

    /// Passes on bytes that were held back as possible marks: without the trailer of their stream
    /// they are output after all.
    async fn release_held(&mut self, running: &mut RunningFrame) {
        let mut rest = Vec::new();

        if running.trailer.is_none() {
            let held = self.snapshotter.finish();
            self.read_stdout(running, &held).await;
            running.stdout.finish(&mut rest);
            running.output.push(Stream::Stdout, &rest).await;
        }

        rest.clear();

        // stderr has a trailer of its own, and may lack it even where stdout is complete.
        if !running.stderr_done {
            let mut text = Vec::new();
            running.stderr.finish(&mut text);
            running.terminal_noise.push(&text, &mut rest);
            running.terminal_noise.finish(&mut rest);
            running.output.push(Stream::Stderr, &rest).await;
        }
    }

    /// Returns the end of the command.
    async fn frame_ending(&self, frame_end: FrameEnd, running: &RunningFrame) -> Ending {
        let exit_code = running
            .trailer
            .as_ref()
            .map(|trailer| ExitStatus::Code(trailer.status));

        match (frame_end, running.ladder.reason()) {
            (FrameEnd::ConnectionLost, _) => {
                // russh ends the channels just before it reports the reason.
                tokio::task::yield_now().await;
                let connection = self.slot.connection();
                let reason = if connection.has_ended_at_second_channel().await {
                    Some(SshError::SecondChannel.to_string())
                } else {
                    connection.reason()
                };

                Ending::ConnectionLost(reason)
            }
            (FrameEnd::Complete | FrameEnd::ShellEnded, Some(reason)) => {
                let status = exit_code.or_else(|| running.status.clone());
                reason.ending(status.map(Ending::Exited))
            }
            (FrameEnd::Complete, None) => Ending::Exited(exit_code.unwrap_or(ExitStatus::Code(0))),
            (FrameEnd::ShellEnded, None) => {
                Ending::Exited(running.status.clone().unwrap_or(ExitStatus::Unreported))
            }
        }
    }

    /// Returns the notice about the end of the shell.
    fn end_notice(&mut self, is_crippled: bool) -> String {
        let ended = if self.snapshotter.shell_ended() {
            ENDED
        } else {
            ENDED_FOR_GOOD
        };

        if is_crippled {
            format!("it took away a builtin or the descriptors that every command needs; {ended}")
        } else {
            ended.to_owned()
        }
    }

    /// Returns the result of a command not sent for want of a random sentinel.
    pub(super) fn no_random(&self) -> ShellResult {
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
