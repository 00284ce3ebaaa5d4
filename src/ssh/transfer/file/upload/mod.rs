//! The upload of a file: from this machine, or from another host, to the remote host.

mod state;

use std::{path::PathBuf, sync::Arc};

use self::state::UploadState;
use super::source::SourceFile;
use crate::{
    foreign_text::escape_line,
    local::LocalName,
    ssh::{
        command::remote_host::RemoteHost,
        error::SshError,
        transfer::{
            Guard, RemoteTemp, StopConditions, TransferRequest,
            client::SftpClient,
            error::{TransferError, shown},
            file::origin_file::OriginFile,
            origin::{Origin, unless_stopped},
            paths,
            request::{AttemptResult, FileResult},
        },
    },
};

/// Upload of a single file. The state survives a lost connection, and the next attempt sends the
/// rest. Dropping the upload does not remove the temporary remote file.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct Upload {
    /// Target as typed by the user. Empty for a file of a tree.
    wanted: String,
    skip_unchanged: bool,
    /// File to send.
    local: SourceFile,
    /// State of the remote file. `None` before the target is resolved, and after the file was
    /// removed.
    state: Option<UploadState>,
}

impl Upload {
    /// Opens the local file for an upload, and asks the user if the file is guarded. `path` is the
    /// path as typed.
    ///
    /// # Errors
    /// The file is not a regular file, cannot be read, or is guarded and not permitted. The remote
    /// path is invalid.
    pub(in crate::ssh::transfer) async fn open(
        path: PathBuf,
        local_name: LocalName,
        guard: &Guard,
        request: &TransferRequest,
    ) -> Result<Self, TransferError> {
        let wanted = paths::remote(&request.remote)?;
        let local = SourceFile::open(path, local_name, guard, request.progress.clone()).await?;
        Ok(Self {
            wanted,
            skip_unchanged: request.skip_unchanged,
            local,
            state: None,
        })
    }

    /// Creates the upload of a file on another host.
    ///
    /// # Errors
    /// The remote path is invalid, or the path on the other host has no last name.
    pub(in crate::ssh::transfer) fn from_origin(
        file: OriginFile,
        request: &TransferRequest,
    ) -> Result<Self, TransferError> {
        paths::file_name(&request.local)?;
        let local = SourceFile::on_origin(file, true, request.progress.clone());
        local.progress.begin(&local.name());
        local.progress.expect(local.len());

        Ok(Self {
            wanted: paths::remote(&request.remote)?,
            skip_unchanged: request.skip_unchanged,
            local,
            state: None,
        })
    }

    /// Returns the bytes for which memory is needed.
    pub(in crate::ssh::transfer) fn needed_memory(&self) -> u64 {
        self.local.needed_memory()
    }

    /// Reads a file on another host over the channel of this attempt from now on.
    pub(in crate::ssh::transfer) fn read_from(&mut self, origin: &Origin) {
        self.local.read_from(origin);
    }

    /// Creates the upload of a file of a tree, with `target` as the final path.
    ///
    /// # Errors
    /// The system provides no random number.
    pub(in crate::ssh::transfer) fn of_tree(
        local: SourceFile,
        target: &[u8],
    ) -> Result<Self, SshError> {
        let state = Some(UploadState::new(RemoteTemp::next_to(target)?));
        Ok(Self {
            wanted: String::new(),
            skip_unchanged: false,
            local,
            state,
        })
    }

    /// Sends the rest of the file to a temporary file next to the target. Renames that file to the
    /// target, with the local mode and times.
    ///
    /// # Errors
    /// Any [`TransferError`]. The previous remote file is unchanged and no other file remains.
    /// After a lost connection, the next attempt continues, or [`remote_temp`](Self::remote_temp)
    /// has to be removed.
    pub(in crate::ssh::transfer) async fn attempt(
        &mut self,
        host: &Arc<RemoteHost>,
        client: &Arc<SftpClient>,
        conditions: &StopConditions,
        origin: Option<&Origin>,
    ) -> Result<AttemptResult, TransferError> {
        let transfer = unless_stopped(origin, self.execute(host, client));
        match client
            .connection()
            .unless_stopped(conditions, transfer)
            .await
        {
            Ok((to, result)) => {
                if result.is_some() {
                    self.local.progress.count_file();
                }

                Ok(AttemptResult::for_file(to, result))
            }
            Err(error) => Err(self.tidy_up(error, host, client).await),
        }
    }

    /// Records a lost connection, after which the content on the remote host has to be verified.
    pub(in crate::ssh::transfer) fn note_lost(&mut self) {
        if let Some(state) = &mut self.state {
            state.note_lost();
        }
    }

    /// Returns the path of a remote file which is incomplete, and whose old content is lost.
    pub(in crate::ssh::transfer) fn broken(&self) -> Option<&[u8]> {
        self.state.as_ref().and_then(UploadState::broken)
    }

    /// Removes the incomplete remote file after an error, unless another attempt may continue.
    /// Returns the error, extended by the state of the target.
    pub(in crate::ssh::transfer) async fn tidy_up(
        &mut self,
        error: TransferError,
        host: &Arc<RemoteHost>,
        client: &SftpClient,
    ) -> TransferError {
        if error.is_lost() {
            self.note_lost();
            return error;
        }

        // The user has to know that the old content is gone.
        let error = match self.broken() {
            Some(path) => error.in_place(path),
            None => error,
        };

        // Kept if the removal fails: the caller still has to remove the file.
        if let Some(state) = &mut self.state
            && state.close_and_remove(host, client).await
        {
            self.local.progress.take_back(state.arrived());
            self.state = None;
        }

        error
    }

    /// Returns and forgets the temporary remote file which a lost connection left behind.
    #[must_use]
    pub(in crate::ssh::transfer) fn remote_temp(&mut self) -> Option<RemoteTemp> {
        self.state.take().and_then(UploadState::into_remote_temp)
    }

    /// Sends the rest of the file and renames the temporary file to the target. Returns the path at
    /// the destination, and the result, or `None` if the file is skipped as unchanged.
    ///
    /// # Errors
    /// Any [`TransferError`]. The caller then calls [`tidy_up`](Self::tidy_up).
    pub(in crate::ssh::transfer) async fn execute(
        &mut self,
        host: &Arc<RemoteHost>,
        client: &Arc<SftpClient>,
    ) -> Result<(String, Option<FileResult>), TransferError> {
        let Self {
            wanted,
            skip_unchanged,
            local,
            state,
        } = self;

        // The target is resolved only once, so that a later attempt continues with the same file.
        let state = match state {
            Some(state) => state,
            empty => {
                let target = paths::target(client, wanted, &local.name()).await?;
                if let Some(file) = local.origin()
                    && file.origin.is(host)
                    && file
                        .origin
                        .client
                        .realpath(&file.path)
                        .await
                        .is_ok_and(|path| *path == *target)
                {
                    return Err(TransferError::Itself(shown(&target)));
                }

                if *skip_unchanged && local.is_copied(client.lstat(&target).await.ok()) {
                    return Ok((escape_line(&target), None));
                }

                empty.insert(UploadState::new(RemoteTemp::next_to(&target)?))
            }
        };

        let complete = state.execute(host, client, local).await?;
        // Nothing remains to be removed after the rename.
        let to = escape_line(state.target());
        self.state = None;

        Ok((to, Some(complete)))
    }
}
