//! Signs of life from calls that take long, with the latest line of what their commands print.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rmcp::{RoleServer, model::ProgressNotificationParam, service::RequestContext};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::ssh::output::Output;

/// How often at most.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often at least. Clients give a call up after minutes without any, and wait less than one minute for the first.
const QUIET_INTERVAL: Duration = Duration::from_secs(10);

/// The outputs that a call waits for.
#[derive(Debug, Clone, Default)]
pub(super) struct Watched(Arc<Mutex<Vec<Output>>>);

impl Watched {
    /// Adds one.
    pub(super) fn watch(&self, output: &Output) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(output.clone());
    }

    /// The latest line of the one that was written to last, if it has any.
    fn latest(&self) -> Option<String> {
        let outputs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let output = outputs.iter().filter(|output| output.total() > 0).min_by_key(|output| output.quiet())?;
        Some(output.latest()).filter(|line| !line.is_empty())
    }
}

/// Does the work, and meanwhile tells the caller, if it asked for progress, that it still goes on.
pub(super) async fn while_running<T>(
    mut work: Pin<Box<impl Future<Output = T>>>,
    watched: &Watched,
    title: &str,
    context: &RequestContext<RoleServer>,
) -> T {
    let Some(token) = context.meta.get_progress_token() else { return work.await };
    let started = Instant::now();
    let mut interval = interval_at(started + INTERVAL, INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut told_at) = (None, started);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = interval.tick() => {}
        }
        let line = watched.latest();
        if line == told && told_at.elapsed() < QUIET_INTERVAL {
            continue;
        }
        told_at = Instant::now();
        let seconds = started.elapsed().as_secs_f64();
        let message = line.clone().unwrap_or_else(|| format!("{title}: running for {seconds:.0} s"));
        told = line;
        let progress = ProgressNotificationParam::new(token.clone(), seconds).with_message(message);
        // The caller may be gone; then the work is cancelled otherwise.
        tokio::select! {
            done = &mut work => return done,
            _ = context.peer.notify_progress(progress) => {}
        }
    }
}
