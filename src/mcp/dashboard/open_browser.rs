//! The person's browser.

use std::{io, process::Stdio};

use crate::child;

/// What opens an address in the browser that the person has chosen.
const OPENER: &str = if cfg!(target_os = "macos") {
    "open"
} else if cfg!(windows) {
    "explorer"
} else {
    "xdg-open"
};

/// Opens an address, in the context of a tokio runtime, which looks after the child. Other users may see it in the list of
/// processes: a link works once, and on loopback for processes of this user alone.
///
/// # Errors
/// The system has no program for that.
pub fn open(url: &str) -> io::Result<()> {
    // A browser in the terminal would take over what is not its own.
    let mut command = child::command(OPENER);
    command
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());

    command
        .spawn()
        .map(drop)
        .map_err(|error| io::Error::new(error.kind(), format!("{OPENER}: {error}")))
}
