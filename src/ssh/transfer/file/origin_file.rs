//! A file on the host from which a copy between two hosts reads.

use crate::{
    sftp::attributes::Attributes,
    ssh::transfer::{
        TransferCounters,
        error::{TransferError, shown},
        file::{
            download::{attributes_to_keep, facts, look},
            receive::Receiving,
            remote_digest::Comparison,
        },
        local::{io_threads::Sink, sum::Sum},
        origin::{Origin, attributes_to_copy},
        paths,
    },
    tree::entry::EntryAttributes,
};

/// Upper limit of content which was requested and is not passed on, in bytes. The content on its
/// way to the other host takes more memory.
const ROOM: u64 = 8 * 1024 * 1024;

/// File on the origin of a copy, with the attributes from the beginning of the transfer.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct OriginFile {
    /// Host and channel of the current attempt.
    pub(in crate::ssh::transfer) origin: Origin,
    pub(in crate::ssh::transfer) path: Vec<u8>,
    pub(in crate::ssh::transfer) found: Attributes,
    /// Longest file, in bytes, which is read. In a tree memory is reserved for that many.
    pub(in crate::ssh::transfer) most: u64,
}

impl OriginFile {
    /// Looks at a file of a tree.
    ///
    /// # Errors
    /// The request failed, or there is no regular file any more.
    pub(in crate::ssh::transfer) async fn find(
        origin: Origin,
        path: Vec<u8>,
    ) -> Result<Self, TransferError> {
        let found = look(&origin.client, &path).await;
        let found = found.map_err(|error| origin.failed(error))?;
        // A file without a length may have any.
        let most = match facts(&found).0 {
            0 => u64::MAX,
            length => length,
        };

        Ok(Self {
            origin,
            path,
            found,
            most,
        })
    }

    /// Returns the name, without a path.
    pub(super) fn name(&self) -> &[u8] {
        paths::split(paths::without_end_slashes(&self.path)).1
    }

    /// Returns the length, in bytes. 0 means that the length is unknown.
    pub(super) fn len(&self) -> u64 {
        facts(&self.found).0
    }

    /// Returns the mode and modification time of the copy.
    pub(super) fn attributes(&self) -> EntryAttributes {
        attributes_to_copy(attributes_to_keep(&self.found))
    }

    /// Looks again. Returns true if the file has changed, or has no length.
    ///
    /// # Errors
    /// The request failed, the file is too long now, or there is no regular file any more.
    pub(super) async fn has_changed(&mut self) -> Result<bool, TransferError> {
        let now = self.look().await?;
        let (length, most) = (facts(&now).0, self.most);
        if length > most || length == 0 && most != u64::MAX {
            return Err(self.origin.failed(TransferError::Length {
                path: format!("\"{}\"", shown(&self.path)),
                found: length,
                expected: most,
            }));
        }

        let changed = facts(&now) != facts(&self.found) || facts(&now).0 == 0;
        self.found = now;

        Ok(changed)
    }

    /// Reads the content from `from` on into `sink`. `sum` is the digest of what the sink has
    /// taken. With `compared`, the host is asked for its digest. Returns true if both are equal.
    ///
    /// # Errors
    /// A request failed, the file is shorter than announced, or the digests differ.
    pub(super) async fn read(
        &self,
        mut sink: Sink,
        from: u64,
        sum: Sum,
        compared: bool,
    ) -> Result<bool, TransferError> {
        let mut received = from;
        let receiving = Receiving {
            host: &self.origin.host,
            client: &self.origin.client,
            path: &self.path,
            size: self.len(),
            room: ROOM,
            sink: &mut sink,
            received: &mut received,
            // Only what has arrived at the other host counts as progress.
            progress: &TransferCounters::default(),
            local: "".as_ref(),
        };

        let read = receiving.run(&sum, compared).await;
        match read.map_err(|error| self.origin.failed(error))? {
            Comparison::Equal => Ok(true),
            Comparison::Unknown => Ok(false),
            // A file which is written to all the time has no content to compare with.
            Comparison::Different if facts(&self.look().await?) != facts(&self.found) => Ok(false),
            Comparison::Different => Err(self
                .origin
                .failed(TransferError::Differs(format!("\"{}\"", shown(&self.path))))),
        }
    }

    async fn look(&self) -> Result<Attributes, TransferError> {
        let found = look(&self.origin.client, &self.path).await;
        found.map_err(|error| self.origin.failed(error))
    }
}
