//! What web pages, strangers and broken programs send. Each is refused, and the next good request is served.

use serde_json::json;

use super::{bare, health};
use crate::support::{
    http_client::{Dialect, HttpClient},
    wire::{Answer, DaemonAddress, Wire, ask, request},
};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const BOTH: (&str, &str) = ("Accept", "application/json, text/event-stream");
const EVENTS: (&str, &str) = ("Accept", "text/event-stream");
const PING: &str = r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;

/// A request that would be served: method, target, headers but for `Host`, and body.
type Good<'a> = (&'a str, &'a str, Vec<(&'a str, &'a str)>, &'a str);

/// One request for each thing that is served.
fn routes<'a>(session: &'a str, legacy: &'a str) -> [Good<'a>; 9] {
    let session = ("Mcp-Session-Id", session);
    [
        ("GET", "/health", vec![], ""),
        ("HEAD", "/health", vec![], ""),
        ("GET", "/status", vec![], ""),
        ("POST", "/link", vec![], ""),
        ("GET", "/mcp", vec![EVENTS], ""),
        ("GET", "/mcp", vec![EVENTS, session], ""),
        ("POST", "/mcp", vec![BOTH, JSON, session], PING),
        ("POST", legacy, vec![BOTH, JSON], PING),
        ("DELETE", "/mcp", vec![session], ""),
    ]
}

/// What an evil request has: a first line made of the method and target, and headers.
type Evil = (
    &'static str,
    fn(&str, &str) -> String,
    Vec<(&'static str, String)>,
);

fn plain(method: &str, target: &str) -> String {
    format!("{method} {target} HTTP/1.1")
}

/// Requests of web pages, and those in the name of other hosts.
fn evils(port: u16) -> Vec<Evil> {
    let absolute =
        |method: &str, target: &str| format!("{method} http://evil.example{target} HTTP/1.1");
    let old = |method: &str, target: &str| format!("{method} {target} HTTP/1.0");
    let own = format!("127.0.0.1:{port}");

    let mut evils: Vec<Evil> = vec![
        ("no Host", plain, vec![]),
        ("HTTP/1.0 without Host", old, vec![]),
        (
            "two Hosts",
            plain,
            vec![("Host", own.clone()), ("Host", "evil.example".into())],
        ),
        (
            "the same Host twice",
            plain,
            vec![("Host", own.clone()), ("Host", own.clone())],
        ),
        (
            "a target at another host",
            absolute,
            vec![("Host", own.clone())],
        ),
        (
            "another host in the target and in Host",
            absolute,
            vec![("Host", "evil.example".into())],
        ),
    ];

    for host in [
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        format!("localhost.evil.example:{port}"),
        format!("127.0.0.1.evil.example:{port}"),
        format!("10.0.0.1:{port}"),
        format!("0.0.0.0:{port}"),
        format!("[::]:{port}"),
        "127.0.0.1".to_owned(),
        format!("127.0.0.1:{}", port ^ 1),
        "127.0.0.1:".to_owned(),
        format!("127.0.0.1:0{}", u32::from(port) + 65536),
        format!("me@127.0.0.1:{port}"),
        format!("me:secret@127.0.0.1:{port}"),
        format!("127.0.0.1:{port}@evil.example"),
        format!("127.0.0.1:{port}, evil.example"),
        format!("127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{port}"),
        String::new(),
    ] {
        evils.push(("Host", plain, vec![("Host", host)]));
    }

    let mut with = |name: &'static str, value: String| {
        evils.push((name, plain, vec![("Host", own.clone()), (name, value)]));
    };

    for origin in [
        "http://evil.example".to_owned(),
        format!("http://evil.example:{port}"),
        format!("http://localhost.evil.example:{port}"),
        format!("https://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{}", port ^ 1),
        "http://127.0.0.1".to_owned(),
        format!("http://127.0.0.1:{port}@evil.example"),
        format!("http://me@127.0.0.1:{port}"),
        format!("127.0.0.1:{port}"),
        "null".to_owned(),
        "file://".to_owned(),
        "chrome-extension://abcdefghijklmnop".to_owned(),
        "*".to_owned(),
        String::new(),
    ] {
        with("Origin", origin);
    }

    for site in ["cross-site", "same-site", "nonsense", ""] {
        with("Sec-Fetch-Site", site.to_owned());
    }

    let origin = |value: &str| ("Origin", value.to_owned());
    let own_origin = format!("http://{own}");

    for pair in [
        [own_origin.as_str(), "http://evil.example"],
        ["http://evil.example", &own_origin],
    ] {
        evils.push((
            "two Origins",
            plain,
            vec![("Host", own.clone()), origin(pair[0]), origin(pair[1])],
        ));
    }

    evils
}

