//! The SHA-256 of a remote file, computed on the remote host while the file is being sent.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::remote_digest::{DigestScript, PATIENCE, RemoteDigest, RemoteSum, SLOWEST, Steps};
use crate::{
    framing::digest::{self, REST, STEP, STEP_BYTES},
    ssh::command::remote_host::RemoteHost,
};

/// Digest of a remote file that is computed while the file is being written, from its beginning on.
/// Dropping the value ends the shell.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct GrowingDigest {
    host: Arc<RemoteHost>,
    path: Vec<u8>,
    steps: mpsc::UnboundedSender<&'static [u8]>,
    /// Token to be cancelled once the answer is waited for.
    is_needed: CancellationToken,
    /// Number of bytes that the remote host was told to read.
    told: u64,
    answer: oneshot::Receiver<Vec<u8>>,
    _stop: DropGuard,
}

impl GrowingDigest {
    /// Starts a shell for the file at `path`, which exists. Otherwise no digest is computed.
    pub(in crate::ssh::transfer) fn start(host: &Arc<RemoteHost>, path: &[u8]) -> Self {
        let RemoteDigest {
            host,
            send_script,
            answer,
            stop,
        } = RemoteDigest::start(host);
        let (steps, lines) = mpsc::unbounded_channel();
        let is_needed = CancellationToken::new();
        // A shell that was refused is noticed at the end.
        let _ = send_script.send(DigestScript {
            text: digest::growing_script(path),
            steps: Some(Steps {
                lines,
                is_needed: is_needed.clone(),
            }),
        });

        Self {
            host,
            path: path.to_owned(),
            steps,
            is_needed,
            told: 0,
            answer,
            _stop: stop,
        }
    }

    /// Lets the remote host read the first `bytes` bytes, which are written and do not change any
    /// more.
    pub(in crate::ssh::transfer) fn note_arrived(&mut self, bytes: u64) {
        // The rest is never empty: some programs refuse to skip a whole file.
        while bytes.saturating_sub(self.told) > STEP_BYTES {
            self.told += STEP_BYTES;
            let _ = self.steps.send(STEP);
        }
    }

    /// Computes the digest of the file, which is complete and has `length` bytes. Returns `None` if
    /// the remote host cannot.
    pub(in crate::ssh::transfer) async fn finish(self, length: u64) -> Option<RemoteSum> {
        self.is_needed.cancel();
        let _ = self.steps.send(REST);
        let limit = PATIENCE + Duration::from_secs(length / SLOWEST);
        let answer = timeout(limit, self.answer).await.ok()?.ok()?;

        Some(RemoteSum {
            host: self.host,
            path: self.path,
            sha256: digest::parse(&answer)?,
        })
    }
}
