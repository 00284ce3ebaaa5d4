//! Opens files and directories for a search over SFTP. Other servers than OpenSSH's may confuse open
//! files, or allow only one.

use super::TransferError;
use crate::{
    sftp::{attributes::Attributes, handle::Handle, reply::NameReply, request::Access},
    ssh::transfer::{remote_files::RemoteFiles, tree::names_of},
};

/// Bytes of a file that are read ahead of their turn.
const AHEAD: u64 = 256 * 1024;

/// File whose beginning was read.
pub(super) struct Opened {
    pub(super) handle: Handle,
    pub(super) beginning: Vec<u8>,
    /// True if the beginning is all, and the file is closed.
    pub(super) is_whole: bool,
    /// Length in bytes; 0 if the server reports none.
    pub(super) size: u64,
}

/// Opens a file next to others, and reads its beginning. `None` if the file has to be opened alone:
/// other servers than OpenSSH's may confuse open files, or allow only one.
pub(super) async fn open_next_to_others(
    files: &RemoteFiles,
    path: &[u8],
    attributes: &Attributes,
) -> Option<Result<Opened, TransferError>> {
    let client = &files.client;
    if client.is_openssh() {
        return Some(open(files, path, attributes).await);
    }

    let is_long = attributes.size.is_none_or(|size| size > AHEAD);
    if is_long || client.has_one_file() {
        return None;
    }

    let turn = client.turn().await;
    let opened = open(files, path, attributes).await;
    if let Ok(opened) = &opened
        && !opened.is_whole
    {
        client.close_read(&opened.handle).await;
        return None;
    }

    if client.is_in_doubt(&turn, opened.is_err()) {
        client.keep_to_one_file();
        return None;
    }
    Some(opened)
}

/// Opens a file and reads its beginning.
pub(super) async fn open(
    files: &RemoteFiles,
    path: &[u8],
    attributes: &Attributes,
) -> Result<Opened, TransferError> {
    let client = &files.client;
    let failed = client.failed("reading", path);
    let handle = client
        .open_file(path, Access::Read, Attributes::default())
        .await
        .map_err(&failed)?;

    let size = attributes.size.unwrap_or(0);
    let chunk = u64::from(client.read_chunk());
    let mut beginning = Vec::new();
    let mut is_whole = false;
    while !is_whole && (beginning.len() as u64) < AHEAD {
        let at = beginning.len() as u64;
        let wanted = u32::try_from((AHEAD - at).min(chunk)).unwrap_or(u32::MAX);
        match client.read(&handle, at, wanted).await {
            Ok(Some(content)) => {
                content
                    .pieces()
                    .for_each(|piece| beginning.extend_from_slice(piece));
                is_whole = size > 0 && beginning.len() as u64 >= size;
            }
            Ok(None) => is_whole = true,
            Err(error) => {
                client.close_read(&handle).await;
                return Err(failed(error));
            }
        }
    }

    if is_whole {
        client.close_read(&handle).await;
    }
    Ok(Opened {
        handle,
        beginning,
        is_whole,
        size,
    })
}

/// Returns the names in a directory. Reads them alone if another open directory may have interfered.
pub(super) async fn names_surely(
    files: &RemoteFiles,
    path: &[u8],
) -> Result<Vec<NameReply>, TransferError> {
    let client = &files.client;
    let turn = client.turn().await;
    let names = names_of(client, path).await;
    if !client.is_in_doubt(&turn, names.is_err()) {
        return names;
    }

    drop(turn);
    client.keep_to_one_file();
    let _turn = client.turn().await;
    names_of(client, path).await
}
