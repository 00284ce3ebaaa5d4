//! From this machine to the remote host.

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
    local::Folder,
    policy::{self as access, GuardReason},
    render::escape_line,
    sftp::attributes::{Attributes as Found, FileType},
    ssh::{
        pool::Pool,
        transfer::{
            RemoteTemp, StopConditions, TransferError, TransferRequest,
            client::{RequestError, SftpClient},
            file::{
                source::{SourceFile, to_set, unkept},
                upload::Upload,
            },
            guard::{Guard, content_of, seen::FileFactsBefore},
            request::FileResult,
        },
    },
    tree::{
        entry::{Directory, DirectoryEntry, EntryKind, Leaf, LeafKind},
        excludes::Excludes,
        limits::LIMITS,
        plan::{Plan, PlannedItem},
        tally::{Tally, Unkept},
    },
};

/// A tree on its way to the remote host.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct UpTree {
    /// Its root, for people.
    path: PathBuf,
    from: Arc<Root>,
    sieve: Option<Arc<EntryFilter>>,
    begun: Option<(RemoteDestination, Plan)>,
    pending_uploads: PendingUploads,
}

impl UpTree {
    /// Of this directory, which the person calls `path`, without what is guarded in it.
    ///
    /// # Errors
    /// It is guarded itself, and the person does not allow it.
    pub(in crate::ssh::transfer) async fn open(
        path: PathBuf,
        from: Folder,
        guard: &Guard,
    ) -> Result<Self, TransferError> {
        let (watcher, from, typed) = (
            guard.watcher(access::TransferDirection::Read).await,
            Arc::new(from),
            path.clone(),
        );

        let root = Arc::clone(&from);

        let look = move || {
            let watch = watcher.begin();
            let site = watch.site(&root, &typed)?;
            Ok::<_, io::Error>((
                site.question(),
                EntryFilter::new(access::TransferDirection::Read, watch, site),
            ))
        };

        let looked = spawn_blocking(look)
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));

        let (question, sieve) =
            looked.map_err(|source| TransferError::local("reading", &path, source))?;
        guard
            .pass(access::TransferDirection::Read, question)
            .await?;

        let (from, sieve) = (Arc::new(Root::new(from)), sieve.map(Arc::new));

        Ok(Self {
            path,
            from,
            sieve,
            begun: None,
            pending_uploads: PendingUploads::default(),
        })
    }

    /// Sends what has not arrived yet.
    ///
    /// # Errors
    /// [`TransferError`]; what has arrived is complete, and after a lost link the next attempt goes on.
    pub(in crate::ssh::transfer) async fn attempt(
        &mut self,
        request: &TransferRequest,
        excludes: &Excludes,
        pool: &Arc<Pool>,
        client: &Arc<SftpClient>,
        conditions: &StopConditions,
    ) -> Result<(String, Tally, bool), TransferError> {
        let common = TreeContext::new(request, pool, client);

        let Self {
            path,
            from,
            sieve,
            begun,
            pending_uploads,
        } = self;

        let work = async {
            pending_uploads.remove_small(client).await;
            let (place, plan) = match begun {
                Some(begun) => begun,
                empty => empty.insert(begin(&common, path, from, request, excludes).await?),
            };

            place.make(client).await?;

            let way = Up {
                common: &common,
                path,
                from,
                sieve,
                to: &place.path,
                pending_uploads,
                links: Links::default(),
            };

            let tally = common.execute(&way, plan, place.keeps_attributes).await?;
            Ok((escape_line(&place.path), tally, false))
        };

        match client.connection().unless_stopped(conditions, work).await {
            Err(error) => Err(pending_uploads.tidy_up(error, pool, client).await),
            done => done,
        }
    }

    /// What is left on the remote host of an attempt that ended with its link.
    pub(in crate::ssh::transfer) fn remote_temps(&mut self) -> Vec<RemoteTemp> {
        self.pending_uploads.take_all()
    }
}

