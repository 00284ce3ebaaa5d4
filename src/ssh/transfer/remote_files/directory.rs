//! Reads a page of the entries of a directory.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};

use super::{FileContent, Listing, RemoteFiles, Start, TransferError};
use crate::{
    edit::listing::{Entry, window},
    sftp::{attributes::FileType, reply::NameReply},
    ssh::transfer::tree::{join, names_of},
};

/// Number of requests in flight for the details of entries. Far hosts answer a whole page in a few
/// round trips.
const MAX_DETAILS: usize = 512;
/// Bytes of the target of a link that are kept: Linux' `PATH_MAX`.
const MAX_TARGET_BYTES: usize = 4096;

impl RemoteFiles {
    /// Lists a page of a directory, in the order of the names.
    ///
    /// # Errors
    /// The directory cannot be read, or has a million entries.
    pub(super) async fn list(
        &self,
        path: &[u8],
        start: Start,
        limit: usize,
    ) -> Result<FileContent, TransferError> {
        let mut names = names_of(&self.client, path).await?;
        names.retain(|name| *name.name != *b"." && *name.name != *b"..");
        names.sort_by(|one, other| one.name.cmp(&other.name));

        let total = names.len();
        let page = window(total, start, limit);
        let first = page.start;
        let names: Vec<NameReply> = names.drain(page).collect();

        // Only what is on the page costs further requests.
        let details: Vec<(NameReply, Option<Vec<u8>>)> = stream::iter(names)
            .map(|name| self.details(path, name))
            .buffered(MAX_DETAILS.min(self.client.most_requests()))
            .collect()
            .await;
        let owners = self
            .owners(details.iter().map(|(name, _)| &name.attributes))
            .await;

        let entries: Vec<Entry> = details
            .into_iter()
            .map(|(NameReply { name, attributes }, target)| Entry {
                name: name.to_vec(),
                mode: attributes.permissions,
                owner: owners.of(&attributes),
                size: attributes.size,
                modified: attributes.modified(),
                target,
            })
            .collect();

        Ok(FileContent::Directory(Listing::new(&entries, first, total)))
    }

    /// Returns the entry with its attributes, and the target if it is a link. What cannot be found
    /// out stays unknown.
    async fn details(
        &self,
        directory: &[u8],
        mut entry: NameReply,
    ) -> (NameReply, Option<Vec<u8>>) {
        // A hostile server's name with a slash would lead elsewhere.
        if entry.name.contains(&b'/') {
            return (entry, None);
        }

        let path = join(directory, &[&entry.name]);
        if entry.attributes.kind() == FileType::Unknown
            && let Ok(attributes) = self.client.lstat(&path).await
        {
            entry.attributes = attributes;
        }

        let target = if entry.attributes.kind() == FileType::Link {
            self.client.readlink(&path).await.ok()
        } else {
            None
        };

        let kept = |target: Bytes| target.slice(..target.len().min(MAX_TARGET_BYTES)).to_vec();
        (entry, target.map(kept))
    }
}
