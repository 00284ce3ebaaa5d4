//! Files and directories which are opened, used and closed by requests that are all sent at once.
//!
//! The requests after the open need the handle before the server has given it. OpenSSH's server
//! (`handle_new` in `sftp-server.c`) reuses the handle that was closed last, so a channel without
//! another open file always gives the same one. The reply to the open proves it. If the server gives
//! another handle or none, the other requests name a handle that nobody has, and change nothing.

use std::sync::atomic::Ordering;

use super::{
    RequestError, SentRequest, SftpClient,
    requests::{content, done, names, unexpected},
};
use crate::{
    sftp::{
        attributes::Attributes,
        content::{Chunk, Content},
        handle::Handle,
        reply::{NameReply, SftpReply},
        request::{Access, SftpRequest},
    },
    ssh::transfer::TransferError,
};

/// Handle which OpenSSH's server gives while no other file is open.
const FIRST_HANDLE: u32 = 0;
/// Number of requests for names which are sent with the open of a directory. OpenSSH's server
/// answers each with up to 100 names, and the last with the end.
const READS_OF_DIRECTORY: usize = 4;

/// Result of pipelined requests.
#[derive(Debug)]
pub(in crate::ssh::transfer) enum Pipelined<T> {
    /// The requests were carried out.
    Done(T),
    /// The work has to be repeated with each request after the reply on which it depends: the server
    /// gave another handle, or a directory has too many names. Nothing is open.
    Repeat,
}

impl SftpClient {
    /// Returns true if requests can be pipelined. The caller makes sure that no other file is open
    /// on the channel meanwhile.
    pub(in crate::ssh::transfer) fn pipelines(&self) -> bool {
        self.openssh && self.shell.is_none() && !self.gives_other_handles.load(Ordering::Relaxed)
    }

    /// Creates a file, writes `content`, sets `attributes`, and closes the file. `new` are the
    /// attributes until then. Returns true if the attributes were set. `target` is the path for
    /// error messages.
    ///
    /// # Errors
    /// A request failed, and the file may exist in part.
    pub(in crate::ssh::transfer) async fn create_pipelined(
        &self,
        path: &[u8],
        new: Attributes,
        content: Chunk,
        attributes: Attributes,
        target: &[u8],
    ) -> Result<Pipelined<bool>, TransferError> {
        let handle = &Handle::from(FIRST_HANDLE);

        // All are sent before the first wait, so that no other file comes between.
        let open = self.send(&SftpRequest::Open {
            path,
            access: Access::Create,
            attributes: new,
        });
        let write = (!content.content().is_empty()).then(|| self.send_write(handle, 0, content));
        let set = self.send(&SftpRequest::Fsetstat(handle, attributes));
        let close = self.send(&SftpRequest::Close(handle));

        let closed = self.reply(close).await.and_then(done);
        let opened = self.opens(open, handle).await;
        if !opened.map_err(self.failed("creating a file next to", target))? {
            return Ok(Pipelined::Repeat);
        }

        // The server reports a write of fewer bytes as a failure.
        if let Some(write) = write {
            let written = self.reply(write).await.and_then(done);
            written.map_err(self.failed("writing", target))?;
        }

        // The content has arrived, so the upload succeeds even if the server refuses mode and times.
        let set = match self.reply(set).await.and_then(done) {
            Ok(()) => true,
            Err(RequestError::Status(_)) => false,
            Err(error) => return Err(self.failed("setting mode and times of", target)(error)),
        };
        closed.map_err(self.failed("closing", target))?;

        Ok(Pipelined::Done(set))
    }

    /// Reads up to `length` bytes of a file from the start.
    ///
    /// # Errors
    /// A request failed.
    pub(in crate::ssh::transfer) async fn read_pipelined(
        &self,
        path: &[u8],
        length: u32,
    ) -> Result<Pipelined<Content>, TransferError> {
        let handle = &Handle::from(FIRST_HANDLE);

        let open = self.send(&SftpRequest::Open {
            path,
            access: Access::Read,
            attributes: Attributes::default(),
        });
        let read = self.send(&SftpRequest::Read {
            handle,
            offset: 0,
            length,
        });
        let close = self.send(&SftpRequest::Close(handle));

        // The status of closing a file that was only read has no meaning.
        let _ = self.reply(close).await;
        let opened = self.opens(open, handle).await;
        if !opened.map_err(self.failed("opening", path))? {
            return Ok(Pipelined::Repeat);
        }

        let read = self.reply(read).await;
        let read = read.and_then(|reply| content(reply, length));
        let read = read.map_err(self.failed("reading", path))?;

        Ok(Pipelined::Done(read.unwrap_or_default()))
    }

    /// Returns the names of a directory, in the order of the server and perhaps with `.` and `..`
    /// among them, a list for each reply.
    ///
    /// # Errors
    /// A request failed.
    pub(in crate::ssh::transfer) async fn list_pipelined(
        &self,
        path: &[u8],
    ) -> Result<Pipelined<Vec<Vec<NameReply>>>, RequestError> {
        let handle = &Handle::from(FIRST_HANDLE);

        let open = self.send(&SftpRequest::Opendir(path));
        let reads = [(); READS_OF_DIRECTORY].map(|()| self.send(&SftpRequest::Readdir(handle)));
        let close = self.send(&SftpRequest::Close(handle));

        let _ = self.reply(close).await;
        if !self.opens(open, handle).await? {
            return Ok(Pipelined::Repeat);
        }

        let mut all = Vec::new();
        for read in reads {
            let names = names(self.reply(read).await?)?;
            match names.filter(|names| !names.is_empty()) {
                Some(names) => all.push(names),
                None => return Ok(Pipelined::Done(all)),
            }
        }

        Ok(Pipelined::Repeat)
    }

    /// Returns true if the open of a file gave the expected handle. Closes the file under any other
    /// handle, and pipelines no more requests.
    ///
    /// # Errors
    /// The open failed.
    async fn opens(&self, open: SentRequest, expected: &Handle) -> Result<bool, RequestError> {
        let given = match self.reply(open).await? {
            SftpReply::Handle(handle) => handle,
            other => return Err(unexpected(other)),
        };
        if given == *expected {
            return Ok(true);
        }

        self.gives_other_handles.store(true, Ordering::Relaxed);
        let _ = self.close(&given).await;

        Ok(false)
    }
}
