//! A transfer of a file or a tree in either direction, or between two hosts, with its attempts.

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::try_join;
use tokio::task::spawn_blocking;

use super::{
    RemoteTemp, StopConditions, TransferError,
    client::SftpClient,
    error::shown,
    file::{download::Download, origin_file::OriginFile, upload::Upload},
    guard::Guard,
    origin::Origin,
    paths,
    request::{AttemptResult, TransferRequest},
    tree::{DownTree, UpTree},
};
use crate::{
    local::{Folder, LocalName},
    sftp::attributes::FileType,
    ssh::command::remote_host::RemoteHost,
    tree::{excludes::Excludes, tally::Tally},
};

/// Result of a complete transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transferred {
    /// Path at the destination, after links and directories were resolved.
    pub to: String,
    /// Counts of the files, bytes and links moved.
    pub tally: Tally,
    /// True if both sides have the same SHA-256. False if only the lengths were compared.
    pub verified: bool,
    /// True if a host had no SFTP, so that its shell read or wrote the files.
    pub by_shell: bool,
    /// Time from the creation of the [`FileTransfer`] to the end, over all attempts.
    pub duration: Duration,
}

/// Transfer of a file or tree, which may take several attempts over successive connections. The
/// source or target on this machine, if there is one, stays open between attempts. Dropping the
/// transfer removes temporary local files; temporary remote files are returned by
/// [`remote_temps`](Self::remote_temps).
#[derive(Debug)]
pub struct FileTransfer {
    started: Instant,
    /// Name of the session from which a copy between hosts reads; empty for other transfers.
    origin: Arc<str>,
    request: TransferRequest,
    excludes: Excludes,
    state: TransferState,
}

/// State of a transfer by direction and type of source.
#[derive(Debug)]
enum TransferState {
    /// A download whose first attempt has not yet asked the server for the type of the source.
    Down(Guard),
    /// A copy between hosts whose first attempt has not yet asked the origin for the type of the
    /// source. After that, the copy is an upload.
    Between,
    UpFile(Box<Upload>),
    UpTree(Box<UpTree>),
    DownFile(Box<Download>),
    DownTree(Box<DownTree>),
}

impl FileTransfer {
    /// Creates an upload. Opens the local file or directory, and asks the user about guarded paths.
    ///
    ///
    /// # Errors
    /// The source is neither a regular file nor a directory, cannot be read, or is guarded and not
    /// permitted. A path or pattern is invalid.
    pub async fn up(request: TransferRequest, guard: Guard) -> Result<Self, TransferError> {
        let started = Instant::now();
        let excludes = Excludes::parse(&request.exclude)?;
        let path = paths::local(&request.local)?;
        // Fails before the user is asked about anything.
        paths::remote(&request.remote)?;

        let (finding, is_directory) = (path.clone(), paths::names_directory(&request.local));
        let found = spawn_blocking(move || find(&finding, is_directory)).await;
        let found = found.unwrap_or_else(|error| Err(io::Error::other(error)));

        let state = match found.map_err(|source| TransferError::local("reading", &path, source))? {
            SourceKind::Directory(folder) => {
                TransferState::UpTree(Box::new(UpTree::open(path, folder, &guard).await?))
            }
            SourceKind::Other(local_name) => TransferState::UpFile(Box::new(
                Upload::open(path, local_name, &guard, &request).await?,
            )),
        };

        Ok(Self {
            started,
            origin: "".into(),
            request,
            excludes,
            state,
        })
    }

    /// Creates a copy from the host of the session `origin`, on which the `local` path of the
    /// request is, to another host. Nothing on this machine is read or written.
    ///
    /// # Errors
    /// A path or pattern is invalid.
    pub fn between(origin: &str, request: TransferRequest) -> Result<Self, TransferError> {
        let excludes = Excludes::parse(&request.exclude)?;
        paths::remote(&request.local)?;
        paths::remote(&request.remote)?;

        Ok(Self {
            started: Instant::now(),
            origin: origin.into(),
            request,
            excludes,
            state: TransferState::Between,
        })
    }

    /// Creates a download. The first attempt looks at the remote source and the local target.
    ///
    ///
    /// # Errors
    /// A path or pattern is invalid.
    pub fn down(request: TransferRequest, guard: Guard) -> Result<Self, TransferError> {
        let excludes = Excludes::parse(&request.exclude)?;
        paths::local(&request.local)?;
        paths::remote(&request.remote)?;

        Ok(Self {
            started: Instant::now(),
            origin: "".into(),
            request,
            excludes,
            state: TransferState::Down(guard),
        })
    }

