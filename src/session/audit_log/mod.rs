//! The audit log of a process: a line before each call and one after it.

mod file;
mod head;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Instant,
};

use tokio::task::spawn_blocking;

pub use self::file::{AuditError, AuditFile};
use super::{audit_call::AuditCall, settings_file::SettingsFile};
use crate::{
    audit::record::{
        BeginRecord, CommandRecord, EndRecord, Event, Outcome, PartRecord, without_password,
    },
    local::home::{home, state},
    lock::lock,
    random,
    settings::{AuditHead, AuditSettings},
};

/// Writer of the audit log. One is shared by all calls of a process.
#[derive(Debug, Default)]
pub struct AuditLog {
    /// Locked for a whole write, on threads that may block.
    writing: Mutex<Writing>,
    /// Pending notice for the user. Locked for assignments only.
    notice: Mutex<Option<String>>,
    /// What the settings said last. Locked for look-ups and assignments only.
    settings: Mutex<Option<AuditSettings>>,
}

/// What the writer remembers from line to line.
#[derive(Debug, Default)]
struct Writing {
    /// Number of lines that could not be written since the last one that could.
    lost: u64,
    /// True if the system's log did not take the last head.
    head_fails: bool,
}

/// Where and how a call is recorded.
#[derive(Debug, Clone)]
struct AuditPlan {
    file: AuditFile,
    /// True if no call may go without its record.
    required: bool,
    head: AuditHead,
}

/// What was asked for, for the line before a call.
#[derive(Debug)]
pub struct AskedCall {
    /// Name and version of the client; `None` if the client does not say.
    pub client: Option<String>,
    /// See [`BeginRecord::conversation`].
    pub conversation: String,
    /// Name of the tool.
    pub tool: String,
    /// See [`BeginRecord::arguments`].
    pub arguments: serde_json::Map<String, serde_json::Value>,
}

/// What came of a call, for the line after it.
#[derive(Debug)]
pub struct EndedCall {
    /// Whether the call was carried out.
    pub outcome: Outcome,
    /// Kind of the error; `None` without one.
    pub error: Option<&'static str>,
    /// True if the client gave the call up.
    pub cancelled: bool,
    /// Commands by their sessions; `None` for a command that was not run.
    pub commands: Vec<(String, Option<CommandRecord>)>,
    /// Files that were changed.
    pub files: Vec<String>,
    /// Number of files that were moved.
    pub moved: Option<u64>,
    /// Bytes that were read or moved.
    pub bytes: Option<u64>,
}

/// Call whose beginning is in the log.
///
/// Dropping the value leaves the call without an end, which the log shows.
#[derive(Debug)]
pub struct RecordedCall {
    log: Arc<AuditLog>,
    plan: AuditPlan,
    call: String,
    tool: String,
    began: Instant,
    /// Handle by which the call says what it does.
    pub audit: AuditCall,
}

/// Returns the usual place of the log; `None` if no home directory is known.
#[must_use]
pub fn default_audit_file() -> Option<PathBuf> {
    Some(state()?.join("mcp-ssh-sessions").join("audit.jsonl"))
}

/// Returns the log that these settings name.
///
/// # Errors
/// Returns [`AuditError::Nowhere`].
pub fn audit_file(settings: &AuditSettings) -> Result<AuditFile, AuditError> {
    let path = match settings.file.as_deref() {
        None => default_audit_file(),
        Some(path) => match path.strip_prefix("~/") {
            Some(rest) => home().map(|home| home.join(rest)),
            None => Some(path.into()),
        },
    };

    let max_bytes = settings.max_mib.saturating_mul(1024 * 1024);
    path.map(|path| AuditFile::new(path, max_bytes))
        .ok_or(AuditError::Nowhere)
}

/// Returns the path of the log that the settings name at present, else the usual one. `None` if no
/// home directory is known.
pub(super) fn audit_path(settings: &SettingsFile) -> Option<PathBuf> {
    let settings = settings.current().ok().flatten();
    let audit = settings.and_then(|settings| settings.audit().cloned());
    let file = audit_file(&audit.unwrap_or_default()).ok()?;

    Some(file.path().to_owned())
}

impl AuditLog {
    /// Records that a call begins, as the settings in this file want it. Returns `None` if they want
    /// no record, or if the call could not be recorded and may go on without. Blocks.
    ///
    /// # Errors
    /// The settings require the record, which could not be written: the call must not go on.
    pub fn begin(
        self: &Arc<Self>,
        settings: &SettingsFile,
        asked: AskedCall,
    ) -> Result<Option<RecordedCall>, AuditError> {
        let Some(settings) = self.settings(settings) else {
            return Ok(None);
        };

        match self.begin_with(&settings, asked) {
            Ok(recorded) => Ok(Some(recorded)),
            Err(error) if settings.required => Err(error),
            // A writer that fails has said so.
            Err(AuditError::Nowhere) => {
                self.warn(format!("calls are not recorded: {}", AuditError::Nowhere));
                Ok(None)
            }
            Err(_) => Ok(None),
        }
    }

