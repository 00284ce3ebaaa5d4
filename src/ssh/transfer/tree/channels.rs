//! The SFTP channels of a tree transfer, opened when they are needed.

use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, Semaphore};

use crate::{
    lock::lock,
    ssh::{
        command::remote_host::RemoteHost,
        transfer::{
            FAR,
            client::{OpenFileTurn, SftpClient},
        },
    },
};

/// Upper limit of channels per transfer for files which stay open between requests. sshd's receive
/// window of 2 MiB per channel is too small for a single channel to fill a long line.
const MAX_CHANNELS: usize = 4;
/// Number of pipelined files in flight from which on a second channel for them is opened.
const MANY_PIPELINED: usize = 32;
/// Upper limit of open files per channel, for servers without an announced limit.
const DEFAULT_HANDLES: usize = 100;
/// Upper limit of open files per channel, for servers with an announced limit.
const MANY_HANDLES: usize = 250;

/// Channels of a transfer, shared by the work on all entries. Dropping the set closes the channels.
///
/// Pipelined requests need a channel on which no file stays open. They go over the first channel
/// and a second one, and files which stay open go over others. If the server permits no other
/// channel, the first pipelines no more.
#[derive(Debug)]
pub(super) struct ChannelSet {
    host: Arc<RemoteHost>,
    /// Channel with which the attempt began.
    first: SftpChannel,
    /// True if the first channel pipelines. Locked for reading meanwhile.
    first_pipelines: RwLock<bool>,
    /// Second channel for pipelined requests.
    second: OnceLock<SftpChannel>,
    /// True after the second channel was requested.
    has_asked_for_second: AtomicBool,
    /// Channels for files which stay open.
    others: Mutex<Vec<SftpChannel>>,
    /// Set once one of `others` exists.
    has_others: OnceCell<()>,
    /// True after further `others` were requested. They may not be open yet.
    has_asked: AtomicBool,
    /// Permits for further open files on all of `others` together.
    free: Semaphore,
}

/// SFTP channel with the number of its files which are open or in flight.
#[derive(Debug, Clone)]
struct SftpChannel {
    client: Arc<SftpClient>,
    /// Upper limit of open files.
    most: usize,
    /// Number of files which are open, or whose pipelined requests are in flight.
    open: Arc<AtomicUsize>,
}

/// Permission to open a file on a channel, created by [`ChannelSet::slot`]. Dropping the permit
/// releases the slot of the file.
#[derive(Debug)]
pub(super) struct HandlePermit<'a> {
    turn: OpenFileTurn,
    slot: HandleSlot<'a>,
    /// True if the work was tried before, while other files were open.
    again: bool,
}

/// Permission to send pipelined requests over a channel, created by [`ChannelSet::pipeline`].
#[derive(Debug)]
pub(super) struct Pipeline<'a> {
    channel: SftpChannel,
    /// Held while the first channel is used.
    _first: Option<RwLockReadGuard<'a, bool>>,
}

/// Slot for an open file on a channel. Dropping the slot makes room for another file.
#[derive(Debug)]
struct HandleSlot<'a> {
    channel: SftpChannel,
    channel_set: &'a ChannelSet,
}

impl ChannelSet {
    /// Creates the set with its first channel. Over a long distance others are opened immediately,
    /// since they would come too late otherwise.
    pub(super) fn new(host: &Arc<RemoteHost>, client: &Arc<SftpClient>) -> Arc<Self> {
        let pipelines = client.pipelines();
        let channel_set = Arc::new(Self {
            host: Arc::clone(host),
            first: SftpChannel::new(Arc::clone(client)),
            first_pipelines: RwLock::new(pipelines),
            second: OnceLock::new(),
            has_asked_for_second: AtomicBool::new(false),
            others: Mutex::default(),
            has_others: OnceCell::new_with((!pipelines).then_some(())),
            has_asked: AtomicBool::new(false),
            free: Semaphore::new(0),
        });

        let is_far = client.round_trip >= FAR;
        if !pipelines {
            channel_set.add(channel_set.first.clone());
            if is_far {
                channel_set.open_others();
            }
        } else if is_far {
            channel_set.open_second();
        }

        channel_set
    }

