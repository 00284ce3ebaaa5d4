//! The work of moving a tree: the next directory to list, the next file to move, and the results so
//! far.
//!
//! Directories are listed depth first, and only while few files wait, so that the memory in use
//! does not grow with the tree. An entry is handed out only after its directory was created and
//! listed.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
};

use super::{
    entry::{Directory, DirectoryEntry, EntryKind, Leaf, LeafKind},
    excludes::Excludes,
    limits::{PlanError, TreeLimits},
    name::{self, NameRules},
    tally::Tally,
};

/// Number of waiting files at which no further directory is listed. A single directory may exceed
/// the number.
const ENOUGH_LEAVES: usize = 10_000;

/// Number of failures, and of entries left out, whose paths are kept. Further ones are only
/// counted.
const NAMED_FAILURES: usize = 10;

/// Id of a piece of work, which stays the same when the work is handed out again.
pub type PlannedItem = u64;

/// A piece of work.
#[derive(Debug, Clone)]
pub enum PlannedWork {
    /// A directory to create and list.
    Directory(Arc<Directory>),
    /// A file or link to move.
    Leaf(Arc<Leaf>),
}

/// State of the transfer of a tree. The executor takes work with
/// [`next_directory`](Self::next_directory) and [`next_leaf`](Self::next_leaf), and reports
/// listings, failures and ends. A plan survives a lost connection: see
/// [`begin_again`](Self::begin_again).
#[derive(Debug)]
pub struct Plan {
    excludes: Excludes,
    /// Rules for names given by a server, or `None` if the names come from this machine.
    rules: Option<NameRules>,
    limits: TreeLimits,
    directories: Vec<(PlannedItem, Arc<Directory>)>,
    leaves: VecDeque<(PlannedItem, Arc<Leaf>)>,
    /// Work which was handed out and has not ended.
    underway: BTreeMap<PlannedItem, PlannedWork>,
    last: PlannedItem,
    /// Directories whose content is known, parents before children.
    listed: Vec<Arc<Directory>>,
    entries: usize,
    name_bytes: usize,
    /// Length of all files listed so far, in bytes.
    pub bytes: u64,
    /// Results so far.
    pub tally: Tally,
}

impl Plan {
    /// Creates a plan whose only work is the root. `rules` apply to names given by a server; `None`
    /// trusts the names.
    #[must_use]
    pub fn new(
        root: Arc<Directory>,
        excludes: Excludes,
        rules: Option<NameRules>,
        limits: TreeLimits,
    ) -> Self {
        // The root is work like any other directory: it has to be created and listed.
        Self {
            excludes,
            rules,
            limits,
            directories: vec![(0, root)],
            leaves: VecDeque::new(),
            underway: BTreeMap::new(),
            last: 0,
            listed: Vec::new(),
            entries: 0,
            name_bytes: 0,
            bytes: 0,
            tally: Tally::default(),
        }
    }

    /// Takes the next directory to create and list. Returns `None` if no directory waits, or if
    /// enough files wait.
    pub fn next_directory(&mut self) -> Option<(PlannedItem, Arc<Directory>)> {
        let (ticket, directory) = if self.leaves.len() < ENOUGH_LEAVES {
            self.directories.pop()?
        } else {
            return None;
        };

        self.underway
            .insert(ticket, PlannedWork::Directory(Arc::clone(&directory)));
        Some((ticket, directory))
    }

    /// Takes the next file or link to move, or `None` if none waits.
    pub fn next_leaf(&mut self) -> Option<(PlannedItem, Arc<Leaf>)> {
        let (ticket, leaf) = self.leaves.pop_front()?;
        self.underway
            .insert(ticket, PlannedWork::Leaf(Arc::clone(&leaf)));
        Some((ticket, leaf))
    }

    /// Marks a piece of work as ended, successfully or not.
    pub fn done(&mut self, ticket: PlannedItem) {
        self.underway.remove(&ticket);
    }

