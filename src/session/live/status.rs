//! Snapshots of a session and its shells, for listings.

use super::LiveSession;
use crate::{
    lock::lock,
    session::status::{ConnectionState, SessionStatus, ShellState, ShellStatus, connected_at},
};

impl LiveSession {
    /// Returns true if the session has a live connection.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        let last = lock(&self.last);
        last.host.as_ref().is_some_and(|host| !host.is_closed())
    }

    /// Returns a snapshot of the session for listings.
    #[must_use]
    pub fn status(&self, default: bool) -> SessionStatus {
        // Taken from `last`, so that a listing never waits for a dial.
        let last = lock(&self.last);
        let connected = last.host.as_ref().filter(|host| !host.is_closed());

        let peer = last.peer.as_ref();
        let ended = last.host.as_ref().filter(|host| host.is_closed());

        SessionStatus {
            name: self.name().to_owned(),
            host: self.saved.host.clone(),
            host_name: peer.map_or_else(|| self.saved.host.clone(), |peer| peer.host_name.clone()),
            port: peer.map(|peer| peer.port).or(self.saved.port).unwrap_or(22),
            user: peer
                .map(|peer| peer.user.clone())
                .or_else(|| self.saved.user.clone())
                .unwrap_or_default(),
            state: match (connected, peer) {
                (Some(_), _) => ConnectionState::Connected,
                (None, Some(_)) => ConnectionState::Disconnected,
                (None, None) => ConnectionState::Saved,
            },
            default,
            auth_method: peer.map(|peer| peer.auth_method.clone()),
            host_key: peer.map(|peer| peer.host_key.clone()),
            connected_at: connected.map(|host| connected_at(host.peer())),
            facts: connected.and_then(|host| host.facts()),
            last_error: last
                .error
                .clone()
                .or_else(|| ended.map(|host| host.lost().to_string())),
        }
    }

    /// Returns a snapshot of each shell, in no particular order.
    #[must_use]
    pub fn shells(&self) -> Vec<ShellStatus> {
        let shells = lock(&self.shells);
        let each = shells.iter().map(|(name, slot)| {
            // A locked slot is a shell that is being started; a listing does not wait for the
            // start.
            let (state, directory) = match slot.try_lock() {
                Ok(slot) => {
                    let alive = slot
                        .shell
                        .as_ref()
                        .is_some_and(|(shell, _)| !shell.is_gone());

                    (
                        if alive {
                            ShellState::Ready
                        } else {
                            ShellState::Gone
                        },
                        slot.directory.clone(),
                    )
                }
                Err(_) => (ShellState::Starting, Vec::new()),
            };

            ShellStatus {
                session: self.name().to_owned(),
                name: name.clone(),
                state,
                directory,
            }
        });

        each.collect()
    }
}
