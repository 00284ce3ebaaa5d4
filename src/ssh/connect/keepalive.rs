//! Finding out that a server is gone, so that it is not the next command that does.

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

/// After how much silence the server is asked, where the person has said nothing about it.
const INTERVAL: Duration = Duration::from_secs(15);
/// How many questions in a row are left unanswered by a server that is gone: as many as `ServerAliveCountMax` has by default.
const MAX_UNANSWERED: u32 = 3;

/// Who sees to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ssh) enum Keepalive {
    /// `ServerAliveInterval` says how, as it does to `ssh`.
    Configured(Duration),
    /// `ServerAliveInterval 0`: nobody.
    Off,
    /// The configuration says nothing: [`watch`] does.
    Ours,
}

impl Keepalive {
    /// What the configuration comes to. `ssh -G` prints 0 for an option that is not set, too: then the files tell.
    pub(in crate::ssh) fn from_config(config: &EffectiveConfig, target: &Target) -> Self {
        match config.server_alive_interval {
            Some(interval) => Self::Configured(interval),
            None if fallback::sets(target, "serveraliveinterval") => Self::Off,
            None => Self::Ours,
        }
    }

    /// How often russh asks. It ends the connection of a server that does not answer, as `ssh` does.
    pub(in crate::ssh) fn interval(self) -> Option<Duration> {
        match self {
            Self::Configured(interval) => Some(interval),
            Self::Off | Self::Ours => None,
        }
    }
}

/// Asks a server that has been silent for a while, and gives the connection up if there is no answer, again and again.
///
/// `ssh` would not ask, and so a server that has never answered such a question is left alone: some cannot, and keep
/// silence while a command runs.
pub(in crate::ssh) async fn watch(connection: Weak<Connection>) {
    let (mut can_answer, mut unanswered) = (false, 0);
    while let Some(held) = alive(&connection) {
        let before = held.traffic.received();

        match timeout(INTERVAL, held.handle.send_ping()).await {
            Ok(Ok(())) => (can_answer, unanswered) = (true, 0),
            Ok(Err(_)) => return,
            // Anything else that comes shows life as well.
            Err(_) if held.traffic.received() != before => unanswered = 0,
            Err(_) => unanswered += 1,
        }

        if can_answer && unanswered >= MAX_UNANSWERED {
            return held
                .traffic
                .give_up("the server has not answered for a minute");
        }

        drop(held);
        if unanswered == 0 {
            silence(&connection).await;
        }
    }
}

/// Waits until nothing has come for a while.
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

fn alive(connection: &Weak<Connection>) -> Option<Arc<Connection>> {
    connection.upgrade().filter(|held| !held.has_ended())
}
