//! Changes to `known_hosts` by `UpdateHostKeys`, from the keys that a server announces
//! (`hostkeys-00@openssh.com`, OpenSSH's `PROTOCOL`, section 2.5).

use super::{
    host_key::HostKey,
    host_pattern::{HostName, stands_for},
    line::{Marker, fields, read_key},
    verdict::KnownHostsFile,
};

/// Planned change of the user's files. The caller carries the plan out after the server has proved
/// possession of the new keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUpdate {
    /// Keys to append to the first file.
    pub new: Vec<HostKey>,
    announced: Vec<HostKey>,
}

/// Plans the change of the user's files to the keys announced by a host. Returns `None` if nothing
/// changes, and in all cases in which `ssh` leaves the files alone. These are: the host occurs in a
/// pattern, in a list of more than two names or on a marked line; a key is also listed under
/// another name; a key is announced twice; or no key is announced.
#[must_use]
pub fn plan_update(
    files: &[KnownHostsFile<'_>],
    host: &HostName,
    announced: &[HostKey],
) -> Option<KeyUpdate> {
    let (mut known, mut obsolete, mut elsewhere) = (Vec::new(), Vec::new(), Vec::new());

    // A line written by hand must stay as its author wants it, so a single one ends the plan.
    for (marker, hosts, key) in files
        .iter()
        .flat_map(|file| file.text.split(|byte| *byte == b'\n'))
        .filter_map(entry)
    {
        if !stands_for(hosts, host.as_str()) {
            elsewhere.push(key);
        } else if marker != Marker::Plain || is_complex(hosts) {
            return None;
        } else if announced.contains(&key) {
            known.push(key);
        } else {
            obsolete.push(key);
        }
    }

    // `ssh` drops an announcement which repeats a key, so no part of the list may be used.
    let twice = announced
        .iter()
        .enumerate()
        .any(|(at, key)| announced.iter().skip(at + 1).any(|other| other == key));

    // A key under several names may serve several hosts. Changing only one of them would leave the
    // others with a key that is out of date.
    let shared = elsewhere
        .iter()
        .any(|key| announced.contains(key) || obsolete.contains(key));

    let new: Vec<HostKey> = announced
        .iter()
        .filter(|key| !known.contains(key))
        .cloned()
        .collect();

    let changes = !new.is_empty() || !obsolete.is_empty();

    (changes && !twice && !shared && !announced.is_empty()).then(|| KeyUpdate {
        new,
        announced: announced.to_vec(),
    })
}

impl KeyUpdate {
    /// Returns the new keys which a file does not list for the host. Another process may have added
    /// keys since the plan was made.
    #[must_use]
    pub fn missing_from(&self, text: &[u8], host: &HostName) -> Vec<&HostKey> {
        let listed = |key: &HostKey| {
            text.split(|byte| *byte == b'\n')
                .filter_map(entry)
                .any(|(_, hosts, listed)| listed == *key && stands_for(hosts, host.as_str()))
        };
        self.new.iter().filter(|key| !listed(key)).collect()
    }

    /// Returns the text of a file without the host's keys which were not announced, or `None` if
    /// nothing is removed. The caller appends the new keys to the first file.
    #[must_use]
    pub fn without_obsolete(&self, text: &[u8], host: &HostName) -> Option<Vec<u8>> {
        // Marked lines are the user's own rules, which no announcement may remove.
        let obsolete = |line: &&[u8]| {
            entry(line).is_some_and(|(marker, hosts, key)| {
                marker == Marker::Plain
                    && stands_for(hosts, host.as_str())
                    && !self.announced.contains(&key)
            })
        };

        // Lines keep their ends, so that all other lines stay exactly as they are.
        let lines = || text.split_inclusive(|byte| *byte == b'\n');
        lines().any(|line| obsolete(&line)).then(|| {
            lines()
                .filter(|line| !obsolete(line))
                .flatten()
                .copied()
                .collect()
        })
    }
}

/// Parses a line into the marker, the host field and the key.
fn entry(line: &[u8]) -> Option<(Marker, &[u8], HostKey)> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let (marker, hosts, rest) = fields(line)?;
    read_key(rest).map(|(key, _)| (marker, hosts, key))
}

