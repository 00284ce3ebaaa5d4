//! Signs of life from calls that take long.

use std::{pin::Pin, time::Duration};

use rmcp::{RoleServer, model::ProgressNotificationParam, service::RequestContext};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// How often. Clients give a call up after minutes without any, and wait less than one minute for the first.
const INTERVAL: Duration = Duration::from_secs(10);

/// Does the work, and meanwhile tells the caller, if it asked for progress, that it still goes on.
pub(super) async fn while_running<T>(
    mut work: Pin<Box<impl Future<Output = T>>>,
    title: &str,
    context: &RequestContext<RoleServer>,
) -> T {
    let Some(token) = context.meta.get_progress_token() else { return work.await };
    let started = Instant::now();
    let mut interval = interval_at(started + INTERVAL, INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = interval.tick() => {}
        }
        let seconds = started.elapsed().as_secs_f64().round();
        let progress = ProgressNotificationParam::new(token.clone(), seconds)
            .with_message(format!("{title}: running for {seconds} s"));
        // The caller may be gone; then the work is cancelled otherwise.
        tokio::select! {
            done = &mut work => return done,
            _ = context.peer.notify_progress(progress) => {}
        }
    }
}
