//! The download of a file: from the remote host to this machine.

use std::{io, sync::Arc};

use tokio::task::spawn_blocking;

use super::{
    local_temp::{LocalTemp, remove_litter},
    receive::Receiving,
    remote_digest::{Comparison, RemoteDigest},
};
use crate::{
    local::{Folder, LocalName},
    policy::TransferDirection,
    sftp::{
        attributes::{Attributes, FileType},
        request::Access,
    },
    ssh::{
        command::remote_host::RemoteHost,
        transfer::{
            MAX_COMPARED_BYTES, StopConditions, TransferCounters, TransferRequest,
            client::SftpClient,
            error::{TransferError, shown},
            guard::{Guard, file_facts::FileFactsBefore},
            local::io_threads::{Sink, Sum},
            paths,
            request::{AttemptResult, FileResult},
        },
    },
    tree::{
        entry::{self, EntryKind},
        tally::Unkept,
    },
};

/// Download of a single file. The state survives a lost connection, and the next attempt fetches
/// the rest. Dropping the download removes the temporary file.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct Download {
    /// Path of the remote file.
    wanted: Vec<u8>,
    /// Attributes of the remote file from before the first attempt. `None` after they were used.
    found: Option<Attributes>,
    /// Local file to create or replace.
    target: LocalName,
    skip_unchanged: bool,
    /// True if the file is not part of a tree. Then the progress includes its length, and a short
    /// file is compared by SHA-256 even if no connection was lost.
    alone: bool,
    /// Upper limit of content in flight, in bytes.
    room: u64,
    progress: TransferCounters,
    /// Content received so far. `None` before the transfer begins and after it ends.
    state: Option<DownloadState>,
}

/// Temporary local file with the content received so far. Dropping the state removes the file.
#[derive(Debug)]
struct DownloadState {
    temp: LocalTemp,
    sink: Sink,
    sum: Sum,
    /// Number of bytes from the beginning on which the sink has accepted.
    received: u64,
    /// Attributes of the remote file at the beginning of the transfer.
    attributes: Attributes,
}

impl Download {
    /// Resolves the local target, and asks the user if the target is guarded. `found` are the
    /// attributes from the server.
    ///
    /// # Errors
    /// The path is invalid, no file can be created there, or the target is guarded and not
    /// permitted.
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

        let (user_path, name) = (
            request.local.clone(),
            paths::file_name(&String::from_utf8_lossy(&wanted))?.to_owned(),
        );

        // The target is resolved once, to an open directory, and checked there. Later steps use the
        // same directory, so nothing can be exchanged in between.
        let watcher = guard.watcher(TransferDirection::Write).await;

        let find = spawn_blocking(move || {
            let target = local_target(&user_path, &name)?;
            let checks = watcher.begin();
            let finding = checks.site_of(&target).and_then(|site| {
                let facts = FileFactsBefore::at(&target.folder, &target.name)?;
                Ok(checks.finding(&site, &target, facts.as_ref(), None))
            });

            let finding = finding
                .map_err(|source| TransferError::local("looking at", &target.path, source))?;
            Ok::<_, TransferError>((target, finding))
        });

        let failed = |error| {
            TransferError::local(
                "looking at",
                request.local.as_ref(),
                io::Error::other(error),
            )
        };

