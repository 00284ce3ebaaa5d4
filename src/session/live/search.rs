//! Searches on the remote host.

use super::LiveSession;
use crate::{
    session::{caller::Caller, error::SessionError},
    ssh::{
        command::limits::Signals,
        transfer::{SearchRequest, SearchResult, TransferError, search},
    },
};

impl LiveSession {
    /// Searches a file or a tree. A relative path starts in the directory of the default shell;
    /// `request.directory` is set here.
    ///
    /// # Errors
    /// Returns [`SessionError::Transfer`] with the [`TransferError`], or the error of connecting.
    pub async fn search(
        &self,
        mut request: SearchRequest,
        caller: &Caller,
    ) -> Result<SearchResult, SessionError> {
        let _running = self.running.token();
        if !request.path.starts_with(['/', '~']) {
            request.directory = self.directory().await;
        }

        let mut tried_again = false;
        loop {
            let host = self.host(caller).await?;
            let conditions = self.conditions(None, caller, &Signals::default());

            let error = match search(&host, &request, &conditions).await {
                Ok(result) => return Ok(result),
                Err(error) => error,
            };

            // A search changes nothing, so a second attempt is safe.
            match error {
                TransferError::Ssh(error)
                    if !tried_again && self.drop_dead(&host, &error).await =>
                {
                    tried_again = true;
                }
                TransferError::Cancelled => return Err(SessionError::Cancelled),
                error => return Err(self.transfer(error)),
            }
        }
    }
}
