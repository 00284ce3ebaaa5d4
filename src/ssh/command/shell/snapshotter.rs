//! Keeps the state of a shell for the next shell, in case this one ends or its connection is lost.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use russh::{ChannelWriteHalf, client::Msg};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::message::ShellMessage;
use crate::{
    framing::{
        shell_kind::{ShellDescriptors, ShellKind},
        snapshot::{
            Snapshot,
            extractor::{Extracted, SnapshotExtractor},
        },
        stream::Stream,
    },
    lock::lock,
    ssh::{command::exec::random_sentinel, error::SshError},
};

/// Time for which a shell is idle before a snapshot. A command that follows the last one at once
/// need not wait.
const IDLE: Duration = Duration::from_millis(250);
/// Duration above which a snapshot counts as slow, and is taken less often.
const SLOW: Duration = Duration::from_millis(500);
/// Time after which a snapshot is given up. The process that prints the snapshot must be gone by
/// then.
const GIVEN_UP: Duration = Duration::from_secs(60);
/// Most commands between a failed or slow snapshot and the next attempt.
const MAX_SKIPPED: u32 = 64;

/// Known state of a shell, shared with whoever starts the next shell.
#[derive(Debug, Clone, Default)]
pub struct KnownState {
    /// Last snapshot; `None` if no state could be kept.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Number of commands begun after the snapshot.
    pub behind: u32,
    /// True if the state was longer than
    /// [`MAX_SNAPSHOT_BYTES`](crate::framing::snapshot::MAX_SNAPSHOT_BYTES).
    pub too_large: bool,
    /// Process ids of the background jobs, as of the last trailer.
    pub jobs: Vec<u32>,
    /// True if the shell has ended by itself, and not with the connection.
    pub ended: bool,
}

/// Part of a shell's task for taking snapshots between commands. A snapshot runs next to the
/// following commands, and the pieces are filtered out of stdout.
pub(super) struct Snapshotter {
    /// Known state, shared with the [`Shell`](super::Shell)s.
    state: Arc<Mutex<KnownState>>,
    /// Filter to collect the pieces.
    extractor: SnapshotExtractor,
    /// Time of the next snapshot; `None` if none is due.
    due: Option<Instant>,
    /// Task writing a request to the shell; `None` if none is being written. Nothing else may be
    /// written meanwhile.
    sending: Option<JoinHandle<()>>,
    /// Time of the last request.
    requested: Instant,
    /// Number of commands begun since the last request.
    since: u32,
    /// Number of commands to let end before the next snapshot.
    skip: u32,
    /// Number of failed or slow snapshots in a row.
    failures: u32,
}

/// Reason to wake up for the [`Snapshotter`].
pub(super) enum SnapshotTrigger {
    /// The request has been written.
    Sent,
    /// A snapshot is due.
    Due,
}

impl Snapshotter {
    /// Creates a snapshotter without any state.
    ///
    /// # Errors
    /// Fails if the system gives no random number.
    pub(super) fn new() -> Result<Self, SshError> {
        Ok(Self {
            state: Arc::default(),
            extractor: SnapshotExtractor::new(random_sentinel()?),
            due: None,
            sending: None,
            requested: Instant::now(),
            since: 0,
            skip: 0,
            failures: 0,
        })
    }

    /// Returns the known state, which changes with later snapshots.
    pub(super) fn known_state(&self) -> Arc<Mutex<KnownState>> {
        Arc::clone(&self.state)
    }

    /// Returns true while a request is being written. No command may be written meanwhile.
    pub(super) fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    /// Removes the pieces of a snapshot from stdout. All other messages pass unchanged.
    pub(super) fn filter(&mut self, message: ShellMessage) -> ShellMessage {
        let ShellMessage::Output(Stream::Stdout, bytes) = message else {
            return message;
        };

        let Some(rest) = self.extractor.push(&bytes) else {
            return ShellMessage::Output(Stream::Stdout, bytes);
        };

        if let Some(extracted) = self.extractor.extracted() {
            self.finish_snapshot(extracted);
        }

        ShellMessage::Output(Stream::Stdout, rest.into())
    }

