//! From this machine to the remote host.

use std::{path::PathBuf, sync::Arc};

use super::{
    Bounds, Guard, LONGEST_UNSIZED, Leftover, TransferRequest,
    client::Client,
    digest::{RemoteDigest, same},
    disk::{Source, Sum},
    error::{TransferError, shown},
    original::Original,
    paths,
    send::Sending,
    transfer::Complete,
};
use crate::{
    local::Place,
    readable::in_a_line,
    sftp::{attributes::Attributes, reply::Handle, request::Access, status::StatusCode},
    ssh::{error::SshError, pool::Pool},
    tree::tally::Tally,
};

/// A file on its way to the remote host.
#[derive(Debug)]
pub(super) struct Upload {
    wanted: String,
    skip_unchanged: bool,
    local: Original,
    /// What is on the remote host already.
    begun: Option<Begun>,
}

/// A temporary file on the remote host.
#[derive(Debug)]
struct Begun {
    names: Leftover,
    /// Bytes from its beginning on that have arrived.
    arrived: u64,
    /// It may be there.
    made: bool,
    /// The link was lost since it was begun.
    resumed: bool,
    /// All was done but for the renaming, which may have been done as well.
    complete: Option<Complete>,
}

impl Upload {
    /// Opens the local file, which the person calls `path`.
    ///
    /// # Errors
    /// It is no regular file, or cannot be read, or is guarded, or a path cannot be meant.
    pub(super) async fn open(
        path: PathBuf,
        place: Place,
        guard: &Guard,
        request: &TransferRequest,
    ) -> Result<Self, TransferError> {
        let wanted = paths::remote(&request.remote)?;
        let local = Original::open(path, place, guard, request.progress.clone()).await?;
        Ok(Self { wanted, skip_unchanged: request.skip_unchanged, local, begun: None })
    }

    /// One of many files, which goes to this very path.
    ///
    /// # Errors
    /// The system gives no random number.
    pub(super) fn of_tree(local: Original, target: &[u8]) -> Result<Self, SshError> {
        let begun = Some(Begun::new(Leftover::beside(target)?));
        Ok(Self { wanted: String::new(), skip_unchanged: false, local, begun })
    }

    /// Sends what has not arrived yet to a temporary file beside the target, and renames that into place, with the local
    /// mode and times.
    ///
    /// # Errors
    /// [`TransferError`]; the remote file that was there before is whole. Nothing else is left behind, but after a lost
    /// link, where the next attempt goes on, or [`leftover`](Self::leftover) is to be removed.
    pub(super) async fn attempt(
        &mut self,
        pool: &Arc<Pool>,
        client: &Arc<Client>,
        bounds: &Bounds,
    ) -> Result<(String, Tally, bool), TransferError> {
        match client.connection().unless_stopped(bounds, self.carry_out(pool, client)).await {
            Ok((to, Some(complete))) => {
                self.local.progress.end();
                Ok((to, complete.tally(), complete.verified))
            }
            Ok((to, None)) => Ok((to, Tally { unchanged: 1, ..Tally::default() }, false)),
            Err(error) => {
                self.tidy_up(&error, pool, client).await;
                Err(error)
            }
        }
    }

    /// Its link was lost: what is there is doubted.
    pub(super) fn note_lost(&mut self) {
        if let Some(begun) = &mut self.begun {
            begun.resumed = true;
        }
    }

    /// After an error: removes what is not complete, unless another attempt may go on there.
    pub(super) async fn tidy_up(&mut self, error: &TransferError, pool: &Arc<Pool>, client: &Client) {
        if error.is_lost() {
            self.note_lost();
        } else if let Some(begun) = &self.begun
            && begun.names.remove_over(pool, client).await
        {
            self.begun = None;
        }
    }

    /// What is left on the remote host of an attempt that ended with its link.
    #[must_use]
    pub(super) fn leftover(&mut self) -> Option<Leftover> {
        self.begun.take().map(|begun| begun.names)
    }

    /// The path at the destination, and what has arrived there; `None` if it is unchanged.
    pub(super) async fn carry_out(
        &mut self,
        pool: &Arc<Pool>,
        client: &Arc<Client>,
    ) -> Result<(String, Option<Complete>), TransferError> {
        let Self { wanted, skip_unchanged, local, begun } = self;
        let begun = match begun {
            Some(begun) => begun,
            empty => {
                let name = paths::bytes(local.path.file_name().unwrap_or(local.path.as_os_str()));
                let target = paths::target(client, wanted, &name).await?;
                if *skip_unchanged && local.is_copied(client.lstat(&target).await.ok()) {
                    return Ok((in_a_line(&target), None));
                }
                empty.insert(Begun::new(Leftover::beside(&target)?))
            }
        };
        let complete = begun.carry_out(pool, client, local).await?;
        let to = in_a_line(&begun.names.target);
        self.begun = None;
        Ok((to, Some(complete)))
    }
}

