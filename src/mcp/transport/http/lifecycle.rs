//! Tasks of a daemon, and the order in which they end.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::session::registry::SessionRegistry;

/// Time limit for sending the answers to stopped calls at the end.
const DRAIN_LIMIT: Duration = Duration::from_millis(300);

/// Lifecycle of a daemon: listening, then only serving, then closed. Clones share the state.
///
/// A shared daemon may stop listening long before it ends.
#[derive(Clone)]
pub(super) struct Lifecycle {
    /// Token which is cancelled when no more clients are accepted.
    pub(super) listening: CancellationToken,
    /// Token which is cancelled when each connection has to finish its answer.
    pub(super) closing: CancellationToken,
    /// Token which is cancelled to end the event streams, which never end by themselves.
    pub(super) closed: CancellationToken,
    /// Tasks which accept connections.
    pub(super) accepting: TaskTracker,
    /// Tasks which serve connections.
    pub(super) connections: TaskTracker,
}

impl Lifecycle {
    /// Creates the lifecycle of a daemon that listens until `stop` is cancelled.
    pub(super) fn new(stop: &CancellationToken) -> Self {
        let accepting = TaskTracker::new();
        // Waiting for a tracker ends only if it is closed; tasks can still be added.
        accepting.close();

        Self {
            listening: stop.child_token(),
            closing: CancellationToken::new(),
            closed: CancellationToken::new(),
            accepting,
            connections: TaskTracker::new(),
        }
    }

    /// Accepts no more clients, and waits until the listeners are closed.
    pub(super) async fn stop_listening(&self) {
        self.listening.cancel();
        self.accepting.wait().await;
    }

    /// Waits until nobody has been connected and no job has been running for as long as `limit`.
    ///
    /// If no more clients can come, the wait ends with the last connection and job. That is so
    /// after the daemon gave way, or if one of `are_reachable` says that clients cannot find the listener.
    pub(super) async fn idle(
        &self,
        limit: Duration,
        registry: &SessionRegistry,
        are_reachable: Vec<impl Fn() -> bool>,
    ) {
        let interval = (limit / 4).clamp(Duration::from_millis(50), Duration::from_secs(5));
        let mut idle_since = Instant::now();

        loop {
            let busy = !self.connections.is_empty() || registry.jobs.running() > 0;
            let lost = !are_reachable.iter().all(|is_reachable| is_reachable());
            let ends = lost || (!busy && idle_since.elapsed() >= limit);

            if ends && !self.listening.is_cancelled() {
                // Connections accepted up to now stay, so the daemon may be busy after all.
                self.stop_listening().await;
                continue;
            }

            if busy {
                idle_since = Instant::now();
            } else if self.listening.is_cancelled() {
                return;
            }

            sleep(interval).await;
        }
    }

    /// Closes all connections, after the answers that are under way.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.connections.close();
        let _ = timeout(DRAIN_LIMIT, self.connections.wait()).await;

        self.closed.cancel();
        let _ = timeout(DRAIN_LIMIT, async {
            tokio::join!(self.connections.wait(), self.accepting.wait())
        })
        .await;
    }
}