/// Returns true for a host field which `ssh` itself would not have written.
fn is_complex(hosts: &[u8]) -> bool {
    hosts.iter().any(|byte| matches!(byte, b'*' | b'?'))
        || hosts.split(|byte| *byte == b',').count() > 2
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::openssh::known_hosts::certificate::tests::ed25519;

    fn line(hosts: &str, byte: u8) -> String {
        format!(
            "{hosts} ssh-ed25519 {}\n",
            STANDARD.encode(ed25519(byte).blob())
        )
    }

    fn host() -> HostName {
        HostName::new("h.ex", 22)
    }

    fn plan(files: &[&str], announced: &[u8]) -> Option<KeyUpdate> {
        let files: Vec<_> = files
            .iter()
            .map(|text| KnownHostsFile {
                path: "kh",
                text: text.as_bytes(),
            })
            .collect();

        plan_update(
            &files,
            &host(),
            &announced
                .iter()
                .map(|byte| ed25519(*byte))
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn new_keys_are_added_and_keys_that_are_gone_are_removed() {
        let text = line("h.ex", 1)
            + "# kept\n"
            + &line("x", 9)
            + &line("h.ex,10.0.0.1", 2)
            + "broken\n"
            + &line("h.ex", 3);

        let update = plan(&[&text], &[1, 3, 4]).unwrap();
        assert_eq!(update.new, [ed25519(4)]);
        let left = update.without_obsolete(text.as_bytes(), &host()).unwrap();
        assert_eq!(
            String::from_utf8(left).unwrap(),
            line("h.ex", 1) + "# kept\n" + &line("x", 9) + "broken\n" + &line("h.ex", 3)
        );

        let update = plan(&[&text], &[1, 2, 3, 4]).unwrap();

        assert_eq!(
            (
                update.new.as_slice(),
                update.without_obsolete(text.as_bytes(), &host())
            ),
            (&[ed25519(4)][..], None)
        );

        assert_eq!(update.missing_from(text.as_bytes(), &host()), [&ed25519(4)]);
        assert!(
            update
                .missing_from((text.clone() + &line("h.ex", 4)).as_bytes(), &host())
                .is_empty()
        );

        assert_eq!(plan(&[&text], &[1, 3]).unwrap().new, []);
    }

    #[test]
    fn files_that_ssh_would_leave_alone_are_left_alone() {
        for (files, announced) in [
            (vec![line("h.ex", 1)], vec![1]),
            (vec![line("h.ex", 1), line("h.ex", 2)], vec![1, 2]),
            (vec![line("h.ex", 1) + &line("*.ex", 1)], vec![1, 2]),
            (vec![line("h.ex,a,b", 1)], vec![1, 2]),
            (vec![line("h.ex", 1), line("@revoked h.ex", 3)], vec![1, 2]),
            (
                vec![line("h.ex", 1) + &line("@cert-authority h.ex", 3)],
                vec![1, 2],
            ),
            (vec![line("h.ex", 1) + &line("other", 2)], vec![1, 2]),
            (vec![line("h.ex", 1) + &line("other", 1)], vec![1, 2]),
            (
                vec![line("h.ex", 1) + &line("h.ex", 3) + &line("other", 3)],
                vec![1],
            ),
            (vec![line("h.ex", 1)], vec![1, 2, 2]),
            (vec![line("h.ex", 1)], vec![]),
        ] {
            let files: Vec<&str> = files.iter().map(String::as_str).collect();
            assert_eq!(plan(&files, &announced), None, "{files:?}");
        }

        assert!(plan(&[&line("h.ex,b", 1), &line("@revoked x", 5)], &[1, 2]).is_some());
    }
}