    /// Moves everything not moved yet, over connections to `host`. A copy between hosts reads from
    /// `origin`, until its conditions stop the copy.
    ///
    /// # Errors
    /// Any [`TransferError`]. If [`TransferError::is_lost`] returns true, another attempt continues
    /// where this attempt stopped.
    pub async fn attempt(
        &mut self,
        host: &Arc<RemoteHost>,
        conditions: &StopConditions,
        origin: Option<(&Arc<RemoteHost>, &StopConditions)>,
    ) -> Result<Transferred, TransferError> {
        let client = SftpClient::open_either(host, conditions);
        let origin = async {
            match origin {
                Some((host, conditions)) => {
                    Ok(Some(Origin::open(&self.origin, host, conditions).await?))
                }
                None => Ok(None),
            }
        };
        let (client, origin) = try_join(client, origin).await?;
        let (client, origin) = (Arc::new(client), origin.as_ref());
        let by_shell =
            client.is_by_shell() || origin.is_some_and(|origin| origin.client.is_by_shell());

        let Self {
            started,
            request,
            excludes,
            state,
            ..
        } = self;

        // Once per transfer: a later attempt must continue with the same kind of source.
        match (&mut *state, origin) {
            (TransferState::Down(guard), _) => {
                let begun = begin(&client, guard, request);
                *state = client
                    .connection()
                    .unless_stopped(conditions, begun)
                    .await?;
            }
            (TransferState::Between, Some(origin)) => {
                let begun = origin.unless_stopped(begin_between(origin, request));
                *state = client
                    .connection()
                    .unless_stopped(conditions, begun)
                    .await?;
            }
            (TransferState::UpFile(upload), Some(origin)) => upload.read_from(origin),
            (TransferState::UpTree(tree), Some(origin)) => tree.read_from(origin),
            _ => {}
        }

        let sends = matches!(state, TransferState::UpFile(_) | TransferState::UpTree(_));
        let result = match state {
            TransferState::Down(_) | TransferState::Between => {
                return Err(TransferError::Cancelled);
            }
            TransferState::UpFile(upload) => {
                upload.attempt(host, &client, conditions, origin).await
            }
            TransferState::UpTree(tree) => {
                tree.attempt(request, excludes, host, &client, conditions, origin)
                    .await
            }
            TransferState::DownFile(download) => download.attempt(host, &client, conditions).await,
            TransferState::DownTree(tree) => {
                tree.attempt(request, excludes, host, &client, conditions)
                    .await
            }
        };

        let AttemptResult {
            to,
            tally,
            verified,
        } = match result {
            Err(error) if sends => return Err(error.or_read_only(&client).await),
            result => result?,
        };

        Ok(Transferred {
            to,
            tally,
            verified,
            by_shell,
            duration: started.elapsed(),
        })
    }

    /// Returns and forgets the temporary remote files which a lost connection left behind. The
    /// caller removes them with [`remove_remote_temps`](super::remove_remote_temps).
    #[must_use]
    pub fn remote_temps(&mut self) -> Vec<RemoteTemp> {
        match &mut self.state {
            TransferState::UpFile(upload) => upload.remote_temp().into_iter().collect(),
            TransferState::UpTree(tree) => tree.remote_temps(),
            TransferState::Down(_)
            | TransferState::Between
            | TransferState::DownFile(_)
            | TransferState::DownTree(_) => Vec::new(),
        }
    }
}

/// Local source of an upload.
enum SourceKind {
    Directory(Folder),
    Other(LocalName),
}

/// Opens the source as a directory, or resolves the path as a file. One lookup decides the type, so
/// the source cannot be exchanged between two lookups.
fn find(path: &Path, is_directory: bool) -> io::Result<SourceKind> {
    match Folder::root(path) {
        Ok(folder) => Ok(SourceKind::Directory(folder)),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory && !is_directory => {
            Ok(SourceKind::Other(LocalName::resolve(path)?))
        }
        Err(error) => Err(error),
    }
}

/// Looks at the remote source and creates the state of the download.
async fn begin(
    client: &SftpClient,
    guard: &Guard,
    request: &TransferRequest,
) -> Result<TransferState, TransferError> {
    let path = paths::remote(&request.remote)?.into_bytes();
    let found = client
        .stat(&path)
        .await
        .map_err(client.failed("reading", &path))?;

    Ok(match found.kind() {
        FileType::Directory => {
            TransferState::DownTree(Box::new(DownTree::new(path, found, guard.clone())))
        }
        _ => TransferState::DownFile(Box::new(Download::new(path, found, guard, request).await?)),
    })
}

/// Looks at the source of a copy between hosts and creates the state of the upload.
async fn begin_between(
    origin: &Origin,
    request: &TransferRequest,
) -> Result<TransferState, TransferError> {
    let path = paths::remote(&request.local)?.into_bytes();
    let found = origin.client.stat(&path).await;
    let failed = |error| origin.failed(origin.client.failed("reading", &path)(error));
    let found = found.map_err(failed)?;

    Ok(match found.kind() {
        FileType::Directory => {
            TransferState::UpTree(Box::new(UpTree::from_origin(origin, path, &found)))
        }
        FileType::Special => {
            let path = format!("\"{}\" on the remote host", shown(&path));
            return Err(origin.failed(TransferError::NotAFile(path)));
        }
        _ => {
            let origin = origin.clone();
            let file = OriginFile {
                origin,
                path,
                found,
                most: u64::MAX,
            };
            TransferState::UpFile(Box::new(Upload::from_origin(file, request)?))
        }
    })
}
