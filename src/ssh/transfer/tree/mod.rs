//! Directory trees, up and down: many small files in flight over several channels, large ones as a single one goes.

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

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use self::{channels::ChannelSet, executor::TreeDirection, remote::Listed};
pub(super) use self::{download::DownTree, entry_filter::EntryFilter, upload::UpTree};
use super::{
    TransferCounters, TransferError, TransferRequest, client::SftpClient,
    local::thread_pool::Threads,
};
use crate::{
    ssh::pool::Pool,
    tree::{
        plan::Plan,
        tally::{Tally, Unkept},
    },
};

/// A file with more content, in bytes, may go over several channels, as a single one does.
const LARGE: u64 = 4 * 1024 * 1024;
/// What the content of large files that is in flight may take, in KiB: as much as one of them has.
const MEMORY_OF_LARGE: u32 = 16 * 1024;
/// The same of all others, which do not wait for those.
const MEMORY: u32 = 8 * 1024;

/// What an attempt has, whichever way it goes.
struct TreeContext {
    pool: Arc<Pool>,
    channel_set: Arc<ChannelSet>,
    progress: TransferCounters,
    skip_unchanged: bool,
    listed: Listed,
    memory: Semaphore,
    memory_of_large: Semaphore,
    threads: Threads,
    /// What the server has not kept, as far as it is not in the tally yet.
    unkept: Mutex<Unkept>,
}

impl TreeContext {
    fn new(request: &TransferRequest, pool: &Arc<Pool>, client: &Arc<SftpClient>) -> Self {
        Self {
            pool: Arc::clone(pool),
            channel_set: ChannelSet::new(pool, client),
            progress: request.progress.clone(),
            skip_unchanged: request.skip_unchanged,
            listed: Listed::default(),
            memory: Semaphore::new(MEMORY as usize),
            memory_of_large: Semaphore::new(MEMORY_OF_LARGE as usize),
            threads: Threads::default(),
            unkept: Mutex::default(),
        }
    }

    /// Counts what the server has not kept.
    fn note(&self, unkept: Unkept) {
        *self.unkept.lock().unwrap_or_else(PoisonError::into_inner) += unkept;
    }

    /// Waits until so much content may be in flight. Whoever holds some does not ask for more.
    async fn memory(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        let (memory, most) = if bytes > LARGE {
            (&self.memory_of_large, MEMORY_OF_LARGE)
        } else {
            (&self.memory, MEMORY)
        };

        let kib = u32::try_from(bytes / 1024 + 1).map_or(most, |kib| kib.min(most));

        // Never closed, so never refused.
        memory.acquire_many(kib).await.ok()
    }

    /// Does what may block on a thread that may be blocked.
    async fn disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, TransferError> + Send + 'static,
    ) -> Result<T, TransferError> {
        let failed = || {
            TransferError::local(
                "seeing to",
                "".as_ref(),
                std::io::Error::other("its thread has ended"),
            )
        };

        self.threads
            .run(work)
            .await
            .unwrap_or_else(|| Err(failed()))
    }

    /// Moves what is left to be moved.
    async fn execute(
        &self,
        way: &impl TreeDirection,
        plan: &mut Plan,
        keeps_root: bool,
    ) -> Result<Tally, TransferError> {
        let done = executor::run(way, plan, &self.progress, keeps_root).await;
        plan.tally.unkept +=
            std::mem::take(&mut *self.unkept.lock().unwrap_or_else(PoisonError::into_inner));
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
