//! File transfers over the connection of a session, or of two, continued over a new connection if a
//! link is lost.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, try_join};
use tokio::time::sleep;

use super::{LiveSession, longer};
use crate::{
    lock::lock,
    session::{caller::Caller, error::SessionError},
    ssh::{
        command::{
            limits::{Signals, StopConditions},
            remote_host::RemoteHost,
        },
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
        mut request: TransferRequest,
        caller: &Caller,
    ) -> Result<Transferred, SessionError> {
        request.remote = self.remote_path(request.remote, caller).await?;
        let progress = request.progress.clone();
        let transfer = FileTransfer::up(request, self.guard(caller))
            .await
            .map_err(|error| self.transfer(error))?;
        self.over_any_link(transfer, &progress, None, caller).await
    }

    /// Downloads a file or directory tree.
    ///
    /// # Errors
    /// Returns [`SessionError::Transfer`] with the [`TransferError`], or the error of connecting.
    pub async fn download(
        &self,
        mut request: TransferRequest,
        caller: &Caller,
    ) -> Result<Transferred, SessionError> {
        request.remote = self.remote_path(request.remote, caller).await?;
        let progress = request.progress.clone();
        let transfer = FileTransfer::down(request, self.guard(caller))
            .map_err(|error| self.transfer(error))?;
        self.over_any_link(transfer, &progress, None, caller).await
    }

    /// Copies a file or directory tree from the host of the session `origin`, where the local path
    /// of the request is, to the host of this session. Both may be the same session. Nothing is
    /// read or written on this machine.
    ///
    /// # Errors
    /// Returns [`SessionError::Transfer`] with the [`TransferError`], or the error of connecting.
    /// The error names the session to which it belongs.
    pub async fn copy_from(
        &self,
        origin: &Self,
        mut request: TransferRequest,
        caller: &Caller,
    ) -> Result<Transferred, SessionError> {
        request.local = origin.remote_path(request.local, caller).await?;
        request.remote = self.remote_path(request.remote, caller).await?;
        let progress = request.progress.clone();
        let transfer =
            FileTransfer::between(origin.name(), request).map_err(|error| self.transfer(error))?;
        self.over_any_link(transfer, &progress, Some(origin), caller)
            .await
    }

    /// Runs a transfer to the end and cleans up temporary files on the remote host.
    async fn over_any_link(
        &self,
        mut transfer: FileTransfer,
        progress: &TransferCounters,
        origin: Option<&Self>,
        caller: &Caller,
    ) -> Result<Transferred, SessionError> {
        let result = self.attempts(&mut transfer, progress, origin, caller).await;
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
        origin: Option<&Self>,
        caller: &Caller,
    ) -> Result<Transferred, SessionError> {
        let _running = (self.running.token(), origin.map(|it| it.running.token()));
        // The first retry follows at once, because the link may have died long before.
        let (mut lost, mut pause) = (None, Duration::ZERO);
        loop {
            let error = match self.hosts(origin, caller).await {
                Ok((host, from)) => {
                    let before = progress.now().bytes;
                    let conditions = self.conditions(None, caller, &Signals::default());
                    let from = from.as_ref().map(|(host, conditions)| (host, conditions));
                    let attempt: BoxFuture<'_, _> =
                        Box::pin(transfer.attempt(&host, &conditions, from));
                    let error = match attempt.await {
                        Err(error) if error.is_lost() => error,
                        result => return result.map_err(|error| self.transfer(error)),
                    };

                    // An attempt that moved data proves the link useful, so patience begins anew.
                    if progress.now().bytes > before {
                        (lost, pause) = (None, Duration::ZERO);
                    }

                    match (&error, origin, from) {
                        (TransferError::Ssh(error), _, _) => {
                            self.drop_dead(&host, error).await;
                        }
                        (TransferError::Origin { source, .. }, Some(origin), Some((host, _))) => {
                            if let TransferError::Ssh(error) = &**source {
                                origin.drop_dead(host, error).await;
                            }
                        }
                        _ => {}
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

            pause = longer(pause);
        }
    }

    /// Returns the host of this session and, for a copy, that of `origin` with the conditions under
    /// which its session stops the copy. Both are dialled at the same time.
    async fn hosts(
        &self,
        origin: Option<&Self>,
        caller: &Caller,
    ) -> Result<(Arc<RemoteHost>, Option<(Arc<RemoteHost>, StopConditions)>), SessionError> {
        let from = async {
            let Some(origin) = origin else {
                return Ok(None);
            };
            let host = Box::pin(origin.host(caller)).await?;
            let conditions = origin.conditions(None, caller, &Signals::default());
            Ok(Some((host, conditions)))
        };

        try_join(self.host(caller), from).await
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

    /// Wraps the error of a transfer. It belongs to this session unless it names another.
    pub(super) fn transfer(&self, source: TransferError) -> SessionError {
        let (session, source) = match source {
            TransferError::Origin { session, source } => (session, source),
            source => (self.name().to_owned(), Box::new(source)),
        };

        SessionError::Transfer { session, source }
    }
}
