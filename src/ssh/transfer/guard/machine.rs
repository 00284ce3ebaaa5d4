//! The guarded places of this machine: those of the [table](crate::policy::table) in the existing
//! homes, and those named by the environment, the SSH configuration and this program's own options.

use std::{
    collections::HashSet,
    env, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::{file_facts::id_of, ssh_config};
use crate::{
    local::home::{home, listed},
    policy::{
        FileId, GuardReason, GuardedName, Places, TransferDirection,
        table::{HOME, MOVED, SYSTEM, VARIABLES},
    },
};

/// Upper limit of links followed from a guarded path, as in Linux.
const MAX_CHAIN: usize = 40;

/// Options with paths of guarded files.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// Path of the `ssh_config` file, as in `ssh -F`. `None` stands for the user's own file.
    pub ssh_config: Option<PathBuf>,
    /// Paths of this program's own files, such as the store.
    pub own: Vec<PathBuf>,
    /// Folder of complete command outputs, which may be read. `None` if there is no such folder.
    pub output: Option<PathBuf>,
}

/// Guarded places of the machine at a point in time, for a single direction. Created by
/// [`Machine::collect`].
#[derive(Debug)]
pub(super) struct GuardedPlaces {
    /// Places by device and inode, or by names below existing directories.
    pub(super) places: Places,
    /// Paths of the guarded directories which exist.
    pub(super) directories: Vec<PathBuf>,
    way: TransferDirection,
}

impl Machine {
    /// Collects all guarded places. Files that appear later below a place are recognised by name.
    pub(super) fn collect(&self, way: TransferDirection) -> GuardedPlaces {
        let mut all = GuardedPlaces {
            places: Places::new(way),
            directories: Vec::new(),
            way,
        };

        // The environment may name another home than the list of users, and OpenSSH looks in the
        // latter.
        let homes = homes();
        for home in &homes {
            all.home(home);
        }

        for home in other_homes() {
            all.other_home(&home);
        }

        for row in SYSTEM.iter().filter(|row| row.ways.contains(&way)) {
            row.paths
                .iter()
                .for_each(|path| all.guard(Path::new(path), row.why));
        }

        // The table covers the usual paths; the environment and the SSH configuration may move
        // them.
        all.variables(&homes);
        all.ssh(&ssh_config::read(self.ssh_config.as_deref(), &homes));
        all.own(self);

        all
    }
}

impl GuardedPlaces {
    /// Guards a path, existing or not. A `*` in the last name matches any text. The destination of
    /// a link is guarded as well.
    fn guard(&mut self, path: &Path, why: GuardReason) {
        let mut path = path.to_owned();
        for _ in 0..MAX_CHAIN {
            if !path.is_absolute() {
                return;
            }

            // By identity, which on Unix is device and inode, the file is recognised under any
            // path.
            if let Some(id) = id_of(&path) {
                self.places.add(id, Vec::new(), why);
                if path.is_dir() {
                    self.directories.push(path.clone());
                }
            }

            // The name stays guarded too: the file may be replaced, or appear later.
            self.by_name(&path, why);
            let Ok(target) = path.read_link() else { return };
            path = path.parent().unwrap_or(Path::new("/")).join(target);
        }
    }

    /// Guards a path by the names below the deepest existing directory.
    fn by_name(&mut self, path: &Path, why: GuardReason) {
        let (mut names, mut at) = (Vec::new(), path);
        while let (Some(above), Some(name)) = (at.parent(), at.file_name()) {
            names.insert(0, GuardedName::single_name(&name.to_string_lossy()));

            if let Some(id) = id_of(above) {
                self.places.add(id, names, why);
                return;
            }

            at = above;
        }
    }

    /// Guards the table's paths in a home of the user.
    fn home(&mut self, home: &Path) {
        let Some(id) = id_of(home) else { return };

        // A single listing saves a lookup for each row of the table, most of which do not exist.
        let there: HashSet<String> = fs::read_dir(home)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().to_lowercase())
            .collect();

