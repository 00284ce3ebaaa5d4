//! The audit log, as the settings want it at the time of each call.

use std::{io, path::PathBuf, sync::Arc};

use tokio::task::spawn_blocking;

use super::SessionRegistry;
use crate::session::audit_log::{AskedCall, AuditError, RecordedCall};

impl SessionRegistry {
    /// Records that a call begins. Returns `None` if the settings want no record, or if the call
    /// could not be recorded and may go on without.
    ///
    /// # Errors
    /// The settings require the record, which could not be written: the call must not go on.
    pub async fn record_call(
        &self,
        asked: impl FnOnce() -> AskedCall,
    ) -> Result<Option<RecordedCall>, AuditError> {
        let (log, file) = (
            Arc::clone(&self.audit_log),
            Arc::clone(&self.session_env.settings),
        );

        // Most users have no such file, and the look for it must not cost a thread.
        let has_file = file
            .path()
            .is_some_and(|path| path.symlink_metadata().is_ok());
        if !has_file && !log.is_wanted() {
            return Ok(None);
        }

        let asked = asked();
        spawn_blocking(move || log.begin(&file, asked))
            .await
            .unwrap_or_else(|error| Err(AuditError::Write(PathBuf::new(), io::Error::other(error))))
    }
}
