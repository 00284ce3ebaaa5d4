//! The remote side of a tree: paths, the entries of directories, and small files.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::{channels::ChannelSet, local::LocalListing};
use crate::{
    sftp::{
        attributes::{Attributes, FileType},
        content::Content,
        handle::Handle,
        reply::NameReply,
        request::Access,
        status::StatusCode,
    },
    ssh::transfer::{
        TransferError,
        client::{Pipelined, RequestError, SftpClient},
        error::shown,
        file::download::attributes_to_keep,
    },
    tree::{
        entry::{DirectoryEntry, EntryKind},
        limits::{LIMITS, PlanError},
    },
};

/// Upper limit of requests in flight for the names of a directory. OpenSSH's server answers each
/// with 100 names.
const READ_AHEAD: usize = 8;

/// Returns a remote path below the directory `root`.
pub(in crate::ssh::transfer) fn join(root: &[u8], names: &[&[u8]]) -> Vec<u8> {
    let mut path = root.to_vec();
    for name in names {
        if !path.ends_with(b"/") {
            path.push(b'/');
        }
        path.extend_from_slice(name);
    }

    path
}

/// Returns the error for a file or link which has the name of a required directory.
pub(super) fn in_the_way(path: &[u8]) -> TransferError {
    let message = "there is a link or a file where a directory has to be".to_owned();
    TransferError::Remote {
        doing: "making the directory",
        path: shown(path),
        message,
    }
}

/// Converts the error for a missing file to `None`.
pub(super) fn found<T>(
    client: &SftpClient,
    answer: Result<T, RequestError>,
) -> Result<Option<T>, RequestError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if client.may_be_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Counts of the names listed by a transfer, in all directories together. A hostile server may list
/// names without end, in many directories at once.
#[derive(Debug, Default)]
pub(super) struct Listed {
    names: AtomicUsize,
    bytes: AtomicUsize,
}

impl Listed {
    /// Adds the names of a reply.
    ///
    /// # Errors
    /// The transfer has listed more names, or more bytes of names, than a tree may have.
    fn add(&self, names: &[NameReply]) -> Result<(), PlanError> {
        let bytes = names.iter().map(|name| name.name.len()).sum();
        if self.names.fetch_add(names.len(), Ordering::Relaxed) > LIMITS.entries {
            return Err(PlanError::Entries(LIMITS.entries));
        }

        if self.bytes.fetch_add(bytes, Ordering::Relaxed) > LIMITS.name_bytes {
            return Err(PlanError::Names(LIMITS.name_bytes));
        }

        Ok(())
    }
}

/// Lists a directory.
///
/// # Errors
/// A request failed, or the listing exceeds the limits of a tree.
pub(super) async fn list(
    channel_set: &Arc<ChannelSet>,
    path: &[u8],
    listed: &Listed,
) -> Result<LocalListing, TransferError> {
    if let Some(pipeline) = channel_set.pipeline()
        && let Some(listing) = list_pipelined(pipeline.client(), path, listed).await?
    {
        return Ok(listing);
    }

    // A listing holds a handle open, so it needs a slot like a file.
    let mut slot = channel_set.slot().await;

    loop {
        let listing = list_over(slot.client(), path, listed).await;
        slot = match slot.alone_if_in_doubt(listing.is_err()).await {
            Some(alone) => alone,
            None => return listing,
        };
    }
}

/// Reads a file small enough for a single reply. Returns `None` if the length is not `size`.
///
/// # Errors
/// A request failed.
pub(super) async fn read_small(
    channel_set: &Arc<ChannelSet>,
    path: &[u8],
    size: u64,
) -> Result<Option<Content>, TransferError> {
    if let Some(pipeline) = channel_set.pipeline() {
        // One byte more than expected reveals a file that has grown.
        let length = u32::try_from(size + 1).unwrap_or(u32::MAX);
        if let Pipelined::Done(content) = pipeline.client().read_pipelined(path, length).await? {
            return Ok(Some(content).filter(|content| content.len() as u64 == size));
        }
    }

    Box::pin(read_in_slot(channel_set, path, size)).await
}

/// Reads a small file with a slot for an open file: the requests after the open follow its reply.
async fn read_in_slot(
    channel_set: &Arc<ChannelSet>,
    path: &[u8],
    size: u64,
) -> Result<Option<Content>, TransferError> {
    let mut slot = channel_set.slot().await;

    loop {
        let content = read_whole(slot.client(), path, size).await;
        slot = match slot.alone_if_in_doubt(content.is_err()).await {
            Some(alone) => alone,
            None => return Ok(Some(content?).filter(|content| content.len() as u64 == size)),
        };
    }
}

/// Lists a directory over one channel.
async fn list_over(
    client: &SftpClient,
    path: &[u8],
    listed: &Listed,
) -> Result<LocalListing, TransferError> {
    let names = read_names(client, path, listed).await?;
    let failed = client.failed("reading the directory", path);
    entries(client, path, names).await.map_err(failed)
}

