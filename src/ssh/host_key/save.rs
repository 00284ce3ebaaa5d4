//! Writes to the person's `known_hosts` files.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
};

use super::HostKeyCheck;
use crate::openssh::known_hosts::{HostKey, HostName, KeyUpdate, fingerprint, render_line};

impl HostKeyCheck {
    /// Appends the key to the first user file, for a host and perhaps its address, and says so; a file that cannot be
    /// written is said too, as in OpenSSH.
    pub(super) fn save(&self, host: &HostName, address: Option<&HostName>, key: &HostKey) -> String {
        let (name, fingerprint) = (host.as_str(), fingerprint(key.blob()));
        let new = format!("the host key {fingerprint} of {name} was new and has been accepted");
        let Some(path) = self.user_files.first() else { return format!("{new}; there is no file to save it in") };
        if self.keeps_nothing {
            return format!("the host key {fingerprint} of {name} is new and would be accepted and saved in {path}");
        }
        match self.lines(host, address, key).and_then(|lines| append(path, &lines)) {
            Ok(()) => format!("{new} and saved in {path}"),
            Err(error) => format!("{new}, but {path} could not be written: {error}"),
        }
    }

    /// Makes a file agree with what the server has proved, keeping the old one as `FILE.old`. Keys are added to the
    /// first file alone, and a missing file stays missing: as OpenSSH does it.
    pub(super) fn rewrite(&self, path: &str, update: &KeyUpdate) -> io::Result<()> {
        let path = fs::canonicalize(path)?;
        let (locked, before) = open_locked(&path, false)?;
        let shorter = update.without_obsolete(&before, &self.host);
        let first =
            self.user_files.first().is_some_and(|first| fs::canonicalize(first).is_ok_and(|first| first == path));
        let new = if first { update.missing_from(&before, &self.host) } else { Vec::new() };
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
        let mut old = path.clone().into_os_string();
        old.push(".old");
        let _ = fs::remove_file(&old);
        fs::hard_link(&path, &old)?;
        let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
        file.write_all(&text)?;
        if cfg!(windows) {
            // Windows replaces no file that is open.
            drop(locked);
        }
        file.persist(&path)?;
        Ok(())
    }

    fn lines(&self, host: &HostName, address: Option<&HostName>, key: &HostKey) -> io::Result<String> {
        let line = self.line(host, key)?;
        let Some(address) = address else { return Ok(line) };
        let second = self.line(address, key)?;
        match line.split_once(' ') {
            Some((name, _)) if !self.hash_names => Ok(format!("{name},{second}")),
            _ => Ok(line + &second),
        }
    }

    /// The line for a key, with its end, under a salt of its own where names are hidden.
    fn line(&self, host: &HostName, key: &HostKey) -> io::Result<String> {
        let salt = if self.hash_names {
            let mut salt = [0; 20];
            getrandom::fill(&mut salt).map_err(io::Error::other)?;
            Some(salt)
        } else {
            None
        };
        let line = render_line(host, salt, key).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(line + "\n")
    }
}

fn append(path: &str, lines: &str) -> io::Result<()> {
    if let Some(folder) = Path::new(path).parent() {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
    }
    let (mut file, before) = open_locked(path, true)?;
    let newline = if before.is_empty() || before.ends_with(b"\n") { "" } else { "\n" };
    file.write_all(format!("{newline}{lines}").as_bytes())
}

/// Opens a file for appending, locked against other processes that do the same, with what it holds now.
fn open_locked(path: impl AsRef<Path>, create: bool) -> io::Result<(File, Vec<u8>)> {
    let mut options = fs::OpenOptions::new();
    options.append(true).read(true).create(create);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    loop {
        let mut file = options.open(&path)?;
        file.lock()?;
        if is_still_at(&file, path.as_ref())? {
            // Through the same handle: on Windows the lock holds off all others, of this process too.
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            return Ok((file, text));
        }
    }
}

/// Whether nobody has put another file in its place while the lock was waited for.
#[cfg(unix)]
fn is_still_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let (open, there) = (file.metadata()?, fs::metadata(path));
    Ok(there.is_ok_and(|there| (there.dev(), there.ino()) == (open.dev(), open.ino())))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
fn is_still_at(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, thread};

    use super::super::super::resolve::Target;
    use super::*;
    use crate::openssh::{
        destination::Destination,
        effective_config::EffectiveConfig,
        known_hosts::{KnownHostsFile, plan_update},
    };

    fn key(byte: u8) -> HostKey {
        HostKey::parse(&[b"\0\0\0\x0bssh-ed25519\0\0\0\x20".as_slice(), &[byte; 32]].concat()).unwrap()
    }

    fn check(host: &str, file: &Path) -> HostKeyCheck {
        let config =
            format!("hostname {host}\nuser u\nuserknownhostsfile {}\nglobalknownhostsfile none", file.display());
        let destination = Destination::parse(host).unwrap();
        let target = Target { destination, user: None, port: None, config_file: None };
        HostKeyCheck::load(&EffectiveConfig::parse(&config).unwrap(), &target).unwrap()
    }

    #[test]
    fn the_file_and_its_folder_are_made_for_the_person_alone() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".ssh/known_hosts");
        let check = check("h.ex", &file);
        for byte in [1, 2] {
            let said = check.save(&check.host, None, &key(byte));
            assert!(said.ends_with(&format!("saved in {}", file.display())), "{said}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 2);
        for (path, mode) in [(file.parent().unwrap(), 0o700), (file.as_path(), 0o600)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
        }
    }

    #[test]
    fn many_writers_lose_no_line_of_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_hosts");
        let text = |host: &str, byte| check(host, &file).line(&HostName::new(host, 22), &key(byte)).unwrap();
        fs::write(&file, (0..8).map(|byte| text(&format!("old{byte}.ex"), byte)).collect::<String>()).unwrap();
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
                    let view = [KnownHostsFile { path: "", text: &before }];
                    let plan = plan_update(&view, &check.host, &[key(byte + 200)]).unwrap();
                    check.rewrite(file.to_str().unwrap(), &plan).unwrap();
                });
            }
        });
        let mut found: Vec<String> =
            fs::read_to_string(&file).unwrap().lines().map(|line| format!("{line}\n")).collect();
        let mut expected: Vec<String> = (0..8_u8)
            .flat_map(|byte| [text(&format!("new{byte}.ex"), byte + 100), text(&format!("old{byte}.ex"), byte + 200)])
            .collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}
