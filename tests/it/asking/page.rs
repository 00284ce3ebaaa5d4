//! The page itself: what it shows, and whose answers it takes.

use std::net::TcpStream;

use serde_json::json;

use crate::support::{
    checks::assert_refused,
    fake_sshd::FakeSshd,
    fixture::TestHost,
    mcp_client::McpClient,
    page::Page,
    questions::{reply, result},
    wire::{Wire, request},
};

/// A client that was just asked for the password `correct horse`, and its call.
async fn asked(world: &TestHost<FakeSshd>) -> (McpClient, u64, Page) {
    let mut client = super::secrets::client_of(world).await;
    let call = client
        .begin_call("ssh_connect", json!({"host": "box"}))
        .await;
    let (id, page) = Page::next(&mut client).await;
    reply(&mut client, &id, json!({"action": "accept"})).await;
    (client, call, page)
}

#[tokio::test]
async fn only_the_page_itself_can_answer() {
    let world = TestHost::fake_with_password("correct horse");
    let (mut client, call, page) = asked(&world).await;
    let (port, path) = (page.address.port(), page.path.clone());
    let (foreign, wrong_port) = (
        format!("evil.example:{port}"),
        format!("http://127.0.0.1:{}", port ^ 1),
    );

    let right = "answer0=correct+horse";
    let rebound = [("Host", foreign.as_str())];

    for (method, path, headers, status) in [
        ("GET", "/", &[][..], 404),
        ("GET", "/favicon.ico", &[], 404),
        ("GET", &format!("{path}/"), &[], 404),
        ("GET", path.strip_suffix(|_| true).unwrap(), &[], 404),
        ("POST", "/00000000000000000000000000000000", &[], 404),
        ("GET", &path, &rebound, 403),
        ("POST", &path, &rebound, 403),
        ("POST", &path, &[("Host", "127.0.0.1")], 403),
        ("POST", &path, &[("Origin", "http://evil.example")], 403),
        ("POST", &path, &[("Origin", "null")], 403),
        ("POST", &path, &[("Origin", &wrong_port)], 403),
        ("POST", &path, &[("Sec-Fetch-Site", "cross-site")], 403),
        ("POST", &path, &[("Sec-Fetch-Site", "same-site")], 403),
        ("PUT", &path, &[], 405),
        ("DELETE", &path, &[], 405),
        // The link may stand in a client that is itself a web page.
        ("GET", &path, &[("Sec-Fetch-Site", "cross-site")], 200),
    ] {
        let body = if method == "POST" { right } else { "" };
        let answer = page.send(method, path, headers, body).await.unwrap();
        assert_eq!(
            answer.status, status,
            "{method} {path} {headers:?}: {answer:?}"
        );

        assert_eq!(answer.body.contains("<form"), status == 200, "{answer:?}");
    }

    for (body, status) in [
        ("", 400),
        ("answer1=x", 400),
        ("Answer0=x", 400),
        (&*format!("answer0={}", "x".repeat(64 * 1024)), 413),
    ] {
        let answer = page.send("POST", &page.path, &[], body).await.unwrap();
        assert_eq!(answer.status, status, "{} bytes: {answer:?}", body.len());
    }

    page.type_in("correct horse").await;
    assert!(!result(&mut client, call).await.is_error());

    // Nothing that was sent before went to the server.
    assert_eq!(
        world
            .sshd
            .attempts()
            .iter()
            .filter(|method| **method == "password")
            .count(),
        1
    );
}

