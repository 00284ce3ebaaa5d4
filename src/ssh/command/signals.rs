//! Signals for the processes of a command, through a second channel.

use std::{sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::sleep};

use super::limits::StopReason;
use crate::{
    framing::stop::{self, Order, StopReport, StopTarget},
    password::Password,
    ssh::{
        error::SshError,
        pool::{Pool, stops::PendingStop},
    },
};

/// How long sending a signal may take.
const SENT_WITHIN: Duration = Duration::from_secs(10);
/// Commands that are to be stopped within this time share a script: when a client goes away, all are at once, and there is
/// little time and perhaps one channel.
const TOGETHER: Duration = Duration::from_millis(10);

impl Pool {
    /// Stops the processes of a command; `None` where that could not be tried. `password` is what sudo took, for a command
    /// that it runs: nobody but root may stop that.
    pub(in crate::ssh) async fn stop_processes(
        self: &Arc<Self>,
        target: &StopTarget<'_>,
        password: Option<&Password>,
        stop: StopReason,
    ) -> Option<StopReport> {
        let order = Order::new(target, stop.first_signal(), stop.grace_tenths());
        if let StopTarget::Sudo { sudo, lived, .. } = target {
            let script = stop::script(std::slice::from_ref(&order));
            let limit = limit(stop.grace_tenths(), stop == StopReason::Ending);
            let answer = self
                .ask_as_root(password, script, limit, stop == StopReason::Ending)
                .await;

            if let Some(found) = read(answer.ok().as_deref(), 0) {
                return Some(found);
            }

            // Who has started sudo may signal it, and it passes INT and TERM on.
            let order = Order::new(
                &StopTarget::Exec {
                    process: sudo.clone(),
                    lived: *lived,
                },
                stop.first_signal(),
                stop.grace_tenths(),
            );

            return self.stop_with_others(order, stop).await;
        }

        self.stop_with_others(order, stop).await
    }

    async fn stop_with_others(
        self: &Arc<Self>,
        order: Order,
        stop: StopReason,
    ) -> Option<StopReport> {
        let (tell, told) = oneshot::channel();
        if self.stops.push(PendingStop {
            order,
            grace_tenths: stop.grace_tenths(),
            in_a_hurry: stop == StopReason::Ending,
            tell,
        }) {
            let pool = Arc::clone(self);
            // A task of its own: the others count on it, whatever becomes of this caller.
            tokio::spawn(async move {
                sleep(TOGETHER).await;
                pool.stop_all(pool.stops.take_all()).await;
            });
        }

        told.await.ok().flatten()
    }

    async fn stop_all(self: &Arc<Self>, all: Vec<PendingStop>) {
        let grace = all.iter().map(|one| one.grace_tenths).max().unwrap_or(0);
        let limit = limit(grace, all.iter().all(|one| one.in_a_hurry));
        let orders: Vec<_> = all.iter().map(|one| one.order.clone()).collect();
        let answer = self
            .ask("exec /bin/sh", stop::script(&orders), limit)
            .await
            .ok();

        for (index, PendingStop { tell, .. }) in all.into_iter().enumerate() {
            let _ = tell.send(read(answer.as_deref(), index));
        }
    }

    /// Sends a signal once. What comes of it shows in what the command does.
    pub(in crate::ssh) async fn signal_processes(
        self: &Arc<Self>,
        target: &StopTarget<'_>,
        password: Option<&Password>,
        name: &str,
    ) {
        let script = stop::send(target, name);
        let _: Result<_, SshError> = match target {
            StopTarget::Sudo { .. } => self.ask_as_root(password, script, SENT_WITHIN, false).await,
            StopTarget::Exec { .. } | StopTarget::Shell { .. } => {
                self.ask("exec /bin/sh", script, SENT_WITHIN).await
            }
        };
    }
}

/// How long a stop script may take. Its answer may have to wait behind megabytes of a command's own output.
fn limit(grace_tenths: u32, in_a_hurry: bool) -> Duration {
    Duration::from_millis(u64::from(grace_tenths) * 300 + if in_a_hurry { 5_000 } else { 30_000 })
}

fn read(answer: Option<&[u8]>, index: usize) -> Option<StopReport> {
    StopReport::read(&String::from_utf8_lossy(answer?), index)
}
