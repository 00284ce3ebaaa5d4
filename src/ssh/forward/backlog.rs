//! Bytes that wait for a local program.

use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use crate::{
    forward::flow::{ALWAYS_ALLOWED_BYTES, Company, Flow, Waiting, decide},
    lock::lock,
    ssh::pool::lanes::LaneSlot,
};

/// Bytes after which a connection counts as heavy.
const HEAVY_FROM_BYTES: usize = 8 * 1024 * 1024;
/// Memory of a queued piece besides its bytes. A server may send single bytes.
const PIECE_OVERHEAD: usize = 256;

/// Bytes that wait in all connections of the process.
static WAITING_IN_ALL: AtomicUsize = AtomicUsize::new(0);

/// Bytes of a connection that were received and not written yet. Throttles the far side if they are
/// too many. Dropping the backlog ends that, and frees what is left.
#[derive(Debug)]
pub(super) struct Backlog {
    /// Lane of the connection; `None` on the first connection, which is never throttled.
    lane: Option<LaneSlot>,
    /// Locked for look-ups and assignments only.
    state: Mutex<BacklogState>,
}

/// State of a backlog.
#[derive(Debug)]
struct BacklogState {
    waiting: usize,
    received: usize,
    /// Time at which the local program last took bytes, or the first byte began to wait.
    taken_at: Instant,
    throttles: bool,
    upload_waits: bool,
}

/// The local program has left too many bytes waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooSlow;

impl Backlog {
    /// Creates the empty backlog of a connection.
    pub(super) fn new(lane: Option<LaneSlot>) -> Self {
        Self {
            lane,
            state: Mutex::new(BacklogState {
                waiting: 0,
                received: 0,
                taken_at: Instant::now(),
                throttles: false,
                upload_waits: false,
            }),
        }
    }

    /// Adds a piece of this length.
    pub(super) fn add(&self, length: usize) -> Result<(), TooSlow> {
        let mut state = self.state();
        if state.waiting == 0 {
            state.taken_at = Instant::now();
        }
        state.waiting += length + PIECE_OVERHEAD;
        WAITING_IN_ALL.fetch_add(length + PIECE_OVERHEAD, Ordering::Relaxed);

        let was_light = state.received < HEAVY_FROM_BYTES;
        state.received = state.received.saturating_add(length);
        if was_light
            && state.received >= HEAVY_FROM_BYTES
            && let Some(lane) = &self.lane
        {
            lane.mark_heavy();
        }

        self.decide(&mut state)
    }

    /// Removes a piece of this length, which the local program has taken.
    pub(super) fn remove(&self, length: usize) {
        let mut state = self.state();
        state.waiting -= length + PIECE_OVERHEAD;
        WAITING_IN_ALL.fetch_sub(length + PIECE_OVERHEAD, Ordering::Relaxed);
        state.taken_at = Instant::now();

        // Taking bytes is never a reason for a reset.
        let _ = self.decide(&mut state);
    }

    /// Notes whether bytes from the local program wait for the far side's leave.
    pub(super) fn set_upload_waits(&self, upload_waits: bool) {
        let mut state = self.state();
        state.upload_waits = upload_waits;
        let _ = self.decide(&mut state);
    }

    /// Decides again, because time has passed.
    pub(super) fn review(&self) -> Result<(), TooSlow> {
        self.decide(&mut self.state())
    }

    /// Decides on the far side, and throttles it or lets it go on.
    fn decide(&self, state: &mut BacklogState) -> Result<(), TooSlow> {
        if state.waiting <= ALWAYS_ALLOWED_BYTES && !state.throttles {
            return Ok(());
        }

        let company = match &self.lane {
            None => Company::Commands,
            Some(lane) if lane.is_alone() => Company::Alone,
            Some(_) => Company::Forwards,
        };
        let flow = decide(Waiting {
            bytes: state.waiting,
            in_all: WAITING_IN_ALL.load(Ordering::Relaxed),
            company,
            throttles: state.throttles,
            upload_waits: state.upload_waits,
            unread_for: state.taken_at.elapsed(),
        });

        if flow == Flow::Reset {
            return Err(TooSlow);
        }

        let throttles = flow == Flow::Throttled;
        if throttles != state.throttles
            && let Some(lane) = &self.lane
        {
            state.throttles = throttles;
            lane.throttle(throttles);
        }

        Ok(())
    }

    /// Locks the state.
    fn state(&self) -> MutexGuard<'_, BacklogState> {
        lock(&self.state)
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        WAITING_IN_ALL.fetch_sub(self.state().waiting, Ordering::Relaxed);
    }
}
