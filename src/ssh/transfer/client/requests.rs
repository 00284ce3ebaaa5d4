//! The SFTP requests, each with its reply. Dropping a future leaves its request in flight, and the
//! reply is ignored.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

use super::{RequestError, SftpClient};
use crate::sftp::{
    attributes::Attributes,
    content::{Chunk, Content},
    handle::Handle,
    reply::{AccountNames, Malformed, NameReply, SftpReply},
    request::{Access, LinkOrder, SftpRequest},
    status::{Status, StatusCode},
};

/// Upper limit of a path in a server's reply, in bytes: Linux' `PATH_MAX`.
const MAX_PATH_BYTES: usize = 4096;

/// Time limit to close a file after reading. A close takes a round trip unless the server never
/// answers.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

/// Error for a reply whose type does not fit the request.
const OTHER: Malformed = Malformed("it answers something else than was asked");

impl SftpClient {
    /// Opens a file. `attributes` apply to a newly created file.
    pub(in crate::ssh::transfer) async fn open_file(
        &self,
        path: &[u8],
        access: Access,
        attributes: Attributes,
    ) -> Result<Handle, RequestError> {
        self.handle(SftpRequest::Open {
            path,
            access,
            attributes,
        })
        .await
    }

    /// Closes a file or directory.
    pub(in crate::ssh::transfer) async fn close(
        &self,
        handle: &Handle,
    ) -> Result<(), RequestError> {
        self.done(SftpRequest::Close(handle)).await
    }

    /// Closes a file or directory which was only read, where the status of the close has no
    /// meaning. Waits only for servers other than OpenSSH's, for [`CLOSED_WITHIN`] at most.
    pub(in crate::ssh::transfer) async fn close_read(&self, handle: &Handle) {
        // Another server might give the handle to a new file meanwhile, or allow only one open
        // file.
        if !self.is_openssh() && !self.leaves_closes_unanswered.load(Ordering::Relaxed) {
            if timeout(CLOSED_WITHIN, self.close(handle)).await.is_err() {
                // Once is enough: a tree of nested directories would wait for each of hundreds of
                // closes.
                self.leaves_closes_unanswered.store(true, Ordering::Relaxed);
            }
            return;
        }

        let _ = self.send(&SftpRequest::Close(handle));
    }

    /// Reads up to `length` bytes at `offset`. Returns `None` at the end of the file. Some servers
    /// answer a read after the end with a failure or with no bytes, so they are asked for the length.
    pub(in crate::ssh::transfer) async fn read(
        &self,
        handle: &Handle,
        offset: u64,
        length: u32,
    ) -> Result<Option<Content>, RequestError> {
        let answer = self
            .ask(SftpRequest::Read {
                handle,
                offset,
                length,
            })
            .await?;
        let may_be_end = match &answer {
            SftpReply::Content(content) => content.is_empty(),
            SftpReply::Status(status) => status.code == StatusCode::Failure,
            _ => false,
        };
        if may_be_end && !self.is_openssh() {
            let found = self.fstat(handle).await;
            if found.is_ok_and(|found| found.size.is_some_and(|size| size <= offset)) {
                return Ok(None);
            }
        }

        content(answer, length)
    }

    /// Writes a chunk at `offset`.
    pub(in crate::ssh::transfer) async fn write(
        &self,
        handle: &Handle,
        offset: u64,
        chunk: Chunk,
    ) -> Result<(), RequestError> {
        done(self.reply(self.send_write(handle, offset, chunk)).await?)
    }

    /// Returns the attributes of a path. A link is followed.
    pub(in crate::ssh::transfer) async fn stat(
        &self,
        path: &[u8],
    ) -> Result<Attributes, RequestError> {
        self.attributes(SftpRequest::Stat(path)).await
    }

    /// Returns the attributes of an open file.
    pub(in crate::ssh::transfer) async fn fstat(
        &self,
        handle: &Handle,
    ) -> Result<Attributes, RequestError> {
        self.attributes(SftpRequest::Fstat(handle)).await
    }

    /// Sets attributes of a path. A link is followed.
    pub(in crate::ssh::transfer) async fn setstat(
        &self,
        path: &[u8],
        to: Attributes,
    ) -> Result<(), RequestError> {
        self.done(SftpRequest::Setstat(path, to)).await
    }

