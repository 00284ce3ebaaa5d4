//! From the remote host to this machine.

use std::{io, sync::Arc};

use tokio::task::spawn_blocking;

use super::{
    local_temp::{LocalTemp, remove_litter},
    receive::Receiving,
    remote_digest::RemoteDigest,
};
use crate::{
    local::{Folder, LocalName},
    policy::TransferDirection,
    sftp::{
        attributes::{Attributes, FileType},
        request::Access,
    },
    ssh::{
        pool::Pool,
        transfer::{
            MAX_COMPARED_BYTES, StopConditions, TransferCounters, TransferRequest,
            client::SftpClient,
            error::{TransferError, shown},
            guard::{Guard, seen::FileFactsBefore},
            local::io_threads::{Sink, Sum},
            paths,
            request::FileResult,
        },
    },
    tree::{
        entry::{self, EntryKind},
        tally::{Tally, Unkept},
    },
};

/// A file on its way to this machine.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct Download {
    wanted: Vec<u8>,
    /// What the server has said of it, until the first attempt.
    found: Option<Attributes>,
    target: LocalName,
    skip_unchanged: bool,
    /// Whether it is all that is fetched: then its length is, and the copy is compared with it even if no link was lost.
    alone: bool,
    /// What of it may be in flight, in bytes.
    room: u64,
    progress: TransferCounters,
    /// What is on this machine already.
    begun: Option<DownloadState>,
}

/// A temporary file on this machine. Dropping it removes it.
#[derive(Debug)]
struct DownloadState {
    part: LocalTemp,
    sink: Sink,
    sum: Sum,
    /// Bytes from the beginning on that the sink has.
    received: u64,
    /// The remote file as it was when it was begun.
    attributes: Attributes,
}

impl Download {
    /// Finds out where it goes. `found` is what the server has said of it.
    ///
    /// # Errors
    /// A path that cannot be meant, or where no file can be, or that is guarded.
    pub(in crate::ssh::transfer) async fn new(
        wanted: Vec<u8>,
        found: Attributes,
        guard: &Guard,
        request: &TransferRequest,
    ) -> Result<Self, TransferError> {
        if found.kind() == FileType::Special {
            return Err(TransferError::NotAFile(format!(
                "\"{}\" on the remote host",
                shown(&wanted)
            )));
        }

        let (typed, name) = (
            request.local.clone(),
            paths::file_name(&String::from_utf8_lossy(&wanted))?.to_owned(),
        );

        let watcher = guard.watcher(TransferDirection::Write).await;

        let find = spawn_blocking(move || {
            let target = local_target(&typed, &name)?;
            let watch = watcher.begin();
            let question = watch.site_of(&target).and_then(|site| {
                let seen = FileFactsBefore::at(&target.folder, &target.name)?;
                Ok(watch.question(&site, &target, seen.as_ref(), None))
            });

            let question = question
                .map_err(|source| TransferError::local("looking at", &target.path, source))?;
            Ok::<_, TransferError>((target, question))
        });

        let failed = |error| {
            TransferError::local(
                "looking at",
                request.local.as_ref(),
                io::Error::other(error),
            )
        };

        let (target, question) = find.await.map_err(failed)??;
        guard.pass(TransferDirection::Write, question).await?;
        let beside = target.clone();
        spawn_blocking(move || remove_litter(&beside))
            .await
            .map_err(failed)?;

        let progress = request.progress.clone();
        progress.begin(&wanted);
        let (skip_unchanged, found) = (request.skip_unchanged, Some(found));

        Ok(Self {
            wanted,
            found,
            target,
            skip_unchanged,
            alone: true,
            room: u64::MAX,
            progress,
            begun: None,
        })
    }

    /// One of many files, which goes to this very place and has no more than `room` bytes in flight.
    pub(in crate::ssh::transfer) fn of_tree(
        wanted: Vec<u8>,
        target: LocalName,
        room: u64,
        progress: TransferCounters,
    ) -> Self {
        Self {
            wanted,
            found: None,
            target,
            skip_unchanged: false,
            alone: false,
            room,
            progress,
            begun: None,
        }
    }

