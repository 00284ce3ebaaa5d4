//! Transfers of directory trees in both directions, and between two hosts. Many small files are in
//! flight over several channels; large files are moved like single files.

mod channels;
mod destination;
mod download;
mod entry_filter;
mod executor;
mod links;
mod local;
mod pending_uploads;
mod remote;
mod resumable;
mod upload;

use std::sync::{Arc, Mutex};

use tokio::sync::{Semaphore, SemaphorePermit};

use self::{channels::ChannelSet, executor::TreeDirection, remote::Listed};
pub(super) use self::{
    download::DownTree,
    entry_filter::EntryFilter,
    remote::{join, names_of},
    upload::UpTree,
};
use super::{
    FAR, TransferCounters, TransferError, TransferRequest, client::SftpClient,
    local::thread_pool::Threads,
};
use crate::{
    lock::lock,
    ssh::command::remote_host::RemoteHost,
    tree::{
        plan::Plan,
        tally::{Tally, Unkept},
    },
};

/// Size in bytes above which a file is moved like a single file, perhaps over several channels.
const LARGE: u64 = 4 * 1024 * 1024;
/// Memory for the content of large files in flight, in KiB. A single large file may use all of it.
const MEMORY_OF_LARGE: u32 = 16 * 1024;
/// Memory for the content of all other files in flight, in KiB. It is separate, so that small files
/// do not wait for large files.
const MEMORY: u32 = 8 * 1024;
/// Upper limit of the memory for the reply to a READLINK request, in bytes.
const LINK_ANSWER: u64 = 256 * 1024;

/// Resources of an attempt, shared by the work on all entries in either direction.
struct TreeContext {
    host: Arc<RemoteHost>,
    /// SFTP channels of the attempt.
    channel_set: Arc<ChannelSet>,
    progress: TransferCounters,
    /// True if files with the same size and modification time on both sides are skipped.
    skip_unchanged: bool,
    /// Counts of the names listed so far, which have a limit.
    listed: Listed,
    /// Permits for small files in flight, in KiB.
    memory: Semaphore,
    /// Permits for large files in flight, in KiB.
    memory_of_large: Semaphore,
    threads: Threads,
    /// Counts of the unkept properties which are not in the tally yet.
    unkept: Mutex<Unkept>,
}

impl TreeContext {
    /// Creates the resources of an attempt, with `client` as the first channel.
    fn new(request: &TransferRequest, host: &Arc<RemoteHost>, client: &Arc<SftpClient>) -> Self {
        Self {
            host: Arc::clone(host),
            channel_set: ChannelSet::new(host, client),
            progress: request.progress.clone(),
            skip_unchanged: request.skip_unchanged,
            listed: Listed::default(),
            memory: Semaphore::new(MEMORY as usize),
            memory_of_large: Semaphore::new(MEMORY_OF_LARGE as usize),
            threads: Threads::default(),
            unkept: Mutex::default(),
        }
    }

    /// Adds to the counts of properties which the server did not keep.
    fn record_unkept(&self, unkept: Unkept) {
        *lock(&self.unkept) += unkept;
    }

    /// Waits until `bytes` of content may be in flight. A holder of a permit must not ask for
    /// another, or all could wait for each other. The semaphores are never closed, so the result is
    /// always `Some`.
    async fn memory(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        let (memory, most) = if bytes > LARGE {
            (&self.memory_of_large, MEMORY_OF_LARGE)
        } else {
            (&self.memory, MEMORY)
        };

        // A file larger than the whole memory takes all of it, or it would wait forever.
        let kib = u32::try_from(bytes / 1024 + 1).map_or(most, |kib| kib.min(most));

        // The semaphore is never closed, so this never fails.
        memory.acquire_many(kib).await.ok()
    }

    /// Runs blocking work on a thread of the pool.
    ///
    /// # Errors
    /// The work failed, or panicked.
    async fn disk<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> Result<T, TransferError> + Send + 'static,
    ) -> Result<T, TransferError> {
        let failed = || {
            TransferError::local(
                "working on",
                "".as_ref(),
                std::io::Error::other("its thread has ended"),
            )
        };

        self.threads
            .run(task)
            .await
            .unwrap_or_else(|| Err(failed()))
    }

    /// Moves the remaining entries of the plan and returns the tally.
    ///
    /// # Errors
    /// [`TransferError::Incomplete`] if single entries failed or a limit was reached, or the error
    /// that ended the transfer.
    async fn execute(
        &self,
        direction: &impl TreeDirection,
        plan: &mut Plan,
        keeps_root: bool,
    ) -> Result<Tally, TransferError> {
        let is_far = self.channel_set.first().round_trip >= FAR;
        let done = executor::run(direction, plan, &self.progress, keeps_root, is_far).await;
        // Added even after an error: the plan and its tally live on into the next attempt.
        plan.tally.unkept += std::mem::take(&mut *lock(&self.unkept));
        let ended = match done {
            Ok(()) => None,
            Err(TransferError::Tree(ended)) => Some(ended),
            Err(error) => return Err(error),
        };

        let tally = plan.tally.clone();

        if tally.failed > 0 || ended.is_some() {
            return Err(TransferError::Incomplete {
                tally: Box::new(tally),
                ended,
            });
        }

        Ok(tally)
    }
}
