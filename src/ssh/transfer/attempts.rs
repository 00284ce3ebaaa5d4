//! A transfer of a file or a tree, either way.

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
    request::TransferRequest,
    tree::{DownTree, UpTree},
};
use crate::{
    local::{Folder, LocalName},
    sftp::attributes::FileType,
    ssh::pool::Pool,
    tree::{excludes::Excludes, tally::Tally},
};

/// What was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transferred {
    /// The path at the destination, as it was resolved.
    pub to: String,
    /// How much of what.
    pub tally: Tally,
    /// Both sides were found to be the same by SHA-256, not by their length alone.
    pub verified: bool,
    /// From the call to the end.
    pub duration: Duration,
}

/// A transfer, which may take several attempts.
#[derive(Debug)]
pub struct FileTransfer {
    started: Instant,
    request: TransferRequest,
    guard: Guard,
    excludes: Excludes,
    state: TransferState,
}

#[derive(Debug)]
enum TransferState {
    /// Only the server knows whether it is a file or a directory.
    Down,
    UpFile(Box<Upload>),
    UpTree(Box<UpTree>),
    DownFile(Box<Download>),
    DownTree(Box<DownTree>),
}

impl FileTransfer {
    /// To the remote host.
    ///
    /// # Errors
    /// What is on this machine is neither a regular file nor a directory, or cannot be read, or a path or pattern cannot be
    /// meant.
    pub async fn up(request: TransferRequest, guard: Guard) -> Result<Self, TransferError> {
        let started = Instant::now();
        let excludes = Excludes::parse(&request.exclude)?;
        let path = paths::local(&request.local)?;
        paths::remote(&request.remote)?;

        let (finding, is_directory) = (path.clone(), paths::names_directory(&request.local));
        let found = spawn_blocking(move || find(&finding, is_directory)).await;
        let found = found.unwrap_or_else(|error| Err(io::Error::other(error)));

        let state = match found.map_err(|source| TransferError::local("reading", &path, source))? {
            SourceKind::Directory(folder) => {
                TransferState::UpTree(Box::new(UpTree::open(path, folder, &guard).await?))
            }
            SourceKind::Other(place) => {
                TransferState::UpFile(Box::new(Upload::open(path, place, &guard, &request).await?))
            }
        };

        Ok(Self {
            started,
            request,
            guard,
            excludes,
            state,
        })
    }

    /// From it.
    ///
    /// # Errors
    /// A path or pattern that cannot be meant.
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

    /// Does what is left to do over these connections.
    ///
    /// # Errors
    /// [`TransferError`]; where [`TransferError::is_lost`], another attempt goes on where this one stood.
    pub async fn attempt(
        &mut self,
        pool: &Arc<Pool>,
        conditions: &StopConditions,
    ) -> Result<Transferred, TransferError> {
        let client = Arc::new(SftpClient::open(pool, conditions).await?);

        let Self {
            started,
            request,
            guard,
            excludes,
            state,
        } = self;

        if let TransferState::Down = state {
            let connection = client.connection();
            *state = connection
                .unless_stopped(conditions, begin(&client, guard, request))
                .await?;
        }

        let (to, tally, verified) = match state {
            TransferState::Down => return Err(TransferError::Cancelled),
            TransferState::UpFile(upload) => upload.attempt(pool, &client, conditions).await?,
            TransferState::UpTree(tree) => {
                tree.attempt(request, excludes, pool, &client, conditions)
                    .await?
            }
            TransferState::DownFile(download) => {
                download.attempt(pool, &client, conditions).await?
            }
            TransferState::DownTree(tree) => {
                tree.attempt(request, excludes, pool, &client, conditions, guard)
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

    /// What is left on the remote host of an attempt that ended with its link.
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

/// What is to be sent.
enum SourceKind {
    Directory(Folder),
    Other(LocalName),
}

/// Looks for it once, so that it cannot be exchanged between two looks.
fn find(path: &Path, is_directory: bool) -> io::Result<SourceKind> {
    match Folder::root(path) {
        Ok(folder) => Ok(SourceKind::Directory(folder)),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory && !is_directory => {
            Ok(SourceKind::Other(LocalName::resolve(path)?))
        }
        Err(error) => Err(error),
    }
}

/// Looks at what is to be fetched.
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