    /// Takes back all unfinished work, for the next attempt after a lost connection.
    pub fn begin_again(&mut self) {
        // The oldest work goes back to the front, so that the next attempt takes it first.
        for (ticket, item) in std::mem::take(&mut self.underway).into_iter().rev() {
            match item {
                PlannedWork::Directory(directory) => self.directories.push((ticket, directory)),
                PlannedWork::Leaf(leaf) => self.leaves.push_front((ticket, leaf)),
            }
        }
    }

    /// Returns true if every known directory has been listed, so [`bytes`](Self::bytes) is final.
    #[must_use]
    pub fn is_all_listed(&self) -> bool {
        self.directories.is_empty()
            && !self
                .underway
                .values()
                .any(|item| matches!(item, PlannedWork::Directory(_)))
    }

    /// Adds the content of a listed directory to the work.
    ///
    /// # Errors
    /// Returns [`PlanError`] if the tree exceeds the limits.
    pub fn listed(
        &mut self,
        directory: &Arc<Directory>,
        mut entries: Vec<DirectoryEntry>,
    ) -> Result<(), PlanError> {
        // Totals are checked before the entries are kept: a server may list directories without
        // end.
        self.listed.push(Arc::clone(directory));
        self.tally.directories += 1;
        self.entries += entries.len();
        self.name_bytes += entries.iter().map(|entry| entry.name.len()).sum::<usize>();
        if self.entries > self.limits.entries {
            return Err(PlanError::Entries(self.limits.entries));
        }

        if self.name_bytes > self.limits.name_bytes {
            return Err(PlanError::Names(self.limits.name_bytes));
        }

        // Sorting makes the order of the transfer, and the entry that wins a name, repeatable.
        entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        // `first` marks where the subdirectories of this directory will begin in the stack.
        let (mut taken, first, above) = (
            HashSet::new(),
            self.directories.len(),
            directory.path().len(),
        );

        // SFTP servers list `.` and `..` too. They are skipped, while other bad names are failures.
        for entry in entries {
            if entry.name == b"." || entry.name == b".." {
                continue;
            }

            // Two names may be one file here (`a` and `A`): the second would replace the first.
            if let Some(rules) = self.rules {
                let refused = match name::check(&entry.name, rules) {
                    Err(error) => Some(error.to_string()),
                    Ok(()) if taken.insert(name::folded(&entry.name, rules)) => None,
                    Ok(()) => Some(
                        "the directory has another entry that is the same name here".to_owned(),
                    ),
                };

                if let Some(reason) = refused {
                    self.fail(directory.path_of(&entry.name), reason)?;
                    continue;
                }
            }

            self.add_entry(directory, above, entry)?;
        }

        // Directories are taken from the end, so the first in the order of names has to be last.
        self.directories
            .get_mut(first..)
            .unwrap_or_default()
            .reverse();

        Ok(())
    }