fn no_cors(answer: &Answer) -> bool {
    !answer
        .headers
        .iter()
        .any(|(name, _)| name.starts_with("access-control-"))
}

#[tokio::test]
async fn requests_of_web_pages_and_for_other_hosts_are_refused() {
    let (daemon, _folder) = bare(&[]).await;
    let address = &daemon.address;
    let mut client = HttpClient::connect(address, Dialect::Session("2025-11-25")).await;
    let mut legacy = HttpClient::connect(address, Dialect::Legacy).await;
    let (session, endpoint) = (
        client.session.clone().unwrap(),
        legacy.endpoint().to_owned(),
    );

    for (what, first_line, headers) in evils(address.port()) {
        for (method, target, more, body) in routes(&session, &endpoint) {
            let mut all: Vec<_> = headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();

            all.extend(more);
            let text = request(method, target, &all, body);
            let (_, rest) = text.split_once("\r\n").unwrap();
            let answer = ask(address, format!("{}\r\n{rest}", first_line(method, target))).await;
            let answer = answer
                .unwrap_or_else(|| panic!("{what} {headers:?}, {method} {target}: no answer"));

            // hyper itself refuses what it cannot read, with 400.
            assert!(
                [400, 403].contains(&answer.status),
                "{what} {headers:?}, {method} {target}: {answer:?}"
            );

            assert!(
                no_cors(&answer) && answer.header("mcp-session-id").is_none(),
                "{what}: {answer:?}"
            );
        }

        assert_eq!(
            health(address).await["status"],
            "ok",
            "after {what} {headers:?}"
        );
    }

    // Neither was ended, and neither has got any of the answers.
    assert_eq!(client.request("ping", json!({})).await["result"], json!({}));
    assert_eq!(legacy.request("ping", json!({})).await["result"], json!({}));
    assert_eq!(legacy.others, [json!(null); 0]);
}

#[tokio::test]
async fn our_own_names_and_origin_are_served_on_every_route() {
    let (daemon, _folder) = bare(&[]).await;
    let address = &daemon.address;
    let port = address.port();
    let own = format!("127.0.0.1:{port}");

    for (first_line, headers) in [
        (
            plain as fn(&str, &str) -> String,
            vec![("Host", own.clone())],
        ),
        (plain, vec![("Host", format!("LocalHost:{port}"))]),
        (plain, vec![("Host", format!("[::1]:{port}"))]),
        (
            plain,
            vec![("Host", own.clone()), ("Origin", format!("http://{own}"))],
        ),
        (
            plain,
            vec![
                ("Host", own.clone()),
                ("Origin", format!("http://localhost:{port}")),
            ],
        ),
        (
            plain,
            vec![
                ("Host", own.clone()),
                ("Sec-Fetch-Site", "same-origin".into()),
            ],
        ),
        (
            plain,
            vec![("Host", own.clone()), ("Sec-Fetch-Site", "none".into())],
        ),
        (
            |method, target| format!("{method} {target} HTTP/1.0"),
            vec![("Host", own.clone())],
        ),
    ] {
        let client = HttpClient::connect(address, Dialect::Session("2025-11-25")).await;
        let legacy = HttpClient::connect(address, Dialect::Legacy).await;
        let (session, endpoint) = (
            client.session.clone().unwrap(),
            legacy.endpoint().to_owned(),
        );

        for (method, target, more, body) in routes(&session, &endpoint) {
            let mut all: Vec<_> = headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();

            all.extend(more);
            let text = request(method, target, &all, body);
            let (_, rest) = text.split_once("\r\n").unwrap();
            let mut wire = Wire::connect(address).await;
            wire.send(format!("{}\r\n{rest}", first_line(method, target)))
                .await;
            let head = wire.head().await.unwrap();
            assert!(
                [200, 202, 204].contains(&head.status),
                "{headers:?}, {method} {target}: {head:?}"
            );

            assert!(no_cors(&head), "{head:?}");
        }
    }
}

