//! Progress notifications for calls that take long: the latest line of output, or the progress of a
//! transfer.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use rmcp::{RoleServer, model::ProgressNotificationParam, service::RequestContext};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::{
    foreign_text::escape_line,
    lock::lock,
    ssh::{
        command::output::Output,
        prompt::prompter::Banner,
        transfer::{SearchProgress, TransferCounters, TransferProgress},
    },
};

/// Interval at which the work is looked at, and the shortest time between two notifications about a
/// transfer.
const INTERVAL: Duration = Duration::from_millis(500);
/// Shortest time between two notifications about output.
const LINE_INTERVAL: Duration = Duration::from_secs(1);
/// Longest time between two notifications. Clients give a call up after minutes without any, and
/// some wait less than a minute for the first.
const QUIET_INTERVAL: Duration = Duration::from_secs(10);

/// Work whose progress a call reports: outputs of commands, or a transfer. Clones share the same
/// work; the tool fills one clone and [`while_running`] reads another.
#[derive(Debug, Clone, Default)]
pub(in crate::mcp) struct ProgressSource(Arc<Mutex<PendingWork>>);

/// Work of a call, for progress notifications to the client.
#[derive(Debug, Default)]
struct PendingWork {
    /// Outputs of the commands for which the call waits.
    outputs: Vec<Output>,
    /// Counters of the transfers, one for each host; empty if the call runs commands.
    transfers: Vec<TransferCounters>,
    /// Progress of a search; `None` if the call does not search.
    search: Option<SearchProgress>,
    /// State of the wait for a host; `None` if the call does not wait for one.
    awaited_host: Option<String>,
    /// Latest banner of a server while the log-in goes on (RFC 4252, section 5.4).
    banner: Option<Banner>,
}

impl ProgressSource {
    /// Adds the output of a command.
    pub(in crate::mcp) fn watch_output(&self, output: &Output) {
        self.lock().outputs.push(output.clone());
    }

    /// Shows the banner of a server until the log-in has ended.
    pub(in crate::mcp) fn say(&self, banner: &Banner) {
        self.lock().banner = Some(banner.clone());
    }

    /// Shows the state of the wait for a host.
    pub(in crate::mcp) fn wait_for_host(&self, state: String) {
        self.lock().awaited_host = Some(state);
    }

    /// Returns the counters of one more transfer of the call.
    pub(in crate::mcp) fn transfer(&self) -> TransferCounters {
        let counters = TransferCounters::default();
        self.lock().transfers.push(counters.clone());
        counters
    }

    /// Returns the progress of the call's search. Created on the first call.
    pub(in crate::mcp) fn search(&self) -> SearchProgress {
        self.lock().search.get_or_insert_default().clone()
    }

    /// Returns the line to show: the banner of a server during the log-in, the state of a wait or
    /// search, or the latest line of the newest output. Returns `None` if there is no such line.
    fn latest(&self) -> Option<String> {
        let pending = self.lock();

        // A banner may ask the user to act before the log-in times out, so it goes before any
        // output.
        if let Some(banner) = pending
            .banner
            .as_ref()
            .filter(|banner| !banner.login_ended.is_set())
        {
            return Some(escape_line(
                format!("{} says: {}", banner.account, banner.words).as_bytes(),
            ));
        }

        if let Some(state) = &pending.awaited_host {
            return Some(escape_line(state));
        }

        if let Some(search) = &pending.search {
            return Some(format!("{} found so far", search.found()));
        }

        // Of several commands, the one that wrote last has something new to show.
        let written = pending.outputs.iter().filter(|output| output.total() > 0);
        let output = written.min_by_key(|output| output.quiet())?;
        Some(output.latest()).filter(|line| !line.is_empty())
    }

    /// Returns the progress of all transfers together, with the name of the file that the last of
    /// them moves. Returns `None` if no file has begun.
    fn snapshot(&self) -> Option<TransferProgress> {
        let pending = self.lock();
        let snapshots = pending.transfers.iter().map(TransferCounters::now);
        snapshots
            .filter(|snapshot| !snapshot.name.is_empty())
            .reduce(|sum, next| TransferProgress {
                bytes: sum.bytes + next.bytes,
                expected: sum.expected + next.expected,
                files: sum.files + next.files,
                name: next.name,
            })
    }

    /// Locks the shared work.
    fn lock(&self) -> MutexGuard<'_, PendingWork> {
        lock(&self.0)
    }
}

/// Runs the work of a call, and sends progress notifications meanwhile. Sends none unless the
/// client asked for progress with a token.
///
/// `tool` is the name of the tool, for a call without any output.
pub(in crate::mcp) async fn while_running<T>(
    mut call: Pin<Box<impl Future<Output = T>>>,
    watched: &ProgressSource,
    tool: &str,
    context: &RequestContext<RoleServer>,
) -> T {
    // MCP allows progress notifications only for a request that carries a progress token.
    let Some(token) = context.meta.get_progress_token() else {
        return call.await;
    };
    // After a delay, the next tick comes a whole interval later: a burst of notifications would
    // tell nothing new.
    let started = Instant::now();
    let mut interval = interval_at(started + INTERVAL, INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);

    let mut reporter = ProgressReporter {
        at: started,
        message: None,
        bytes: 0,
        progress: 0.0,
    };

    loop {
        tokio::select! {
            done = &mut call => return done,
            _ = interval.tick() => {}
        }

        // A call is either a transfer or runs commands, never both.
        let update = match watched.snapshot() {
            Some(snapshot) => reporter.transfer(&snapshot),
            None => reporter.line(watched.latest(), tool, started),
        };

        let Some((message, total)) = update else {
            continue;
        };

        let mut progress =
            ProgressNotificationParam::new(token.clone(), reporter.progress).with_message(message);
        progress.total = total;

        // A client that does not read would block the notification, and must not hold up the result
        // of the call.
        tokio::select! {
            done = &mut call => return done,
            _ = context.peer.notify_progress(progress) => {}
        }
    }
}

