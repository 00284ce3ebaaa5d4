//! Writes host keys to the user's `known_hosts` files.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::Path,
};

use super::HostKeyCheck;
use crate::{
    local::{Folder, LocalName},
    openssh::known_hosts::{HostKey, HostName, KeyUpdate, fingerprint, render_line},
    random,
};

impl HostKeyCheck {
    /// Appends the key to the user's first file, for a host and optionally an address. Returns a
    /// sentence about the result. As in OpenSSH, a failed write does not end the connection, but is
    /// reported.
    pub(super) fn save(
        &self,
        host: &HostName,
        address: Option<&HostName>,
        key: &HostKey,
    ) -> String {
        let (name, fingerprint) = (host.as_str(), fingerprint(key.blob()));
        let new = format!("the host key {fingerprint} of {name} was new and has been accepted");
        let Some(path) = self.user_files.first() else {
            return format!("{new}; there is no file to save it in");
        };

        if self.keeps_nothing {
            return format!(
                "the host key {fingerprint} of {name} is new and would be accepted and saved in {path}"
            );
        }

        match self
            .lines(host, address, key)
            .and_then(|lines| append(path, &lines))
        {
            Ok(()) => format!("{new} and saved in {path}"),
            Err(error) => format!("{new}, but {path} could not be written: {error}"),
        }
    }

    /// Changes a file according to `update`, which the server has proved, and keeps the old content
    /// as `FILE.old`. As in OpenSSH, new keys go to the first file only, and a missing file stays
    /// missing.
    ///
    /// # Errors
    /// The file cannot be locked, read or replaced.
    pub(super) fn rewrite(&self, path: &str, update: &KeyUpdate) -> io::Result<()> {
        let place = LocalName::resolve(Path::new(path))?;
        let (locked, before) = open_locked(&place, false)?;
        // The update was planned without the lock, so the changes are computed from the current
        // content.
        let shorter = update.without_obsolete(&before, &self.host);
        // On Unix files are compared by identity as well, since two paths may name the same file.
        let first = match self.user_files.first() {
            Some(first) if first == path => true,
            Some(first) if cfg!(unix) => is_at(&locked, &LocalName::resolve(Path::new(first))?)?,
            _ => false,
        };

        let new = if first {
            update.missing_from(&before, &self.host)
        } else {
            Vec::new()
        };

        if shorter.is_none() && new.is_empty() {
            return Ok(());
        }

        let mut text = shorter.unwrap_or(before);
        if !text.is_empty() && !text.ends_with(b"\n") {
            text.push(b'\n');
        }

        for key in new {
            text.extend_from_slice(self.line(&self.host, key)?.as_bytes());
        }

        // The new file gets a random name and then replaces the old file, so no reader sees half of
        // it.
        let (folder, old, new) = (
            &place.folder,
            place.beside("", ".old"),
            place.beside(".", &format!(".{}", random::hex::<8>()?)),
        );

        // A hard link fails if its name is taken, so an older `FILE.old` goes first.
        let _ = folder.remove(&old.name);
        folder.hard_link(&place.name, &old.name)?;
        let written = folder.create(&new.name)?.write_all(&text);

        if cfg!(windows) {
            // Windows does not replace a file which is open.
            drop(locked);
        }

        // A failed write must leave the old file in place, and no temporary file next to it.
        let replaced = written.and_then(|()| folder.rename(&new.name, &place.name));
        if replaced.is_err() {
            let _ = folder.remove(&new.name);
        }

        replaced
    }

    /// Returns the lines for a host and an optional address.
    fn lines(
        &self,
        host: &HostName,
        address: Option<&HostName>,
        key: &HostKey,
    ) -> io::Result<String> {
        let line = self.line(host, key)?;
        let Some(address) = address else {
            return Ok(line);
        };
        // A hashed line holds a single name, so the address needs a line of its own
        // (`HashKnownHosts`).
        let second = self.line(address, key)?;
        match line.split_once(' ') {
            Some((name, _)) if !self.hash_names => Ok(format!("{name},{second}")),
            _ => Ok(line + &second),
        }
    }

