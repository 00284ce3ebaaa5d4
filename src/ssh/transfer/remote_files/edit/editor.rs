//! Finds, compares and writes the files of an edit, in the way that the host allows.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use futures_util::{
    future::BoxFuture,
    stream::{self, StreamExt as _, TryStreamExt as _},
};
use tokio::time::timeout;

use super::{
    EditAction, EditError, FileChange, InPlaceReason, Loaded, LoadedFile, PreparedEdit, Written,
    load::parent, over_sftp::SftpFiles, prepare::prepare,
};
use crate::{
    framing::file_probe::{self, ProbedFile},
    ssh::{
        command::{limits::StopConditions, remote_host::RemoteHost, sudo::SudoSources},
        error::SshError,
        transfer::{
            RemoteTemp, TransferError,
            abilities::missing_name,
            error::shown,
            remote_files::{RemoteFiles, ScriptFiles, path::unescaped},
        },
    },
};

/// Files of a patch, at most.
const MAX_FILES: usize = 100;
/// Bytes of all files of a patch, at most.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// Files that are read at the same time.
const FILES_AT_ONCE: usize = 16;
/// Time limit for reading the files of an edit, and for writing each. A file on a dead network file
/// system never answers.
const STEP_LIMIT: Duration = Duration::from_secs(60);
/// Time limit for the answer of the script that looks at a file.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// Files of a host that an edit reads and writes: over SFTP where that loses nothing, else by the
/// programs of the host.
#[derive(Debug)]
pub struct FileEditor<'a> {
    host: &'a Arc<RemoteHost>,
    /// Files over SFTP; `None` if the programs of the host do everything.
    sftp: Option<SftpFiles<'a>>,
    scripts: ScriptFiles,
}

/// State of a file whose change was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeState {
    /// The change was not made.
    Before,
    /// The change was made.
    After,
    /// The file is neither as before the change nor as after it.
    Other,
}

impl<'a> FileEditor<'a> {
    /// Creates an editor over an SFTP channel. `temps` receives the temporary files, and keeps those
    /// that could not be removed.
    #[must_use]
    pub fn over_sftp(
        host: &'a Arc<RemoteHost>,
        files: &'a RemoteFiles,
        temps: &'a Mutex<Vec<RemoteTemp>>,
    ) -> Self {
        Self {
            host,
            sftp: Some(SftpFiles { files, temps }),
            scripts: ScriptFiles::new(host, None),
        }
    }

    /// Creates an editor that runs programs of the host: as root with `root`, the sources of sudo's
    /// password.
    #[must_use]
    pub fn by_scripts(host: &'a Arc<RemoteHost>, root: Option<SudoSources>) -> Self {
        Self {
            host,
            sftp: None,
            scripts: ScriptFiles::new(host, root),
        }
    }

    /// Reads the files of an action, and prepares their changes. Nothing is written.
    ///
    /// # Errors
    /// The action does not fit the files, one of them cannot be edited, or the call is stopped.
    pub async fn prepare(
        &self,
        action: &EditAction,
        conditions: &StopConditions,
    ) -> Result<PreparedEdit, TransferError> {
        let paths = action.paths();
        let path = paths.first().copied().unwrap_or_default();

        // Boxed for the same reason as in `RemoteFiles::read`.
        let found: BoxFuture<'_, Result<_, TransferError>> = Box::pin(self.load_all(action));
        let connection = match self.sftp {
            Some(sftp) => sftp.files.client.connection(),
            None => self.host.first(),
        };
        let found = connection
            .unless_stopped(conditions, self.limited(found, unread(path)))
            .await?;

        let prepared = prepare(action, &found)?;

        // Everything that can be checked is checked before the first file is written.
        for file in &prepared.files {
            if let FileChange::Create {
                path,
                makes_directories: false,
                ..
            }
            | FileChange::Rename { to: path, .. } = &file.change
            {
                self.check_directory_of(path).await?;
            }
        }

        Ok(prepared)
    }

    /// Checks that the directory of a new file exists.
    async fn check_directory_of(&self, path: &[u8]) -> Result<(), TransferError> {
        if let Some(sftp) = self.sftp {
            return sftp.files.directory_of(path).await.map(drop);
        }

        match self.scripts.load(parent(path)).await {
            Err(TransferError::Edit(EditError::NotAFile {
                what: "a directory",
                ..
            })) => Ok(()),
            Ok(Loaded::Missing(directory)) => Err(EditError::NoDirectory(shown(&directory)).into()),
            Ok(Loaded::File(file)) => Err(TransferError::NotADirectory(shown(&file.path))),
            Err(error) => Err(error),
        }
    }

