//! What is known of servers, between this process and the store.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{
    sync::{OnceCell, watch},
    task::spawn_blocking,
};

use super::{causes::with_causes, store::Store};
use crate::{
    foreign_text::escape_line,
    ssh::known_servers::{KnownServer, KnownServers},
};

/// Most servers in the store. Beyond that, those that were not seen for longest are forgotten.
const MAX_SERVERS: usize = 500;

/// Known servers of a process, shared by all clones. They are read from the store before the first
/// connection, and each change is saved.
#[derive(Debug, Clone)]
pub struct SavedServers {
    known: KnownServers,
    store: Store,
    loaded: Arc<OnceCell<()>>,
}

impl SavedServers {
    /// Creates the servers of a process. The store is not read yet.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            known: KnownServers::default(),
            store,
            loaded: Arc::default(),
        }
    }

    /// Returns the known servers, read from the store at the first call. An unreadable store counts
    /// as empty: whoever needs its sessions reports the reason.
    pub(super) async fn known(&self) -> &KnownServers {
        let load = || async {
            let store = self.store.clone();
            if let Ok(Ok(document)) = spawn_blocking(move || store.peek()).await {
                self.known.add_saved(document.servers);
            }
            let changes = self.known.subscribe();
            let saved = changes.borrow().clone();
            tokio::spawn(save_changes(self.store.clone(), changes, saved));
        };

        self.loaded.get_or_init(load).await;

        &self.known
    }
}

/// Saves each change, until nobody can change anything any more.
/// `before` is what was there before the first change.
async fn save_changes(
    store: Store,
    mut changes: watch::Receiver<BTreeMap<String, KnownServer>>,
    mut before: BTreeMap<String, KnownServer>,
) {
    while changes.changed().await.is_ok() {
        let now = changes.borrow_and_update().clone();
        // Another process may know more of the others.
        let mut learned = now.clone();
        learned.retain(|host_key, server| before.get(host_key) != Some(&*server));
        before = now;

        let store = store.clone();
        let saved = spawn_blocking(move || {
            // An unreadable store is left to the next call, which says that it was set aside.
            store.peek()?;

            let saved = store.update(|document| {
                document.servers.extend(learned);
                document
                    .servers
                    .retain(|_, server| server.is_worth_saving());
                forget_oldest(&mut document.servers);
            });
            saved.map_err(|error| with_causes(&error))
        });

        if let Ok(Err(error)) = saved.await {
            let error = escape_line(error);
            tracing::warn!(error, "what was learned of a server is not saved");
        }
    }
}

/// Forgets servers until there are no more than [`MAX_SERVERS`].
fn forget_oldest(servers: &mut BTreeMap<String, KnownServer>) {
    let mut by_age: Vec<_> = servers
        .iter()
        .map(|(host_key, server)| (server.seen, host_key.clone()))
        .collect();
    by_age.sort_unstable();

    let too_many = servers.len().saturating_sub(MAX_SERVERS);
    for (_, host_key) in by_age.into_iter().take(too_many) {
        servers.remove(&host_key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_not_seen_for_longest_are_forgotten() {
        let server = |seen: u64| -> KnownServer {
            serde_json::from_value(serde_json::json!({ "seen": seen })).unwrap()
        };
        let mut servers: BTreeMap<_, _> = (0..2000_u64)
            .map(|number| (format!("SHA256:{number}"), server(number)))
            .collect();

        forget_oldest(&mut servers);
        assert_eq!(servers.len(), MAX_SERVERS);
        assert!(servers.values().all(|server| server.seen >= 1500));
        forget_oldest(&mut servers);
        assert_eq!(servers.len(), MAX_SERVERS);
    }
}
