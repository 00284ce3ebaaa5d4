//! The clock of a test whose server runs in the same thread.

use std::time::Duration;

/// Lets `time` pass at once: the timers that end within it do so in their order, and nobody waits. Only for tests on one
/// thread, with servers inside; other processes do not notice.
pub(crate) async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::sleep(time).await;
    tokio::time::resume();
}
