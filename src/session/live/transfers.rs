//! Files over a session's connection, and over the next one if that is lost.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{LiveSession, lock};
use crate::{
    session::{caller::Caller, error::SessionError},
    ssh::{
        bounds::Signals,
        error::SshError,
        pool::Pool,
        sftp::{Progress, Transfer, TransferError, TransferRequest, Transferred, remove_leftovers},
    },
};

/// How long a transfer whose link was lost may stand still before it is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait before the next connection where the last could not be made; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

impl LiveSession {
    /// Sends a file or a tree.
    ///
    /// # Errors
    /// See [`TransferError`].
    pub async fn upload(&self, request: TransferRequest, caller: &Caller) -> Result<Transferred, SessionError> {
        let progress = request.progress.clone();
        let transfer = Transfer::up(request).await.map_err(|error| self.transfer(error))?;
        self.over_any_link(transfer, &progress, caller).await
    }

    /// Fetches a file or a tree.
    ///
    /// # Errors
    /// See [`TransferError`].
    pub async fn download(&self, request: TransferRequest, caller: &Caller) -> Result<Transferred, SessionError> {
        let progress = request.progress.clone();
        let transfer = Transfer::down(request).map_err(|error| self.transfer(error))?;
        self.over_any_link(transfer, &progress, caller).await
    }

    /// Carries out a transfer, whatever links it takes.
    async fn over_any_link(
        &self,
        mut transfer: Transfer,
        progress: &Progress,
        caller: &Caller,
    ) -> Result<Transferred, SessionError> {
        let result = self.attempts(&mut transfer, progress, caller).await;
        lock(&self.leftovers).extend(transfer.leftovers());
        result
    }

    /// Attempts it, and again over a new connection each time one is lost, for as long as that gets it further.
    async fn attempts(
        &self,
        transfer: &mut Transfer,
        progress: &Progress,
        caller: &Caller,
    ) -> Result<Transferred, SessionError> {
        let _running = self.running.token();
        let (mut lost, mut pause) = (None, FIRST_PAUSE);
        loop {
            let error = match self.connection(caller).await {
                Ok(pool) => {
                    let before = progress.now().bytes;
                    let bounds = self.bounds(None, caller, &Signals::default());
                    let error = match transfer.attempt(&pool, &bounds).await {
                        Err(error) if error.is_lost() => error,
                        result => return result.map_err(|error| self.transfer(error)),
                    };
                    if progress.now().bytes > before {
                        (lost, pause) = (None, FIRST_PAUSE);
                    }
                    if let TransferError::Ssh(error) = &error {
                        self.drop_dead(&pool, error).await;
                    }
                    self.transfer(error)
                }
                Err(error) if lost.is_some() && may_pass(&error) => error,
                Err(error) => return Err(error),
            };
            if lost.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                return Err(error);
            }
            tracing::info!(session = self.name(), "a transfer goes on over a new connection");
            tokio::select! {
                () = sleep(pause) => {}
                () = caller.cancelled.cancelled() => return Err(self.transfer(TransferError::Cancelled)),
                () = self.surroundings.ending.cancelled() => return Err(self.transfer(TransferError::Cancelled)),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Removes over a new connection what lost ones have left, in the background.
    pub(super) fn remove_leftovers(&self, pool: &Arc<Pool>) {
        let leftovers = std::mem::take(&mut *lock(&self.leftovers));
        if leftovers.is_empty() {
            return;
        }
        let pool = Arc::clone(pool);
        tokio::spawn(async move { remove_leftovers(leftovers, &pool).await });
    }

    fn transfer(&self, source: TransferError) -> SessionError {
        SessionError::Transfer { session: self.name().to_owned(), source: Box::new(source) }
    }
}

/// Whether a connection that could not be made may be made a moment later.
fn may_pass(error: &SessionError) -> bool {
    let SessionError::Ssh { source, .. } = error else { return false };
    matches!(
        **source,
        SshError::Lookup { .. }
            | SshError::Connect { .. }
            | SshError::Forward { .. }
            | SshError::Timeout { .. }
            | SshError::Handshake { .. }
            | SshError::Jump { .. }
            | SshError::Lost(_)
    )
}
