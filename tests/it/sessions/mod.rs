//! Named sessions: made, listed, chosen, replaced, closed and forgotten.

mod closed;
mod fresh;
mod host_facts;
mod host_keys;
mod hosts;
mod log_in;
mod model;
mod own_words;
pub(crate) mod reconnect;
mod refused;
mod silent;
mod waiting;

use std::fs;

use russh::keys::{HashAlg, PrivateKey};
use serde_json::{Value, json};

use crate::support::{
    checks::{assert_refused, eventually},
    fake_sshd::FakeSshd,
    fixture::TestHost,
    keys,
    mcp_client::McpClient,
};

/// Writes a key pair into the folder.
fn key_file(
    world: &TestHost<FakeSshd>,
    name: &str,
    key: &PrivateKey,
    passphrase: Option<&str>,
) -> String {
    let path = world.folder().join(name);
    keys::write_private_key(&path, key, passphrase);
    path.display().to_string()
}

type Entry = (String, String, bool);

fn entry(name: &str, state: &str, default: bool) -> Entry {
    (name.to_owned(), state.to_owned(), default)
}

/// Name, state and default of every session.
async fn list(client: &mut McpClient) -> Vec<Entry> {
    let listing = client.call("ssh_sessions", json!({})).await.ok();
    let sessions = listing.structured()["sessions"].as_array().unwrap();
    let text = |session: &Value, field: &str| session[field].as_str().unwrap().to_owned();

    sessions
        .iter()
        .map(|session| {
            (
                text(session, "name"),
                text(session, "state"),
                session["default"] == true,
            )
        })
        .collect()
}

/// The names of the sessions that are listed as the default.
async fn listed_default(client: &mut McpClient) -> Vec<String> {
    list(client)
        .await
        .into_iter()
        .filter(|(_, _, default)| *default)
        .map(|(name, ..)| name)
        .collect()
}

