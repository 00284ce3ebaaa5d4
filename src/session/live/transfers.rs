//! File transfers over a session's connection, continued over a new connection if the link is lost.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{FIRST_PAUSE, LiveSession, MAX_PAUSE};
use crate::{
    lock::lock,
    session::{caller::Caller, error::SessionError},
    ssh::{
        command::{limits::Signals, remote_host::RemoteHost},
        transfer::{
            FileTransfer, Guard, TransferCounters, TransferError, TransferRequest, Transferred,
            remove_remote_temps,
        },
    },
};

/// Time limit for a transfer without progress after the loss of a link.
const PATIENCE: Duration = Duration::from_secs(60);

impl LiveSession {
    /// Uploads a file or directory tree.
    ///
    /// # Errors
    /// Returns [`SessionError::Transfer`] with the [`TransferError`], or the error of connecting.
    pub async fn upload(
        &self,
        request: TransferRequest,
        caller: &Caller,
    ) -> Result<Transferred, SessionError> {
        let progress = request.progress.clone();
        let transfer = FileTransfer::up(request, self.guard(caller))
            .await
            .map_err(|error| self.transfer(error))?;
        self.over_any_link(transfer, &progress, caller).await
    }

    /// Downloads a file or directory tree.
    ///
    /// # Errors
    /// Returns [`SessionError::Transfer`] with the [`TransferError`], or the error of connecting.
    pub async fn download(
        &self,
        request: TransferRequest,
        caller: &Caller,
    ) -> Result<Transferred, SessionError> {
        let progress = request.progress.clone();
        let transfer = FileTransfer::down(request, self.guard(caller))
            .map_err(|error| self.transfer(error))?;
        self.over_any_link(transfer, &progress, caller).await
    }

    /// Runs a transfer to the end and cleans up temporary files on the remote host.
    async fn over_any_link(
        &self,
        mut transfer: FileTransfer,
        progress: &TransferCounters,
        caller: &Caller,
    ) -> Result<Transferred, SessionError> {
        let result = self.attempts(&mut transfer, progress, caller).await;
        // If the last link is lost, too, the files wait for the next connection of the session.
        lock(&self.remote_temps).extend(transfer.remote_temps());
        let alive = lock(&self.last)
            .host
            .clone()
            .filter(|host| !host.is_closed());

        if let Some(host) = alive {
            self.remove_remote_temps(&host);
        }

        result
    }

    /// Attempts a transfer, and again over a new connection after each loss, as long as attempts
    /// make progress.
    ///
    /// After a loss without progress, attempts go on for [`PATIENCE`].
    async fn attempts(
        &self,
        transfer: &mut FileTransfer,
        progress: &TransferCounters,
        caller: &Caller,
    ) -> Result<Transferred, SessionError> {
        let _running = self.running.token();
        // The first retry follows at once, because the link may have died long before.
        let (mut lost, mut pause) = (None, Duration::ZERO);
        loop {
            let error = match self.host(caller).await {
                Ok(host) => {
                    let before = progress.now().bytes;
                    let conditions = self.conditions(None, caller, &Signals::default());
                    let error = match transfer.attempt(&host, &conditions).await {
                        Err(error) if error.is_lost() => error,
                        result => return result.map_err(|error| self.transfer(error)),
                    };

                    // An attempt that moved data proves the link useful, so patience begins anew.
                    if progress.now().bytes > before {
                        (lost, pause) = (None, Duration::ZERO);
                    }

                    if let TransferError::Ssh(error) = &error {
                        self.drop_dead(&host, error).await;
                    }

                    self.transfer(error)
                }
                // A first failure to connect is final; later ones may pass, as the host did answer
                // before.
                Err(error) if lost.is_some() && error.may_pass() => error,
                Err(error) => return Err(error),
            };

            if lost.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                return Err(error);
            }

            tracing::info!(
                session = self.name(),
                "a transfer goes on over a new connection"
            );

            tokio::select! {
                () = sleep(pause) => {}
                () = caller.cancelled.cancelled() => return Err(self.transfer(TransferError::Cancelled)),
                () = self.session_env.ending.cancelled() => return Err(self.transfer(TransferError::Cancelled)),
            }

            pause = (pause * 2).clamp(FIRST_PAUSE, MAX_PAUSE);
        }
    }

    /// Removes temporary files left by lost connections, in the background.
    pub(super) fn remove_remote_temps(&self, host: &Arc<RemoteHost>) {
        let found = std::mem::take(&mut *lock(&self.remote_temps));
        let (host, remote_temps) = (Arc::clone(host), Arc::clone(&self.remote_temps));
        if found.is_empty() {
            return;
        }

        // What cannot be removed now stays on the list for the next connection.
        tokio::spawn(async move {
            let left = remove_remote_temps(found, &host).await;
            lock(&remote_temps).extend(left);
        });
    }

    /// Returns the guard for a transfer or a forward, which asks the user about sensitive paths of
    /// this machine.
    #[must_use]
    pub fn guard(&self, caller: &Caller) -> Guard {
        Guard {
            machine: Arc::clone(&self.session_env.machine),
            prompter: caller.prompter.clone(),
            account: self.account(),
            given: self.given.clone(),
        }
    }

    pub(super) fn transfer(&self, source: TransferError) -> SessionError {
        SessionError::Transfer {
            session: self.name().to_owned(),
            source: Box::new(source),
        }
    }
}