    /// Returns true if the settings wanted a log the last time that they could be read.
    pub fn is_wanted(&self) -> bool {
        lock(&self.settings).is_some()
    }

    /// Takes the pending notice about lines that were lost.
    pub(super) fn take_notice(&self) -> Option<String> {
        lock(&self.notice).take()
    }

    /// Returns what the settings say about the log; `None` if they want none.
    fn settings(&self, file: &SettingsFile) -> Option<AuditSettings> {
        // While the file cannot be used, nothing is done on any host. What is tried is recorded as
        // before.
        let current = file.current();
        let mut last = lock(&self.settings);
        if let Ok(settings) = current {
            *last = settings.and_then(|settings| settings.audit().cloned());
        }

        last.clone()
    }

    fn begin_with(
        self: &Arc<Self>,
        settings: &AuditSettings,
        asked: AskedCall,
    ) -> Result<RecordedCall, AuditError> {
        let began = Instant::now();
        let plan = AuditPlan {
            file: audit_file(settings)?,
            required: settings.required,
            head: settings.head,
        };

        let tool = asked.tool.clone();
        let call = random::hex::<8>()
            .map_err(|error| AuditError::Write(plan.file.path().to_owned(), error))?;

        let line = Event::Begin(BeginRecord {
            call: call.clone(),
            client: asked.client,
            conversation: asked.conversation,
            tool: asked.tool,
            arguments: asked.arguments,
        });

        self.write(&plan, line)?;

        Ok(RecordedCall {
            log: Arc::clone(self),
            plan,
            call,
            tool,
            began,
            audit: AuditCall::recorded(),
        })
    }

    fn write(&self, plan: &AuditPlan, event: Event) -> Result<(), AuditError> {
        let mut writing = lock(&self.writing);

        match plan.file.append(writing.lost, event) {
            Ok(tail) => {
                writing.lost = 0;
                let sent = head::send(plan.head, plan.file.path(), &tail);
                if let Err(error) = &sent
                    && !writing.head_fails
                {
                    let log = plan.head.as_str();
                    self.warn(format!(
                        "{log} does not take the head of the audit log: {error}"
                    ));
                }
                writing.head_fails = sent.is_err();
                Ok(())
            }
            Err(error) => {
                // Once, not for each call until the disk has room again.
                if writing.lost == 0 {
                    self.warn(format!("calls are not recorded: {error}"));
                }
                writing.lost += 1;
                Err(error)
            }
        }
    }

    /// Keeps a notice for the user, and logs it.
    fn warn(&self, notice: String) {
        tracing::warn!("{notice}");
        *lock(&self.notice) = Some(notice);
    }
}

impl RecordedCall {
    /// Records the end of the call.
    ///
    /// # Errors
    /// The settings require the record, which could not be written.
    pub async fn end(self, ended: EndedCall) -> Result<(), AuditError> {
        let end = Event::End(EndRecord {
            call: self.call,
            tool: self.tool,
            outcome: ended.outcome,
            error: ended.error.map(str::to_owned),
            cancelled: ended.cancelled,
            ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            parts: with_commands(self.audit.parts(), ended.commands),
            files: ended.files,
            moved: ended.moved,
            bytes: ended.bytes,
        });

        let Self { log, plan, .. } = self;
        let (path, required) = (plan.file.path().to_owned(), plan.required);

        let written = spawn_blocking(move || log.write(&plan, end)).await;
        let written =
            written.unwrap_or_else(|error| Err(AuditError::Write(path, io::Error::other(error))));

        if required { written } else { Ok(()) }
    }
}

/// Adds the commands to the parts of their sessions.
fn with_commands(
    mut parts: Vec<PartRecord>,
    commands: Vec<(String, Option<CommandRecord>)>,
) -> Vec<PartRecord> {
    for (session, command) in commands {
        let session = Some(without_password(&session));
        let known = parts.iter().position(|part| part.session == session);

        let mut part = known.map_or_else(
            || PartRecord {
                session: session.clone(),
                ..PartRecord::default()
            },
            |place| parts.remove(place),
        );

        part.failed = command.is_none();
        part.command = command;
        parts.push(part);
    }

    parts
}
