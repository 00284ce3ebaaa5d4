//! `known_hosts` files, locked against other processes which write them.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::Path,
};

use crate::local::{Folder, LocalName};

/// Appends lines to a file. A missing file or directory is created.
pub(super) fn append(path: &str, lines: &str) -> io::Result<()> {
    let path = Path::new(path);

    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        Folder::made(folder)?;
    }

    let (mut file, before) = open_locked(&LocalName::resolve(path)?, true)?;
    // A last line without its line feed would otherwise merge with the new line.
    let newline = if before.is_empty() || before.ends_with(b"\n") {
        ""
    } else {
        "\n"
    };

    file.write_all(format!("{newline}{lines}").as_bytes())
}

/// Opens a file for appending and locks it against other processes which do the same. Returns the
/// file and its content.
pub(super) fn open_locked(name: &LocalName, create: bool) -> io::Result<(File, Vec<u8>)> {
    loop {
        let mut file = name.folder.open_to_append(&name.name, create)?;
        name.folder.trust_file(&file)?;
        file.lock()?;

        // Another process may have replaced the file during the wait for the lock. Then the lock is
        // on the old file, and the new file must be opened.
        if is_at(&file, name)? {
            // Read through the locked handle: on Windows the lock excludes all other handles, even
            // of this process.
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            return Ok((file, text));
        }
    }
}

/// Returns true if the open file is still the file with this name, and was not replaced by another.
#[cfg(unix)]
pub(super) fn is_at(file: &File, name: &LocalName) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let open = file.metadata()?;
    let there = name.folder.identity(&name.name, false)?;
    Ok(there == Some((open.dev(), open.ino())))
}

/// Returns true: on Windows no file can replace a file which is open.
#[cfg(windows)]
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
pub(super) fn is_at(_: &File, _: &LocalName) -> io::Result<bool> {
    Ok(true)
}