async fn begin(
    common: &TreeContext,
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

    let attributes = common.disk(look).await?;
    let place = super::destination::remote(common.channel_set.first(), request, attributes).await?;

    Ok((
        place,
        Plan::new(Directory::root(attributes), excludes.clone(), None, LIMITS),
    ))
}

/// An attempt's way up.
struct Up<'a> {
    common: &'a TreeContext,
    path: &'a Path,
    from: &'a Arc<Root>,
    sieve: &'a Option<Arc<EntryFilter>>,
    to: &'a [u8],
    pending_uploads: &'a PendingUploads,
    links: Links,
}

impl TreeDirection for Up<'_> {
    fn finishes_in_order(&self) -> bool {
        self.common.channel_set.first().is_openssh()
    }

    async fn directory(&self, directory: &Arc<Directory>) -> Result<LocalListing, TransferError> {
        let names = directory.names();
        let (path, to) = (local::path(self.path, &names), join(self.to, &names));
        let (root, wanted, sieve) = (
            Arc::clone(self.from),
            Arc::clone(directory),
            self.sieve.clone(),
        );

        let list = move || {
            let listed = root.below(&wanted.names()).and_then(|folder| {
                let mut listing = local::list(&folder)?;
                if let Some(sieve) = sieve {
                    // Files are looked at when they are open.
                    let is_directory = |entry: &DirectoryEntry| entry.what == EntryKind::Directory;
                    let look = |entry: &DirectoryEntry| {
                        FileFactsBefore::at(&folder, &entry.name).ok().flatten()
                    };

                    sieve.sift(&wanted, &mut listing, |entry| {
                        is_directory(entry).then(|| look(entry)).flatten()
                    });
                }

                Ok(listing)
            });

            listed.map_err(|source| TransferError::local("reading", &path, source))
        };

        let made = async {
            // The root is there by now.
            if directory.depth() == 0 {
                return Ok(());
            }
            make_remote(&self.common.channel_set.any(), &to, directory.attributes).await
        };

        Ok(try_join(made, self.common.disk(list)).await?.1)
    }

    async fn leaf(&self, ticket: PlannedItem, leaf: &Leaf) -> Result<MovedEntry, TransferError> {
        let mut names = leaf.directory.names();
        names.push(&leaf.name);
        let to = join(self.to, &names);
        let LeafKind::File(size) = leaf.kind else {
            return self.link(leaf, &to).await;
        };

        if self.common.skip_unchanged && self.is_unchanged(leaf, size, &to).await? {
            return Ok(MovedEntry::Unchanged);
        }

        let piece = u64::from(self.common.channel_set.first().write_chunk());
        let _memory = self.common.memory(size).await;
        self.common.progress.begin(&leaf.path());

        // All of it in one breath, where the server takes one thing after the other.
        let at_once = size <= piece && self.common.channel_set.first().is_openssh();
        let small = if at_once {
            self.small(leaf, size, &to).await?
        } else {
            None
        };

        let complete = match small {
            Some(complete) => complete,
            None => self.large(ticket, leaf, &to).await?,
        };

        self.common.progress.end();

        Ok(MovedEntry::File(complete))
    }

    async fn finish(&self, directory: &Arc<Directory>) -> Result<(), TransferError> {
        let to = join(self.to, &directory.names());

        // All over the same channel, where OpenSSH's server does them in their order.
        let (client, attributes) = (
            self.common.channel_set.first(),
            to_set(directory.attributes),
        );

        let found = match client.setstat(&to, attributes).await {
            Ok(()) if client.is_openssh() => return Ok(()),
            Ok(()) | Err(RequestError::Status(_)) => client.stat(&to).await.ok(),
            Err(error) => return Err(client.failed("setting mode and times of", &to)(error)),
        };

        self.common.note(unkept(found.as_ref(), &attributes));

        Ok(())
    }
}

