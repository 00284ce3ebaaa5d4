//! Makes a change, and records it.

use std::{fs, path::Path, process::Stdio, time::Duration};

use super::{
    error::SetupError,
    files,
    footprint::Footprint,
    journal::{ConfigPart, Journal, RecordedChange},
    machine::UserMachine,
    plan::{SetupAction, SetupStep},
};
use crate::{
    child,
    client_config::{
        client::Client,
        hook,
        launch::{Launch, SERVER_NAME},
        servers::{self, Presence},
    },
};

/// Time that a client's own command may take. Some start slowly on a busy machine.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// Makes the change of this step, and returns what was done, as a sentence.
///
/// # Errors
/// The file cannot be changed. It is then as it was.
pub(super) async fn apply(
    machine: &UserMachine,
    step: &SetupStep,
    journal: &mut Journal,
) -> Result<String, SetupError> {
    match &step.action {
        SetupAction::Keep(why) | SetupAction::Refuse(why) => Ok(why.clone()),
        SetupAction::Write {
            after,
            previous,
            name,
        } => write(step, after, previous.as_ref(), name, journal),
        SetupAction::Run {
            program,
            arguments,
            launch,
        } => {
            let problem = run(machine, step, (program, arguments, launch), journal).await?;
            match problem {
                None => Ok(format!("added to {}", step.file.display())),
                Some(problem) => {
                    let done = write_instead(step, launch, journal)?;
                    Ok(format!(
                        "its own command did not add it ({problem}); {done}"
                    ))
                }
            }
        }
    }
}

/// Replaces the file.
fn write(
    step: &SetupStep,
    after: &str,
    previous: Option<&Launch>,
    name: &str,
    journal: &mut Journal,
) -> Result<String, SetupError> {
    let before = step.before.as_deref();
    let text = before.unwrap_or_default();
    let mut change = RecordedChange::new(step.client.id(), step.part, &step.file, before, after);
    name.clone_into(&mut change.name);
    change.previous = previous.cloned().map(Into::into);
    change.made_tables = match step.part {
        ConfigPart::Server => servers::missing_tables(step.client, text),
        ConfigPart::Hook => hook::missing_tables(step.client, text),
    };

    // Recorded first: a change without a record could not be taken back.
    journal.add(change.clone())?;
    match files::replace(&step.file, before, after) {
        Ok(folders) => {
            change.made_folders = folders;
            journal.set_last(Some(change))?;
        }
        Err(error) => {
            journal.set_last(None)?;
            return Err(error);
        }
    }

    let file = step.file.display();
    Ok(match (step.part, previous) {
        (ConfigPart::Server, None) => format!("added to {file}"),
        (ConfigPart::Server, Some(_)) => format!("updated in {file}"),
        // Codex skips a new hook until its user has looked at it.
        (ConfigPart::Hook, _) if step.client == Client::Codex => {
            format!("hook added to {file}; allow it in Codex with /hooks")
        }
        (ConfigPart::Hook, _) => format!("hook added to {file}"),
    })
}

/// Changes the file after the client's own command has failed.
fn write_instead(
    step: &SetupStep,
    launch: &Launch,
    journal: &mut Journal,
) -> Result<String, SetupError> {
    let before = files::read(&step.file)?;
    let text = before.as_deref().unwrap_or_default();
    let after = servers::add(step.client, text, launch).map_err(SetupError::config(&step.file))?;
    let step = SetupStep {
        client: step.client,
        part: step.part,
        file: step.file.clone(),
        before,
        action: SetupAction::Keep(String::new()),
    };

    write(&step, &after, None, SERVER_NAME, journal)
}

/// Runs the client's own command, and records what it changed. Returns why the server is not there
/// afterwards, if it is not.
async fn run(
    machine: &UserMachine,
    step: &SetupStep,
    (program, arguments, launch): (&Path, &[String], &Launch),
    journal: &mut Journal,
) -> Result<Option<String>, SetupError> {
    let old = files::changeable(&step.file)?;
    if files::read(&step.file)? != step.before {
        return Err(SetupError::ChangedMeanwhile(step.file.clone()));
    }

    // Recorded first, as a change of nothing: if this process is stopped while the command runs, the
    // undo takes our entry out.
    let before = step.before.as_deref();
    let text = before.unwrap_or_default();
    let describe = |after: &str| {
        let mut change =
            RecordedChange::new(step.client.id(), step.part, &step.file, before, after);
        SERVER_NAME.clone_into(&mut change.name);
        change.made_tables = servers::missing_tables(step.client, text);
        change
    };
    journal.add(describe(text))?;

    let footprint = Footprint::before(step.client, machine.folders.folder(step.client));
    let problem = output_of(program, arguments, &machine.folders.home).await;

    // Some clients write a new file, which has the usual permissions.
    if let Some(old) = old {
        fs::set_permissions(&step.file, old.permissions())
            .map_err(SetupError::file("write", &step.file))?;
    }

    let mut after = files::read(&step.file)?.unwrap_or_default();
    if let Some(own) = with_user_format(step, &after, launch) {
        files::replace(&step.file, Some(&after), &own)?;
        after = own;
    }

    // Only the file counts: a command may fail after the change, or change another file.
    let is_there = is_ours(step.client, &after);
    let (made_files, made_client_folder) = footprint.after(&step.file);
    let is_changed = after != text || !made_files.is_empty() || made_client_folder.is_some();
    let change = is_changed.then(|| RecordedChange {
        made_files,
        made_client_folder,
        ..describe(&after)
    });
    journal.set_last(change)?;

    Ok(if is_there {
        None
    } else {
        Some(problem.unwrap_or_else(|| format!("{} has no new entry", step.file.display())))
    })
}

/// Returns the user's own text with our entry, if the client's command has changed more than that.
///
/// Codex writes other line ends, and Gemini CLI drops the one at the end. Claude Code writes its
/// whole file anew at each start, so nothing would be kept there.
fn with_user_format(step: &SetupStep, after: &str, launch: &Launch) -> Option<String> {
    let before = step.before.as_deref()?;
    if step.client == Client::ClaudeCode || !is_ours(step.client, after) {
        return None;
    }

    let made = servers::missing_tables(step.client, before);
    let rest = servers::remove(step.client, after, SERVER_NAME, &made);
    if rest.as_deref() == Ok(before) {
        return None;
    }

    servers::add(step.client, before, launch).ok()
}

/// Returns true if the configuration has our server.
fn is_ours(client: Client, text: &str) -> bool {
    matches!(servers::presence(client, text), Ok(Presence::Ours { .. }))
}

/// Runs a program without input in this folder, and returns why it failed, if it did.
async fn output_of(program: &Path, arguments: &[String], folder: &Path) -> Option<String> {
    let running = child::command(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();

    match tokio::time::timeout(COMMAND_LIMIT, running).await {
        Err(_) => Some("it did not end within a minute".to_owned()),
        Ok(Err(error)) => Some(error.to_string()),
        Ok(Ok(ended)) if ended.status.success() => None,
        Ok(Ok(ended)) => {
            let words = String::from_utf8_lossy(&ended.stderr);
            let last = words.lines().rfind(|line| !line.trim().is_empty());
            Some(last.map_or_else(|| ended.status.to_string(), |line| line.trim().to_owned()))
        }
    }
}