    /// Returns the line for a key, including the line feed. With `HashKnownHosts` the name is
    /// hashed with a new salt.
    fn line(&self, host: &HostName, key: &HostKey) -> io::Result<String> {
        let salt = if self.hash_names {
            Some(random::bytes()?)
        } else {
            None
        };

        let line = render_line(host, salt, key).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(line + "\n")
    }
}

/// Appends lines to a file. A missing file or directory is created.
fn append(path: &str, lines: &str) -> io::Result<()> {
    let path = Path::new(path);

    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        Folder::made(folder)?;
    }

    let (mut file, before) = open_locked(&LocalName::resolve(path)?, true)?;
    // A last line without its line feed would otherwise merge with the new line.
    let newline = if before.is_empty() || before.ends_with(b"\n") {
        ""
    } else {
        "\n"
    };

    file.write_all(format!("{newline}{lines}").as_bytes())
}

/// Opens a file for appending and locks it against other processes which do the same. Returns the
/// file and its content.
fn open_locked(place: &LocalName, create: bool) -> io::Result<(File, Vec<u8>)> {
    loop {
        let mut file = place.folder.open_to_append(&place.name, create)?;
        place.folder.trust_file(&file)?;
        file.lock()?;

        // Another process may have replaced the file during the wait for the lock. Then the lock is
        // on the old file, and the new file must be opened.
        if is_at(&file, place)? {
            // Read through the locked handle: on Windows the lock excludes all other handles, even
            // of this process.
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            return Ok((file, text));
        }
    }
}

/// Returns true if the open file is still the file at this place, and was not replaced by another.
#[cfg(unix)]
fn is_at(file: &File, place: &LocalName) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let open = file.metadata()?;
    let there = place.folder.identity(&place.name, false)?;
    Ok(there == Some((open.dev(), open.ino())))
}

