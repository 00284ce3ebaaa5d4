//! The upload of a tree: from this machine, or from another host, to the remote host.

mod small;
mod source;

use std::{path::PathBuf, sync::Arc};

use tokio::sync::SemaphorePermit;

use self::source::{LocalTree, OriginTree, TreeSource};
use super::{
    TreeContext,
    destination::{RemoteDestination, make_remote},
    executor::{MovedEntry, TreeDirection},
    links::{LinkResult, Links},
    local::LocalListing,
    pending_uploads::PendingUploads,
    remote::join,
};
use crate::{
    foreign_text::escape_line,
    local::Folder,
    sftp::attributes::{Attributes as Found, FileType},
    ssh::{
        command::remote_host::RemoteHost,
        transfer::{
            RemoteTemp, StopConditions, TransferError, TransferRequest,
            client::{RequestError, SftpClient},
            file::{
                download::attributes_to_keep,
                source::{to_set, unkept},
                upload::Upload,
            },
            guard::Guard,
            origin::{Origin, unless_stopped},
            request::{AttemptResult, FileResult},
        },
    },
    tree::{
        entry::{Directory, Leaf, LeafKind},
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
    source: TreeSource,
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
        let tree = LocalTree::open_root(path, from, guard).await?;
        Ok(Self::new(TreeSource::Local(tree)))
    }

    /// Creates the copy of a directory of another host, whose attributes are `found`.
    pub(in crate::ssh::transfer) fn from_origin(
        origin: &Origin,
        path: Vec<u8>,
        found: &Found,
    ) -> Self {
        let tree = OriginTree::new(origin, path, attributes_to_keep(found));
        Self::new(TreeSource::Origin(tree))
    }

    fn new(source: TreeSource) -> Self {
        Self {
            source,
            state: None,
            pending_uploads: PendingUploads::default(),
        }
    }

    /// Reads a directory of another host over the channel of this attempt from now on.
    pub(in crate::ssh::transfer) fn read_from(&mut self, origin: &Origin) {
        if let TreeSource::Origin(tree) = &mut self.source {
            tree.read_from(origin);
        }
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
        origin: Option<&Origin>,
    ) -> Result<AttemptResult, TransferError> {
        let context = TreeContext::new(request, host, client);

        let Self {
            source,
            state,
            pending_uploads,
        } = self;

        let transfer = async {
            pending_uploads.remove_small(client).await;
            // Resolved once: with the directory created, the target would be resolved differently.
            let (destination, plan) = match state {
                Some(state) => state,
                empty => empty.insert(begin(&context, source, request, excludes).await?),
            };

            destination.make(client).await?;

            let direction = Up {
                context: &context,
                source,
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
            .unless_stopped(conditions, unless_stopped(origin, transfer))
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
    source: &TreeSource,
    request: &TransferRequest,
    excludes: &Excludes,
) -> Result<(RemoteDestination, Plan), TransferError> {
    let attributes = source.attributes(context).await?;
    let (client, separators) = (context.channel_set.first(), source.separators());
    let destination = super::destination::remote(client, request, attributes, separators).await?;

    if let TreeSource::Origin(tree) = source {
        tree.check_apart(context, &destination.path).await?;
    }

    let rules = source.rules(&destination.path);
    let root = Directory::root(attributes);
    Ok((
        destination,
        Plan::new(root, excludes.clone(), rules, LIMITS),
    ))
}

/// Direction of an upload, with the resources of an attempt.
struct Up<'a> {
    context: &'a TreeContext,
    source: &'a TreeSource,
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
        let to = join(self.to, &directory.names());

        let made = async {
            // The root was created before the execution of the plan.
            if directory.depth() == 0 {
                return Ok(());
            }
            make_remote(&self.context.channel_set.any(), &to, directory.attributes).await
        };

        // At the same time, since the remote host and the source do not wait for each other. The
        // listing goes on to its end, so that no directory stays open on another host.
        let (made, listing) =
            futures_util::future::join(made, self.source.list(self.context, directory)).await;
        made.and(listing)
    }

    async fn leaf(&self, ticket: PlannedItem, leaf: &Leaf) -> Result<MovedEntry, TransferError> {
        let mut names = leaf.directory.names();
        names.push(&leaf.name);
        let to = join(self.to, &names);
        let LeafKind::File(size) = leaf.kind else {
            return Box::pin(self.link(leaf, &to)).await;
        };

        if self.context.skip_unchanged && self.is_unchanged(leaf, size, &to).await? {
            return Ok(MovedEntry::Unchanged);
        }

        let piece = u64::from(self.context.channel_set.first().write_chunk());
        let memory = self.context.memory(size).await;
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
            // Boxed like a link, because very many files are in flight, and most of them are small.
            None => Box::pin(self.large(ticket, leaf, &to, memory)).await?,
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
        let target = self.source.read_link(self.context, leaf).await?;
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
    /// a lost connection. `memory` is that for the length which was listed.
    async fn large(
        &self,
        ticket: PlannedItem,
        leaf: &Leaf,
        to: &[u8],
        mut memory: Option<SemaphorePermit<'_>>,
    ) -> Result<FileResult, TransferError> {
        let mut item = self.pending_uploads.uploads.borrow(ticket);

        // Another host may list a short file and then have a long one. The file is looked at before
        // the wait for a slot: nobody waits for memory with a slot.
        if let TreeSource::Origin(_) = self.source {
            let upload = match &mut item.state {
                Some(upload) => upload,
                empty => empty.insert(self.upload(leaf, to).await?),
            };

            drop(memory.take());
            memory = self.context.memory(upload.needed_memory()).await;
        }

        let mut slot = self.context.channel_set.slot().await;
        loop {
            // Always after the slot of the destination, so that no two files wait for each other.
            let source_slot = self.source.slot().await;
            let upload = match &mut item.state {
                Some(upload) => upload,
                empty => empty.insert(self.upload(leaf, to).await?),
            };

            if let Some(origin) = self.source.origin_over(source_slot.as_ref()) {
                upload.read_from(&origin);
            }

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

            let failed = sent.is_err();
            let source_doubted = source_slot.is_some_and(|slot| slot.ends_in_doubt(failed));
            slot = match slot.alone_if_in_doubt(failed).await {
                Some(alone) => alone,
                None if source_doubted => self.context.channel_set.slot().await,
                None => {
                    drop(memory);
                    return sent?.ok_or(TransferError::Cancelled);
                }
            };
            if let Ok(Some(FileResult { bytes, .. })) = sent {
                self.context.progress.take_back(bytes);
            }
        }
    }

    /// Opens a file for an upload.
    ///
    /// # Errors
    /// The file cannot be read, or is guarded.
    async fn upload(&self, leaf: &Leaf, to: &[u8]) -> Result<Upload, TransferError> {
        let file = self.source.open(self.context, leaf).await?;
        Ok(Upload::of_tree(file, to)?)
    }
}