/// The messages that are none, or none that may stand alone.
const NO_MESSAGES: [&str; 14] = [
    "",
    "{",
    "nonsense",
    "\u{0}",
    "[]",
    "{}",
    "1",
    "null",
    "\"ping\"",
    r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
    r#"{"id":1,"method":"ping"}"#,
    r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
    r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":2,"method":"ping"}"#,
];

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn each_wrong_request_gets_its_status_and_the_next_is_served() {
    let (daemon, _folder) = bare(&[]).await;
    let address = &daemon.address;
    let host = address.host();
    let own_origin = format!("http://{host}");
    let mut client = HttpClient::connect(address, Dialect::Session("2025-11-25")).await;
    let mut legacy = HttpClient::connect(address, Dialect::Legacy).await;
    let (session, endpoint) = (
        client.session.clone().unwrap(),
        legacy.endpoint().to_owned(),
    );

    let ours = ("Mcp-Session-Id", session.as_str());
    let unknown = ("Mcp-Session-Id", "00000000-0000-4000-8000-000000000000");
    let guessed = format!("/mcp?sessionId={:032x}", 1);
    let many: Vec<String> = (0..200).map(|number| format!("X-{number}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "y")).collect();
    let huge = "x".repeat(1024 * 1024);
    let large = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"{}"}}"#,
        "x".repeat(4 * 1024 * 1024)
    );

    let long_target = format!("/mcp?{}", "x".repeat(70_000));
    let preflight = vec![
        ("Access-Control-Request-Method", "POST"),
        ("Origin", own_origin.as_str()),
    ];

    let foreign = vec![
        ("Access-Control-Request-Method", "POST"),
        ("Origin", "http://evil.example"),
    ];

    let initialize_params = |version: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"protocolVersion":"{version}","capabilities":{{}},"clientInfo":{{"name":"a","version":"0"}}}}}}"#
        )
    };

    let (newest, newest_initialize) = (
        ("MCP-Protocol-Version", "2026-07-28"),
        initialize_params("2025-11-25"),
    );
    let (future, nonsense) = (
        ("MCP-Protocol-Version", "2099-12-31"),
        ("MCP-Protocol-Version", "nonsense"),
    );

    let mut wrong: Vec<(Good<'_>, u16)> = vec![
        (("OPTIONS", "/mcp", preflight.clone(), ""), 405),
        (("OPTIONS", "/health", preflight.clone(), ""), 405),
        (("OPTIONS", "*", preflight, ""), 404),
        (("OPTIONS", "/mcp", foreign.clone(), ""), 403),
        (("OPTIONS", "/health", foreign, ""), 403),
        (("POST", "/mcp", vec![BOTH, JSON, unknown], PING), 404),
        (("GET", "/mcp", vec![EVENTS, unknown], ""), 404),
        (
            (
                "GET",
                "/mcp",
                vec![EVENTS, unknown, ("Last-Event-ID", "0/0")],
                "",
            ),
            404,
        ),
        (("DELETE", "/mcp", vec![unknown], ""), 404),
        (("DELETE", "/mcp", vec![], ""), 400),
        (("POST", "/mcp", vec![BOTH, JSON], PING), 400),
        (("POST", &guessed, vec![BOTH, JSON], PING), 404),
        (("POST", "/mcp?sessionId=", vec![BOTH, JSON], PING), 404),
        (("POST", "/mcp", vec![BOTH, JSON, ours], &large), 413),
        (("POST", &endpoint, vec![BOTH, JSON], &large), 413),
        (("GET", "/health", vec![], &large), 200),
        (("POST", "/mcp", vec![JSON, ours], PING), 406),
        (
            (
                "POST",
                "/mcp",
                vec![JSON, ours, ("Accept", "application/json")],
                PING,
            ),
            406,
        ),
        (("POST", "/health", vec![JSON], PING), 405),
        (("POST", "/status", vec![JSON], PING), 405),
        (("GET", "/link", vec![], ""), 405),
        (("GET", "/", vec![], ""), 403),
        (("POST", "/", vec![], PING), 405),
        (("GET", "/stop", vec![], ""), 405),
        (("GET", "/health", vec![("X-Long", &huge)], ""), 431),
        (("GET", &long_target, vec![EVENTS], ""), 414),
        (("GET", "/health", many, ""), 431),
        (("POST", "/mcp", vec![BOTH, JSON, ours, future], PING), 400),
        (
            ("POST", "/mcp", vec![BOTH, JSON, ours, nonsense], PING),
            400,
        ),
        (("GET", "/mcp", vec![EVENTS, ours, nonsense], ""), 400),
        (("DELETE", "/mcp", vec![ours, nonsense], ""), 400),
        (("POST", "/mcp", vec![BOTH, JSON, newest], PING), 400),
        (
            ("POST", "/mcp", vec![BOTH, JSON, newest], &newest_initialize),
            400,
        ),
        (("GET", "/mcp", vec![EVENTS, newest], ""), 405),
        (
            ("GET", "/mcp", vec![EVENTS, ("Last-Event-ID", "0/0")], ""),
            400,
        ),
    ];

    for method in ["PUT", "PATCH", "TRACE", "HEAD", "PROPFIND", "CONNECT"] {
        wrong.push(((method, "/mcp", vec![BOTH, JSON, ours], PING), 405));
    }

    for method in ["PUT", "PATCH", "TRACE", "DELETE"] {
        wrong.push(((method, "/health", vec![], ""), 405));

        // DELETE is for the sessions of the newer transport.
        let status = if method == "DELETE" { 400 } else { 405 };
        wrong.push(((method, &endpoint, vec![BOTH, JSON], PING), status));
    }

    for path in [
        "/index.html",
        "//",
        "/favicon.ico",
        "/mcp/",
        "//mcp",
        "/MCP",
        "/mcp/../health",
        "/health/../mcp",
        "/mcp%2f",
        "/%6dcp",
        "/mcp;a",
    ] {
        wrong.push((("GET", path, vec![EVENTS], ""), 404));
        wrong.push((("POST", path, vec![BOTH, JSON, ours], PING), 404));
    }

    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=a",
        "",
        "*/*",
    ] {
        let media_type = ("Content-Type", media_type);
        wrong.push((("POST", "/mcp", vec![BOTH, ours, media_type], PING), 415));
        wrong.push((("POST", &endpoint, vec![BOTH, media_type], PING), 415));
    }

    wrong.push((("POST", "/mcp", vec![BOTH, ours], PING), 415));
    wrong.push((("POST", &endpoint, vec![BOTH], PING), 415));

    for message in NO_MESSAGES {
        wrong.push((("POST", "/mcp", vec![BOTH, JSON, ours], message), 400));
        wrong.push((("POST", &endpoint, vec![BOTH, JSON], message), 400));
    }

    let mut unexpected = Vec::new();

    for ((method, target, headers, body), status) in wrong {
        let headers = [vec![("Host", host.as_str())], headers].concat();
        let text = request(method, target, &headers, body);
        let answer = ask(address, text.as_bytes()).await;
        let named: String = text.chars().take(300).collect();
        let head = answer.as_ref().map(|answer| answer.status);

        if head != Some(status) {
            unexpected.push(format!(
                "{named}: {head:?}, not {status} {:?}",
                answer.as_ref().map(|answer| &answer.body)
            ));
        }

        assert!(answer.is_none_or(|answer| no_cors(&answer)), "{named}");
        assert_eq!(
            client.request("ping", json!({})).await["result"],
            json!({}),
            "after {named}"
        );

        assert_eq!(
            legacy.request("ping", json!({})).await["result"],
            json!({}),
            "after {named}"
        );
    }

    assert!(unexpected.is_empty(), "{}", unexpected.join("\n\n"));
    assert_eq!(
        legacy.others,
        [json!(null); 0],
        "no answer to what was refused"
    );

    assert_eq!(health(address).await["status"], "ok");
}

