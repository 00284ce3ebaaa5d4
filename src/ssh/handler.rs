//! What we answer when the server asks or tells us something outside a channel.

use std::sync::{Arc, Mutex, OnceLock};

use russh::{
    client::{self, DisconnectReason, Session},
    keys::{PublicKey, PublicKeyOrCertificate},
};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    error::SshError,
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
    pub(super) check: Arc<HostKeyCheck>,
    pub(super) learned: Arc<Learned>,
    /// Takes the host keys that the server says it has.
    pub(super) announced: Option<oneshot::Sender<Vec<PublicKey>>>,
    /// russh drops its handler when the connection ends, and this says so.
    pub(super) _over: DropGuard,
}

impl client::Handler for ClientHandler {
    type Error = SshError;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, SshError> {
        let accepted = self.check.decide(shown)?;
        let _ = self.learned.host_key.set(accepted);
        Ok(true)
    }

    async fn openssh_ext_host_keys_announced(&mut self, keys: Vec<PublicKey>, _: &mut Session) -> Result<(), SshError> {
        // The first announcement alone counts. To wait here for the proofs would keep them from being read.
        if let Some(take) = self.announced.take() {
            let _ = take.send(keys);
        }
        Ok(())
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