impl Up<'_> {
    /// The path of a leaf, for people.
    fn path_of(&self, leaf: &Leaf) -> PathBuf {
        let mut names = leaf.directory.names();
        names.push(&leaf.name);
        local::path(self.path, &names)
    }

    /// Reads something in the directory of a leaf, off the asynchronous threads.
    async fn read<T: Send + 'static>(
        &self,
        leaf: &Leaf,
        work: impl FnOnce(&Folder, &[u8]) -> io::Result<T> + Send + 'static,
    ) -> Result<T, TransferError> {
        let (root, path, leaf) = (Arc::clone(self.from), self.path_of(leaf), leaf.clone());
        let read = move || {
            let read = root
                .folder_of(&leaf.directory)
                .and_then(|folder| work(&folder, &leaf.name));
            read.map_err(|source| TransferError::local("reading", &path, source))
        };

        self.common.disk(read).await
    }

    /// Leaves out what is guarded.
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

    async fn is_unchanged(&self, leaf: &Leaf, size: u64, to: &[u8]) -> Result<bool, TransferError> {
        let found = self.common.channel_set.any().lstat(to).await;
        Ok(found.is_ok_and(|found| {
            let modified = found.modified();
            found.kind() == FileType::File
                && found.size == Some(size)
                && modified == leaf.attributes.modified
        }))
    }

    async fn link(&self, leaf: &Leaf, to: &[u8]) -> Result<MovedEntry, TransferError> {
        let target = self.read(leaf, Folder::read_link).await?;
        let client = &self.common.channel_set.any();

        if self.common.skip_unchanged
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
            // There may be something.
            Err(refused) if refused.of_one_file().is_some() => {
                self.replace_by_link(client, &target, to, refused).await?
            }
            Err(error) => return Err(error),
        };

        self.common.note(Unkept {
            relative: u64::from(made == LinkResult::Absolute),
            ..Unkept::default()
        });

        // Where links have no times of their own nothing is lost.
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

    /// Makes a link where something else is, but for a directory. Only OpenSSH's server is asked to rename a link: `ProFTPD`
    /// renames what the link leads to.
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
            let temporary = self.pending_uploads.note(to, client)?;
            let made = self
                .links
                .make(client, self.pending_uploads, target, &temporary.temporary)
                .await?;

            self.common
                .note(self.put_in_place(&temporary, client).await?);
            return Ok(made);
        }

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

    /// Gives it the name of its target.
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

    /// A file of any length, as a single one goes. It is not compared, but after a lost link.
    async fn large(
        &self,
        ticket: PlannedItem,
        leaf: &Leaf,
        to: &[u8],
    ) -> Result<FileResult, TransferError> {
        let mut begun = self.pending_uploads.uploads.take(ticket);
        let mut slot = self.common.channel_set.slot().await;
        loop {
            let upload = match &mut begun.state {
                Some(upload) => upload,
                empty => empty.insert(self.upload(leaf, to).await?),
            };

            let sent = match upload.execute(&self.common.pool, slot.client()).await {
                Ok((_, complete)) => Ok(complete),
                Err(error) => Err(upload
                    .tidy_up(error, &self.common.pool, slot.client())
                    .await),
            };

            if !sent.as_ref().is_err_and(TransferError::is_lost) {
                begun.state = None;
            }

            let Some(alone) = slot.alone_if_in_doubt(sent.is_err()).await else {
                return sent?.ok_or(TransferError::Cancelled);
            };
            slot = alone;
            if let Ok(Some(FileResult { bytes, .. })) = sent {
                self.common.progress.take_back(bytes);
            }
        }
    }

    /// Opens the file, and looks whether it may be sent.
    async fn upload(&self, leaf: &Leaf, to: &[u8]) -> Result<Upload, TransferError> {
        let sieve = self.sieve.clone();

        let open = move |folder: &Folder, name: &[u8]| {
            let file = folder.open(name)?;
            let metadata = file.metadata()?;
            let guarded = sieve
                .map(|sieve| sieve.opened(&metadata, || content_of(&file)))
                .transpose()?;
            Ok((file, metadata, guarded.flatten()))
        };

        let (file, metadata, guarded) = self.read(leaf, open).await?;
        self.unless(guarded, leaf)?;

        let original = SourceFile::of_tree(
            self.path_of(leaf),
            file,
            metadata,
            self.common.progress.clone(),
        );

        Ok(Upload::of_tree(original, to)?)
    }
}
