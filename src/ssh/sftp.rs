//! Moves files over the SFTP subsystem (draft-ietf-secsh-filexfer-02), many requests in flight.
//!
//! [`Upload`] and [`Download`] outlive the connection that they begin over: after a lost one, the next attempt goes on
//! where the last one stood.

mod client;
mod digest;
mod disk;
mod download;
mod error;
mod paths;
mod progress;
mod receive;
mod replace;
mod send;
mod upload;

use std::{sync::Arc, time::Duration};

pub use self::{download::Download, error::TransferError, progress::Progress, replace::Leftover, upload::Upload};
use super::{bounds::Bounds, connection::Connection, pool::Pool};

/// A transfer, which may take several attempts.
#[derive(Debug)]
pub enum Transfer {
    /// To the remote host.
    Up(Upload),
    /// From it.
    Down(Download),
}

impl Transfer {
    /// Does what is left to do over these connections.
    ///
    /// # Errors
    /// [`TransferError`]; where [`TransferError::is_lost`], another attempt goes on where this one stood.
    pub async fn attempt(&mut self, pool: &Arc<Pool>, bounds: &Bounds) -> Result<Transferred, TransferError> {
        match self {
            Self::Up(upload) => upload.attempt(pool, bounds).await,
            Self::Down(download) => download.attempt(pool, bounds).await,
        }
    }

    /// What is left on the remote host of an attempt that ended with its link.
    #[must_use]
    pub fn leftover(&mut self) -> Option<Leftover> {
        match self {
            Self::Up(upload) => upload.leftover(),
            Self::Down(_) => None,
        }
    }
}

/// What was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transferred {
    /// The path at the destination, as it was resolved.
    pub to: String,
    /// Bytes of content.
    pub bytes: u64,
    /// Both sides were found to be the same by SHA-256, not by their length alone.
    pub verified: bool,
    /// From the call to the end.
    pub duration: Duration,
}

/// How far apart the two sides are at least, as a round trip, where more than one channel pays: sshd's window of 2 MiB
/// lets 250 MB/s through then.
const FAR: Duration = Duration::from_millis(8);

/// A file that is longer than this, in bytes, is compared by SHA-256 only if the link was lost on its way: reading it
/// once more takes too long for what SSH has protected already.
const LONGEST_COMPARED: u64 = 64 * 1024 * 1024;

/// A file whose size reads 0, as in `/proc`, is read to its end; a longer one than this, in bytes, is no such file.
const LONGEST_UNSIZED: u64 = 1024 * 1024 * 1024;

impl Connection {
    /// Ends early when the caller gives up, the session is disconnected, the program ends or the connection does.
    async fn unless_stopped<T>(
        &self,
        bounds: &Bounds,
        work: impl Future<Output = Result<T, TransferError>>,
    ) -> Result<T, TransferError> {
        tokio::select! {
            biased;
            _ = bounds.reached(Duration::ZERO) => Err(TransferError::Cancelled),
            result = work => result,
            () = self.ended() => Err(self.lost().into()),
        }
    }
}
