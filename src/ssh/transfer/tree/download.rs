//! The download of a tree: from the remote host to this machine.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    LINK_ANSWER, TreeContext,
    destination::LocalDestination,
    executor::{MovedEntry, TreeDirection},
    local::{self, LocalListing, Root},
    remote::{self, join},
    resumable::Resumable,
};
use crate::{
    local::{Folder, LocalName},
    sftp::attributes::Attributes as Found,
    ssh::{
        command::remote_host::RemoteHost,
        transfer::{
            StopConditions, TransferError, TransferRequest,
            client::SftpClient,
            file::{
                download::{Download, attributes_to_keep},
                local_temp::{LocalTemp, temporary_name},
            },
            guard::{Guard, file_facts::FileFactsBefore},
            request::{AttemptResult, FileResult},
        },
    },
    tree::{
        entry::{Directory, DirectoryEntry, EntryKind, Leaf, LeafKind},
        excludes::Excludes,
        limits::LIMITS,
        name::HERE,
        plan::{Plan, PlannedItem},
        tally::Unkept,
    },
};

/// Download of a tree. The plan and the large files survive a lost connection, and the next attempt
/// fetches the rest. Dropping the download removes temporary files.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct DownTree {
    /// Path of the remote directory.
    from: Vec<u8>,
    /// Attributes of the remote directory.
    found: Found,
    /// Guard of the places on this machine.
    guard: Guard,
    /// Destination and plan. `None` before the first attempt has made the destination.
    state: Option<(LocalDestination, Plan)>,
    /// States of large files, which continue after a lost connection.
    downloads: Resumable<Download>,
}

impl DownTree {
    /// Creates the download of a remote directory. `found` are its attributes.
    pub(in crate::ssh::transfer) fn new(from: Vec<u8>, found: Found, guard: Guard) -> Self {
        Self {
            from,
            found,
            guard,
            state: None,
            downloads: Resumable::default(),
        }
    }

    /// Fetches the remaining entries.
    ///
    /// # Errors
    /// Any [`TransferError`]. Everything that has arrived is complete. After a lost connection, the
    /// next attempt continues.
    pub(in crate::ssh::transfer) async fn attempt(
        &mut self,
        request: &TransferRequest,
        excludes: &Excludes,
        host: &Arc<RemoteHost>,
        client: &Arc<SftpClient>,
        conditions: &StopConditions,
    ) -> Result<AttemptResult, TransferError> {
        let Self {
            from,
            found,
            guard,
            state,
            downloads,
        } = self;

        let (destination, plan) = match state {
            Some(state) => state,
            // Must not be interrupted: once the directory exists, a second attempt would resolve
            // the target differently.
            empty => {
                let attributes = attributes_to_keep(found);
                let destination = super::destination::local(guard, request, attributes).await?;

                let plan = Plan::new(
                    Directory::root(attributes),
                    excludes.clone(),
                    Some(HERE),
                    LIMITS,
                );

                empty.insert((destination, plan))
            }
        };

        let context = TreeContext::new(request, host, client);

        let transfer = async {
            let root = Arc::new(Root::new(Arc::clone(&destination.folder)));

            let direction = DownloadDirection {
                context: &context,
                from,
                destination,
                root,
                downloads,
            };

            let tally = context
                .execute(&direction, plan, destination.keeps_attributes)
                .await?;
            Ok(AttemptResult::for_tree(
                destination.path.display().to_string(),
                tally,
            ))
        };

        let done = client
            .connection()
            .unless_stopped(conditions, transfer)
            .await;
        if done.as_ref().is_err_and(|error| !error.is_lost()) {
            // Dropping the states removes their temporary files.
            drop(downloads.take_all());
        }

        done
    }
}

/// Direction of a download, with the resources of an attempt.
struct DownloadDirection<'a> {
    context: &'a TreeContext,
    from: &'a [u8],
    destination: &'a LocalDestination,
    /// Open root of the local tree.
    root: Arc<Root>,
    downloads: &'a Resumable<Download>,
}

