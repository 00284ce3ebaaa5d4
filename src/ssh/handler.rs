//! What we answer when the server asks or tells us something outside a channel.

use std::sync::{Arc, Mutex, OnceLock};

use russh::{
    client::{self, DisconnectReason},
    keys::PublicKeyOrCertificate,
};

use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    error::{HostKeyError, SshError},
    host_key::{Accepted, HostKeyCheck},
};

/// What the handler, which russh owns, has learned and its connection wants to know.
#[derive(Debug, Default)]
pub(super) struct Learned {
    /// How the server's host key came to be accepted.
    pub(super) host_key: OnceLock<Accepted>,
    /// Why the connection ended. A plain mutex: held for an assignment only.
    ended: Mutex<Option<String>>,
    /// Cancelled when the connection has ended, for whatever reason.
    pub(super) over: CancellationToken,
}

impl Learned {
    /// Why the connection ended, if the server or the network said so.
    pub(super) fn reason(&self) -> Option<String> {
        self.ended.lock().ok().and_then(|reason| reason.clone())
    }
}

pub(super) struct ClientHandler {
    pub(super) check: HostKeyCheck,
    pub(super) learned: Arc<Learned>,
    /// russh drops its handler when the connection ends, and this says so.
    pub(super) _over: DropGuard,
}

impl client::Handler for ClientHandler {
    type Error = SshError;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, SshError> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else {
            return Err(HostKeyError::Unusable("a certificate, which was not asked for".into()).into());
        };
        let accepted = self.check.decide(key)?;
        let _ = self.learned.host_key.set(accepted);
        Ok(true)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<SshError>) -> Result<(), SshError> {
        let (text, result) = match reason {
            DisconnectReason::ReceivedDisconnect(told) => (format!("the server said: {}", told.message), Ok(())),
            DisconnectReason::Error(SshError::Lost(Some(cause))) => (cause.clone(), Err(SshError::Lost(Some(cause)))),
            DisconnectReason::Error(error) => (error.to_string(), Err(error)),
        };
        if let Ok(mut ended) = self.learned.ended.lock() {
            ended.get_or_insert(text);
        }
        result
    }
}
