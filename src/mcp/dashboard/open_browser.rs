//! Opens the user's browser.

use std::{io, process::Stdio};

use crate::child;

/// Program which opens an address in the browser of the user's choice.
const OPENER: &str = if cfg!(target_os = "macos") {
    "open"
} else if cfg!(windows) {
    "explorer"
} else {
    "xdg-open"
};

/// Opens an address in the browser, in the context of a tokio runtime, which reaps the child. Other
/// users may see the address in the list of processes. But a link works once, and on loopback only
/// for processes of this user.
///
/// # Errors
/// The system has no program for opening an address.
pub fn open(url: &str) -> io::Result<()> {
    // A browser for terminals must not take over the streams of this process.
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