impl TreeDirection for DownloadDirection<'_> {
    fn finishes_in_order(&self) -> bool {
        false
    }

    async fn directory(&self, directory: &Arc<Directory>) -> Result<LocalListing, TransferError> {
        let mut is_new = false;

        if directory.depth() > 0 {
            let (wanted, root, path) = (
                Arc::clone(directory),
                Arc::clone(&self.root),
                self.path(directory),
            );

            let make = move || {
                let names = wanted.names();
                let Some((name, above)) = names.split_last() else {
                    return Ok(false);
                };

                let made = root
                    .below(above)
                    .and_then(|above| above.make(name, wanted.attributes.mode.unwrap_or(0o755)));
                made.map_err(|source| TransferError::local("making the directory", &path, source))
            };

            is_new = self.context.disk(make).await?;
        }

        let from = join(self.from, &directory.names());
        let context = self.context;
        let listing = remote::list(&context.channel_set, &from, &context.listed).await?;

        self.sifted(directory, is_new, listing).await
    }

    async fn leaf(&self, ticket: PlannedItem, leaf: &Leaf) -> Result<MovedEntry, TransferError> {
        let mut names = leaf.directory.names();
        names.push(&leaf.name);
        let (from, to) = (
            join(self.from, &names),
            local::path(&self.destination.path, &names),
        );

        let LeafKind::File(size) = leaf.kind else {
            return Box::pin(self.link(leaf, &from, to)).await;
        };

        if self.context.skip_unchanged && self.is_unchanged(leaf, size, &to).await? {
            return Ok(MovedEntry::Unchanged);
        }

        let piece = u64::from(self.context.channel_set.first().read_chunk());

        // A small file is requested with one byte more than announced. If that byte does not come,
        // the file has ended, and no second request is needed.
        let small = if size < piece {
            self.small(leaf, size, &from, to.clone()).await?
        } else {
            None
        };

        let complete = if let Some(complete) = small {
            complete
        } else {
            // A file of unexpected length may have any length, so it gets all the memory for large
            // files.
            let room = if size < piece { u64::MAX } else { size };
            // Boxed like a link, because very many files are in flight, and most of them are small.
            Box::pin(self.large(ticket, leaf, room, from, to)).await?
        };

        self.context.progress.count_file();

        Ok(MovedEntry::File(complete))
    }

    async fn finish(&self, directory: &Arc<Directory>) -> Result<(), TransferError> {
        let (directory, root, path) = (
            Arc::clone(directory),
            Arc::clone(&self.root),
            self.path(directory),
        );

        let set = move || {
            let set = root
                .below(&directory.names())
                .and_then(|folder| folder.set(directory.attributes));
            set.map_err(|source| TransferError::local("setting mode and times of", &path, source))
        };

        self.context.disk(set).await
    }
}

