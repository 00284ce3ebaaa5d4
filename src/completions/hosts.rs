//! The hosts that a user can name: saved sessions and the hosts of the SSH configuration.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use super::Completion;
use crate::{local::home::home, session::store::Store, ssh::config::named_hosts::named_hosts};

/// Returns the saved sessions and the hosts of the SSH configuration. If `word` begins with a user,
/// as in `root@`, returns the hosts with this user.
///
/// `config` is the file of `ssh -F`. A store that cannot be read has no sessions. Names that begin
/// with `-` are left out, since they would be read as options.
pub(super) fn hosts(word: &str, config: Option<&Path>, store: Option<PathBuf>) -> Vec<Completion> {
    let user = user_of(word);
    let config = config.map(with_home);
    let store = store.map(|store| with_home(&store));

    let saved = Store::new(store).peek().unwrap_or_default().sessions;
    let sessions = saved.into_iter().map(|session| {
        let description = if session.name.as_str() == session.host {
            "session".to_owned()
        } else {
            format!("session of {}", session.host)
        };
        Completion::new(session.name.as_str(), description)
    });

    let named = named_hosts(config.as_deref()).into_iter().map(|host| {
        let name = format!("{user}{}", host.name);
        Completion::new(name, host.purpose.unwrap_or_default())
    });

    let mut seen = HashSet::new();
    sessions
        .chain(named)
        .filter(|host| !host.value.starts_with('-') && seen.insert(host.value.clone()))
        .collect()
}

/// Returns the user in front of a host, with the `@`; empty without one. A user that a shell would
/// have to quote is none.
fn user_of(word: &str) -> &str {
    let end = word.find('@').map_or(0, |at| at + 1);
    let user = word.get(..end).unwrap_or_default();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-@".contains(letter);

    if user.chars().all(is_plain) { user } else { "" }
}

/// Replaces `~` at the beginning of a path. A shell replaces it only when the command is run.
fn with_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), home()) {
        (Ok(below), Some(home)) => home.join(below),
        _ => path.to_owned(),
    }
}
