//! A transfer of a file or a tree in either direction, with its attempts.

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::spawn_blocking;

use super::{
    RemoteTemp, StopConditions, TransferError,
    client::SftpClient,
    file::{download::Download, upload::Upload},
    guard::Guard,
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
    /// Time from the creation of the [`FileTransfer`] to the end, over all attempts.
    pub duration: Duration,
}

/// Transfer of a file or tree, which may take several attempts over successive connections. The
/// source or target on this machine stays open between attempts. Dropping the transfer removes
/// temporary local files; temporary remote files are returned by
/// [`remote_temps`](Self::remote_temps).
#[derive(Debug)]
pub struct FileTransfer {
    started: Instant,
    request: TransferRequest,
    guard: Guard,
    excludes: Excludes,
    state: TransferState,
}

/// State of a transfer by direction and type of source.
#[derive(Debug)]
enum TransferState {
    /// A download whose first attempt has not yet asked the server for the type of the source.
    Down,
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
            request,
            guard,
            excludes,
            state,
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
            request,
            guard,
            excludes,
            state: TransferState::Down,
        })
    }

    /// Moves everything not moved yet, over connections to `host`.
    ///
    /// # Errors
    /// Any [`TransferError`]. If [`TransferError::is_lost`] returns true, another attempt continues
    /// where this attempt stopped.
    pub async fn attempt(
        &mut self,
        host: &Arc<RemoteHost>,
        conditions: &StopConditions,
    ) -> Result<Transferred, TransferError> {
        let client = Arc::new(SftpClient::open(host, conditions).await?);

        let Self {
            started,
            request,
            guard,
            excludes,
            state,
        } = self;

        // Once per transfer: a later attempt must continue with the same kind of source.
        if let TransferState::Down = state {
            let connection = client.connection();
            *state = connection
                .unless_stopped(conditions, begin(&client, guard, request))
                .await?;
        }

        let AttemptResult {
            to,
            tally,
            verified,
        } = match state {
            TransferState::Down => return Err(TransferError::Cancelled),
            TransferState::UpFile(upload) => upload.attempt(host, &client, conditions).await?,
            TransferState::UpTree(tree) => {
                tree.attempt(request, excludes, host, &client, conditions)
                    .await?
            }
            TransferState::DownFile(download) => {
                download.attempt(host, &client, conditions).await?
            }
            TransferState::DownTree(tree) => {
                tree.attempt(request, excludes, host, &client, conditions, guard)
                    .await?
            }
        };

        Ok(Transferred {
            to,
            tally,
            verified,
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
            TransferState::Down | TransferState::DownFile(_) | TransferState::DownTree(_) => {
                Vec::new()
            }
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
        FileType::Directory => TransferState::DownTree(Box::new(DownTree::new(path, found))),
        _ => TransferState::DownFile(Box::new(Download::new(path, found, guard, request).await?)),
    })
}
