//! Sends signals to the processes of a command, over a second channel.

use std::{sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::sleep};

use super::{
    limits::StopReason,
    remote_host::{RemoteHost, stops::PendingStop},
    sudo::SudoRights,
};
use crate::framing::stop::{self, StopReport, StopRequest, StopTarget};

/// Time limit of a script which sends a single signal.
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// Time in which stops are collected for a shared script. When a client goes away, all commands are
/// stopped at once, with little time and perhaps a single channel.
const COLLECT_TIME: Duration = Duration::from_millis(10);

impl RemoteHost {
    /// Stops the processes of a command; `None` if no script could run. `rights` are those of the
    /// command's sudo, because only root may stop root's processes.
    pub(in crate::ssh) async fn stop_processes(
        self: &Arc<Self>,
        target: &StopTarget<'_>,
        rights: Option<&SudoRights>,
        stop: StopReason,
    ) -> Option<StopReport> {
        let request = StopRequest::new(target, stop.first_signal(), stop.grace_tenths());
        let Some(rights) = rights else {
            return self.stop_with_others(request, stop).await;
        };

        // Only root may signal root's processes, so this script runs through sudo and cannot share
        // with others.
        let script = stop::script(std::slice::from_ref(&request));
        let limit = time_limit(stop.grace_tenths(), stop == StopReason::Ending);
        let answer = self
            .run_helper_as(rights, script, limit, stop == StopReason::Ending)
            .await;

        if let Some(report) = read_report(answer.ok().as_deref(), 0) {
            return Some(report);
        }

        // The user who started sudo may signal it, and sudo passes INT and TERM on. A shell would
        // heed neither.
        let StopTarget::Sudo { sudo, lived, .. } = target else {
            return None;
        };
        let request = StopRequest::new(
            &StopTarget::Exec {
                process: sudo.clone(),
                lived: *lived,
            },
            stop.first_signal(),
            stop.grace_tenths(),
        );

        self.stop_with_others(request, stop).await
    }

    /// Stops a command by a script shared with the other stops of the moment.
    async fn stop_with_others(
        self: &Arc<Self>,
        request: StopRequest,
        stop: StopReason,
    ) -> Option<StopReport> {
        let (send_report, report) = oneshot::channel();
        if self.stops.push(PendingStop {
            request,
            grace_tenths: stop.grace_tenths(),
            is_urgent: stop == StopReason::Ending,
            send_report,
        }) {
            let host = Arc::clone(self);
            // A task of its own: the other stops need this script, whatever becomes of this caller.
            tokio::spawn(async move {
                sleep(COLLECT_TIME).await;
                host.stop_all(host.stops.take_all()).await;
            });
        }

        report.await.ok().flatten()
    }

    /// Runs a single script for all these stops, and sends each caller a part of the answer.
    async fn stop_all(self: &Arc<Self>, all: Vec<PendingStop>) {
        // The script runs the stops side by side, so it takes as long as the most patient one. It
        // is urgent only if all of them are.
        let grace = all.iter().map(|stop| stop.grace_tenths).max().unwrap_or(0);
        let limit = time_limit(grace, all.iter().all(|stop| stop.is_urgent));
        let requests: Vec<_> = all.iter().map(|stop| stop.request.clone()).collect();
        let answer = self
            .run_helper("exec /bin/sh", stop::script(&requests), limit)
            .await
            .ok();

        for (index, PendingStop { send_report, .. }) in all.into_iter().enumerate() {
            let _ = send_report.send(read_report(answer.as_deref(), index));
        }
    }

    /// Sends a signal once, without waiting for the effect on the command.
    pub(in crate::ssh) async fn signal_processes(
        self: &Arc<Self>,
        target: &StopTarget<'_>,
        rights: Option<&SudoRights>,
        name: &str,
    ) {
        let script = stop::send(target, name);
        let _ = self.run_helper_of(rights, script, SEND_LIMIT).await;
    }
}

/// Returns the time limit of a stop script. The answer may have to wait for megabytes of a
/// command's own output.
fn time_limit(grace_tenths: u32, is_urgent: bool) -> Duration {
    Duration::from_millis(u64::from(grace_tenths) * 300 + if is_urgent { 5_000 } else { 30_000 })
}

/// Reads the report on the command at `index` from the answer.
fn read_report(answer: Option<&[u8]>, index: usize) -> Option<StopReport> {
    StopReport::read(&String::from_utf8_lossy(answer?), index)
}