    /// Loads the file at a path as typed.
    async fn load(&self, path: &[u8]) -> Result<Loaded, TransferError> {
        let mut found = self.load_exactly(path).await?;

        // A name that was shown with escaped bytes may be given as it was shown.
        if let Loaded::Missing(missing) = &found
            && let Some(bytes) = unescaped(missing)
            && let Loaded::File(file) = self.load_exactly(&bytes).await?
        {
            found = Loaded::File(file);
        }

        if matches!(found, Loaded::Missing(_)) && path.ends_with(b"/") {
            let message = format!("\"{}\" names a directory", shown(path));
            return Err(TransferError::Path(message));
        }

        Ok(found)
    }

    async fn load_exactly(&self, path: &[u8]) -> Result<Loaded, TransferError> {
        match self.sftp {
            Some(sftp) => sftp.files.load(path).await,
            None => self.scripts.load(path).await,
        }
    }

    /// Loads all files of an action, by their paths as typed.
    async fn load_all(
        &self,
        action: &EditAction,
    ) -> Result<BTreeMap<Vec<u8>, Loaded>, TransferError> {
        let paths: Vec<Vec<u8>> = action.paths().into_iter().map(<[u8]>::to_vec).collect();
        if paths.len() > MAX_FILES {
            let message = format!("the patch names more than {MAX_FILES} files");
            return Err(TransferError::Path(message));
        }

        // Other servers may confuse open files, or allow only one.
        let is_one_by_one = (self.sftp).is_some_and(|sftp| !sftp.files.client.is_openssh());
        let at_once = if is_one_by_one { 1 } else { FILES_AT_ONCE };
        let mut bytes = 0;
        stream::iter(paths)
            .map(async |path| {
                let loaded = self.load(&path).await?;
                Ok((path, loaded))
            })
            .buffered(at_once)
            .map(|loaded: Result<(Vec<u8>, Loaded), TransferError>| {
                if let Ok((_, Loaded::File(file))) = &loaded {
                    bytes += file.content.len();
                }
                if bytes > MAX_BYTES {
                    let message = "the files of the patch have more than 32 MiB".to_owned();
                    return Err(TransferError::Path(message));
                }
                loaded
            })
            .try_collect()
            .await
    }

    /// Makes a change. It is made completely or not at all, unless the error says otherwise.
    ///
    /// # Errors
    /// A file has changed since it was loaded, the host refuses a step, or the link is lost.
    pub async fn write(&self, change: &FileChange) -> Result<Written, TransferError> {
        let written: BoxFuture<'_, _> = Box::pin(self.write_change(change));
        let unsure = |message| {
            let path = shown(change.path());
            EditError::Unsure { path, message }.into()
        };

        let written = self.limited(written, unsure).await;
        match (written, self.sftp) {
            (Err(error), Some(sftp)) => Err(error.or_read_only(&sftp.files.client).await),
            (written, _) => written,
        }
    }

    /// Limits the time of a step over SFTP, after which `no_answer` makes the error. Scripts have
    /// limits of their own, and wait while the person is asked for a password.
    async fn limited<T>(
        &self,
        step: BoxFuture<'_, Result<T, TransferError>>,
        no_answer: impl FnOnce(String) -> TransferError,
    ) -> Result<T, TransferError> {
        if self.sftp.is_none() {
            return step.await;
        }

        let message = format!("no answer within {STEP_LIMIT:?}");
        timeout(STEP_LIMIT, step)
            .await
            .unwrap_or_else(|_| Err(no_answer(message)))
    }

    async fn write_change(&self, change: &FileChange) -> Result<Written, TransferError> {
        let Some(sftp) = self.sftp else {
            return self.write_by_scripts(change).await;
        };

        match change {
            FileChange::Create {
                path,
                content,
                makes_directories,
            } => sftp.create(path, content, *makes_directories).await,
            FileChange::Write { old, content } => self.replace(sftp, old, content).await,
            FileChange::Rename { old, to, content } => {
                sftp.rename(old, to).await?;
                let Some(content) = content else {
                    return Ok(Written::default());
                };

                let renamed = LoadedFile {
                    path: to.clone(),
                    ..old.clone()
                };
                self.replace(sftp, &renamed, content).await
            }
            FileChange::Delete { old } => {
                sftp.delete(old).await?;
                Ok(Written::default())
            }
        }
    }

    /// Makes a change by programs of the host.
    async fn write_by_scripts(&self, change: &FileChange) -> Result<Written, TransferError> {
        let scripts = &self.scripts;
        match change {
            FileChange::Create {
                path,
                content,
                makes_directories,
            } => scripts.create(path, content, *makes_directories).await,
            FileChange::Write { old, content } => scripts.write(old, content).await,
            FileChange::Rename { old, to, content } => {
                let written = scripts.rename(old, to, false).await?;
                let Some(content) = content else {
                    return Ok(written);
                };

                let renamed = LoadedFile {
                    path: to.clone(),
                    ..old.clone()
                };
                scripts.write(&renamed, content).await
            }
            FileChange::Delete { old } => {
                scripts.delete(old).await?;
                Ok(Written::default())
            }
        }
    }

