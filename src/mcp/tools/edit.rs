//! The tool `ssh_edit`.

use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Effect, session};
use crate::{
    foreign_text::{ForeignText, escape_line},
    mcp::call::{Call, hints, tool_error::ToolError},
    session::{
        error::SessionError,
        live::{EditedFile, FinishedEdit},
        work::Edit,
    },
    ssh::transfer::{
        EditAction, EditError, FileChange, InPlaceReason, Patch, ReplaceError, TransferError,
    },
};

pub(super) const NAME: &str = "ssh_edit";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct EditParams {
    path: Option<String>,
    /// Exact, found once; with newText
    old_text: Option<String>,
    new_text: Option<String>,
    #[serde(default)]
    replace_all: bool,
    /// The whole file instead; creates it
    content: Option<String>,
    /// Or: *** Begin Patch … of several files
    patch: Option<String>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    sudo: bool,
    session: Option<String>,
}

/// What was edited, as programs read it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EditResult {
    files: Vec<EditedFileResult>,
    dry_run: bool,
}

/// File that was edited.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EditedFileResult {
    path: ForeignText,
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    renamed_from: Option<ForeignText>,
    added_lines: usize,
    removed_lines: usize,
    in_place: bool,
    changed_by_others: bool,
}

pub(super) fn tool() -> Tool {
    let tool = super::describe::<EditParams>(
        NAME,
        "Edit or write a text file on the remote server, whole or not at all; mode, owner, link and line ends stay. Answers with the diff.",
        Effect::Destructive,
    );
    super::found_by(tool, "edit write file remote")
}

/// Edits files on the remote host.
///
/// # Errors
/// The arguments are wrong, or the edit was not made.
pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let params: EditParams = super::arguments(NAME, &mut call)?;
    let name = params.session.clone();
    let (dry_run, sudo, patch) = (params.dry_run, params.sudo, params.patch.clone());
    let work = Edit {
        action: params.into_action()?,
        dry_run,
        sudo,
        patch,
    };

    let (opened, permit) = call
        .registry
        .open(name.as_deref(), work, &call.caller)
        .await?;
    let edit = opened
        .session
        .edit_files(&permit, &call.caller)
        .await
        .map_err(|error| explained(&error))?;

    if !dry_run {
        for file in &edit.files {
            let edited = file.prepared.change.path();
            call.registry.edits.record(
                opened.session.saved.name.as_str(),
                edited,
                &file.prepared.diff,
            );
        }
    }

    result(&edit, dry_run, session::remarks(&call, &opened))
}

impl EditParams {
    /// Converts the parameters to an action.
    ///
    /// # Errors
    /// Parameters are missing, or contradict each other.
    fn into_action(mut self) -> Result<EditAction, ToolError> {
        // Some clients send empty text for what they do not use.
        let is_text = self.old_text.is_some() || self.new_text.is_some();
        self.content
            .take_if(|content| content.is_empty() && (is_text || self.patch.is_some()));
        if self.old_text.is_none() && (self.content.is_some() || self.patch.is_some()) {
            self.new_text.take_if(|text| text.is_empty());
        }

        let ways = [
            self.old_text.is_some() || self.new_text.is_some(),
            self.content.is_some(),
            self.patch.is_some(),
        ];
        if ways.into_iter().filter(|is_given| *is_given).count() != 1 {
            return Err(ToolError::new(
                format!("{NAME}: the change is not clear"),
                "give oldText and newText, or content, or patch",
            ));
        }

        if let Some(patch) = self.patch {
            // The patch names its files, so another path leaves open which is meant.
            if self.path.is_some() || self.replace_all {
                return Err(ToolError::new(
                    format!("{NAME}: a patch names its files itself"),
                    "leave out path and replaceAll",
                ));
            }
            let patch = Patch::parse(patch.as_bytes()).map_err(|error| {
                ToolError::new(
                    format!("{NAME}: {error}"),
                    "begin with *** Begin Patch and end with *** End Patch; sections are *** Update File:, *** Add File: \
                     and *** Delete File:",
                )
            })?;
            return Ok(EditAction::Patch(patch));
        }

        let Some(path) = self.path else {
            return Err(ToolError::new(
                format!("{NAME}: path is missing"),
                "give the path of the file",
            ));
        };
        let path = path.into_bytes();
        if let Some(content) = self.content {
            return Ok(EditAction::Content {
                path,
                content: content.into_bytes(),
            });
        }

        let (Some(old), Some(new)) = (self.old_text, self.new_text) else {
            return Err(ToolError::new(
                format!("{NAME}: oldText and newText belong together"),
                "give both; an empty newText deletes oldText",
            ));
        };

        Ok(EditAction::Replace {
            path,
            old: old.into_bytes(),
            new: new.into_bytes(),
            all: self.replace_all,
        })
    }
}

