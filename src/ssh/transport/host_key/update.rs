//! `UpdateHostKeys`: learns further keys of a server which has shown a trusted key.

use std::{
    io::{self, Write as _},
    path::Path,
    sync::Arc,
};

use russh::{
    client::{self, Handle},
    keys::{PublicKey, PublicKeyBase64 as _},
};

use super::{
    HostKeyCheck,
    locked_file::{is_at, open_locked},
    read, view,
};
use crate::{
    local::LocalName,
    openssh::known_hosts::{HostKey, KeyUpdate, plan_update},
    random,
};

/// Updates the user's `known_hosts` files with the keys announced by the server. New keys are added
/// only after the server has proved that they are its own. As in OpenSSH, a failure only appears in
/// the log.
pub(in crate::ssh) async fn update(
    check: &Arc<HostKeyCheck>,
    handle: &Handle<impl client::Handler>,
    announced: Vec<PublicKey>,
) {
    let host = check.host.as_str();

    match try_update(check, handle, announced).await {
        Ok(false) => {}
        Ok(true) => {
            tracing::info!("known_hosts now has the keys that {host} announced (UpdateHostKeys)");
        }
        Err(error) => tracing::warn!("UpdateHostKeys for {host}: {error}"),
    }
}

/// Does the work of [`update`], and returns true if there were changes to write.
async fn try_update(
    check: &Arc<HostKeyCheck>,
    handle: &Handle<impl client::Handler>,
    announced: Vec<PublicKey>,
) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    // As in OpenSSH, keys of a type which `HostKeyAlgorithms` does not allow are ignored.
    let announced: Vec<(HostKey, PublicKey)> = announced
        .into_iter()
        .filter_map(|key| {
            Some((
                HostKey::parse(&key.public_key_bytes()).filter(|key| check.allows(key))?,
                key,
            ))
        })
        .collect();

    let keys: Vec<HostKey> = announced.iter().map(|(key, _)| key.clone()).collect();
    // The files may have changed since the check was loaded.
    let mut files = Vec::new();
    for path in &check.user_files {
        files.extend(read(path)?.map(|text| (path.clone(), text)));
    }

    let Some(plan) = plan_update(&view(&files), &check.host, &keys) else {
        return Ok(false);
    };

    let new: Vec<PublicKey> = announced
        .into_iter()
        .filter(|(key, _)| plan.new.contains(key))
        .map(|(_, key)| key)
        .collect();

    // Known keys need no proof, because the files list them for this host already.
    if !new.is_empty() {
        handle.hostkeys_prove(new).await?;
    }

    // Writing waits for a file lock, which must not block the async threads.
    let check = Arc::clone(check);
    let written = move || {
        files
            .iter()
            .try_for_each(|(path, _)| check.rewrite(path, &plan))
    };

    let written: io::Result<()> = tokio::task::spawn_blocking(written).await?;
    written?;

    Ok(true)
}

impl HostKeyCheck {
    /// Changes a file according to `update`, which the server has proved, and keeps the old content
    /// as `FILE.old`. As in OpenSSH, new keys go to the first file only, and a missing file stays
    /// missing.
    ///
    /// # Errors
    /// The file cannot be locked, read or replaced.
    fn rewrite(&self, path: &str, update: &KeyUpdate) -> io::Result<()> {
        let name = LocalName::resolve(Path::new(path))?;
        let (locked, before) = open_locked(&name, false)?;
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
            &name.folder,
            name.sibling("", ".old"),
            name.sibling(".", &format!(".{}", random::hex::<8>()?)),
        );

        // A hard link fails if its name is taken, so an older `FILE.old` goes first.
        let _ = folder.remove(&old.name);
        folder.hard_link(&name.name, &old.name)?;
        let written = folder.create(&new.name)?.write_all(&text);

        if cfg!(windows) {
            // Windows does not replace a file which is open.
            drop(locked);
        }

        // A failed write must leave the old file in place, and no temporary file next to it.
        let replaced = written.and_then(|()| folder.rename(&new.name, &name.name));
        if replaced.is_err() {
            let _ = folder.remove(&new.name);
        }

        replaced
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, slice, thread};

    use super::*;
    use crate::openssh::{
        destination::Destination,
        effective_config::EffectiveConfig,
        known_hosts::{HostName, KnownHostsFile},
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
            let notice = check
                .save(slice::from_ref(&check.host), &key(byte))
                .unwrap();
            assert!(
                notice.ends_with(&format!("saved in {}", file.display())),
                "{notice}"
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
        use crate::local::folder::others::{give_away, plant, sticky};

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
        let notice = check.save(slice::from_ref(&check.host), &key(1)).unwrap();
        assert!(notice.contains("another user"), "{notice}");
        assert!(
            check
                .rewrite(file.to_str().unwrap(), &plan(text.as_bytes()))
                .is_err()
        );

        fs::remove_file(&file).unwrap();
        fs::write(&file, &text).unwrap();
        assert!(give_away(&file));

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
    fn a_linked_file_is_rewritten_and_the_link_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (
            folder.path().join("dotfiles"),
            folder.path().join("known_hosts"),
        );

        std::os::unix::fs::symlink("dotfiles", &link).unwrap();
        let check = check("h.ex", &link);
        check.save(slice::from_ref(&check.host), &key(1));
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
                    check.save(slice::from_ref(&check.host), &key(byte + 100));
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