    /// Gives a file a new content: over SFTP by a rename. Where that would lose something, programs
    /// of the host do it, or it is written in place.
    async fn replace(
        &self,
        sftp: SftpFiles<'_>,
        old: &LoadedFile,
        content: &[u8],
    ) -> Result<Written, TransferError> {
        // A rename would change the file all the same.
        let is_read_only = old.mode.is_some_and(|mode| mode & 0o222 == 0);
        if is_read_only && self.host.peer().user != "root" {
            return Err(EditError::Failed {
                doing: "writing",
                path: shown(&old.path),
                message: "permission denied: the file is read-only".to_owned(),
            }
            .into());
        }

        let client = &sftp.files.client;
        let (probed, staged) = tokio::join!(self.probe(&old.path), async {
            if !client.replaces() {
                Ok(Err(InPlaceReason::NoRename))
            } else if !client.removes(&missing_name()?).await {
                Ok(Err(InPlaceReason::NoRemove))
            } else {
                sftp.stage(old, content).await
            }
        });

        let probed = probed.filter(|probed| is_same(old, probed));
        let loses = match &probed {
            Some(probed) => loses(probed),
            // Links and lists that nobody can see would be lost.
            None => Some(InPlaceReason::Unseen),
        };
        // A script clears away what an interrupted edit has left.
        if probed.is_some() && matches!(&staged, Err(TransferError::Edit(EditError::Busy { .. }))) {
            return self.scripts.write(old, content).await;
        }

        let reason = match (staged?, loses) {
            (Ok(staged), None) => match sftp.commit(staged, old, content).await? {
                Ok(written) => return Ok(written),
                Err(reason) => reason,
            },
            (Ok(staged), Some(reason)) => {
                staged.discard(sftp).await;
                reason
            }
            (Err(reason), _) => reason,
        };

        // A program of the host carries more over, and says more exactly what fails.
        if probed.is_some() {
            return self.scripts.write(old, content).await;
        }

        sftp.write_in_place(old, content, reason).await
    }

    /// Asks the programs of the host about a file. `None` if the host runs no programs.
    async fn probe(&self, path: &[u8]) -> Option<ProbedFile> {
        if self.host.has_no_shell.load(Ordering::Relaxed) {
            return None;
        }

        let script = file_probe::script(path);
        let answer = self.scripts.run(("edit", path), script, PROBE_LIMIT).await;

        // Servers for SFTP alone refuse every program.
        let is_refused = match &answer {
            Ok(answer) => !file_probe::has_run(answer),
            Err(error) => matches!(error, SshError::ExecRefused),
        };
        if is_refused {
            self.host.runs_no_programs();
        }

        file_probe::parse(&answer.ok()?)
    }

    /// Finds out if an interrupted change was made.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn state(&self, change: &FileChange) -> Result<ChangeState, TransferError> {
        let content_at = async |path: &[u8]| -> Result<Option<Vec<u8>>, TransferError> {
            let loaded: BoxFuture<'_, _> = Box::pin(self.load(path));
            Ok(match self.limited(loaded, unread(path)).await? {
                Loaded::File(file) => Some(file.content),
                Loaded::Missing(_) => None,
            })
        };

        let (path, before, after) = match change {
            FileChange::Create { path, content, .. } => (path, None, Some(content)),
            FileChange::Write { old, content } => (&old.path, Some(&old.content), Some(content)),
            FileChange::Delete { old } => (&old.path, Some(&old.content), None),
            FileChange::Rename { old, to, content } => {
                let content = content.as_ref().unwrap_or(&old.content);
                (to, None, Some(content))
            }
        };
        let found = content_at(path).await?;

        Ok(if found.as_ref() == after {
            ChangeState::After
        } else if found.as_ref() == before {
            ChangeState::Before
        } else {
            ChangeState::Other
        })
    }
}

/// Returns a function that makes the error for a file that is not read in time.
fn unread(path: &[u8]) -> impl FnOnce(String) -> TransferError {
    let path = shown(path);
    move |message| TransferError::Ended {
        doing: "reading",
        path,
        message,
    }
}

/// Returns true if the programs of the host see the same file as SFTP, which may have another root.
fn is_same(old: &LoadedFile, probed: &ProbedFile) -> bool {
    probed.size == old.content.len() as u64 && old.owner.is_none_or(|owner| owner == probed.owner)
}

/// Returns the reason for which a rename would lose something.
fn loses(probed: &ProbedFile) -> Option<InPlaceReason> {
    if probed.links > 1 {
        Some(InPlaceReason::HardLinks)
    } else if probed.is_plain {
        None
    } else {
        Some(InPlaceReason::Attributes)
    }
}
