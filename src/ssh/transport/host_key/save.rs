//! Saves accepted host keys in the user's `known_hosts` file.

use std::io;

use super::{AcceptedHostKey, HostKeyCheck, decision::Acceptance, locked_file::append};
use crate::{
    openssh::known_hosts::{HostKey, HostName, fingerprint, render_line},
    random,
};

impl HostKeyCheck {
    /// Carries an acceptance out: saves the key if it is new, and reports the result in the notice.
    /// As in OpenSSH, a failed write does not end the connection.
    pub(in crate::ssh) fn accept(&self, acceptance: Acceptance) -> AcceptedHostKey {
        let Acceptance {
            key,
            because,
            save_as,
            warning,
            no_passwords,
            may_update,
        } = acceptance;

        let saved = self.save(&save_as, &key);
        let notices: Vec<String> = saved.into_iter().chain(warning).collect();

        AcceptedHostKey {
            key_type: key.key_type().to_owned(),
            fingerprint: fingerprint(key.blob()),
            because,
            no_passwords,
            notice: (!notices.is_empty()).then(|| notices.join("; ")),
            may_update,
        }
    }

    /// Appends the key to the user's first file under these names, and returns a sentence about the
    /// result; `None` without names.
    pub(super) fn save(&self, names: &[HostName], key: &HostKey) -> Option<String> {
        let (name, fingerprint) = (names.first()?.as_str(), fingerprint(key.blob()));
        let new = format!("the host key {fingerprint} of {name} was new and has been accepted");
        let Some(path) = self.user_files.first() else {
            return Some(format!("{new}; there is no file to save it in"));
        };

        if self.keeps_nothing {
            return Some(format!(
                "the host key {fingerprint} of {name} is new and would be accepted and saved in {path}"
            ));
        }

        let saved = self
            .lines(names, key)
            .and_then(|lines| append(path, &lines));

        Some(match saved {
            Ok(()) => format!("{new} and saved in {path}"),
            Err(error) => format!("{new}, but {path} could not be written: {error}"),
        })
    }

    /// Returns the lines for a key with these names.
    fn lines(&self, names: &[HostName], key: &HostKey) -> io::Result<String> {
        let lines = names
            .iter()
            .map(|name| self.line(name, key))
            .collect::<io::Result<Vec<_>>>()?;

        // A hashed line holds a single name, so each name needs a line of its own
        // (`HashKnownHosts`). Otherwise the last line gets the names of the others.
        if self.hash_names {
            return Ok(lines.concat());
        }

        let (last, others) = lines.split_last().ok_or(io::ErrorKind::InvalidInput)?;
        let mut line = String::new();
        for other in others {
            line.extend(other.split(' ').next());
            line.push(',');
        }

        Ok(line + last)
    }

    /// Returns the line for a key, including the line feed. With `HashKnownHosts` the name is
    /// hashed with a new salt.
    pub(super) fn line(&self, host: &HostName, key: &HostKey) -> io::Result<String> {
        let salt = if self.hash_names {
            Some(random::bytes()?)
        } else {
            None
        };

        let line = render_line(host, salt, key).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(line + "\n")
    }
}
