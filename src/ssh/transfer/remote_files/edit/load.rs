//! Loads a file over SFTP, to be edited.

use super::{EditError, Loaded, LoadedFile, MAX_EDITED_BYTES};
use crate::{
    sftp::attributes::{Attributes, FileType},
    ssh::transfer::{
        TransferError,
        client::RequestError,
        error::shown,
        paths::{absolute, split},
        remote_files::{RemoteFiles, path},
    },
};

/// Links that are followed one after another, as most systems do.
const MAX_LINKS: usize = 40;

impl RemoteFiles {
    /// Loads the file at a path in the form of SFTP.
    ///
    /// # Errors
    /// There is something that is not edited, or it cannot be read.
    pub(super) async fn load(&self, typed: &[u8]) -> Result<Loaded, TransferError> {
        let client = &self.client;
        let (spelled, found, link) = tokio::join!(
            client.realpath(typed),
            client.stat(typed),
            client.lstat(typed)
        );

        let path = match &spelled {
            Ok(spelled) => spelled.to_vec(),
            Err(_) if typed.starts_with(b"/") => typed.to_vec(),
            Err(_) => {
                let home = client.realpath(b".").await.ok();
                absolute(typed, home.as_deref())
            }
        };
        let is_link = link.is_ok_and(|link| link.kind() == FileType::Link);

        let found = match found {
            Ok(found) => found,
            Err(error) if is_link && error.code().is_some() => {
                return Err(self.broken_link(typed, &path, &error).await.into());
            }
            Err(error) if client.may_be_missing(&error) => {
                return self.missing(typed, path).await;
            }
            Err(error) => return Err(client.failed("reading", &path)(error)),
        };

        // Some servers only tidy the spelling of a path, and a rename would replace the link.
        let path = if is_link {
            self.end_of_link(path).await?
        } else {
            path
        };
        check_kind(&path, &found)?;
        check_size(&path, found.size)?;

        self.whole_file(path, &found).await.map(Loaded::File)
    }

    /// Returns the error for a link that cannot be followed.
    async fn broken_link(&self, link: &[u8], path: &[u8], error: &RequestError) -> EditError {
        let target = self.client.readlink(link).await;
        let target = target.map_or_else(|_| "an unknown target".to_owned(), |to| shown(&to));
        let to = if self.client.may_be_missing(error) {
            format!("to {target}, which does not exist")
        } else {
            format!("to {target}, which cannot be followed")
        };

        EditError::BrokenLink {
            path: shown(path),
            to,
        }
    }

    /// Returns that nothing is at the path, unless the path is the shown form of a name with other
    /// bytes.
    async fn missing(&self, typed: &[u8], path: Vec<u8>) -> Result<Loaded, TransferError> {
        let Some(bytes) = path::unescaped(typed) else {
            return Ok(Loaded::Missing(path));
        };

        if self.client.lstat(&bytes).await.is_err() {
            return Ok(Loaded::Missing(path));
        }

        Box::pin(self.load(&bytes)).await
    }

    /// Follows links by their targets until the path is that of a file.
    pub(in crate::ssh::transfer::remote_files) async fn end_of_link(
        &self,
        mut path: Vec<u8>,
    ) -> Result<Vec<u8>, TransferError> {
        let client = &self.client;
        for _ in 0..MAX_LINKS {
            match client.lstat(&path).await {
                Ok(found) if found.kind() == FileType::Link => {}
                _ => return Ok(path),
            }

            let target = client
                .readlink(&path)
                .await
                .map_err(client.failed("reading", &path))?;
            path = if target.starts_with(b"/") {
                target.to_vec()
            } else {
                [split(&path).0, &target].concat()
            };
        }

        let to = "in a circle".to_owned();
        let path = shown(&path);
        Err(EditError::BrokenLink { path, to }.into())
    }

    /// Reads the whole content of a file with these attributes.
    async fn whole_file(
        &self,
        path: Vec<u8>,
        found: &Attributes,
    ) -> Result<LoadedFile, TransferError> {
        let size = found.size.unwrap_or(0);
        let (content, attributes) = self.read_whole(&path, size, MAX_EDITED_BYTES).await?;
        check_kind(&path, &attributes)?;
        check_size(&path, Some(content.len() as u64))?;

        Ok(LoadedFile {
            path,
            content,
            mode: attributes.permissions.map(|mode| mode & 0o7777),
            owner: attributes.owner,
            modified: attributes.modified(),
        })
    }

    /// Returns true if the path still leads to the content that was loaded.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) async fn is_unchanged(&self, file: &LoadedFile) -> Result<bool, TransferError> {
        let size = file.content.len() as u64;
        let (content, _) = self.read_whole(&file.path, size, size).await?;
        Ok(content == file.content)
    }

    /// Checks that the directory of a new file exists, and returns its attributes.
    ///
    /// # Errors
    /// The directory does not exist, or is something else.
    pub(super) async fn directory_of(&self, path: &[u8]) -> Result<Attributes, TransferError> {
        let directory = parent(path);
        let found = self.client.stat(directory).await;
        match found {
            Ok(found) if matches!(found.kind(), FileType::Directory | FileType::Unknown) => {
                Ok(found)
            }
            Ok(_) => Err(TransferError::NotADirectory(shown(directory))),
            Err(error) if self.client.may_be_missing(&error) => {
                Err(EditError::NoDirectory(shown(directory)).into())
            }
            Err(error) => Err(self.client.failed("reading", directory)(error)),
        }
    }
}

/// Returns the directory of an absolute path.
pub(super) fn parent(path: &[u8]) -> &[u8] {
    let (directory, _) = split(path);
    match directory.strip_suffix(b"/") {
        // A server that does not tell its home directory leaves a relative path as it is.
        None => b".",
        Some(b"") => directory,
        Some(directory) => directory,
    }
}

/// Checks that a path leads to a regular file.
///
/// # Errors
/// Returns [`EditError::NotAFile`] for anything else.
fn check_kind(path: &[u8], found: &Attributes) -> Result<(), EditError> {
    let what = match found.kind() {
        FileType::File | FileType::Unknown | FileType::Link => return Ok(()),
        FileType::Directory => "a directory",
        FileType::Special => match found.permissions.unwrap_or(0) & 0o170_000 {
            0o010_000 => "a FIFO",
            0o140_000 => "a socket",
            _ => "a device",
        },
    };

    let path = shown(path);
    Err(EditError::NotAFile { path, what })
}

/// Checks that a file is not too long.
///
/// # Errors
/// Returns [`EditError::TooLong`] if it is.
fn check_size(path: &[u8], size: Option<u64>) -> Result<(), EditError> {
    match size {
        Some(bytes) if bytes > MAX_EDITED_BYTES => Err(EditError::TooLong {
            path: shown(path),
            bytes,
        }),
        _ => Ok(()),
    }
}
