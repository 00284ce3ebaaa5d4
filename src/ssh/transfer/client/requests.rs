//! Each request with its answer. The futures borrow the client; dropping one leaves its request in flight, unanswered.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

use super::{RequestError, SftpClient};
use crate::sftp::{
    attributes::Attributes,
    content::{Chunk, Content},
    handle::Handle,
    reply::{Malformed, NameReply, SftpReply},
    request::{Access, LinkOrder, SftpRequest},
    status::{Status, StatusCode},
};

/// The longest path that a server may spell out, in bytes: Linux' `PATH_MAX`.
const MAX_PATH_BYTES: usize = 4096;

/// How long a server may take to close what was only read: no more than a round trip, unless it does not answer at all.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

/// An answer of another kind than was asked for.
const OTHER: Malformed = Malformed("it answers something else than was asked");

impl SftpClient {
    /// Opens a file; `attributes` are for one that is made.
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

    /// The same for what was only read, about which the answer says nothing. It is waited for only where the handle could be
    /// given to another file meanwhile, or nothing else may be open, and not for ever: what was read is here.
    pub(in crate::ssh::transfer) async fn close_read(&self, handle: &Handle) {
        if !self.is_openssh() && !self.leaves_closes_unanswered.load(Ordering::Relaxed) {
            if timeout(CLOSED_WITHIN, self.close(handle)).await.is_err() {
                // Once is enough: a tree has a directory in a directory, hundreds deep.
                self.leaves_closes_unanswered.store(true, Ordering::Relaxed);
            }
            return;
        }

        let id = self.next_id();
        if self.shared.expect(id, Some(handle.clone())).is_ok() {
            let _ = self.queue.send(SftpRequest::Close(handle).packet(id));
        }
    }

