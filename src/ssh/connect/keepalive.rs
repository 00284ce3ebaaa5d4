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
///
/// russh does not ask: it would give up a connection from which nothing is read for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ssh) enum Keepalive {
    /// `ServerAliveInterval` is set: each server is asked, as `ssh` does.
    Configured {
        /// Silence after which the server is asked.
        interval: Duration,
        /// `ServerAliveCountMax`; 0 never gives up.
        max_unanswered: u32,
    },
    /// `ServerAliveInterval 0` is set: nobody asks.
    Off,
    /// The option is not set.
    ///
    /// `ssh` would not ask by default. So a server which has never answered is left alone: some
    /// servers cannot answer, and stay silent while a command runs.
    Ours,
}

impl Keepalive {
    /// Reads the policy from the configuration. `ssh -G` prints 0 for an option that is not set,
    /// too, so the files decide between `Off` and `Ours`.
    pub(in crate::ssh) fn from_config(config: &EffectiveConfig, target: &Target) -> Self {
        match config.server_alive_interval {
            Some(interval) => Self::Configured {
                interval,
                max_unanswered: config.server_alive_count_max,
            },
            None if fallback::sets(target, "serveraliveinterval") => Self::Off,
            None => Self::Ours,
        }
    }
}

/// Asks the server after each silence, and gives the connection up after several questions without
/// an answer. Returns when the connection has ended.
pub(in crate::ssh) async fn keep_alive(connection: Weak<Connection>, keepalive: Keepalive) {
    let (interval, max_unanswered, mut can_answer, reason) = match keepalive {
        Keepalive::Off => return,
        Keepalive::Configured {
            interval,
            max_unanswered,
        } => (
            interval,
            max_unanswered,
            max_unanswered > 0,
            "the server has not answered for as long as ServerAliveInterval and \
             ServerAliveCountMax allow",
        ),
        Keepalive::Ours => (
            INTERVAL,
            MAX_UNANSWERED,
            false,
            "the server has not answered for a minute",
        ),
    };

    // A server of which the answer has to be learned is asked at once.
    if keepalive != Keepalive::Ours {
        silence(&connection, interval).await;
    }

    let mut unanswered = 0;
    while let Some(held) = alive(&connection) {
        let before = held.traffic.received();

        match timeout(interval, held.handle.send_ping()).await {
            Ok(Ok(())) => {
                can_answer |= keepalive == Keepalive::Ours;
                unanswered = 0;
            }
            Ok(Err(_)) => return,
            // Any other data shows life as well, and a paused connection reads no answer.
            Err(_) if held.traffic.received() != before || held.is_paused() => unanswered = 0,
            Err(_) => unanswered += 1,
        }

        if can_answer && unanswered >= max_unanswered {
            return held.traffic.give_up(reason);
        }

        // A reference held through the silence would keep an unused connection open.
        drop(held);
        if unanswered == 0 {
            silence(&connection, interval).await;
        }
    }
}

/// Waits until nothing has arrived for a whole interval in which the connection was read.
async fn silence(connection: &Weak<Connection>, interval: Duration) {
    loop {
        let received = || alive(connection).map(|held| (held.traffic.received(), held.is_paused()));
        let before = received();
        sleep(interval).await;
        if received() == before && before.is_none_or(|(_, is_paused)| !is_paused) {
            return;
        }
    }
}

/// Returns the connection, or `None` if the connection has ended or is no longer used.
fn alive(connection: &Weak<Connection>) -> Option<Arc<Connection>> {
    connection.upgrade().filter(|held| !held.has_ended())
}
