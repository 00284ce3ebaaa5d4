//! Files of the remote host for tools that show them, over one SFTP channel. Nothing is stored on
//! this machine.

mod by_script;
mod content;
mod directory;
mod edit;
mod owners;
mod path;
mod script_files;
mod search;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{TryFutureExt as _, future::BoxFuture};
use tokio::time::timeout;

pub use self::{
    by_script::read_by_script,
    edit::{
        ChangeState, EditAction, EditError, FileChange, FileEditor, InPlaceReason, Loaded,
        LoadedFile, MAX_EDITED_BYTES, PreparedEdit, PreparedFile, Written,
    },
    script_files::ScriptFiles,
    search::{
        Hits, Problems, SearchEnd, SearchEngine, SearchProgress, SearchRequest, SearchResult,
        search,
    },
};
use super::{
    TransferError,
    client::SftpClient,
    error::{as_text, shown},
    paths::absolute,
};
pub use crate::edit::{
    kind::{ImageFormat, hex_dump},
    listing::Listing,
    page::{MAX_LINES, Page, Start},
    patch::{LenientHunk, Patch},
    replace::ReplaceError,
    search::{glob::Glob, matches::Matches, names::FoundNames, pattern::Pattern},
};
use crate::{
    sftp::attributes::{Attributes, FileType},
    ssh::command::{limits::StopConditions, remote_host::RemoteHost},
};

/// Time limit for reading a page. A file on a dead network file system never answers.
const READ_LIMIT: Duration = Duration::from_secs(60);

/// Request for a page of a file or directory.
#[derive(Debug, Clone)]
pub struct ReadRequest {
    /// Path as typed. `~` stands for the home directory.
    pub path: String,
    /// Absolute directory in which a relative path starts. Empty for the home directory.
    pub directory: Vec<u8>,
    /// First line, or first entry of a directory.
    pub start: Start,
    /// Number of lines or entries at most. A page never has more than [`MAX_LINES`].
    pub limit: usize,
}

/// Page of a remote file or directory, with the facts about it.
#[derive(Debug, Clone)]
pub struct FileView {
    /// Absolute path, unless the server does not tell the home directory.
    pub path: Vec<u8>,
    /// The same with symbolic links resolved, if the host does that.
    pub resolved: Vec<u8>,
    /// Length in bytes. `None` if the server does not report one.
    pub size: Option<u64>,
    /// Permission bits.
    pub mode: Option<u32>,
    /// User and group, such as `root:root`, or their numbers.
    pub owner: Option<String>,
    /// Time of the last modification, in seconds since 1970.
    pub modified: Option<u32>,
    /// SHA-256 of the content. `None` unless all of it was read, and for files that are too long to
    /// be edited.
    pub sha256: Option<[u8; 32]>,
    /// Content, in the form in which a reader gets it.
    pub content: FileContent,
}

/// Content of a file or directory, in the form in which a reader gets it.
#[derive(Debug, Clone)]
pub enum FileContent {
    /// Numbered lines of a text.
    Text(Page),
    /// Entries of a directory.
    Directory(Listing),
    /// Whole image in a format that clients show.
    Image {
        /// Format of the image.
        format: ImageFormat,
        /// Bytes of the file.
        bytes: Vec<u8>,
    },
    /// Other file, or an image that is too large.
    Binary {
        /// Kind of the file in words.
        kind: String,
        /// First bytes of the file.
        beginning: Vec<u8>,
    },
}

/// Files of a remote host, reached over an SFTP channel that stays open until the value is dropped.
#[derive(Debug)]
pub struct RemoteFiles {
    client: SftpClient,
}

/// File or directory that has the path of a request.
struct Found {
    /// Absolute path; see [`FileView::path`].
    path: Vec<u8>,
    /// Absolute path; see [`FileView::resolved`].
    resolved: Vec<u8>,
    attributes: Attributes,
}

impl FileView {
    /// Returns the path as text, with `\xNN` for each byte that is not UTF-8.
    #[must_use]
    pub fn path_text(&self) -> String {
        as_text(&self.path)
    }
}

impl RemoteFiles {
    /// Starts SFTP over any connection to the host with room for a channel. A host without SFTP is
    /// remembered until the next log-in, because each attempt costs round trips.
    ///
    /// # Errors
    /// The server has no SFTP, the connection ends, or the call is stopped.
    pub async fn open(
        host: &Arc<RemoteHost>,
        conditions: &StopConditions,
    ) -> Result<Self, TransferError> {
        if host.has_no_sftp.load(Ordering::Relaxed) {
            return Err(TransferError::NoSftp);
        }

        let opened = SftpClient::open(host, conditions).await;
        if matches!(opened, Err(TransferError::NoSftp | TransferError::Start(_))) {
            host.has_no_sftp.store(true, Ordering::Relaxed);
        }

        Ok(Self { client: opened? })
    }

    /// Starts SFTP, or else the file server in the host's shell.
    ///
    /// # Errors
    /// The host has neither, the connection ends, or the call is stopped.
    pub(super) async fn open_either(
        host: &Arc<RemoteHost>,
        conditions: &StopConditions,
    ) -> Result<Self, TransferError> {
        let client = SftpClient::open_either(host, conditions).await?;
        Ok(Self { client })
    }

