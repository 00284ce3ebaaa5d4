//! The host from which a copy between two hosts reads.

use std::sync::Arc;

use super::{StopConditions, TransferError, client::SftpClient};
use crate::{ssh::command::remote_host::RemoteHost, tree::entry::EntryAttributes};

/// Host from which a copy between hosts reads, for one attempt. Clones share the SFTP channel.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// Name of the session, for errors.
    session: Arc<str>,
    pub(super) host: Arc<RemoteHost>,
    pub(super) client: Arc<SftpClient>,
    /// Conditions of the session under which the copy stops.
    conditions: StopConditions,
}

impl Origin {
    /// Starts SFTP on the host.
    ///
    /// # Errors
    /// The host has no SFTP, the connection is lost, or the copy is stopped.
    pub(super) async fn open(
        session: &Arc<str>,
        host: &Arc<RemoteHost>,
        conditions: &StopConditions,
    ) -> Result<Self, TransferError> {
        let opened = SftpClient::open_either(host, conditions).await;

        Ok(Self {
            session: Arc::clone(session),
            host: Arc::clone(host),
            client: opened
                .map(Arc::new)
                .map_err(|error| error.of_origin(session))?,
            conditions: conditions.clone(),
        })
    }

    /// Returns the same host with another SFTP channel.
    pub(super) fn over(&self, client: &Arc<SftpClient>) -> Self {
        Self {
            client: Arc::clone(client),
            ..self.clone()
        }
    }

    /// Names this host in an error of its own.
    pub(super) fn failed(&self, error: TransferError) -> TransferError {
        error.of_origin(&self.session)
    }

    /// Runs `operation` until the session is disconnected or its connection ends.
    pub(super) async fn unless_stopped<T>(
        &self,
        operation: impl Future<Output = Result<T, TransferError>>,
    ) -> Result<T, TransferError> {
        // An error of the operation may be that of the other host, so it is not given a name here.
        let result = async { Ok(operation.await) };
        self.client
            .connection()
            .unless_stopped(&self.conditions, result)
            .await
            .unwrap_or_else(|error| Err(self.failed(error)))
    }

    /// Returns true if `host` is the same machine, as far as the address, or the name, and the host
    /// key show.
    pub(super) fn is(&self, host: &RemoteHost) -> bool {
        let (ours, theirs) = (self.host.first(), host.first());
        let is_there = match (ours.address, theirs.address) {
            (Some(our_address), Some(their_address)) => our_address == their_address,
            _ => {
                (&ours.peer.host_name, ours.peer.port) == (&theirs.peer.host_name, theirs.peer.port)
            }
        };

        is_there && ours.peer.host_key == theirs.peer.host_key
    }
}

/// Returns the attributes of an entry of the origin which its copy gets. Without the bits by which
/// the origin could plant a program that runs as another user.
pub(super) fn attributes_to_copy(found: EntryAttributes) -> EntryAttributes {
    EntryAttributes {
        mode: found.mode.map(|mode| mode & 0o777),
        ..found
    }
}

/// Runs `operation` until it ends or the origin, if there is one, stops it.
pub(super) async fn unless_stopped<T>(
    origin: Option<&Origin>,
    operation: impl Future<Output = Result<T, TransferError>>,
) -> Result<T, TransferError> {
    // Large, and moved into either branch.
    let operation = Box::pin(operation);

    match origin {
        Some(origin) => origin.unless_stopped(operation).await,
        None => operation.await,
    }
}