    /// Reads up to `length` bytes; `None` at the end of the file.
    pub(in crate::ssh::transfer) async fn read(
        &self,
        handle: &Handle,
        offset: u64,
        length: u32,
    ) -> Result<Option<Content>, RequestError> {
        match self
            .ask(SftpRequest::Read {
                handle,
                offset,
                length,
            })
            .await?
        {
            SftpReply::Content(content)
                if content.is_empty() || content.len() > length as usize =>
            {
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

    /// Writes a piece at `offset`.
    pub(in crate::ssh::transfer) async fn write(
        &self,
        handle: &Handle,
        offset: u64,
        chunk: Chunk,
    ) -> Result<(), RequestError> {
        let id = self.next_id();
        done(
            self.send(id, chunk.write_to(id, handle, offset), None)
                .await?,
        )
    }

    /// The attributes of a path; of a link, its own.
    pub(in crate::ssh::transfer) async fn lstat(
        &self,
        path: &[u8],
    ) -> Result<Attributes, RequestError> {
        self.attributes(SftpRequest::Lstat(path)).await
    }

    /// The attributes of what a path leads to.
    pub(in crate::ssh::transfer) async fn stat(
        &self,
        path: &[u8],
    ) -> Result<Attributes, RequestError> {
        self.attributes(SftpRequest::Stat(path)).await
    }

    /// The attributes of an open file.
    pub(in crate::ssh::transfer) async fn fstat(
        &self,
        handle: &Handle,
    ) -> Result<Attributes, RequestError> {
        self.attributes(SftpRequest::Fstat(handle)).await
    }

    /// Sets attributes of what a path leads to.
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

    /// Sets attributes of a path; of a link, its own. [`StatusCode::Unsupported`] where the server does not offer it.
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

    /// Some names of a directory, `.` and `..` perhaps among them; `None` after the last. A server may go on for ever.
    pub(in crate::ssh::transfer) async fn readdir(
        &self,
        handle: &Handle,
    ) -> Result<Option<Vec<NameReply>>, RequestError> {
        match self.ask(SftpRequest::Readdir(handle)).await? {
            SftpReply::Names(names) => Ok(Some(names)),
            SftpReply::Status(Status {
                code: StatusCode::EndOfFile,
                ..
            }) => Ok(None),
            other => Err(unexpected(other)),
        }
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

    /// The absolute path without links, as the server spells it.
    pub(in crate::ssh::transfer) async fn realpath(
        &self,
        path: &[u8],
    ) -> Result<Bytes, RequestError> {
        let path = self.path(SftpRequest::Realpath(path)).await?;
        let usable = path.starts_with(b"/") && path.len() <= MAX_PATH_BYTES && !path.contains(&0);
        if usable {
            Ok(path)
        } else {
            Err(Malformed("it gives a path that is none").into())
        }
    }

    /// Renames where nothing is there yet.
    pub(in crate::ssh::transfer) async fn rename(
        &self,
        from: &[u8],
        to: &[u8],
    ) -> Result<(), RequestError> {
        self.done(SftpRequest::Rename { from, to }).await
    }

    /// Renames over whatever is there, in one step. [`StatusCode::Unsupported`] where the server does not offer it.
    pub(in crate::ssh::transfer) async fn posix_rename(
        &self,
        from: &[u8],
        to: &[u8],
    ) -> Result<(), RequestError> {
        self.extension("posix-rename@openssh.com")?;
        self.done(SftpRequest::PosixRename { from, to }).await
    }

    /// Where a link leads, as it is written in it.
    pub(in crate::ssh::transfer) async fn readlink(
        &self,
        path: &[u8],
    ) -> Result<Bytes, RequestError> {
        self.path(SftpRequest::Readlink(path)).await
    }

    /// Makes a link that leads to `target`.
    pub(in crate::ssh::transfer) async fn symlink(
        &self,
        order: LinkOrder,
        target: &[u8],
        link: &[u8],
    ) -> Result<(), RequestError> {
        self.done(order.request(target, link)).await
    }

    /// Writes an open file to the disk. [`StatusCode::Unsupported`] where the server does not offer it.
    pub(in crate::ssh::transfer) async fn fsync(
        &self,
        handle: &Handle,
    ) -> Result<(), RequestError> {
        self.extension("fsync@openssh.com")?;
        self.done(SftpRequest::Fsync(handle)).await
    }

    fn extension(&self, name: &str) -> Result<(), RequestError> {
        let message = format!("the server does not offer {name}");
        if self.offers(name) {
            Ok(())
        } else {
            Err(Status {
                code: StatusCode::Unsupported,
                message,
            }
            .into())
        }
    }

    async fn done(&self, request: SftpRequest<'_>) -> Result<(), RequestError> {
        done(self.ask(request).await?)
    }

    async fn handle(&self, request: SftpRequest<'_>) -> Result<Handle, RequestError> {
        let mix_ups = self.mix_ups();
        match self.ask(request).await? {
            SftpReply::Handle(handle) => match self.is_sure_since(mix_ups) {
                Ok(()) => Ok(handle),
                Err(error) => {
                    let _ = self.close(&handle).await;
                    Err(error)
                }
            },
            other => {
                if !self.is_openssh() && self.has_open_files() {
                    self.shared.shown.note_refusal();
                }
                Err(unexpected(other))
            }
        }
    }

    /// Whether the server renames at all: it is asked, once, to rename what is not there.
    pub(in crate::ssh::transfer) async fn renames(&self, missing: &[u8], to: &[u8]) -> bool {
        let ask = async {
            let posix = self.offers("posix-rename@openssh.com");
            let asked = if posix {
                self.posix_rename(missing, to).await
            } else {
                self.rename(missing, to).await
            };

            let code = asked.err().and_then(|error| error.code());

            !matches!(
                code,
                Some(StatusCode::PermissionDenied | StatusCode::Unsupported)
            )
        };

        self.is_openssh() || *self.renames.get_or_init(|| ask).await
    }

    async fn attributes(&self, request: SftpRequest<'_>) -> Result<Attributes, RequestError> {
        match self.ask(request).await? {
            SftpReply::Attributes(attributes) => Ok(attributes),
            other => Err(unexpected(other)),
        }
    }

    async fn path(&self, request: SftpRequest<'_>) -> Result<Bytes, RequestError> {
        match self.ask(request).await? {
            SftpReply::Names(names) => Ok(names.into_iter().next().ok_or(OTHER)?.name),
            other => Err(unexpected(other)),
        }
    }
}

fn done(reply: SftpReply) -> Result<(), RequestError> {
    match reply {
        SftpReply::Status(Status {
            code: StatusCode::Ok,
            ..
        }) => Ok(()),
        other => Err(unexpected(other)),
    }
}

fn unexpected(reply: SftpReply) -> RequestError {
    match reply {
        SftpReply::Status(status) if status.code != StatusCode::Ok => status.into(),
        _ => OTHER.into(),
    }
}
