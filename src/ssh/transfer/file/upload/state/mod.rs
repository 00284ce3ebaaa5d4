//! The state of an incomplete remote file. Usually this is a temporary file next to the target.
//! Some servers accept no such file or do not rename; then the target itself is written.

mod open;

use std::sync::Arc;

use futures_util::future::try_join;
use tokio::time::timeout;

use crate::{
    framing::digest::STEP_BYTES,
    sftp::{handle::Handle, status::StatusCode},
    ssh::{
        command::remote_host::RemoteHost,
        transfer::{
            FAR, MAX_COMPARED_BYTES, MAX_COMPARED_NEAR_BYTES, RemoteTemp,
            client::{RequestError, SftpClient},
            error::{TransferError, shown},
            file::{
                early_flush::EarlyFlush,
                finish_write::FinishWrite,
                growing_digest::GrowingDigest,
                remote_digest::{Comparison, RemoteDigest},
                remote_temp::{NotReplaced, TIDY_LIMIT},
                send::Sending,
                source::SourceFile,
            },
            local::sum::Sum,
            request::FileResult,
        },
    },
    tree::tally::Unkept,
};

/// State of an incomplete remote file, created by an [`Upload`](super::Upload). The state ends when
/// the file is in place or removed.
#[derive(Debug)]
pub(super) struct UploadState {
    /// Names of the temporary file and of the target.
    names: RemoteTemp,
    /// True if the target itself is written.
    in_place: bool,
    /// Number of bytes from the beginning on which have arrived.
    arrived: u64,
    /// True if the file may exist on the remote host.
    made: bool,
    /// Channel and handle of the open file. `None` while the file is closed.
    open: Option<(Arc<SftpClient>, Handle)>,
    /// True if the connection was lost since the transfer began.
    resumed: bool,
    /// Result of a file which is complete except for the rename. A lost connection may hide the
    /// success of the rename.
    complete: Option<FileResult>,
    /// Counts of the properties which the server did not keep so far.
    unkept: Unkept,
}

impl UploadState {
    /// Creates the state before the file exists.
    pub(super) fn new(names: RemoteTemp) -> Self {
        let unkept = Unkept::default();
        Self {
            names,
            in_place: false,
            arrived: 0,
            made: false,
            open: None,
            resumed: false,
            complete: None,
            unkept,
        }
    }

    /// Returns the path of the target.
    pub(super) fn target(&self) -> &[u8] {
        &self.names.target
    }

    /// Returns the number of bytes from the beginning on which have arrived.
    pub(super) fn arrived(&self) -> u64 {
        self.arrived
    }

    /// Records a lost connection, after which the content has to be verified. If the connection was
    /// that to the origin of a copy, the file stays open until the next attempt.
    pub(super) fn note_lost(&mut self) {
        self.resumed = true;
        self.open
            .take_if(|(client, _)| client.connection().has_ended());
    }

    /// Returns the target after the old content was lost. `None` otherwise.
    pub(super) fn broken(&self) -> Option<&[u8]> {
        (self.in_place && self.made).then_some(&self.names.target)
    }

    /// Returns the temporary file to be removed. `None` if the target itself is written.
    pub(super) fn into_remote_temp(self) -> Option<RemoteTemp> {
        (!self.in_place).then_some(self.names)
    }

    /// Closes and removes the temporary file. Returns false if the server no longer answers.
    pub(super) async fn close_and_remove(
        &mut self,
        host: &Arc<RemoteHost>,
        client: &SftpClient,
    ) -> bool {
        self.close().await;
        self.in_place || self.names.remove_over(host, client).await
    }

    /// Closes the file after a failure, before the removal. Some servers do not remove an open
    /// file. Others buffer its content, and would create the file again on a later close.
    async fn close(&mut self) {
        if let Some((client, handle)) = self.open.take()
            && !client.is_over()
        {
            let _ = timeout(TIDY_LIMIT, client.close(&handle)).await;
        }
    }