    /// Starts the file server in the host's shell.
    ///
    /// # Errors
    /// The host has none, or the connection ends.
    async fn open_by_shell(host: &Arc<RemoteHost>) -> Result<Self, TransferError> {
        let client = SftpClient::begin_by_shell(host).await?;
        Ok(Self { client })
    }

    /// Returns true if the channel works and may stay open without use. A server with one channel
    /// for each connection needs it for other work.
    #[must_use]
    pub fn may_be_kept(&self) -> bool {
        !self.client.is_over() && !self.client.connection().is_single_channel()
    }

    /// Reads a page of a file or directory.
    ///
    /// # Errors
    /// There is no such file, it cannot be read, the connection ends, or the call is stopped. After
    /// errors of the channel, it is of no further use.
    pub async fn read(
        &self,
        request: &ReadRequest,
        conditions: &StopConditions,
    ) -> Result<FileView, TransferError> {
        // Boxed, because the compiler cannot prove the streams inside to be `Send` otherwise.
        let page: BoxFuture<'_, Result<FileView, TransferError>> = Box::pin(self.read_any(request));
        let reading = async {
            timeout(READ_LIMIT, page)
                .await
                .unwrap_or_else(|_| Err(no_end(&request.path)))
        };

        self.client
            .connection()
            .unless_stopped(conditions, reading)
            .await
    }

    /// Reads a page of whatever has the path.
    async fn read_any(&self, request: &ReadRequest) -> Result<FileView, TransferError> {
        let Found {
            path,
            resolved,
            attributes: found,
        } = self.find(request).await?;

        // A FIFO or device is not opened, because that may wait for ever or change something.
        let (owner, (content, sha256)) = match found.kind() {
            FileType::Special => return Err(TransferError::NotAFile(shown(&path))),
            FileType::Directory => tokio::try_join!(
                self.owner(&found),
                self.list(&path, request.start, request.limit)
                    .map_ok(|listing| (listing, None))
            )?,
            FileType::File | FileType::Link | FileType::Unknown => {
                tokio::try_join!(self.owner(&found), self.content(&path, &found, request))?
            }
        };

        Ok(FileView {
            path,
            resolved,
            size: found.size,
            mode: found.permissions.map(|mode| mode & 0o7777),
            owner,
            modified: found.modified(),
            sha256,
            content,
        })
    }

    /// Looks for what has the path of the request.
    ///
    /// # Errors
    /// The path cannot be used, or there is nothing.
    async fn find(&self, request: &ReadRequest) -> Result<Found, TransferError> {
        let client = &self.client;
        let typed = path::resolve(&request.path, &request.directory)?;

        // SFTP starts relative paths at home. The name of home is wanted for the answer only.
        let home = async {
            if typed.starts_with(b"/") {
                None
            } else {
                client.realpath(b".").await.ok()
            }
        };
        let (found, resolved, home) =
            tokio::join!(client.stat(&typed), self.resolved(&typed), home);
        let found_at = |path: &[u8], resolved: Option<Vec<u8>>, attributes| {
            let path = absolute(path, home.as_deref());
            Found {
                resolved: resolved.unwrap_or_else(|| path.clone()),
                path,
                attributes,
            }
        };

        let error = match found {
            Ok(found) => return Ok(found_at(&typed, resolved, found)),
            Err(error) => error,
        };

        // A name that was shown with escaped bytes may be given as it was shown.
        if client.may_be_missing(&error)
            && let Some(bytes) = path::unescaped(&typed)
            && let (Ok(found), resolved) = tokio::join!(client.stat(&bytes), self.resolved(&bytes))
        {
            return Ok(found_at(&bytes, resolved, found));
        }

        let path = absolute(&typed, home.as_deref());
        // The server says the same of a link without a target as of a path without a file.
        if client.may_be_missing(&error)
            && let Ok(target) = client.readlink(&typed).await
        {
            return Err(broken_link(&path, &target));
        }

        Err(client.failed("reading", &path)(error))
    }

    /// Returns the absolute path with symbolic links resolved; `None` if the server refuses that.
    async fn resolved(&self, path: &[u8]) -> Option<Vec<u8>> {
        let client = &self.client;
        if client.is_openssh() {
            return client.realpath(path).await.ok().map(Vec::from);
        }

        // Some servers only tidy the spelling of a path.
        let (resolved, link) = tokio::join!(client.realpath(path), client.lstat(path));
        let resolved = Vec::from(resolved.ok()?);
        match link {
            Ok(link) if link.kind() == FileType::Link => self.end_of_link(resolved).await.ok(),
            _ => Some(resolved),
        }
    }
}

/// Creates the error for a file that is not read in time. The channel waits for it.
fn no_end(path: &str) -> TransferError {
    TransferError::Ended {
        doing: "reading",
        path: shown(path.as_bytes()),
        message: format!("no answer within {READ_LIMIT:?}"),
    }
}

/// Creates the error for a symbolic link whose target does not exist, or is the link itself.
fn broken_link(link: &[u8], target: &[u8]) -> TransferError {
    let target = shown(target);
    failure(
        link,
        format!("no such file or directory; it is a symbolic link to \"{target}\""),
    )
}

/// Creates the error for a path that cannot be shown.
fn failure(path: impl AsRef<[u8]>, message: impl Into<String>) -> TransferError {
    TransferError::Remote {
        doing: "reading",
        path: shown(path.as_ref()),
        message: message.into(),
    }
}
