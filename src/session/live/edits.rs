//! Edits of files of the remote host.

use std::sync::Arc;

use super::LiveSession;
use crate::{
    session::{caller::Caller, error::SessionError, shown_files::ShownFile},
    ssh::{
        command::{
            limits::{Signals, StopConditions},
            remote_host::RemoteHost,
        },
        transfer::{
            ChangeState, EditAction, EditError, FileChange, FileEditor, LenientHunk, PreparedEdit,
            PreparedFile, RemoteFiles, TransferError, Written, shown,
        },
    },
};

/// Attempts at an edit of a file that others change at the same time, or over links that are lost.
const ATTEMPTS: usize = 5;

/// Options of an edit.
#[derive(Debug, Clone, Copy, Default)]
pub struct EditOptions {
    /// True if nothing is written.
    pub dry_run: bool,
    /// True if root edits, through sudo.
    pub sudo: bool,
}

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

/// Edit whose files are being written.
#[derive(Debug)]
struct Writing {
    edit: FinishedEdit,
    /// Number of files that are written.
    written: usize,
    /// True if the link was lost while the next file was written.
    is_resumed: bool,
}

impl LiveSession {
    /// Edits files. Relative paths start in the directory of the default shell.
    ///
    /// # Errors
    /// Returns [`SessionError::Transfer`] with the [`TransferError`], or the error of connecting.
    pub async fn edit_files(
        &self,
        action: EditAction,
        options: EditOptions,
        caller: &Caller,
    ) -> Result<FinishedEdit, SessionError> {
        let _running = self.running.token();
        let directory = self.directory().await;
        let action = action
            .in_directory(&directory)
            .map_err(|error| self.transfer(error))?;

        let (mut writing, mut attempt) = (None, 1);
        loop {
            let host = self.host(caller).await?;
            let edited = self
                .edit_over(&host, &action, options, &mut writing, caller)
                .await;
            let error = match edited {
                Ok(edit) => return Ok(edit),
                Err(error) => error,
            };

            let may_be_repeated = match &error {
                TransferError::Edit(EditError::Changed(_)) => writing.is_none(),
                TransferError::Ssh(error) => self.drop_dead(&host, error).await,
                // The next connection shows if the change was made.
                TransferError::Edit(EditError::Unsure { .. }) => host.is_closed(),
                TransferError::Cancelled => return Err(SessionError::Cancelled),
                _ => false,
            };
            if !may_be_repeated || attempt == ATTEMPTS {
                return Err(self.transfer(partly(error, writing.as_ref())));
            }
            attempt += 1;
        }
    }

    /// Prepares and makes an edit over one connection, or goes on with one.
    ///
    /// # Errors
    /// The edit does not fit the files, or a file could not be written. `writing` holds what was
    /// written.
    async fn edit_over(
        &self,
        host: &Arc<RemoteHost>,
        action: &EditAction,
        options: EditOptions,
        writing: &mut Option<Writing>,
        caller: &Caller,
    ) -> Result<FinishedEdit, TransferError> {
        let conditions = self.conditions(None, caller, &Signals::default());
        let files = if options.sudo {
            Err(TransferError::NoSftp)
        } else if let Some(files) = self.idle_files(host) {
            Ok(files)
        } else {
            RemoteFiles::open(host, &conditions).await
        };
        let files = match files {
            Ok(files) => files,
            Err(TransferError::NoSftp | TransferError::Start(_)) => {
                let root = options.sudo.then(|| self.sudo_sources(caller));
                let editor = FileEditor::by_scripts(host, root);
                return self
                    .edit_with(&editor, action, options, writing, caller, &conditions)
                    .await;
            }
            Err(error) => return Err(error),
        };

        let editor = FileEditor::over_sftp(host, &files, &self.remote_temps);
        let edit = self
            .edit_with(&editor, action, options, writing, caller, &conditions)
            .await;
        self.remove_remote_temps(host);

        self.keep_files(files, host, edit)
    }

    async fn edit_with(
        &self,
        editor: &FileEditor<'_>,
        action: &EditAction,
        options: EditOptions,
        writing: &mut Option<Writing>,
        caller: &Caller,
        conditions: &StopConditions,
    ) -> Result<FinishedEdit, TransferError> {
        if writing.is_none() {
            let prepared = editor.prepare(action, conditions).await?;
            let edit = self.checked(prepared, caller)?;
            if options.dry_run {
                return Ok(edit);
            }

            *writing = Some(Writing {
                edit,
                written: 0,
                is_resumed: false,
            });
        }

        if let Some(state) = writing {
            let written = self.write_files(state, editor, caller).await;
            // Another program has changed the first file, so the edit begins anew.
            if matches!(&written, Err(TransferError::Edit(EditError::Changed(_))))
                && state.written == 0
            {
                *writing = None;
            }
            written?;
        }

        let done = writing.take().map(|writing| writing.edit);
        Ok(done.unwrap_or_else(|| FinishedEdit {
            files: Vec::new(),
            lenient: Vec::new(),
        }))
    }

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

    /// Writes the files of an edit one after another, and notes that the caller knows them.
    ///
    /// # Errors
    /// A file could not be written.
    async fn write_files(
        &self,
        writing: &mut Writing,
        editor: &FileEditor<'_>,
        caller: &Caller,
    ) -> Result<(), TransferError> {
        // Two edits of this session do not meet between comparing and writing.
        let _turn = self.edits.lock().await;

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
                    writing.is_resumed = true;
                    file.written = editor.write(change).await?;
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
                self.note_change(change, caller);
            }
        }

        Ok(())
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

/// Adds what was written before the error.
fn partly(error: TransferError, writing: Option<&Writing>) -> TransferError {
    let files = writing.map(|writing| (&writing.edit.files, writing.written));
    match files {
        Some((files, written)) if written > 0 => EditError::Partly {
            written: files
                .iter()
                .take(written)
                .map(|file| shown(file.prepared.change.path()))
                .collect(),
            source: Box::new(error),
        }
        .into(),
        _ => error,
    }
}
