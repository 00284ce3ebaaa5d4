//! The upload of a tree: from this machine to the remote host.

mod small;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::future::try_join;
use tokio::task::spawn_blocking;

use super::{
    TreeContext,
    destination::{RemoteDestination, make_remote},
    entry_filter::EntryFilter,
    executor::{MovedEntry, TreeDirection},
    links::{LinkResult, Links},
    local::{self, LocalListing, Root},
    pending_uploads::PendingUploads,
    remote::join,
};
use crate::{
    foreign_text::escape_line,
    local::Folder,
    policy::{self as access, GuardReason},
    sftp::attributes::{Attributes as Found, FileType},
    ssh::{
        command::remote_host::RemoteHost,
        transfer::{
            RemoteTemp, StopConditions, TransferError, TransferRequest,
            client::{RequestError, SftpClient},
            file::{
                source::{SourceFile, to_set, unkept},
                upload::Upload,
            },
            guard::{Guard, content_of, file_facts::FileFactsBefore},
            request::{AttemptResult, FileResult},
        },
    },
    tree::{
        entry::{Directory, DirectoryEntry, EntryKind, Leaf, LeafKind},
        excludes::Excludes,
        limits::LIMITS,
        plan::{Plan, PlannedItem},
        tally::Unkept,
    },
};

/// Upload of a tree. The plan and the unfinished files survive a lost connection, and the next
/// attempt sends the rest. Dropping the upload does not remove temporary remote files.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct UpTree {
    /// Path of the local directory, for display.
    path: PathBuf,
    /// Open root of the local tree.
    from: Arc<Root>,
    /// Filter for guarded entries. `None` if the user permitted the whole tree.
    filter: Option<Arc<EntryFilter>>,
    /// Destination and plan. `None` before the first attempt has resolved the destination.
    state: Option<(RemoteDestination, Plan)>,
    /// Remote files which are not in place yet.
    pending_uploads: PendingUploads,
}

impl UpTree {
    /// Creates the upload of an open directory, without the guarded entries inside. `path` is the
    /// path as typed.
    ///
    /// # Errors
    /// The directory itself is guarded, and the user does not permit the upload.
    pub(in crate::ssh::transfer) async fn open(
        path: PathBuf,
        from: Folder,
        guard: &Guard,
    ) -> Result<Self, TransferError> {
        let (watcher, from, user_path) = (
            guard.watcher(access::TransferDirection::Read).await,
            Arc::new(from),
            path.clone(),
        );

        let root = Arc::clone(&from);

        let look = move || {
            let checks = watcher.begin();
            let site = checks.site(&root, &user_path)?;
            Ok::<_, io::Error>((
                site.finding(),
                EntryFilter::new(access::TransferDirection::Read, checks, site),
            ))
        };

        let looked = spawn_blocking(look)
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));

        let (finding, filter) =
            looked.map_err(|source| TransferError::local("reading", &path, source))?;
        guard.pass(access::TransferDirection::Read, finding).await?;

        let (from, filter) = (Arc::new(Root::new(from)), filter.map(Arc::new));

        Ok(Self {
            path,
            from,
            filter,
            state: None,
            pending_uploads: PendingUploads::default(),
        })
    }

    /// Sends the remaining entries.
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
        let context = TreeContext::new(request, host, client);

        let Self {
            path,
            from,
            filter,
            state,
            pending_uploads,
        } = self;

        let transfer = async {
            pending_uploads.remove_small(client).await;
            // Resolved once: with the directory created, the target would be resolved differently.
            let (destination, plan) = match state {
                Some(state) => state,
                empty => empty.insert(begin(&context, path, from, request, excludes).await?),
            };

            destination.make(client).await?;

            let direction = Up {
                context: &context,
                path,
                from,
                filter,
                to: &destination.path,
                pending_uploads,
                links: Links::default(),
            };

            let tally = context
                .execute(&direction, plan, destination.keeps_attributes)
                .await?;
            Ok(AttemptResult::for_tree(
                escape_line(&destination.path),
                tally,
            ))
        };

        match client
            .connection()
            .unless_stopped(conditions, transfer)
            .await
        {
            Err(error) => Err(pending_uploads.tidy_up(error, host, client).await),
            done => done,
        }
    }

    /// Returns and forgets the temporary remote files which a lost connection left behind.
    pub(in crate::ssh::transfer) fn remote_temps(&mut self) -> Vec<RemoteTemp> {
        self.pending_uploads.take_all()
    }
}

