//! The source of a file that is sent: a local file, or a file on another host.

use std::{
    fs::{File, Metadata},
    io,
    path::PathBuf,
    sync::Arc,
    time::UNIX_EPOCH,
};

use futures_util::future::BoxFuture;
use tokio::task::spawn_blocking;

use crate::{
    local::{LocalName, folder::mode_of},
    policy::TransferDirection,
    sftp::attributes::{Attributes, FileType},
    ssh::transfer::{
        Guard, MAX_UNSIZED_BYTES, TransferCounters,
        error::{TransferError, as_text},
        file::origin_file::OriginFile,
        guard::{content_of, file_facts::FileFactsBefore},
        local::{
            io_threads::{FileSource, pipe},
            sum::Sum,
        },
        origin::Origin,
        paths,
    },
    tree::{
        entry::{self, EntryKind},
        tally::Unkept,
    },
};

/// File to be sent, with the metadata from the beginning of the transfer.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct SourceFile {
    /// Path of the file, for messages.
    pub(in crate::ssh::transfer) path: PathBuf,
    content: SourceContent,
    /// SHA-256 of the content read so far.
    pub(in crate::ssh::transfer) sum: Sum,
    /// True if the file is not part of a tree.
    pub(in crate::ssh::transfer) alone: bool,
    pub(in crate::ssh::transfer) progress: TransferCounters,
}

/// Place of the content of a [`SourceFile`].
#[derive(Debug)]
enum SourceContent {
    /// Open local file, with its metadata. Content appended later is not sent.
    Local { file: Arc<File>, metadata: Metadata },
    /// File on another host.
    Origin(OriginFile),
}

impl SourceFile {
    /// Opens the only file of an upload, and asks the user if the file is guarded.
    ///
    /// # Errors
    /// The file is not a regular file, cannot be read, or is guarded and not permitted.
    pub(in crate::ssh::transfer) async fn open(
        path: PathBuf,
        local_name: LocalName,
        guard: &Guard,
        progress: TransferCounters,
    ) -> Result<Self, TransferError> {
        let watcher = guard.watcher(TransferDirection::Read).await;

        let look = move || {
            // Opened first: the open file is checked, and cannot be exchanged before it is sent.
            let (file, metadata) = open(&local_name)?;
            let checks = watcher.begin();

            let finding = checks.site_of(&local_name).and_then(|site| {
                Ok(checks.finding(
                    &site,
                    &local_name,
                    Some(&FileFactsBefore::from_metadata(&metadata)),
                    content_of(&file)?,
                ))
            });

            let finding = finding
                .map_err(|source| TransferError::local("reading", &local_name.path, source))?;
            Ok::<_, TransferError>((file, metadata, finding))
        };

        let failed = |error| TransferError::local("reading", &path, io::Error::other(error));
        let (file, metadata, finding) = spawn_blocking(look).await.map_err(failed)??;
        guard.pass(TransferDirection::Read, finding).await?;
        // After the question, so that a refused file does not appear in the progress.
        progress.begin(path.to_string_lossy().as_bytes());
        progress.expect(metadata.len());

        Ok(Self {
            alone: true,
            ..Self::of_tree(path, file, metadata, progress)
        })
    }

    /// Wraps an open file of a tree.
    pub(in crate::ssh::transfer) fn of_tree(
        path: PathBuf,
        file: File,
        metadata: Metadata,
        progress: TransferCounters,
    ) -> Self {
        Self {
            path,
            content: SourceContent::Local {
                file: Arc::new(file),
                metadata,
            },
            sum: Sum::default(),
            alone: false,
            progress,
        }
    }

    /// Wraps a file on another host. `alone` is false for a file of a tree.
    pub(in crate::ssh::transfer) fn on_origin(
        file: OriginFile,
        alone: bool,
        progress: TransferCounters,
    ) -> Self {
        Self {
            path: as_text(&file.path).into(),
            sum: Sum::default(),
            alone,
            content: SourceContent::Origin(file),
            progress,
        }
    }

    /// Returns the name of the file, without a path.
    pub(in crate::ssh::transfer) fn name(&self) -> Vec<u8> {
        match &self.content {
            SourceContent::Local { .. } => {
                paths::bytes(self.path.file_name().unwrap_or(self.path.as_os_str()))
            }
            SourceContent::Origin(file) => file.name().to_vec(),
        }
    }

    /// Returns the length, in bytes. 0 means that the length is unknown.
    pub(in crate::ssh::transfer) fn len(&self) -> u64 {
        match &self.content {
            SourceContent::Local { metadata, .. } => metadata.len(),
            SourceContent::Origin(file) => file.len(),
        }
    }

    /// Returns the mode and times to be set on the remote copy.
    pub(in crate::ssh::transfer) fn attributes(&self) -> Attributes {
        to_set(match &self.content {
            SourceContent::Local { metadata, .. } => attributes(metadata),
            SourceContent::Origin(file) => file.attributes(),
        })
    }

    /// Returns the bytes for which memory is needed. A tree reserves it before the file is read.
    pub(in crate::ssh::transfer) fn needed_memory(&self) -> u64 {
        match &self.content {
            SourceContent::Local { metadata, .. } => metadata.len(),
            SourceContent::Origin(file) => file.most,
        }
    }

