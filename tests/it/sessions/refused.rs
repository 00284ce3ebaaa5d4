//! Destinations and names that cannot be, and hosts that are not there.

use serde_json::json;

use crate::support::{checks::assert_refused, fixture::TestHost};

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_or_user_that_ssh_would_misread_is_refused() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    let proof = world.folder().join("proof");
    let injected = format!("-oProxyCommand=touch {}", proof.display());

    for (arguments, part) in [
        (json!({"host": injected}), "begins with `-`"),
        (json!({"host": "-box"}), "begins with `-`"),
        (json!({"host": "agent@-box"}), "begins with `-`"),
        (json!({"host": "ssh://-box"}), "begins with `-`"),
        (
            json!({"host": "box", "user": "-oProxyCommand=touch proof"}),
            "begins with `-`",
        ),
        (json!({"host": ""}), "empty"),
        (json!({"host": "box\n"}), "not allowed"),
        (json!({"host": "bo\u{0}x"}), "not allowed"),
        (json!({"host": "bo\u{1b}[2Jx"}), "not allowed"),
        (json!({"host": "box; touch proof"}), "not allowed"),
        (json!({"host": "box", "user": "a\tb"}), "not allowed"),
        (json!({"host": "x".repeat(5000)}), "longer than"),
        (json!({"host": "box", "name": "a\nb"}), "control character"),
        (json!({"host": "box", "name": " a "}), "white space"),
        (json!({"host": "box", "name": "n".repeat(400)}), "at most"),
        (json!({"host": "box", "port": 0}), "port"),
        (json!({"host": "box", "port": 70000}), "port"),
        (json!({"host": "box", "timeoutMs": 0}), "timeoutMs"),
    ] {
        let refused = client.call("ssh_connect", arguments).await;
        assert_refused(&refused, &[part]);
        assert!(
            !refused.text().contains('\u{1b}') && refused.text().lines().count() == 2,
            "{:?}",
            refused.text()
        );
    }

    assert_eq!(world.sshd.connections(), 0);
    assert!(!proof.exists() && !world.sshd.home().join("proof").exists());
    assert!(
        !world.folder().join("sessions.json").exists(),
        "nothing is saved of it"
    );

    client.connect(json!({"host": "box"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_there_is_told_by_the_stage_that_failed() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();

    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let greeter = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let greeter_port = greeter.local_addr().unwrap().port();

    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = greeter.accept() {
            use std::io::Write as _;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });

    for (arguments, parts) in [
        (
            json!({"host": "nowhere.invalid"}),
            [
                "could not resolve the host name",
                "nowhere.invalid",
                "spelling",
            ],
        ),
        (
            json!({"host": "127.0.0.1", "port": closed}),
            ["could not connect", "refused", "check host and port"],
        ),
        (
            json!({"host": "127.0.0.1", "port": silent.local_addr().unwrap().port(), "timeoutMs": 500}),
            ["the SSH handshake", "500ms", "timeoutMs"],
        ),
        (
            json!({"host": "127.0.0.1", "port": greeter_port, "timeoutMs": 5000}),
            [
                "the SSH handshake with 127.0.0.1 failed",
                "",
                "those of an SSH server",
            ],
        ),
    ] {
        assert_refused(&client.call("ssh_connect", arguments).await, &parts);
    }

    world.sshd.refuse_connections(true).await;
    assert_refused(
        &client.call("ssh_connect", json!({"host": "box"})).await,
        &["could not connect", "refused"],
    );

    world.sshd.refuse_connections(false).await;
    client.connect(json!({"host": "box"})).await;

    assert_eq!(
        client.call("ssh_sessions", json!({})).await.structured()["sessions"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_configuration_is_told_in_the_words_of_ssh() {
    let world = TestHost::fake();
    std::fs::write(&world.config, "Host box\nNoSuchOption yes\n").unwrap();
    let mut client = world.client().await;
    let refused = client.call("ssh_connect", json!({"host": "box"})).await;
    assert_refused(
        &refused,
        &["ssh refused the destination", "nosuchoption", "ssh -G"],
    );

    std::fs::remove_file(&world.config).unwrap();
    assert_refused(
        &client.call("ssh_connect", json!({"host": "box"})).await,
        &["ssh refused the destination"],
    );
}
