//! Edits of files of the remote host.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
    time::{Duration, Instant},
};

use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    time::sleep,
};

use super::{LiveSession, Permit};
use crate::{
    lock::lock,
    session::{caller::Caller, error::SessionError, shown_files::ShownFile, work::Edit},
    ssh::{
        command::{
            limits::{Signals, StopConditions},
            remote_host::RemoteHost,
        },
        transfer::{
            ChangeState, EditAction, EditError, FileChange, FileEditor, LenientHunk, PreparedEdit,
            PreparedFile, RemoteFiles, RemoteTemp, TransferError, Written, remove_remote_temps,
            shown,
        },
    },
};

/// Attempts at an edit of a file that others change at the same time, or over links that are lost.
const ATTEMPTS: usize = 8;
/// Time for which an edit waits for one of another process.
const BUSY_LIMIT: Duration = Duration::from_secs(10);
/// Pause before another look at the edit of the other process.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// Edit that was made, or in a dry run would be.
#[derive(Debug)]
pub struct FinishedEdit {
    /// Files that changed, in the order of writing.
    pub files: Vec<EditedFile>,
    /// Hunks of a patch whose lines were found only with leniency.
    pub lenient: Vec<LenientHunk>,
}

/// File that was edited.
#[derive(Debug)]
pub struct EditedFile {
    /// The change, with its diff.
    pub prepared: PreparedFile,
    /// The way in which it was written. In a dry run, the default.
    pub written: Written,
    /// True if the file was no longer as the caller was last shown it.
    pub was_changed_by_others: bool,
}

/// Turns of the edits of a session, by the paths of the files. Edits of other files go on meanwhile.
#[derive(Debug, Default)]
pub(super) struct EditTurns(Mutex<HashMap<Vec<u8>, Weak<AsyncMutex<()>>>>);

/// Edit on its way, which may take several attempts.
struct EditRun<'a> {
    session: &'a LiveSession,
    action: &'a EditAction,
    edit: &'a Edit,
    caller: &'a Caller,
    /// State once the files are being written.
    writing: Option<Writing>,
    /// Temporary files on the host that are not removed yet.
    temps: Mutex<Vec<RemoteTemp>>,
    /// Number of links that were lost.
    lost_links: usize,
}

/// Edit whose files are being written.
#[derive(Debug)]
struct Writing {
    edit: FinishedEdit,
    /// Number of files that are written.
    written: usize,
    /// True if an attempt to write the next file was interrupted.
    is_resumed: bool,
}

impl LiveSession {
    /// Edits files. Relative paths start in the directory of the default shell.
    ///
    /// # Errors
    /// Returns [`SessionError::Transfer`] with the [`TransferError`], or the error of connecting.
    pub async fn edit_files(
        &self,
        permit: &Permit<Edit>,
        caller: &Caller,
    ) -> Result<FinishedEdit, SessionError> {
        let _running = self.running.token();
        let edit = permit.work();
        let action = edit.action.clone();
        let action = self.remote_paths(action, &permit.grant, caller).await?;
        let directory = self.start_of(action.paths()).await;
        let action = action
            .in_directory(&directory)
            .map_err(|error| self.transfer(error))?;

        let _turns = self.edits.wait(&action).await;
        let mut run = EditRun {
            session: self,
            action: &action,
            edit,
            caller,
            writing: None,
            temps: Mutex::default(),
            lost_links: 0,
        };

        let (mut attempts, mut busy_since) = (0, None);
        loop {
            let host = self.host(&permit.grant, caller).await?;
            let error = match run.over(&host).await {
                Ok(edit) => return Ok(edit),
                Err(error) => error,
            };

            let may_be_repeated = match &error {
                TransferError::Edit(EditError::Busy { .. }) => {
                    run.begin_anew();
                    sleep(BUSY_PAUSE).await;
                    busy_since.get_or_insert_with(Instant::now).elapsed() < BUSY_LIMIT
                }
                error => {
                    attempts += 1;
                    attempts < ATTEMPTS && run.may_be_repeated(&host, error).await
                }
            };
            if !may_be_repeated {
                return Err(match error {
                    TransferError::Cancelled => SessionError::Cancelled,
                    error => self.transfer(run.with_written(error)),
                });
            }
        }
    }
}

