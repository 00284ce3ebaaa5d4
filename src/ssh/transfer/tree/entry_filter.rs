//! What of a tree is left out, because this machine trusts it: entries by their names and by what they are, files that
//! are sent by their content, too.

use std::{
    collections::HashMap,
    fs::Metadata,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::local::LocalListing;
use crate::{
    policy::{DirectoryFacts, GuardReason, TransferDirection},
    ssh::transfer::guard::{GuardWatch, OpenDirectory, seen::FileFactsBefore},
    tree::entry::{Directory, DirectoryEntry, EntryKind},
};

/// What watches over the entries of one tree.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct EntryFilter {
    way: TransferDirection,
    watch: GuardWatch,
    root: DirectoryFacts,
    /// Directories of which something is known, by their paths: most are none of these.
    known: Mutex<HashMap<Vec<u8>, DirectoryFacts>>,
}

impl EntryFilter {
    /// For the tree of this directory; `None` if the person has been asked about all of it.
    pub(in crate::ssh::transfer) fn new(
        way: TransferDirection,
        watch: GuardWatch,
        site: OpenDirectory,
    ) -> Option<Self> {
        site.spot.guarded().is_none().then(|| Self {
            way,
            watch,
            root: site.spot,
            known: Mutex::default(),
        })
    }

    /// Takes what is guarded out of the listing of a directory. `look` says what an entry is on this machine.
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

    /// Why an open file is guarded, if it is; `content` says that of its content.
    ///
    /// # Errors
    /// Those of `content`.
    pub(super) fn opened(
        &self,
        metadata: &Metadata,
        content: impl FnOnce() -> io::Result<Option<GuardReason>>,
    ) -> io::Result<Option<GuardReason>> {
        self.watch
            .opened(&FileFactsBefore::from_metadata(metadata))
            .map_or_else(content, |why| Ok(Some(why)))
    }

    fn guarded(
        &self,
        directory: &Directory,
        inside: &DirectoryFacts,
        entry: &DirectoryEntry,
        seen: Option<&FileFactsBefore>,
    ) -> Option<GuardReason> {
        match (entry.what, self.way) {
            (EntryKind::Directory, _) => {
                let spot = self.watch.below(inside, &entry.name, seen);
                if spot.guarded().is_none() && !spot.is_plain() {
                    self.lock()
                        .insert(directory.path_of(&entry.name), spot.clone());
                }

                spot.guarded()
            }
            (EntryKind::File(_), _) => self.watch.file(inside, &entry.name, seen),
            // What a link says is no secret. What it leads to is not sent.
            (EntryKind::Link, TransferDirection::Read) | (EntryKind::Special, _) => None,
            (EntryKind::Link, TransferDirection::Write) => {
                self.watch.link(inside, &entry.name, seen)
            }
        }
    }

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

    /// Held for look-ups and assignments only, so one that was poisoned holds nothing half-done.
    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, DirectoryFacts>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
