//! A directory of this machine as the source of an upload.

use std::{
    fs::{File, Metadata},
    io::{self, Read as _},
    path::PathBuf,
    sync::Arc,
};

use tokio::task::spawn_blocking;

use crate::{
    local::Folder,
    policy::{GuardReason, TransferDirection},
    sftp::content::Chunk,
    ssh::transfer::{
        TransferError,
        file::source::{SourceFile, attributes},
        guard::{Guard, content, content_of, file_facts::FileFactsBefore},
        tree::{
            TreeContext,
            entry_filter::EntryFilter,
            local::{self, LocalListing, Root},
        },
    },
    tree::entry::{Directory, DirectoryEntry, EntryAttributes, EntryKind, Leaf},
};

/// Open directory of this machine, without the guarded entries inside.
#[derive(Debug)]
pub(in crate::ssh::transfer::tree::upload) struct LocalTree {
    /// Path of the directory, for display.
    path: PathBuf,
    /// Open root of the tree.
    root: Arc<Root>,
    /// Filter for guarded entries. `None` if the user permitted the whole tree.
    filter: Option<Arc<EntryFilter>>,
}

impl LocalTree {
    /// Asks the user if the directory itself is guarded. `path` is the path as typed.
    ///
    /// # Errors
    /// The directory cannot be read, or is guarded and not permitted.
    pub(in crate::ssh::transfer::tree::upload) async fn open_root(
        path: PathBuf,
        from: Folder,
        guard: &Guard,
    ) -> Result<Self, TransferError> {
        let (watcher, from, user_path) = (
            guard.watcher(TransferDirection::Read).await,
            Arc::new(from),
            path.clone(),
        );

        let root = Arc::clone(&from);

        let look = move || {
            let checks = watcher.begin();
            let site = checks.site(&root, &user_path)?;
            Ok::<_, io::Error>((
                site.finding(),
                EntryFilter::new(TransferDirection::Read, checks, site),
            ))
        };

        let looked = spawn_blocking(look)
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));

        let (finding, filter) =
            looked.map_err(|source| TransferError::local("reading", &path, source))?;
        guard.pass(TransferDirection::Read, finding).await?;

        let (root, filter) = (Arc::new(Root::new(from)), filter.map(Arc::new));

        Ok(Self { path, root, filter })
    }

    /// Returns the mode and modification time of the root.
    pub(super) async fn attributes(
        &self,
        context: &TreeContext,
    ) -> Result<EntryAttributes, TransferError> {
        let (root, path) = (Arc::clone(&self.root), self.path.clone());
        let look = move || {
            root.attributes()
                .map_err(|source| TransferError::local("reading", &path, source))
        };

        context.disk(look).await
    }

    /// Lists a directory, without guarded directories.
    pub(super) async fn list(
        &self,
        context: &TreeContext,
        directory: &Arc<Directory>,
    ) -> Result<LocalListing, TransferError> {
        let path = local::path(&self.path, &directory.names());
        let (root, wanted, filter) = (
            Arc::clone(&self.root),
            Arc::clone(directory),
            self.filter.clone(),
        );

        let list = move || {
            let listed = root.below(&wanted.names()).and_then(|folder| {
                let mut listing = local::list(&folder)?;
                if let Some(filter) = filter {
                    // Files are checked after they are opened, so that they cannot be exchanged
                    // between.
                    let is_directory = |entry: &DirectoryEntry| entry.what == EntryKind::Directory;
                    let look = |entry: &DirectoryEntry| {
                        FileFactsBefore::at(&folder, &entry.name).ok().flatten()
                    };

                    filter.sift(&wanted, &mut listing, |entry| {
                        is_directory(entry).then(|| look(entry)).flatten()
                    });
                }

                Ok(listing)
            });

            listed.map_err(|source| TransferError::local("reading", &path, source))
        };

        context.disk(list).await
    }

    /// Returns the destination of a link.
    pub(super) async fn read_link(
        &self,
        context: &TreeContext,
        leaf: &Leaf,
    ) -> Result<Vec<u8>, TransferError> {
        self.read(context, leaf, Folder::read_link).await
    }

    /// Reads a small file that is not guarded.
    pub(super) async fn read_small(
        &self,
        context: &TreeContext,
        leaf: &Leaf,
        size: u64,
    ) -> Result<Option<(Chunk, EntryAttributes)>, TransferError> {
        let filter = self.filter.clone();

        let read = move |folder: &Folder, name: &[u8]| {
            let read = read_whole(folder.open(name)?, size)?;
            // The content that is checked is the content that is sent, so nothing can change in
            // between.
            let guarded = match (&read, filter) {
                (Some((chunk, metadata)), Some(filter)) => {
                    filter.opened(metadata, || Ok(content(chunk.content())))?
                }
                _ => None,
            };

            Ok((read, guarded))
        };

        let (read, guarded) = self.read(context, leaf, read).await?;
        self.unless(guarded, leaf)?;
        Ok(read.map(|(chunk, metadata)| (chunk, attributes(&metadata))))
    }

    /// Opens a file that is not guarded.
    pub(super) async fn open(
        &self,
        context: &TreeContext,
        leaf: &Leaf,
    ) -> Result<SourceFile, TransferError> {
        let filter = self.filter.clone();

        let open = move |folder: &Folder, name: &[u8]| {
            // The open file is checked, because another file may get its name in the meantime.
            let file = folder.open(name)?;
            let metadata = file.metadata()?;
            let guarded = filter
                .map(|filter| filter.opened(&metadata, || content_of(&file)))
                .transpose()?;
            Ok((file, metadata, guarded.flatten()))
        };

        let (file, metadata, guarded) = self.read(context, leaf, open).await?;
        self.unless(guarded, leaf)?;

        Ok(SourceFile::of_tree(
            self.path_of(leaf),
            file,
            metadata,
            context.progress.clone(),
        ))
    }

    /// Returns the path of an entry, for display.
    fn path_of(&self, leaf: &Leaf) -> PathBuf {
        let mut names = leaf.directory.names();
        names.push(&leaf.name);
        local::path(&self.path, &names)
    }

    /// Runs a blocking operation in the directory of an entry, on a thread of the pool.
    async fn read<T: Send + 'static>(
        &self,
        context: &TreeContext,
        leaf: &Leaf,
        operation: impl FnOnce(&Folder, &[u8]) -> io::Result<T> + Send + 'static,
    ) -> Result<T, TransferError> {
        let (root, path, leaf) = (Arc::clone(&self.root), self.path_of(leaf), leaf.clone());
        let read = move || {
            let read = root
                .folder_of(&leaf.directory)
                .and_then(|folder| operation(&folder, &leaf.name));
            read.map_err(|source| TransferError::local("reading", &path, source))
        };

        context.disk(read).await
    }

    /// Returns an error if an entry is guarded. The executor records it as left out.
    fn unless(&self, guarded: Option<GuardReason>, leaf: &Leaf) -> Result<(), TransferError> {
        match guarded {
            Some(why) => Err(TransferError::Guarded {
                path: self.path_of(leaf),
                why,
                is_read: true,
                refused: false,
            }),
            None => Ok(()),
        }
    }
}

/// Reads a whole file. Returns `None` if the file is longer than `size`.
fn read_whole(file: File, size: u64) -> io::Result<Option<(Chunk, Metadata)>> {
    let metadata = file.metadata()?;

    // One byte more than expected reveals a file that has grown.
    let room = size + 1;
    let mut chunk = Chunk::with_capacity(usize::try_from(room).unwrap_or(0));
    file.take(room).read_to_end(chunk.append_to())?;

    Ok(if (chunk.content().len() as u64) < room {
        Some((chunk, metadata))
    } else {
        None
    })
}
