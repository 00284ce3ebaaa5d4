//! Finds the files of the shared daemon of this user.

use std::{
    env,
    fs::DirBuilder,
    io,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::local::{Folder, home};

/// Files of a shared daemon. Processes with the same store, `ssh_config` and settings file get the
/// same location, and so share a daemon.
#[derive(Debug, Clone)]
pub struct DaemonLocation {
    /// Folder of the files, which only this user may access.
    folder: PathBuf,
    /// Path of the Unix socket; on Windows the name of the pipe.
    pub socket: PathBuf,
    /// Lock file, locked while the daemon accepts stdio proxies.
    pub lock: PathBuf,
    /// Log file of the daemon.
    pub log: PathBuf,
}

/// Reason why the folder of a daemon cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// The folder cannot be created or examined.
    #[error("cannot use the folder {}: {source}", folder.display())]
    Unusable {
        /// Path of the folder.
        folder: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// A file or a symbolic link takes the place of the folder.
    #[error("{} is not a folder of ours; remove it, or set XDG_RUNTIME_DIR to a folder of your own", .0.display())]
    NotAFolder(PathBuf),
    /// The folder belongs to another user.
    #[error("{} belongs to another user; set XDG_RUNTIME_DIR to a folder of your own", .0.display())]
    NotOurs(PathBuf),
    /// Other users could put a socket into the folder.
    #[error("other users may use {}; run: chmod 700 {}", .0.display(), .0.display())]
    Open(PathBuf),
    /// No candidate for the folder gives a path short enough for a socket.
    #[error("the path {} is too long for a socket; set XDG_RUNTIME_DIR to a folder with a short path", .0.display())]
    TooLong(PathBuf),
}

impl DaemonLocation {
    /// Returns the location for `store` (`None`: no store), `ssh_config` (`None`: the user's own
    /// file) and `settings` (`None`: no place for such a file). The folder is in `$XDG_RUNTIME_DIR` if this user owns that directory, else in the
    /// state directory. If both paths are too long for a socket, the folder is among the temporary
    /// files. Nothing is created yet.
    ///
    /// # Errors
    /// Every path is too long.
    pub fn for_files(
        store: Option<&Path>,
        ssh_config: Option<&Path>,
        settings: Option<&Path>,
    ) -> Result<Self, LocationError> {
        let name = name(&[store, ssh_config, settings]);
        let candidates = [
            runtime_folder().map(|folder| folder.join("mcp-ssh-sessions")),
            home::state().map(|folder| folder.join("mcp-ssh-sessions").join("shared")),
            Some(temporary()),
        ];

        // The path of a socket has a limit of about a hundred bytes, which a deep home exceeds.
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

        Err(LocationError::TooLong(too_long))
    }

    /// Creates the folder if there is none, with access for this user only.
    ///
    /// # Errors
    /// The folder cannot be created, or is not for this user only.
    pub fn prepare(&self) -> Result<(), LocationError> {
        let unusable = |source| LocationError::Unusable {
            folder: self.folder.clone(),
            source,
        };

        if let Some(above) = self.folder.parent() {
            Folder::made(above).map_err(unusable)?;
        }

        match private_folder().create(&self.folder) {
            // An entry that exists already is examined below.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(unusable(error));
            }
            _ => {}
        }

        // A link is not followed: another user may have put it into a shared directory.
        let there = std::fs::symlink_metadata(&self.folder).map_err(unusable)?;
        if !there.is_dir() {
            return Err(LocationError::NotAFolder(self.folder.clone()));
        }

        // On Windows the folder is in the user's profile, to which other users have no access.
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

            if there.uid() != nix::unistd::geteuid().as_raw() {
                return Err(LocationError::NotOurs(self.folder.clone()));
            }

            if there.permissions().mode() & 0o077 != 0 {
                return Err(LocationError::Open(self.folder.clone()));
            }
        }

        Ok(())
    }

    /// Returns true if a daemon listens at this location now.
    #[must_use]
    pub fn is_served(&self) -> bool {
        #[cfg(unix)]
        return std::os::unix::net::UnixStream::connect(&self.socket).is_ok();
        #[cfg(not(unix))]
        self.socket.exists()
    }

    /// Returns the secret with which the daemon proves whose it is; `None` where the kernel tells.
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

/// Returns a builder of folders which only this user may access.
fn private_folder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

/// Returns sixteen hexadecimal digits, which are the same for the same files.
fn name(files: &[Option<&Path>]) -> String {
    let mut digest = Sha256::new();

    // The lengths keep apart two lists of paths whose bytes are the same in sequence.
    for path in files {
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

/// Returns `$XDG_RUNTIME_DIR` if this user owns the folder, as the XDG Base Directory Specification
/// requires. After `sudo -E`, for example, the folder belongs to another user.
#[cfg(unix)]
fn runtime_folder() -> Option<PathBuf> {
    let folder = PathBuf::from(env::var_os("XDG_RUNTIME_DIR")?);
    let there = std::fs::metadata(&folder).ok()?;
    let ours = std::os::unix::fs::MetadataExt::uid(&there) == nix::unistd::geteuid().as_raw();
    (folder.is_absolute() && there.is_dir() && ours).then_some(folder)
}

/// Returns `None`, because other systems have no such folder.
#[cfg(not(unix))]
fn runtime_folder() -> Option<PathBuf> {
    None
}

/// Returns a folder among the temporary files. All users share their directory, so the name holds
/// the user id.
#[cfg(unix)]
fn temporary() -> PathBuf {
    env::temp_dir().join(format!("mcp-ssh-sessions-{}", nix::unistd::geteuid()))
}

/// Returns a folder in the user's directory for temporary files.
#[cfg(not(unix))]
fn temporary() -> PathBuf {
    env::temp_dir().join("mcp-ssh-sessions")
}

/// Returns true if the system accepts this path for a socket (`sun_path`, unix(7): 108 bytes on
/// Linux, 104 on macOS).
#[cfg(unix)]
fn fits(socket: &Path) -> bool {
    std::os::unix::net::SocketAddr::from_pathname(socket).is_ok()
}

/// Returns true, because the name of a pipe is short.
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
            name(&[a, None]),
            name(&[b, None]),
            name(&[a, b]),
            name(&[b, a]),
            name(&[a, Some(Path::new(""))]),
            name(&[None, None]),
        ];

        assert_eq!(name(&[a, b]), names[2]);

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
