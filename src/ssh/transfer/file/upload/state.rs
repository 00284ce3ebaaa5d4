//! A file on the remote host that is not complete yet: a temporary one beside its target or, where the server takes none or
//! does not rename, the target itself.

use std::sync::Arc;

use tokio::time::timeout;

use crate::{
    sftp::{attributes::Attributes, handle::Handle, request::Access, status::StatusCode},
    ssh::{
        pool::Pool,
        transfer::{
            MAX_UNSIZED_BYTES, RemoteTemp,
            client::{RequestError, SftpClient},
            error::{TransferError, shown},
            file::{
                remote_digest::RemoteDigest,
                remote_temp::{NotReplaced, TIDY_LIMIT},
                send::Sending,
                source::{SourceFile, unkept},
            },
            local::io_threads::{FileSource, Sum},
            request::FileResult,
        },
    },
    tree::tally::Unkept,
};

/// A file on the remote host that is not complete yet.
#[derive(Debug)]
pub(super) struct UploadState {
    names: RemoteTemp,
    /// It has the name of its target.
    in_place: bool,
    /// Bytes from its beginning on that have arrived.
    arrived: u64,
    /// It may be there.
    made: bool,
    /// It is open on this channel.
    open: Option<(Arc<SftpClient>, Handle)>,
    /// The link was lost since it was begun.
    resumed: bool,
    /// All was done but for the renaming, which may have been done as well.
    complete: Option<FileResult>,
    /// What the server has not kept so far.
    unkept: Unkept,
}

impl UploadState {
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

    pub(super) fn target(&self) -> &[u8] {
        &self.names.target
    }

    pub(super) fn arrived(&self) -> u64 {
        self.arrived
    }

    pub(super) fn note_lost(&mut self) {
        self.resumed = true;
        self.open = None;
    }

    /// The target, if it has lost its old content.
    pub(super) fn broken(&self) -> Option<&[u8]> {
        (self.in_place && self.made).then_some(&self.names.target)
    }

    pub(super) fn into_leftover(self) -> Option<RemoteTemp> {
        (!self.in_place).then_some(self.names)
    }

    /// Closes and removes what is not complete. `false` if the server does not answer any more.
    pub(super) async fn remove_over(&mut self, pool: &Arc<Pool>, client: &SftpClient) -> bool {
        self.close().await;
        self.in_place || self.names.remove_over(pool, client).await
    }

    /// Closes the file after a failure. Before it is removed: some servers do not remove what is open, and those that keep
    /// what they were sent until then would make it anew later on.
    async fn close(&mut self) {
        if let Some((client, handle)) = self.open.take()
            && !client.is_over()
        {
            let _ = timeout(TIDY_LIMIT, client.close(&handle)).await;
        }
    }

