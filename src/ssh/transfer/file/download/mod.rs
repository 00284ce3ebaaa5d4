//! The download of a file: from the remote host to this machine.

mod fetch;

use std::{io, sync::Arc};

use tokio::task::spawn_blocking;

use self::fetch::DownloadState;
pub(in crate::ssh::transfer) use self::fetch::{facts, look};
use super::local_temp::remove_litter;
use crate::{
    local::LocalName,
    policy::TransferDirection,
    sftp::attributes::{Attributes, FileType},
    ssh::{
        command::remote_host::RemoteHost,
        transfer::{
            StopConditions, TransferCounters, TransferRequest,
            client::SftpClient,
            error::{TransferError, shown},
            guard::{Guard, file_facts::FileFactsBefore},
            paths,
            request::{AttemptResult, FileResult},
        },
    },
    tree::{
        entry::{self, EntryKind},
        tally::Unkept,
    },
};

/// Download of a single file. The state survives a lost connection, and the next attempt fetches
/// the rest. Dropping the download removes the temporary file.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct Download {
    /// Path of the remote file.
    wanted: Vec<u8>,
    /// Attributes of the remote file from before the first attempt. `None` after they were used.
    found: Option<Attributes>,
    /// Local file to create or replace.
    target: LocalName,
    skip_unchanged: bool,
    /// True if the file is not part of a tree. Then the progress includes its length, and a short
    /// file is compared by SHA-256 even if no connection was lost.
    alone: bool,
    /// Upper limit of content in flight, in bytes.
    room: u64,
    progress: TransferCounters,
    /// Content received so far. `None` before the transfer begins and after it ends.
    state: Option<DownloadState>,
}

impl Download {
    /// Resolves the local target, and asks the user if the target is guarded. `found` are the
    /// attributes from the server.
    ///
    /// # Errors
    /// The path is invalid, no file can be created there, or the target is guarded and not
    /// permitted.
    pub(in crate::ssh::transfer) async fn new(
        wanted: Vec<u8>,
        found: Attributes,
        guard: &Guard,
        request: &TransferRequest,
    ) -> Result<Self, TransferError> {
        if found.kind() == FileType::Special {
            return Err(TransferError::NotAFile(format!(
                "\"{}\" on the remote host",
                shown(&wanted)
            )));
        }

        let (user_path, name) = (
            request.local.clone(),
            paths::file_name(&String::from_utf8_lossy(&wanted))?.to_owned(),
        );

        // The target is resolved once, to an open directory, and checked there. Later steps use the
        // same directory, so nothing can be exchanged in between.
        let watcher = guard.watcher(TransferDirection::Write).await;

        let find = spawn_blocking(move || {
            let target = local_target(&user_path, &name)?;
            let checks = watcher.begin();
            let finding = checks.site_of(&target).and_then(|site| {
                let facts = FileFactsBefore::at(&target.folder, &target.name)?;
                Ok(checks.finding(&site, &target, facts.as_ref(), None))
            });

            let finding = finding
                .map_err(|source| TransferError::local("looking at", &target.path, source))?;
            Ok::<_, TransferError>((target, finding))
        });

        let failed = |error| {
            TransferError::local(
                "looking at",
                request.local.as_ref(),
                io::Error::other(error),
            )
        };

        let (target, finding) = find.await.map_err(failed)??;
        // Nothing is changed on this machine before the user's answer.
        guard.pass(TransferDirection::Write, finding).await?;
        let litter_target = target.clone();
        spawn_blocking(move || remove_litter(&litter_target))
            .await
            .map_err(failed)?;

        let progress = request.progress.clone();
        progress.begin(&wanted);
        let (skip_unchanged, found) = (request.skip_unchanged, Some(found));

        Ok(Self {
            wanted,
            found,
            target,
            skip_unchanged,
            alone: true,
            room: u64::MAX,
            progress,
            state: None,
        })
    }

    /// Creates the download of a file of a tree, with at most `room` bytes in flight. The caller
    /// has checked the target.
    pub(in crate::ssh::transfer) fn of_tree(
        wanted: Vec<u8>,
        target: LocalName,
        room: u64,
        progress: TransferCounters,
    ) -> Self {
        Self {
            wanted,
            found: None,
            target,
            skip_unchanged: false,
            alone: false,
            room,
            progress,
            state: None,
        }
    }

