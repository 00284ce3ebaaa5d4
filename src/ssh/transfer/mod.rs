//! Moves files over the SFTP subsystem (draft-ietf-secsh-filexfer-02), many requests in flight.
//!
//! A [`FileTransfer`] outlives the connection that it begins over: after a lost one, the next attempt goes on where the last
//! one stood.

mod attempts;
mod client;
mod error;
mod file;
mod guard;
mod local;
mod paths;
mod progress;
mod request;
mod tree;

use std::{sync::Arc, time::Duration};

use self::client::SftpClient;
pub use self::{
    attempts::{FileTransfer, Transferred},
    error::TransferError,
    file::remote_temp::{RemoteTemp, remove_remote_temps},
    guard::{GrantedPaths, Guard, Machine},
    progress::{TransferCounters, TransferProgress},
    request::TransferRequest,
};
use super::{command::limits::StopConditions, connect::connection::Connection, pool::Pool};
pub use crate::tree::tally::counted;

/// How far apart the two sides are at least, as a round trip, where more than one channel pays: sshd's window of 2 MiB
/// lets 250 MB/s through then.
const FAR: Duration = Duration::from_millis(8);

/// A file with less to move than this, in bytes, is moved before another connection is of use.
const LONG: u64 = 32 * 1024 * 1024;

/// A file that is longer than this, in bytes, is compared by SHA-256 only if the link was lost on its way: reading it
/// once more takes too long for what SSH has protected already.
const MAX_COMPARED_BYTES: u64 = 64 * 1024 * 1024;

/// Requests in flight on one channel, at most, to a server that takes small ones alone.
const MAX_REQUESTS: u32 = 256;

/// A file whose size reads 0, as in `/proc`, is read to its end; a longer one than this, in bytes, is no such file.
const MAX_UNSIZED_BYTES: u64 = 1024 * 1024 * 1024;

/// How many requests of `chunk` bytes are in flight for that many bytes.
fn in_flight(bytes: u32, chunk: u32) -> usize {
    (bytes / chunk.max(1)).clamp(1, MAX_REQUESTS) as usize
}

/// Starts SFTP and ends it again.
///
/// # Errors
/// The server has none, or something else answers in its place.
pub(super) async fn try_out(pool: &Arc<Pool>) -> Result<(), TransferError> {
    SftpClient::begin(pool).await.map(drop)
}

impl Connection {
    /// Ends early when the caller gives up, the session is disconnected, the program ends or the connection does.
    async fn unless_stopped<T>(
        &self,
        conditions: &StopConditions,
        work: impl Future<Output = Result<T, TransferError>>,
    ) -> Result<T, TransferError> {
        tokio::select! {
            biased;
            _ = conditions.wait(Duration::ZERO) => Err(TransferError::Cancelled),
            result = work => result,
            () = self.ended() => Err(self.lost().into()),
        }
    }
}