        let (target, finding) = find.await.map_err(failed)??;
        // Nothing is changed on this machine before the user's answer.
        guard.pass(TransferDirection::Write, finding).await?;
        let litter_target = target.clone();
        spawn_blocking(move || remove_litter(&litter_target))
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
            state: None,
        })
    }

    /// Creates the download of a file of a tree, with at most `room` bytes in flight. The caller
    /// has checked the target.
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
            state: None,
        }
    }

    /// Fetches the rest of the file into a temporary file next to the target. Renames that file to
    /// the target, with the remote mode and times.
    ///
    /// # Errors
    /// Any [`TransferError`]. The previous local file is unchanged, and no temporary file remains.
    /// After a lost connection, the next attempt continues.
    pub(in crate::ssh::transfer) async fn attempt(
        &mut self,
        host: &Arc<RemoteHost>,
        client: &Arc<SftpClient>,
        conditions: &StopConditions,
    ) -> Result<AttemptResult, TransferError> {
        let to = self.target.path.display().to_string();
        let result = client
            .connection()
            .unless_stopped(conditions, self.execute(host, client))
            .await?;

        if result.is_some() {
            self.progress.count_file();
        }

        Ok(AttemptResult::for_file(to, result))
    }

    /// Fetches the rest of the file and renames the temporary file to the target. Returns `None` if
    /// the file is skipped as unchanged.
    pub(in crate::ssh::transfer) async fn execute(
        &mut self,
        host: &Arc<RemoteHost>,
        client: &Arc<SftpClient>,
    ) -> Result<Option<FileResult>, TransferError> {
        let attributes = match self.found.take() {
            Some(found) => found,
            None => self.look(client).await?,
        };

        if self.skip_unchanged && self.is_copied(&attributes).await? {
            return Ok(None);
        }

        // Only a lost connection permits another attempt; after other errors the temporary file has
        // to go.
        let fetched = self.fetch(host, client, attributes).await;
        if fetched.as_ref().is_err_and(|error| !error.is_lost()) {
            self.start_over();
        }

        let verified = fetched?;

        let Some(DownloadState {
            temp,
            received,
            attributes,
            ..
        }) = self.state.take()
        else {
            return Err(TransferError::Cancelled);
        };

        // Flushed before the rename, so that a crash cannot leave an incomplete file in place of
        // the old one.
        let (to_keep, target) = (attributes_to_keep(&attributes), self.target.clone());
        let replace = move || {
            temp.file.sync_all()?;
            temp.put_in_place(to_keep, &target.name)
        };

        self.blocking("writing", replace).await?;

        // A file of another length than announced was read to its end. Its length was compared with
        // nothing.
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

    /// Returns true if the local file has the length and modification time of the remote file.
    async fn is_copied(&self, remote: &Attributes) -> Result<bool, TransferError> {
        let (target, modified) = (self.target.clone(), remote.modified());
        let found = self.blocking("looking at", move || target.find()).await?;
        let size = remote.size.map(EntryKind::File);
        Ok(found.is_some_and(|(what, here)| Some(what) == size && here.modified == modified))
    }

    /// Runs blocking work for the local file, on a thread of the runtime.
    async fn blocking<T: Send + 'static>(
        &self,
        doing: &'static str,
        task: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, TransferError> {
        let done = spawn_blocking(task)
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        done.map_err(|source| TransferError::local(doing, &self.target.path, source))
    }

    /// Fetches the content. Returns true if both sides have the same SHA-256, and false if that is
    /// unknown.
    async fn fetch(
        &mut self,
        host: &Arc<RemoteHost>,
        client: &Arc<SftpClient>,
        attributes: Attributes,
    ) -> Result<bool, TransferError> {
        // A file whose length reads 0 may have other content at each reading.
        let is_same = |state: &DownloadState| {
            facts(&state.attributes) == facts(&attributes) && facts(&attributes).0 > 0
        };

        // The file was changed between two attempts, so the bytes of both versions must not be
        // mixed.
        if self.state.as_ref().is_some_and(|state| !is_same(state)) {
            self.start_over();
        }

        let resumed = self.state.is_some();
        if !resumed && self.alone {
            self.progress.expect(facts(&attributes).0);
        }

        let first = self.content(host, client, attributes, resumed).await;
        let Err(TransferError::Differs(_)) = first else {
            return first;
        };
        let now = self.look(client).await?;

        if resumed || facts(&now) == facts(&attributes) {
            // The content may have been damaged before this attempt, such as by a crash. So
            // everything is fetched again, but only once.
            self.start_over();
            let again = self.content(host, client, now, true).await;
            let Err(TransferError::Differs(_)) = again else {
                return again;
            };

            // An unchanged file that differs twice points to a faulty disk or memory, which has to
            // be reported.
            if facts(&self.look(client).await?) == facts(&now) {
                return again;
            }
        }

        // The file is written to all the time. The copy has the content of each moment of reading,
        // as any copy would.
        Ok(false)
    }

    /// Returns the current attributes of the remote file.
    ///
    /// # Errors
    /// A request failed, or the path no longer leads to a regular file.
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

    /// Discards the content received so far.
    fn start_over(&mut self) {
        if let Some(state) = self.state.take() {
            self.progress.take_back(state.received);
        }
    }

    /// Fetches the rest of the content once, and compares both sides. Returns true if the SHA-256
    /// is equal, and false if nothing was compared. With `doubted`, a file of any length is
    /// compared.
    ///
    /// # Errors
    /// A request or a write failed, or [`TransferError::Differs`].
    async fn content(
        &mut self,
        host: &Arc<RemoteHost>,
        client: &Arc<SftpClient>,
        attributes: Attributes,
        doubted: bool,
    ) -> Result<bool, TransferError> {
        if self.state.is_none() {
            let folder = Arc::clone(&self.target.folder);
            let made = self
                .blocking("creating a file beside", move || {
                    DownloadState::new(&folder, attributes)
                })
                .await?;

            self.state = Some(made);
        }

        let (path, size) = (self.wanted.as_slice(), attributes.size.unwrap_or(0));
        let Some(state) = &mut self.state else {
            return Err(TransferError::Cancelled);
        };

        // The remote host reads the file for the digest while it is fetched, over another channel.
        let compared = size > 0 && (doubted || self.alone && size <= MAX_COMPARED_BYTES);
        let digest = compared.then(|| RemoteDigest::start(host));
        let digest = async {
            let digest = digest?;
            digest
                .compute(&client.realpath(path).await.ok()?, size)
                .await
        };

        // If the server confuses handles from here on, the content may be that of another file.
        let mix_ups = client.mix_ups();

        let content = async {
            let handle = client
                .open_file(path, Access::Read, Attributes::default())
                .await;
            let handle = handle.map_err(client.failed("opening", path))?;

            let receiving = Receiving {
                host,
                client,
                path,
                handle: handle.clone(),
                size,
                room: self.room,
                sink: &mut state.sink,
                received: &mut state.received,
                progress: &self.progress,
                local: &self.target.path,
            };

            // The handle is closed even after an error, because some servers allow few open files.
            let received = receiving.run().await;
            client.close_read(&handle).await;
            received?;
            client
                .is_sure_since(mix_ups)
                .map_err(client.failed("reading", path))?;

            state
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

        // A file that ended before its announced length was read as a whole by the remote host too.
        let is_same_file = state.received != size;
        match computed
            .compare(client, &state.sum, state.received, is_same_file)
            .await
        {
            Comparison::Equal => Ok(true),
            Comparison::Unknown => Ok(false),
            Comparison::Different => Err(TransferError::Differs(format!(
                "\"{}\"",
                shown(&self.wanted)
            ))),
        }
    }
}

/// Returns the length and modification time, by which a changed file is recognised.
fn facts(attributes: &Attributes) -> (u64, Option<u32>) {
    (attributes.size.unwrap_or(0), attributes.modified())
}

impl DownloadState {
    /// Creates the temporary file, with room for the announced length.
    ///
    /// # Errors
    /// The disk has too little free space, or the file cannot be created.
    fn new(folder: &Arc<Folder>, attributes: Attributes) -> io::Result<Self> {
        let (temp, sum) = (
            LocalTemp::create_in(folder, attributes.size.unwrap_or(0))?,
            Sum::default(),
        );

        let sink = Sink::new(temp.file.try_clone()?, Arc::clone(folder), sum.clone());
        Ok(Self {
            temp,
            sink,
            sum,
            received: 0,
            attributes,
        })
    }
}

/// Returns the attributes of a remote file to be set on the local copy.
pub(in crate::ssh::transfer) fn attributes_to_keep(
    attributes: &Attributes,
) -> entry::EntryAttributes {
    entry::EntryAttributes {
        mode: attributes.permissions.map(|mode| mode & 0o7777),
        modified: attributes.modified(),
    }
}

/// Resolves the target of a download. A directory receives the file under `name`; a link is
/// followed; any other path is the target itself.
fn local_target(user_path: &str, name: &str) -> Result<LocalName, TransferError> {
    let path = paths::local(user_path)?;
    let failed = |source| TransferError::local("creating a file beside", &path, source);
    let no_directory = || TransferError::Path(format!("there is no directory {}", path.display()));

    let local_name = match LocalName::resolve(&path) {
        Err(error)
            if error.kind() == io::ErrorKind::NotFound && paths::names_directory(user_path) =>
        {
            return Err(no_directory());
        }
        local_name => local_name.map_err(failed)?,
    };

    let local_name = match local_name.find().map_err(failed)? {
        Some((EntryKind::Directory, _)) => {
            let folder = local_name.folder.enter(&local_name.name).map_err(failed)?;
            LocalName::inside(folder, name.as_bytes(), local_name.path.join(name))
                .map_err(failed)?
        }
        // A trailing slash demands a directory, so no file is made under that name.
        _ if paths::names_directory(user_path) => return Err(no_directory()),
        _ => local_name,
    };

    match local_name.find().map_err(failed)? {
        Some((EntryKind::Directory, _)) => Err(TransferError::Directory(
            local_name.path.display().to_string(),
        )),
        Some((EntryKind::Special, _)) => Err(TransferError::NotAFile(
            local_name.path.display().to_string(),
        )),
        _ => Ok(local_name),
    }
}
