//! A directory of another host as the source of an upload.

use std::sync::Arc;

use crate::{
    sftp::content::Chunk,
    ssh::transfer::{
        TransferError,
        error::shown,
        file::{origin_file::OriginFile, source::SourceFile},
        origin::{Origin, attributes_to_copy},
        paths,
        tree::{
            LINK_ANSWER, TreeContext,
            channels::{ChannelSet, HandlePermit},
            local::LocalListing,
            remote::{self, join},
        },
    },
    tree::{
        entry::{Directory, EntryAttributes, Leaf},
        name::NameRules,
    },
};

/// Directory on the origin of a copy between hosts.
#[derive(Debug)]
pub(in crate::ssh::transfer::tree::upload) struct OriginTree {
    pub(super) origin: Origin,
    /// SFTP channels of the current attempt.
    channel_set: Arc<ChannelSet>,
    path: Vec<u8>,
    /// Mode and modification time of the copy of the directory.
    pub(super) attributes: EntryAttributes,
}

impl OriginTree {
    pub(in crate::ssh::transfer::tree::upload) fn new(
        origin: &Origin,
        path: Vec<u8>,
        attributes: EntryAttributes,
    ) -> Self {
        Self {
            channel_set: ChannelSet::new(&origin.host, &origin.client),
            origin: origin.clone(),
            path,
            attributes: attributes_to_copy(attributes),
        }
    }

    /// Reads over the channels of another attempt from now on.
    pub(in crate::ssh::transfer::tree::upload) fn read_from(&mut self, origin: &Origin) {
        self.channel_set = ChannelSet::new(&origin.host, &origin.client);
        self.origin = origin.clone();
    }

    /// Returns an error if `to` on `host` is this directory or inside it.
    ///
    /// # Errors
    /// [`TransferError::Itself`].
    pub(in crate::ssh::transfer::tree::upload) async fn check_apart(
        &self,
        context: &TreeContext,
        to: &[u8],
    ) -> Result<(), TransferError> {
        if !self.origin.is(&context.host) {
            return Ok(());
        }

        let (source, target) = tokio::join!(
            self.origin.client.realpath(&self.path),
            context.channel_set.first().realpath(to)
        );

        // A place that the server cannot resolve is compared as it is written.
        let source = source.map_or_else(|_| self.path.clone(), Vec::from);
        let target = target.map_or_else(|_| to.to_vec(), Vec::from);
        let inside = target.strip_prefix(paths::without_end_slashes(&source));

        match inside {
            Some(rest) if rest.is_empty() || rest.starts_with(b"/") => {
                Err(TransferError::Itself(shown(&target)))
            }
            _ => Ok(()),
        }
    }

    /// Waits for a slot for a file that is open.
    pub(super) async fn slot(&self) -> HandlePermit<'_> {
        self.channel_set.slot().await
    }

    /// Lists a directory.
    pub(super) async fn list(
        &self,
        context: &TreeContext,
        directory: &Directory,
    ) -> Result<LocalListing, TransferError> {
        let path = join(&self.path, &directory.names());
        let listed = remote::list(&self.channel_set, &path, &context.listed).await;
        let mut listing = self.of_here(listed)?;
        for entry in &mut listing.entries {
            entry.attributes = attributes_to_copy(entry.attributes);
        }

        Ok(listing)
    }

    /// Returns the destination of a link.
    pub(super) async fn read_link(
        &self,
        context: &TreeContext,
        leaf: &Leaf,
    ) -> Result<Vec<u8>, TransferError> {
        // A hostile server may send long destinations for many links at once.
        let _memory = context.memory(LINK_ANSWER).await;
        let (client, path) = (self.channel_set.any(), self.path_of(leaf));
        let target = client.readlink(&path).await;
        let failed = client.failed("reading the link", &path);
        self.of_here(target.map(Vec::from).map_err(failed))
    }

    /// Reads a small file. Returns `None` if its length is not `size`.
    pub(super) async fn read_small(
        &self,
        leaf: &Leaf,
        size: u64,
    ) -> Result<Option<(Chunk, EntryAttributes)>, TransferError> {
        // One byte more than expected reveals a file that has grown.
        if size >= u64::from(self.channel_set.first().read_chunk()) {
            return Ok(None);
        }

        let read = remote::read_small(&self.channel_set, &self.path_of(leaf), size).await;
        Ok(self.of_here(read)?.map(|content| {
            let mut chunk = Chunk::with_capacity(content.len());
            for piece in content.pieces() {
                chunk.append_to().extend_from_slice(piece);
            }

            (chunk, leaf.attributes)
        }))
    }

    /// Looks at a file of any length.
    pub(super) async fn open(
        &self,
        context: &TreeContext,
        leaf: &Leaf,
    ) -> Result<SourceFile, TransferError> {
        let file = OriginFile::find(self.origin.clone(), self.path_of(leaf)).await?;
        let progress = context.progress.clone();
        Ok(SourceFile::on_origin(file, false, progress))
    }

    fn path_of(&self, leaf: &Leaf) -> Vec<u8> {
        let mut names = leaf.directory.names();
        names.push(&leaf.name);
        join(&self.path, &names)
    }

    /// Names this host in an error.
    fn of_here<T>(&self, result: Result<T, TransferError>) -> Result<T, TransferError> {
        result.map_err(|error| self.origin.failed(error))
    }
}

/// Returns the rules for names below a directory of the remote host. Windows, which shows a drive
/// in each path, reads more into a name than other systems.
pub(super) fn rules(to: &[u8]) -> NameRules {
    match to {
        [b'/', drive, b':', ..] if drive.is_ascii_alphabetic() => NameRules::Windows,
        _ => NameRules::Unix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_drive_is_one_of_windows() {
        for (to, expected) in [
            (&b"/C:/Users/u"[..], NameRules::Windows),
            (b"/c:", NameRules::Windows),
            (b"/srv/C:/x", NameRules::Unix),
            (b"/1:/x", NameRules::Unix),
            (b"srv", NameRules::Unix),
        ] {
            assert_eq!(rules(to), expected, "{to:?}");
        }
    }
}
