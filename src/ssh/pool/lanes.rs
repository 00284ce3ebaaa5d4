//! SSH connections for forwarded connections only, so that a slow local program can throttle the far
//! side without a delay for commands.
//!
//! russh enlarges the window of a channel as soon as bytes arrive, so a channel cannot be throttled
//! by itself. Only a whole SSH connection can, by not reading it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{ChannelPool, quick::run_nothing};
use crate::{foreign_text::escape_line, lock::lock, ssh::connect::connection::Connection};

/// Limit of the lanes of a log-in.
const MAX_LANES: usize = 4;
/// Receive window of a forwarded connection, in bytes. Twice that of `ssh`, so that a long way carries
/// twice as much. OpenSSH's server copies what waits whenever more comes, so that many connections
/// at once become slow with larger windows.
const WINDOW: u32 = 4 * 1024 * 1024;
/// Time after which an idle lane is closed. One lane stays while the session has forwards.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// Pause after a failed dial.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// Interval at which a lane is looked after. The server hears from a throttled lane as often, and so
/// does not take this client for dead (`ClientAliveInterval`, `sshd_config(5)`).
const INTERVAL: Duration = Duration::from_secs(5);

/// SSH connections of a log-in that carry forwarded connections only, shared in an [`Arc`].
///
/// Lanes are dialled in the background, and only after a log-in that needs no user. Meanwhile, and
/// without such a log-in, forwarded connections use the first connection.
#[derive(Debug)]
pub(in crate::ssh) struct Lanes {
    channels: Arc<ChannelPool>,
    /// Locked for look-ups and assignments only.
    state: Mutex<LanesState>,
}

/// State of the lanes.
#[derive(Debug, Default)]
struct LanesState {
    lanes: Vec<Arc<Lane>>,
    /// True while the session has forwards. Nothing is dialled otherwise.
    is_kept: bool,
    is_dialling: bool,
    /// Time of the last failed dial.
    failed_at: Option<Instant>,
    /// True if a further dial would fail again, and perhaps lock the account.
    is_hopeless: bool,
}

/// One such SSH connection.
#[derive(Debug)]
struct Lane {
    connection: Arc<Connection>,
    /// Locked for look-ups and assignments only.
    state: Mutex<LaneState>,
}

/// State of a lane.
#[derive(Debug)]
struct LaneState {
    /// Forwarded connections by number.
    streams: HashMap<u64, Marks>,
    next: u64,
    /// Time of the last change of the number of forwarded connections.
    changed_at: Instant,
}

/// Observations about a forwarded connection.
#[derive(Debug, Clone, Copy, Default)]
struct Marks {
    /// True once many bytes were passed on.
    is_heavy: bool,
    /// True once the connection has throttled its lane.
    is_slow: bool,
    /// True while the connection throttles its lane.
    throttles: bool,
}

/// Load of a lane, for the choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct LaneLoad {
    streams: usize,
    heavy: usize,
    has_slow: bool,
}

/// Place of a forwarded connection on a lane. Dropping the slot frees it, which must come after the
/// channel is closed.
#[derive(Debug)]
pub(in crate::ssh) struct LaneSlot {
    lane: Arc<Lane>,
    number: u64,
}

impl Lanes {
    /// Creates the lanes of a log-in; nothing is dialled yet.
    pub(in crate::ssh) fn new(channels: Arc<ChannelPool>) -> Arc<Self> {
        Arc::new(Self {
            channels,
            state: Mutex::default(),
        })
    }

    /// Keeps a lane ready from now on, because the session has a forward.
    pub(in crate::ssh) fn keep(self: &Arc<Self>) {
        let mut state = self.state();
        state.is_kept = true;
        if state.lanes.is_empty() {
            self.start_dialling(&mut state);
        }
    }

    /// Keeps no lane ready any more. Each lane ends with its forwarded connections.
    pub(in crate::ssh) fn release(&self) {
        let mut state = self.state();
        state.is_kept = false;
        state.lanes.clear();
    }