    /// Sets attributes of an open file.
    pub(in crate::ssh::transfer) async fn fsetstat(
        &self,
        handle: &Handle,
        to: Attributes,
    ) -> Result<(), RequestError> {
        self.done(SftpRequest::Fsetstat(handle, to)).await
    }

    /// Sets attributes of a path, without following a link. Fails with [`StatusCode::Unsupported`]
    /// if the server does not offer `lsetstat@openssh.com`.
    pub(in crate::ssh::transfer) async fn lsetstat(
        &self,
        path: &[u8],
        to: Attributes,
    ) -> Result<(), RequestError> {
        self.extension("lsetstat@openssh.com")?;
        self.done(SftpRequest::Lsetstat(path, to)).await
    }

    /// Opens a directory.
    pub(in crate::ssh::transfer) async fn opendir(
        &self,
        path: &[u8],
    ) -> Result<Handle, RequestError> {
        self.handle(SftpRequest::Opendir(path)).await
    }

    /// Reads the next names of a directory, perhaps with `.` and `..` among them. Returns `None` at
    /// the end. A hostile server may never reach the end, so the caller has to set a limit.
    pub(in crate::ssh::transfer) async fn readdir(
        &self,
        handle: &Handle,
    ) -> Result<Option<Vec<NameReply>>, RequestError> {
        names(self.ask(SftpRequest::Readdir(handle)).await?)
    }

    /// Removes a file or link.
    pub(in crate::ssh::transfer) async fn remove(&self, path: &[u8]) -> Result<(), RequestError> {
        self.done(SftpRequest::Remove(path)).await
    }

    /// Makes a directory.
    pub(in crate::ssh::transfer) async fn mkdir(
        &self,
        path: &[u8],
        attributes: Attributes,
    ) -> Result<(), RequestError> {
        self.done(SftpRequest::Mkdir(path, attributes)).await
    }

    /// Resolves a path to the absolute path without links, in the server's spelling.
    pub(in crate::ssh::transfer) async fn realpath(
        &self,
        path: &[u8],
    ) -> Result<Bytes, RequestError> {
        let path = self.path(SftpRequest::Realpath(path)).await?;
        // The path is sent back in later requests, so a server must not choose one that no system
        // accepts.
        let usable = path.starts_with(b"/") && path.len() <= MAX_PATH_BYTES && !path.contains(&0);
        if usable {
            Ok(path)
        } else {
            Err(Malformed("it gives a path that is none").into())
        }
    }

    /// Renames a file to a name which does not exist yet.
    pub(in crate::ssh::transfer) async fn rename(
        &self,
        from: &[u8],
        to: &[u8],
    ) -> Result<(), RequestError> {
        self.done(SftpRequest::Rename { from, to }).await
    }

    /// Renames a file over an existing file, in a single step. Fails with
    /// [`StatusCode::Unsupported`] if the server does not offer `posix-rename@openssh.com`.
    pub(in crate::ssh::transfer) async fn posix_rename(
        &self,
        from: &[u8],
        to: &[u8],
    ) -> Result<(), RequestError> {
        self.extension("posix-rename@openssh.com")?;
        self.done(SftpRequest::PosixRename { from, to }).await
    }

    /// Returns the destination of a link, exactly as stored.
    pub(in crate::ssh::transfer) async fn readlink(
        &self,
        path: &[u8],
    ) -> Result<Bytes, RequestError> {
        let target = self.path(SftpRequest::Readlink(path)).await?;
        if target.is_empty() {
            return Err(Status {
                code: StatusCode::Failure,
                message: "the server does not say where the link leads".into(),
            }
            .into());
        }
        Ok(target)
    }

    /// Creates a link which leads to `target`. `order` is the order of the two paths in the
    /// request.
    pub(in crate::ssh::transfer) async fn symlink(
        &self,
        order: LinkOrder,
        target: &[u8],
        link: &[u8],
    ) -> Result<(), RequestError> {
        self.done(order.request(target, link)).await
    }

    /// Flushes an open file to the disk. Fails with [`StatusCode::Unsupported`] if the server does
    /// not offer `fsync@openssh.com`.
    pub(in crate::ssh::transfer) async fn fsync(
        &self,
        handle: &Handle,
    ) -> Result<(), RequestError> {
        self.extension("fsync@openssh.com")?;
        self.done(SftpRequest::Fsync(handle)).await
    }