/// The session that a call without one uses.
async fn default_of(client: &mut McpClient) -> String {
    let result = client.call("ssh_exec", json!({"command": "true"})).await;
    if result.is_error() {
        result.text()
    } else {
        result.outcome()["session"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_connected_by_alias_or_by_its_parts() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    let (port, key) = (world.sshd.port(), &world.key());
    let address = format!("ssh://agent@127.0.0.1:{port}");
    let fingerprint = world
        .sshd
        .host_public_key()
        .fingerprint(HashAlg::Sha256)
        .to_string();

    for (arguments, name) in [
        (json!({"host": "box"}), "box"),
        (json!({"host": "agent@other", "name": "second"}), "second"),
        (json!({"host": address, "keyPath": key}), address.as_str()),
        (
            json!({"host": "127.0.0.1", "user": "agent", "port": port, "keyPath": key, "name": "by parts"}),
            "by parts",
        ),
        (
            json!({"host": "127.0.0.1", "username": "agent", "port": port, "key_path": key}),
            "127.0.0.1",
        ),
    ] {
        let result = client.connect(arguments.clone()).await;
        let mut session = result.structured()["session"].clone();
        // The facts about the host have tests of their own.
        for fact in ["os", "machine", "shell", "sudo", "tools"] {
            session.as_object_mut().unwrap().remove(fact);
        }

        let expected = json!({
            "name": name, "host": arguments["host"], "hostName": "127.0.0.1", "port": port, "user": "agent",
            "state": "connected", "default": name == "box", "authMethod": "publickey", "hostKey": fingerprint,
            "connectedAt": session["connectedAt"],
        });

        assert_eq!(session, expected);
        assert!(session["connectedAt"].is_string(), "{session}");

        let begin = format!("{name}: connected · agent@127.0.0.1:{port} · publickey");
        assert!(result.text().starts_with(&begin), "{}", result.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_connected_session_is_the_default_until_changed() {
    let world = TestHost::fake();
    let mut client = world.client().await;

    for (host, default) in [("other", true), ("box", false), ("third", false)] {
        assert_eq!(
            client.connect(json!({"host": host})).await.structured()["session"]["default"],
            default
        );
    }

    assert_eq!(default_of(&mut client).await, "other");
    let chosen = client
        .call("ssh_set_default", json!({"session": "box"}))
        .await
        .ok();

    assert_eq!(chosen.structured()["session"]["default"], true);
    assert_eq!(default_of(&mut client).await, "box");
    let states = [("box", true), ("other", false), ("third", false)];
    assert_eq!(
        list(&mut client).await,
        states.map(|(name, default)| entry(name, "connected", default))
    );

    assert_eq!(
        client.call("ssh_sessions", json!({})).await.structured()["default"],
        "box"
    );

    // A session that is closed stays what it was; one that is forgotten leaves its place to the one before.
    client.call("ssh_disconnect", json!({})).await.ok();
    assert_eq!(default_of(&mut client).await, "box");
    client
        .call("ssh_disconnect", json!({"forget": true}))
        .await
        .ok();

    assert_eq!(default_of(&mut client).await, "other");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_session_is_the_default_after_the_first_is_forgotten() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    for host in ["third", "other", "box"] {
        client.connect(json!({"host": host})).await;
    }

    client
        .call(
            "ssh_disconnect",
            json!({"session": "third", "forget": true}),
        )
        .await
        .ok();

    assert_eq!(default_of(&mut client).await, "other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_choice_gives_way_to_what_a_later_process_connects() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    for host in ["box", "other", "third"] {
        client.connect(json!({"host": host})).await;
    }

    client
        .call("ssh_set_default", json!({"session": "other"}))
        .await
        .ok();

    client.close().await;
    assert_eq!(world.store()["default"], "other");

    let mut later = world.client().await;
    assert_eq!(listed_default(&mut later).await, ["other"]);
    assert_eq!(default_of(&mut later).await, "other");
    let mut another = world.client().await;
    another.connect(json!({"host": "third"})).await;
    assert_eq!(listed_default(&mut another).await, ["third"]);
    assert_eq!(default_of(&mut another).await, "third");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_session_used_by_name_becomes_the_default() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    for host in ["box", "other"] {
        client.connect(json!({"host": host})).await;
    }

    client.close().await;
    let mut later = world.client().await;
    later
        .call("ssh_exec", json!({"session": "other", "command": "true"}))
        .await
        .ok();

    assert_eq!(default_of(&mut later).await, "other");
    assert_eq!(listed_default(&mut later).await, ["other"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_stays_the_same_after_a_reconnection() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    for host in ["box", "other"] {
        client.connect(json!({"host": host})).await;
    }

    client.close().await;
    let mut later = world.client().await;

    for _ in 0..2 {
        for host in ["other", "box"] {
            later
                .call("ssh_exec", json!({"session": host, "command": "true"}))
                .await
                .ok();
        }

        world.sshd.drop_connections();
        later
            .call("ssh_reconnect", json!({"session": "other"}))
            .await
            .ok();

        assert_eq!(default_of(&mut later).await, "other");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_default_the_error_names_the_sessions_there_are() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    let refused = client.call("ssh_exec", json!({"command": "true"})).await;
    assert_refused(&refused, &["no default session", "ssh_connect"]);

    for host in ["box", "other"] {
        client.connect(json!({"host": host})).await;
        client.close().await;
        client = world.client().await;

        if host == "box" {
            assert_eq!(
                default_of(&mut client).await,
                "box",
                "the only one there is"
            );
        }
    }

    let refused = client.call("ssh_exec", json!({"command": "true"})).await;
    assert_refused(
        &refused,
        &["no default session", "box, other", "ssh_set_default"],
    );

    for tool in [
        "ssh_exec",
        "ssh_shell",
        "ssh_upload",
        "ssh_download",
        "ssh_reconnect",
        "ssh_disconnect",
        "ssh_set_default",
    ] {
        let mut arguments = json!({"session": "nobody"});

        match tool {
            "ssh_exec" | "ssh_shell" => arguments["command"] = json!("true"),
            "ssh_upload" | "ssh_download" => {
                (arguments["localPath"], arguments["remotePath"]) =
                    (json!("/nothing"), json!("/nothing"));
            }
            _ => {}
        }

        let refused = client.call(tool, arguments).await;
        assert_refused(
            &refused,
            &["no session \"nobody\"", "box, other", "ssh_sessions"],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_with_their_state_unless_forgotten() {
    let world = TestHost::fake();
    let mut client = world.client().await;

    assert_eq!(
        client
            .call("ssh_sessions", json!({}))
            .await
            .ok()
            .structured(),
        &json!({"sessions": [], "hosts": [{"name": "host"}, {"name": "box"}, {"name": "other"}, {"name": "third"}]})
    );

    for host in ["box", "other"] {
        client.connect(json!({"host": host})).await;
    }

    client.close().await;

    let mut client = world.client().await;
    assert_eq!(
        list(&mut client).await,
        [entry("box", "saved", false), entry("other", "saved", false)]
    );

    client
        .call("ssh_reconnect", json!({"session": "box"}))
        .await
        .ok();

    assert_eq!(
        list(&mut client).await,
        [
            entry("box", "connected", true),
            entry("other", "saved", false)
        ]
    );

    let closed = client
        .call("ssh_disconnect", json!({"session": "box"}))
        .await
        .ok();

    assert_eq!(closed.structured()["session"]["state"], "disconnected");
    assert_eq!(closed.structured()["forgotten"], false);

    assert_eq!(
        list(&mut client).await,
        [
            entry("box", "disconnected", true),
            entry("other", "saved", false)
        ]
    );

    let text = client.call("ssh_sessions", json!({})).await.text();
    assert!(
        text.contains("box: disconnected") && text.contains("other: saved"),
        "{text}"
    );

    let forgotten = client
        .call("ssh_disconnect", json!({"session": "box", "forget": true}))
        .await
        .ok();

    assert_eq!(forgotten.structured()["forgotten"], true);
    assert_eq!(list(&mut client).await, [entry("other", "saved", true)]);

    client
        .call(
            "ssh_disconnect",
            json!({"session": "other", "forget": true}),
        )
        .await
        .ok();

    assert_eq!(list(&mut client).await, []);
    assert_eq!(world.store()["sessions"], json!([]));

    // Neither a session nor a host whose key is known.
    fs::write(world.folder().join("known_hosts"), "").unwrap();
    assert_refused(
        &client
            .call("ssh_reconnect", json!({"session": "box"}))
            .await,
        &["no session \"box\""],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_keeps_its_connection_unless_its_destination_changes() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    client.connect(json!({"host": "box", "name": "work"})).await;
    client
        .call("ssh_shell", json!({"command": "kept=yes"}))
        .await
        .ok();

    let again = client.connect(json!({"host": "box", "name": "work"})).await;
    assert_eq!(
        (world.sshd.connections(), again.structured().get("notices")),
        (1, None)
    );

    assert_eq!(
        client
            .call("ssh_shell", json!({"command": "echo $kept"}))
            .await
            .stdout(),
        "yes\n"
    );

    let other = TestHost::fake();
    let (host, port) = ("127.0.0.1", other.sshd.port());
    fs::write(
        world.folder().join("known_hosts"),
        other.sshd.known_hosts_line(),
    )
    .unwrap();

    let arguments = json!({"host": host, "user": "agent", "port": port, "keyPath": other.key(), "name": "work"});
    let replaced = client.connect(arguments).await;
    let notice = replaced.structured()["notices"][0]
        .as_str()
        .unwrap()
        .to_owned();

    assert!(
        notice.contains("work") && notice.contains("another destination"),
        "{notice}"
    );

    assert!(replaced.text().contains(&notice), "{}", replaced.text());

    assert_eq!(
        client
            .call("ssh_exec", json!({"command": "echo $SSH_CONNECTION"}))
            .await
            .stdout()
            .split(' ')
            .nth(3),
        Some(format!("{port}\n").as_str())
    );

    assert_eq!((world.sshd.connections(), other.sshd.connections()), (1, 1));
    assert_eq!(world.store()["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(world.store()["sessions"][0]["port"], port);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_attempt_leaves_the_session_of_that_name_as_it_was() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    client.connect(json!({"host": "box", "name": "work"})).await;

    let refused = client
        .call(
            "ssh_connect",
            json!({"host": "nowhere.invalid", "name": "work"}),
        )
        .await;

    assert_refused(&refused, &["nowhere.invalid"]);

    assert_refused(
        &client
            .call("ssh_connect", json!({"host": "nowhere.invalid"}))
            .await,
        &[],
    );

    assert_eq!(list(&mut client).await, [entry("work", "connected", true)]);

    assert_eq!(
        client
            .call("ssh_exec", json!({"command": "echo ok"}))
            .await
            .stdout(),
        "ok\n"
    );

    assert_eq!(
        (
            world.sshd.connections(),
            &world.store()["sessions"][0]["host"]
        ),
        (1, &json!("box"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_a_session_stops_commands_and_the_next_call_connects() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    client.connect(json!({"host": "box"})).await;
    let running = client
        .begin_call("ssh_exec", json!({"command": "sleep 40.5"}))
        .await;
    eventually("the command runs", || world.runs("40.5")).await;
    client.call("ssh_disconnect", json!({})).await.ok();
    let stopped = client.finish(running).await;

    assert_eq!(
        stopped.outcome()["status"],
        "cancelled",
        "{}",
        stopped.text()
    );

    eventually("the command is gone", || !world.runs("40.5")).await;

    assert_eq!(
        client
            .call("ssh_exec", json!({"command": "echo back"}))
            .await
            .stdout(),
        "back\n"
    );

    assert_eq!(world.sshd.connections(), 2);
}
