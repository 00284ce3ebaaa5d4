//! What is on a disk, and a disk that is soon full.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::checks::skipped;

/// The names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Whether a name ends in this extension.
pub(crate) fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|end| end == extension)
}

/// A half-written file in the folder, and its length.
pub(crate) fn part(folder: &Path) -> Option<(PathBuf, u64)> {
    let mut entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let part = entries.find(|path| path.extension().is_some_and(|end| end == "part"))?;
    let length = fs::metadata(&part).ok()?.len();
    Some((part, length))
}

/// A small file system.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// One of a megabyte; `None` where this user may not mount one.
    pub(crate) fn mount(at: &Path) -> Option<Self> {
        Self::of_megabytes(1, at)
    }

    pub(crate) fn of_megabytes(size: u32, at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let size = format!("size={size}m");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(at)
            .output();

        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }

        skipped("may not mount a small disk");

        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