/// Returns the error with the lines that show where an edit does not fit, and the next step.
fn explained(error: &SessionError) -> ToolError {
    let SessionError::Transfer {
        source,
        runs_commands,
        ..
    } = error
    else {
        return ToolError::from(error);
    };
    let TransferError::Edit(cause) = &**source else {
        let mut explained = ToolError::from(error);
        if let Some(hint) = hint_of_transfer(source, *runs_commands) {
            hint.clone_into(&mut explained.hint);
        }
        return explained;
    };

    let text = error.to_string();
    let mut lines = text.lines();
    let message = lines.next().unwrap_or_default();

    ToolError::new(message, hint(cause, *runs_commands)).with_details(lines)
}

/// Returns the next step after an edit that was not made.
fn hint(error: &EditError, runs_commands: bool) -> &'static str {
    match error {
        EditError::NotAFile { .. } => "name a regular file",
        EditError::BrokenLink { .. } => {
            "edit the target of the link, or remove the link with ssh_exec"
        }
        EditError::TooLong { .. } => {
            "use ssh_exec with sed -i, or ssh_download, change it, and ssh_upload"
        }
        EditError::Binary { .. } => "fetch it with ssh_download, change it, and ssh_upload it",
        EditError::Missing(_) => "list its directory with ssh_read, or give content to create it",
        EditError::NoDirectory(_) => {
            "create the directory with ssh_exec and mkdir -p, then call again"
        }
        EditError::Exists(_) => "choose another path, or change the existing file",
        EditError::Changed(_) => "call again when nothing else writes to the file",
        EditError::Busy { .. } => {
            "call again in a minute; if it stays so, compare the two files with ssh_exec and remove the temporary one"
        }
        EditError::NotRead(_) | EditError::ChangedSinceRead(_) => {
            "read it with ssh_read, then call again; or change a part of it with oldText and newText"
        }
        EditError::Partly { .. } => "make the rest with another patch",
        EditError::Replace { source, .. } => match source {
            ReplaceError::FoundSeveralTimes { .. } => {
                "add lines before or after to oldText and newText, or set replaceAll: true"
            }
            ReplaceError::EmptyOldText => "give the text to replace; content writes a whole file",
            ReplaceError::NothingChanges => "give the text to put there",
            ReplaceError::NotFound(_) => "copy oldText from ssh_read, without line numbers",
        },
        EditError::Patch(_) => "read the file with ssh_read, and make the patch fit it",
        EditError::Failed { message, .. }
            if message.to_lowercase().contains("permission denied") =>
        {
            hints::as_root(
                runs_commands,
                "call again with sudo: true, if root may change it",
            )
        }
        EditError::Failed { .. } => {
            "check permissions and free space on the remote host, then call again"
        }
        EditError::Incomplete { .. } => {
            "compare the two files with ssh_exec, and keep the right one"
        }
        EditError::Unsure { .. } => "read the file with ssh_read",
    }
}

/// Returns the next step after another error of the host, if it differs from that of a transfer.
fn hint_of_transfer(error: &TransferError, runs_commands: bool) -> Option<&'static str> {
    Some(match error {
        TransferError::Remote { message, .. } if message.contains("permission denied") => {
            hints::as_root(
                runs_commands,
                "call again with sudo: true, if root may read and change it",
            )
        }
        TransferError::Remote { .. } => "look at the path with ssh_read",
        TransferError::NotADirectory(_) => "choose another path",
        TransferError::Path(_) => "give the path of a file",
        TransferError::Ended { .. } => "read the file with ssh_read, then call again",
        _ => return None,
    })
}