    /// Fetches the rest of the file into a temporary file next to the target. Renames that file to
    /// the target, with the remote mode and times.
    ///
    /// # Errors
    /// Any [`TransferError`]. The previous local file is unchanged, and no temporary file remains.
    /// After a lost connection, the next attempt continues.
    pub(in crate::ssh::transfer) async fn attempt(
        &mut self,
        host: &Arc<RemoteHost>,
        client: &Arc<SftpClient>,
        conditions: &StopConditions,
    ) -> Result<AttemptResult, TransferError> {
        let to = self.target.path.display().to_string();
        let result = client
            .connection()
            .unless_stopped(conditions, self.execute(host, client))
            .await?;

        if result.is_some() {
            self.progress.count_file();
        }

        Ok(AttemptResult::for_file(to, result))
    }

    /// Fetches the rest of the file and renames the temporary file to the target. Returns `None` if
    /// the file is skipped as unchanged.
    pub(in crate::ssh::transfer) async fn execute(
        &mut self,
        host: &Arc<RemoteHost>,
        client: &Arc<SftpClient>,
    ) -> Result<Option<FileResult>, TransferError> {
        let attributes = match self.found.take() {
            Some(found) => found,
            None => look(client, &self.wanted).await?,
        };

        if self.skip_unchanged && self.is_copied(&attributes).await? {
            return Ok(None);
        }

        // Only a lost connection permits another attempt; after other errors the temporary file has
        // to go.
        let fetched = self.fetch(host, client, attributes).await;
        if fetched.as_ref().is_err_and(|error| !error.is_lost()) {
            self.start_over();
        }

        let verified = fetched?;

        let Some(DownloadState {
            temp,
            received,
            attributes,
            ..
        }) = self.state.take()
        else {
            return Err(TransferError::Cancelled);
        };

        // The sink has flushed the file, so that a crash cannot leave an incomplete file in place of
        // the old one.
        let (to_keep, target) = (attributes_to_keep(&attributes), self.target.clone());
        self.blocking("writing", move || temp.put_in_place(to_keep, &target.name))
            .await?;

        // A file of another length than announced was read to its end. Its length was compared with
        // nothing.
        let unkept = Unkept {
            size: u64::from(facts(&attributes).0 != received),
            ..Unkept::default()
        };

        Ok(Some(FileResult {
            bytes: received,
            verified,
            unkept,
        }))
    }

    /// Returns true if the local file has the length and modification time of the remote file.
    async fn is_copied(&self, remote: &Attributes) -> Result<bool, TransferError> {
        let (target, modified) = (self.target.clone(), remote.modified());
        let found = self.blocking("looking at", move || target.find()).await?;
        let size = remote.size.map(EntryKind::File);
        Ok(found.is_some_and(|(what, here)| Some(what) == size && here.modified == modified))
    }

    /// Runs blocking work for the local file, on a thread of the runtime.
    async fn blocking<T: Send + 'static>(
        &self,
        doing: &'static str,
        task: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, TransferError> {
        let done = spawn_blocking(task)
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        done.map_err(|source| TransferError::local(doing, &self.target.path, source))
    }
}

/// Returns the attributes of a remote file to be set on the local copy.
pub(in crate::ssh::transfer) fn attributes_to_keep(
    attributes: &Attributes,
) -> entry::EntryAttributes {
    entry::EntryAttributes {
        mode: attributes.permissions.map(|mode| mode & 0o7777),
        modified: attributes.modified(),
    }
}

/// Resolves the target of a download. A directory receives the file under `name`; a link is
/// followed; any other path is the target itself.
fn local_target(user_path: &str, name: &str) -> Result<LocalName, TransferError> {
    let path = paths::local(user_path)?;
    let failed = |source| TransferError::local("creating a file next to", &path, source);
    let no_directory = || TransferError::Path(format!("there is no directory {}", path.display()));

    let local_name = match LocalName::resolve(&path) {
        Err(error)
            if error.kind() == io::ErrorKind::NotFound && paths::names_directory(user_path) =>
        {
            return Err(no_directory());
        }
        local_name => local_name.map_err(failed)?,
    };

    let local_name = match local_name.find().map_err(failed)? {
        Some((EntryKind::Directory, _)) => {
            let folder = local_name.folder.enter(&local_name.name).map_err(failed)?;
            LocalName::inside(folder, name.as_bytes(), local_name.path.join(name))
                .map_err(failed)?
        }
        // A trailing slash demands a directory, so no file is made under that name.
        _ if paths::names_directory(user_path) => return Err(no_directory()),
        _ => local_name,
    };

    match local_name.find().map_err(failed)? {
        Some((EntryKind::Directory, _)) => Err(TransferError::Directory(
            local_name.path.display().to_string(),
        )),
        Some((EntryKind::Special, _)) => Err(TransferError::NotAFile(
            local_name.path.display().to_string(),
        )),
        _ => Ok(local_name),
    }
}
