//! The filter that leaves guarded entries out of a tree. It judges entries by name and identity,
//! and files that are sent also by content.

use std::{
    collections::HashMap,
    fs::Metadata,
    io,
    sync::{Mutex, MutexGuard},
};

use super::local::LocalListing;
use crate::{
    lock::lock,
    policy::{DirectoryFacts, GuardReason, TransferDirection},
    ssh::transfer::guard::{GuardChecks, OpenDirectory, file_facts::FileFactsBefore},
    tree::entry::{Directory, DirectoryEntry, EntryKind},
};

/// Filter of the entries of a tree, for the direction of a transfer.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct EntryFilter {
    way: TransferDirection,
    checks: GuardChecks,
    /// Facts of the root of the tree.
    root: DirectoryFacts,
    /// Facts of directories by path, for the few directories about which something is known.
    known: Mutex<HashMap<Vec<u8>, DirectoryFacts>>,
}

impl EntryFilter {
    /// Creates the filter for the tree in a directory. `None` if the whole tree is guarded, since
    /// the user was asked about all of it.
    pub(in crate::ssh::transfer) fn new(
        way: TransferDirection,
        checks: GuardChecks,
        site: OpenDirectory,
    ) -> Option<Self> {
        site.spot.guarded().is_none().then(|| Self {
            way,
            checks,
            root: site.spot,
            known: Mutex::default(),
        })
    }

    /// Moves the guarded entries of a listing to the entries left out. `look` returns the facts of
    /// an entry on this machine.
    pub(super) fn sift(
        &self,
        directory: &Directory,
        listing: &mut LocalListing,
        look: impl Fn(&DirectoryEntry) -> Option<FileFactsBefore>,
    ) {
        let inside = self.spot(directory);
        for entry in std::mem::take(&mut listing.entries) {
            match self.guarded(directory, &inside, &entry, look(&entry).as_ref()) {
                Some(why) => {
                    listing
                        .left_out
                        .push((entry.name, entry.what == EntryKind::Directory, why));
                }
                None => listing.entries.push(entry),
            }
        }
    }

    /// Returns the reason for which an open file is guarded. `None` if it is not. `content` checks
    /// the content, and is called only if the identity gives no reason.
    ///
    /// # Errors
    /// `content` failed.
    pub(super) fn opened(
        &self,
        metadata: &Metadata,
        content: impl FnOnce() -> io::Result<Option<GuardReason>>,
    ) -> io::Result<Option<GuardReason>> {
        self.checks
            .opened(&FileFactsBefore::from_metadata(metadata))
            .map_or_else(content, |why| Ok(Some(why)))
    }

    /// Returns the reason for which an entry is guarded. Records the facts of a directory that is
    /// not.
    fn guarded(
        &self,
        directory: &Directory,
        inside: &DirectoryFacts,
        entry: &DirectoryEntry,
        facts: Option<&FileFactsBefore>,
    ) -> Option<GuardReason> {
        match (entry.what, self.way) {
            (EntryKind::Directory, _) => {
                let spot = self.checks.below(inside, &entry.name, facts);
                // Most directories are plain, and are not stored: a tree may have a million
                // entries.
                if spot.guarded().is_none() && !spot.is_plain() {
                    self.lock()
                        .insert(directory.path_of(&entry.name), spot.clone());
                }

                spot.guarded()
            }
            (EntryKind::File(_), _) => self.checks.file(inside, &entry.name, facts),
            // The text of a link is no secret, and its destination is not sent.
            (EntryKind::Link, TransferDirection::Read) | (EntryKind::Special, _) => None,
            (EntryKind::Link, TransferDirection::Write) => {
                self.checks.link(inside, &entry.name, facts)
            }
        }
    }

    /// Returns the facts of a directory of the tree.
    fn spot(&self, directory: &Directory) -> DirectoryFacts {
        if directory.depth() == 0 {
            return self.root.clone();
        }

        let known = self.lock();
        if known.is_empty() {
            DirectoryFacts::default()
        } else {
            known.get(&directory.path()).cloned().unwrap_or_default()
        }
    }

    /// Locks the known directories. The mutex is held only for lookups and assignments, so a
    /// poisoned mutex is consistent.
    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, DirectoryFacts>> {
        lock(&self.known)
    }
}
