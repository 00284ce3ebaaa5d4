//! Bytes that are no HTTP, or HTTP that two readers could read differently, and clients that never come to an end.

use std::time::{Duration, Instant};

use super::{bare, health};
use crate::support::wire::{DaemonAddress, Wire, request};

/// A request in the body of another. It is never answered.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

/// The statuses of all that is answered until the connection ends.
async fn statuses(address: &DaemonAddress, text: &[u8], half_close: bool) -> Vec<u16> {
    let mut wire = Wire::connect(address).await;
    wire.send(text).await;
    if half_close {
        wire.half_close().await;
    }

    let mut statuses = Vec::new();
    while let Some(answer) = wire.answer().await {
        statuses.push(answer.status);
    }

    statuses
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn an_ambiguous_request_is_refused_and_hides_no_second_one() {
    let (daemon, _folder) = bare(&[]).await;
    let address = &daemon.address;
    let host = address.host();
    let post = |headers: &str, body: &str| {
        format!("POST /health HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n\r\n{body}")
    };
    let length = HIDDEN.len();

    let last = request(
        "GET",
        "/health",
        &[("Host", &host), ("Connection", "close")],
        "",
    );

    for (what, text) in [
        (
            "both lengths, the end first",
            post(
                "Content-Length: 4\r\nTransfer-Encoding: chunked",
                &format!("0\r\n\r\n{HIDDEN}"),
            ),
        ),
        (
            "both lengths, the hidden one within",
            post(
                &format!(
                    "Transfer-Encoding: chunked\r\nContent-Length: {}",
                    length + 5
                ),
                &format!("0\r\n\r\n{HIDDEN}"),
            ),
        ),
        (
            "two lengths",
            post(
                &format!("Content-Length: 0\r\nContent-Length: {length}"),
                HIDDEN,
            ),
        ),
        (
            "two lengths, the other way round",
            post(
                &format!("Content-Length: {length}\r\nContent-Length: 0"),
                HIDDEN,
            ),
        ),
        (
            "two lengths in one",
            post(&format!("Content-Length: 0, {length}"), HIDDEN),
        ),
        ("a signed length", post("Content-Length: +0", HIDDEN)),
        ("a negative length", post("Content-Length: -1", HIDDEN)),
        ("a length in base 16", post("Content-Length: 0x0", HIDDEN)),
        (
            "a length that overflows",
            post("Content-Length: 18446744073709551616", HIDDEN),
        ),
        (
            "an encoding that is none",
            post("Transfer-Encoding: chunke", HIDDEN),
        ),
        (
            "chunked, but not last",
            post(
                "Transfer-Encoding: chunked, identity",
                &format!("0\r\n\r\n{HIDDEN}"),
            ),
        ),
        (
            "a blank before the colon",
            post("Content-Length : 0", HIDDEN),
        ),
        (
            "a folded header",
            post("X-A: b\r\n Content-Length: 0", HIDDEN),
        ),
        ("a NUL in a header", post("X-A: b\0c", HIDDEN)),
        (
            "a CR in a header",
            post("X-A: b\rContent-Length: 0", HIDDEN),
        ),
        ("a header without a name", post(": b", HIDDEN)),
        ("a header without a colon", post("nonsense", HIDDEN)),
        (
            "a chunk whose size is none",
            post("Transfer-Encoding: chunked", &format!("zz\r\n{HIDDEN}")),
        ),
        (
            "a negative chunk",
            post("Transfer-Encoding: chunked", &format!("-1\r\n{HIDDEN}")),
        ),
        (
            "a chunk whose size overflows",
            post(
                "Transfer-Encoding: chunked",
                &format!("10000000000000000\r\n{HIDDEN}"),
            ),
        ),
        (
            "a chunk that is longer than it says",
            post(
                "Transfer-Encoding: chunked",
                &format!("1\r\nab\r\n0\r\n\r\n{HIDDEN}"),
            ),
        ),
    ] {
        // Were the hidden one taken for a request, it would be answered with 403, and the last one with 200.
        let statuses = statuses(address, format!("{text}{last}").as_bytes(), false).await;
        assert!(
            matches!(statuses[..], [] | [400 | 405]),
            "{what}: {statuses:?}"
        );

        assert_eq!(health(address).await["status"], "ok", "after {what}");
    }
}

#[tokio::test]
async fn requests_sent_at_once_are_answered_one_by_one() {
    let (daemon, _folder) = bare(&[]).await;
    let address = &daemon.address;
    let host = address.host();
    let good = request("GET", "/health", &[("Host", &host)], "");
    let evil = request("GET", "/health", &[("Host", "evil.example")], "");

    let last = request(
        "GET",
        "/health",
        &[("Host", &host), ("Connection", "close")],
        "",
    );

    assert_eq!(
        statuses(
            address,
            format!("{good}{evil}{good}{last}").as_bytes(),
            false
        )
        .await,
        [200, 403, 200, 200]
    );
}

#[tokio::test]
async fn what_is_no_http_is_answered_with_400_or_not_at_all() {
    let (daemon, _folder) = bare(&[]).await;
    let address = &daemon.address;
    let binary: Vec<u8> = (0..=255).cycle().take(100_000).collect();

    for (what, bytes) in [
        ("nothing", &b""[..]),
        ("an empty line", b"\r\n"),
        ("words", b"hello\r\n\r\n"),
        ("HTTP/0.9", b"GET /health\r\n\r\n"),
        ("HTTP/9.9", b"GET /health HTTP/9.9\r\n\r\n"),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("TLS", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"),
        ("SSH", b"SSH-2.0-OpenSSH_9.9\r\n"),
        ("JSON-RPC", br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#),
        (
            "a target with a blank",
            b"GET /hea lth HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ),
        ("half a head", b"GET /health HTTP/1.1\r\nHost: "),
        ("any byte", &binary),
    ] {
        let statuses = statuses(address, bytes, true).await;
        assert!(matches!(statuses[..], [] | [400]), "{what}: {statuses:?}");
        assert_eq!(health(address).await["status"], "ok", "after {what}");
    }
}

#[tokio::test]
async fn a_client_that_never_ends_its_request_is_dropped() {
    let (daemon, _folder) = bare(&[]).await;
    let address = &daemon.address;
    let started = Instant::now();
    let (mut silent, mut slow, mut idle) = (
        Wire::connect(address).await,
        Wire::connect(address).await,
        Wire::connect(address).await,
    );

    idle.send(request("GET", "/health", &[("Host", &address.host())], ""))
        .await;
    assert_eq!(idle.answer().await.unwrap().status, 200);
    silent.send("GET /health HTTP/1.1\r\n").await;

    // A byte now and then does not count as a head.
    let dripping = tokio::spawn(async move {
        for byte in b"GET /health HTTP/1.1\r\nX-Slow: "
            .iter()
            .chain(std::iter::repeat(&b'y'))
        {
            let sent = tokio::time::timeout(Duration::from_millis(300), slow.end());
            if sent.await.is_ok() {
                return;
            }

            slow.send([*byte]).await;
        }
    });

    assert_eq!(health(address).await["status"], "ok");
    silent.end().await;
    idle.end().await;
    dripping.await.unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(50),
        "{:?}",
        started.elapsed()
    );

    assert_eq!(health(address).await["status"], "ok");
}
