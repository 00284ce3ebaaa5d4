//! Moves files over the SFTP subsystem (draft-ietf-secsh-filexfer-02), with many requests in
//! flight, and reads [`RemoteFiles`] for tools that show them. On a host without SFTP, its shell
//! carries the requests out.
//!
//! A [`FileTransfer`] outlives the connection over which it began. After that connection is lost,
//! the next attempt continues where the last attempt stopped.

mod abilities;
mod attempts;
mod client;
mod error;
mod file;
mod guard;
mod local;
mod origin;
mod paths;
mod progress;
mod remote_files;
mod request;
mod tree;

use std::time::Duration;

pub(super) use self::abilities::{is_by_shell, try_out};
pub use self::{
    attempts::{FileTransfer, Transferred},
    error::{TransferError, shown},
    file::remote_temp::{RemoteTemp, remove_remote_temps},
    guard::{GrantedPaths, Guard, Machine},
    progress::{TransferCounters, TransferProgress},
    remote_files::{
        ChangeState, EditAction, EditError, FileChange, FileContent, FileEditor, FileView,
        FoundNames, Glob, Hits, ImageFormat, InPlaceReason, LenientHunk, Listing, Loaded,
        LoadedFile, MAX_EDITED_BYTES, MAX_LINES, Matches, Page, Patch, Pattern, PreparedEdit,
        PreparedFile, Problems, ReadRequest, RemoteFiles, ReplaceError, ScriptFiles, SearchEnd,
        SearchEngine, SearchProgress, SearchRequest, SearchResult, Start, Written, hex_dump,
        read_by_script, search,
    },
    request::TransferRequest,
};
use super::{command::limits::StopConditions, connect::connection::Connection};
pub use crate::{edit::diff::Diff, tree::tally::counted};

/// Shortest round-trip time at which a transfer uses several channels. At this distance, sshd's
/// receive window of 2 MiB limits a channel to 250 MB/s.
const FAR: Duration = Duration::from_millis(8);

/// Bytes left of a file above which another connection is opened. A shorter file has arrived before
/// that connection is of use.
const LONG: u64 = 32 * 1024 * 1024;

/// Bytes left of a file above which a third connection is opened. Each connection has a window of
/// its own, which limits it over a long distance.
const VERY_LONG: u64 = 256 * 1024 * 1024;

/// Length in bytes up to which a single file is compared by SHA-256. A longer file is compared only
/// if the connection was lost during the transfer: reading it again takes too long for content that
/// SSH has already protected.
const MAX_COMPARED_BYTES: u64 = 64 * 1024 * 1024;

/// The same for an upload to a near host. The host hashes a file while it arrives, for which a long
/// way leaves time and a short one does not.
const MAX_COMPARED_NEAR_BYTES: u64 = 8 * 1024 * 1024;

/// Upper limit of requests in flight per channel. It matters for servers that accept only small
/// requests.
const MAX_REQUESTS: u32 = 256;

/// Upper limit in bytes of a file whose size reads 0, as in `/proc`. Such a file is read to its
/// end; one that exceeds this limit is treated as endless and refused.
const MAX_UNSIZED_BYTES: u64 = 1024 * 1024 * 1024;

/// Returns the number of connections to open in addition to the first, for `left` bytes of a file.
fn further_connections(left: u64) -> usize {
    usize::from(left > LONG) + usize::from(left > VERY_LONG)
}

/// Returns the number of requests of `chunk` bytes for `bytes` in flight, from 1 to
/// [`MAX_REQUESTS`].
fn in_flight(bytes: u32, chunk: u32) -> usize {
    (bytes / chunk.max(1)).clamp(1, MAX_REQUESTS) as usize
}

impl Connection {
    /// Runs `operation` until the caller gives up, the session disconnects, the program ends, or the
    /// connection ends. The first three result in [`TransferError::Cancelled`].
    async fn unless_stopped<T>(
        &self,
        conditions: &StopConditions,
        operation: impl Future<Output = Result<T, TransferError>>,
    ) -> Result<T, TransferError> {
        // A result that is ready counts even if the connection has ended since; a request to stop
        // counts before both.
        tokio::select! {
            biased;
            _ = conditions.wait(Duration::ZERO) => Err(TransferError::Cancelled),
            result = operation => result,
            () = self.ended() => Err(self.lost().into()),
        }
    }
}
