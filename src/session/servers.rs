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
            store.update(|document| {
                document.servers.extend(learned);
                document
                    .servers
                    .retain(|_, server| server.is_worth_saving());
            })
        });

        if let Ok(Err(error)) = saved.await {
            let error = escape_line(with_causes(&error));
            tracing::warn!(error, "what was learned of a server is not saved");
        }
    }
}
