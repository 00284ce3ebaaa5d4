//! What an account may do, found out by requests that change nothing.

use std::sync::atomic::Ordering;

use super::{RequestError, SftpClient};
use crate::{
    sftp::{
        attributes::Attributes,
        request::Access,
        status::{Status, StatusCode},
    },
    ssh::command::remote_host::RemoteHost,
};

impl SftpClient {
    /// Returns the error of a server which starts and then fails at every path, even at the working
    /// directory, as Twisted's for Unix users does. Returns `None` for other servers, and for a server
    /// that answers "permission denied", which is a decision. A server is asked once per log-in.
    pub(in crate::ssh::transfer) async fn failure_at_paths(
        &self,
        host: &RemoteHost,
    ) -> Option<Status> {
        if self.is_openssh() || host.sftp_takes_paths.load(Ordering::Relaxed) {
            return None;
        }

        let failures = match self.realpath(b".").await {
            Err(RequestError::Status(_)) => self.stat(b".").await.err(),
            _ => None,
        };
        match failures {
            Some(RequestError::Status(status)) if status.code != StatusCode::PermissionDenied => {
                Some(status)
            }
            _ => {
                host.sftp_takes_paths.store(true, Ordering::Relaxed);
                None
            }
        }
    }

    /// Returns true if a path leads to a directory whose names can be read. Some servers open
    /// anything as a directory, and notice at the first read.
    pub(in crate::ssh::transfer) async fn is_listed(&self, path: &[u8]) -> bool {
        // Pipelined, so that no file stays open on a channel for pipelined requests.
        if self.pipelines() {
            match self.list_pipelined(path).await {
                Ok(_) if self.pipelines() => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }

        let Ok(handle) = self.opendir(path).await else {
            return false;
        };
        let names = self.readdir(&handle).await;
        self.close_read(&handle).await;

        names.is_ok()
    }

    /// Returns true if the server renames over an existing file in a single step, as far as is known.
    pub(in crate::ssh::transfer) fn replaces(&self) -> bool {
        self.offers("posix-rename@openssh.com")
            && !self.refuses_posix_rename.load(Ordering::Relaxed)
    }

    /// Returns true if the server can rename files. The first call tests this by a request to
    /// rename the missing path `missing`.
    pub(in crate::ssh::transfer) async fn renames(&self, missing: &[u8], to: &[u8]) -> bool {
        let ask = async {
            // Any other error, such as a missing file, proves that the server has tried to rename.
            if self.replaces() {
                match self.posix_rename(missing, to).await {
                    Err(error) if error.is_refused() => {
                        self.refuses_posix_rename.store(true, Ordering::Relaxed);
                    }
                    _ => return true,
                }
            }

            let renamed = self.rename(missing, to).await;
            !renamed.is_err_and(|error| error.is_refused())
        };

        self.is_openssh() || *self.renames.get_or_init(|| ask).await
    }

    /// Returns true if the account may remove files. The first call tests this by a request to
    /// remove the missing path `missing`.
    pub(in crate::ssh::transfer) async fn removes(&self, missing: &[u8]) -> bool {
        let ask = async {
            let removed = self.remove(missing).await;
            !removed.is_err_and(|error| error.is_refused())
        };

        self.is_openssh() || *self.removes.get_or_init(|| ask).await
    }

    /// Returns true if the account may write files. This is tested by a request to open the missing
    /// path `missing` without creating the file.
    pub(in crate::ssh::transfer) async fn writes(&self, missing: &[u8]) -> bool {
        match self
            .open_file(missing, Access::Write, Attributes::default())
            .await
        {
            Ok(handle) => {
                self.close_read(&handle).await;
                true
            }
            Err(error) => !error.is_refused(),
        }
    }
}
