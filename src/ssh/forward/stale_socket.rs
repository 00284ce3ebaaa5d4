//! Removes the file of a Unix socket that a program left when it ended (`StreamLocalBindUnlink`).

/// Removes the file at `path` if it is a socket of this user at which nobody listens.
#[cfg(unix)]
pub async fn remove_stale_socket(path: &str) {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

    let is_ours = std::fs::symlink_metadata(path).is_ok_and(|file| {
        file.file_type().is_socket() && file.uid() == nix::unistd::geteuid().as_raw()
    });
    if !is_ours {
        return;
    }

    let connected = tokio::net::UnixStream::connect(path).await;
    if connected.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused) {
        let _ = std::fs::remove_file(path);
    }
}

/// Does nothing: a forward cannot listen at a socket on this system.
#[cfg(not(unix))]
pub async fn remove_stale_socket(_path: &str) {}