/// Resolves the destination and creates the plan.
async fn begin(
    context: &TreeContext,
    path: &Path,
    from: &Arc<Root>,
    request: &TransferRequest,
    excludes: &Excludes,
) -> Result<(RemoteDestination, Plan), TransferError> {
    let (root, path) = (Arc::clone(from), path.to_owned());
    let look = move || {
        root.attributes()
            .map_err(|source| TransferError::local("reading", &path, source))
    };

    let attributes = context.disk(look).await?;
    let destination =
        super::destination::remote(context.channel_set.first(), request, attributes).await?;

    Ok((
        destination,
        Plan::new(Directory::root(attributes), excludes.clone(), None, LIMITS),
    ))
}

/// Direction of an upload, with the resources of an attempt.
struct Up<'a> {
    context: &'a TreeContext,
    path: &'a Path,
    from: &'a Arc<Root>,
    filter: &'a Option<Arc<EntryFilter>>,
    /// Path of the remote directory.
    to: &'a [u8],
    pending_uploads: &'a PendingUploads,
    links: Links,
}

impl TreeDirection for Up<'_> {
    fn finishes_in_order(&self) -> bool {
        self.context.channel_set.first().is_openssh()
    }

    async fn directory(&self, directory: &Arc<Directory>) -> Result<LocalListing, TransferError> {
        let names = directory.names();
        let (path, to) = (local::path(self.path, &names), join(self.to, &names));
        let (root, wanted, filter) = (
            Arc::clone(self.from),
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

        let made = async {
            // The root was created before the execution of the plan.
            if directory.depth() == 0 {
                return Ok(());
            }
            make_remote(&self.context.channel_set.any(), &to, directory.attributes).await
        };

        // At the same time, since the remote host and the local disk do not wait for each other.
        Ok(try_join(made, self.context.disk(list)).await?.1)
    }

    async fn leaf(&self, ticket: PlannedItem, leaf: &Leaf) -> Result<MovedEntry, TransferError> {
        let mut names = leaf.directory.names();
        names.push(&leaf.name);
        let to = join(self.to, &names);
        let LeafKind::File(size) = leaf.kind else {
            return self.link(leaf, &to).await;
        };

        if self.context.skip_unchanged && self.is_unchanged(leaf, size, &to).await? {
            return Ok(MovedEntry::Unchanged);
        }

        let piece = u64::from(self.context.channel_set.first().write_chunk());
        let _memory = self.context.memory(size).await;
        self.context.progress.begin(&leaf.path());

        // With OpenSSH's server all requests for a small file are sent without waiting, since the
        // server processes them in order.
        let at_once = size <= piece && self.context.channel_set.first().is_openssh();
        let small = if at_once {
            self.small(leaf, size, &to).await?
        } else {
            None
        };

        let complete = match small {
            Some(complete) => complete,
            None => self.large(ticket, leaf, &to).await?,
        };

        self.context.progress.count_file();

        Ok(MovedEntry::File(complete))
    }

    async fn finish(&self, directory: &Arc<Directory>) -> Result<(), TransferError> {
        let to = join(self.to, &directory.names());

        // Over a single channel, because OpenSSH's server processes only the requests of a channel
        // in order.
        let (client, attributes) = (
            self.context.channel_set.first(),
            to_set(directory.attributes),
        );

        let found = match client.setstat(&to, attributes).await {
            Ok(()) if client.is_openssh() => return Ok(()),
            Ok(()) | Err(RequestError::Status(_)) => client.stat(&to).await.ok(),
            Err(error) => return Err(client.failed("setting mode and times of", &to)(error)),
        };

        // Other servers are asked for the result, since they may not have kept the mode or time.
        self.context
            .record_unkept(unkept(found.as_ref(), &attributes));

        Ok(())
    }
}

