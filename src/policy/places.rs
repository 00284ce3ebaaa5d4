//! Recognises guarded places by identity, however their paths are spelled.
//!
//! Every existing directory and file is known by its [`FileId`], so links, `..`, hard links, mounts
//! and names in another case lead to the same place. A place that does not exist yet is known by
//! its names below an existing directory.

use std::collections::HashMap;

use super::{
    FileId, GuardReason, TransferDirection,
    names::{GuardedName, folded},
    table::ANYWHERE,
};

/// Set of the places guarded in a given direction of transfer. The rules for any directory are
/// always present, and the caller adds the places of this machine. After that, the set only answers
/// questions.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    way: TransferDirection,
    by_id: HashMap<FileId, Vec<Ahead>>,
    /// Rules which apply below any directory.
    anywhere: Vec<Ahead>,
}

/// A guarded place below some directory, reached by these names. Without names, the place is the
/// directory or file itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ahead {
    names: Vec<GuardedName>,
    why: GuardReason,
    /// True if only the files of the place are guarded, but not the content of subdirectories.
    files_only: bool,
}

/// Facts about a local directory, from which [`Places`] judges the entries of the directory.
/// [`Places::spot`] makes the facts for a path and [`Places::directory`] the facts for a
/// subdirectory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DirectoryFacts {
    guarded: Option<GuardReason>,
    ahead: Vec<Ahead>,
    /// True for a directory inside the data of a Git repository.
    of_git: bool,
    /// True for `/proc` and everything below.
    of_process: bool,
}

impl DirectoryFacts {
    /// Returns the reason for guarding the directory and the whole content. `None` if the content
    /// is judged entry by entry.
    #[must_use]
    pub(crate) fn guarded(&self) -> Option<GuardReason> {
        self.guarded
    }

    /// Returns true if nothing is known about the directory, so only the rules for any directory
    /// apply.
    #[must_use]
    pub(crate) fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

impl Places {
    /// Creates a set with only the rules for any directory. The places of this machine are
    /// [added](Self::add) later.
    #[must_use]
    pub(crate) fn new(way: TransferDirection) -> Self {
        // These rules need no identity: they hold below whatever directory is found.
        let rows = ANYWHERE.iter().filter(|row| row.ways.contains(&way));
        let anywhere = rows.flat_map(|row| {
            row.paths.iter().map(|path| Ahead {
                names: GuardedName::path(path),
                why: row.why,
                files_only: false,
            })
        });

        Self {
            way,
            by_id: HashMap::new(),
            anywhere: anywhere.collect(),
        }
    }

    /// Guards a place below `at`, including the whole content of a directory. `names` lead from
    /// `at` to the place; without names, `at` itself is guarded.
    pub(crate) fn add(&mut self, at: FileId, names: Vec<GuardedName>, why: GuardReason) {
        self.by_id.entry(at).or_default().push(Ahead {
            names,
            why,
            files_only: false,
        });
    }

    /// Guards the files below `at` which the names lead to, but not the content of directories
    /// there.
    pub(crate) fn add_files(&mut self, at: FileId, names: Vec<GuardedName>, why: GuardReason) {
        self.by_id.entry(at).or_default().push(Ahead {
            names,
            why,
            files_only: true,
        });
    }

    /// Returns the facts about a directory. `way_there` holds the name and identity of every
    /// directory from the root of the file system down to this directory.
    #[must_use]
    pub(crate) fn spot(&self, way_there: &[(Vec<u8>, FileId)]) -> DirectoryFacts {
        // Only `/proc` itself counts: a directory named `proc` elsewhere holds ordinary files.
        let mut spot = DirectoryFacts::default();
        for (depth, (name, id)) in way_there.iter().enumerate() {
            let is_proc = depth == 1 && name == b"proc";
            spot = self.directory(&spot, name, Some(id));
            spot.of_process |= is_proc;
        }
        spot
    }