impl Begun {
    fn new(names: Leftover) -> Self {
        Self { names, arrived: 0, made: false, resumed: false, complete: None }
    }

    async fn carry_out(
        &mut self,
        pool: &Arc<Pool>,
        client: &Arc<Client>,
        local: &mut Original,
    ) -> Result<Complete, TransferError> {
        if let Some(complete) = self.complete
            && self.has_replaced(client, local, complete).await?
        {
            return Ok(complete);
        }
        let mut doubted = true;
        loop {
            let handle = self.open(client, local).await?;
            match self.send(pool, client, &handle, local).await {
                Ok(complete) => {
                    self.complete = Some(complete);
                    let replaced = self.names.replace(client).await;
                    replaced.map_err(client.failed("replacing", &self.names.target))?;
                    return Ok(complete);
                }
                // Such as what was there when the link was lost, and lost there as well: from the beginning, and once.
                Err(TransferError::Differs(_)) if doubted => {
                    doubted = false;
                    self.begin_anew(local);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the renaming was done whose answer was lost with the link.
    async fn has_replaced(&self, client: &Client, local: &Original, complete: Complete) -> Result<bool, TransferError> {
        let Leftover { temporary, target } = &self.names;
        match client.lstat(temporary).await {
            Err(error) if error.code() == Some(StatusCode::NoSuchFile) => {}
            found => return found.map(|_| false).map_err(client.failed("looking at", temporary)),
        }
        let found = client.stat(target).await.map_err(client.failed("looking at", target))?;
        let has = found.size == Some(complete.bytes) && found.modified() == local.attributes().modified();
        if has {
            self.names.remove_aside(client).await;
        }
        Ok(has)
    }

    /// Makes the temporary file, or opens the one of an earlier attempt where it stood.
    async fn open(&mut self, client: &Client, local: &mut Original) -> Result<Handle, TransferError> {
        let path = &self.names.temporary;
        if self.made {
            let again = client.open_file(path, Access::Write, Attributes::default()).await;
            match again {
                Err(error) if error.code() == Some(StatusCode::NoSuchFile) => self.begin_anew(local),
                again => {
                    let handle = again.map_err(client.failed("opening", path))?;
                    let found = client.fstat(&handle).await.map_err(client.failed("looking at", path))?;
                    if local.has_changed()? || found.size.is_none_or(|size| size < self.arrived) {
                        self.begin_anew(local);
                    }
                    let size = Attributes { size: Some(self.arrived), ..Attributes::default() };
                    client.fsetstat(&handle, size).await.map_err(client.failed("cutting", &self.names.temporary))?;
                    return Ok(handle);
                }
            }
        }
        // Before it is certain: its answer may be lost.
        self.made = true;
        let made = client.open_file(&self.names.temporary, Access::Create, Attributes::mode(0o600)).await;
        made.map_err(client.failed("creating a file beside", &self.names.target))
    }

    /// Sends what has not arrived yet and makes sure of the whole.
    async fn send(
        &mut self,
        pool: &Arc<Pool>,
        client: &Arc<Client>,
        handle: &Handle,
        local: &Original,
    ) -> Result<Complete, TransferError> {
        let Leftover { temporary, target } = &self.names;
        let size = local.metadata.len();
        // Meanwhile, so that only the answer has to be waited for.
        let digest = (self.resumed || local.compared).then(|| RemoteDigest::start(pool));
        let end = if size == 0 { LONGEST_UNSIZED } else { size };
        let source = Source::new(Arc::clone(&local.file), self.arrived, end, client.write_chunk(), local.sum.clone());
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
            return Err(TransferError::Length { path, found: bytes, expected: size });
        }
        let fsync = async { if client.offers("fsync@openssh.com") { client.fsync(handle).await } else { Ok(()) } };
        // All at once: a server answers the requests for one file in their order.
        let (found, set, synced, closed) = tokio::join!(
            client.fstat(handle),
            client.fsetstat(handle, local.attributes()),
            fsync,
            client.close(handle)
        );
        let found = found.map_err(client.failed("checking", target))?.size;
        if let Some(found) = found
            && found != bytes
        {
            return Err(TransferError::Length { path: shown(target), found, expected: bytes });
        }
        set.map_err(client.failed("setting mode and times of", target))?;
        synced.map_err(client.failed("writing to disk", target))?;
        closed.map_err(client.failed("closing", target))?;
        let remote = match digest {
            Some(digest) => digest.of(temporary, bytes).await,
            None => None,
        };
        let verified = same(remote, &local.sum, bytes).ok_or_else(|| TransferError::Differs(shown(target)))?;
        Ok(Complete { bytes, verified, unsure: found.is_none() })
    }

    fn begin_anew(&mut self, local: &mut Original) {
        local.progress.take_back(self.arrived);
        local.sum = Sum::default();
        self.arrived = 0;
    }
}