    /// Fetches what has not arrived yet into a temporary file beside the target, and renames that into place, with the
    /// remote mode and times.
    ///
    /// # Errors
    /// [`TransferError`]; the local file that was there before is whole and nothing else is left behind. After a lost
    /// link the next attempt goes on.
    pub(in crate::ssh::transfer) async fn attempt(
        &mut self,
        pool: &Arc<Pool>,
        client: &Arc<SftpClient>,
        conditions: &StopConditions,
    ) -> Result<(String, Tally, bool), TransferError> {
        let to = self.target.path.display().to_string();
        match client
            .connection()
            .unless_stopped(conditions, self.execute(pool, client))
            .await?
        {
            Some(complete) => {
                self.progress.end();
                Ok((to, complete.tally(), complete.verified))
            }
            None => Ok((
                to,
                Tally {
                    unchanged: 1,
                    ..Tally::default()
                },
                false,
            )),
        }
    }

    /// What has arrived; `None` if it is unchanged.
    pub(in crate::ssh::transfer) async fn execute(
        &mut self,
        pool: &Arc<Pool>,
        client: &Arc<SftpClient>,
    ) -> Result<Option<FileResult>, TransferError> {
        let attributes = match self.found.take() {
            Some(found) => found,
            None => self.look(client).await?,
        };

        if self.skip_unchanged && self.is_copied(&attributes).await? {
            return Ok(None);
        }

        let fetched = self.fetch(pool, client, attributes).await;
        if fetched.as_ref().is_err_and(|error| !error.is_lost()) {
            self.begin_anew();
        }

        let verified = fetched?;

        let Some(DownloadState {
            part,
            received,
            attributes,
            ..
        }) = self.begun.take()
        else {
            return Err(TransferError::Cancelled);
        };

        let (kept, target) = (kept(&attributes), self.target.clone());
        let put = move || {
            part.file.sync_all()?;
            part.put_in_place(kept, &target.name)
        };

        self.blocking("writing", put).await?;

        // What does not have the length that it says was read to its end, and compared with nothing.
        let unkept = Unkept {
            size: u64::from(facts(&attributes).0 != received),
            ..Unkept::default()
        };

        Ok(Some(FileResult {
            bytes: received,
            verified,
            unkept,
        }))
    }

