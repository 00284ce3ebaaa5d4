//! Takes a change back.

use super::{
    error::SetupError,
    files::{self, digest},
    footprint,
    journal::{ConfigPart, RecordedChange},
};
use crate::client_config::{
    ClientConfigError,
    client::Client,
    hook,
    launch::Launch,
    servers::{self, Presence},
    splice::Splice,
};

/// What is left to do with the file of a change.
enum Rest {
    /// The content before the change.
    Before(Option<String>),
    /// The content of today without our entry. The flag is true if the file was made for it and has
    /// nothing else.
    Without(String, bool),
    /// Nothing: our entry is not there.
    Nothing,
}

/// Takes a change back, and returns what was done, as a sentence.
///
/// A file that nobody has changed since becomes byte for byte what it was. From any other, only the
/// entry is removed.
///
/// # Errors
/// The file cannot be read or changed. It is then as it was.
pub(super) fn undo(change: &RecordedChange) -> Result<String, SetupError> {
    let file = change.file.display();
    let today = files::read(&change.file)?;
    let rest = rest(change, today.as_deref()).map_err(SetupError::config(&change.file))?;

    let done = match (rest, today) {
        (Rest::Before(Some(before)), Some(today)) => {
            files::replace(&change.file, Some(&today), &before)?;
            format!("{file} is as it was before, byte for byte")
        }
        (Rest::Before(None) | Rest::Without(_, true), Some(today)) => {
            files::remove(&change.file, &today)?;
            format!("{file} is removed, as it was not there before")
        }
        (Rest::Without(without, false), Some(today)) => {
            files::replace(&change.file, Some(&today), &without)?;
            format!(
                "{file} was changed since, so only our entry {} was taken out",
                change.name
            )
        }
        _ => format!("{file} has no entry of ours any more and is left as it is"),
    };

    footprint::remove(&change.made_files, change.made_client_folder.as_deref());
    files::remove_empty(&change.made_folders);
    Ok(done)
}

/// Finds out what to do.
fn rest(change: &RecordedChange, today: Option<&str>) -> Result<Rest, ClientConfigError> {
    let Some(text) = today else {
        return Ok(Rest::Nothing);
    };

    let today = digest(text);
    if change.before.as_ref() == Some(&today) {
        return Ok(Rest::Nothing);
    }

    if today == change.after
        && let Some(before) = change.splice().revert(text)
    {
        let is_right = change
            .before
            .as_ref()
            .is_none_or(|wanted| *wanted == digest(&before));
        if is_right {
            return Ok(Rest::Before(change.before.is_some().then_some(before)));
        }
    }

    let Some(client) = Client::from_id(&change.client) else {
        return Ok(Rest::Nothing);
    };
    if let Some(without) = without_new_part(client, change, text) {
        return Ok(Rest::Without(without, false));
    }

    let without = match change.part {
        ConfigPart::Server => without_server(client, change, text)?,
        ConfigPart::Hook => Some(hook::remove(client, text, &change.made_tables)?),
    };

    Ok(match without {
        Some(without) if without != text => {
            let is_empty = change.before.is_none() && servers::is_blank(&without);
            Rest::Without(without, is_empty)
        }
        _ => Rest::Nothing,
    })
}

/// Returns the text with the part before the change in place of the new one. Everything else that
/// was edited since stays byte for byte.
///
/// `None`: the new part is not there exactly once, or the entry would not be as it was before.
fn without_new_part(client: Client, change: &RecordedChange, text: &str) -> Option<String> {
    let Splice { old, new, .. } = change.splice();
    change.before.as_ref()?;
    let (before, after) = text.split_once(new.as_str()).filter(|_| !new.is_empty())?;
    if after.contains(new.as_str()) {
        return None;
    }

    let without = format!("{before}{old}{after}");
    let is_right = match change.part {
        ConfigPart::Hook => hook::find(client, &without) == Ok(None),
        ConfigPart::Server => match servers::presence(client, &without).ok()? {
            Presence::Ours { name, launch } if name == change.name => {
                change.previous.as_ref().map(Launch::from) == Some(launch)
            }
            _ => change.previous.is_none(),
        },
    };
    is_right.then_some(without)
}

