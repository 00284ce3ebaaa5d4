//! Files of the remote host, shown to a caller.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{LiveSession, Permit};
use crate::{
    lock::lock,
    session::{
        caller::Caller, error::SessionError, shell_name::ShellName, shown_files::ShownFile,
        work::RemoteRead,
    },
    ssh::{
        command::{
            limits::{Signals, StopConditions},
            output::ReaderId,
            remote_host::RemoteHost,
        },
        transfer::{
            FileView, ReadRequest, RemoteFiles, ScriptFiles, TransferError, read_by_script,
        },
    },
};

/// Time for which an unused channel for files stays open. It saves the next call two round trips,
/// and takes a channel from other work.
const KEPT_IDLE: Duration = Duration::from_secs(20);

/// Channel for files that no call uses at the moment.
#[derive(Debug)]
pub(super) struct IdleFiles {
    files: RemoteFiles,
    /// Host to which the channel leads.
    host: Weak<RemoteHost>,
    since: Instant,
}

impl LiveSession {
    /// Reads a page of a file or directory, and remembers that the caller was shown the file. A
    /// relative path starts in the directory of the default shell; the path of the permit and
    /// the directory are set in `request` here.
    ///
    /// # Errors
    /// Returns [`SessionError::Transfer`] with the [`TransferError`], or the error of connecting.
    pub async fn read_file(
        &self,
        mut request: ReadRequest,
        permit: &Permit<RemoteRead>,
        caller: &Caller,
    ) -> Result<FileView, SessionError> {
        let _running = self.running.token();
        let RemoteRead { path, sudo } = permit.work().clone();
        request.path = self.remote_path(path, &permit.grant, caller).await?;
        request.directory = self.start_of([request.path.as_bytes()]).await;

        let mut tried_again = false;
        loop {
            let host = self.host(&permit.grant, caller).await?;
            let conditions = self.conditions(None, caller, &Signals::default());

            let read = async {
                if sudo {
                    let files = ScriptFiles::new(&host, Some(self.sudo_sources(caller)));
                    return read_by_script(&files, &request, &conditions).await;
                }
                self.read_over(&host, &request, &conditions).await
            };

            match read.await {
                Ok(view) => {
                    if let Some(file) = ShownFile::of(&view) {
                        self.note_shown(caller, view.resolved.clone(), file);
                    }
                    return Ok(view);
                }
                Err(error) => self.try_again(&mut tried_again, &host, error).await?,
            }
        }
    }

    /// Returns Ok if an operation that failed is to be tried again: it changes nothing, the link was
    /// lost, and this is the first time.
    ///
    /// # Errors
    /// The error of the operation, in any other case.
    pub(super) async fn try_again(
        &self,
        tried_again: &mut bool,
        host: &Arc<RemoteHost>,
        error: TransferError,
    ) -> Result<(), SessionError> {
        match error {
            TransferError::Ssh(error) if !*tried_again && self.drop_dead(host, &error).await => {
                *tried_again = true;
                Ok(())
            }
            TransferError::Cancelled => Err(SessionError::Cancelled),
            error => Err(self.transfer(error)),
        }
    }

    /// Returns the state of a file that a client was shown last; `None` if it was shown none.
    ///
    /// `path` is absolute, with symbolic links resolved ([`FileView::resolved`]).
    #[must_use]
    pub fn shown_file(&self, reader: ReaderId, path: &[u8]) -> Option<ShownFile> {
        lock(&self.shown_files).shown(reader, path)
    }

    /// Remembers that the caller is shown a file. The answer to a cancelled call does not arrive.
    pub(super) fn note_shown(&self, caller: &Caller, path: Vec<u8>, file: ShownFile) {
        if !caller.cancelled.is_cancelled() {
            lock(&self.shown_files).note(caller.reader, path, file);
        }
    }

    /// Reads over the idle channel, or else over a new one, which is kept for the next call.
    async fn read_over(
        &self,
        host: &Arc<RemoteHost>,
        request: &ReadRequest,
        conditions: &StopConditions,
    ) -> Result<FileView, TransferError> {
        if let Some(files) = self.idle_files(host) {
            match files.read(request, conditions).await {
                // The server may have closed the idle channel at this moment.
                Err(TransferError::Ended { .. }) if !files.may_be_kept() => {}
                result => return self.keep_files(files, host, result),
            }
        }

        let files = match RemoteFiles::open(host, conditions).await {
            Err(TransferError::NoSftp | TransferError::Start(_)) => {
                return read_by_script(&ScriptFiles::new(host, None), request, conditions).await;
            }
            files => files?,
        };
        let result = files.read(request, conditions).await;
        self.keep_files(files, host, result)
    }

    /// Takes the idle channel to this host; `None` if there is none.
    pub(super) fn idle_files(&self, host: &Arc<RemoteHost>) -> Option<RemoteFiles> {
        let idle = lock(&self.idle_files).take()?;
        let is_usable = idle.host.as_ptr() == Arc::as_ptr(host) && idle.files.may_be_kept();
        is_usable.then_some(idle.files)
    }

    /// Keeps the channel of a finished call for a while, unless the error may be that of the channel.
    pub(super) fn keep_files<T>(
        &self,
        files: RemoteFiles,
        host: &Arc<RemoteHost>,
        result: Result<T, TransferError>,
    ) -> Result<T, TransferError> {
        let has_answered = matches!(
            result,
            Ok(_)
                | Err(TransferError::Remote { .. }
                    | TransferError::Edit(_)
                    | TransferError::NotAFile(_)
                    | TransferError::Path(_))
        );
        if !has_answered || !files.may_be_kept() {
            return result;
        }

        let since = Instant::now();
        *lock(&self.idle_files) = Some(IdleFiles {
            files,
            host: Arc::downgrade(host),
            since,
        });

        let idle_files = Arc::downgrade(&self.idle_files);
        tokio::spawn(async move {
            sleep(KEPT_IDLE).await;
            if let Some(idle_files) = idle_files.upgrade() {
                lock(&idle_files).take_if(|idle| idle.since == since);
            }
        });

        result
    }

    /// Returns the directory in which relative paths start. Empty if none of these is relative, and
    /// for the home directory.
    pub(super) async fn start_of<'a>(&self, paths: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let is_relative = |path: &[u8]| !path.starts_with(b"/") && !path.starts_with(b"~");
        if paths.into_iter().any(is_relative) {
            self.directory().await
        } else {
            Vec::new()
        }
    }

    /// Returns the directory of the default shell after its last command. Empty if there was none.
    async fn directory(&self) -> Vec<u8> {
        let slot = lock(&self.shells).get(&ShellName::main()).cloned();
        match slot {
            Some(slot) => slot.lock().await.directory.clone(),
            None => Vec::new(),
        }
    }
}
