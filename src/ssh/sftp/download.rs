//! From the remote host to this machine.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;

use super::{
    Bounds, LONGEST_COMPARED, Progress, Transferred,
    client::Client,
    digest::{RemoteDigest, same},
    disk::{Sink, Sum},
    error::TransferError,
    paths,
    receive::Receiving,
};
use crate::{
    sftp::{
        attributes::{Attributes, Kind},
        request::Access,
    },
    ssh::pool::Pool,
};

/// A file on its way to this machine.
#[derive(Debug)]
pub struct Download {
    started: Instant,
    wanted: String,
    target: PathBuf,
    progress: Progress,
    /// What is on this machine already.
    begun: Option<Begun>,
}

/// A temporary file on this machine. Dropping it removes it.
#[derive(Debug)]
struct Begun {
    temporary: NamedTempFile,
    sink: Sink,
    sum: Sum,
    /// Bytes from the beginning on that the sink has.
    received: u64,
    /// The remote file as it was when it was begun.
    attributes: Attributes,
}

impl Download {
    /// Finds out where it goes.
    ///
    /// # Errors
    /// A path that cannot be meant, or where no file can be.
    pub fn new(remote_path: &str, local_path: &str, progress: Progress) -> Result<Self, TransferError> {
        let started = Instant::now();
        let wanted = paths::remote(remote_path)?;
        let target = local_target(local_path, paths::file_name(&wanted)?)?;
        progress.begin(wanted.as_bytes());
        Ok(Self { started, wanted, target, progress, begun: None })
    }

    /// Fetches what has not arrived yet into a temporary file beside the target, and renames that into place, with the
    /// remote mode and times.
    ///
    /// # Errors
    /// [`TransferError`]; the local file that was there before is whole and nothing else is left behind. After a lost
    /// link the next attempt goes on.
    pub async fn attempt(&mut self, pool: &Arc<Pool>, bounds: &Bounds) -> Result<Transferred, TransferError> {
        let client = Arc::new(Client::open(pool, bounds).await?);
        let connection = Arc::clone(client.connection());
        let fetched = connection.unless_stopped(bounds, self.fetch(pool, &client)).await;
        let verified = match fetched {
            Ok(verified) => verified,
            Err(error) => {
                self.begun = self.begun.take().filter(|_| error.is_lost());
                return Err(error);
            }
        };
        let Some(Begun { temporary, received, attributes, .. }) = self.begun.take() else {
            return Err(TransferError::Cancelled);
        };
        let place = self.target.clone();
        spawn_blocking(move || put_in_place(temporary, &attributes, &place))
            .await
            .unwrap_or_else(|error| Err(TransferError::local("writing", &self.target, io::Error::other(error))))?;
        self.progress.end();
        let to = self.target.display().to_string();
        Ok(Transferred { to, bytes: received, verified, duration: self.started.elapsed() })
    }

    /// Fetches all content; whether both sides were found to be the same.
    async fn fetch(&mut self, pool: &Arc<Pool>, client: &Arc<Client>) -> Result<bool, TransferError> {
        let path = self.wanted.as_bytes();
        let attributes = client.stat(path).await.map_err(client.failed("reading", path))?;
        let at = format!("{:?} on the remote host", self.wanted);
        match attributes.kind() {
            Kind::Directory => return Err(TransferError::Directory(at)),
            Kind::Special => return Err(TransferError::NotAFile(at)),
            Kind::File | Kind::Link | Kind::Unknown => {}
        }
        // One whose length reads 0 has what it has at each reading.
        let same_as_before = |begun: &Begun| begun.attributes == attributes && attributes.size.unwrap_or(0) > 0;
        if let Some(begun) = self.begun.take_if(|begun| !same_as_before(begun)) {
            self.progress.take_back(begun.received);
        }
        let resumed = self.begun.is_some();
        if !resumed {
            self.progress.expect(attributes.size.unwrap_or(0));
        }
        match self.content(pool, client, attributes, resumed).await {
            // What was here when the link was lost is not what the file has: from the beginning, and once.
            Err(TransferError::Differs(_)) if resumed => {
                if let Some(begun) = self.begun.take() {
                    self.progress.take_back(begun.received);
                }
                self.content(pool, client, attributes, resumed).await
            }
            result => result,
        }
    }