    /// Sends the rest of the file and renames the temporary file to the target.
    ///
    /// # Errors
    /// A request failed, the local file changed, or both sides differ.
    pub(super) async fn execute(
        &mut self,
        host: &Arc<RemoteHost>,
        client: &Arc<SftpClient>,
        local: &mut SourceFile,
    ) -> Result<FileResult, TransferError> {
        // Tested before a temporary file exists, because that file might then remain. After a lost
        // connection, the new channel has to know the way of the replacement.
        let renames = self.names.can_replace(client).await;

        // The rename may have succeeded before the connection was lost; sending all again would be
        // a waste.
        if let Some(complete) = self.complete
            && self.has_replaced(client, local, complete).await?
        {
            return Ok(complete);
        }

        if !self.made && !renames {
            self.in_place = true;
        }

        let mut doubted = true;

        loop {
            let mix_ups = client.mix_ups();
            let goes_on = self.made && !self.in_place;
            let sent = async {
                let handle = self.open(client, local).await?;
                self.open = Some((Arc::clone(client), handle.clone()));
                self.send(host, client, &handle, local).await
            };

            let complete = match sent.await {
                Ok(complete) => complete,
                // The content may have been damaged before this attempt, such as by a crash of the
                // remote host. So everything is sent again, but only once.
                Err(TransferError::Differs(_)) if doubted => {
                    doubted = false;
                    self.start_over(local);
                    continue;
                }
                // Some servers cannot continue a closed file: rclone without a cache writes only
                // from the beginning.
                Err(TransferError::Remote { .. }) if doubted && goes_on && !client.is_openssh() => {
                    doubted = false;
                    self.start_over_elsewhere(client, local).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };

            client
                .is_sure_since(mix_ups)
                .map_err(client.failed("writing", &self.names.target))?;

            if self.in_place {
                return Ok(complete);
            }

            self.complete = Some(complete);

            match self.names.replace(client).await {
                Ok(tidy) => {
                    let unkept = Unkept {
                        temporary: complete.unkept.temporary + u64::from(!tidy),
                        ..complete.unkept
                    };
                    return Ok(FileResult { unkept, ..complete });
                }
                Err(NotReplaced::Refused(refused)) if may_be_its_name(client, &refused) => {
                    self.go_in_place(client, local).await;
                }
                Err(error) => return Err(self.names.failed(client, error)),
            }
        }
    }

    /// Returns true if the rename succeeded before the connection was lost with the reply.
    async fn has_replaced(
        &self,
        client: &SftpClient,
        local: &SourceFile,
        complete: FileResult,
    ) -> Result<bool, TransferError> {
        let RemoteTemp { temporary, target } = &self.names;

        match client.lstat(temporary).await {
            Err(error) if client.may_be_missing(&error) => {}
            found => {
                return found
                    .map(|_| false)
                    .map_err(client.failed("looking at", temporary));
            }
        }

        // A missing temporary file does not prove the rename, so the target has to match as well.
        let found = client
            .stat(target)
            .await
            .map_err(client.failed("looking at", target))?;

        let has =
            found.size == Some(complete.bytes) && found.modified() == local.attributes().modified();
        if has {
            self.names.remove_aside(client).await;
        }

        Ok(has)
    }

    /// Switches to writing the target itself, as `sftp` does, because the server does not rename.
    async fn go_in_place(&mut self, client: &SftpClient, local: &mut SourceFile) {
        let removed = client.remove(&self.names.temporary).await;
        self.unkept.temporary = u64::from(removed.is_err());
        (self.in_place, self.made, self.complete) = (true, false, None);
        self.start_over(local);
    }

    /// Starts again in a file of another name. The server may still be busy with the old file.
    async fn start_over_elsewhere(
        &mut self,
        client: &SftpClient,
        local: &mut SourceFile,
    ) -> Result<(), TransferError> {
        self.close().await;
        let _ = client.remove(&self.names.temporary).await;
        self.names = RemoteTemp::next_to(&self.names.target)?;
        self.made = false;
        self.start_over(local);
        Ok(())
    }

    /// Returns the path of the file which is being written.
    fn path(&self) -> &[u8] {
        if self.in_place {
            &self.names.target
        } else {
            &self.names.temporary
        }
    }

    /// Sends the rest of the content, sets the attributes, closes and verifies the file.
    async fn send(
        &mut self,
        host: &Arc<RemoteHost>,
        client: &Arc<SftpClient>,
        handle: &Handle,
        local: &SourceFile,
    ) -> Result<FileResult, TransferError> {
        let size = local.len();
        let compared = self.resumed || is_compared(client, local);

        // The remote host reads and flushes a long file while it grows. That needs a server that
        // writes at once, and a name which leads to the same file for the shell.
        let grows = client.is_openssh() && !self.in_place && size > STEP_BYTES;
        let mut growing =
            (compared && grows).then(|| GrowingDigest::start(host, &self.names.temporary));
        // The shell starts while the content is sent, so that only its answer has to be waited for.
        let digest = (compared && !grows).then(|| RemoteDigest::start(host));
        // After the digest, which may need the last channel.
        let flushes = grows && local.alone && client.is_openssh_program();
        let flush = flushes.then(|| EarlyFlush::start(host, &self.names.temporary));
        if compared {
            local.sum.want();
        }

        let (source, reading) = local.pieces(self.arrived, client.write_chunk(), compared);

        let sending = Sending {
            host,
            client,
            names: &self.names,
            handle,
            source,
            arrived: &mut self.arrived,
            flush: flush.as_ref(),
            digest: growing.as_mut(),
            size,
            progress: &local.progress,
            local: &local.path,
        };

        // An error of the reading ends the sending, before a source without its rest looks complete.
        let (as_read, bytes) = try_join(reading, sending.run()).await?;

        if bytes < size && local.has_other_length() {
            let path = local.path.display().to_string();
            return Err(TransferError::Length {
                path,
                found: bytes,
                expected: size,
            });
        }

        let path = self.path().to_owned();
        let finish = FinishWrite {
            client,
            handle,
            target: &self.names.target,
            attributes: local.attributes(),
            length: bytes,
            flushes: true,
        };

        let compute = async {
            match (growing, digest) {
                (Some(growing), _) => growing.finish(bytes).await,
                (None, Some(digest)) => digest.compute(&path, bytes).await,
                (None, None) => None,
            }
        };

        let (mut unkept, computed) = if client.is_openssh() {
            // Everything is requested at once, including the close, even if the transfer is
            // cancelled meanwhile. All content has been written by now, so the remote host reads it
            // while it goes to the disk.
            self.open = None;
            let finish = finish.at_once(async { Ok(()) });
            let end = async {
                if let Some(flush) = flush {
                    flush.end().await;
                }
                Ok(())
            };
            let (unkept, computed, ()) =
                tokio::try_join!(finish, async { Ok(compute.await) }, end)?;

            (unkept, computed)
        } else {
            let unkept = finish.in_steps(&path, &mut self.open).await?;
            (unkept, compute.await)
        };

        unkept += self.unkept;
        unkept.in_place = u64::from(self.in_place);

        // A random name leads to the same file for SFTP and the shell; the target's name may not.
        let comparison = match computed {
            Some(computed) => {
                computed
                    .compare(client, &local.sum, bytes, !self.in_place)
                    .await
            }
            None => Comparison::Unknown,
        };

        if comparison == Comparison::Different {
            return Err(TransferError::Differs(shown(&self.names.target)));
        }

        Ok(FileResult {
            bytes,
            verified: as_read && comparison == Comparison::Equal,
            unkept,
        })
    }

    /// Starts again at the beginning of the file.
    fn start_over(&mut self, local: &mut SourceFile) {
        local.progress.take_back(self.arrived);
        local.sum = Sum::default();
        self.arrived = 0;
    }
}

/// Returns true if the copy is compared by SHA-256 even when no connection was lost.
///
/// OpenSSH's SFTP server nearby gets the content in order over a single channel, whose integrity SSH
/// protects. Content from another host has come over a channel of its own before.
fn is_compared(client: &SftpClient, local: &SourceFile) -> bool {
    let is_protected =
        client.round_trip < FAR && client.is_openssh_program() && local.origin().is_none();
    let most = if is_protected {
        MAX_COMPARED_NEAR_BYTES
    } else {
        MAX_COMPARED_BYTES
    };

    local.alone && local.len() <= most
}

/// Returns true if the server may have refused a file because of its name, or of the way to open or
/// rename it. OpenSSH never does. While other files are open, their number may be the reason
/// instead.
fn may_be_its_name(client: &SftpClient, refused: &RequestError) -> bool {
    let said =
        matches!(refused, RequestError::Status(status) if status.code != StatusCode::NoSuchFile);
    said && !client.is_openssh() && !client.has_open_files()
}
