//! Where the person's own files are. Never a relative path: that would be a folder of whoever owns the working directory.

use std::path::PathBuf;

/// The home directory: `$HOME`, else that of the list of users (`passwd(5)`). A relative `$HOME` does not count.
pub(crate) fn home() -> Option<PathBuf> {
    dirs::home_dir()
        .filter(|home| home.is_absolute())
        .or_else(listed)
}

/// The folder for state, such as outputs and logs: `$XDG_STATE_HOME` (XDG Base Directory Specification, by which a
/// relative one does not count), else the system's own place in the home directory.
pub(crate) fn state() -> Option<PathBuf> {
    let usual = dirs::state_dir()
        .or_else(dirs::data_local_dir)
        .filter(|folder| folder.is_absolute());
    usual.or_else(|| Some(home()?.join(".local/state")))
}

/// The home directory of the list of users (`passwd(5)`), where OpenSSH looks whatever `$HOME` says.
#[cfg(unix)]
pub(crate) fn listed() -> Option<PathBuf> {
    use nix::unistd::{Uid, User};
    let user = User::from_uid(Uid::effective()).ok().flatten()?;
    Some(user.dir).filter(|home| home.is_absolute())
}

/// There is no such list.
#[cfg(not(unix))]
pub(crate) fn listed() -> Option<PathBuf> {
    None
}
