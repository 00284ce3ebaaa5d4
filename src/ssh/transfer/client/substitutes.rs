//! Requests which stand in for those that a server refuses.

use super::{RequestError, SftpClient};
use crate::sftp::{attributes::Attributes, handle::Handle, request::SftpRequest};

/// Mode of a link whose attributes are not known.
const LINK: u32 = 0o120_777;

impl SftpClient {
    /// Returns the attributes of a path. A link is not followed. A server without this request is
    /// asked in other ways, which show little of a link.
    pub(in crate::ssh::transfer) async fn lstat(
        &self,
        path: &[u8],
    ) -> Result<Attributes, RequestError> {
        let found = self.attributes(SftpRequest::Lstat(path)).await;
        let Err(refused) = found else { return found };
        if !refused.is_refused() {
            return Err(refused);
        }

        let (link, found) = tokio::join!(self.readlink(path), self.stat(path));
        if link.is_ok() {
            return Ok(Attributes::mode(LINK));
        }
        found.map_err(|error| if error.is_refused() { refused } else { error })
    }

    /// Returns the attributes of an open file, by its path if the server does not tell them by the
    /// handle.
    pub(in crate::ssh::transfer) async fn fstat_or_stat(
        &self,
        handle: &Handle,
        path: &[u8],
    ) -> Result<Attributes, RequestError> {
        match self.fstat(handle).await {
            Err(RequestError::Status(_)) => self.stat(path).await,
            found => found,
        }
    }
}
