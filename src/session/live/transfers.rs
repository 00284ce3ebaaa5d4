//! File transfers over the connection of a session, or of two, continued over a new connection if a
//! link is lost.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, try_join};
use tokio::time::sleep;

use super::{Grant, LiveSession, Permit, longer};
use crate::{
    local::home::home,
    lock::lock,
    session::{
        caller::Caller,
        error::SessionError,
        work::{RemoteRead, RemoteWrite},
    },
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
        permit: &Permit<RemoteWrite>,
        caller: &Caller,
    ) -> Result<Transferred, SessionError> {
        let (path, grant) = (permit.work().path.clone(), &permit.grant);
        request.remote = self.remote_path(path, grant, caller).await?;
        let progress = request.progress.clone();
        let guard = self.guard(caller)?;
        let transfer = FileTransfer::up(request, guard)
            .await
            .map_err(|error| self.transfer(error))?;
        self.over_any_link(transfer, &progress, grant, None, caller)
            .await
    }

    /// Downloads a file or directory tree.
    ///
    /// # Errors
    /// Returns [`SessionError::Transfer`] with the [`TransferError`], or the error of connecting.
    pub async fn download(
        &self,
        mut request: TransferRequest,
        permit: &Permit<RemoteRead>,
        caller: &Caller,
    ) -> Result<Transferred, SessionError> {
        let (path, grant) = (permit.work().path.clone(), &permit.grant);
        request.remote = self.remote_path(path, grant, caller).await?;
        let progress = request.progress.clone();
        let guard = self.guard(caller)?;
        let transfer = FileTransfer::down(request, guard).map_err(|error| self.transfer(error))?;
        self.over_any_link(transfer, &progress, grant, None, caller)
            .await
    }

    /// Copies a file or directory tree from the host of the session `origin` to the host of this
    /// session, between the paths of the permits. Both may be the same session. Nothing is read or
    /// written on this machine.
    ///
    /// # Errors
    /// Returns [`SessionError::Transfer`] with the [`TransferError`], or the error of connecting.
    /// The error names the session to which it belongs.
    pub async fn copy_from(
        &self,
        (origin, reading): (&Self, &Permit<RemoteRead>),
        mut request: TransferRequest,
        permit: &Permit<RemoteWrite>,
        caller: &Caller,
    ) -> Result<Transferred, SessionError> {
        let (from, to) = (reading.work().path.clone(), permit.work().path.clone());
        request.local = origin.remote_path(from, &reading.grant, caller).await?;
        request.remote = self.remote_path(to, &permit.grant, caller).await?;
        let progress = request.progress.clone();
        let transfer =
            FileTransfer::between(origin.name(), request).map_err(|error| self.transfer(error))?;
        let origin = Some((origin, &reading.grant));
        self.over_any_link(transfer, &progress, &permit.grant, origin, caller)
            .await
    }

    /// Runs a transfer to the end and cleans up temporary files on the remote host.
    async fn over_any_link(
        &self,
        mut transfer: FileTransfer,
        progress: &TransferCounters,
        grant: &Grant,
        origin: Option<(&Self, &Grant)>,
        caller: &Caller,
    ) -> Result<Transferred, SessionError> {
        let result = self
            .attempts(&mut transfer, progress, grant, origin, caller)
            .await;
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
        grant: &Grant,
        origin: Option<(&Self, &Grant)>,
        caller: &Caller,
    ) -> Result<Transferred, SessionError> {
        let _running = (
            self.running.token(),
            origin.map(|(it, _)| it.running.token()),
        );
        // The first retry follows at once, because the link may have died long before.
        let (mut lost, mut pause) = (None, Duration::ZERO);
        loop {
            let error = match self.hosts(grant, origin, caller).await {
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
                        (
                            TransferError::Origin { source, .. },
                            Some((origin, _)),
                            Some((host, _)),
                        ) => {
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
        grant: &Grant,
        origin: Option<(&Self, &Grant)>,
        caller: &Caller,
    ) -> Result<(Arc<RemoteHost>, Option<(Arc<RemoteHost>, StopConditions)>), SessionError> {
        let from = async {
            let Some((origin, grant)) = origin else {
                return Ok(None);
            };
            let host = Box::pin(origin.host(grant, caller)).await?;
            let conditions = origin.conditions(None, caller, &Signals::default());
            Ok(Some((host, conditions)))
        };

        try_join(self.host(grant, caller), from).await
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
    ///
    /// # Errors
    /// [`SessionError::NotAllowed`]: the settings, which may name the folders of transfers, cannot
    /// be read.
    pub fn guard(&self, caller: &Caller) -> Result<Guard, SessionError> {
        Ok(Guard {
            roots: self.local_roots()?,
            machine: Arc::clone(&self.session_env.machine),
            prompter: caller.prompter.clone(),
            account: self.account(),
            given: self.given.clone(),
        })
    }

    /// Returns the folders for transfers that the settings name; empty without such a setting.
    fn local_roots(&self) -> Result<Vec<PathBuf>, SessionError> {
        let settings = self.settings()?;
        let roots = settings.iter().flat_map(|settings| &settings.local().roots);
        let absolute = |root: &String| match root.strip_prefix("~/") {
            // Without a home directory the root stays one that no path is in.
            Some(rest) => home().map_or_else(|| root.into(), |home| home.join(rest)),
            None => root.into(),
        };

        Ok(roots.map(absolute).collect())
    }

    /// Wraps the error of a transfer. It belongs to this session unless it names another.
    pub(super) fn transfer(&self, source: TransferError) -> SessionError {
        let host = lock(&self.last).host.clone();
        let runs_commands = host.is_none_or(|host| !host.refuses_commands());
        let (session, source, runs_commands) = match source {
            TransferError::Origin { session, source } => (session, source, true),
            source => (self.name().to_owned(), Box::new(source), runs_commands),
        };

        SessionError::Transfer {
            session,
            source,
            runs_commands,
        }
    }
}
