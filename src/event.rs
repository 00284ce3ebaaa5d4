//! Something that happens once, such as the start of a command.

use tokio_util::sync::CancellationToken;

/// Event that happens once, and that any number of tasks can wait for. Clones share the event,
/// which cannot be undone.
#[derive(Clone, Debug, Default)]
pub struct Event(CancellationToken);

impl Event {
    /// Creates an event that has not happened yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Marks the event as happened, and wakes all waiting tasks.
    pub fn set(&self) {
        self.0.cancel();
    }

    /// Returns true if the event has happened.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until the event has happened. Returns at once if it already has.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }
}
