//! Programs of this machine.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::checks::skipped;

/// Where a shell is that the tests need; its Debian package has its name.
pub(crate) fn shell(name: &str) -> PathBuf {
    // shells(5): the paths that a server takes for login shells.
    let listed = fs::read_to_string("/etc/shells").unwrap_or_default();
    let usual = ["/bin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"]
        .map(|folder| Path::new(folder).join(name));
    let mut places = listed.lines().map(PathBuf::from).chain(usual);
    let found =
        places.find(|path| path.file_name().is_some_and(|file| file == name) && path.is_file());

    found
        .unwrap_or_else(|| panic!("{name} is missing: install it (Debian: apt-get install {name})"))
}

/// A folder of this machine's programs without bash, in which `sh` is this shell.
pub(crate) fn without_bash(sh: &str) -> TempDir {
    let programs = tempfile::tempdir().unwrap();
    symlink(shell(sh), programs.path().join("sh")).unwrap();

    for place in ["/usr/bin", "/bin"] {
        for entry in fs::read_dir(place).unwrap().flatten() {
            let name = entry.file_name();
            if !name.to_string_lossy().contains("bash") {
                // What is there already, `sh` among it, stays.
                let _ = symlink(entry.path(), programs.path().join(name));
            }
        }
    }

    programs
}

/// Words before a command that see mounts of their own; `None`, aloud, where this user cannot.
pub(crate) fn with_mounts(mount: &str) -> Option<Vec<String>> {
    let script = format!("{mount} && exec \"$@\"");
    let before = ["unshare", "-m", "sh", "-c", &script, "sh"];
    let works = Command::new(before[0])
        .args(&before[1..])
        .arg("true")
        .output();
    if !works.is_ok_and(|output| output.status.success()) {
        skipped("may not mount for an sshd alone");
        return None;
    }

    Some(before.map(str::to_owned).to_vec())
}