        for (path, why) in rows(self.way) {
            self.places.add(id.clone(), GuardedName::path(path), why);
            let first = path.split('/').next().unwrap_or(path);
            if !path.contains('*') && there.contains(&first.to_lowercase()) {
                self.guard(&home.join(path), why);
            }
        }
    }

    /// Guards the table's names in the home of another user. Nothing in the home is looked at,
    /// because it may be on another machine.
    fn other_home(&mut self, home: &Path) {
        let Some(id) = id_of(home) else { return };
        for (path, why) in rows(self.way) {
            self.places.add(id.clone(), GuardedName::path(path), why);
        }
    }

    /// Guards the paths named by environment variables, and for writing also the programs in `PATH`
    /// and this program itself.
    fn variables(&mut self, homes: &[PathBuf]) {
        for (variable, why, ways) in VARIABLES {
            if ways.contains(&self.way) {
                let value = env::var_os(variable).unwrap_or_default();
                env::split_paths(&value)
                    .for_each(|path| self.guard_unless_home(&path, *why, homes));
            }
        }

        for (variable, usual) in MOVED {
            // A relative value depends on the working directory of each program, so it names no
            // fixed place.
            let Some(folder) = env::var_os(variable)
                .map(PathBuf::from)
                .filter(|folder| folder.is_absolute())
            else {
                continue;
            };

            for (path, why) in rows(self.way) {
                let rest = if usual.is_empty() {
                    Some(path)
                } else {
                    path.strip_prefix(usual)
                };

                if let Some(rest) = rest
                    .map(|rest| rest.trim_start_matches('/'))
                    .filter(|rest| !rest.is_empty())
                {
                    self.guard(&folder.join(rest), why);
                }
            }
        }

        // Programs in `PATH` are run by name: a file of any name there may replace a command.
        if self.way == TransferDirection::Write {
            let programs = env::var_os("PATH").unwrap_or_default();
            for folder in env::split_paths(&programs).filter(|folder| folder.is_absolute()) {
                if let Some(id) = id_of(&folder) {
                    self.places.add_files(
                        id,
                        vec![GuardedName::single_name("*")],
                        GuardReason::Programs,
                    );
                }
            }

            if let Ok(program) = env::current_exe() {
                self.guard(&program, GuardReason::Own);
            }
        }
    }

    /// Guards the path of an environment variable. A variable that names a whole home or the root
    /// directory is ignored, since it would guard everything.
    fn guard_unless_home(&mut self, path: &Path, why: GuardReason, homes: &[PathBuf]) {
        let is_home = path.parent().is_none()
            || homes
                .iter()
                .any(|home| id_of(home) == id_of(path) && path.exists());
        if !is_home {
            self.guard(path, why);
        }
    }

    /// Guards the paths named by the SSH configuration.
    fn ssh(&mut self, named: &ssh_config::ConfiguredPaths) {
        for (path, why) in &named.files {
            // Public keys may be sent; every file of the configuration may be obeyed, so none is
            // replaced.
            let is_public = path.extension().is_some_and(|end| end == "pub");
            let guarded = match self.way {
                TransferDirection::Read => *why == GuardReason::KeyFile && !is_public,
                TransferDirection::Write => true,
            };

            if guarded {
                self.guard(path, *why);
            }
        }
    }

    /// Guards this program's own files, and for writing also its folders.
    fn own(&mut self, machine: &Machine) {
        for file in &machine.own {
            let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
            self.guard(&file, GuardReason::Own);

            // The files written next to it: the lock, an incomplete file, and a file set aside.
            if let (Some(folder), Some(name)) = (file.parent().and_then(id_of), file.file_name()) {
                let name = name.to_string_lossy();

                for near in [format!(".{name}.*"), format!("{name}.*")] {
                    self.places.add(
                        folder.clone(),
                        vec![GuardedName::single_name(&near)],
                        GuardReason::Own,
                    );
                }
            }
        }

        // Only against writing, because the outputs in these folders may be read.
        if self.way == TransferDirection::Write {
            let folders = [
                dirs::runtime_dir(),
                dirs::state_dir(),
                dirs::data_local_dir(),
            ];

            let folders = folders
                .into_iter()
                .flatten()
                .map(|folder| folder.join("mcp-ssh-sessions"));

            let output = machine
                .output
                .as_ref()
                .and_then(|folder| std::path::absolute(folder).ok());

            folders
                .chain(output)
                .for_each(|folder| self.guard(&folder, GuardReason::Own));
        }
    }
}

/// Returns the table's paths below a home for a direction, each with the reason.
fn rows(way: TransferDirection) -> impl Iterator<Item = (&'static str, GuardReason)> {
    let rows = HOME.iter().filter(move |row| row.ways.contains(&way));
    rows.flat_map(|row| row.paths.iter().map(|path| (*path, row.why)))
}

/// Returns the homes of the user: from the environment, and from the list of users, where OpenSSH
/// looks.
pub(super) fn homes() -> Vec<PathBuf> {
    let mut homes: Vec<PathBuf> = home().into_iter().chain(listed()).collect();
    homes.retain(|home| home.parent().is_some());
    homes.dedup();
    homes
}

/// Returns the homes of the users in passwd(5). Users from other sources have an `.ssh` as well,
/// which is guarded everywhere.
fn other_homes() -> Vec<PathBuf> {
    // A system without this file, such as Windows, has no other homes to look for here.
    let text = match fs::read_to_string("/etc/passwd") {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            tracing::warn!(%error, "the list of users cannot be read");
            return Vec::new();
        }
    };

    let home = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let number: u32 = fields.next()?.parse().ok()?;
        let home = PathBuf::from(fields.nth(2)?);

        // Accounts with a lower number belong to services (login.defs(5), `UID_MIN`; 500 on macOS).
        ((number == 0 || number >= 500) && home.parent().is_some()).then_some(home)
    };

    text.lines().filter_map(home).collect()
}

/// Returns the identities of existing directories in which everything may be moved.
pub(super) fn ids(folders: &[PathBuf]) -> Vec<FileId> {
    folders.iter().filter_map(|folder| id_of(folder)).collect()
}
