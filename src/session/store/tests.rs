use std::fs;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    local::folder::others::{give_away, plant, sticky},
    session::saved::SavedSession,
};

fn session(name: &str) -> SavedSession {
    serde_json::from_value(json!({"name": name, "host": "h"})).unwrap()
}

fn loaded(document: StoreDocument) -> LoadedStore {
    let notice = None;
    LoadedStore { document, notice }
}

fn fresh() -> (tempfile::TempDir, Store, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(".store.json");
    (directory, Store::new(Some(path.clone())), path)
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_missing_or_empty_file_is_an_empty_document() {
    let (directory, store, path) = fresh();
    assert_eq!(store.load().unwrap(), loaded(StoreDocument::default()));
    assert_eq!(names_in(directory.path()), [""; 0]);
    fs::write(path, "").unwrap();
    assert_eq!(store.load().unwrap(), loaded(StoreDocument::default()));
    assert_eq!(names_in(directory.path()), [".store.json"]);
}

#[test]
fn a_document_is_read_back_with_unknown_fields_and_no_secrets() {
    let (directory, store, path) = fresh();
    let old = json!({"theme": 1, "sessions": {"a": {"host": "a", "password": "p", "color": 7}}});
    fs::write(&path, old.to_string()).unwrap();
    assert!(store.load().unwrap().notice.unwrap().contains("passwords"));
    let written = store
        .update(|document| document.save(session("b")))
        .unwrap();
    assert_eq!(
        Store::new(Some(path.clone())).load().unwrap(),
        loaded(written.document)
    );

    let on_disk: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let expected = json!({"version": 1, "theme": 1, "sessions": [
        {"name": "a", "host": "a", "passwordAuth": false, "color": 7},
        {"name": "b", "host": "h", "passwordAuth": false},
    ]});

    assert_eq!(on_disk, expected);
    assert_eq!(
        names_in(directory.path()),
        ["..store.json.lock", ".store.json"]
    );
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
                    store
                        .update(|document| document.save(session(&name)))
                        .unwrap();
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
    let location = LocalName::resolve(&path).unwrap();
    let held = lock(&location, Duration::ZERO).unwrap();
    let refused = lock(&location, Duration::from_millis(20));
    assert!(matches!(refused, Err(StoreError::Locked(_))));
    drop(held);
    lock(&location, Duration::ZERO).unwrap();
}

#[test]
fn unreadable_files_are_set_aside_one_after_the_other() {
    let (directory, store, path) = fresh();
    let too_large = vec![b' '; MAX_STORE_BYTES + 1];

    for (number, bytes) in [
        (1, b"{".as_slice()),
        (2, b"\xff"),
        (3, b"[7]"),
        (4, &too_large),
    ] {
        let aside = directory
            .path()
            .join(format!(".store.json.unreadable-{number}"));
        fs::write(&path, bytes).unwrap();

        if number % 2 == 0 {
            let notice = store.load().unwrap().notice.unwrap();
            assert!(notice.contains(aside.to_str().unwrap()), "{notice}");
            assert!(!path.exists());
            assert_eq!(store.load().unwrap().notice, None);
        }

        let document = store
            .update(|document| document.save(session("a")))
            .unwrap();
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
    let below_a_file = Store::new(Some(file.join("deeper/store.json")));

    for (error, location) in [
        (below_a_file.load().unwrap_err(), "deeper/store.json"),
        (below_a_file.update(|_| ()).unwrap_err(), "deeper"),
    ] {
        let location = file.join(location).display().to_string();
        assert!(error.to_string().contains(&location), "{error}");
        assert!(std::error::Error::source(&error).is_some(), "{error}");
    }

    let is_a_directory = Store::new(Some(directory.path().to_owned()));
    assert!(matches!(
        is_a_directory.load(),
        Err(StoreError::NotAFile(_))
    ));
}

#[test]
fn a_store_nested_too_deep_to_be_read_is_not_written() {
    let (directory, store, path) = fresh();

    // The older shape is one level less deep than the present one.
    let deep = format!(
        r#"{{"a": {{"host": "h", "x": {}{}}}}}"#,
        "[".repeat(125),
        "]".repeat(125)
    );

    fs::write(&path, &deep).unwrap();
    assert_eq!(store.load().unwrap().document.sessions.len(), 1);
    assert!(matches!(
        store.update(|document| document.save(session("b"))),
        Err(StoreError::Write(..))
    ));

    assert_eq!(
        (
            fs::read_to_string(&path).unwrap(),
            store.load().unwrap().notice
        ),
        (deep, None)
    );

    drop(directory);
}

#[test]
fn a_store_too_large_to_be_read_again_is_not_written() {
    let (directory, store, path) = fresh();
    store
        .update(|document| document.save(session("a")))
        .unwrap();
    let state = || (fs::read(&path).unwrap(), names_in(directory.path()));
    let (before, huge) = (state(), json!({"huge": "x".repeat(MAX_STORE_BYTES)}));
    let refused =
        store.update(|document| document.extra.extend(huge.as_object().cloned().unwrap()));
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
    let store = Store::new(Some(path.clone()));
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

        store
            .update(|document| document.save(session("a")))
            .unwrap();
        assert!(link.is_symlink() && dotfiles.join("middle").is_symlink());
        assert_eq!(store.load().unwrap().document.sessions.len(), 1);
    }

    let names = [
        ".store.json.lock",
        "middle",
        "store.json",
        "store.json.unreadable-1",
    ];

    assert_eq!(names_in(&dotfiles), names);
    fs::remove_file(dotfiles.join("store.json")).unwrap();
    symlink("middle", dotfiles.join("store.json")).unwrap();
    let circle = store.load();
    assert!(matches!(circle, Err(StoreError::Read(..))), "{circle:?}");
}

#[cfg(unix)]
#[test]
fn files_of_another_user_in_a_shared_folder_are_not_used() {
    let own = tempfile::tempdir().unwrap();
    let victim = own.path().join("store.json");
    fs::write(&victim, r#"{"sessions": [{"name": "a", "host": "h"}]}"#).unwrap();
    let before = fs::read(&victim).unwrap();

    for planted in [".store.json", "..store.json.lock"] {
        for is_link in [true, false] {
            let shared = sticky();
            let (at, store) = (
                shared.path().join(planted),
                Store::new(Some(shared.path().join(".store.json"))),
            );

            let is_other = if is_link {
                plant(&victim, &at)
            } else {
                fs::write(&at, &before).unwrap();
                give_away(&at)
            };

            if !is_other {
                return;
            }

            let refused = store.update(|document| document.save(session("b")));
            assert!(
                matches!(refused, Err(StoreError::Read(..) | StoreError::Lock(..))),
                "{planted} {is_link}"
            );

            if planted == ".store.json" {
                assert!(store.load().is_err() && store.peek().is_err(), "{is_link}");
            }

            assert_eq!(
                (fs::read(&victim).unwrap(), names_in(own.path())),
                (before.clone(), vec!["store.json".into()])
            );
        }
    }
}

#[test]
fn without_a_path_the_store_is_empty_and_stays_so() {
    let store = Store::new(None);
    assert_eq!(store.load().unwrap(), loaded(StoreDocument::default()));
    assert_eq!(store.peek(), Ok(StoreDocument::default()));
    assert!(matches!(
        store.update(|document| document.save(session("a"))),
        Err(StoreError::Nowhere)
    ));
}

/// Generates bytes which are often nearly a store, and sometimes a store.
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
