//! The file of saved sessions, as several processes share it, and what must not be in it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::support::{checks::assert_refused, fixture::TestHost, keys, program::Program};

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Every file below the folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());

    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes
        .windows(secret.len())
        .any(|window| window == secret.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_processes_that_save_sessions_at_once_lose_none() {
    let world = TestHost::fake();
    let names = |process: usize| (0..5).map(move |number| format!("{process}-{number}"));
    let mut processes = Vec::new();

    for process in 0..8 {
        let mut program = Program::start(&world.config, world.folder()).await;
        processes.push(tokio::spawn(async move {
            for name in names(process) {
                let saved = program
                    .call("ssh_connect", json!({"host": "box", "name": name}))
                    .await
                    .ok();
                assert_eq!(saved.structured().get("notices"), None, "{}", saved.text());
            }

            assert_eq!(program.close().await.0.code(), Some(0));
        }));
    }

    for process in processes {
        process.await.unwrap();
    }

    let store = world.folder().join("sessions.json");

    let mut saved: Vec<String> = read(&store)["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|saved| saved["name"].as_str().unwrap().to_owned())
        .collect();

    saved.sort();
    assert_eq!(saved, (0..8).flat_map(names).collect::<Vec<_>>());
    assert_eq!(
        fs::metadata(&store).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let neighbours: Vec<_> = fs::read_dir(world.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();

    let litter = |name: &&std::ffi::OsString| name.to_str().unwrap().contains("sessions.json");
    assert_eq!(
        neighbours.iter().filter(litter).count(),
        2,
        "the store and its lock: {neighbours:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_survive_and_secrets_of_others_do_not() {
    let world = TestHost::fake();
    let store = world.folder().join("sessions.json");
    let before = json!({
        "version": 1, "theme": {"dark": true}, "default": "box",
        "sessions": [{"name": "box", "host": "box", "tags": ["a"], "password": "hunter2"}],
    });

    fs::write(&store, before.to_string()).unwrap();
    fs::set_permissions(&store, fs::Permissions::from_mode(0o644)).unwrap();
    let mut client = world.client().await;
    let listing = client.call("ssh_sessions", json!({})).await.ok();
    let notice = listing.structured()["notice"].as_str().unwrap().to_owned();
    assert!(
        notice.contains("passwords") && listing.text().contains(&notice),
        "{}",
        listing.text()
    );

    client
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok();

    client
        .call("ssh_set_default", json!({"session": "box"}))
        .await
        .ok();

    let expected = json!({
        "version": 1, "theme": {"dark": true}, "default": "box",
        "sessions": [{"name": "box", "host": "box", "tags": ["a"], "passwordAuth": false}],
    });

    let mut after = read(&store);
    // What was learned of the server may be saved by now.
    after.as_object_mut().unwrap().remove("servers");
    assert_eq!(after, expected);
    assert_eq!(
        fs::metadata(&store).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_store_is_set_aside_and_that_is_said() {
    let world = TestHost::fake();
    let store = world.folder().join("sessions.json");
    let aside = world.folder().join("sessions.json.unreadable-1");
    fs::write(&store, "{ torn").unwrap();
    let mut client = world.client().await;
    let listing = client.call("ssh_sessions", json!({})).await.ok();

    for part in [
        "could not be read",
        store.to_str().unwrap(),
        aside.to_str().unwrap(),
    ] {
        assert!(
            listing.text().contains(part),
            "{part:?} is missing in {}",
            listing.text()
        );
    }

    assert_eq!(fs::read_to_string(&aside).unwrap(), "{ torn");
    fs::write(&store, "not this either").unwrap();
    let connected = client
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok();

    assert!(
        connected.text().contains("sessions.json.unreadable-2"),
        "{}",
        connected.text()
    );

    assert_eq!(read(&store)["sessions"][0]["name"], "box");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_a_lost_saved_session_says_why_it_is_gone() {
    let world = TestHost::fake();
    fs::write(world.folder().join("sessions.json"), "{ torn").unwrap();
    let mut client = world.client().await;
    let refused = client
        .call("ssh_exec", json!({"session": "box", "command": "true"}))
        .await;
    assert_refused(&refused, &["box", "sessions.json.unreadable-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_of_a_newer_version_is_left_alone() {
    let world = TestHost::fake();
    let store = world.folder().join("sessions.json");
    let newer = r#"{"version": 7, "sessions": "in a new shape"}"#;
    fs::write(&store, newer).unwrap();
    let mut client = world.client().await;
    assert_refused(
        &client.call("ssh_sessions", json!({})).await,
        &["version 7", "newer", "--store"],
    );

    let connected = client
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok();

    assert!(
        connected.text().contains("could not be saved") && connected.text().contains("version 7")
    );

    assert_eq!(
        client
            .call("ssh_exec", json!({"command": "echo works"}))
            .await
            .stdout(),
        "works\n"
    );

    assert_eq!(fs::read_to_string(&store).unwrap(), newer);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_work_where_the_store_cannot_be() {
    let world = TestHost::fake();
    fs::write(world.folder().join("file"), "").unwrap();
    let read_only = world.folder().join("read-only");
    fs::create_dir(&read_only).unwrap();
    fs::set_permissions(&read_only, fs::Permissions::from_mode(0o500)).unwrap();
    let read_only_counts = fs::write(read_only.join("probe"), "").is_err();
    let mut stores = vec![
        world.folder().join("file/store.json"),
        world.folder().to_owned(),
        "/dev/null/store.json".into(),
    ];

    if read_only_counts {
        // Not for root, who may write anywhere.
        stores.push(read_only.join("store.json"));
    }

    for store in stores {
        let mut program = Program::start_silent(&world.config, world.folder(), &store);
        program.initialize().await;
        let connected = program
            .call("ssh_connect", json!({"host": "box"}))
            .await
            .ok();

        let notice = connected.structured()["notices"][0]
            .as_str()
            .unwrap_or_default()
            .to_owned();

        assert!(
            notice.contains("could not be saved") && connected.text().contains(&notice),
            "{}",
            connected.text()
        );

        assert!(
            notice.contains(store.parent().unwrap().to_str().unwrap()),
            "{notice}"
        );

        assert_eq!(
            program
                .call("ssh_exec", json!({"command": "echo works"}))
                .await
                .stdout(),
            "works\n"
        );

        assert_eq!(
            program
                .call(
                    "ssh_shell",
                    json!({"session": "box", "command": "echo works"})
                )
                .await
                .stdout(),
            "works\n"
        );

        program.call("ssh_disconnect", json!({})).await.ok();

        assert_eq!(
            program
                .call("ssh_exec", json!({"command": "echo again"}))
                .await
                .stdout(),
            "again\n"
        );

        assert_eq!(program.close().await.0.code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_in_no_file_no_result_and_no_log() {
    const PASSWORD: &str = "pa55-correct-horse";
    const PASSPHRASE: &str = "ph4se-open-sesame";
    const WRONG: &str = "wr0ng-battery-staple";

    let world = TestHost::fake_with_password(PASSWORD);
    let key = world.folder().join("locked");
    keys::write_private_key(&key, &keys::ed25519(), Some(PASSPHRASE));
    let mut program = Program::start(&world.config, world.folder()).await;
    let mut results = String::new();

    for arguments in [
        json!({"host": "box", "password": PASSWORD}),
        json!({"host": "box", "name": "wrong", "password": WRONG}),
        json!({"host": "box", "name": "locked", "keyPath": key, "passphrase": PASSPHRASE}),
        json!({"host": "box", "name": "wrong", "keyPath": key, "passphrase": WRONG}),
        json!({"host": "box", "name": "both", "keyPath": key, "passphrase": PASSPHRASE, "password": PASSWORD}),
        // Mistakes: the wrong type, the wrong place, a name that is not one.
        json!({"host": "box", "password": {"text": PASSWORD}}),
        json!({"host": "box", "password": [PASSWORD]}),
        json!({"host": "box", "pasword": PASSWORD}),
        json!({"host": "box", "password": PASSWORD, "port": "22"}),
    ] {
        results += &program.call("ssh_connect", arguments).await.0.to_string();
    }

    for (tool, arguments) in [
        ("ssh_exec", json!({"session": "box", "command": "env"})),
        (
            "ssh_shell",
            json!({"session": "box", "command": "set; echo trace >&2"}),
        ),
        (
            "ssh_exec",
            json!({"session": "box", "command": "yes line | head -c 500000"}),
        ),
        ("ssh_sessions", json!({})),
        ("ssh_reconnect", json!({"session": "box"})),
        ("ssh_disconnect", json!({"session": "box"})),
    ] {
        results += &program.call(tool, arguments).await.ok().0.to_string();
    }

    // Not JSON, and a request that nobody knows.
    program
        .garbage(&format!("{{\"password\": \"{PASSWORD}\""))
        .await;

    results += &program
        .request("bogus/method", json!({"password": PASSWORD}))
        .await
        .to_string();

    let log = program.log();
    assert_eq!(program.close().await.0.code(), Some(0));
    let looked_at = files(world.folder());
    assert!(
        looked_at.iter().any(|path| path.ends_with("stderr.log"))
            && looked_at.iter().any(|path| path.ends_with("sessions.json"))
    );

    assert!(
        looked_at
            .iter()
            .any(|path| path.to_str().unwrap().contains("state")),
        "an output file: {looked_at:?}"
    );

    for secret in [PASSWORD, PASSPHRASE, WRONG] {
        assert!(!holds(results.as_bytes(), secret), "{secret} in a result");
        assert!(!holds(log.as_bytes(), secret), "{secret} on stderr");

        for path in &looked_at {
            assert!(
                !holds(&fs::read(path).unwrap(), secret),
                "{secret} in {}",
                path.display()
            );
        }
    }
}
