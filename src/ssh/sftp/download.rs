//! From the remote host to this machine.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures_util::stream::{FuturesOrdered, StreamExt as _};
use russh_sftp::{
    client::error::Error,
    protocol::{FileAttributes, OpenFlags, StatusCode},
};
use tempfile::NamedTempFile;
use tokio::{fs::File, io::AsyncWriteExt as _, task::spawn_blocking};

use super::{
    Bounds, Connection, IN_FLIGHT, Kind, Pool, Sftp, TransferError, Transferred, kind, paths, upload::local_error,
};

/// A file whose size reads 0, as in `/proc`, is read to its end; a longer one than this, in bytes, is no such file.
const LARGEST_UNSIZED: u64 = 1024 * 1024 * 1024;

impl Pool {
    /// Reads a remote file into a temporary one beside the local target and renames it into place, with mode and times.
    ///
    /// # Errors
    /// [`TransferError`]; the local file that was there before is whole and nothing else is left behind.
    pub async fn download(
        self: &Arc<Self>,
        remote_path: &str,
        local_path: &str,
        bounds: &Bounds,
    ) -> Result<Transferred, TransferError> {
        let started = Instant::now();
        let wanted = paths::remote(remote_path)?;
        let name = paths::file_name(&wanted)?;
        let target = local_target(local_path, name)?;
        let sftp = self.open_sftp(bounds).await?;
        let over = Arc::clone(sftp.place.connection());
        let whole = async {
            let attributes = over.remote_file(&sftp, &wanted).await?;
            let temporary = temporary_beside(&target)?;
            let handle = sftp
                .raw
                .open(wanted.as_str(), OpenFlags::READ, FileAttributes::empty())
                .await
                .map_err(|error| over.transfer_error("opening", &wanted, &error))?
                .handle;
            let file = temporary.reopen().map_err(|source| local_error("writing", &target, source))?;
            let size = attributes.size.unwrap_or(0);
            let bytes = over.receive(&sftp, &handle, &wanted, size, File::from_std(file), &target).await?;
            let _ = sftp.raw.close(handle.as_str()).await;
            Ok((temporary, attributes, bytes))
        };
        let (temporary, attributes, bytes) = over.unless_stopped(bounds, whole).await?;
        let place = target.clone();
        spawn_blocking(move || put_in_place(temporary, &attributes, &place))
            .await
            .unwrap_or_else(|error| Err(local_error("writing", &target, io::Error::other(error))))?;
        Ok(Transferred { to: target.display().to_string(), bytes, duration: started.elapsed() })
    }
}

impl Connection {
    async fn remote_file(&self, sftp: &Sftp, path: &str) -> Result<FileAttributes, TransferError> {
        let attributes = sftp.raw.stat(path).await.map_err(|error| self.transfer_error("reading", path, &error))?.attrs;
        match kind(&attributes) {
            Kind::File => Ok(attributes),
            Kind::Directory => Err(TransferError::Directory(format!("{path:?} on the remote host"))),
            Kind::Special => Err(TransferError::NotAFile(format!("{path:?} on the remote host"))),
        }
    }

    /// Reads `size` bytes, several pieces at a time and written in order; a size of 0 means to the end.
    async fn receive(
        &self,
        sftp: &Sftp,
        handle: &str,
        path: &str,
        size: u64,
        mut file: File,
        target: &Path,
    ) -> Result<u64, TransferError> {
        let wanted = if size == 0 { LARGEST_UNSIZED } else { size };
        let at_once = if size == 0 { 1 } else { IN_FLIGHT };
        let (mut asked, mut received, mut reads) = (0, 0, FuturesOrdered::new());
        let mut ended = false;
        loop {
            while !ended && asked < wanted && reads.len() < at_once {
                let length = u32::try_from(wanted - asked).unwrap_or(u32::MAX).min(sftp.read_chunk);
                reads.push_back(self.read_piece(sftp, handle, path, asked, length));
                asked += u64::from(length);
            }
            let Some(piece) = reads.next().await else { break };
            let (data, short) = piece?;
            // What lies behind the end of the file is not part of it, should a server send it all the same.
            if ended {
                continue;
            }
            ended = short;
            received += data.len() as u64;
            file.write_all(&data).await.map_err(|source| local_error("writing", target, source))?;
        }
        file.flush().await.map_err(|source| local_error("writing", target, source))?;
        if size != 0 && received != size {
            return Err(TransferError::Length { path: format!("{path:?}"), found: received, expected: size });
        }
        Ok(received)
    }