    /// Sends what has not arrived yet and puts it in its place.
    pub(super) async fn execute(
        &mut self,
        pool: &Arc<Pool>,
        client: &Arc<SftpClient>,
        local: &mut SourceFile,
    ) -> Result<FileResult, TransferError> {
        if let Some(complete) = self.complete
            && self.has_replaced(client, local, complete).await?
        {
            return Ok(complete);
        }

        // Before there is a temporary file, which might then stay.
        if !self.made && !self.names.can_replace(client).await {
            self.in_place = true;
        }

        let mut doubted = true;

        loop {
            let mix_ups = client.mix_ups();
            let goes_on = self.made && !self.in_place;
            let sent = async {
                let handle = self.open(client, local).await?;
                self.open = Some((Arc::clone(client), handle.clone()));
                self.send(pool, client, &handle, local).await
            };

            let complete = match sent.await {
                Ok(complete) => complete,
                // Such as what was there when the link was lost, and lost there as well: from the beginning, and once.
                Err(TransferError::Differs(_)) if doubted => {
                    doubted = false;
                    self.begin_anew(local);
                    continue;
                }
                // Not every server goes on with a file that was closed: rclone without a cache writes from the beginning only.
                Err(TransferError::Remote { .. }) if doubted && goes_on && !client.is_openssh() => {
                    doubted = false;
                    self.begin_another(client, local).await?;
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

    /// Whether the renaming was done whose answer was lost with the link.
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

    /// From now on the target itself is written, as `sftp` does: the server does not rename.
    async fn go_in_place(&mut self, client: &SftpClient, local: &mut SourceFile) {
        let removed = client.remove(&self.names.temporary).await;
        self.unkept.temporary = u64::from(removed.is_err());
        (self.in_place, self.made, self.complete) = (true, false, None);
        self.begin_anew(local);
    }

    /// From the beginning, in a file of another name: the server may still be busy with the one that there is.
    async fn begin_another(
        &mut self,
        client: &SftpClient,
        local: &mut SourceFile,
    ) -> Result<(), TransferError> {
        self.close().await;
        let _ = client.remove(&self.names.temporary).await;
        self.names = RemoteTemp::beside(&self.names.target)?;
        self.made = false;
        self.begin_anew(local);
        Ok(())
    }

    /// Makes the file, or opens the one of an earlier attempt where it stood.
    async fn open(
        &mut self,
        client: &SftpClient,
        local: &mut SourceFile,
    ) -> Result<Handle, TransferError> {
        if self.made {
            let path = self.path().to_owned();
            match client
                .open_file(&path, Access::Resume, Attributes::default())
                .await
            {
                Err(error) if client.may_be_missing(&error) => self.begin_anew(local),
                again => {
                    let handle = again.map_err(client.failed("opening", &path))?;
                    let found = client
                        .fstat(&handle)
                        .await
                        .map_err(client.failed("looking at", &path))?;

                    if local.has_changed()? || found.size.is_none_or(|size| size < self.arrived) {
                        self.begin_anew(local);
                    }

                    let size = Attributes {
                        size: Some(self.arrived),
                        ..Attributes::default()
                    };

                    client
                        .fsetstat(&handle, size)
                        .await
                        .map_err(client.failed("cutting", &path))?;

                    return Ok(handle);
                }
            }
        }

        // Where the server sets no modes later, this one stays, as with `sftp`.
        let mode = local.attributes().permissions.unwrap_or(0o644) & 0o777 | 0o600;
        self.make(client, Attributes::mode(mode)).await
    }

    /// Makes the temporary file or, where the server takes none, the target.
    async fn make(
        &mut self,
        client: &SftpClient,
        attributes: Attributes,
    ) -> Result<Handle, TransferError> {
        if !self.in_place {
            // Before it is certain: its answer may be lost.
            self.made = true;

            let refused = match self.make_temporary(client, attributes).await {
                Err(refused) if may_be_its_name(client, &refused) => refused,
                made => {
                    return made
                        .map_err(client.failed("creating a file beside", &self.names.target));
                }
            };

            self.remove_refused(client).await;

            // A disk that is full would refuse it too, and then the old content is all that there is.
            let is_final = matches!(
                refused.code(),
                Some(StatusCode::PermissionDenied | StatusCode::Unsupported)
            );

            self.made = false;

            if !is_final && client.lstat(&self.names.target).await.is_ok() {
                return Err(client.failed("creating a file beside", &self.names.target)(
                    refused,
                ));
            }
        }

        let target = self.names.target.clone();

        if client.lstat(&target).await.is_ok() {
            // Its old content goes only if something may take its place.
            let may_write = client
                .open_file(&target, Access::Write, Attributes::default())
                .await;
            let handle = may_write.map_err(client.failed("writing into", &target))?;
            client.close_read(&handle).await;
        }

        (self.in_place, self.made) = (true, true);
        let made = client.open_file(&target, Access::Replace, attributes).await;
        self.made = !matches!(made, Err(RequestError::Status(_)));

        made.map_err(client.failed("creating", &target))
    }

    /// Some servers take no hidden names, and some do not know the flag that a file must not be there yet; nobody can have
    /// foreseen this one.
    async fn make_temporary(
        &mut self,
        client: &SftpClient,
        attributes: Attributes,
    ) -> Result<Handle, RequestError> {
        match client
            .open_file(&self.names.temporary, Access::Create, attributes)
            .await
        {
            Err(refused) if may_be_its_name(client, &refused) => {
                self.remove_refused(client).await;
                self.names.show();
            }
            made => return made,
        }

        match client
            .open_file(&self.names.temporary, Access::Create, attributes)
            .await
        {
            Err(refused) if may_be_its_name(client, &refused) => {
                client
                    .open_file(&self.names.temporary, Access::Replace, attributes)
                    .await
            }
            made => made,
        }
    }

    /// A file that was refused may be there all the same, such as where it was made and then not given its mode.
    async fn remove_refused(&self, client: &SftpClient) {
        let _ = client.remove(&self.names.temporary).await;
    }

    fn path(&self) -> &[u8] {
        if self.in_place {
            &self.names.target
        } else {
            &self.names.temporary
        }
    }

    /// Sends what has not arrived yet and makes sure of the whole.
    async fn send(
        &mut self,
        pool: &Arc<Pool>,
        client: &Arc<SftpClient>,
        handle: &Handle,
        local: &SourceFile,
    ) -> Result<FileResult, TransferError> {
        let size = local.metadata.len();

        // Meanwhile, so that only the answer has to be waited for.
        let digest = (self.resumed || local.compared).then(|| RemoteDigest::start(pool));
        let end = if size == 0 { MAX_UNSIZED_BYTES } else { size };

        let source = FileSource::new(
            Arc::clone(&local.file),
            self.arrived,
            end,
            client.write_chunk(),
            local.sum.clone(),
        );

        let sending = Sending {
            pool,
            client,
            names: &self.names,
            handle,
            source,
            arrived: &mut self.arrived,
            size,
            progress: &local.progress,
            local: &local.path,
        };

        let bytes = sending.run().await?;

        if bytes < size && local.file.metadata().is_ok_and(|now| now.len() != size) {
            let path = local.path.display().to_string();
            return Err(TransferError::Length {
                path,
                found: bytes,
                expected: size,
            });
        }

        let (found, mut unkept) = if client.is_openssh() {
            // Even where it is given up meanwhile: all is asked for at once.
            self.open = None;
            self.end_at_once(client, handle, local.attributes()).await?
        } else {
            self.end_in_steps(client, handle, local.attributes())
                .await?
        };

        if let Some(found) = found
            && found != bytes
        {
            let path = shown(&self.names.target);
            return Err(TransferError::Length {
                path,
                found,
                expected: bytes,
            });
        }

        unkept += self.unkept;
        unkept.size = u64::from(found.is_none());
        unkept.in_place = u64::from(self.in_place);

        // A name of our own making leads to the same file everywhere.
        let computed = match digest {
            Some(digest) => digest.of(self.path(), bytes).await,
            None => None,
        };

        let verified = match computed {
            Some(computed) => {
                computed
                    .compare(client, &local.sum, bytes, !self.in_place)
                    .await
            }
            None => Some(false),
        };

        let verified = verified.ok_or_else(|| TransferError::Differs(shown(&self.names.target)))?;

        Ok(FileResult {
            bytes,
            verified,
            unkept,
        })
    }

    /// Looks how long the file is, gives it mode and times and closes it: a server of OpenSSH's answers the requests for one
    /// file in their order. Returns the length, and what was not kept.
    async fn end_at_once(
        &self,
        client: &SftpClient,
        handle: &Handle,
        attributes: Attributes,
    ) -> Result<(Option<u64>, Unkept), TransferError> {
        let target = &self.names.target;

        let fsync = async {
            if client.offers("fsync@openssh.com") {
                client.fsync(handle).await
            } else {
                Ok(())
            }
        };

        let (found, set, synced, closed) = tokio::join!(
            client.fstat(handle),
            client.fsetstat(handle, attributes),
            fsync,
            client.close(handle)
        );

        let found = found.map_err(client.failed("checking", target))?.size;
        let kept = unless_refused(set)
            .map_err(client.failed("setting mode and times of", target))?
            .is_some();
        synced.map_err(client.failed("writing to disk", target))?;
        closed.map_err(client.failed("closing", target))?;

        Ok((
            found,
            Unkept {
                attributes: u64::from(!kept),
                ..Unkept::default()
            },
        ))
    }

    /// The same where each step has to be over before the next one: another server may write, or set the time of writing,
    /// when the file is closed.
    async fn end_in_steps(
        &mut self,
        client: &SftpClient,
        handle: &Handle,
        attributes: Attributes,
    ) -> Result<(Option<u64>, Unkept), TransferError> {
        if client.offers("fsync@openssh.com") {
            let synced = client.fsync(handle).await;
            match synced.as_ref().map_err(RequestError::code) {
                Err(Some(StatusCode::Unsupported | StatusCode::PermissionDenied)) => {}
                _ => synced.map_err(client.failed("writing to disk", &self.names.target))?,
            }
        }

        self.open = None;
        let (path, target) = (self.path(), &self.names.target);
        client
            .close(handle)
            .await
            .map_err(client.failed("closing", target))?;

        let set = unless_refused(client.setstat(path, attributes).await);
        set.map_err(client.failed("setting mode and times of", target))?;

        let found = match client.stat(path).await {
            // What waits for its name must be there still; a drop box may take away what has it.
            Err(error) if error.code() == Some(StatusCode::NoSuchFile) && !self.in_place => {
                Err(error)
            }
            found => unless_refused(found),
        };

        let found = found.map_err(client.failed("checking", target))?;

        Ok((
            found.and_then(|found| found.size),
            unkept(found.as_ref(), &attributes),
        ))
    }

    fn begin_anew(&mut self, local: &mut SourceFile) {
        local.progress.take_back(self.arrived);
        local.sum = Sum::default();
        self.arrived = 0;
    }
}

/// `None` where the server says no to something that a file can do without.
fn unless_refused<T>(answer: Result<T, RequestError>) -> Result<Option<T>, RequestError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(RequestError::Status(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a file may have been refused for its name, or for how it was to be opened or renamed. OpenSSH refuses for neither;
/// and while others are open, they may be too many.
fn may_be_its_name(client: &SftpClient, refused: &RequestError) -> bool {
    let said =
        matches!(refused, RequestError::Status(status) if status.code != StatusCode::NoSuchFile);
    said && !client.is_openssh() && !client.has_open_files()
}