    /// Returns the facts about a subdirectory of `above`. `id` is `None` if the subdirectory does
    /// not exist yet.
    #[must_use]
    pub(crate) fn directory(
        &self,
        above: &DirectoryFacts,
        name: &[u8],
        id: Option<&FileId>,
    ) -> DirectoryFacts {
        // Nothing below needs a look of its own: the whole content is guarded for the same reason.
        if above.guarded.is_some() {
            return DirectoryFacts {
                guarded: above.guarded,
                ..DirectoryFacts::default()
            };
        }

        // Names also cover a directory that does not exist yet.
        let name = folded(name);
        let by_name = above
            .ahead
            .iter()
            .chain(&self.anywhere)
            .filter_map(|ahead| ahead.after(&name));

        // The identity finds the place when a link, a mount or another spelling leads to it.
        let by_id = id
            .and_then(|id| self.by_id.get(id))
            .into_iter()
            .flatten()
            .cloned();

        // `.git` of a work tree and a bare `name.git` have the same layout, so both count. Git runs
        // the programs in `hooks`.
        let mut spot = DirectoryFacts {
            of_git: above.of_git || name.strip_suffix(".git").is_some(),
            of_process: above.of_process,
            ..DirectoryFacts::default()
        };

        if self.way == TransferDirection::Write && above.of_git && name == "hooks" {
            spot.guarded = Some(GuardReason::Versions);
        }

        // A rule with names left waits for the levels below. The first rule without names decides.
        for ahead in by_name.chain(by_id) {
            if !ahead.names.is_empty() {
                spot.ahead.push(ahead);
            } else if !ahead.files_only {
                spot.guarded.get_or_insert(ahead.why);
            }
        }

        spot
    }

    /// Returns the reason why a link in the directory `inside` may not be created. A link is also
    /// guarded if its name lies on the way to a guarded place, because the link would then redirect
    /// the whole place.
    #[must_use]
    pub(crate) fn link(
        &self,
        inside: &DirectoryFacts,
        name: &[u8],
        id: Option<&FileId>,
    ) -> Option<GuardReason> {
        self.file(inside, name, id).or_else(|| {
            let spot = self.directory(inside, name, id);
            spot.guarded
                .or_else(|| spot.ahead.first().map(|ahead| ahead.why))
        })
    }

    /// Returns the reason why a file in the directory `inside` is guarded. `id` is `None` if the
    /// file does not exist yet.
    #[must_use]
    pub(crate) fn file(
        &self,
        inside: &DirectoryFacts,
        name: &[u8],
        id: Option<&FileId>,
    ) -> Option<GuardReason> {
        if inside.guarded.is_some() {
            return inside.guarded;
        }

        // The name decides first, because the file may not exist yet.
        let name = folded(name);
        let by_name = inside
            .ahead
            .iter()
            .chain(&self.anywhere)
            .find(|ahead| ahead.ends_with(&name));

        // The identity catches hard links and renamed files. `/proc` shows the environment and
        // memory of processes as files, which hold secrets to read and nothing to replace.
        by_name
            .map(|ahead| ahead.why)
            .or_else(|| self.by_id(id?))
            .or_else(|| match self.way {
                TransferDirection::Write => {
                    is_of_git(inside.of_git, &name).then_some(GuardReason::Versions)
                }
                TransferDirection::Read => (inside.of_process
                    && matches!(name.as_str(), "environ" | "mem" | "kcore"))
                .then_some(GuardReason::Process),
            })
    }

    /// Returns the reason why a file is guarded under any name.
    #[must_use]
    pub(crate) fn by_id(&self, id: &FileId) -> Option<GuardReason> {
        self.by_id
            .get(id)?
            .iter()
            .find(|ahead| ahead.names.is_empty() && !ahead.files_only)
            .map(|ahead| ahead.why)
    }
}

impl Ahead {
    /// Returns the part of the rule which remains after a directory of this name. `None` if the
    /// rule does not lead through that directory.
    fn after(&self, name: &str) -> Option<Self> {
        let (first, rest) = self.names.split_first()?;
        first.matches(name).then(|| Self {
            names: rest.to_vec(),
            ..*self
        })
    }

