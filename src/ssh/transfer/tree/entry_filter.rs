//! What of a tree is left out, because this machine trusts it: entries by their names and by what they are, files that
//! are sent by their content, too.

use std::{
    collections::HashMap,
    fs::Metadata,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::local::Listing;
use crate::{
    policy::{Spot, Way, Why},
    ssh::transfer::guard::{Site, Watch, seen::Seen},
    tree::entry::{Directory, Entry, What},
};

/// What watches over the entries of one tree.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct Sieve {
    way: Way,
    watch: Watch,
    root: Spot,
    /// Directories of which something is known, by their paths: most are none of these.
    known: Mutex<HashMap<Vec<u8>, Spot>>,
}

impl Sieve {
    /// For the tree of this directory; `None` if the person has been asked about all of it.
    pub(in crate::ssh::transfer) fn new(way: Way, watch: Watch, site: Site) -> Option<Self> {
        site.spot.guarded().is_none().then(|| Self { way, watch, root: site.spot, known: Mutex::default() })
    }

    /// Takes what is guarded out of the listing of a directory. `look` says what an entry is on this machine.
    pub(super) fn sift(&self, directory: &Directory, listing: &mut Listing, look: impl Fn(&Entry) -> Option<Seen>) {
        let inside = self.spot(directory);
        for entry in std::mem::take(&mut listing.entries) {
            match self.guarded(directory, &inside, &entry, look(&entry).as_ref()) {
                Some(why) => listing.left_out.push((entry.name, entry.what == What::Directory, why)),
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
        content: impl FnOnce() -> io::Result<Option<Why>>,
    ) -> io::Result<Option<Why>> {
        self.watch.opened(&Seen::of(metadata)).map_or_else(content, |why| Ok(Some(why)))
    }

    fn guarded(&self, directory: &Directory, inside: &Spot, entry: &Entry, seen: Option<&Seen>) -> Option<Why> {
        match (entry.what, self.way) {
            (What::Directory, _) => {
                let spot = self.watch.below(inside, &entry.name, seen);
                if spot.guarded().is_none() && !spot.is_plain() {
                    self.lock().insert(directory.path_of(&entry.name), spot.clone());
                }
                spot.guarded()
            }
            (What::File(_), _) => self.watch.file(inside, &entry.name, seen),
            // What a link says is no secret. What it leads to is not sent.
            (What::Link, Way::Read) | (What::Special, _) => None,
            (What::Link, Way::Write) => self.watch.link(inside, &entry.name, seen),
        }
    }

    fn spot(&self, directory: &Directory) -> Spot {
        if directory.depth() == 0 {
            return self.root.clone();
        }
        let known = self.lock();
        if known.is_empty() { Spot::default() } else { known.get(&directory.path()).cloned().unwrap_or_default() }
    }

    /// Held for look-ups and assignments only, so one that was poisoned holds nothing half-done.
    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Spot>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