    /// Reads one piece, however many answers it takes. The flag says that the file ended before it did.
    async fn read_piece(
        &self,
        sftp: &Sftp,
        handle: &str,
        path: &str,
        offset: u64,
        length: u32,
    ) -> Result<(Vec<u8>, bool), TransferError> {
        let mut piece = Vec::new();
        loop {
            let have = u32::try_from(piece.len()).unwrap_or(length);
            match sftp.raw.read(handle, offset + u64::from(have), length - have).await {
                Ok(answer) if answer.data.is_empty() || answer.data.len() > (length - have) as usize => {
                    let message = "the server answered with a wrong number of bytes".to_owned();
                    return Err(TransferError::Remote { doing: "reading", path: path.to_owned(), message });
                }
                Ok(answer) if piece.is_empty() => piece = answer.data,
                Ok(answer) => piece.extend_from_slice(&answer.data),
                Err(Error::Status(status)) if status.status_code == StatusCode::Eof => return Ok((piece, true)),
                Err(error) => return Err(self.transfer_error("reading", path, &error)),
            }
            if piece.len() == length as usize {
                return Ok((piece, false));
            }
        }
    }
}

/// Where a download goes: into the path if it is a directory, through it if it is a link, else to it.
fn local_target(typed: &str, name: &str) -> Result<PathBuf, TransferError> {
    let path = paths::local(typed)?;
    let path = match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() => path.join(name),
        Err(_) if paths::names_directory(typed) => {
            return Err(TransferError::Path(format!("there is no directory {}", path.display())));
        }
        _ => path,
    };
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() => Err(TransferError::Directory(path.display().to_string())),
        Ok(metadata) if !metadata.is_file() => Err(TransferError::NotAFile(path.display().to_string())),
        _ => Ok(behind_links(path)),
    }
}

/// Where a link leads, also one that leads to nothing yet. (40 is where Linux stops.) Not `canonicalize`: on Windows it
/// writes paths as few programs read them (`\\?\C:\…`).
fn behind_links(mut path: PathBuf) -> PathBuf {
    for _ in 0..40 {
        let Ok(target) = path.read_link() else { break };
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    path
}

fn temporary_beside(target: &Path) -> Result<NamedTempFile, TransferError> {
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::Builder::new()
        .prefix(".mcp-ssh-sessions.")
        .suffix(".part")
        .tempfile_in(folder)
        // The error names the temporary file; the person knows the target.
        .map_err(|error| local_error("creating a file beside", target, without_path(error)))
}

/// The system's own error: tempfile adds the temporary name, which says nothing to a reader.
fn without_path(error: io::Error) -> io::Error {
    let system = error.get_ref().and_then(|named| named.source()?.downcast_ref::<io::Error>()?.raw_os_error());
    system.map_or(error, io::Error::from_raw_os_error)
}

fn put_in_place(temporary: NamedTempFile, attributes: &FileAttributes, target: &Path) -> Result<(), TransferError> {
    let failed = |source| local_error("writing", target, source);
    let file = temporary.as_file();
    set_mode(file, attributes).map_err(failed)?;
    if let Some(modified) = attributes.mtime {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(modified.into());
        file.set_modified(modified).map_err(failed)?;
    }
    file.sync_all().map_err(failed)?;
    temporary.persist(target).map_err(|error| failed(error.error))?;
    Ok(())
}

/// The remote mode, without the bits that would let a server plant a program that runs as somebody else.
#[cfg(unix)]
fn set_mode(file: &std::fs::File, attributes: &FileAttributes) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = attributes.permissions.unwrap_or(0o644) & 0o777;
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the Unix twin can fail")]
fn set_mode(_: &std::fs::File, _: &FileAttributes) -> io::Result<()> {
    Ok(())
}