/// Returns true: on Windows no file can replace a file which is open.
#[cfg(windows)]
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
fn is_at(_: &File, _: &LocalName) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, thread};

    use super::*;
    use crate::openssh::{
        destination::Destination,
        effective_config::EffectiveConfig,
        known_hosts::{KnownHostsFile, plan_update},
    };
    use crate::ssh::config::target::Target;

    fn key(byte: u8) -> HostKey {
        HostKey::parse(&[b"\0\0\0\x0bssh-ed25519\0\0\0\x20".as_slice(), &[byte; 32]].concat())
            .unwrap()
    }

    fn check(host: &str, file: &Path) -> HostKeyCheck {
        let config = format!(
            "hostname {host}\nuser u\nuserknownhostsfile {}\nglobalknownhostsfile none",
            file.display()
        );

        let destination = Destination::parse(host).unwrap();

        let target = Target {
            destination,
            user: None,
            port: None,
            config_file: None,
        };

        HostKeyCheck::load(&EffectiveConfig::parse(&config).unwrap(), &target).unwrap()
    }

    #[test]
    fn the_file_and_its_folder_are_made_for_the_person_alone() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".ssh/known_hosts");
        let check = check("h.ex", &file);

        for byte in [1, 2] {
            let said = check.save(&check.host, None, &key(byte));
            assert!(
                said.ends_with(&format!("saved in {}", file.display())),
                "{said}"
            );
        }

        assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 2);

        for (path, mode) in [(file.parent().unwrap(), 0o700), (file.as_path(), 0o600)] {
            assert_eq!(
                fs::metadata(path).unwrap().permissions().mode() & 0o777,
                mode,
                "{}",
                path.display()
            );
        }
    }

    #[test]
    fn nothing_is_written_through_what_another_user_has_planted() {
        use crate::local::folder::others::{give, plant, sticky};

        let (shared, own) = (sticky(), tempfile::tempdir().unwrap());
        let (file, victim) = (shared.path().join("known_hosts"), own.path().join("victim"));
        fs::write(&victim, "mine\n").unwrap();
        if !plant(&victim, &file) {
            return;
        }

        let check = check("h.ex", &file);

        let plan = |before: &[u8]| {
            plan_update(
                &[KnownHostsFile {
                    path: "",
                    text: before,
                }],
                &check.host,
                &[key(2)],
            )
            .unwrap()
        };

        let text = check.line(&check.host, &key(1)).unwrap();
        let said = check.save(&check.host, None, &key(1));
        assert!(said.contains("another user"), "{said}");
        assert!(
            check
                .rewrite(file.to_str().unwrap(), &plan(text.as_bytes()))
                .is_err()
        );

        fs::remove_file(&file).unwrap();
        fs::write(&file, &text).unwrap();
        assert!(give(&file));

        assert!(
            check
                .rewrite(file.to_str().unwrap(), &plan(text.as_bytes()))
                .is_err(),
            "nor is theirs believed"
        );

        // The name under which the old one is kept is free, or becomes so.
        fs::remove_file(&file).unwrap();
        fs::write(&file, &text).unwrap();
        plant(&victim, &shared.path().join("known_hosts.old"));
        check
            .rewrite(file.to_str().unwrap(), &plan(text.as_bytes()))
            .unwrap();

        assert_eq!(
            fs::read_to_string(shared.path().join("known_hosts.old")).unwrap(),
            text
        );

        assert_eq!(fs::read_to_string(&victim).unwrap(), "mine\n");
    }

    #[test]
    fn a_link_of_the_person_stays_one_and_what_it_leads_to_is_rewritten() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (
            folder.path().join("dotfiles"),
            folder.path().join("known_hosts"),
        );

        std::os::unix::fs::symlink("dotfiles", &link).unwrap();
        let check = check("h.ex", &link);
        check.save(&check.host, None, &key(1));
        let before = fs::read(&file).unwrap();

        let plan = plan_update(
            &[KnownHostsFile {
                path: "",
                text: &before,
            }],
            &check.host,
            &[key(2)],
        )
        .unwrap();

        check.rewrite(link.to_str().unwrap(), &plan).unwrap();
        assert!(link.is_symlink() && fs::read(&file).unwrap() != before);
        assert_eq!(
            fs::read(folder.path().join("dotfiles.old")).unwrap(),
            before
        );
    }

    #[test]
    fn many_writers_lose_no_line_of_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_hosts");
        let text = |host: &str, byte| {
            check(host, &file)
                .line(&HostName::new(host, 22), &key(byte))
                .unwrap()
        };

        fs::write(
            &file,
            (0..8)
                .map(|byte| text(&format!("old{byte}.ex"), byte))
                .collect::<String>(),
        )
        .unwrap();

        thread::scope(|scope| {
            for byte in 0..8_u8 {
                let file = &file;
                scope.spawn(move || {
                    let check = check(&format!("new{byte}.ex"), file);
                    check.save(&check.host, None, &key(byte + 100));
                });

                scope.spawn(move || {
                    let check = check(&format!("old{byte}.ex"), file);
                    let before = fs::read(file).unwrap();
                    let view = [KnownHostsFile {
                        path: "",
                        text: &before,
                    }];

                    let plan = plan_update(&view, &check.host, &[key(byte + 200)]).unwrap();
                    check.rewrite(file.to_str().unwrap(), &plan).unwrap();
                });
            }
        });

        let mut found: Vec<String> = fs::read_to_string(&file)
            .unwrap()
            .lines()
            .map(|line| format!("{line}\n"))
            .collect();

        let mut expected: Vec<String> = (0..8_u8)
            .flat_map(|byte| {
                [
                    text(&format!("new{byte}.ex"), byte + 100),
                    text(&format!("old{byte}.ex"), byte + 200),
                ]
            })
            .collect();

        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}