#[tokio::test]
async fn every_answer_of_the_page_forbids_caches_and_frames() {
    let world = TestHost::fake_with_password("correct horse");
    let (mut client, call, page) = asked(&world).await;
    let wrong = page.send("GET", "/", &[], "").await.unwrap();

    for answer in [
        page.get().await,
        wrong,
        page.post(&[("answer0", "correct horse")]).await,
    ] {
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("cache-control", "no-store"),
            // `no-referrer` would have browsers send `Origin: null`.
            ("referrer-policy", "same-origin"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{answer:?}");
        }

        let policy = answer.header("content-security-policy").unwrap();

        for part in [
            "default-src 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(
                policy.split("; ").any(|each| each == part),
                "{part}: {policy}"
            );
        }

        let outside = ["<script", "http://", "https://", "src=", "href=", "correct"];
        assert!(
            outside.iter().all(|part| !answer.body.contains(part)),
            "{answer:?}"
        );

        assert!(
            answer.header("set-cookie").is_none()
                && answer.header("access-control-allow-origin").is_none()
        );
    }

    assert!(!result(&mut client, call).await.is_error());
}

#[tokio::test]
async fn browsers_are_told_that_what_is_typed_is_for_one_time() {
    let world = TestHost::fake_with_password("correct horse");
    let (mut client, call, page) = asked(&world).await;
    let form = page.get().await.body;
    let fields: Vec<&str> = form
        .split("<input ")
        .skip(1)
        .map(|field| field.split('>').next().unwrap())
        .collect();

    assert_eq!(fields.len(), 1, "{form}");
    for part in ["type=\"password\"", "autocomplete=\"one-time-code\""] {
        assert!(fields[0].contains(part), "{part}: {form}");
    }

    page.type_in("correct horse").await;
    assert!(!result(&mut client, call).await.is_error());
}

#[tokio::test]
async fn who_comes_late_is_told_so_and_then_the_page_is_gone() {
    let world = TestHost::fake_with_password("correct horse");
    let (mut client, call, page) = asked(&world).await;

    // Both are there when the first answers, as after a double click.
    let mut second = Wire::connect(&page.address).await;
    let (host, body) = (page.address.host(), "answer0=other");
    page.type_in("correct horse").await;
    second
        .send(request("POST", &page.path, &[("Host", &host)], body))
        .await;

    if let Some(late) = second.answer().await {
        assert!(
            late.status == 410 && late.body.contains("Too late"),
            "{late:?}"
        );
    }

    assert!(!result(&mut client, call).await.is_error());
    page.assert_gone().await;

    assert_eq!(
        world
            .sshd
            .attempts()
            .iter()
            .filter(|method| **method == "password")
            .count(),
        1
    );
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn another_user_neither_sees_the_page_nor_answers_it() {
    use std::io::{Read as _, Write as _};

    let world = TestHost::fake_with_password("correct horse");
    let (mut client, call, page) = asked(&world).await;

    for (method, body) in [("GET", ""), ("POST", "answer0=correct+horse")] {
        let text = request(
            method,
            &page.path,
            &[("Host", &page.address.host()), ("Connection", "close")],
            body,
        );

        let port = page.address.port();

        let received = crate::support::other_user::as_other(move || {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream
                .set_read_timeout(Some(std::time::Duration::from_secs(30)))
                .unwrap();

            let _ = stream.write_all(text.as_bytes());
            let mut received = Vec::new();
            let ended = stream.read_to_end(&mut received);
            assert!(
                ended.is_ok()
                    || ended
                        .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
            );

            received
        });

        assert!(received.unwrap_or_default().is_empty());
    }

    assert_eq!(
        world
            .sshd
            .attempts()
            .iter()
            .filter(|method| **method == "password")
            .count(),
        0
    );

    // Nor do many of its connections keep this user out.
    let port = page.address.port();

    let held = crate::support::other_user::as_other(move || {
        let connect = |_| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nX-Slow: ");
            stream
        };
        (0..300).map(connect).collect::<Vec<_>>()
    });

    assert_eq!(page.get().await.status, 200);
    drop(held);
    let refused = page.post(&[("answer0", "x"), ("refuse", "1")]).await;
    assert!(
        refused.status == 200 && refused.body.contains("Not answered"),
        "{refused:?}"
    );

    assert_refused(&result(&mut client, call).await, &["permission denied"]);
}
