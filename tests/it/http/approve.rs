//! Questions that wait for the person's yes, answered on the page.

use std::fs;

use serde_json::{Value, json};

use super::watch::Browser;
use crate::support::{
    daemon::Daemon,
    fixture::TestHost,
    http_client::{Dialect, HttpClient, Pending},
    open_sshd::OpenSshd,
};

/// A daemon whose settings want a yes for each command on `host`, and its page.
async fn world() -> (TestHost<OpenSshd>, Daemon, Browser) {
    let host = TestHost::openssh();
    let settings = host.local("settings.toml");
    fs::write(&settings, "[host.host]\nrun = 'ask'\n").unwrap();
    let daemon = host
        .daemon(&["--settings", settings.to_str().unwrap()])
        .await;
    let browser = Browser::open(&daemon).await;

    (host, daemon, browser)
}

async fn client(daemon: &Daemon, dialect: Dialect) -> HttpClient {
    let forms = json!({"elicitation": {"form": {}}});
    HttpClient::connect_as(&daemon.address, dialect, None, forms).await
}

/// Begins a call that leaves a file, and returns it with the question at the client.
async fn begin(client: &mut HttpClient, host: &TestHost<OpenSshd>) -> (Pending, Value) {
    let command = format!("echo '<b>'; touch {}", host.remote("mark").display());
    let arguments = json!({"session": "host", "command": command});
    let mut call = client.begin_call("ssh_exec", arguments).await;
    call.wire.as_mut().unwrap().head().await.unwrap();
    let question = client.message(&mut call).await;
    assert_eq!(question["method"], "elicitation/create", "{question}");

    (call, question)
}

/// The form for an answer.
async fn form(browser: &Browser, word: &str) -> Vec<(String, String)> {
    let mut fields = browser.fields("/answer").await;
    let (_, value) = fields
        .iter_mut()
        .find(|(name, _)| name == "answer")
        .unwrap();
    let (number, _) = value.split_once(' ').unwrap();
    *value = format!("{number} {word}");
    fields
}

#[tokio::test]
async fn an_answer_on_the_page_counts_like_one_in_the_form() {
    let (host, daemon, browser) = world().await;
    let mut client = client(&daemon, Dialect::Session("2025-11-25")).await;
    client
        .call("ssh_connect", json!({"host": "host"}))
        .await
        .ok();

    let (mut call, _) = begin(&mut client, &host).await;
    browser
        .shows(&[
            "Waiting for your yes",
            "The agent wants to run this command",
            "<li>host (",
            "echo &#39;&lt;b&gt;&#39;; touch ",
            ">for this conversation</button>",
        ])
        .await;

    // Nothing but the page's own form counts.
    let fields = form(&browser, "once").await;
    for (fields, headers) in [
        (
            fields
                .iter()
                .filter(|(name, _)| name != "key")
                .cloned()
                .collect(),
            vec![],
        ),
        (fields.clone(), vec![("Cookie", "")]),
        (fields.clone(), vec![("Origin", "http://evil.example")]),
        (fields.clone(), vec![("Sec-Fetch-Site", "cross-site")]),
    ] {
        let fields: Vec<_> = fields;
        let refused = browser.post("/answer", &fields, &headers).await;
        assert_eq!(refused.status, 403, "{headers:?}: {refused:?}");
    }
    assert!(!host.remote("mark").exists());

    assert_eq!(browser.post("/answer", &fields, &[]).await.status, 303);
    let result = loop {
        let message = client.message(&mut call).await;
        if message["id"] == call.id {
            break message;
        }
    };
    assert!(host.remote("mark").exists(), "{result}");

    let page = browser.page().await.body;
    assert!(!page.contains("Waiting for your yes"), "{page}");

    // An old answer says nothing about the next question.
    fs::remove_file(host.remote("mark")).unwrap();
    let (mut call, question) = begin(&mut client, &host).await;
    assert_eq!(browser.post("/answer", &fields, &[]).await.status, 303);
    client
        .respond(&question["id"], json!({"action": "decline"}))
        .await;
    let refused = loop {
        let message = client.message(&mut call).await;
        if message["id"] == call.id {
            break message.to_string();
        }
    };
    assert!(refused.contains("was answered with no"), "{refused}");
    assert!(!host.remote("mark").exists());
}

#[tokio::test]
async fn a_parked_call_is_answered_on_the_page_too() {
    let (host, daemon, browser) = world().await;
    let mut client = client(&daemon, Dialect::Stateless).await;
    client
        .call("ssh_connect", json!({"host": "host"}))
        .await
        .ok();

    let command = format!("touch {}", host.remote("mark").display());
    let arguments = json!({"session": "host", "command": command});
    let mut exec = json!({"name": "ssh_exec", "arguments": arguments});
    let asked = client.request("tools/call", exec.clone()).await["result"].clone();
    let schema = &asked["inputRequests"]["person"]["params"]["requestedSchema"];
    // Clients that cannot be told apart have no conversation of their own.
    assert_eq!(
        schema["properties"]["answer"]["enum"],
        json!(["once", "no"]),
        "{asked}"
    );

    let fields = form(&browser, "once").await;
    assert_eq!(browser.post("/answer", &fields, &[]).await.status, 303);

    exec["requestState"] = asked["requestState"].clone();
    exec["inputResponses"] = json!({"person": {"action": "decline"}});
    let ran = client.request("tools/call", exec).await["result"].clone();
    assert_ne!(ran["isError"], true, "the first answer counts: {ran}");
    assert!(host.remote("mark").exists());
}