    /// Returns the names of users and groups. Fails with [`StatusCode::Unsupported`] if the server
    /// does not offer `users-groups-by-id@openssh.com`.
    pub(in crate::ssh::transfer) async fn account_names(
        &self,
        users: &[u32],
        groups: &[u32],
    ) -> Result<AccountNames, RequestError> {
        self.extension("users-groups-by-id@openssh.com")?;
        match self
            .ask(SftpRequest::AccountNames { users, groups })
            .await?
        {
            SftpReply::Extended(answer) => Ok(AccountNames::read(answer)?),
            other => Err(unexpected(other)),
        }
    }

    /// Checks if the server offers an extension.
    ///
    /// # Errors
    /// [`StatusCode::Unsupported`] if it does not.
    fn extension(&self, name: &str) -> Result<(), RequestError> {
        let message = format!("the server does not offer {name}");
        if self.offers(name) {
            Ok(())
        } else {
            Err(Status {
                code: StatusCode::Unsupported,
                message: message.into(),
            }
            .into())
        }
    }

    /// Sends a request whose reply is a status.
    async fn done(&self, request: SftpRequest<'_>) -> Result<(), RequestError> {
        done(self.ask(request).await?)
    }

    /// Sends a request whose reply is a handle. Notes the refusal by a server which may have a
    /// hidden limit of open files.
    async fn handle(&self, request: SftpRequest<'_>) -> Result<Handle, RequestError> {
        let mix_ups = self.mix_ups();
        match self.ask(request).await? {
            // If handles were mixed up while this file was opened, the handle may belong to another
            // file.
            SftpReply::Handle(handle) => match self.is_sure_since(mix_ups) {
                Ok(()) => Ok(handle),
                Err(error) => {
                    let _ = self.close(&handle).await;
                    Err(error)
                }
            },
            other => {
                // A gateway with a hidden limit of open files fails here; alone, the file may well
                // be opened.
                if !self.is_openssh() && self.has_open_files() {
                    self.shared.evidence.note_refusal();
                }
                Err(unexpected(other))
            }
        }
    }

    /// Sends a request whose reply contains attributes.
    pub(super) async fn attributes(
        &self,
        request: SftpRequest<'_>,
    ) -> Result<Attributes, RequestError> {
        match self.ask(request).await? {
            SftpReply::Attributes(attributes) => Ok(attributes),
            other => Err(unexpected(other)),
        }
    }

    /// Sends a request whose reply contains a path.
    async fn path(&self, request: SftpRequest<'_>) -> Result<Bytes, RequestError> {
        match self.ask(request).await? {
            SftpReply::Names(names) => Ok(names.into_iter().next().ok_or(OTHER)?.name),
            other => Err(unexpected(other)),
        }
    }
}

/// Converts the reply to a request for `length` bytes. `None` is the end of the file.
pub(super) fn content(reply: SftpReply, length: u32) -> Result<Option<Content>, RequestError> {
    match reply {
        // More bytes than requested would overlap the next piece, and none at all would repeat
        // forever.
        SftpReply::Content(content) if content.is_empty() || content.len() > length as usize => {
            Err(Malformed("it answers with a wrong number of bytes").into())
        }
        SftpReply::Content(content) => Ok(Some(content)),
        SftpReply::Status(Status {
            code: StatusCode::EndOfFile,
            ..
        }) => Ok(None),
        other => Err(unexpected(other)),
    }
}

/// Converts the reply to a request for names. `None` is the end of the directory.
pub(super) fn names(reply: SftpReply) -> Result<Option<Vec<NameReply>>, RequestError> {
    match reply {
        SftpReply::Names(names) => Ok(Some(names)),
        SftpReply::Status(Status {
            code: StatusCode::EndOfFile,
            ..
        }) => Ok(None),
        other => Err(unexpected(other)),
    }
}

/// Converts a status reply to a result.
pub(super) fn done(reply: SftpReply) -> Result<(), RequestError> {
    match reply {
        SftpReply::Status(Status {
            code: StatusCode::Ok,
            ..
        }) => Ok(()),
        other => Err(unexpected(other)),
    }
}

/// Converts a reply of another type than expected to an error.
pub(super) fn unexpected(reply: SftpReply) -> RequestError {
    match reply {
        SftpReply::Status(status) if status.code != StatusCode::Ok => status.into(),
        _ => OTHER.into(),
    }
}
