//! Detects a dead server before the next command has to find out.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::{sleep, timeout};

use super::connection::Connection;
use crate::{
    openssh::effective_config::EffectiveConfig,
    ssh::config::{fallback, target::Target},
};

/// Silence after which the server is asked, unless the configuration sets an interval.
const INTERVAL: Duration = Duration::from_secs(15);
/// Number of consecutive unanswered questions after which a server counts as gone. The value is the
/// default of `ServerAliveCountMax`.
const MAX_UNANSWERED: u32 = 3;

/// Policy for asking a silent server, as read from the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ssh) enum Keepalive {
    /// `ServerAliveInterval` is set: russh asks at this interval, as `ssh` does.
    Configured(Duration),
    /// `ServerAliveInterval 0` is set: nobody asks.
    Off,
    /// The option is not set: [`keep_alive`] asks.
    Ours,
}

impl Keepalive {
    /// Reads the policy from the configuration. `ssh -G` prints 0 for an option that is not set,
    /// too, so the files decide between `Off` and `Ours`.
    pub(in crate::ssh) fn from_config(config: &EffectiveConfig, target: &Target) -> Self {
        match config.server_alive_interval {
            Some(interval) => Self::Configured(interval),
            None if fallback::sets(target, "serveraliveinterval") => Self::Off,
            None => Self::Ours,
        }
    }

    /// Returns the interval at which russh asks; `None` if russh does not ask. russh ends the
    /// connection of a server which does not answer, as `ssh` does.
    pub(in crate::ssh) fn interval(self) -> Option<Duration> {
        match self {
            Self::Configured(interval) => Some(interval),
            Self::Off | Self::Ours => None,
        }
    }
}

/// Asks the server after each silence, and gives the connection up after several questions without
/// an answer. Returns when the connection has ended.
///
/// `ssh` would not ask by default. So a server which has never answered such a question is left
/// alone: some servers cannot answer, and stay silent while a command runs.
pub(in crate::ssh) async fn keep_alive(connection: Weak<Connection>) {
    let (mut can_answer, mut unanswered) = (false, 0);
    while let Some(held) = alive(&connection) {
        let before = held.traffic.received();

        match timeout(INTERVAL, held.handle.send_ping()).await {
            Ok(Ok(())) => (can_answer, unanswered) = (true, 0),
            Ok(Err(_)) => return,
            // Any other data shows life as well.
            Err(_) if held.traffic.received() != before => unanswered = 0,
            Err(_) => unanswered += 1,
        }

        if can_answer && unanswered >= MAX_UNANSWERED {
            return held
                .traffic
                .give_up("the server has not answered for a minute");
        }

        // A reference held through the silence would keep an unused connection open.
        drop(held);
        if unanswered == 0 {
            silence(&connection).await;
        }
    }
}

/// Waits until nothing has arrived for a whole interval.
async fn silence(connection: &Weak<Connection>) {
    loop {
        let received = || alive(connection).map(|held| held.traffic.received());
        let before = received();
        sleep(INTERVAL).await;
        if received() == before {
            return;
        }
    }
}

/// Returns the connection, or `None` if the connection has ended or is no longer used.
fn alive(connection: &Weak<Connection>) -> Option<Arc<Connection>> {
    connection.upgrade().filter(|held| !held.has_ended())
}
