//! From this machine to the remote host.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Instant, UNIX_EPOCH},
};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use russh_sftp::protocol::{FileAttributes, OpenFlags};
use tokio::{fs::File, io::AsyncReadExt as _, time::timeout};

use super::{Bounds, Connection, IN_FLIGHT, Pool, Sftp, TIDY_LIMIT, TransferError, Transferred, paths};
use crate::ssh::exec::random_sentinel;

impl Pool {
    /// Writes a local file beside the remote target and renames it into place, with its mode and times.
    ///
    /// # Errors
    /// [`TransferError`]; the remote file that was there before is whole and nothing else is left behind.
    pub async fn upload(
        self: &Arc<Self>,
        local_path: &str,
        remote_path: &str,
        bounds: &Bounds,
    ) -> Result<Transferred, TransferError> {
        let started = Instant::now();
        let path = paths::local(local_path)?;
        let wanted = paths::remote(remote_path)?;
        let (file, metadata) = open_local(&path).await?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let sftp = self.open_sftp(bounds).await?;
        let over = Arc::clone(sftp.place.connection());
        let find_target = async {
            let wanted = sftp.absolute(&wanted).await;
            let found = sftp.target(&wanted, &name).await?;
            let target = found.map_err(|error| over.transfer_error("looking at", &wanted, &error))?;
            Ok(target)
        };
        let target = over.unless_stopped(bounds, find_target).await?;
        let (folder, last) = paths::split(&target);
        let temporary =
            format!("{folder}.{}.{}.part", last.chars().take(64).collect::<String>(), random_sentinel()?.as_str());
        let attributes = FileAttributes { permissions: Some(0o600), ..FileAttributes::empty() };
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE;
        let handle = sftp
            .raw
            .open(temporary.as_str(), flags, attributes)
            .await
            .map_err(|error| over.transfer_error("creating a file beside", &target, &error))?
            .handle;
        let whole = async {
            let bytes = over.send(&sftp, &handle, file, &path).await?;
            over.complete(&sftp, &handle, &temporary, &target, bytes, &metadata).await?;
            Ok(bytes)
        };
        match over.unless_stopped(bounds, whole).await {
            Ok(bytes) => Ok(Transferred { to: target, bytes, duration: started.elapsed() }),
            Err(error) => {
                let tidy = async {
                    let _ = sftp.raw.close(handle.as_str()).await;
                    let _ = sftp.raw.remove(temporary.as_str()).await;
                };
                tokio::select! {
                    _ = timeout(TIDY_LIMIT, tidy) => {}
                    () = over.ended() => {}
                }
                Err(error)
            }
        }
    }
}

impl Connection {
    /// Sends the content, several pieces at a time. Reads ahead no further than what is in flight.
    async fn send(&self, sftp: &Sftp, handle: &str, mut file: File, path: &Path) -> Result<u64, TransferError> {
        let (mut sent, mut ended, mut writes) = (0, false, FuturesUnordered::new());
        loop {
            while !ended && writes.len() < IN_FLIGHT {
                let mut chunk = Vec::with_capacity(sftp.write_chunk as usize);
                let mut piece = (&mut file).take(u64::from(sftp.write_chunk));
                piece.read_to_end(&mut chunk).await.map_err(|source| local_error("reading", path, source))?;
                if chunk.is_empty() {
                    ended = true;
                    break;
                }
                let length = chunk.len() as u64;
                writes.push(sftp.raw.write(handle, sent, chunk));
                sent += length;
            }
            match writes.next().await {
                Some(written) => {
                    written.map_err(|error| self.transfer_error("writing", &path.to_string_lossy(), &error))?
                }
                None => return Ok(sent),
            };
        }
    }

    async fn complete(
        &self,
        sftp: &Sftp,
        handle: &str,
        temporary: &str,
        target: &str,
        bytes: u64,
        metadata: &std::fs::Metadata,
    ) -> Result<(), TransferError> {
        let failed = |doing| move |error| self.transfer_error(doing, target, &error);
        let found = sftp.raw.fstat(handle).await.map_err(failed("checking"))?.attrs.size.unwrap_or(bytes);
        if found != bytes {
            return Err(TransferError::Length { path: target.to_owned(), found, expected: bytes });
        }
        sftp.raw.fsetstat(handle, attributes(metadata)).await.map_err(failed("setting mode and times of"))?;
        if sftp.fsync {
            sftp.raw.fsync(handle).await.map_err(failed("writing to disk"))?;
        }
        sftp.raw.close(handle).await.map_err(failed("closing"))?;
        sftp.replace(temporary, target).await.map_err(failed("replacing"))
    }
}

async fn open_local(path: &Path) -> Result<(File, std::fs::Metadata), TransferError> {
    let metadata = tokio::fs::metadata(path).await.map_err(|source| local_error("reading", path, source))?;
    if metadata.is_dir() {
        return Err(TransferError::Directory(path.display().to_string()));
    }
    if !metadata.is_file() {
        return Err(TransferError::NotAFile(path.display().to_string()));
    }
    let file = File::open(path).await.map_err(|source| local_error("reading", path, source))?;
    Ok((file, metadata))
}

/// Mode and times of the local file, as SFTP version 3 carries them: seconds in 32 bits.
fn attributes(metadata: &std::fs::Metadata) -> FileAttributes {
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified = modified.and_then(|since| u32::try_from(since.as_secs()).ok());
    FileAttributes { permissions: Some(mode(metadata)), atime: modified, mtime: modified, ..FileAttributes::empty() }
}

#[cfg(unix)]
fn mode(metadata: &std::fs::Metadata) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777
}

/// Windows knows no more than "read-only".
#[cfg(not(unix))]
fn mode(metadata: &std::fs::Metadata) -> u32 {
    if metadata.permissions().readonly() { 0o444 } else { 0o644 }
}

pub(super) fn local_error(doing: &'static str, path: &Path, source: io::Error) -> TransferError {
    TransferError::Local { doing, path: PathBuf::from(path), source }
}
