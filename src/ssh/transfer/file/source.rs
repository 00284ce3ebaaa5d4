//! A file of this machine that is sent.

use std::{
    fs::{File, Metadata},
    io,
    path::PathBuf,
    sync::Arc,
    time::UNIX_EPOCH,
};

use tokio::task::spawn_blocking;

use crate::{
    local::{LocalName, folder::mode_of},
    policy::TransferDirection,
    sftp::attributes::{Attributes, FileType},
    ssh::transfer::{
        Guard, MAX_COMPARED_BYTES, TransferCounters,
        error::TransferError,
        guard::{content_of, seen::FileFactsBefore},
        local::io_threads::Sum,
    },
    tree::{
        entry::{self, EntryKind},
        tally::Unkept,
    },
};

/// An open file, and what was known of it when it was begun.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct SourceFile {
    pub(in crate::ssh::transfer) path: PathBuf,
    pub(in crate::ssh::transfer) file: Arc<File>,
    /// As it was when it was begun: what is appended later is not sent.
    pub(in crate::ssh::transfer) metadata: Metadata,
    pub(in crate::ssh::transfer) sum: Sum,
    /// Whether the copy is compared with it if the link was not lost.
    pub(in crate::ssh::transfer) compared: bool,
    pub(in crate::ssh::transfer) progress: TransferCounters,
}

impl SourceFile {
    /// Opens one that is all that is sent.
    ///
    /// # Errors
    /// It is no regular file, or cannot be read, or is guarded and the person does not allow it.
    pub(in crate::ssh::transfer) async fn open(
        path: PathBuf,
        place: LocalName,
        guard: &Guard,
        progress: TransferCounters,
    ) -> Result<Self, TransferError> {
        let watcher = guard.watcher(TransferDirection::Read).await;

        let look = move || {
            let (file, metadata) = open(&place)?;
            let watch = watcher.begin();

            let question = watch.site_of(&place).and_then(|site| {
                Ok(watch.question(
                    &site,
                    &place,
                    Some(&FileFactsBefore::from_metadata(&metadata)),
                    content_of(&file)?,
                ))
            });

            let question =
                question.map_err(|source| TransferError::local("reading", &place.path, source))?;
            Ok::<_, TransferError>((file, metadata, question))
        };

        let failed = |error| TransferError::local("reading", &path, io::Error::other(error));
        let (file, metadata, question) = spawn_blocking(look).await.map_err(failed)??;
        guard.pass(TransferDirection::Read, question).await?;
        progress.begin(path.to_string_lossy().as_bytes());
        progress.expect(metadata.len());
        let compared = metadata.len() <= MAX_COMPARED_BYTES;

        Ok(Self {
            compared,
            ..Self::of_tree(path, file, metadata, progress)
        })
    }

    /// One of many, which was opened already.
    pub(in crate::ssh::transfer) fn of_tree(
        path: PathBuf,
        file: File,
        metadata: Metadata,
        progress: TransferCounters,
    ) -> Self {
        Self {
            path,
            file: Arc::new(file),
            metadata,
            sum: Sum::default(),
            compared: false,
            progress,
        }
    }

    /// Mode and times for its copy.
    pub(in crate::ssh::transfer) fn attributes(&self) -> Attributes {
        to_set(attributes(&self.metadata))
    }

    /// Whether what was found at the target has its length and time.
    pub(in crate::ssh::transfer) fn is_copied(&self, found: Option<Attributes>) -> bool {
        found.is_some_and(|found| {
            found.kind() == FileType::File
                && found.size == Some(self.metadata.len())
                && found.modified() == self.attributes().modified()
        })
    }

    /// Whether it is another than it was, which is looked at when part of it was sent a while ago. One whose length reads
    /// 0 has what it has at each reading.
    pub(in crate::ssh::transfer) fn has_changed(&mut self) -> Result<bool, TransferError> {
        let now = self
            .file
            .metadata()
            .map_err(|source| TransferError::local("reading", &self.path, source))?;

        let facts = |metadata: &Metadata| (metadata.len(), metadata.modified().ok());
        let changed = facts(&now) != facts(&self.metadata) || now.len() == 0;
        self.metadata = now;

        Ok(changed)
    }
}

/// Mode and time of what is on this machine, as SFTP version 3 carries them: seconds in 32 bits.
pub(in crate::ssh::transfer) fn attributes(metadata: &Metadata) -> entry::EntryAttributes {
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());

    let modified = modified.and_then(|since| u32::try_from(since.as_secs()).ok());
    entry::EntryAttributes {
        mode: Some(mode_of(metadata)),
        modified,
    }
}

/// What is asked of the server so that its copy has them.
pub(in crate::ssh::transfer) fn to_set(attributes: entry::EntryAttributes) -> Attributes {
    let times = attributes.modified.map(|modified| (modified, modified));
    Attributes {
        permissions: attributes.mode,
        times,
        ..Attributes::default()
    }
}

/// What a server has not kept of the attributes that were to be set, by what it says of the copy; `None` if it has refused.
pub(in crate::ssh::transfer) fn unkept(found: Option<&Attributes>, set: &Attributes) -> Unkept {
    let (mode, time) = found.map_or((false, false), |found| {
        (found.has_mode(set), found.has_time(set))
    });

    match (mode, time) {
        (true, true) => Unkept::default(),
        (false, true) => Unkept {
            modes: 1,
            ..Unkept::default()
        },
        (true, false) => Unkept {
            times: 1,
            ..Unkept::default()
        },
        (false, false) => Unkept {
            attributes: 1,
            ..Unkept::default()
        },
    }
}

fn open(place: &LocalName) -> Result<(File, Metadata), TransferError> {
    let path = || place.path.display().to_string();
    let failed = |source| TransferError::local("reading", &place.path, source);

    match place.find().map_err(failed)? {
        Some((EntryKind::Directory, _)) => return Err(TransferError::Directory(path())),
        Some((EntryKind::Special | EntryKind::Link, _)) => {
            return Err(TransferError::NotAFile(path()));
        }
        Some((EntryKind::File(_), _)) | None => {}
    }

    let file = place.open().map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    Ok((file, metadata))
}
