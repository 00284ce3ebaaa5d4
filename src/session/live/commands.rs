//! What runs over a session's connection: commands, shells, transfers.

use std::{sync::Arc, time::Duration};

use tokio::sync::Mutex as DialSlot;
use tokio_util::sync::CancellationToken;

use super::{LiveSession, ShellSlot, Surroundings, lock};
use crate::{
    session::{caller::Caller, error::SessionError},
    ssh::{
        error::SshError,
        exec::{Bounds, CommandResult, Ending, ExecRequest},
        pool::Pool,
        sftp::{TransferError, Transferred},
        shell::{Shell, ShellRequest, ShellResult, ShellRunError},
    },
};

/// A command for [`LiveSession::exec`].
#[derive(Debug)]
pub struct ExecCall<'a> {
    /// The command.
    pub command: &'a str,
    /// The directory to run it in.
    pub directory: Option<&'a str>,
    /// Environment variables to add.
    pub environment: Vec<(&'a str, &'a str)>,
    /// Its stdin.
    pub stdin: Vec<u8>,
    /// How long it may run.
    pub limit: Option<Duration>,
    /// Cancelled when the caller gives up.
    pub caller: Caller,
}

/// A command for [`LiveSession::shell`].
#[derive(Debug)]
pub struct ShellCall {
    /// The command.
    pub command: String,
    /// Its stdin.
    pub stdin: Option<Vec<u8>>,
    /// How long it may run.
    pub limit: Option<Duration>,
    /// Cancelled when the caller gives up.
    pub caller: Caller,
}

impl LiveSession {
    /// Runs a command on a channel of its own.
    ///
    /// # Errors
    /// Only what happened before the command was sent.
    pub async fn exec(&self, request: ExecCall<'_>) -> Result<CommandResult, SessionError> {
        let _running = self.running.token();
        let mut tried_again = false;
        loop {
            let connection = self.connection(&request.caller).await?;
            let bounds = self.bounds(request.limit, &request.caller);
            let attempt = ExecRequest {
                command: request.command,
                directory: request.directory,
                environment: request.environment.clone(),
                stdin: request.stdin.clone(),
                bounds,
                folder: self.surroundings.folder.clone(),
            };
            match connection.exec(attempt).await {
                Ok(result) => {
                    self.note_end(&result.ending);
                    return Ok(result);
                }
                // Nothing was sent yet: the connection had died unnoticed.
                Err(error) if !tried_again && self.drop_dead(&connection, &error).await => tried_again = true,
                Err(error) => return Err(self.ssh(error)),
            }
        }
    }

    /// Runs a command in the shell of this name, which is started if there is none.
    ///
    /// # Errors
    /// Only what happened before the command was sent.
    pub async fn shell(&self, name: &str, call: ShellCall) -> Result<(ShellResult, Option<String>), SessionError> {
        let _running = self.running.token();
        let slot = {
            let mut shells = lock(&self.shells);
            Arc::clone(shells.entry(name.to_owned()).or_default())
        };
        let mut tried_again = false;
        loop {
            let connection = self.connection(&call.caller).await?;
            let bounds = self.bounds(call.limit, &call.caller);
            let (shell, notice) = match self.ready_shell(&slot, &connection, &bounds).await {
                Ok(ready) => ready,
                Err(error) if !tried_again && self.drop_dead(&connection, &error).await => {
                    tried_again = true;
                    continue;
                }
                Err(error) => return Err(self.ssh(error)),
            };
            let request = ShellRequest {
                command: call.command.clone(),
                stdin: call.stdin.clone(),
                bounds,
                folder: self.surroundings.folder.clone(),
            };
            match shell.run(request).await {
                Ok(result) => {
                    let mut slot = slot.lock().await;
                    if !result.directory.is_empty() {
                        slot.directory.clone_from(&result.directory);
                    }
                    self.note_end(&result.command.ending);
                    return Ok((result, notice));
                }
                Err(ShellRunError::Gone) if !tried_again => tried_again = true,
                Err(ShellRunError::Script(error)) => return Err(self.ssh(SshError::from(error))),
                Err(ShellRunError::Gone | ShellRunError::Lost) => return Err(self.ssh(connection.lost())),
            }
        }
    }

    /// The live shell of a slot, or a new one in the directory of the last.
    async fn ready_shell(
        &self,
        slot: &DialSlot<ShellSlot>,
        connection: &Arc<Pool>,
        bounds: &Bounds,
    ) -> Result<(Shell, Option<String>), SshError> {
        let mut slot = slot.lock().await;
        if let Some((shell, over)) = &slot.shell
            && !shell.is_gone()
            && over.as_ptr() == Arc::as_ptr(connection)
        {
            return Ok((shell.clone(), None));
        }
        let shell = connection.start_shell(bounds).await?;
        let mut notice = None;
        if slot.ran_before {
            let moved =
                !slot.directory.is_empty() && change_directory(&shell, &slot.directory, &self.surroundings).await;
            notice = Some(format!(
                "this is a new shell{}; variables, functions and background jobs of the one before are gone",
                if moved { " in the same directory" } else { "" }
            ));
        }
        slot.ran_before = true;
        slot.shell = Some((shell.clone(), Arc::downgrade(connection)));
        Ok((shell, notice))
    }

    /// Sends a file.
    ///
    /// # Errors
    /// See [`TransferError`].
    pub async fn upload(&self, local: &str, remote: &str, caller: &Caller) -> Result<Transferred, SessionError> {
        let _running = self.running.token();
        let connection = self.connection(caller).await?;
        let bounds = self.bounds(None, caller);
        connection.upload(local, remote, &bounds).await.map_err(|source| self.transfer(source))
    }

    /// Fetches a file.
    ///
    /// # Errors
    /// See [`TransferError`].
    pub async fn download(&self, remote: &str, local: &str, caller: &Caller) -> Result<Transferred, SessionError> {
        let _running = self.running.token();
        let connection = self.connection(caller).await?;
        let bounds = self.bounds(None, caller);
        connection.download(remote, local, &bounds).await.map_err(|source| self.transfer(source))
    }

    fn bounds(&self, limit: Option<Duration>, caller: &Caller) -> Bounds {
        Bounds {
            limit,
            cancelled: caller.cancelled.clone(),
            closing: lock(&self.closing).clone(),
            ending: self.surroundings.ending.clone(),
        }
    }

    fn note_end(&self, ending: &Ending) {
        if let Ending::ConnectionLost(reason) = ending {
            let text = SshError::Lost(reason.clone()).to_string();
            tracing::warn!(session = self.name(), reason = text.escape_debug().to_string(), "cut off in a command");
            lock(&self.last).error = Some(text);
        }
    }

    fn transfer(&self, source: TransferError) -> SessionError {
        SessionError::Transfer { session: self.name().to_owned(), source: Box::new(source) }
    }
}

/// `true` if the new shell is in the directory now.
async fn change_directory(shell: &Shell, directory: &[u8], surroundings: &Surroundings) -> bool {
    let Ok(command) = String::from_utf8(crate::framing::script::change_directory(directory)) else { return false };
    let ending = &surroundings.ending;
    let bounds = Bounds {
        limit: Some(Duration::from_secs(5)),
        cancelled: CancellationToken::new(),
        closing: ending.clone(),
        ending: ending.clone(),
    };
    let request = ShellRequest { command, stdin: None, bounds, folder: surroundings.folder.clone() };
    shell.run(request).await.is_ok_and(|result| result.directory == directory)
}