/// Lists a directory by pipelined requests. Returns `None` if that has to be repeated in steps.
async fn list_pipelined(
    client: &SftpClient,
    path: &[u8],
    listed: &Listed,
) -> Result<Option<LocalListing>, TransferError> {
    let failed = client.failed("reading the directory", path);
    let Pipelined::Done(replies) = client.list_pipelined(path).await.map_err(&failed)? else {
        return Ok(None);
    };

    let mut all = Vec::new();
    for names in replies {
        listed.add(&names)?;
        all.extend(names.iter().map(copied));
    }

    entries(client, path, all).await.map(Some).map_err(failed)
}

/// Returns the names of a directory, perhaps with `.` and `..` among them.
///
/// # Errors
/// A request failed, or the listing exceeds the limits of a tree.
pub(in crate::ssh::transfer) async fn names_of(
    client: &SftpClient,
    path: &[u8],
) -> Result<Vec<NameReply>, TransferError> {
    read_names(client, path, &Listed::default()).await
}

/// Opens a directory, reads all names and closes it.
async fn read_names(
    client: &SftpClient,
    path: &[u8],
    listed: &Listed,
) -> Result<Vec<NameReply>, TransferError> {
    let failed = client.failed("reading the directory", path);
    let handle = client.opendir(path).await.map_err(&failed)?;
    let names = read_all(client, &handle, listed, &failed).await;
    client.close_read(&handle).await;

    names
}

/// Reads all names of an open directory. With OpenSSH's server, several requests are in flight,
/// more of them the longer the directory is. Replies are taken in any order, so that every stored
/// reply is counted.
async fn read_all(
    client: &SftpClient,
    handle: &Handle,
    listed: &Listed,
    failed: impl Fn(RequestError) -> TransferError,
) -> Result<Vec<NameReply>, TransferError> {
    // Another server may answer two requests for the next names with the same ones.
    let most = if client.is_openssh() { READ_AHEAD } else { 1 };
    let (mut all, mut at_once, mut reads) = (Vec::new(), most.min(2), FuturesUnordered::new());
    let mut ended = false;

    loop {
        while !ended && reads.len() < at_once {
            reads.push(client.readdir(handle));
        }

        let Some(answer) = reads.next().await else {
            return Ok(all);
        };

        let Some(names) = answer.map_err(&failed)?.filter(|names| !names.is_empty()) else {
            ended = true;
            continue;
        };

        // Counted before the names are stored, so that an endless listing cannot fill the memory.
        listed.add(&names)?;

        all.extend(names.iter().map(copied));

        at_once = (at_once * 2).min(most);
    }
}

/// Copies a name, which shares the memory of the whole reply, with the long form for `ls`.
fn copied(name: &NameReply) -> NameReply {
    NameReply {
        name: name.name.to_vec().into(),
        attributes: name.attributes,
    }
}

/// Converts names to entries. Asks for the attributes of a name if the server did not send the
/// type.
async fn entries(
    client: &SftpClient,
    directory: &[u8],
    names: Vec<NameReply>,
) -> Result<LocalListing, RequestError> {
    let (mut entries, mut failures) = (Vec::with_capacity(names.len()), Vec::new());
    for NameReply {
        name,
        mut attributes,
    } in names
    {
        if *name == *b"." || *name == *b".." {
            continue;
        }

        // A name with a slash would lead out of the directory; the plan refuses such names later.
        if attributes.kind() == FileType::Unknown && !name.contains(&b'/') {
            match client.lstat(&join(directory, &[&name])).await {
                Ok(found) => attributes = found,
                Err(RequestError::Status(status)) if status.code == StatusCode::NoSuchFile => {
                    continue;
                }
                Err(RequestError::Status(status)) => {
                    failures.push((name.to_vec(), format!("looking at it: {status}")));
                    continue;
                }
                Err(error) => return Err(error),
            }
        }

        let what = match attributes.kind() {
            FileType::Directory => EntryKind::Directory,
            FileType::Link => EntryKind::Link,
            FileType::Special => EntryKind::Special,
            FileType::File | FileType::Unknown => EntryKind::File(attributes.size.unwrap_or(0)),
        };

        entries.push(DirectoryEntry {
            name: name.into(),
            what,
            attributes: attributes_to_keep(&attributes),
        });
    }

    Ok(LocalListing {
        entries,
        failures,
        ..LocalListing::default()
    })
}

/// Reads the content of a file, up to one byte more than `size`.
async fn read_whole(client: &SftpClient, path: &[u8], size: u64) -> Result<Content, TransferError> {
    let opened = client
        .open_file(path, Access::Read, Attributes::default())
        .await;
    let handle = opened.map_err(client.failed("opening", path))?;
    let read = client.read(&handle, 0, u32::try_from(size + 1).unwrap_or(u32::MAX));

    // OpenSSH's server processes the requests for a file in order, so the close can follow
    // immediately.
    let read = if client.is_openssh() {
        tokio::join!(read, client.close(&handle)).0
    } else {
        let read = read.await;
        client.close_read(&handle).await;
        read
    };

    Ok(read
        .map_err(client.failed("reading", path))?
        .unwrap_or_default())
}