#[tokio::test]
async fn an_oversized_chunked_message_is_refused_before_it_ends() {
    let (daemon, _folder) = bare(&[]).await;
    let address: &DaemonAddress = &daemon.address;
    let client = HttpClient::connect(address, Dialect::Session("2025-11-25")).await;
    let legacy = HttpClient::connect(address, Dialect::Legacy).await;

    for target in ["/mcp", legacy.endpoint()] {
        let mut headers = vec![("Host", address.host())];
        headers.extend(
            [JSON, BOTH, ("Transfer-Encoding", "chunked")]
                .map(|(name, value)| (name, value.to_owned())),
        );

        if target == "/mcp" {
            headers.push(("Mcp-Session-Id", client.session.clone().unwrap()));
        }

        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();

        let mut wire = Wire::connect(address).await;
        wire.send(request("POST", target, &headers, "")).await;
        let chunk = format!("100000\r\n{}\r\n", "x".repeat(0x10_0000));
        for _ in 0..5 {
            wire.send(&chunk).await;
        }

        let answer = wire.answer().await.expect("an answer");
        assert_eq!(answer.status, 413, "{target}: {answer:?}");
        assert!(answer.body.contains("ssh_upload"), "{answer:?}");
    }

    assert_eq!(health(address).await["status"], "ok");
}
