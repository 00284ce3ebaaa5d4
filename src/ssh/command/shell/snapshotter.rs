//! Keeps the state of a shell, so that another can have it when this one ends or its connection is lost.

use std::{
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use russh::{ChannelWriteHalf, client::Msg};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::Event;
use crate::{
    framing::{
        shell_kind::{ShellDescriptors, ShellKind},
        snapshot::{
            Snapshot,
            extractor::{Extracted, SnapshotExtractor},
        },
    },
    ssh::{command::exec::random_sentinel, error::SshError},
};

/// How long a shell is idle before its state is asked for: a command that follows the last at once need not wait.
const IDLE: Duration = Duration::from_millis(250);
/// A snapshot that takes longer than this is taken less often.
const SLOW: Duration = Duration::from_millis(500);
/// One that takes longer than this is given up: whoever printed it is gone.
const GIVEN_UP: Duration = Duration::from_secs(60);
/// At most so many commands go by before a snapshot that failed or was slow is tried again.
const MAX_SKIPPED: u32 = 64;

/// What is known of a shell's state, shared with whoever may start the next one.
#[derive(Debug, Clone, Default)]
pub struct KnownState {
    /// The last state that could be kept.
    pub snapshot: Option<Arc<Snapshot>>,
    /// How many commands were begun after that.
    pub behind: u32,
    /// The state was longer than what is kept.
    pub too_large: bool,
    /// The shell's background jobs, when it was last heard of.
    pub jobs: Vec<u32>,
    /// It has ended by itself, and not because its connection was lost.
    pub ended: bool,
}

/// The part of a shell's task that takes snapshots while nothing runs.
pub(super) struct Snapshotter {
    kept: Arc<Mutex<KnownState>>,
    extractor: SnapshotExtractor,
    due: Option<Instant>,
    /// The request on its way to the shell: nothing else may be written meanwhile.
    sending: Option<JoinHandle<()>>,
    begun: Instant,
    /// Commands begun since the snapshot that is on its way was asked for.
    since: u32,
    skip: u32,
    failures: u32,
}

/// What a keeper waits for.
pub(super) enum SnapshotTrigger {
    Sent,
    Due,
}

impl Snapshotter {
    /// One that has kept nothing yet.
    ///
    /// # Errors
    /// The system gives no random number.
    pub(super) fn new() -> Result<Self, SshError> {
        Ok(Self {
            kept: Arc::default(),
            extractor: SnapshotExtractor::new(random_sentinel()?),
            due: None,
            sending: None,
            begun: Instant::now(),
            since: 0,
            skip: 0,
            failures: 0,
        })
    }

    pub(super) fn kept(&self) -> Arc<Mutex<KnownState>> {
        Arc::clone(&self.kept)
    }

    /// Whether a request is being written, so that no command may be.
    pub(super) fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    /// Cuts what belongs to a snapshot out of stdout.
    pub(super) fn filter(&mut self, event: Event) -> Event {
        let Event::Stdout(bytes) = event else {
            return event;
        };

        let Some(rest) = self.extractor.push(&bytes) else {
            return Event::Stdout(bytes);
        };

        if let Some(extracted) = self.extractor.extracted() {
            self.note(extracted);
        }

        Event::Stdout(rest.into())
    }

    /// What was held back of stdout: there is no more.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        self.extractor.finish()
    }

    pub(super) fn command_begins(&mut self) {
        self.due = None;
        self.since = self.since.saturating_add(1);
        let mut kept = lock(&self.kept);
        kept.behind = kept.behind.saturating_add(1);
    }

    pub(super) fn command_ended(&mut self, jobs: &[u32]) {
        lock(&self.kept).jobs = jobs.to_vec();
        self.skip = self.skip.saturating_sub(1);
        self.due = (self.skip == 0).then(|| Instant::now() + IDLE);
    }

    /// The shell has ended, and not because its connection was lost. Returns whether there is a state for the next one.
    pub(super) fn shell_ended(&mut self) -> bool {
        let mut kept = lock(&self.kept);
        kept.ended = true;
        kept.snapshot.is_some()
    }

    /// Whether the state is on its way.
    pub(super) fn is_taking(&self) -> bool {
        self.extractor.is_taking()
    }

    /// Waits until there is something to do.
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

            // One that is on its way may end first.
            let busy = self.extractor.is_taking() && self.begun.elapsed() < GIVEN_UP;
            self.due = busy.then(|| Instant::now() + IDLE);
            if !busy {
                return SnapshotTrigger::Due;
            }
        }
    }

    /// Asks the shell for its state. The answer comes through [`filter`](Self::filter), whenever it does.
    pub(super) fn take(
        &mut self,
        kind: ShellKind,
        streams: ShellDescriptors,
        write: &Arc<ChannelWriteHalf<Msg>>,
    ) {
        let request = self.request(kind, streams);
        let write = Arc::clone(write);
        // A task of its own: writing must not keep this one from reading.
        self.sending = Some(tokio::spawn(async move {
            let _ = write.data_bytes(request).await;
        }));
    }

    /// What to write before a command that may be the shell's last: a request for its state, unless that is known, or too
    /// much to be asked for each time.
    pub(super) fn catch_up(&mut self, kind: ShellKind, streams: ShellDescriptors) -> Vec<u8> {
        let known =
            self.since == 0 && (self.extractor.is_taking() || lock(&self.kept).snapshot.is_some());
        if known || self.skip > 0 {
            Vec::new()
        } else {
            self.request(kind, streams)
        }
    }

    fn request(&mut self, kind: ShellKind, streams: ShellDescriptors) -> Vec<u8> {
        let Ok(id) = random_sentinel() else {
            return Vec::new();
        };
        (self.begun, self.since) = (Instant::now(), 0);
        self.extractor.request(kind, streams, id)
    }

    fn note(&mut self, extracted: Extracted) {
        let mut kept = lock(&self.kept);

        let fine = match extracted {
            Extracted::Whole(snapshot) => {
                kept.snapshot = Some(Arc::from(snapshot));
                (kept.behind, kept.too_large) = (self.since, false);
                self.begun.elapsed() < SLOW
            }
            Extracted::TooLarge => {
                (kept.snapshot, kept.too_large) = (None, true);
                false
            }
            Extracted::Spoiled => false,
        };

        self.failures = if fine {
            0
        } else {
            self.failures.saturating_add(1)
        };

        self.skip = if fine {
            0
        } else {
            2_u32.saturating_pow(self.failures).min(MAX_SKIPPED)
        };
    }
}

/// This mutex is held for an assignment only, so one that was poisoned holds nothing half-done.
pub(super) fn lock(kept: &Mutex<KnownState>) -> MutexGuard<'_, KnownState> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