    /// Closes every lane with a disconnect message.
    pub(in crate::ssh) async fn close(&self) {
        let lanes = {
            let mut state = self.state();
            state.is_kept = false;
            std::mem::take(&mut state.lanes)
        };
        futures_util::future::join_all(lanes.iter().map(|lane| lane.connection.close())).await;
    }

    /// Returns a place on a lane; `None` if the first connection is to be used. Starts to dial a
    /// lane if that would be better for later connections.
    pub(in crate::ssh) fn slot(self: &Arc<Self>) -> Option<LaneSlot> {
        let mut state = self.state();
        state.lanes.retain(|lane| !lane.connection.has_ended());

        let loads: Vec<LaneLoad> = state.lanes.iter().map(|lane| lane.state().load()).collect();
        let choice = choose(&loads);
        if choice.is_none_or(|index| loads.get(index).is_some_and(|load| load.heavy > 0)) {
            self.start_dialling(&mut state);
        }

        choice.and_then(|index| state.lanes.get(index)).map(enter)
    }

    /// Returns the number of open lanes.
    pub(in crate::ssh) fn count(&self) -> usize {
        let state = self.state();
        let open = |lane: &&Arc<Lane>| !lane.connection.has_ended();
        state.lanes.iter().filter(open).count()
    }

    /// Starts to dial a lane in a new task, unless that is not allowed or useless.
    fn start_dialling(self: &Arc<Self>, state: &mut LanesState) {
        if !state.is_kept
            || state.is_dialling
            || state.is_hopeless
            || state.lanes.len() >= MAX_LANES
            || state.failed_at.is_some_and(|at| at.elapsed() < RETRY_AFTER)
            || !self.channels.may_dial_without_user()
        {
            return;
        }

        state.is_dialling = true;
        tokio::spawn(Arc::clone(self).dial());
    }

    /// Dials a lane, and looks after it.
    async fn dial(self: Arc<Self>) {
        let dialled = self.channels.dial_apart(WINDOW).await;
        let mut state = self.state();
        state.is_dialling = false;

        match dialled {
            Ok(connection) if state.is_kept => {
                let quick = Arc::clone(&connection);
                tokio::spawn(async move {
                    if let Ok(channel) = quick.open_channel().await {
                        run_nothing(channel).await;
                    }
                });
                let lane = Arc::new(Lane {
                    connection,
                    state: Mutex::new(LaneState {
                        streams: HashMap::new(),
                        next: 0,
                        changed_at: Instant::now(),
                    }),
                });
                tokio::spawn(look_after(Arc::downgrade(&self), Arc::downgrade(&lane)));
                state.lanes.push(lane);
                state.failed_at = None;
            }
            // The forwards were closed meanwhile.
            Ok(_) => {}
            Err(error) => {
                let error_text = escape_line(error.to_string());
                tracing::warn!(error = error_text, "no connection for forwards");
                state.is_hopeless = !error.is_transient();
                state.failed_at = Some(Instant::now());
            }
        }
    }

    /// Removes a lane that has been idle for long enough. Returns true if the lane is gone.
    fn remove_if_idle(&self, lane: &Arc<Lane>) -> bool {
        let mut state = self.state();
        let goes = {
            let of_lane = lane.state();
            of_lane.streams.is_empty()
                && of_lane.changed_at.elapsed() >= IDLE_LIMIT
                && (state.lanes.len() > 1 || !state.is_kept)
        };
        if goes {
            state.lanes.retain(|other| !Arc::ptr_eq(other, lane));
        }

        goes
    }

    /// Locks the state.
    fn state(&self) -> MutexGuard<'_, LanesState> {
        lock(&self.state)
    }
}

impl Lane {
    /// Stops or resumes reading, as the forwarded connections want.
    fn update(&self, state: &LaneState) {
        let throttled = state.streams.values().any(|marks| marks.throttles);
        self.connection.pause_reading(throttled);
    }

