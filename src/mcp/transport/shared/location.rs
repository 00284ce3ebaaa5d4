//! Where the shared daemon of this user is.

use std::{
    env,
    fs::DirBuilder,
    io,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::local::{Folder, home};

/// The files of one shared daemon. Fronts with the same store and the same `ssh_config` meet at the same place.
#[derive(Debug, Clone)]
pub struct DaemonLocation {
    folder: PathBuf,
    /// The socket; on Windows the name of the pipe.
    pub socket: PathBuf,
    /// Locked by the daemon for as long as it takes fronts in.
    pub lock: PathBuf,
    /// What the daemon says.
    pub log: PathBuf,
}

/// Why there is no place for a daemon.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The folder cannot be made or looked at.
    #[error("cannot use the folder {}: {source}", folder.display())]
    Unusable {
        /// Which.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file or a symbolic link is where the folder should be.
    #[error("{} is not a folder of ours; remove it, or set XDG_RUNTIME_DIR to a folder of your own", .0.display())]
    NotAFolder(PathBuf),
    /// Somebody else made it.
    #[error("{} belongs to another user; set XDG_RUNTIME_DIR to a folder of your own", .0.display())]
    NotOurs(PathBuf),
    /// Others could put a socket of theirs there.
    #[error("other users may use {}; run: chmod 700 {}", .0.display(), .0.display())]
    Open(PathBuf),
    /// The system takes no path as long as that.
    #[error("the path {} is too long for a socket; set XDG_RUNTIME_DIR to a folder with a short path", .0.display())]
    TooLong(PathBuf),
}

impl DaemonLocation {
    /// The place for this store (`None`: there is none) and this `ssh_config` file (`None`: the person's own): in `$XDG_RUNTIME_DIR`, if that is
    /// a folder of this user, else in the state directory, else, if that makes the path too long for a socket, in the
    /// folder for temporary files. Nothing is made yet.
    ///
    /// # Errors
    /// Each path is too long.
    pub fn of(store: Option<&Path>, ssh_config: Option<&Path>) -> Result<Self, PlaceError> {
        let name = name(store, ssh_config);
        let candidates = [
            runtime_folder().map(|folder| folder.join("mcp-ssh-sessions")),
            home::state().map(|folder| folder.join("mcp-ssh-sessions").join("shared")),
            Some(temporary()),
        ];

        let mut too_long = PathBuf::new();

        for folder in candidates.into_iter().flatten() {
            let file = |ending: &str| folder.join(format!("{name}.{ending}"));
            let socket = if cfg!(windows) {
                format!(r"\\.\pipe\mcp-ssh-sessions-{name}").into()
            } else {
                file("sock")
            };

            if fits(&socket) {
                return Ok(Self {
                    lock: file("lock"),
                    log: file("log"),
                    socket,
                    folder,
                });
            }

            too_long = socket;
        }

        Err(PlaceError::TooLong(too_long))
    }

    /// Makes the folder if it is missing, for this user alone.
    ///
    /// # Errors
    /// It cannot be made, or what is there is not for this user alone.
    pub fn prepare(&self) -> Result<(), PlaceError> {
        let unusable = |source| PlaceError::Unusable {
            folder: self.folder.clone(),
            source,
        };

        if let Some(above) = self.folder.parent() {
            Folder::made(above).map_err(unusable)?;
        }

        match private_folder().create(&self.folder) {
            // Something is there: what it is, is looked at next.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(unusable(error));
            }
            _ => {}
        }

        let there = std::fs::symlink_metadata(&self.folder).map_err(unusable)?;
        if !there.is_dir() {
            return Err(PlaceError::NotAFolder(self.folder.clone()));
        }

        // On Windows it is in the person's profile directory, and so theirs alone.
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

            if there.uid() != nix::unistd::geteuid().as_raw() {
                return Err(PlaceError::NotOurs(self.folder.clone()));
            }

            if there.permissions().mode() & 0o077 != 0 {
                return Err(PlaceError::Open(self.folder.clone()));
            }
        }

        Ok(())
    }

    /// Whether a daemon is there now.
    #[must_use]
    pub fn is_served(&self) -> bool {
        #[cfg(unix)]
        return std::os::unix::net::UnixStream::connect(&self.socket).is_ok();
        #[cfg(not(unix))]
        self.socket.exists()
    }

    /// What its daemon proves itself with where the system does not tell whose it is; `None` where it does.
    #[cfg_attr(
        not(windows),
        expect(clippy::unused_self, reason = "elsewhere the kernel tells")
    )]
    pub(super) fn proof(&self) -> Option<http::HeaderValue> {
        #[cfg(windows)]
        return crate::mcp::web::pipe::proof(&self.lock);
        #[cfg(not(windows))]
        None
    }
}

fn private_folder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

/// Sixteen hexadecimal digits: the same for the same files.
fn name(store: Option<&Path>, ssh_config: Option<&Path>) -> String {
    let mut digest = Sha256::new();

    for path in [store, ssh_config] {
        let bytes = path
            .map(|path| path.as_os_str().as_encoded_bytes())
            .unwrap_or_default();
        digest.update(bytes.len().to_be_bytes());
        digest.update(bytes);
    }

    let first = digest
        .finalize()
        .iter()
        .take(8)
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));

    format!("{first:016x}")
}

/// `$XDG_RUNTIME_DIR`, where it is what the XDG Base Directory Specification says: a folder that this user owns. After
/// `sudo -E`, for one, it is not.
#[cfg(unix)]
fn runtime_folder() -> Option<PathBuf> {
    let folder = PathBuf::from(env::var_os("XDG_RUNTIME_DIR")?);
    let there = std::fs::metadata(&folder).ok()?;
    let ours = std::os::unix::fs::MetadataExt::uid(&there) == nix::unistd::geteuid().as_raw();
    (folder.is_absolute() && there.is_dir() && ours).then_some(folder)
}

#[cfg(not(unix))]
fn runtime_folder() -> Option<PathBuf> {
    None
}

/// For everybody's temporary files, and so with the user's number.
#[cfg(unix)]
fn temporary() -> PathBuf {
    env::temp_dir().join(format!("mcp-ssh-sessions-{}", nix::unistd::geteuid()))
}

#[cfg(not(unix))]
fn temporary() -> PathBuf {
    env::temp_dir().join("mcp-ssh-sessions")
}

/// Whether the system takes this path for a socket (`sun_path`, unix(7): 108 bytes on Linux, 104 on macOS).
#[cfg(unix)]
fn fits(socket: &Path) -> bool {
    std::os::unix::net::SocketAddr::from_pathname(socket).is_ok()
}

#[cfg(not(unix))]
fn fits(_: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_say_the_same_meet_and_others_do_not() {
        let (a, b) = (Some(Path::new("/a")), Some(Path::new("/b")));

        let names = [
            name(a, None),
            name(b, None),
            name(a, b),
            name(b, a),
            name(a, Some(Path::new(""))),
            name(None, None),
        ];

        assert_eq!(name(a, b), names[2]);

        for (index, one) in names.iter().enumerate() {
            assert_eq!(one.len(), 16);

            // No file and an empty name are one: the latter is none.
            assert!(
                names
                    .iter()
                    .skip(index + 1)
                    .all(|other| one != other || index == 0),
                "{names:?}"
            );
        }
    }
}