    /// Returns the first channel.
    pub(super) fn first(&self) -> &SftpClient {
        &self.first.client
    }

    /// Returns the least busy channel, for requests which leave no file open.
    pub(super) fn any(&self) -> Arc<SftpClient> {
        let others = self.others();
        let further = self.second.get().into_iter().chain(&*others);
        Arc::clone(&self.first.or_less_busy(further).client)
    }

    /// Returns a channel for pipelined requests. `None` if the server gives other handles than
    /// expected, or the only channel has open files.
    pub(super) fn pipeline(self: &Arc<Self>) -> Option<Pipeline<'_>> {
        if self.first.open.load(Ordering::Relaxed) >= MANY_PIPELINED {
            self.open_second();
        }

        let first = self.first_pipelines.try_read().ok();
        let first = first.filter(|pipelines| **pipelines && self.first.client.pipelines());
        let second = self.second.get().filter(|second| second.client.pipelines());

        let (channel, first) = match (first, second) {
            (Some(first), Some(second)) if self.first.is_less_busy(second) => {
                (&self.first, Some(first))
            }
            (_, Some(second)) => (second, None),
            (Some(first), None) => (&self.first, Some(first)),
            (None, None) => return None,
        };
        channel.open.fetch_add(1, Ordering::Relaxed);

        Some(Pipeline {
            channel: channel.clone(),
            _first: first,
        })
    }

    /// Waits for a slot for a file which stays open. If none is free, further channels are requested
    /// for later callers; over a long distance, always.
    pub(super) async fn slot(self: &Arc<Self>) -> HandlePermit<'_> {
        self.has_others.get_or_init(|| self.begin_others()).await;
        if self.free.available_permits() == 0 || self.first.client.round_trip >= FAR {
            self.open_others();
        }

        // The semaphore is never closed, so this never fails. The slot returns the permit when
        // dropped.
        if let Ok(free) = self.free.acquire().await {
            free.forget();
        }

        let slot = HandleSlot::occupy(self.least(), self);
        // Waited for after the slot, since an exclusive turn stops all other files of the channel.
        let turn = slot.channel.client.turn().await;

        HandlePermit {
            turn,
            slot,
            again: false,
        }
    }

    /// Opens the first channel for files which stay open. If the server refuses, the channel with
    /// which the attempt began has to suffice, and pipelines no more.
    async fn begin_others(&self) {
        if let Some(client) = SftpClient::opportunistic(&self.host).await {
            self.add(SftpChannel::new(Arc::new(client)));
            return;
        }

        // Waits for the pipelined requests in flight.
        *self.first_pipelines.write().await = false;
        self.add(self.first.clone());
    }

    /// Requests further channels if the server is known to keep channels apart. `ProFTPD` merges
    /// the parts of requests that arrive at the same time over two channels of a connection, and
    /// then waits forever.
    fn open_others(self: &Arc<Self>) {
        if self.first.client.is_openssh() && !self.has_asked.swap(true, Ordering::Relaxed) {
            for _ in 1..MAX_CHANNELS {
                let channel_set = Arc::clone(self);
                tokio::spawn(async move {
                    // If the server refuses, the existing channels have to suffice.
                    if let Some(client) = SftpClient::opportunistic(&channel_set.host).await {
                        channel_set.add(SftpChannel::new(Arc::new(client)));
                    }
                });
            }
        }
    }

    /// Requests the second channel for pipelined requests.
    fn open_second(self: &Arc<Self>) {
        if !self.has_asked_for_second.swap(true, Ordering::Relaxed) {
            let channel_set = Arc::clone(self);
            tokio::spawn(async move {
                if let Some(client) = SftpClient::opportunistic(&channel_set.host).await {
                    let _ = channel_set.second.set(SftpChannel::new(Arc::new(client)));
                }
            });
        }
    }

    /// Adds a channel for files which stay open.
    fn add(&self, channel: SftpChannel) {
        let more = channel.most;
        self.others().push(channel);
        self.free.add_permits(more);
    }

    /// Returns the channel for files which stay open with the most free slots.
    fn least(&self) -> SftpChannel {
        let others = self.others();
        let all = others.iter();
        let least = all.max_by_key(|channel| {
            channel
                .most
                .saturating_sub(channel.open.load(Ordering::Relaxed))
        });

        least.unwrap_or(&self.first).clone()
    }

    /// Locks the channels for files which stay open.
    fn others(&self) -> MutexGuard<'_, Vec<SftpChannel>> {
        lock(&self.others)
    }
}