    /// Locks the state.
    fn state(&self) -> MutexGuard<'_, LaneState> {
        lock(&self.state)
    }
}

impl LaneState {
    /// Returns the load.
    fn load(&self) -> LaneLoad {
        let of = |is: fn(&Marks) -> bool| self.streams.values().filter(|marks| is(marks)).count();
        LaneLoad {
            streams: self.streams.len(),
            heavy: of(|marks| marks.is_heavy),
            has_slow: of(|marks| marks.is_slow) > 0,
        }
    }
}

impl LaneSlot {
    /// Returns the connection of the lane.
    pub(in crate::ssh) fn connection(&self) -> &Arc<Connection> {
        &self.lane.connection
    }

    /// Returns true if no other forwarded connection uses the lane.
    pub(in crate::ssh) fn is_alone(&self) -> bool {
        self.lane.state().streams.len() == 1
    }

    /// Notes that many bytes were passed on.
    pub(in crate::ssh) fn mark_heavy(&self) {
        if let Some(marks) = self.lane.state().streams.get_mut(&self.number) {
            marks.is_heavy = true;
        }
    }

    /// Stops or resumes reading the lane. The lane stays stopped while any connection wants that, and
    /// takes no further connections while this one lasts.
    pub(in crate::ssh) fn throttle(&self, throttles: bool) {
        let mut state = self.lane.state();
        if let Some(marks) = state.streams.get_mut(&self.number) {
            marks.throttles = throttles;
            marks.is_slow |= throttles;
        }

        self.lane.update(&state);
    }
}

impl Drop for LaneSlot {
    fn drop(&mut self) {
        let mut state = self.lane.state();
        state.streams.remove(&self.number);
        state.changed_at = Instant::now();
        self.lane.update(&state);
    }
}

/// Takes a place on a lane.
fn enter(lane: &Arc<Lane>) -> LaneSlot {
    let mut state = lane.state();
    let number = state.next;
    state.next += 1;
    state.streams.insert(number, Marks::default());
    state.changed_at = Instant::now();

    LaneSlot {
        lane: Arc::clone(lane),
        number,
    }
}

/// Returns the index of the lane for a further connection: the one with the fewest heavy
/// connections, and among those with the fewest. A slow connection keeps its lane for itself.
fn choose(loads: &[LaneLoad]) -> Option<usize> {
    let usable = loads.iter().enumerate().filter(|(_, load)| !load.has_slow);
    usable
        .min_by_key(|(_, load)| (load.heavy, load.streams))
        .map(|(index, _)| index)
}

/// Closes a lane after some time without forwarded connections, and lets the server hear from the
/// lane while the lane is throttled. The task holds nothing alive.
async fn look_after(lanes: Weak<Lanes>, lane: Weak<Lane>) {
    loop {
        sleep(INTERVAL).await;
        let Some(lane) = lane.upgrade() else { return };
        if lane.connection.has_ended() {
            return;
        }

        if lane.connection.is_paused() {
            let _ = lane.connection.handle.send_keepalive(false).await;
        } else if lanes
            .upgrade()
            .is_some_and(|lanes| lanes.remove_if_idle(&lane))
        {
            return lane.connection.close().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_connection_has_its_lane_for_itself() {
        let load = |streams, heavy| LaneLoad {
            streams,
            heavy,
            has_slow: false,
        };
        let slow = LaneLoad {
            streams: 1,
            heavy: 1,
            has_slow: true,
        };

        for (what, loads, expected) in [
            ("no lane", &[][..], None),
            ("the only one", &[load(7, 0)], Some(0)),
            ("the emptier one", &[load(7, 0), load(2, 0)], Some(1)),
            ("one with light ones", &[load(1, 1), load(5, 0)], Some(1)),
            ("heavy ones share", &[load(3, 2), load(9, 1)], Some(1)),
            ("not with a slow one", &[slow, load(9, 9)], Some(1)),
            ("slow ones only", &[slow, slow], None),
        ] {
            assert_eq!(choose(loads), expected, "{what}");
        }
    }
}
