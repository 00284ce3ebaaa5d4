//! The source of a tree that is sent: a directory of this machine, or of another host.

mod local;
mod origin;

use std::{path::MAIN_SEPARATOR, sync::Arc};

pub(super) use self::{local::LocalTree, origin::OriginTree};
use crate::{
    sftp::content::Chunk,
    ssh::transfer::{
        TransferError,
        file::source::SourceFile,
        origin::Origin,
        tree::{TreeContext, channels::HandlePermit, local::LocalListing},
    },
    tree::{
        entry::{Directory, EntryAttributes, Leaf},
        name::NameRules,
    },
};

/// Source of an [`UpTree`](super::UpTree). It survives a lost connection.
#[derive(Debug)]
pub(super) enum TreeSource {
    Local(LocalTree),
    Origin(OriginTree),
}

impl TreeSource {
    /// Returns the mode and modification time of the root.
    ///
    /// # Errors
    /// The root cannot be read.
    pub(super) async fn attributes(
        &self,
        context: &TreeContext,
    ) -> Result<EntryAttributes, TransferError> {
        match self {
            Self::Local(tree) => tree.attributes(context).await,
            Self::Origin(tree) => Ok(tree.attributes),
        }
    }

    /// Returns the separators in the path of the source.
    pub(super) fn separators(&self) -> &'static [char] {
        match self {
            Self::Local(_) => &['/', MAIN_SEPARATOR],
            Self::Origin(_) => &['/'],
        }
    }

    /// Returns the rules for the names of entries below the directory `to` of the remote host.
    /// `None` trusts the names.
    pub(super) fn rules(&self, to: &[u8]) -> Option<NameRules> {
        match self {
            Self::Local(_) => None,
            Self::Origin(_) => Some(origin::rules(to)),
        }
    }

    /// Lists a directory.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(super) async fn list(
        &self,
        context: &TreeContext,
        directory: &Arc<Directory>,
    ) -> Result<LocalListing, TransferError> {
        match self {
            Self::Local(tree) => tree.list(context, directory).await,
            Self::Origin(tree) => tree.list(context, directory).await,
        }
    }

    /// Returns the destination of a link.
    ///
    /// # Errors
    /// The link cannot be read.
    pub(super) async fn read_link(
        &self,
        context: &TreeContext,
        leaf: &Leaf,
    ) -> Result<Vec<u8>, TransferError> {
        match self {
            Self::Local(tree) => tree.read_link(context, leaf).await,
            Self::Origin(tree) => tree.read_link(context, leaf).await,
        }
    }

    /// Reads a file that fits into a single write request, with its mode and time. Returns `None`
    /// if the file is longer.
    ///
    /// # Errors
    /// The file cannot be read, or is guarded.
    pub(super) async fn read_small(
        &self,
        context: &TreeContext,
        leaf: &Leaf,
        size: u64,
    ) -> Result<Option<(Chunk, EntryAttributes)>, TransferError> {
        match self {
            Self::Local(tree) => tree.read_small(context, leaf, size).await,
            Self::Origin(tree) => tree.read_small(leaf, size).await,
        }
    }

    /// Waits for a slot for a file that is open while it is sent. `None` for a local file.
    pub(super) async fn slot(&self) -> Option<HandlePermit<'_>> {
        match self {
            Self::Local(_) => None,
            Self::Origin(tree) => Some(tree.slot().await),
        }
    }

    /// Opens a file of any length.
    ///
    /// # Errors
    /// The file cannot be read, or is guarded.
    pub(super) async fn open(
        &self,
        context: &TreeContext,
        leaf: &Leaf,
    ) -> Result<SourceFile, TransferError> {
        match self {
            Self::Local(tree) => tree.open(context, leaf).await,
            Self::Origin(tree) => tree.open(context, leaf).await,
        }
    }

    /// Returns the other host as it is read over the channel of `slot`. `None` for a local source.
    pub(super) fn origin_over(&self, slot: Option<&HandlePermit<'_>>) -> Option<Origin> {
        match self {
            Self::Local(_) => None,
            Self::Origin(tree) => slot.map(|slot| tree.origin.over(slot.client())),
        }
    }
}