    /// Adds an entry of a listed directory. `above` is the length of the directory's path in bytes,
    /// computed once because a directory may have very many entries.
    fn add_entry(
        &mut self,
        directory: &Arc<Directory>,
        above: usize,
        entry: DirectoryEntry,
    ) -> Result<(), PlanError> {
        let is_directory = entry.what == EntryKind::Directory;

        // A path is built only for patterns: doing so for each entry of a huge directory is slow.
        if !self.excludes.is_empty()
            && self
                .excludes
                .cover(&directory.path_of(&entry.name), is_directory)
        {
            return Ok(());
        }

        let DirectoryEntry {
            name,
            what,
            attributes,
        } = entry;

        // The root has ticket 0, so the count goes up before use.
        self.last += 1;
        let ticket = self.last;

        // A leaf refers to its directory instead of holding a path: a million paths take much
        // memory.
        let leaf = |kind| {
            (
                ticket,
                Arc::new(Leaf {
                    directory: Arc::clone(directory),
                    name: name.clone(),
                    kind,
                    attributes,
                }),
            )
        };

        // Directories below the limit are failures, so that the result names what is missing.
        match what {
            EntryKind::Directory if directory.depth() >= self.limits.depth => {
                let reason = format!("it is more than {} directories deep", self.limits.depth);
                self.fail(directory.path_of(&name), reason)?;
            }
            // The depth does not bound the path, because each name may be long.
            EntryKind::Directory if above + 1 + name.len() > self.limits.path => {
                let reason = format!("its path is longer than {} bytes", self.limits.path);
                self.fail(directory.path_of(&name), reason)?;
            }
            EntryKind::Directory => self
                .directories
                .push((ticket, directory.inside(name, attributes))),
            EntryKind::File(size) => {
                // Sizes are the server's word and may add up to more than any disk holds.
                self.bytes = self.bytes.saturating_add(size);
                self.leaves.push_back(leaf(LeafKind::File(size)));
            }
            EntryKind::Link => self.leaves.push_back(leaf(LeafKind::Link)),
            EntryKind::Special => self.tally.special += 1,
        }

        Ok(())
    }

    /// Counts an entry which could not be moved, and keeps the first few paths with their reasons.
    ///
    /// # Errors
    /// Returns [`PlanError::Failures`] once too many entries have failed.
    pub fn fail(&mut self, path: Vec<u8>, reason: String) -> Result<(), PlanError> {
        // Failures may be many and their paths long, so only the first few are kept.
        self.tally.failed += 1;
        if self.tally.failures.len() < NAMED_FAILURES {
            self.tally.failures.push((path, reason));
        }

        if self.tally.failed >= self.limits.failures {
            Err(PlanError::Failures(self.tally.failed))
        } else {
            Ok(())
        }
    }

    /// Counts a guarded entry, which is left out. An entry that the patterns exclude anyway does
    /// not count.
    pub fn leave_out(&mut self, path: Vec<u8>, is_directory: bool, reason: String) {
        if self.excludes.cover(&path, is_directory) {
            return;
        }
        self.tally.left_out += 1;
        if self.tally.named_left_out.len() < NAMED_FAILURES {
            self.tally.named_left_out.push((path, reason));
        }
    }