    /// Whether the file that is here has the length and time of the remote one.
    async fn is_copied(&self, remote: &Attributes) -> Result<bool, TransferError> {
        let (target, modified) = (self.target.clone(), remote.modified());
        let found = self.blocking("looking at", move || target.find()).await?;
        let size = remote.size.map(EntryKind::File);
        Ok(found.is_some_and(|(what, here)| Some(what) == size && here.modified == modified))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, TransferError> {
        let done = spawn_blocking(work)
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        done.map_err(|source| TransferError::local(doing, &self.target.path, source))
    }

    /// Fetches all content; whether both sides were found to be the same.
    async fn fetch(
        &mut self,
        pool: &Arc<Pool>,
        client: &Arc<SftpClient>,
        attributes: Attributes,
    ) -> Result<bool, TransferError> {
        // One whose length reads 0 has what it has at each reading.
        let is_same = |begun: &DownloadState| {
            facts(&begun.attributes) == facts(&attributes) && facts(&attributes).0 > 0
        };

        if self.begun.as_ref().is_some_and(|begun| !is_same(begun)) {
            self.begin_anew();
        }

        let resumed = self.begun.is_some();
        if !resumed && self.alone {
            self.progress.expect(facts(&attributes).0);
        }

        let first = self.content(pool, client, attributes, resumed).await;
        let Err(TransferError::Differs(_)) = first else {
            return first;
        };
        let now = self.look(client).await?;

        if resumed || facts(&now) == facts(&attributes) {
            // Such as what was here when the link was lost, and lost here as well: from the beginning, and once.
            self.begin_anew();
            let again = self.content(pool, client, now, true).await;
            let Err(TransferError::Differs(_)) = again else {
                return again;
            };

            if facts(&self.look(client).await?) == facts(&now) {
                return again;
            }
        }

        // Somebody writes to it all the time. So it is what it was at the moment of each reading, as with any copy.
        Ok(false)
    }

    /// What the remote file is now.
    async fn look(&self, client: &SftpClient) -> Result<Attributes, TransferError> {
        let attributes = client
            .stat(&self.wanted)
            .await
            .map_err(client.failed("reading", &self.wanted))?;

        match attributes.kind() {
            FileType::File | FileType::Unknown => Ok(attributes),
            _ => Err(TransferError::NotAFile(format!(
                "\"{}\" on the remote host",
                shown(&self.wanted)
            ))),
        }
    }

    fn begin_anew(&mut self) {
        if let Some(begun) = self.begun.take() {
            self.progress.take_back(begun.received);
        }
    }

    async fn content(
        &mut self,
        pool: &Arc<Pool>,
        client: &Arc<SftpClient>,
        attributes: Attributes,
        doubted: bool,
    ) -> Result<bool, TransferError> {
        if self.begun.is_none() {
            let folder = Arc::clone(&self.target.folder);
            let made = self
                .blocking("creating a file beside", move || {
                    DownloadState::new(&folder, attributes)
                })
                .await?;

            self.begun = Some(made);
        }

        let (path, size) = (self.wanted.as_slice(), attributes.size.unwrap_or(0));
        let Some(begun) = &mut self.begun else {
            return Err(TransferError::Cancelled);
        };

        // Opened on another channel meanwhile: the remote host reads the file once more while it is fetched.
        let compared = size > 0 && (doubted || self.alone && size <= MAX_COMPARED_BYTES);
        let digest = compared.then(|| RemoteDigest::start(pool));
        let digest = async {
            let digest = digest?;
            digest.of(&client.realpath(path).await.ok()?, size).await
        };

        let mix_ups = client.mix_ups();

        let content = async {
            let handle = client
                .open_file(path, Access::Read, Attributes::default())
                .await;
            let handle = handle.map_err(client.failed("opening", path))?;

            let receiving = Receiving {
                pool,
                client,
                path,
                handle: handle.clone(),
                size,
                room: self.room,
                sink: &mut begun.sink,
                received: &mut begun.received,
                progress: &self.progress,
                local: &self.target.path,
            };

            let received = receiving.run().await;
            client.close_read(&handle).await;
            received?;
            client
                .is_sure_since(mix_ups)
                .map_err(client.failed("reading", path))?;

            begun
                .sink
                .finish()
                .await
                .map_err(|source| TransferError::local("writing", &self.target.path, source))
        };

        let (digest, ()) =
            futures_util::future::try_join(async { Ok(digest.await) }, content).await?;
        let Some(computed) = digest else {
            return Ok(false);
        };

        // One that ended before its length has been read there as a whole.
        let same = computed
            .compare(client, &begun.sum, begun.received, begun.received != size)
            .await;
        same.ok_or_else(|| TransferError::Differs(format!("\"{}\"", shown(&self.wanted))))
    }
}

/// By what a file is known to be the one that it was: its length and when it was modified.
fn facts(attributes: &Attributes) -> (u64, Option<u32>) {
    (attributes.size.unwrap_or(0), attributes.modified())
}

impl DownloadState {
    fn new(folder: &Arc<Folder>, attributes: Attributes) -> io::Result<Self> {
        let (part, sum) = (
            LocalTemp::beside(folder, attributes.size.unwrap_or(0))?,
            Sum::default(),
        );

        let sink = Sink::new(part.file.try_clone()?, Arc::clone(folder), sum.clone());
        Ok(Self {
            part,
            sink,
            sum,
            received: 0,
            attributes,
        })
    }
}

/// What of the attributes of a remote file is kept with it.
pub(in crate::ssh::transfer) fn kept(attributes: &Attributes) -> entry::EntryAttributes {
    entry::EntryAttributes {
        mode: attributes.permissions.map(|mode| mode & 0o7777),
        modified: attributes.modified(),
    }
}

/// Where a download goes: into the path if it is a directory, through it if it is a link, else to it.
fn local_target(typed: &str, name: &str) -> Result<LocalName, TransferError> {
    let path = paths::local(typed)?;
    let failed = |source| TransferError::local("creating a file beside", &path, source);
    let no_directory = || TransferError::Path(format!("there is no directory {}", path.display()));

    let place = match LocalName::resolve(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && paths::names_directory(typed) => {
            return Err(no_directory());
        }
        place => place.map_err(failed)?,
    };

    let place = match place.find().map_err(failed)? {
        Some((EntryKind::Directory, _)) => {
            let folder = place.folder.enter(&place.name).map_err(failed)?;
            LocalName::inside(folder, name.as_bytes(), place.path.join(name)).map_err(failed)?
        }
        _ if paths::names_directory(typed) => return Err(no_directory()),
        _ => place,
    };

    match place.find().map_err(failed)? {
        Some((EntryKind::Directory, _)) => {
            Err(TransferError::Directory(place.path.display().to_string()))
        }
        Some((EntryKind::Special, _)) => {
            Err(TransferError::NotAFile(place.path.display().to_string()))
        }
        _ => Ok(place),
    }
}
