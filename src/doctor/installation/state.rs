//! What belongs to this program: itself, saved sessions, settings, and the shared daemon.

use std::{env, path::PathBuf};

use super::{DaemonState, InstallationCheck};
use crate::session::{causes::with_causes, settings_file::SettingsFile, store::Store};

/// Returns the version and the place of this program.
pub(super) fn program() -> InstallationCheck {
    let place = env::current_exe().map_or_else(
        |error| format!("at an unknown place: {error}"),
        |file| file.display().to_string(),
    );
    InstallationCheck::good(
        "mcp-ssh-sessions",
        format!("{} ({place})", env!("CARGO_PKG_VERSION")),
    )
}

/// Checks that the saved sessions can be read.
pub(super) fn store(path: Option<PathBuf>) -> InstallationCheck {
    let Some(file) = path.clone() else {
        return InstallationCheck::bad("sessions", "the home directory is not known", "set HOME");
    };
    if !file.exists() {
        return InstallationCheck::absent("sessions", "none is saved yet", None);
    }

    match Store::new(path).peek() {
        Ok(document) => {
            let count = document.sessions.len();
            let noun = if count == 1 { "session" } else { "sessions" };
            InstallationCheck::good("sessions", format!("{count} {noun} in {}", file.display()))
        }
        Err(reason) => InstallationCheck::bad(
            "sessions",
            reason,
            "repair or remove the file; otherwise the next connection sets it aside",
        ),
    }
}

/// Checks that the settings file can be used, if there is one.
pub(super) fn settings(file: &SettingsFile) -> InstallationCheck {
    let name = "settings";
    let place = file
        .path()
        .map_or_else(String::new, |path| path.display().to_string());

    match file.current() {
        Ok(None) => InstallationCheck::absent(
            name,
            format!("there is no {place}, so an agent may do what you can do"),
            None,
        ),
        Ok(Some(_)) => InstallationCheck::good(name, place),
        Err(error) => InstallationCheck::bad(
            name,
            format!("{place} cannot be used: {}", with_causes(&error.problem)),
            "correct the file; until then nothing is done on any host",
        ),
    }
}

/// Judges the shared daemon.
pub(super) fn daemon(daemon: DaemonState) -> InstallationCheck {
    match daemon {
        DaemonState::Absent => InstallationCheck::absent(
            "shared daemon",
            "none runs; a client that uses --shared starts it",
            None,
        ),

        // An older daemon gives way to a later version by itself.
        DaemonState::Answers { version } if version == env!("CARGO_PKG_VERSION") => {
            InstallationCheck::good("shared daemon", format!("runs, version {version}"))
        }
        DaemonState::Answers { version } => InstallationCheck::good(
            "shared daemon",
            format!("runs, version {version}; a later version takes over when a client starts it"),
        ),
        DaemonState::Fails(reason) => InstallationCheck::bad(
            "shared daemon",
            reason,
            "end the process that listens there, and start the client again",
        ),
    }
}