impl Up<'_> {
    /// Returns the local path of an entry, for display.
    fn path_of(&self, leaf: &Leaf) -> PathBuf {
        let mut names = leaf.directory.names();
        names.push(&leaf.name);
        local::path(self.path, &names)
    }

    /// Runs a blocking operation in the local directory of an entry, on a thread of the pool.
    async fn read<T: Send + 'static>(
        &self,
        leaf: &Leaf,
        operation: impl FnOnce(&Folder, &[u8]) -> io::Result<T> + Send + 'static,
    ) -> Result<T, TransferError> {
        let (root, path, leaf) = (Arc::clone(self.from), self.path_of(leaf), leaf.clone());
        let read = move || {
            let read = root
                .folder_of(&leaf.directory)
                .and_then(|folder| operation(&folder, &leaf.name));
            read.map_err(|source| TransferError::local("reading", &path, source))
        };

        self.context.disk(read).await
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

    /// Returns true if the remote file has the length and modification time of the local file.
    async fn is_unchanged(&self, leaf: &Leaf, size: u64, to: &[u8]) -> Result<bool, TransferError> {
        let found = self.context.channel_set.any().lstat(to).await;
        Ok(found.is_ok_and(|found| {
            let modified = found.modified();
            found.kind() == FileType::File
                && found.size == Some(size)
                && modified == leaf.attributes.modified
        }))
    }

    /// Creates a remote link, and replaces an existing file or link if necessary.
    async fn link(&self, leaf: &Leaf, to: &[u8]) -> Result<MovedEntry, TransferError> {
        let target = self.read(leaf, Folder::read_link).await?;
        let client = &self.context.channel_set.any();

        if self.context.skip_unchanged
            && client
                .readlink(to)
                .await
                .is_ok_and(|there| *there == *target)
        {
            return Ok(MovedEntry::Unchanged);
        }

        let made = match self
            .links
            .make(client, self.pending_uploads, &target, to)
            .await
        {
            Ok(made) => made,
            // The path may exist already.
            Err(refused) if refused.of_one_file().is_some() => {
                self.replace_by_link(client, &target, to, refused).await?
            }
            Err(error) => return Err(error),
        };

        self.context.record_unkept(Unkept {
            relative: u64::from(made == LinkResult::Absolute),
            ..Unkept::default()
        });

        // The time of a link is optional: many servers and file systems keep none.
        let _ = client
            .lsetstat(
                to,
                Found {
                    permissions: None,
                    ..to_set(leaf.attributes)
                },
            )
            .await;

        Ok(MovedEntry::Link)
    }

    /// Creates a link in place of an existing file or link. Only OpenSSH's server is asked to
    /// rename a link: `ProFTPD` renames the destination of the link instead.
    ///
    /// # Errors
    /// A directory exists there, or a request failed.
    async fn replace_by_link(
        &self,
        client: &Arc<SftpClient>,
        target: &[u8],
        to: &[u8],
        refused: TransferError,
    ) -> Result<LinkResult, TransferError> {
        if !client
            .lstat(to)
            .await
            .is_ok_and(|there| there.kind() != FileType::Directory)
            && client.readlink(to).await.is_err()
        {
            return Err(refused);
        }

        if client.is_openssh() {
            // A rename replaces the file in a single step, so a failure leaves the old file.
            let temporary = self.pending_uploads.create_name(to, client)?;
            let made = self
                .links
                .make(client, self.pending_uploads, target, &temporary.temporary)
                .await?;

            self.context
                .record_unkept(self.put_in_place(&temporary, client).await?);
            return Ok(made);
        }

        // Without proof that the server creates links, the existing file must not be removed.
        if !self.links.are_made() {
            return Err(refused);
        }

        client
            .remove(to)
            .await
            .map_err(client.failed("replacing", to))?;

        self.links
            .make(client, self.pending_uploads, target, to)
            .await
    }

    /// Renames a temporary file to its target. Returns the counts of unkept properties.
    async fn put_in_place(
        &self,
        temporary: &RemoteTemp,
        client: &SftpClient,
    ) -> Result<Unkept, TransferError> {
        let replaced = temporary.replace(client).await;
        let tidy = replaced.map_err(|error| temporary.failed(client, error))?;
        self.pending_uploads.forget(temporary);
        Ok(Unkept {
            temporary: u64::from(!tidy),
            ..Unkept::default()
        })
    }

    /// Sends a file of any length like a single file. The content is compared by SHA-256 only after
    /// a lost connection.
    async fn large(
        &self,
        ticket: PlannedItem,
        leaf: &Leaf,
        to: &[u8],
    ) -> Result<FileResult, TransferError> {
        let mut item = self.pending_uploads.uploads.borrow(ticket);
        let mut slot = self.context.channel_set.slot().await;
        loop {
            let upload = match &mut item.state {
                Some(upload) => upload,
                empty => empty.insert(self.upload(leaf, to).await?),
            };

            let sent = match upload.execute(&self.context.host, slot.client()).await {
                Ok((_, complete)) => Ok(complete),
                Err(error) => Err(upload
                    .tidy_up(error, &self.context.host, slot.client())
                    .await),
            };

            // The state is kept only for another attempt.
            if !sent.as_ref().is_err_and(TransferError::is_lost) {
                item.state = None;
            }

            let Some(alone) = slot.alone_if_in_doubt(sent.is_err()).await else {
                return sent?.ok_or(TransferError::Cancelled);
            };
            slot = alone;
            if let Ok(Some(FileResult { bytes, .. })) = sent {
                self.context.progress.take_back(bytes);
            }
        }
    }

    /// Opens and checks a local file for an upload.
    ///
    /// # Errors
    /// The file cannot be read, or is guarded.
    async fn upload(&self, leaf: &Leaf, to: &[u8]) -> Result<Upload, TransferError> {
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

        let (file, metadata, guarded) = self.read(leaf, open).await?;
        self.unless(guarded, leaf)?;

        let original = SourceFile::of_tree(
            self.path_of(leaf),
            file,
            metadata,
            self.context.progress.clone(),
        );

        Ok(Upload::of_tree(original, to)?)
    }
}