    /// Returns true if the rule names exactly this entry and nothing below.
    fn ends_with(&self, name: &str) -> bool {
        matches!(self.names.as_slice(), [only] if only.matches(name))
    }
}

/// Returns true for files which make Git run programs: the settings of a repository, and files
/// which say where the repository is.
fn is_of_git(inside: bool, name: &str) -> bool {
    name == ".git"
        || inside
            && matches!(
                name,
                "config" | "config.worktree" | "commondir" | "gitdir" | "hooks"
            )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(inode: u64) -> FileId {
        FileId::Inode { device: 1, inode }
    }

    /// `/`, `/home` and `/home/u`, where 10 is the home and 20 an `.ssh` that lies elsewhere.
    fn places(way: TransferDirection) -> Places {
        let mut places = Places::new(way);

        for (path, why) in [
            (".ssh", GuardReason::Ssh),
            (".config/autostart", GuardReason::Autostart),
            (".claude*", GuardReason::Agent),
        ] {
            places.add(id(10), GuardedName::path(path), why);
        }

        places.add(id(20), Vec::new(), GuardReason::Ssh);
        places.add(id(21), Vec::new(), GuardReason::KeyFile);
        places.add_files(
            id(22),
            vec![GuardedName::single_name("*")],
            GuardReason::Programs,
        );

        places
    }

    fn way_to(names: &[(&str, u64)]) -> Vec<(Vec<u8>, FileId)> {
        let above = [("", 1), ("home", 2), ("u", 10)];
        above
            .iter()
            .chain(names)
            .map(|(name, inode)| (name.as_bytes().to_vec(), id(*inode)))
            .collect()
    }

    #[test]
    fn a_place_is_known_by_what_it_is_or_by_its_names() {
        let places = places(TransferDirection::Write);
        for (names, file, found, why) in [
            (&[][..], "notes", None, None),
            (&[(".ssh", 30)], "config", None, Some(GuardReason::Ssh)),
            (&[(".SSH", 30)], "config", None, Some(GuardReason::Ssh)),
            (
                &[("work", 31), ("link", 20)],
                "config",
                None,
                Some(GuardReason::Ssh),
            ),
            (
                &[("work", 31), ("link", 20), ("deep", 32)],
                "x",
                None,
                Some(GuardReason::Ssh),
            ),
            (
                &[("work", 31)],
                "hard link",
                Some(21),
                Some(GuardReason::KeyFile),
            ),
            (&[("work", 31)], "other", Some(33), None),
            (
                &[(".config", 34)],
                "autostart",
                None,
                Some(GuardReason::Autostart),
            ),
            (
                &[(".config", 34), ("autostart", 35)],
                "x.desktop",
                None,
                Some(GuardReason::Autostart),
            ),
            (&[(".config", 34), ("other", 35)], "autostart", None, None),
            (&[], ".claude.json", None, Some(GuardReason::Agent)),
            (&[("work", 31)], ".claude.json", None, None),
            (&[("tools", 22)], "ls", None, Some(GuardReason::Programs)),
            (&[("tools", 22), ("data", 36)], "ls", None, None),
        ] {
            let spot = places.spot(&way_to(names));
            assert_eq!(
                places.file(&spot, file.as_bytes(), found.map(id).as_ref()),
                why,
                "{names:?} {file}"
            );
        }
    }

    #[test]
    fn a_link_does_not_take_the_place_of_a_directory_on_the_way() {
        let places = places(TransferDirection::Write);
        let home = places.spot(&way_to(&[]));

        for (name, why) in [
            (".config", Some(GuardReason::Autostart)),
            (".ssh", Some(GuardReason::Ssh)),
            ("notes", None),
        ] {
            assert_eq!(places.link(&home, name.as_bytes(), None), why, "{name}");
        }

        assert_eq!(places.file(&home, b".config", None), None);
        assert_eq!(
            places.link(&DirectoryFacts::default(), b".git", None),
            Some(GuardReason::Versions)
        );
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "it is a table")]
    fn some_names_are_guarded_anywhere() {
        for (way, directories, file, why) in [
            (
                TransferDirection::Write,
                &[".git"][..],
                "config",
                Some(GuardReason::Versions),
            ),
            (
                TransferDirection::Write,
                &[".GIT"],
                "Config",
                Some(GuardReason::Versions),
            ),
            (
                TransferDirection::Write,
                &[".git", "hooks"],
                "x",
                Some(GuardReason::Versions),
            ),
            (
                TransferDirection::Write,
                &[".git", "modules", "sub", "hooks"],
                "x",
                Some(GuardReason::Versions),
            ),
            (
                TransferDirection::Write,
                &[".git", "modules", "sub"],
                "config",
                Some(GuardReason::Versions),
            ),
            (
                TransferDirection::Write,
                &["bare.git"],
                "config",
                Some(GuardReason::Versions),
            ),
            (
                TransferDirection::Write,
                &["bare.git", "hooks"],
                "x",
                Some(GuardReason::Versions),
            ),
            (
                TransferDirection::Write,
                &[],
                ".git",
                Some(GuardReason::Versions),
            ),
            (TransferDirection::Write, &[".git", "objects"], "pack", None),
            (TransferDirection::Write, &["src", "hooks"], "x", None),
            (TransferDirection::Write, &["src"], "config", None),
            (TransferDirection::Read, &[".git"], "config", None),
            (
                TransferDirection::Write,
                &["project"],
                ".mcp.json",
                Some(GuardReason::Agent),
            ),
            (
                TransferDirection::Write,
                &["project", ".claude"],
                "settings.json",
                Some(GuardReason::Agent),
            ),
            (
                TransferDirection::Write,
                &["project", ".vscode"],
                "tasks.json",
                Some(GuardReason::Startup),
            ),
            (
                TransferDirection::Write,
                &["project", ".vscode"],
                "settings.json",
                None,
            ),
            (
                TransferDirection::Write,
                &["backup", ".ssh"],
                "authorized_keys",
                Some(GuardReason::Ssh),
            ),
            (
                TransferDirection::Read,
                &["backup", ".ssh"],
                "id",
                Some(GuardReason::Ssh),
            ),
            (
                TransferDirection::Read,
                &["project", ".claude"],
                "settings.json",
                None,
            ),
            (
                TransferDirection::Read,
                &["home", ".claude"],
                ".credentials.json",
                Some(GuardReason::Credentials),
            ),
            (TransferDirection::Read, &["tasks.json"], ".vscode", None),
        ] {
            let places = Places::new(way);
            let plain = DirectoryFacts::default();
            let spot = directories.iter().fold(plain, |spot, name| {
                places.directory(&spot, name.as_bytes(), None)
            });

            assert_eq!(
                places.file(&spot, file.as_bytes(), None),
                why,
                "{way:?} {directories:?} {file}"
            );
        }
    }

