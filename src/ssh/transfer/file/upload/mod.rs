//! From this machine to the remote host.

mod state;

use std::{path::PathBuf, sync::Arc};

use self::state::UploadState;
use super::source::SourceFile;
use crate::{
    local::LocalName,
    render::escape_line,
    ssh::{
        error::SshError,
        pool::Pool,
        transfer::{
            Guard, RemoteTemp, StopConditions, TransferRequest, client::SftpClient,
            error::TransferError, paths, request::FileResult,
        },
    },
    tree::tally::Tally,
};

/// A file on its way to the remote host.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct Upload {
    wanted: String,
    skip_unchanged: bool,
    local: SourceFile,
    /// What is on the remote host already.
    begun: Option<UploadState>,
}

impl Upload {
    /// Opens the local file, which the person calls `path`.
    ///
    /// # Errors
    /// It is no regular file, or cannot be read, or is guarded, or a path cannot be meant.
    pub(in crate::ssh::transfer) async fn open(
        path: PathBuf,
        place: LocalName,
        guard: &Guard,
        request: &TransferRequest,
    ) -> Result<Self, TransferError> {
        let wanted = paths::remote(&request.remote)?;
        let local = SourceFile::open(path, place, guard, request.progress.clone()).await?;
        Ok(Self {
            wanted,
            skip_unchanged: request.skip_unchanged,
            local,
            begun: None,
        })
    }

    /// One of many files, which goes to this very path.
    ///
    /// # Errors
    /// The system gives no random number.
    pub(in crate::ssh::transfer) fn of_tree(
        local: SourceFile,
        target: &[u8],
    ) -> Result<Self, SshError> {
        let begun = Some(UploadState::new(RemoteTemp::beside(target)?));
        Ok(Self {
            wanted: String::new(),
            skip_unchanged: false,
            local,
            begun,
        })
    }

    /// Sends what has not arrived yet to a temporary file beside the target, and renames that into place, with the local
    /// mode and times.
    ///
    /// # Errors
    /// [`TransferError`]; the remote file that was there before is whole. Nothing else is left behind, but after a lost
    /// link, where the next attempt goes on, or [`remote_temp`](Self::leftover) is to be removed.
    pub(in crate::ssh::transfer) async fn attempt(
        &mut self,
        pool: &Arc<Pool>,
        client: &Arc<SftpClient>,
        conditions: &StopConditions,
    ) -> Result<(String, Tally, bool), TransferError> {
        match client
            .connection()
            .unless_stopped(conditions, self.execute(pool, client))
            .await
        {
            Ok((to, Some(complete))) => {
                self.local.progress.end();
                Ok((to, complete.tally(), complete.verified))
            }
            Ok((to, None)) => Ok((
                to,
                Tally {
                    unchanged: 1,
                    ..Tally::default()
                },
                false,
            )),
            Err(error) => Err(self.tidy_up(error, pool, client).await),
        }
    }

    /// Its link was lost: what is there is doubted.
    pub(in crate::ssh::transfer) fn note_lost(&mut self) {
        if let Some(begun) = &mut self.begun {
            begun.note_lost();
        }
    }

    /// The path of a file that is not whole now, which has no other copy there.
    pub(in crate::ssh::transfer) fn broken(&self) -> Option<&[u8]> {
        self.begun.as_ref().and_then(UploadState::broken)
    }

    /// After an error: removes what is not complete, unless another attempt may go on there. Returns the error with what
    /// has become of the file that was there.
    pub(in crate::ssh::transfer) async fn tidy_up(
        &mut self,
        error: TransferError,
        pool: &Arc<Pool>,
        client: &SftpClient,
    ) -> TransferError {
        if error.is_lost() {
            self.note_lost();
            return error;
        }

        let error = match self.broken() {
            Some(path) => error.in_place(path),
            None => error,
        };

        if let Some(begun) = &mut self.begun
            && begun.remove_over(pool, client).await
        {
            self.local.progress.take_back(begun.arrived());
            self.begun = None;
        }

        error
    }

    /// What is left on the remote host of an attempt that ended with its link.
    #[must_use]
    pub(in crate::ssh::transfer) fn remote_temp(&mut self) -> Option<RemoteTemp> {
        self.begun.take().and_then(UploadState::into_leftover)
    }

    /// The path at the destination, and what has arrived there; `None` if it is unchanged.
    pub(in crate::ssh::transfer) async fn execute(
        &mut self,
        pool: &Arc<Pool>,
        client: &Arc<SftpClient>,
    ) -> Result<(String, Option<FileResult>), TransferError> {
        let Self {
            wanted,
            skip_unchanged,
            local,
            begun,
        } = self;

        let begun = match begun {
            Some(begun) => begun,
            empty => {
                let name = paths::bytes(local.path.file_name().unwrap_or(local.path.as_os_str()));
                let target = paths::target(client, wanted, &name).await?;
                if *skip_unchanged && local.is_copied(client.lstat(&target).await.ok()) {
                    return Ok((escape_line(&target), None));
                }

                empty.insert(UploadState::new(RemoteTemp::beside(&target)?))
            }
        };

        let complete = begun.execute(pool, client, local).await?;
        let to = escape_line(begun.target());
        self.begun = None;

        Ok((to, Some(complete)))
    }
}