impl Pipeline<'_> {
    /// Returns the client of the channel.
    pub(super) fn client(&self) -> &Arc<SftpClient> {
        &self.channel.client
    }
}

impl Drop for Pipeline<'_> {
    fn drop(&mut self) {
        self.channel.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<'a> HandleSlot<'a> {
    fn occupy(channel: SftpChannel, channel_set: &'a ChannelSet) -> Self {
        channel.open.fetch_add(1, Ordering::Relaxed);
        Self {
            channel,
            channel_set,
        }
    }
}

impl HandlePermit<'_> {
    /// Returns the client of the channel.
    pub(super) fn client(&self) -> &Arc<SftpClient> {
        &self.slot.channel.client
    }

    /// Ends the work with a file of an origin. Returns true if the work has to be repeated, after
    /// which the channel has one file open at a time. An exclusive permit is not waited for here:
    /// the caller may hold one of the other host, for which another file may wait.
    pub(super) fn ends_in_doubt(self, failed: bool) -> bool {
        let client = self.client();
        let is_in_doubt = client.is_in_doubt(&self.turn, failed);
        if is_in_doubt {
            client.keep_to_one_file();
        }

        is_in_doubt
    }

    /// Ends the work with a file which is closed by now. Returns an exclusive permit for the same
    /// channel if the work has to be repeated, because other open files may have interfered.
    /// Returns `None` if the result is final.
    pub(super) async fn alone_if_in_doubt(self, failed: bool) -> Option<Self> {
        let Self { turn, slot, again } = self;
        let client = Arc::clone(&slot.channel.client);

        if client.is_in_doubt(&turn, failed) {
            drop(turn);
            return Some(Self {
                turn: client.exclusive_turn().await,
                slot,
                again: true,
            });
        }

        // Success without other open files proves that they were the reason for the failure.
        if again && !failed {
            client.keep_to_one_file();
        }

        None
    }
}

impl Drop for HandleSlot<'_> {
    fn drop(&mut self) {
        self.channel.open.fetch_sub(1, Ordering::Relaxed);
        self.channel_set.free.add_permits(1);
    }
}

impl SftpChannel {
    fn new(client: Arc<SftpClient>) -> Self {
        let most = match client.most_handles() {
            // Half of the limit, because the server's process has other files open too.
            Some(most) => usize::try_from(most / 2)
                .unwrap_or(MANY_HANDLES)
                .clamp(1, MANY_HANDLES),
            None => DEFAULT_HANDLES,
        };

        Self {
            client,
            most,
            open: Arc::default(),
        }
    }

    /// Returns true if fewer files are open or in flight on this channel than on another.
    fn is_less_busy(&self, other: &Self) -> bool {
        self.open.load(Ordering::Relaxed) < other.open.load(Ordering::Relaxed)
    }

    /// Returns the least busy of this channel and others.
    fn or_less_busy<'a>(&'a self, others: impl Iterator<Item = &'a Self>) -> &'a Self {
        others.fold(self, |least, other| {
            if other.is_less_busy(least) {
                other
            } else {
                least
            }
        })
    }
}
