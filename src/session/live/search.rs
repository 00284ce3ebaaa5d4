//! Searches on the remote host.

use super::{LiveSession, Permit};
use crate::{
    session::{caller::Caller, error::SessionError, work::RemoteRead},
    ssh::{
        command::limits::Signals,
        transfer::{SearchRequest, SearchResult, search},
    },
};

impl LiveSession {
    /// Searches a file or a tree. A relative path starts in the directory of the default shell;
    /// `request.directory` is set here.
    ///
    /// # Errors
    /// Returns [`SessionError::Transfer`], or the error of connecting.
    pub async fn search(
        &self,
        mut request: SearchRequest,
        permit: &Permit<RemoteRead>,
        caller: &Caller,
    ) -> Result<SearchResult, SessionError> {
        let _running = self.running.token();
        let path = permit.work().path.clone();
        request.path = self.remote_path(path, &permit.grant, caller).await?;
        request.directory = self.start_of([request.path.as_bytes()]).await;

        let mut tried_again = false;
        loop {
            let host = self.host(&permit.grant, caller).await?;
            let conditions = self.conditions(None, caller, &Signals::default());

            match search(&host, &request, &conditions).await {
                Ok(result) => return Ok(result),
                Err(error) => self.try_again(&mut tried_again, &host, error).await?,
            }
        }
    }
}
