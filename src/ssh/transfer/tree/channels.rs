//! The SFTP channels of a tree transfer, opened when they are needed.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::Semaphore;

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

/// Upper limit of channels per transfer. sshd's receive window of 2 MiB per channel is too small
/// for a single channel to fill a long line.
const MAX_CHANNELS: usize = 4;
/// Upper limit of open files per channel, for servers without an announced limit.
const DEFAULT_HANDLES: usize = 100;
/// Upper limit of open files per channel, for servers with an announced limit. A file is open for
/// two round trips, so this many keep a long line busy.
const MANY_HANDLES: usize = 250;

/// Channels of a transfer, shared by the work on all entries. Dropping the set closes the channels.
#[derive(Debug)]
pub(super) struct ChannelSet {
    host: Arc<RemoteHost>,
    /// Channel with which the attempt began.
    first: SftpChannel,
    /// Further channels.
    others: Mutex<Vec<SftpChannel>>,
    /// True after further channels were requested. They may not be open yet.
    has_asked: AtomicBool,
    /// Permits for further open files on all channels together.
    free: Semaphore,
}

/// SFTP channel with the number of its open files.
#[derive(Debug, Clone)]
struct SftpChannel {
    client: Arc<SftpClient>,
    /// Upper limit of open files.
    most: usize,
    /// Number of open files.
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

/// Slot for an open file on a channel. Dropping the slot makes room for another file.
#[derive(Debug)]
struct HandleSlot<'a> {
    channel: SftpChannel,
    channel_set: &'a ChannelSet,
}

impl ChannelSet {
    /// Creates the set with its first channel. Over a long distance the others are opened
    /// immediately, since they would come too late otherwise.
    pub(super) fn new(host: &Arc<RemoteHost>, client: &Arc<SftpClient>) -> Arc<Self> {
        let first = SftpChannel::new(Arc::clone(client));

        let channel_set = Arc::new(Self {
            host: Arc::clone(host),
            free: Semaphore::new(first.most),
            first,
            others: Mutex::default(),
            has_asked: AtomicBool::new(false),
        });

        if client.round_trip >= FAR {
            channel_set.open_others();
        }

        channel_set
    }

    /// Returns the first channel.
    pub(super) fn first(&self) -> &SftpClient {
        &self.first.client
    }

    /// Returns the least busy channel, for requests which leave no file open.
    pub(super) fn any(&self) -> Arc<SftpClient> {
        Arc::clone(&self.least(&self.others()).client)
    }

    /// Waits for a slot for an open file. If none is free, further channels are requested for later
    /// callers.
    pub(super) async fn slot(self: &Arc<Self>) -> HandlePermit<'_> {
        if self.free.available_permits() == 0 {
            self.open_others();
        }

        // The semaphore is never closed, so this never fails. The slot returns the permit when
        // dropped.
        if let Ok(free) = self.free.acquire().await {
            free.forget();
        }

        let slot = HandleSlot::occupy(self.least(&self.others()).clone(), self);
        // Waited for after the slot, since an exclusive turn stops all other files of the channel.
        let turn = slot.channel.client.turn().await;

        HandlePermit {
            turn,
            slot,
            again: false,
        }
    }

    /// Requests further channels if the server is known to keep channels apart. `ProFTPD` merges
    /// the parts of requests that arrive at the same time over two channels of a connection, and
    /// then waits forever.
    fn open_others(self: &Arc<Self>) {
        if self.first.client.is_openssh() && !self.has_asked.swap(true, Ordering::Relaxed) {
            for _ in 1..MAX_CHANNELS {
                tokio::spawn(Arc::clone(self).open_another());
            }
        }
    }

    /// Opens another channel. If the server refuses, the existing channels have to suffice.
    async fn open_another(self: Arc<Self>) {
        let Some(client) = SftpClient::opportunistic(&self.host).await else {
            return;
        };
        let channel = SftpChannel::new(Arc::new(client));
        let more = channel.most;
        self.others().push(channel);
        self.free.add_permits(more);
    }

    /// Returns the channel with the most free slots.
    fn least<'a>(&'a self, others: &'a [SftpChannel]) -> &'a SftpChannel {
        let all = std::iter::once(&self.first).chain(others);
        all.max_by_key(|channel| {
            channel
                .most
                .saturating_sub(channel.open.load(Ordering::Relaxed))
        })
        .unwrap_or(&self.first)
    }

    /// Locks the further channels.
    fn others(&self) -> MutexGuard<'_, Vec<SftpChannel>> {
        lock(&self.others)
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
}