impl Drop for EditRun<'_> {
    /// Hands over what could not be removed, for the next connection.
    fn drop(&mut self) {
        let left = std::mem::take(&mut *lock(&self.temps));
        lock(&self.session.remote_temps).extend(left);
    }
}

impl EditTurns {
    /// Waits for the turns of all files of an action.
    async fn wait(&self, action: &EditAction) -> Vec<OwnedMutexGuard<()>> {
        let mut held = Vec::new();
        // In the order of the paths, so that two edits do not wait for each other.
        for path in action.paths() {
            let turn = self.of(path);
            held.push(turn.lock_owned().await);
        }

        held
    }

    fn of(&self, path: &[u8]) -> Arc<AsyncMutex<()>> {
        let mut turns = lock(&self.0);
        turns.retain(|_, turn| turn.strong_count() > 0);

        let turn = turns.get(path).and_then(Weak::upgrade).unwrap_or_default();
        turns.insert(path.to_vec(), Arc::downgrade(&turn));

        turn
    }
}

impl EditRun<'_> {
    /// Prepares and makes the edit over one connection, or goes on with it.
    ///
    /// # Errors
    /// The edit does not fit the files, or a file could not be written.
    async fn over(&mut self, host: &Arc<RemoteHost>) -> Result<FinishedEdit, TransferError> {
        let (session, caller) = (self.session, self.caller);
        let conditions = session.conditions(None, caller, &Signals::default());

        let idle = if self.edit.sudo {
            None
        } else {
            session.idle_files(host)
        };
        let is_idle = idle.is_some();
        // Where a connection has one channel, SFTP and the programs of the host would need two.
        let by_scripts = self.edit.sudo || host.has_single_channels();
        let files = match idle {
            Some(files) => Ok(files),
            None if by_scripts => Err(TransferError::NoSftp),
            None => RemoteFiles::open(host, &conditions).await,
        };
        let files = match files {
            Ok(files) => files,
            Err(TransferError::NoSftp | TransferError::Start(_)) => {
                let root = self.edit.sudo.then(|| session.sudo_sources(caller));
                let editor = FileEditor::by_scripts(host, root);
                return self.with(&editor, &conditions).await;
            }
            Err(error) => return Err(error),
        };

        // ProFTPD ends the connection where a program is to run.
        if self.lost_links > 1 {
            host.runs_no_programs();
        }

        // What a lost link has left of this edit would be in its way.
        self.remove_temps(host).await;
        let temps = std::mem::take(&mut self.temps);
        let editor = FileEditor::over_sftp(host, &files, &temps);
        let edit = self.with(&editor, &conditions).await;
        self.temps = temps;
        self.remove_temps(host).await;

        // The server may have closed the idle channel at this moment.
        if is_idle
            && self.writing.is_none()
            && matches!(edit, Err(TransferError::Ended { .. }))
            && !files.may_be_kept()
        {
            return Box::pin(self.over(host)).await;
        }

        session.keep_files(files, host, edit)
    }

    /// Removes the temporary files of attempts that were interrupted, in this edit or before.
    async fn remove_temps(&mut self, host: &Arc<RemoteHost>) {
        let mut left = std::mem::take(&mut *lock(&self.temps));
        left.append(&mut lock(&self.session.remote_temps));
        if left.is_empty() || host.is_closed() {
            lock(&self.temps).extend(left);
            return;
        }

        let left = remove_remote_temps(left, host).await;
        lock(&self.temps).extend(left);
    }

    /// Prepares and makes the edit, or goes on with it.
    async fn with(
        &mut self,
        editor: &FileEditor<'_>,
        conditions: &StopConditions,
    ) -> Result<FinishedEdit, TransferError> {
        let mut writing = if let Some(writing) = self.writing.take() {
            writing
        } else {
            let prepared = editor.prepare(self.action, conditions).await?;
            let edit = self.session.checked(prepared, self.caller)?;
            if self.edit.dry_run {
                return Ok(edit);
            }

            Writing {
                edit,
                written: 0,
                is_resumed: false,
            }
        };

        match self.write_files(&mut writing, editor).await {
            Ok(()) => Ok(writing.edit),
            Err(error) => {
                self.writing = Some(writing);
                Err(error)
            }
        }
    }

    /// Has the edit prepared again, unless a file is written already.
    fn begin_anew(&mut self) {
        self.writing.take_if(|writing| writing.written == 0);
    }

    /// Returns true if the edit may be made anew after an error, or goes on.
    async fn may_be_repeated(&mut self, host: &Arc<RemoteHost>, error: &TransferError) -> bool {
        match error {
            // Another program has changed the file. Before the first one is written, the edit can
            // still begin anew.
            TransferError::Edit(EditError::Changed(_)) => {
                self.begin_anew();
                self.writing.is_none()
            }
            TransferError::Ssh(error) => {
                self.lost_links += 1;
                self.session.drop_dead(host, error).await
            }
            // The next connection shows if the change was made.
            TransferError::Edit(EditError::Unsure { .. }) => host.is_closed(),
            _ => false,
        }
    }

    /// Writes the files of the edit one after another, and notes that the caller knows them.
    ///
    /// # Errors
    /// A file could not be written.
    async fn write_files(
        &self,
        writing: &mut Writing,
        editor: &FileEditor<'_>,
    ) -> Result<(), TransferError> {
        while let Some(file) = writing.edit.files.get_mut(writing.written) {
            let change = &file.prepared.change;
            let state = if writing.is_resumed {
                editor.state(change).await?
            } else if change.changes_nothing() {
                ChangeState::After
            } else {
                ChangeState::Before
            };

            match state {
                ChangeState::Before => {
                    let written = editor.write(change).await;
                    // Only after these errors is it certain that nothing was written.
                    writing.is_resumed = !matches!(
                        written,
                        Err(TransferError::Edit(
                            EditError::Busy { .. } | EditError::Changed(_)
                        ))
                    );
                    file.written = written?;
                }
                ChangeState::After => {}
                ChangeState::Other => {
                    return Err(EditError::Unsure {
                        path: shown(change.path()),
                        message: "the link was lost while it was written".to_owned(),
                    }
                    .into());
                }
            }
            writing.is_resumed = false;
            writing.written += 1;

            // The caller has not seen what others changed.
            if !file.was_changed_by_others {
                self.session.note_change(change, self.caller);
            }
        }

        Ok(())
    }

    /// Adds to an error what was written before it.
    fn with_written(&self, error: TransferError) -> TransferError {
        let written: Vec<String> = self
            .writing
            .iter()
            .flat_map(|writing| writing.edit.files.iter().take(writing.written))
            .map(|file| shown(file.prepared.change.path()))
            .collect();
        if written.is_empty() {
            return error;
        }

        let source = Box::new(error);
        EditError::Partly { written, source }.into()
    }
}