    /// Returns the bytes of stdout held back, when no more will come.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        self.extractor.finish()
    }

    /// Records the start of a command, which makes the snapshot older.
    pub(super) fn command_begins(&mut self) {
        self.due = None;
        self.since = self.since.saturating_add(1);
        let mut state = lock(&self.state);
        state.behind = state.behind.saturating_add(1);
    }

    /// Records the end of a command, and plans the next snapshot.
    pub(super) fn command_ended(&mut self, jobs: &[u32]) {
        lock(&self.state).jobs = jobs.to_vec();
        self.skip = self.skip.saturating_sub(1);
        self.due = (self.skip == 0).then(|| Instant::now() + IDLE);
    }

    /// Records the end of the shell itself, without a loss of the connection. Returns true if there
    /// is a state for the next shell.
    pub(super) fn shell_ended(&mut self) -> bool {
        let mut state = lock(&self.state);
        state.ended = true;
        state.snapshot.is_some()
    }

    /// Returns true while pieces of a snapshot are still to come.
    pub(super) fn is_taking(&self) -> bool {
        self.extractor.is_taking()
    }

    /// Waits until a request has been written or a snapshot is due.
    pub(super) async fn next(&mut self) -> SnapshotTrigger {
        if let Some(sending) = &mut self.sending {
            let _ = sending.await;
            self.sending = None;
            return SnapshotTrigger::Sent;
        }

        loop {
            match self.due {
                Some(due) => sleep_until(due).await,
                None => pending().await,
            }

            // A new request would give up a snapshot on its way, so that one may end first.
            let is_busy = self.extractor.is_taking() && self.requested.elapsed() < GIVEN_UP;
            self.due = is_busy.then(|| Instant::now() + IDLE);
            if !is_busy {
                return SnapshotTrigger::Due;
            }
        }
    }

    /// Writes a request for the shell's state. The pieces come through [`filter`](Self::filter), at
    /// any time.
    pub(super) fn request_snapshot(
        &mut self,
        kind: ShellKind,
        streams: ShellDescriptors,
        write: &Arc<ChannelWriteHalf<Msg>>,
    ) {
        let request = self.request(kind, streams);
        let write = Arc::clone(write);
        // A task of its own: writing must not keep this task from reading.
        self.sending = Some(tokio::spawn(async move {
            let _ = write.data_bytes(request).await;
        }));
    }

    /// Returns a request to write before a command which may be the shell's last. Empty if the
    /// state is known, or too slow to be asked for each time.
    pub(super) fn catch_up(&mut self, kind: ShellKind, streams: ShellDescriptors) -> Vec<u8> {
        let is_known =
            self.since == 0 && (self.extractor.is_taking() || lock(&self.state).snapshot.is_some());
        if is_known || self.skip > 0 {
            Vec::new()
        } else {
            self.request(kind, streams)
        }
    }

    /// Returns a request for the shell's state, and restarts the clock and the counter.
    fn request(&mut self, kind: ShellKind, streams: ShellDescriptors) -> Vec<u8> {
        let Ok(id) = random_sentinel() else {
            return Vec::new();
        };
        (self.requested, self.since) = (Instant::now(), 0);
        self.extractor.request(kind, streams, id)
    }

    /// Keeps a finished snapshot, and plans the next.
    fn finish_snapshot(&mut self, extracted: Extracted) {
        let mut state = lock(&self.state);

        let is_good = match extracted {
            Extracted::Whole(snapshot) => {
                state.snapshot = Some(Arc::from(snapshot));
                (state.behind, state.too_large) = (self.since, false);
                self.requested.elapsed() < SLOW
            }
            Extracted::TooLarge => {
                (state.snapshot, state.too_large) = (None, true);
                false
            }
            Extracted::Spoiled => false,
        };

        self.failures = if is_good {
            0
        } else {
            self.failures.saturating_add(1)
        };

        // Doubled each time: a shell whose state cannot be kept must not be slowed down by attempts
        // after every command.
        self.skip = if is_good {
            0
        } else {
            2_u32.saturating_pow(self.failures).min(MAX_SKIPPED)
        };
    }
}