    async fn content(
        &mut self,
        pool: &Arc<Pool>,
        client: &Arc<Client>,
        attributes: Attributes,
        resumed: bool,
    ) -> Result<bool, TransferError> {
        let (path, size) = (self.wanted.as_bytes(), attributes.size.unwrap_or(0));
        let begun = match &mut self.begun {
            Some(begun) => begun,
            empty => empty.insert(Begun::new(&self.target, attributes).await?),
        };
        // Opened on another channel meanwhile: the remote host reads the file once more while it is fetched.
        let compared = size > 0 && (resumed || size <= LONGEST_COMPARED);
        let digest = compared.then(|| RemoteDigest::start(pool));
        let digest = async {
            match (digest, client.realpath(path).await) {
                (Some(digest), Ok(path)) => digest.of(&path, size).await,
                _ => None,
            }
        };
        let content = async {
            let handle = client.open_file(path, Access::Read, Attributes::default()).await;
            let handle = handle.map_err(client.failed("opening", path))?;
            let receiving = Receiving {
                pool,
                client,
                path,
                handle: handle.clone(),
                size,
                sink: &mut begun.sink,
                received: &mut begun.received,
                progress: &self.progress,
                local: &self.target,
            };
            receiving.run().await?;
            let _ = client.close(&handle).await;
            begun.sink.finish().await.map_err(|source| TransferError::local("writing", &self.target, source))
        };
        let (digest, ()) = futures_util::future::try_join(async { Ok(digest.await) }, content).await?;
        same(digest, &begun.sum, begun.received).ok_or_else(|| TransferError::Differs(format!("{:?}", self.wanted)))
    }
}

impl Begun {
    async fn new(target: &Path, attributes: Attributes) -> Result<Self, TransferError> {
        let (sum, beside) = (Sum::default(), target.to_owned());
        let made = spawn_blocking(move || {
            let temporary = temporary_beside(&beside)?;
            let file = temporary.reopen().map_err(|source| TransferError::local("writing", &beside, source))?;
            Ok((temporary, file))
        });
        let (temporary, file) =
            made.await.unwrap_or_else(|error| Err(TransferError::local("writing", target, io::Error::other(error))))?;
        Ok(Self { temporary, sink: Sink::new(file, sum.clone()), sum, received: 0, attributes })
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
        .map_err(|error| TransferError::local("creating a file beside", target, without_path(error)))
}

/// The system's own error: tempfile adds the temporary name, which says nothing to a reader.
fn without_path(error: io::Error) -> io::Error {
    let system = error.get_ref().and_then(|named| named.source()?.downcast_ref::<io::Error>()?.raw_os_error());
    system.map_or(error, io::Error::from_raw_os_error)
}

fn put_in_place(temporary: NamedTempFile, attributes: &Attributes, target: &Path) -> Result<(), TransferError> {
    let failed = |source| TransferError::local("writing", target, source);
    let file = temporary.as_file();
    set_mode(file, attributes).map_err(failed)?;
    if let Some((_, modified)) = attributes.times {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(modified.into());
        file.set_modified(modified).map_err(failed)?;
    }
    file.sync_all().map_err(failed)?;
    temporary.persist(target).map_err(|error| failed(error.error))?;
    Ok(())
}

/// The remote mode, without the bits that would let a server plant a program that runs as somebody else.
#[cfg(unix)]
fn set_mode(file: &std::fs::File, attributes: &Attributes) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = attributes.permissions.unwrap_or(0o644) & 0o777;
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the Unix twin can fail")]
fn set_mode(_: &std::fs::File, _: &Attributes) -> io::Result<()> {
    Ok(())
}