impl LiveSession {
    /// Compares the files with what the caller was shown of them.
    ///
    /// # Errors
    /// The whole content of a file is to be replaced, and the caller does not know it.
    fn checked(
        &self,
        prepared: PreparedEdit,
        caller: &Caller,
    ) -> Result<FinishedEdit, TransferError> {
        let mut files = Vec::new();
        for file in prepared.files {
            let old = file.change.old();
            let known = old.and_then(|old| self.shown_file(caller.reader, &old.path));
            let is_as_shown = old
                .zip(known)
                .map(|(old, known)| known.matches(&old.content, old.modified));

            if let Some(old) = old
                && prepared.replaces_content
                && !file.change.changes_nothing()
            {
                match is_as_shown {
                    None => return Err(EditError::NotRead(shown(&old.path)).into()),
                    Some(false) => {
                        return Err(EditError::ChangedSinceRead(shown(&old.path)).into());
                    }
                    Some(true) => {}
                }
            }

            files.push(EditedFile {
                prepared: file,
                written: Written::default(),
                was_changed_by_others: is_as_shown == Some(false),
            });
        }

        Ok(FinishedEdit {
            files,
            lenient: prepared.lenient,
        })
    }

    /// Notes that the caller knows the file of a change that was made.
    fn note_change(&self, change: &FileChange, caller: &Caller) {
        let (path, content) = match change {
            FileChange::Create { path, content, .. } => (path, content),
            FileChange::Write { old, content } => (&old.path, content),
            FileChange::Rename { old, to, content } => {
                (to, content.as_ref().unwrap_or(&old.content))
            }
            FileChange::Delete { .. } => return,
        };

        // A caller that edits a file without having read it does not know the rest of it.
        let knows_all = matches!(change, FileChange::Create { .. })
            || self.shown_file(caller.reader, path).is_some();
        if knows_all {
            let file = ShownFile::whole(content, None);
            self.note_shown(caller, path.clone(), file);
        }
    }
}
