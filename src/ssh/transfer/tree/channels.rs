//! The SFTP channels of one transfer, opened as they are needed.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::Semaphore;

use crate::ssh::{
    pool::Pool,
    transfer::{
        FAR,
        client::{OpenFileTurn, SftpClient},
    },
};

/// Channels of one transfer, at most: sshd's receive window is 2 MiB each, so one alone does not fill a long link.
const MAX_CHANNELS: usize = 4;
/// Files open at once on a channel of a server that does not say how many it allows.
const DEFAULT_HANDLES: usize = 100;
/// The same where it does. Each is open for two round trips, so that this many keep a long link busy.
const MANY_HANDLES: usize = 250;

/// The channels of one transfer.
#[derive(Debug)]
pub(super) struct ChannelSet {
    pool: Arc<Pool>,
    first: SftpChannel,
    /// Beside the first.
    others: Mutex<Vec<SftpChannel>>,
    /// Whether they were asked for; they may not be there yet.
    has_asked: AtomicBool,
    /// Handles that are free on all of them.
    free: Semaphore,
}

/// One channel.
#[derive(Debug, Clone)]
struct SftpChannel {
    client: Arc<SftpClient>,
    most: usize,
    open: Arc<AtomicUsize>,
}

/// A channel on which one more file may be open.
#[derive(Debug)]
pub(super) struct HandlePermit<'a> {
    turn: OpenFileTurn,
    place: HandleSlot<'a>,
    /// It was tried before, while others were open.
    again: bool,
}

/// One of the handles that are free.
#[derive(Debug)]
struct HandleSlot<'a> {
    lane: SftpChannel,
    channel_set: &'a ChannelSet,
}

impl ChannelSet {
    /// With the first channel. Over a long way the others are opened at once: they would come late.
    pub(super) fn new(pool: &Arc<Pool>, client: &Arc<SftpClient>) -> Arc<Self> {
        let first = SftpChannel::new(Arc::clone(client));

        let channel_set = Arc::new(Self {
            pool: Arc::clone(pool),
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

    /// The first channel.
    pub(super) fn first(&self) -> &SftpClient {
        &self.first.client
    }

    /// A channel for requests that leave nothing open: the one with the least to do.
    pub(super) fn any(&self) -> Arc<SftpClient> {
        Arc::clone(&self.least(&self.others()).client)
    }

    /// A place for an open file. Where there is none, further channels are opened for those who come later.
    pub(super) async fn slot(self: &Arc<Self>) -> HandlePermit<'_> {
        if self.free.available_permits() == 0 {
            self.open_others();
        }

        // Never closed, so never refused. Given back by the slot.
        if let Ok(free) = self.free.acquire().await {
            free.forget();
        }

        let place = HandleSlot::on(self.least(&self.others()).clone(), self);
        let turn = place.lane.client.turn(false).await;

        HandlePermit {
            turn,
            place,
            again: false,
        }
    }

    /// Opens them where the server is known to keep them apart. `ProFTPD` puts the pieces of two requests together that come
    /// at the same time over two channels of a connection, and then waits for ever.
    fn open_others(self: &Arc<Self>) {
        if self.first.client.is_openssh() && !self.has_asked.swap(true, Ordering::Relaxed) {
            for _ in 1..MAX_CHANNELS {
                tokio::spawn(Arc::clone(self).open_another());
            }
        }
    }

    /// The server may not grant another: then those that there are will do.
    async fn open_another(self: Arc<Self>) {
        let Some(client) = SftpClient::spare(&self.pool).await else {
            return;
        };
        let lane = SftpChannel::new(Arc::new(client));
        let more = lane.most;
        self.others().push(lane);
        self.free.add_permits(more);
    }

    fn least<'a>(&'a self, others: &'a [SftpChannel]) -> &'a SftpChannel {
        let all = std::iter::once(&self.first).chain(others);
        all.max_by_key(|lane| lane.most.saturating_sub(lane.open.load(Ordering::Relaxed)))
            .unwrap_or(&self.first)
    }

    fn others(&self) -> MutexGuard<'_, Vec<SftpChannel>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> HandleSlot<'a> {
    fn on(lane: SftpChannel, channel_set: &'a ChannelSet) -> Self {
        lane.open.fetch_add(1, Ordering::Relaxed);
        Self { lane, channel_set }
    }
}

impl HandlePermit<'_> {
    pub(super) fn client(&self) -> &Arc<SftpClient> {
        &self.place.lane.client
    }

    /// After all that was done with the file, which is closed: the same channel without other open files, where it has to be
    /// done again because of those; `None` where it stands, be it done or failed.
    pub(super) async fn alone_if_in_doubt(self, failed: bool) -> Option<Self> {
        let Self { turn, place, again } = self;
        let client = Arc::clone(&place.lane.client);

        if client.is_in_doubt(&turn, failed) {
            drop(turn);
            return Some(Self {
                turn: client.turn(true).await,
                place,
                again: true,
            });
        }

        if again && !failed {
            client.keep_to_one_file();
        }

        None
    }
}

impl Drop for HandleSlot<'_> {
    fn drop(&mut self) {
        self.lane.open.fetch_sub(1, Ordering::Relaxed);
        self.channel_set.free.add_permits(1);
    }
}

impl SftpChannel {
    fn new(client: Arc<SftpClient>) -> Self {
        let most = match client.most_handles() {
            // Half of them: a process has other files open too.
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