    #[test]
    fn most_directories_are_plain() {
        let places = places(TransferDirection::Write);
        let spot = places.spot(&way_to(&[("work", 31), ("src", 32)]));
        assert!(spot.is_plain() && spot.guarded().is_none());
        assert!(!places.spot(&way_to(&[])).is_plain());
    }

    #[test]
    fn the_environment_of_a_process_is_no_file_to_send() {
        let way: Vec<_> = [("", 1), ("proc", 2), ("77", 3), ("task", 4), ("77", 5)]
            .iter()
            .map(|(name, inode)| (name.as_bytes().to_vec(), id(*inode)))
            .collect();

        for (length, file, why) in [
            (3, "environ", Some(GuardReason::Process)),
            (5, "environ", Some(GuardReason::Process)),
            (3, "status", None),
            (2, "cpuinfo", None),
        ] {
            let places = Places::new(TransferDirection::Read);
            assert_eq!(
                places.file(&places.spot(&way[..length]), file.as_bytes(), None),
                why,
                "{file}"
            );
        }

        let elsewhere = [
            (Vec::new(), id(1)),
            (b"work".to_vec(), id(2)),
            (b"proc".to_vec(), id(3)),
        ];

        let places = Places::new(TransferDirection::Read);
        assert_eq!(
            places.file(&places.spot(&elsewhere), b"environ", None),
            None
        );
    }
}
