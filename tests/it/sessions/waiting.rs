//! `ssh_reconnect` with `waitMs`: waiting for a host that is down.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use mcp_ssh_sessions::{
    event::Event,
    session::{
        caller::Caller,
        error::SessionError,
        registry::{RegistryOptions, SessionRegistry},
    },
};
use serde_json::{Value, json};

use super::reconnect::eventually_disconnected;
use crate::support::{
    checks::{assert_refused, plain},
    fixture::TestHost,
    mcp_client::McpClient,
};

/// Longer than any test waits for the host.
const WAIT_MS: u64 = 120_000;

impl McpClient {
    /// Begins a wait for the default session's host, and waits until an attempt has failed. Returns the call and the
    /// message of the progress.
    async fn begin_wait(&mut self) -> (u64, String) {
        let params = json!({
            "name": "ssh_reconnect", "arguments": {"waitMs": WAIT_MS}, "_meta": {"progressToken": "p"},
        });
        let call = self.begin("tools/call", params).await;

        loop {
            let message = self.message().await.expect("the server goes on");
            assert_ne!(message["id"], call, "it gave up: {message}");
            if let Value::String(text) = &message["params"]["message"]
                && text.contains("not back")
            {
                return (call, text.clone());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_restarts_is_waited_for_in_one_call() {
    let mut bench = TestHost::openssh().connect().await;
    bench.shell("cd /tmp", plain()).await;
    bench.host.sshd.stop();
    eventually_disconnected(&mut bench.mcp).await;
    let (call, progress) = bench.mcp.begin_wait().await;
    assert!(progress.contains("could not connect"), "{progress}");

    bench.host.sshd.start_again();
    let back = bench.mcp.finish(call).await.ok();
    let facts = back.structured();
    assert_eq!(facts["session"]["state"], "connected", "{}", back.text());
    assert!(facts["waitedMs"].as_u64().unwrap() > 0, "{facts}");
    assert!(
        back.text().contains("back: ") && back.text().contains(" attempts in "),
        "{}",
        back.text()
    );

    assert_eq!(bench.shell("pwd", plain()).await.stdout(), "/tmp\n");
    let kept = bench
        .mcp
        .call("ssh_reconnect", json!({"waitMs": WAIT_MS}))
        .await
        .ok();
    assert_eq!(kept.structured()["connection"], "kept", "{}", kept.text());
    assert!(kept.structured()["waitedMs"].is_null(), "{}", kept.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_when_its_time_is_over() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    client.connect(json!({"host": "box"})).await;
    world.sshd.refuse_connections(true).await;
    world.sshd.drop_connections();

    let started = Instant::now();
    let refused = client.call("ssh_reconnect", json!({"waitMs": 2500})).await;
    assert_refused(&refused, &["could not connect", "2 attempts in "]);
    assert!(started.elapsed() < Duration::from_secs(20));

    for wrong in [json!(-1), json!(86_400_001), json!("soon")] {
        let refused = client.call("ssh_reconnect", json!({"waitMs": wrong})).await;
        assert_refused(&refused, &["waitMs"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_attempt_cannot_change_ends_a_wait() {
    // The host comes back with another key.
    let world = TestHost::fake();
    let mut client = world.client().await;
    client.connect(json!({"host": "box"})).await;
    world.sshd.refuse_connections(true).await;
    world.sshd.drop_connections();
    let (call, _) = client.begin_wait().await;
    world.sshd.replace_host_key();
    world.sshd.refuse_connections(false).await;
    let refused = client.finish(call).await;
    assert_refused(&refused, &["HAS CHANGED", " attempts in "]);

    // The host does not take the key of the user any more.
    let mut bench = TestHost::openssh().connect().await;
    fs::write(bench.sshd.dir().join("authorized_keys"), "").unwrap();
    bench.sshd.kill_connections();
    let refused = bench
        .mcp
        .call("ssh_reconnect", json!({"waitMs": WAIT_MS}))
        .await;
    assert_refused(&refused, &["permission denied"]);
    assert!(
        !refused.text().contains("attempts in"),
        "{}",
        refused.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_with_its_session_and_with_its_caller() {
    let world = TestHost::fake();
    let registry = SessionRegistry::new(RegistryOptions {
        ssh_config: Some(world.config.clone()),
        store: Some(world.local("sessions.json")),
        output: Some(world.local("output")),
        settings: Arc::default(),
        own: Vec::new(),
        askpass: None,
    });

    let mut client = McpClient::with_registry(Arc::clone(&registry));
    client.initialize().await;
    client.connect(json!({"host": "box"})).await;
    world.sshd.refuse_connections(true).await;
    world.sshd.drop_connections();

    let (call, _) = client.begin_wait().await;
    client.call("ssh_disconnect", plain()).await.ok();
    assert_refused(&client.finish(call).await, &["cancelled"]);

    let (caller, failed) = (Caller::default(), Event::new());
    let wait = Duration::from_millis(WAIT_MS);
    let waiting = registry.reconnect(None, false, wait, &caller, |_| failed.set());
    let cancelling = async {
        failed.wait().await;
        caller.cancelled.cancel();
    };
    let (ended, ()) = tokio::join!(waiting, cancelling);
    assert!(matches!(ended, Err(SessionError::Cancelled)), "{ended:?}");
}
