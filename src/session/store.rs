//! The file of saved sessions: shared by several processes, replaced whole, never lost.
//!
//! Everything here blocks; a caller inside an async runtime gives it a thread of its own.

mod files;

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::files::{create_directory, directory, lock, set_aside, write};
use super::error::with_causes;
use super::saved::{DocumentError, MAX_STORE_BYTES, StoreDocument};

/// How long a change waits for another process to finish its own, which takes milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// How many symbolic links are followed, as many as Linux follows (`path_resolution(7)`).
const MAX_LINKS: u32 = 40;

/// The saved sessions on disk. Holds no state but the path, so any number of them may share a file.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
}

/// What a [`Store`] holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The document, empty where there is no file.
    pub document: StoreDocument,
    /// What the person should know: that an unreadable file was set aside, and where; or that the file holds secrets.
    pub notice: Option<String>,
}

/// Why the store could not be read or changed, with the path at fault. Whatever the store held, it still holds.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A later version of this program wrote the file: the version that it states.
    #[error("the session store {0} has version {1}, which only a newer mcp-ssh-sessions can read")]
    Newer(PathBuf, u64),
    /// Another process has held the lock for five seconds.
    #[error("the session store {0} is locked by another process")]
    Locked(PathBuf),
    /// A directory, a device or a pipe, which can be neither read as a store nor replaced by one.
    #[error("the session store {0} is not a regular file")]
    NotAFile(PathBuf),
    /// The file is there but cannot be read.
    #[error("cannot read the session store {0}")]
    Read(PathBuf, #[source] io::Error),
    /// The lock file beside the store, which the path names, cannot be made or locked.
    #[error("cannot lock the session store with {0}")]
    Lock(PathBuf, #[source] io::Error),
    /// The directory that the store belongs in is missing and cannot be made.
    #[error("cannot create the directory {0} for the session store")]
    CreateDirectory(PathBuf, #[source] io::Error),
    /// The file is unreadable and cannot be moved out of the way.
    #[error("cannot set the unreadable session store {0} aside")]
    SetAside(PathBuf, #[source] io::Error),
    /// The new content cannot be written.
    #[error("cannot write the session store {0}")]
    Write(PathBuf, #[source] io::Error),
}

impl Store {
    /// A store in that file, which need not exist. Nothing is touched yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Reads the store. Takes no lock, since the file is only ever replaced whole, unless it is unreadable: then it is
    /// set aside as `NAME.unreadable-N`, and the notice says so.
    ///
    /// # Errors
    /// [`StoreError::Newer`], [`StoreError::NotAFile`], [`StoreError::Read`]; for an unreadable file also
    /// [`StoreError::Locked`], [`StoreError::Lock`] and [`StoreError::SetAside`].
    pub fn load(&self) -> Result<Loaded, StoreError> {
        let target = self.target();
        if let Ok(loaded) = examine(&target)? {
            return Ok(loaded);
        }
        let _lock = lock(&target, LOCK_PATIENCE)?;
        read_or_set_aside(&target)
    }

    /// Reads the store for whoever must not change anything: an unreadable file stays where it is, and is an error in words.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn peek(&self) -> Result<StoreDocument, String> {
        let target = self.target();
        match examine(&target) {
            Ok(Ok(loaded)) => Ok(loaded.document),
            Ok(Err(reason)) => Err(format!("the session store {} cannot be read: {reason}", target.display())),
            Err(error) => Err(with_causes(&error)),
        }
    }

    /// Changes the store: reads what is there now, applies `change` and replaces the file (0600), all under a lock that
    /// other processes respect. Waits for that lock for up to five seconds. Returns what was written, and the notice of
    /// [`load`](Self::load).
    ///
    /// # Errors
    /// Any [`StoreError`]; the file is then as it was, or set aside if it was unreadable.
    pub fn update(&self, change: impl FnOnce(&mut StoreDocument)) -> Result<Loaded, StoreError> {
        let target = self.target();
        create_directory(directory(&target))?;
        let _lock = lock(&target, LOCK_PATIENCE)?;
        let mut loaded = read_or_set_aside(&target)?;
        change(&mut loaded.document);
        write(&target, &loaded.document).map_err(|source| StoreError::Write(target, source))?;
        Ok(loaded)
    }

    /// The file that a symbolic link at the path leads to, there or not: people link their dotfiles, and a rename onto
    /// the link would replace it. The lock lies beside this file too, so that two links to it share one lock.
    fn target(&self) -> PathBuf {
        let mut target = self.path.clone();
        for _ in 0..MAX_LINKS {
            let Ok(next) = fs::read_link(&target) else {
                break;
            };
            target = directory(&target).join(next);
        }
        target
    }
}

/// Reads the file; the inner error is the reason why it is unreadable.
fn examine(path: &Path) -> Result<Result<Loaded, DocumentError>, StoreError> {
    let parsed = match StoreDocument::parse(&read(path)?) {
        Ok(parsed) => parsed,
        Err(DocumentError::Newer { version }) => {
            return Err(StoreError::Newer(path.to_owned(), version));
        }
        Err(reason) => return Ok(Err(reason)),
    };
    let notice = parsed.held_secrets.then(|| {
        format!(
            "The session store {} holds passwords, passphrases or keys. \
             They are not used, and are removed when it is next written.",
            path.display()
        )
    });
    let document = parsed.document;
    Ok(Ok(Loaded { document, notice }))
}

/// For whoever holds the lock: another process may have put things right meanwhile, or is about to.
fn read_or_set_aside(path: &Path) -> Result<Loaded, StoreError> {
    let reason = match examine(path)? {
        Ok(loaded) => return Ok(loaded),
        Err(reason) => reason,
    };
    let aside = set_aside(path).map_err(|source| StoreError::SetAside(path.to_owned(), source))?;
    let document = StoreDocument::default();
    let notice = Some(format!(
        "The session store {} could not be read ({reason}). \
         It was kept as {}, and no saved sessions were loaded.",
        path.display(),
        aside.display()
    ));
    Ok(Loaded { document, notice })
}

/// The file's bytes, one more than are allowed at most; none when it is missing.
fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    let read = || {
        // Asked before opening: opening a pipe would wait for its writer.
        if !fs::metadata(path)?.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let mut file = File::open(path)?.take(MAX_STORE_BYTES as u64 + 1);
        file.read_to_end(&mut bytes).map(|_| Some(bytes))
    };
    match read() {
        Ok(bytes) => bytes.ok_or_else(|| StoreError::NotAFile(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(StoreError::Read(path.to_owned(), error)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::saved::SavedSession;
    use super::*;

    fn session(name: &str) -> SavedSession {
        serde_json::from_value(json!({"name": name, "host": "h"})).unwrap()
    }

    fn loaded(document: StoreDocument) -> Loaded {
        let notice = None;
        Loaded { document, notice }
    }

    fn fresh() -> (tempfile::TempDir, Store, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".store.json");
        (directory, Store::new(path.clone()), path)
    }

    fn names_in(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_missing_or_empty_file_is_an_empty_document_and_loading_makes_nothing() {
        let (directory, store, path) = fresh();
        assert_eq!(store.load().unwrap(), loaded(StoreDocument::default()));
        assert_eq!(names_in(directory.path()), [""; 0]);
        fs::write(path, "").unwrap();
        assert_eq!(store.load().unwrap(), loaded(StoreDocument::default()));
        assert_eq!(names_in(directory.path()), [".store.json"]);
    }

    #[test]
    fn what_one_writes_another_reads_with_unknown_fields_and_without_old_secrets() {
        let (directory, store, path) = fresh();
        let old = json!({"theme": 1, "sessions": {"a": {"host": "a", "password": "p", "color": 7}}});
        fs::write(&path, old.to_string()).unwrap();
        assert!(store.load().unwrap().notice.unwrap().contains("passwords"));
        let written = store.update(|document| document.put(session("b"))).unwrap();
        assert_eq!(Store::new(path.clone()).load().unwrap(), loaded(written.document));
        let on_disk: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let expected = json!({"version": 1, "theme": 1, "sessions": [
            {"name": "a", "host": "a", "passwordAuth": false, "color": 7},
            {"name": "b", "host": "h", "passwordAuth": false},
        ]});
        assert_eq!(on_disk, expected);
        assert_eq!(names_in(directory.path()), ["..store.json.lock", ".store.json"]);
    }

    #[test]
    fn threads_lose_none_of_each_others_updates() {
        let (_directory, store, _) = fresh();
        let names = |thread| (0..25).map(move |update| format!("{thread}-{update:02}"));
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let store = store.clone();
                scope.spawn(move || {
                    for name in names(thread) {
                        store.update(|document| document.put(session(&name))).unwrap();
                    }
                });
            }
        });
        let sessions = store.load().unwrap().document.sessions;
        let mut saved: Vec<_> = sessions.into_iter().map(|s| s.name.to_string()).collect();
        saved.sort();
        assert_eq!(saved, (0..8).flat_map(names).collect::<Vec<_>>());
    }

    #[test]
    fn a_lock_that_is_not_given_back_is_an_error() {
        let (_directory, _, path) = fresh();
        let held = lock(&path, Duration::ZERO).unwrap();
        let refused = lock(&path, Duration::from_millis(20));
        assert!(matches!(refused, Err(StoreError::Locked(_))));
        drop(held);
        lock(&path, Duration::ZERO).unwrap();
    }

    #[test]
    fn unreadable_files_are_set_aside_one_after_the_other() {
        let (directory, store, path) = fresh();
        let too_large = vec![b' '; MAX_STORE_BYTES + 1];
        for (number, bytes) in [(1, b"{".as_slice()), (2, b"\xff"), (3, b"[7]"), (4, &too_large)] {
            let aside = directory.path().join(format!(".store.json.unreadable-{number}"));
            fs::write(&path, bytes).unwrap();
            if number % 2 == 0 {
                let notice = store.load().unwrap().notice.unwrap();
                assert!(notice.contains(aside.to_str().unwrap()), "{notice}");
                assert!(!path.exists());
                assert_eq!(store.load().unwrap().notice, None);
            }
            let document = store.update(|document| document.put(session("a"))).unwrap();
            assert_eq!(document.document.sessions, [session("a")]);
            assert_eq!(document.notice.is_some(), number % 2 == 1);
            assert!(fs::read(aside).unwrap() == bytes);
        }
        assert_eq!(names_in(directory.path()).len(), 6);
    }

    #[test]
    fn a_newer_store_is_neither_read_nor_changed() {
        let (_directory, store, path) = fresh();
        let newer = br#"{"version": 2}"#;
        fs::write(&path, newer).unwrap();
        assert!(matches!(store.load(), Err(StoreError::Newer(_, 2))));
        assert!(matches!(store.update(|_| ()), Err(StoreError::Newer(_, 2))));
        assert_eq!(fs::read(&path).unwrap(), newer);
    }

    #[test]
    fn a_store_that_cannot_be_is_an_error_naming_the_place() {
        let (directory, in_place, file) = fresh();
        in_place.update(|_| ()).unwrap();
        let below_a_file = Store::new(file.join("deeper/store.json"));
        for (error, place) in [
            (below_a_file.load().unwrap_err(), "deeper/store.json"),
            (below_a_file.update(|_| ()).unwrap_err(), "deeper"),
        ] {
            let place = file.join(place).display().to_string();
            assert!(error.to_string().contains(&place), "{error}");
            assert!(std::error::Error::source(&error).is_some(), "{error}");
        }
        let is_a_directory = Store::new(directory.path().to_owned());
        assert!(matches!(is_a_directory.load(), Err(StoreError::NotAFile(_))));
    }

    #[test]
    fn a_store_that_would_be_nested_too_deep_to_be_read_again_is_not_written() {
        let (directory, store, path) = fresh();
        // The older shape is one level less deep than the present one.
        let deep = format!(r#"{{"a": {{"host": "h", "x": {}{}}}}}"#, "[".repeat(125), "]".repeat(125));
        fs::write(&path, &deep).unwrap();
        assert_eq!(store.load().unwrap().document.sessions.len(), 1);
        assert!(matches!(store.update(|document| document.put(session("b"))), Err(StoreError::Write(..))));
        assert_eq!((fs::read_to_string(&path).unwrap(), store.load().unwrap().notice), (deep, None));
        drop(directory);
    }

    #[test]
    fn a_store_too_large_to_be_read_again_is_not_written() {
        let (directory, store, path) = fresh();
        store.update(|document| document.put(session("a"))).unwrap();
        let state = || (fs::read(&path).unwrap(), names_in(directory.path()));
        let (before, huge) = (state(), json!({"huge": "x".repeat(MAX_STORE_BYTES)}));
        let refused = store.update(|document| document.extra.extend(huge.as_object().cloned().unwrap()));
        assert!(matches!(refused, Err(StoreError::Write(..))));
        assert_eq!(state(), before);
    }

    #[cfg(unix)]
    #[test]
    fn the_store_is_private_whatever_was_there_before() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        let path = directory.path().join("new/deeper/store.json");
        let store = Store::new(path.clone());
        store.update(|_| ()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        store.update(|_| ()).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&path.with_file_name(".store.json.lock")), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(mode(&directory.path().join("new")), 0o700);
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_links_and_share_the_lock_of_what_they_lead_to() {
        use std::os::unix::fs::symlink;
        let (directory, store, link) = fresh();
        let dotfiles = directory.path().join("dotfiles");
        fs::create_dir(&dotfiles).unwrap();
        symlink("dotfiles/middle", &link).unwrap();
        symlink("store.json", dotfiles.join("middle")).unwrap();
        for broken in [None, Some("{")] {
            if let Some(text) = broken {
                fs::write(dotfiles.join("store.json"), text).unwrap();
            }
            store.update(|document| document.put(session("a"))).unwrap();
            assert!(link.is_symlink() && dotfiles.join("middle").is_symlink());
            assert_eq!(store.load().unwrap().document.sessions.len(), 1);
        }
        let names = [".store.json.lock", "middle", "store.json", "store.json.unreadable-1"];
        assert_eq!(names_in(&dotfiles), names);
        fs::remove_file(dotfiles.join("store.json")).unwrap();
        symlink("middle", dotfiles.join("store.json")).unwrap();
        let circle = store.load();
        assert!(matches!(circle, Err(StoreError::Read(..))), "{circle:?}");
    }

    /// Bytes that are often nearly a store, sometimes one.
    fn file_content() -> impl Strategy<Value = Vec<u8>> {
        let tokens = r#"{ } [ ] : , 1 2 "a" "host" "version" "sessions" {"host":"h"}"#;
        let token = prop::sample::select(tokens.split(' ').collect::<Vec<_>>());
        let tokens = prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat().into());
        let sessions = prop::collection::hash_map("\\PC{1,5}", Just(json!({"host": "h"})), 0..4)
            .prop_map(|sessions| json!({ "sessions": sessions }).to_string().into());
        prop_oneof![prop::collection::vec(any::<u8>(), 0..64), tokens, sessions]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn whatever_is_in_the_file_is_kept_there_or_aside(bytes in file_content(), load_first: bool) {
            let (_directory, store, path) = fresh();
            fs::write(&path, &bytes).unwrap();
            if load_first && store.load().is_ok_and(|loaded| loaded.notice.is_none()) {
                prop_assert_eq!(&fs::read(&path).unwrap(), &bytes);
            }
            let updated = store.update(|document| document.default = None);
            match StoreDocument::parse(&bytes) {
                Ok(before) => prop_assert_eq!(updated.unwrap().document.sessions, before.document.sessions),
                Err(DocumentError::Newer { .. }) => {
                    prop_assert!(matches!(updated, Err(StoreError::Newer(..))));
                    prop_assert_eq!(fs::read(&path).unwrap(), bytes);
                }
                Err(_) => prop_assert_eq!(fs::read(path.with_extension("json.unreadable-1")).unwrap(), bytes),
            }
        }
    }
}
