//! Locations of the user's own files. Never relative paths: those would lead to a folder of whoever
//! owns the working directory.

use std::path::PathBuf;

/// Returns the home directory: `$HOME`, else the entry in the list of users (`passwd(5)`). A
/// relative `$HOME` is ignored.
pub(crate) fn home() -> Option<PathBuf> {
    dirs::home_dir()
        .filter(|home| home.is_absolute())
        .or_else(listed)
}

/// Returns the folder for state, such as outputs and logs.
///
/// This is `$XDG_STATE_HOME` (XDG Base Directory Specification), else the system's usual folder in
/// the home directory. A relative `$XDG_STATE_HOME` is ignored, as the specification says.
pub(crate) fn state() -> Option<PathBuf> {
    let usual = dirs::state_dir()
        .or_else(dirs::data_local_dir)
        .filter(|folder| folder.is_absolute());
    usual.or_else(|| Some(home()?.join(".local/state")))
}

/// Returns the folder for settings that the user writes.
///
/// This is `$XDG_CONFIG_HOME` (XDG Base Directory Specification), else the system's usual folder in
/// the home directory. A relative `$XDG_CONFIG_HOME` is ignored, as the specification says.
pub(crate) fn configuration() -> Option<PathBuf> {
    let usual = dirs::config_dir().filter(|folder| folder.is_absolute());
    usual.or_else(|| Some(home()?.join(".config")))
}

/// Returns the home directory from the list of users (`passwd(5)`), which OpenSSH uses regardless
/// of `$HOME`.
#[cfg(unix)]
pub(crate) fn listed() -> Option<PathBuf> {
    use nix::unistd::{Uid, User};
    let user = User::from_uid(Uid::effective()).ok().flatten()?;
    Some(user.dir).filter(|home| home.is_absolute())
}

/// Returns `None`: this system has no such list.
#[cfg(not(unix))]
pub(crate) fn listed() -> Option<PathBuf> {
    None
}