impl DownloadDirection<'_> {
    /// Removes guarded entries from a listing. A directory that was just created contains nothing
    /// to look at.
    async fn sifted(
        &self,
        directory: &Arc<Directory>,
        is_new: bool,
        mut listing: LocalListing,
    ) -> Result<LocalListing, TransferError> {
        let Some(filter) = self.destination.filter.clone() else {
            return Ok(listing);
        };
        let (wanted, root) = (Arc::clone(directory), Arc::clone(&self.root));

        let sift = move || {
            let folder = if is_new {
                None
            } else {
                root.below(&wanted.names()).ok()
            };

            let look = |entry: &DirectoryEntry| {
                FileFactsBefore::at(folder.as_ref()?, &entry.name)
                    .ok()
                    .flatten()
            };

            filter.sift(&wanted, &mut listing, look);

            Ok(listing)
        };

        self.context.disk(sift).await
    }

    /// Returns the local path of a directory, for display.
    fn path(&self, directory: &Directory) -> PathBuf {
        local::path(&self.destination.path, &directory.names())
    }

    /// Runs a blocking operation in the local directory of an entry, on a thread of the pool.
    async fn inside<T: Send + 'static>(
        &self,
        leaf: &Leaf,
        doing: &'static str,
        to: PathBuf,
        operation: impl FnOnce(Arc<Folder>, &[u8]) -> io::Result<T> + Send + 'static,
    ) -> Result<T, TransferError> {
        let (root, leaf) = (Arc::clone(&self.root), leaf.clone());
        let done = move || {
            let done = root
                .folder_of(&leaf.directory)
                .and_then(|folder| operation(folder, &leaf.name));
            done.map_err(|source| TransferError::local(doing, &to, source))
        };

        self.context.disk(done).await
    }

    /// Returns true if the local file has the length and modification time of the remote file.
    async fn is_unchanged(&self, leaf: &Leaf, size: u64, to: &Path) -> Result<bool, TransferError> {
        let found = self
            .inside(leaf, "looking at", to.to_owned(), |folder, name| {
                folder.find(name)
            })
            .await?;

        let modified = leaf.attributes.modified;
        Ok(found.is_some_and(|(what, there)| {
            what == EntryKind::File(size) && there.modified == modified
        }))
    }

    /// Creates a local link with the destination of the remote link.
    async fn link(
        &self,
        leaf: &Leaf,
        from: &[u8],
        to: PathBuf,
    ) -> Result<MovedEntry, TransferError> {
        if !cfg!(unix) {
            return Ok(MovedEntry::Special);
        }

        // A hostile server may send long destinations for many links at once.
        let _memory = self.context.memory(LINK_ANSWER).await;
        let client = self.context.channel_set.any();
        let target = client
            .readlink(from)
            .await
            .map_err(client.failed("reading the link", from))?;

        let (skip, modified) = (self.context.skip_unchanged, leaf.attributes.modified);

        let make = move |folder: Arc<Folder>, name: &[u8]| {
            if skip && folder.read_link(name).is_ok_and(|there| *there == *target) {
                return Ok(MovedEntry::Unchanged);
            }

            // Created under another name and renamed, so that an existing file is replaced in a
            // single step.
            let temporary = temporary_name()?;
            folder.link(&target, &temporary)?;
            if let Some(modified) = modified {
                let _ = folder.set_link_time(&temporary, modified);
            }

            if let Err(error) = folder.rename(&temporary, name) {
                let _ = folder.remove(&temporary);
                return Err(error);
            }

            Ok(MovedEntry::Link)
        };

        self.inside(leaf, "making the link", to, make).await
    }

    /// Fetches a file small enough for a single reply. Returns `None` if the length is not as
    /// announced.
    async fn small(
        &self,
        leaf: &Leaf,
        size: u64,
        from: &[u8],
        to: PathBuf,
    ) -> Result<Option<FileResult>, TransferError> {
        let _memory = self.context.memory(size).await;
        self.context.progress.begin(&leaf.path());
        let Some(content) = remote::read_small(&self.context.channel_set, from, size).await? else {
            return Ok(None);
        };

        let attributes = leaf.attributes;

        // No thread is used before the content has arrived, so a slow link blocks no thread.
        let write = move |folder: Arc<Folder>, name: &[u8]| {
            let mut temp = LocalTemp::create_in(&folder, size)?;
            content
                .pieces()
                .try_for_each(|piece| temp.file.write_all(piece))?;

            temp.put_in_place(attributes, name)
        };

        self.inside(leaf, "writing", to, write).await?;
        self.context.progress.add(size);

        Ok(Some(FileResult {
            bytes: size,
            verified: false,
            unkept: Unkept::default(),
        }))
    }

    /// Fetches a file of any length like a single file, with at most `room` bytes in flight. The
    /// content is compared by SHA-256 only after a lost connection.
    async fn large(
        &self,
        ticket: PlannedItem,
        leaf: &Leaf,
        room: u64,
        from: Vec<u8>,
        to: PathBuf,
    ) -> Result<FileResult, TransferError> {
        let _memory = self.context.memory(room).await;
        self.context.progress.begin(&leaf.path());
        let mut item = self.downloads.borrow(ticket);

        let download = match &mut item.state {
            Some(download) => download,
            empty => {
                let folder = self
                    .inside(leaf, "writing", to.clone(), |folder, _| Ok(folder))
                    .await?;

                let target = LocalName {
                    folder,
                    name: leaf.name.clone(),
                    path: to,
                };

                empty.insert(Download::of_tree(
                    from,
                    target,
                    room,
                    self.context.progress.clone(),
                ))
            }
        };

        let mut slot = self.context.channel_set.slot().await;

        loop {
            let fetched = download.execute(&self.context.host, slot.client()).await;

            // The state is kept only for another attempt. In all other cases the item is finished.
            let Some(alone) = slot.alone_if_in_doubt(fetched.is_err()).await else {
                if !fetched.as_ref().is_err_and(TransferError::is_lost) {
                    item.state = None;
                }
                return fetched?.ok_or(TransferError::Cancelled);
            };

            slot = alone;
            if let Ok(Some(FileResult { bytes, .. })) = fetched {
                self.context.progress.take_back(bytes);
            }
        }
    }
}
