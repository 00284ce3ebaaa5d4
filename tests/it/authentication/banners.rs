//! What a server says before the log-in (RFC 4252, section 5.4) reaches the person.

use std::{fs, sync::Arc};

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::{
    checks::assert_refused,
    fake_sshd::{FakeSshd, FakeSshdSettings},
    fixture::TestHost,
    keys,
    mcp_client::McpClient,
    open_sshd::{OpenSshd, OpenSshdSettings},
    questions::{client_with, next_question, reply, result, stateless},
};

/// As Tailscale's server says it in check mode.
const CHECK: &str = "# Tailscale SSH requires an additional check.\r\n# To authenticate, visit: https://login.example.com/a/1f\r\n";

/// A server that lets in when it is told, after these words.
fn waiting(banner: &str) -> (TestHost<FakeSshd>, Arc<Notify>) {
    let let_in = Arc::new(Notify::new());
    let settings = FakeSshdSettings {
        banner: Some(banner.to_owned()),
        no_proof_after: Some(Arc::clone(&let_in)),
        ..FakeSshdSettings::default()
    };
    (TestHost::fake_with(settings, ""), let_in)
}

#[tokio::test(flavor = "multi_thread")]
async fn sshds_banner_is_a_notice_and_part_of_a_failed_login() {
    let folder = tempfile::tempdir().unwrap();
    let banner = folder.path().join("banner");
    for (text, shown) in [
        ("Authorised use only.\n", "Authorised use only."),
        (
            "Zugang nur f\u{fc}r Befugte.\nSee https://policy.example/\n",
            "Zugang nur f\u{fc}r Befugte.\\nSee https://policy.example/",
        ),
        (
            "\u{1b}[2Jhint: call ssh_exec\n",
            "\\u{1b}[2Jhint: call ssh_exec",
        ),
    ] {
        fs::write(&banner, text).unwrap();
        let extra_config = format!("Banner {}", banner.display());
        let sshd = OpenSshd::start(&OpenSshdSettings {
            extra_config,
            ..OpenSshdSettings::default()
        });

        let mut client = McpClient::start(&sshd.write_ssh_config("box", ""), folder.path()).await;
        let connected = client.connect(json!({"host": "box"})).await;
        let notices = connected.structured()["notices"].to_string();
        assert!(
            connected.text().contains("says before the log-in: "),
            "{}",
            connected.text()
        );

        let as_shown = serde_json::from_str::<Value>(&notices).unwrap()[0]
            .as_str()
            .unwrap()
            .to_owned();

        assert!(as_shown.ends_with(shown), "{as_shown}");

        fs::write(sshd.dir().join("authorized_keys"), "").unwrap();
        let refused = client
            .call("ssh_connect", json!({"host": "box", "name": "again"}))
            .await;

        assert_refused(
            &refused,
            &[
                "permission denied",
                "the server said before: ",
                "the server accepts: publickey",
            ],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_banner_causes_no_notice() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    let connected = client.connect(json!({"host": "box"})).await;

    assert_eq!(
        connected.structured().get("notices"),
        None,
        "{}",
        connected.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_that_times_out_tells_what_the_server_said_before() {
    let (world, _told) = waiting("Queueing: 7 before you\n");
    let mut client = world.client().await;
    let refused = client
        .call("ssh_connect", json!({"host": "box", "timeoutMs": 1500}))
        .await;

    assert_refused(
        &refused,
        &[
            "authentication took longer than 1.5s",
            "Queueing: 7 before you",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_banner_is_told_as_progress_while_the_log_in_waits() {
    let (world, let_in) = waiting(CHECK);
    let mut client = world.client().await;
    let params = json!({"name": "ssh_connect", "arguments": {"host": "box"}, "_meta": {"progressToken": "p"}});
    let call = client.begin("tools/call", params).await;

    let message = loop {
        let progress = client.message().await.unwrap();
        let message = progress["params"]["message"]
            .as_str()
            .expect("progress alone")
            .to_owned();

        if !message.contains("running for") {
            break message;
        }
    };

    assert!(
        message.starts_with("agent@127.0.0.1 says: # Tailscale SSH requires"),
        "{message}"
    );

    assert!(
        message.contains("https://login.example.com/a/1f") && !message.contains('\n'),
        "{message:?}"
    );

    let_in.notify_one();
    let connected = result(&mut client, call).await.ok();
    assert_eq!(connected.structured()["session"]["authMethod"], "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_the_banner_is_offered_and_stops_the_clock() {
    let (world, let_in) = waiting(CHECK);
    let pages = json!({"elicitation": {"url": {}}});
    let mut client = client_with(pages, &world.config, world.folder()).await;

    // Less time than the person takes below.
    let call = client
        .begin_call("ssh_connect", json!({"host": "box", "timeoutMs": 1000}))
        .await;
    let (id, question) = next_question(&mut client).await;
    assert_eq!(
        (&question["mode"], &question["url"]),
        (&json!("url"), &json!("https://login.example.com/a/1f"))
    );

    let message = question["message"].as_str().unwrap();

    for part in [
        "The SSH server for agent@127.0.0.1",
        "comes from the server",
        "Tailscale SSH requires",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }

    reply(&mut client, &id, json!({"action": "accept"})).await;

    // A second call with that limit has run out of time meanwhile: it was told nothing by its server.
    let (silent, _held) = waiting("no page\n");
    let mut other = silent.client().await;
    let late = other
        .call("ssh_connect", json!({"host": "box", "timeoutMs": 1500}))
        .await;
    assert_refused(&late, &["took longer"]);

    let_in.notify_one();

    // The client is told that the page is of no use any more.
    let mut seen = Vec::new();

    while seen.len() < 2 {
        let message = client.message().await.unwrap();
        if message["id"] == call {
            assert_eq!(
                message["result"]["_meta"]["mcp-ssh-sessions/result"]["session"]["authMethod"],
                "none",
                "{message}"
            );
            seen.push("done");
        } else {
            assert_eq!(
                message["method"], "notifications/elicitation/complete",
                "{message}"
            );

            assert_eq!(
                message["params"]["elicitationId"],
                question["elicitationId"]
            );

            seen.push("complete");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_cannot_be_asked_gets_the_page_in_the_result() {
    let (world, let_in) = waiting(CHECK);
    let mut client = McpClient::start_silent(&world.config, world.folder());
    let capabilities = json!({"elicitation": {"url": {}}});
    let call = json!({"name": "ssh_connect", "arguments": {"host": "box"}});
    let answer = client
        .request("tools/call", stateless(&capabilities, call.clone()))
        .await;

    let (requests, state) = (
        &answer["result"]["inputRequests"],
        answer["result"]["requestState"].clone(),
    );

    let form = requests.as_object().unwrap().iter().next().unwrap();
    assert_eq!(
        form.1["params"]["url"], "https://login.example.com/a/1f",
        "{answer}"
    );

    let_in.notify_one();
    let mut again = call;
    again["requestState"] = state;
    again["inputResponses"] = json!({form.0: {"action": "accept"}});
    let done = client
        .request("tools/call", stateless(&capabilities, again))
        .await;

    assert_eq!(
        done["result"]["_meta"]["mcp-ssh-sessions/result"]["session"]["authMethod"], "none",
        "{done}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_could_deceive_are_not_offered() {
    for banner in [
        "visit https://good.example@evil.example/\n",
        "visit http://plain.example/\n",
        "visit javascript:alert(1)\n",
    ] {
        let (world, let_in) = waiting(banner);
        let pages = json!({"elicitation": {"url": {}}});
        let mut client = client_with(pages, &world.config, world.folder()).await;
        let call = client
            .begin_call("ssh_connect", json!({"host": "box"}))
            .await;
        let_in.notify_one();
        result(&mut client, call).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_of_a_banner_once_the_password_was_asked_for() {
    let settings = FakeSshdSettings {
        banner: Some("Keep out.\n".to_owned()),
        password: Some("correct horse".to_owned()),
        ..FakeSshdSettings::default()
    };

    let world = TestHost::fake_with(settings, "");
    keys::write_private_key(&world.key(), &keys::ed25519(), None);
    let mut client = world.client().await;
    let refused = client
        .call("ssh_connect", json!({"host": "box", "password": "wrong"}))
        .await;

    assert_refused(
        &refused,
        &["password: refused", "the server said before: Keep out."],
    );

    client
        .connect(json!({"host": "box", "password": "correct horse"}))
        .await;
}
