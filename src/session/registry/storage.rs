//! Access of a registry to the store, off the async threads.

use std::path::PathBuf;

use tokio::task::spawn_blocking;

use super::SessionRegistry;
use crate::{
    lock::lock,
    session::{
        saved::StoreDocument,
        store::{LoadedStore, StoreError},
    },
};

impl SessionRegistry {
    /// Reads the store on a blocking thread.
    pub(super) async fn load(&self) -> Result<LoadedStore, StoreError> {
        let store = self.store.clone();
        off_thread(move || store.load())
            .await
            .map(|loaded| self.remember(loaded))
    }

    /// Changes the store on a blocking thread.
    pub(super) async fn update(
        &self,
        change: impl FnOnce(&mut StoreDocument) + Send + 'static,
    ) -> Result<(), StoreError> {
        let store = self.store.clone();
        let loaded = off_thread(move || store.update(change)).await?;
        self.remember(loaded);
        Ok(())
    }

    /// Changes the store like `update`, but succeeds if there is no place for a store, which then
    /// holds nothing to change.
    pub(super) async fn update_if_there(
        &self,
        change: impl FnOnce(&mut StoreDocument) + Send + 'static,
    ) -> Result<(), StoreError> {
        match self.update(change).await {
            Err(StoreError::Nowhere) => Ok(()),
            updated => updated,
        }
    }

    /// Keeps the notice of a loaded store for the next call able to report the notice.
    ///
    /// A store is set aside only once, by whichever call reads it first.
    fn remember(&self, loaded: LoadedStore) -> LoadedStore {
        if let Some(notice) = &loaded.notice {
            *lock(&self.notice) = Some(notice.clone());
        }
        loaded
    }

    /// Takes the pending notices about the store and the audit log.
    pub(super) fn take_notice(&self) -> Option<String> {
        let store = lock(&self.notice).take();
        let notices = [store, self.audit_log.take_notice()].into_iter().flatten();
        let notices: Vec<String> = notices.collect();

        (!notices.is_empty()).then(|| notices.join("; "))
    }
}

/// Runs blocking file work off the async threads.
async fn off_thread<T: Send + 'static>(
    operation: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match spawn_blocking(operation).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::Read(
            PathBuf::new(),
            std::io::Error::other(error),
        )),
    }
}
