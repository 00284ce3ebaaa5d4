//! Reads the hosts that the SSH configuration names literally.

use std::{fs, path::Path};

use super::fallback::{home_or_root, included, system_folder};
use crate::{
    local::home::{home, listed},
    openssh::host_names::{NamedHost, NamedHosts},
};

/// Limit of the files that are read. A user's configuration has fewer.
const MAX_FILES: usize = 1_000;
/// Limit of the bytes that are read in all.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// Returns the hosts that the configuration of the user and of the system names, or the file
/// `config_file` instead (`ssh -F`). Nobody is contacted, and no program is run.
///
/// Files that `ssh` would refuse or that cannot be read are skipped.
#[must_use]
pub fn named_hosts(config_file: Option<&Path>) -> Vec<NamedHost> {
    let mut hosts = NamedHosts::default();
    // OpenSSH finds the user's file by the list of users, and `~` in `Include` by `$HOME`.
    let user_file = listed().or_else(home).map(|home| home.join(".ssh/config"));
    let user_folder = home_or_root().join(".ssh");
    let system_folder = system_folder();

    match (config_file, user_file) {
        (Some(none), _) if none.as_os_str() == "none" => {}
        (Some(file), _) => ConfigFiles::new(&user_folder).read(file, Writers::Any, &mut hosts),
        (None, user_file) => {
            if let Some(file) = user_file {
                ConfigFiles::new(&user_folder).read(&file, Writers::Trusted, &mut hosts);
            }

            let file = system_folder.join("ssh_config");
            ConfigFiles::new(&system_folder).read(&file, Writers::Any, &mut hosts);
        }
    }

    hosts.into_hosts()
}

/// Users who may be able to write a file that is read. The rules are those of `ssh`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writers {
    /// Only this user and root.
    Trusted,
    Any,
}

/// Reader of a configuration file and of the files which that file includes.
struct ConfigFiles<'a> {
    /// Base of relative paths in `Include`.
    folder: &'a Path,
    files_left: usize,
    bytes_left: u64,
}

impl<'a> ConfigFiles<'a> {
    fn new(folder: &'a Path) -> Self {
        Self {
            folder,
            files_left: MAX_FILES,
            bytes_left: MAX_BYTES,
        }
    }

    /// Adds the hosts of a file and of the included files.
    fn read(mut self, path: &Path, writers: Writers, hosts: &mut NamedHosts) {
        let Some(text) = self.text(path, writers) else {
            return;
        };

        hosts.read(&text, &mut |pattern| {
            let paths = included(pattern, self.folder).into_iter().flatten();
            let paths = paths.flatten().take(MAX_FILES);
            paths
                .filter_map(|path| self.text(&path, Writers::Trusted))
                .collect()
        });
    }

    /// Reads a file; `None` if the file is skipped.
    fn text(&mut self, path: &Path, writers: Writers) -> Option<String> {
        // A device or pipe might never end.
        let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        if writers == Writers::Trusted && !is_trusted(&found) {
            return None;
        }

        self.files_left = self.files_left.checked_sub(1)?;
        self.bytes_left = self.bytes_left.checked_sub(found.len())?;
        let text = fs::read(path).ok()?;

        Some(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Returns true if only the user and root can write the file.
#[cfg(unix)]
fn is_trusted(file: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let user = nix::unistd::Uid::current().as_raw();
    [0, user].contains(&file.uid()) && file.mode() & 0o022 == 0
}

/// Returns true: this system's permissions are checked by `ssh` alone.
#[cfg(not(unix))]
fn is_trusted(_: &fs::Metadata) -> bool {
    true
}