    /// Reads a file on another host over the channel of this attempt from now on.
    pub(in crate::ssh::transfer) fn read_from(&mut self, origin: &Origin) {
        if let SourceContent::Origin(file) = &mut self.content {
            file.origin = origin.clone();
        }
    }

    /// Returns the other host and the path there, if the file is not on this machine.
    pub(in crate::ssh::transfer) fn origin(&self) -> Option<&OriginFile> {
        match &self.content {
            SourceContent::Local { .. } => None,
            SourceContent::Origin(file) => Some(file),
        }
    }

    /// Returns the content from `from` on in pieces of `length` bytes, and the work which has to
    /// run meanwhile. With `compared`, another host compares by SHA-256 what it has sent. The work
    /// returns false if the file there is not known to be what was read.
    pub(in crate::ssh::transfer) fn pieces(
        &self,
        from: u64,
        length: u32,
        compared: bool,
    ) -> (
        FileSource,
        impl Future<Output = Result<bool, TransferError>>,
    ) {
        let sum = self.sum.clone();
        let (source, reading) = match &self.content {
            SourceContent::Local { file, metadata } => {
                let end = match metadata.len() {
                    0 => MAX_UNSIZED_BYTES,
                    end => end,
                };
                (
                    FileSource::new(Arc::clone(file), from, end, length, sum),
                    None,
                )
            }
            SourceContent::Origin(file) => {
                let (sink, source) = pipe(from, length, sum.clone());
                // On the heap, as most files that are sent need no such work.
                let reading: BoxFuture<'_, _> = Box::pin(file.read(sink, from, sum, compared));
                (source, Some(reading))
            }
        };

        let reading = async {
            match reading {
                Some(reading) => reading.await,
                None => Ok(true),
            }
        };
        (source, reading)
    }

    /// Returns true if the file found at the target has the same length and modification time.
    pub(in crate::ssh::transfer) fn is_copied(&self, found: Option<Attributes>) -> bool {
        found.is_some_and(|found| {
            found.kind() == FileType::File
                && found.size == Some(self.len())
                && found.modified() == self.attributes().modified()
        })
    }

    /// Returns true if the file changed since the last look, which matters before an attempt
    /// continues. A file whose length reads 0 always counts as changed.
    ///
    /// # Errors
    /// The metadata cannot be read.
    pub(in crate::ssh::transfer) async fn has_changed(&mut self) -> Result<bool, TransferError> {
        let (file, metadata) = match &mut self.content {
            SourceContent::Local { file, metadata } => (file, metadata),
            SourceContent::Origin(file) => return file.has_changed().await,
        };

        let now = file
            .metadata()
            .map_err(|source| TransferError::local("reading", &self.path, source))?;

        // Such files, as in `/proc`, may have other content at each reading.
        let facts = |metadata: &Metadata| (metadata.len(), metadata.modified().ok());
        let changed = facts(&now) != facts(metadata) || now.len() == 0;
        *metadata = now;

        Ok(changed)
    }

    /// Returns true if a local file has another length by now. The content of another host is
    /// checked when it arrives.
    pub(in crate::ssh::transfer) fn has_other_length(&self) -> bool {
        match &self.content {
            SourceContent::Local { file, metadata } => {
                file.metadata().is_ok_and(|now| now.len() != metadata.len())
            }
            SourceContent::Origin(_) => false,
        }
    }
}

/// Returns the mode and modification time of a local file in the form of SFTP version 3: seconds in
/// 32 bits. A time outside of that range becomes `None`.
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

/// Returns the SFTP attributes which set a mode and modification time. The access time becomes the
/// modification time, because version 3 sets only both.
pub(in crate::ssh::transfer) fn to_set(attributes: entry::EntryAttributes) -> Attributes {
    let times = attributes.modified.map(|modified| (modified, modified));
    Attributes {
        permissions: attributes.mode,
        times,
        ..Attributes::default()
    }
}

/// Returns which of the requested attributes a server did not keep, according to the attributes
/// found on the copy. `None` means that the server refused to tell.
pub(in crate::ssh::transfer) fn unkept(found: Option<&Attributes>, set: &Attributes) -> Unkept {
    // Without an answer nothing is known to be kept.
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

/// Opens a local file for reading, with its metadata.
///
/// # Errors
/// The name stands for a directory or special file, or the file cannot be read.
fn open(local_name: &LocalName) -> Result<(File, Metadata), TransferError> {
    let path = || local_name.path.display().to_string();
    let failed = |source| TransferError::local("reading", &local_name.path, source);

    // Looked at first, so that the error names a directory or device.
    match local_name.find().map_err(failed)? {
        Some((EntryKind::Directory, _)) => return Err(TransferError::Directory(path())),
        Some((EntryKind::Special | EntryKind::Link, _)) => {
            return Err(TransferError::NotAFile(path()));
        }
        Some((EntryKind::File(_), _)) | None => {}
    }

    let file = local_name.open().map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    Ok((file, metadata))
}
