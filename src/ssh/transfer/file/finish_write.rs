//! The end of a write to a remote file: mode and times are set, the length is checked, and the file
//! is closed.

use std::sync::Arc;

use super::source::unkept;
use crate::{
    sftp::{attributes::Attributes, handle::Handle, status::StatusCode},
    ssh::transfer::{
        client::{RequestError, SftpClient},
        error::{TransferError, shown},
    },
    tree::tally::Unkept,
};

/// Requests that finish a file whose content was sent. Each way to send them consumes the value,
/// and reports the first request that failed.
pub(in crate::ssh::transfer) struct FinishWrite<'a> {
    pub(in crate::ssh::transfer) client: &'a SftpClient,
    /// Handle of the open file on `client`.
    pub(in crate::ssh::transfer) handle: &'a Handle,
    /// Path of the target, for error messages.
    pub(in crate::ssh::transfer) target: &'a [u8],
    /// Mode and times to set.
    pub(in crate::ssh::transfer) attributes: Attributes,
    /// Number of bytes sent, which has to be the length of the file.
    pub(in crate::ssh::transfer) length: u64,
    /// True if the content is flushed to the disk, as far as the server offers that.
    pub(in crate::ssh::transfer) flushes: bool,
}

impl FinishWrite<'_> {
    /// Finishes the file after `write`, with all requests in flight at once. OpenSSH's server
    /// answers the requests for a file in order. Returns the properties which the server did not
    /// keep.
    ///
    /// # Errors
    /// A request failed, or the remote file has another length.
    pub(in crate::ssh::transfer) async fn at_once(
        self,
        write: impl Future<Output = Result<(), RequestError>>,
    ) -> Result<Unkept, TransferError> {
        let Self { client, handle, .. } = self;

        let flush = async {
            if self.can_flush() {
                client.fsync(handle).await
            } else {
                Ok(())
            }
        };

        let (written, found, set, flushed, closed) = tokio::join!(
            write,
            client.fstat(handle),
            client.fsetstat(handle, self.attributes),
            flush,
            client.close(handle)
        );

        self.check("writing", written)?;
        let found = self.check("checking", unless_refused(found))?;
        let found = found.and_then(|found| found.size);
        self.check_length(found)?;
        // The content has arrived, so the upload succeeds even if the server refuses mode and times.
        let attributes_set = self.check("setting mode and times of", unless_refused(set))?;
        self.check("writing to disk", flushed)?;
        self.check("closing", closed)?;

        Ok(Unkept {
            attributes: u64::from(attributes_set.is_none()),
            size: u64::from(found.is_none()),
            ..Unkept::default()
        })
    }

    /// Finishes the file at `path`, with each request after the previous reply. Other servers may
    /// write, or set the modification time, at the close. Sets `open` to `None` before the close.
    /// Returns the properties which the server did not keep.
    ///
    /// # Errors
    /// A request failed, or the remote file has another length.
    pub(in crate::ssh::transfer) async fn in_steps(
        self,
        path: &[u8],
        open: &mut Option<(Arc<SftpClient>, Handle)>,
    ) -> Result<Unkept, TransferError> {
        let client = self.client;

        if self.can_flush() {
            // Some servers offer the extension and then refuse it.
            let flushed = client.fsync(self.handle).await;
            match flushed.as_ref().map_err(RequestError::code) {
                Err(Some(StatusCode::Unsupported | StatusCode::PermissionDenied)) => {}
                _ => self.check("writing to disk", flushed)?,
            }
        }

        *open = None;
        self.check("closing", client.close(self.handle).await)?;

        let set = unless_refused(client.setstat(path, self.attributes).await);
        self.check("setting mode and times of", set)?;

        let found = match client.stat(path).await {
            // A temporary file must still exist. A drop box may take a file away once it has its
            // final name.
            Err(error) if error.code() == Some(StatusCode::NoSuchFile) && path != self.target => {
                Err(error)
            }
            found => unless_refused(found),
        };

        let found = self.check("checking", found)?;
        let length = found.as_ref().and_then(|found| found.size);
        self.check_length(length)?;

        Ok(Unkept {
            size: u64::from(length.is_none()),
            ..unkept(found.as_ref(), &self.attributes)
        })
    }

    fn can_flush(&self) -> bool {
        self.flushes && self.client.offers("fsync@openssh.com")
    }

    /// Converts the error of a request.
    fn check<T>(
        &self,
        doing: &'static str,
        result: Result<T, RequestError>,
    ) -> Result<T, TransferError> {
        result.map_err(self.client.failed(doing, self.target))
    }

    /// Compares the length found by the server, if any, with the number of bytes sent.
    fn check_length(&self, found: Option<u64>) -> Result<(), TransferError> {
        match found {
            Some(found) if found != self.length => Err(TransferError::Length {
                path: shown(self.target),
                found,
                expected: self.length,
            }),
            _ => Ok(()),
        }
    }
}

/// Converts a refusal to `None`, for requests which a file can do without.
fn unless_refused<T>(answer: Result<T, RequestError>) -> Result<Option<T>, RequestError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(RequestError::Status(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
