//! What is guarded on this very machine: the places of the [table](crate::policy::table) in the homes that there are, and
//! what the environment, the SSH configuration and this program's own options name.

use std::{
    collections::HashSet,
    env, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::{seen::id_of, ssh_config};
use crate::{
    local::home::{home, listed},
    policy::{
        FileId, GuardReason, GuardedName, Places, TransferDirection,
        table::{HOME, MOVED, SYSTEM, VARIABLES},
    },
};

/// How many links are followed to what they lead to, as in Linux.
const MAX_CHAIN: usize = 40;

/// What this program was told about itself.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// The `ssh_config` file, as `ssh -F`; `None` is the person's own.
    pub ssh_config: Option<PathBuf>,
    /// Files that this program keeps for itself, such as the store.
    pub own: Vec<PathBuf>,
    /// The folder of whole outputs, which may be read.
    pub output: Option<PathBuf>,
}

/// What is guarded now, against one way.
#[derive(Debug)]
pub(super) struct GuardedPlaces {
    pub(super) places: Places,
    /// Guarded directories that are there.
    pub(super) directories: Vec<PathBuf>,
    way: TransferDirection,
}

impl Machine {
    /// Looks at all of it. What appears below it later is known by its name.
    pub(super) fn collect(&self, way: TransferDirection) -> GuardedPlaces {
        let mut all = GuardedPlaces {
            places: Places::new(way),
            directories: Vec::new(),
            way,
        };

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

        all.variables(&homes);
        all.ssh(&ssh_config::read(self.ssh_config.as_deref(), &homes));
        all.own(self);

        all
    }
}

impl GuardedPlaces {
    /// Guards a path, whatever of it is there; a `*` in its last name stands for anything. One that is a link is guarded
    /// together with what it leads to.
    fn guard(&mut self, path: &Path, why: GuardReason) {
        let mut path = path.to_owned();
        for _ in 0..MAX_CHAIN {
            if !path.is_absolute() {
                return;
            }

            if let Some(id) = id_of(&path) {
                self.places.add(id, Vec::new(), why);
                if path.is_dir() {
                    self.directories.push(path.clone());
                }
            }

            self.by_name(&path, why);
            let Ok(target) = path.read_link() else { return };
            path = path.parent().unwrap_or(Path::new("/")).join(target);
        }
    }

    /// Guards the names below the last directory that is there.
    fn by_name(&mut self, path: &Path, why: GuardReason) {
        let (mut names, mut at) = (Vec::new(), path);
        while let (Some(above), Some(name)) = (at.parent(), at.file_name()) {
            names.insert(0, GuardedName::one(&name.to_string_lossy()));

            if let Some(id) = id_of(above) {
                self.places.add(id, names, why);
                return;
            }

            at = above;
        }
    }

    fn home(&mut self, home: &Path) {
        let Some(id) = id_of(home) else { return };

        // Most of what could be there is not, and need not be looked for.
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

    /// What is there is not looked at: it may be on another machine. By its names it is guarded all the same.
    fn other_home(&mut self, home: &Path) {
        let Some(id) = id_of(home) else { return };
        for (path, why) in rows(self.way) {
            self.places.add(id.clone(), GuardedName::path(path), why);
        }
    }

    fn variables(&mut self, homes: &[PathBuf]) {
        for (variable, why, ways) in VARIABLES {
            if ways.contains(&self.way) {
                let value = env::var_os(variable).unwrap_or_default();
                env::split_paths(&value)
                    .for_each(|path| self.guard_unless_home(&path, *why, homes));
            }
        }

        for (variable, usual) in MOVED {
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

        if self.way == TransferDirection::Write {
            let programs = env::var_os("PATH").unwrap_or_default();
            for folder in env::split_paths(&programs).filter(|folder| folder.is_absolute()) {
                if let Some(id) = id_of(&folder) {
                    self.places
                        .add_files(id, vec![GuardedName::one("*")], GuardReason::Programs);
                }
            }

            if let Ok(program) = env::current_exe() {
                self.guard(&program, GuardReason::Own);
            }
        }
    }

    /// A variable that names a whole home, or everything, says nothing.
    fn guard_unless_home(&mut self, path: &Path, why: GuardReason, homes: &[PathBuf]) {
        let is_home = path.parent().is_none()
            || homes
                .iter()
                .any(|home| id_of(home) == id_of(path) && path.exists());
        if !is_home {
            self.guard(path, why);
        }
    }

    fn ssh(&mut self, named: &ssh_config::ConfiguredPaths) {
        for (path, why) in &named.files {
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

    fn own(&mut self, machine: &Machine) {
        for file in &machine.own {
            let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
            self.guard(&file, GuardReason::Own);

            // What is written beside it: its lock, one that is not complete, one that was set aside.
            if let (Some(folder), Some(name)) = (file.parent().and_then(id_of), file.file_name()) {
                let name = name.to_string_lossy();

                for near in [format!(".{name}.*"), format!("{name}.*")] {
                    self.places.add(
                        folder.clone(),
                        vec![GuardedName::one(&near)],
                        GuardReason::Own,
                    );
                }
            }
        }

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

fn rows(way: TransferDirection) -> impl Iterator<Item = (&'static str, GuardReason)> {
    let rows = HOME.iter().filter(move |row| row.ways.contains(&way));
    rows.flat_map(|row| row.paths.iter().map(|path| (*path, row.why)))
}

/// The homes of the person: what the environment says, and what the list of users says, where OpenSSH looks.
pub(super) fn homes() -> Vec<PathBuf> {
    let mut homes: Vec<PathBuf> = home().into_iter().chain(listed()).collect();
    homes.retain(|home| home.parent().is_some());
    homes.dedup();
    homes
}

/// The homes of people in passwd(5). Who is listed elsewhere has an `.ssh`, too, which is guarded anywhere.
fn other_homes() -> Vec<PathBuf> {
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

        // Below are the accounts of services (login.defs(5), `UID_MIN`; 500 on macOS).
        ((number == 0 || number >= 500) && home.parent().is_some()).then_some(home)
    };

    text.lines().filter_map(home).collect()
}

/// What the directories are in which everything may be moved.
pub(super) fn ids(folders: &[PathBuf]) -> Vec<FileId> {
    folders.iter().filter_map(|folder| id_of(folder)).collect()
}