/// Returns the text without our server, or with its command before. `None`: the entry is not there,
/// or belongs to another server by now.
fn without_server(
    client: Client,
    change: &RecordedChange,
    text: &str,
) -> Result<Option<String>, ClientConfigError> {
    let Presence::Ours { name, .. } = servers::presence(client, text)? else {
        return Ok(None);
    };
    if name != change.name {
        return Ok(None);
    }

    match &change.previous {
        Some(previous) => servers::set_launch(client, text, &name, &Launch::from(previous)),
        None => servers::remove(client, text, &name, &change.made_tables),
    }
    .map(Some)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    /// A file of Cursor's with this content, and the change that has added our server.
    fn changed(before: Option<&str>) -> (tempfile::TempDir, PathBuf, RecordedChange) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mcp.json");
        let text = before.unwrap_or_default();
        let launch = Launch::new("npx", ["-y", "mcp-ssh-sessions"]);
        let after = servers::add(Client::Cursor, text, &launch).unwrap();
        fs::write(&file, &after).unwrap();

        let mut change = RecordedChange::new("cursor", ConfigPart::Server, &file, before, &after);
        "ssh".clone_into(&mut change.name);
        change.made_tables = servers::missing_tables(Client::Cursor, text);
        (folder, file, change)
    }

    #[test]
    fn a_file_that_nobody_has_changed_is_as_it_was() {
        for before in [
            "",
            "{}",
            "{ }\r\n",
            "\u{feff}{\n\t\"mcpServers\": {\n\t}\n}",
            "{\"mcpServers\": {\"x\": {\"command\": \"y\"}}} // end",
        ] {
            let (_folder, file, change) = changed(Some(before));
            let done = undo(&change).unwrap();
            assert!(done.ends_with("byte for byte"), "{done}");
            assert_eq!(fs::read_to_string(&file).unwrap(), before);
            assert!(undo(&change).unwrap().ends_with("left as it is"));
        }
    }

    #[test]
    fn a_file_that_was_made_goes() {
        let (_folder, file, change) = changed(None);
        undo(&change).unwrap();
        assert!(!file.exists());
    }

    #[test]
    fn of_an_edited_file_only_our_entry_goes() {
        let (_folder, file, change) = changed(Some("{\n  \"a\": 1\n}\n"));
        let text = fs::read_to_string(&file).unwrap();
        let edited = text.replace("\"a\": 1,", "\"a\": 2, // mine\n\n  \"b\": [ ],");
        fs::write(&file, edited).unwrap();

        let done = undo(&change).unwrap();
        assert!(done.contains("was changed since"), "{done}");
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            "{\n  \"a\": 2, // mine\n\n  \"b\": [ ]\n}\n"
        );
    }

    #[test]
    fn an_edit_elsewhere_keeps_all_other_bytes() {
        for before in [
            "{\"a\": 1}",
            "{\n  \"a\": 1,\n  \"mcpServers\": {\n  }\n}",
            "{ \"a\": 1, \"mcpServers\": { } }",
            "{\r\n\t\"a\": 1, // \r\n\t\"mcpServers\": {\"x\": {},},\r\n}",
        ] {
            let (_folder, file, change) = changed(Some(before));
            let edit = |text: &str| text.replace("\"a\": 1", "\"a\": [2, 3]");
            let edited = edit(&fs::read_to_string(&file).unwrap());
            fs::write(&file, edited).unwrap();

            undo(&change).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), edit(before));
        }
    }

    #[test]
    fn an_entry_of_others_under_our_name_stays() {
        let (_folder, file, change) = changed(Some("{}"));
        let theirs = "{\"mcpServers\": {\"ssh\": {\"command\": \"theirs\"}}}";
        fs::write(&file, theirs).unwrap();

        undo(&change).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), theirs);
    }

    #[test]
    fn a_file_that_is_broken_by_now_is_left() {
        let (_folder, file, change) = changed(Some("{}"));
        fs::write(&file, "{").unwrap();
        assert!(undo(&change).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "{");
    }
}