    /// Returns the directories whose mode and times are set after everything else, the deepest
    /// first. The order matters because a directory's new mode may forbid changes inside.
    #[must_use]
    pub fn to_finish(&self) -> Vec<Arc<Directory>> {
        let mut listed = self.listed.clone();
        listed.sort_by_key(|directory| std::cmp::Reverse(directory.depth()));
        listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{entry::EntryAttributes, limits::LIMITS};

    const SMALL: TreeLimits = TreeLimits {
        entries: 8,
        name_bytes: 100,
        depth: 2,
        path: 50,
        failures: 3,
    };

    fn plan(exclude: &[&str], rules: Option<NameRules>) -> (Plan, Arc<Directory>) {
        let exclude: Vec<String> = exclude
            .iter()
            .map(|pattern| (*pattern).to_owned())
            .collect();

        let root = Directory::root(EntryAttributes::default());
        let mut plan = Plan::new(root, Excludes::parse(&exclude).unwrap(), rules, SMALL);
        let (_, root) = plan.next_directory().unwrap();
        (plan, root)
    }

    fn entry(name: impl AsRef<[u8]>, what: EntryKind) -> DirectoryEntry {
        DirectoryEntry {
            name: name.as_ref().to_vec(),
            what,
            attributes: EntryAttributes::default(),
        }
    }

    fn leaves(plan: &mut Plan) -> Vec<String> {
        std::iter::from_fn(|| plan.next_leaf())
            .map(|(_, leaf)| String::from_utf8(leaf.path()).unwrap())
            .collect()
    }

    fn directories(plan: &mut Plan) -> Vec<String> {
        let path = |(_, directory): (PlannedItem, Arc<Directory>)| {
            String::from_utf8(directory.path()).unwrap()
        };
        std::iter::from_fn(|| plan.next_directory())
            .map(path)
            .collect()
    }

    #[test]
    fn entries_follow_their_directory_and_directories_end_last() {
        let (mut plan, root) = plan(&[], None);

        plan.listed(
            &root,
            vec![
                entry("b", EntryKind::Directory),
                entry("x", EntryKind::File(1)),
                entry("a", EntryKind::Directory),
            ],
        )
        .unwrap();

        assert_eq!(leaves(&mut plan), ["x"]);
        let (_, first) = plan.next_directory().unwrap();
        assert_eq!(first.path(), b"a");

        plan.listed(
            &first,
            vec![
                entry("deep", EntryKind::Directory),
                entry("y", EntryKind::Link),
            ],
        )
        .unwrap();

        assert_eq!(leaves(&mut plan), ["a/y"]);

        for expected in ["a/deep", "b"] {
            let (_, next) = plan.next_directory().unwrap();
            assert_eq!(next.path(), expected.as_bytes(), "depth first");
            plan.listed(&next, Vec::new()).unwrap();
        }

        assert!(plan.next_directory().is_none());
        let ends: Vec<_> = plan
            .to_finish()
            .iter()
            .map(|directory| directory.path())
            .collect();

        assert_eq!(ends, [&b"a/deep"[..], b"a", b"b", b""]);
        assert_eq!(plan.tally.directories, 4);
    }

    #[test]
    fn what_is_left_out_is_neither_moved_nor_listed_nor_counted() {
        let (mut plan, root) = plan(&["*.o", "/build/"], None);
        let special = entry("pipe", EntryKind::Special);

        plan.listed(
            &root,
            vec![
                entry("build", EntryKind::Directory),
                entry("a.o", EntryKind::File(1)),
                special,
            ],
        )
        .unwrap();

        assert_eq!(
            (leaves(&mut plan).len(), directories(&mut plan).len()),
            (0, 0)
        );

        assert_eq!(
            plan.tally,
            Tally {
                special: 1,
                directories: 1,
                ..Tally::default()
            }
        );
    }

    #[test]
    fn a_listing_that_lies_makes_failures_and_nothing_else() {
        let (mut plan, root) = plan(&[], Some(NameRules::Unix));
        let names = [&b"."[..], b"..", b"../up", b"ok", b"ok"];

        plan.listed(
            &root,
            names
                .iter()
                .map(|name| entry(name, EntryKind::File(0)))
                .collect(),
        )
        .unwrap();

        assert_eq!(
            (leaves(&mut plan), plan.tally.failed),
            (vec!["ok".to_owned()], 2)
        );

        assert_eq!(plan.tally.failures[0].0, b"../up");
    }

    #[test]
    fn names_that_are_one_to_this_system_do_not_replace_each_other() {
        for (rules, moved) in [
            (NameRules::Unix, 2),
            (NameRules::Mac, 1),
            (NameRules::Windows, 1),
        ] {
            let (mut plan, root) = plan(&[], Some(rules));

            plan.listed(
                &root,
                vec![
                    entry("Makefile", EntryKind::File(0)),
                    entry("makefile", EntryKind::Directory),
                ],
            )
            .unwrap();

            let found = leaves(&mut plan).len() + directories(&mut plan).len();
            assert_eq!((found, plan.tally.failed), (moved, 2 - moved), "{rules:?}");
        }
    }

    #[test]
    fn a_tree_without_end_ends() {
        let (mut wide, root) = plan(&[], None);
        let many = |count: u8| {
            (0..count)
                .map(|number| entry([number], EntryKind::File(0)))
                .collect()
        };

        assert_eq!(wide.listed(&root, many(8)), Ok(()));
        assert_eq!(wide.listed(&root, many(1)), Err(PlanError::Entries(8)));

        let (mut named, root) = plan(&[], None);
        assert_eq!(
            named.listed(&root, vec![entry([b'n'; 101], EntryKind::File(0))]),
            Err(PlanError::Names(100))
        );

        let (mut deep, mut at) = plan(&[], None);
        for _ in 0..2 {
            deep.listed(&at, vec![entry("d", EntryKind::Directory)])
                .unwrap();
            at = deep.next_directory().unwrap().1;
        }

        deep.listed(&at, vec![entry("d", EntryKind::Directory)])
            .unwrap();
        assert_eq!(
            (deep.next_directory().is_none(), deep.tally.failed),
            (true, 1)
        );

        let (mut long, mut at) = plan(&[], None);

        for failed in 0..2 {
            long.listed(&at, vec![entry([b'd'; 30], EntryKind::Directory)])
                .unwrap();
            assert_eq!(long.tally.failed, failed);
            at = long.next_directory().map_or(at, |(_, directory)| directory);
        }
    }

    #[test]
    fn what_is_guarded_is_named_unless_nobody_wanted_it() {
        let (mut plan, _) = plan(&["/vendor/"], None);
        plan.leave_out(b".ssh".to_vec(), true, "keys".to_owned());
        plan.leave_out(b"vendor".to_vec(), true, "keys".to_owned());
        for number in 0..20 {
            plan.leave_out(vec![b'a', number], false, "keys".to_owned());
        }

        assert_eq!(
            (plan.tally.left_out, plan.tally.named_left_out.len()),
            (21, NAMED_FAILURES)
        );

        assert_eq!(
            plan.tally.named_left_out[0],
            (b".ssh".to_vec(), "keys".to_owned())
        );
    }

    #[test]
    fn too_many_failures_end_it() {
        let (mut plan, _) = plan(&[], None);
        for number in 1..3 {
            assert_eq!(plan.fail(vec![number], "no".to_owned()), Ok(()));
        }

        assert_eq!(
            plan.fail(b"last".to_vec(), "no".to_owned()),
            Err(PlanError::Failures(3))
        );
    }

    #[test]
    fn what_is_not_done_is_handed_out_again() {
        let root = Directory::root(EntryAttributes::default());
        let mut plan = Plan::new(root, Excludes::parse(&[]).unwrap(), None, SMALL);
        let (ticket, root) = plan.next_directory().unwrap();
        let entries = vec![
            entry("a", EntryKind::File(1)),
            entry("b", EntryKind::File(1)),
            entry("c", EntryKind::File(1)),
        ];

        plan.listed(
            &root,
            [entries, vec![entry("d", EntryKind::Directory)]].concat(),
        )
        .unwrap();

        plan.done(ticket);
        let (first, _) = plan.next_leaf().unwrap();
        let (second, _) = plan.next_leaf().unwrap();
        plan.next_directory().unwrap();
        assert!(!plan.is_all_listed());
        plan.done(first);
        plan.begin_again();
        let (again, leaf) = plan.next_leaf().unwrap();
        assert_eq!((again, leaf.path()), (second, b"b".to_vec()));
        assert_eq!(
            (leaves(&mut plan), directories(&mut plan)),
            (vec!["c".to_owned()], vec!["d".to_owned()])
        );

        assert!(!plan.is_all_listed());
    }

    #[test]
    fn few_directories_are_listed_while_many_files_wait() {
        let root = Directory::root(EntryAttributes::default());

        let mut plan = Plan::new(
            Arc::clone(&root),
            Excludes::parse(&[]).unwrap(),
            None,
            LIMITS,
        );

        let mut entries: Vec<_> = (0..ENOUGH_LEAVES)
            .map(|number| entry(format!("f{number}"), EntryKind::File(0)))
            .collect();
        entries.push(entry("d", EntryKind::Directory));
        let (_, root) = plan.next_directory().unwrap();
        plan.listed(&root, entries).unwrap();
        assert!(plan.next_directory().is_none());
        plan.next_leaf().unwrap();
        assert!(plan.next_directory().is_some());
    }
}