/// State of the last notification to the client. Decides whether and what to send next.
struct ProgressReporter {
    /// Time of the last notification.
    at: Instant,
    /// Line of output or name of the file in the last notification.
    message: Option<String>,
    /// Bytes moved according to the last notification.
    bytes: u64,
    /// Value of the last notification. MCP wants this value to grow with every notification.
    progress: f64,
}

/// Message and total amount of a notification; `None` if there is nothing to send.
type ProgressUpdate = Option<(String, Option<f64>)>;

impl ProgressReporter {
    /// Returns the next notification for a command. `line` is the latest line of output; `None` if
    /// there is none.
    fn line(&mut self, line: Option<String>, tool: &str, started: Instant) -> ProgressUpdate {
        let since = self.at.elapsed();

        // Half an interval early counts as due. Otherwise a tick that comes a little early would
        // put the line off by a whole interval.
        let too_soon = since + INTERVAL / 2 < LINE_INTERVAL;
        if too_soon || (line == self.message && since < QUIET_INTERVAL) {
            return None;
        }

        // The time grows even if nothing is printed, as MCP demands of progress.
        self.at = Instant::now();
        self.progress = started.elapsed().as_secs_f64();
        let message = line
            .clone()
            .unwrap_or_else(|| format!("{tool}: running for {:.0} s", self.progress));
        self.message = line;

        Some((message, None))
    }

    /// Returns the next notification for a transfer with this progress.
    #[expect(clippy::cast_precision_loss, reason = "to be looked at")]
    fn transfer(&mut self, snapshot: &TransferProgress) -> ProgressUpdate {
        let since = self.at.elapsed();
        let new = snapshot.bytes > self.bytes || self.message.as_ref() != Some(&snapshot.name);
        if !new && since < QUIET_INTERVAL {
            return None;
        }

        // An announced size below the bytes already moved is wrong, so no total is shown then.
        let rate = snapshot.bytes.saturating_sub(self.bytes) as f64 / since.as_secs_f64();
        let total = Some(snapshot.expected)
            .filter(|total| *total >= snapshot.bytes && *total > 0)
            .map(|total| total as f64);

        let all = total
            .map(|total| format!(" of {}", size(total)))
            .unwrap_or_default();

        let files = if snapshot.files > 0 {
            format!(", {} files", snapshot.files)
        } else {
            String::new()
        };

        let message = format!(
            "{}: {}{all}{files}, {}/s",
            escape_line(snapshot.name.as_bytes()),
            size(snapshot.bytes as f64),
            size(rate)
        );

        // Bytes may shrink after a lost link, when some are sent again. The progress still has to
        // grow.
        *self = Self {
            at: Instant::now(),
            message: Some(snapshot.name.clone()),
            bytes: snapshot.bytes,
            progress: (snapshot.bytes as f64).max(self.progress + 1.0),
        };

        Some((message, total))
    }
}

/// Formats a number of bytes for a human reader, as in `6.0 MB`.
pub(in crate::mcp) fn size(bytes: f64) -> String {
    match bytes {
        ..1e3 => format!("{bytes:.0} B"),
        1e3..1e6 => format!("{:.1} kB", bytes / 1e3),
        1e6..1e9 => format!("{:.1} MB", bytes / 1e6),
        _ => format!("{:.2} GB", bytes / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(bytes: u64, expected: u64, name: &str) -> TransferProgress {
        TransferProgress {
            bytes,
            expected,
            files: 0,
            name: name.to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_transfer_tells_name_bytes_and_rate_and_always_grows() {
        let mut reporter = ProgressReporter {
            at: Instant::now(),
            message: None,
            bytes: 0,
            progress: 0.0,
        };

        tokio::time::advance(Duration::from_millis(500)).await;
        let (message, total) = reporter
            .transfer(&moved(6_000_000, 8_000_000, "a/b"))
            .unwrap();

        assert_eq!(
            (message.as_str(), total),
            ("a/b: 6.0 MB of 8.0 MB, 12.0 MB/s", Some(8e6))
        );

        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(
            reporter.transfer(&moved(6_000_000, 8_000_000, "a/b")),
            None,
            "nothing new"
        );

        tokio::time::advance(QUIET_INTERVAL).await;
        let before = reporter.progress;
        let (message, _) = reporter.transfer(&moved(6_000_000, 0, "a/b")).unwrap();
        assert!(
            message.ends_with("6.0 MB, 0 B/s") && reporter.progress > before,
            "{message}"
        );

        tokio::time::advance(Duration::from_millis(500)).await;

        let (message, _) = reporter
            .transfer(&TransferProgress {
                files: 7,
                ..moved(6_000_500, 0, "c")
            })
            .unwrap();

        assert_eq!(message, "c: 6.0 MB, 7 files, 1.0 kB/s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_is_told_once_a_second_at_most() {
        let started = Instant::now();

        let mut reporter = ProgressReporter {
            at: started,
            message: None,
            bytes: 0,
            progress: 0.0,
        };

        let mut seen = Vec::new();

        for tick in 1..=6 {
            tokio::time::advance(INTERVAL).await;
            seen.push(
                reporter
                    .line(Some(tick.to_string()), "Title", started)
                    .map(|(message, _)| message),
            );
        }

        let some = |text: &str| Some(text.to_owned());
        assert_eq!(seen, [None, some("2"), None, some("4"), None, some("6")]);
        tokio::time::advance(QUIET_INTERVAL).await;
        assert_eq!(
            reporter.line(None, "Title", started).unwrap().0,
            "Title: running for 13 s"
        );
    }
}