/// Returns the answer: for each file the diff, and a line that says what was done. `remarks` end
/// the last line.
///
/// # Errors
/// The result cannot be written as JSON.
fn result(
    edit: &FinishedEdit,
    dry_run: bool,
    remarks: impl Iterator<Item = String>,
) -> Result<CallToolResult, ToolError> {
    let mut remarks: Vec<String> = edit
        .lenient
        .iter()
        .map(|hunk| format!("hunk at line {} matched {}", hunk.line, hunk.leniency))
        .chain(remarks)
        .collect();

    let last = edit.files.len().saturating_sub(1);
    let mut text = String::new();
    for (number, file) in edit.files.iter().enumerate() {
        let remarks = if number == last {
            std::mem::take(&mut remarks)
        } else {
            Vec::new()
        };
        let line = status_line(file, dry_run, remarks);

        if number > 0 {
            text.push('\n');
        }
        text.push_str(shown_diff(file));
        text.push_str(&line);
    }
    if edit.files.is_empty() {
        text.push_str("[nothing changes]");
    }

    let facts = EditResult {
        files: edit.files.iter().map(facts).collect(),
        dry_run,
    };
    session::text_and_facts(text, &facts)
}

/// Returns the diff where a reader needs it: a caller knows the content of a new file.
fn shown_diff(file: &EditedFile) -> &str {
    match file.prepared.change {
        FileChange::Create { .. } | FileChange::Delete { .. } => "",
        FileChange::Write { .. } | FileChange::Rename { .. } => &file.prepared.diff.text,
    }
}

/// Returns the line such as `[edited /etc/hosts · +1 −1]`.
fn status_line(file: &EditedFile, dry_run: bool, remarks: Vec<String>) -> String {
    let change = &file.prepared.change;
    let path = shown(change.path());
    let what = match change {
        change if change.changes_nothing() => format!("unchanged {path}"),
        FileChange::Create { .. } => format!("created {path}"),
        FileChange::Write { .. } => format!("edited {path}"),
        FileChange::Rename { old, .. } => format!("renamed {} to {path}", shown(&old.path)),
        FileChange::Delete { .. } => format!("deleted {path}"),
    };

    let mut parts = vec![what];
    let diff = &file.prepared.diff;
    if diff.added + diff.removed > 0 {
        parts.push(format!("+{} −{}", diff.added, diff.removed));
    }
    parts.extend(dry_run.then(|| "nothing written".to_owned()));
    if file.was_changed_by_others {
        parts.push("others changed it since you read it".to_owned());
    }
    parts.extend(file.written.in_place.map(|reason| {
        let why = in_place(reason);
        format!("written in place: {why}")
    }));
    if !file.written.not_kept.is_empty() {
        parts.push(format!("not kept: {}", file.written.not_kept.join(", ")));
    }
    if let Some(copy) = &file.written.left_copy {
        let copy = shown(copy);
        parts.push(format!(
            "its old content stays in {copy}: the server removes no files"
        ));
    }
    if !file.written.created_directories.is_empty() {
        let created = file.written.created_directories.iter();
        let created: Vec<String> = created.map(|directory| shown(directory)).collect();
        parts.push(format!("created the directories {}", created.join(", ")));
    }
    parts.extend(remarks);

    // Names come from the host and must not break the line.
    escape_line(format!("[{}]", parts.join(" · ")))
}

fn in_place(reason: InPlaceReason) -> &'static str {
    match reason {
        InPlaceReason::HardLinks => "it has several hard links",
        InPlaceReason::Attributes => "it has an ACL or extended attributes",
        InPlaceReason::Owner => "it belongs to another user or group",
        InPlaceReason::Unseen => "its ACL and attributes cannot be seen",
        InPlaceReason::Directory => "no file can be created in its directory",
        InPlaceReason::NoRename => "the server does not rename over files",
        InPlaceReason::NoRemove => "the server removes no files",
    }
}

fn shown(path: &[u8]) -> String {
    ForeignText::from(path)
        .cut(session::MAX_PATH_BYTES)
        .to_string()
}

fn facts(file: &EditedFile) -> EditedFileResult {
    let change = &file.prepared.change;
    let (name, from) = match change {
        FileChange::Create { .. } => ("created", None),
        FileChange::Write { .. } => ("edited", None),
        FileChange::Rename { old, .. } => ("renamed", Some(ForeignText::from(&old.path))),
        FileChange::Delete { .. } => ("deleted", None),
    };

    EditedFileResult {
        path: ForeignText::from(change.path()),
        change: name,
        renamed_from: from,
        added_lines: file.prepared.diff.added,
        removed_lines: file.prepared.diff.removed,
        in_place: file.written.in_place.is_some(),
        changed_by_others: file.was_changed_by_others,
    }
}
