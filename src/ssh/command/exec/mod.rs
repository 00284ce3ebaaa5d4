//! Runs one command on a channel of its own (RFC 4254 section 6.5).

mod control;
mod end;
mod expected;
mod reader;
mod running;
mod send;
mod stdin;
pub(super) mod sudo;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::mpsc;

use self::running::RunningCommand;
use super::{
    exit_status::Ending,
    limits::StopConditions,
    output::{CommandOutput, Output},
    remote_host::RemoteHost,
    spec::CommandSpec,
    sudo::SudoSources,
};
use crate::{event::Event, framing::sentinel::Sentinel, random, ssh::error::SshError};

/// Links of a running command to the caller, for a command on a channel of its own.
#[derive(Debug)]
pub struct ExecContext {
    /// Further stdin, until the channel ends; `None` if the command takes no input, and after the
    /// command has been sent.
    pub input: Option<mpsc::Receiver<Bytes>>,
    /// Destination of the command's output.
    pub output: Output,
    /// Answers for sudo, which runs the command as root; `None` runs the command as the user.
    pub sudo: Option<SudoSources>,
    /// Event to set once the command has been sent and has passed sudo.
    pub sent: Event,
    /// Conditions under which the command is stopped.
    pub conditions: StopConditions,
}

/// Result of a command, which may have run only in part.
#[derive(Debug)]
pub struct CommandResult {
    /// End of the command.
    pub ending: Ending,
    /// True if the command was stopped.
    pub stopped: bool,
    /// True if the processes of a stopped command are gone; `None` if the command was not stopped
    /// or if nothing could be found out.
    pub process_gone: Option<bool>,
    /// Output of the command.
    pub output: CommandOutput,
    /// Time from the request to the end.
    pub duration: Duration,
    /// Remark for the caller about anything unusual.
    pub notice: Option<String>,
}

impl RemoteHost {
    /// Runs a command and waits for the end. The command runs over whichever connection to the host
    /// has room.
    ///
    /// # Errors
    /// Fails only if the command was not sent or did not get past sudo. After that, a lost
    /// connection is a result too: the command may have run and must not be sent again.
    pub async fn exec(
        self: &Arc<Self>,
        spec: &Arc<CommandSpec>,
        context: &mut ExecContext,
    ) -> Result<CommandResult, SshError> {
        let started = Instant::now();

        loop {
            let channel = self.request_exec(spec, context).await?;
            let command = RunningCommand::start(self, channel, spec, context);

            match command.wait(&context.conditions, started).await {
                // The command was written for another shell, which has answered by now.
                Err(SshError::OtherShell) => {}
                ended => return ended,
            }
        }
    }
}

/// Makes a sentinel from the system's random numbers.
pub(in crate::ssh) fn random_sentinel() -> Result<Sentinel, SshError> {
    let bytes = random::bytes().map_err(|error| SshError::Random(error.to_string()))?;
    Ok(Sentinel::from_random(bytes))
}
