//! The page that shows what the agents do: who may see it, what it shows, and what its buttons do.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::bare;
use crate::support::{
    checks::eventually,
    daemon::{self, Daemon},
    fixture::TestHost,
    http_client::Dialect,
    wire::{Answer, DaemonAddress, Wire, ask, request},
};

/// A browser that has followed the link which the daemon printed.
pub(super) struct Browser {
    address: DaemonAddress,
    cookie: String,
}

/// The path of the link that the daemon printed when it started.
async fn link(daemon: &Daemon) -> String {
    let printed = || {
        daemon.log().lines().find_map(|line| {
            let rest = line.strip_prefix("mcp-ssh-sessions: watch at ")?;
            Some(rest.split(' ').next()?.to_owned())
        })
    };

    eventually("the link is printed", || printed().is_some()).await;
    let url = printed().unwrap();
    let path = url
        .strip_prefix(&format!("http://{}", daemon.address.host()))
        .expect("its own address");
    let key = path.strip_prefix("/?key=").expect("a key");
    assert!(
        key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "128 random bits: {key}"
    );

    path.to_owned()
}

async fn get(address: &DaemonAddress, path: &str, headers: &[(&str, &str)]) -> Answer {
    let host = address.host();
    let mut all = vec![("Host", host.as_str())];
    all.extend(headers);
    ask(address, request("GET", path, &all, "")).await.unwrap()
}

/// What a browser sends back of an answer's `Set-Cookie`.
fn cookie(answer: &Answer) -> String {
    let (cookie, attributes) = answer
        .header("set-cookie")
        .expect("a cookie")
        .split_once("; ")
        .unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict");
    cookie.to_owned()
}

impl Browser {
    pub(super) async fn open(daemon: &Daemon) -> Self {
        let entered = get(&daemon.address, &link(daemon).await, &[]).await;
        Self {
            address: daemon.address.clone(),
            cookie: cookie(&entered),
        }
    }

    pub(super) async fn page(&self) -> Answer {
        let page = get(&self.address, "/", &[("Cookie", &self.cookie)]).await;
        assert_eq!(page.status, 200, "{page:?}");
        page
    }

    /// Reloads the page until it has all of this.
    pub(super) async fn shows(&self, parts: &[&str]) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let page = self.page().await.body;
            if parts.iter().all(|part| page.contains(part)) {
                return page;
            }

            assert!(Instant::now() < deadline, "not there: {parts:?} in {page}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The fields of the form that has this action.
    pub(super) async fn fields(&self, action: &str) -> Vec<(String, String)> {
        let page = self.page().await.body;
        let form = page
            .split_once(&format!("action=\"{action}\">"))
            .expect("a form")
            .1;

        let inputs = form
            .split("</form>")
            .next()
            .unwrap()
            .split("<input type=\"hidden\" name=\"")
            .skip(1);

        let field = |input: &str| {
            let (name, rest) = input.split_once("\" value=\"").unwrap();
            (name.to_owned(), rest.split('"').next().unwrap().to_owned())
        };

        inputs.map(field).collect()
    }

    /// Sends a form as a browser does, with other headers where they are named.
    pub(super) async fn post(
        &self,
        path: &str,
        fields: &[(String, String)],
        headers: &[(&str, &str)],
    ) -> Answer {
        let body: String = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let (host, origin) = (
            self.address.host(),
            format!("http://{}", self.address.host()),
        );
        let mut all = vec![
            ("Host", host.as_str()),
            ("Origin", &origin),
            ("Sec-Fetch-Site", "same-origin"),
        ];

        all.extend([
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Cookie", self.cookie.as_str()),
        ]);

        all.retain(|(name, _)| headers.iter().all(|(other, _)| other != name));
        all.extend(headers.iter().filter(|(_, value)| !value.is_empty()));

        ask(&self.address, request("POST", path, &all, &body))
            .await
            .unwrap()
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn a_link_admits_one_browser_and_others_learn_how_to_get_one() {
    let (daemon, folder) = bare(&[]).await;
    let address = &daemon.address;
    let link = link(&daemon).await;
    let how = format!("mcp-ssh-sessions status --http {} --open", address.port());
    let wrong = format!("/?key={:032x}", 1);

    for path in [
        "/",
        "/?",
        "/?key",
        "/events",
        &wrong,
        link.strip_suffix(|_| true).unwrap(),
    ] {
        let refused = get(address, path, &[]).await;
        assert_eq!(
            (refused.status, refused.header("set-cookie")),
            (403, None),
            "{path}: {refused:?}"
        );

        assert!(refused.body.contains(&how), "{path}: {refused:?}");
    }

    // A link may stand on another site; nothing else may. Who only asks about it has not used it.
    let elsewhere = ("Sec-Fetch-Site", "cross-site");
    assert_eq!(get(address, "/", &[elsewhere]).await.status, 403);

    let head = ask(
        address,
        request("HEAD", &link, &[("Host", &address.host())], ""),
    )
    .await
    .unwrap();

    assert_eq!(head.status, 405);

    assert_eq!(
        get(address, &link, &[("Origin", "http://evil.example")])
            .await
            .status,
        403
    );

    assert_eq!(
        get(address, &link, &[("Host", "evil.example")])
            .await
            .status,
        403,
        "two of them"
    );

    let entered = get(address, &link, &[elsewhere]).await;

    assert!(
        entered.status == 200
            && entered
                .body
                .contains("http-equiv=\"refresh\" content=\"0;url=/\""),
        "{entered:?}"
    );

    let cookie = cookie(&entered);
    let used = get(address, &link, &[]).await;
    assert!(
        used.status == 403 && used.body.contains("works once") && used.body.contains(&how),
        "{used:?}"
    );

    // The browser that has used it may come by it again.
    assert_eq!(
        get(address, &link, &[("Cookie", &cookie)]).await.status,
        200
    );
    let other_port = cookie.replacen(&address.port().to_string(), "1", 1);

    for (sent, status) in [
        (cookie.as_str(), 200),
        (cookie.strip_suffix(|_| true).unwrap(), 403),
        (other_port.as_str(), 403),
        ("", 403),
    ] {
        for path in ["/", "/events"] {
            let mut wire = Wire::connect(address).await;
            wire.send(request(
                "GET",
                path,
                &[("Host", &address.host()), ("Cookie", sent)],
                "",
            ))
            .await;

            assert_eq!(wire.head().await.unwrap().status, status, "{path} {sent:?}");
        }
    }

    // Another link, opened in the person's browser: a program of this name.
    let (bin, opened) = (folder.path().join("bin"), folder.path().join("opened"));
    let program = bin.join(if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    });

    fs::create_dir(&bin).unwrap();

    fs::write(
        &program,
        format!(
            "#!/bin/sh\nprintf %s \"$1\" > '{0}.new' && mv '{0}.new' '{0}'\n",
            opened.display()
        ),
    )
    .unwrap();

    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = tokio::process::Command::new(daemon::program());
    command.args(["status", "--open", "--http", &address.port().to_string()]);
    command
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .env("HOME", folder.path());

    let (code, stdout, stderr) = daemon::output(&mut command).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    eventually("it is opened", || opened.exists()).await;
    assert_eq!(fs::read_to_string(opened).unwrap(), stdout.trim_end());
    let path = stdout
        .trim_end()
        .strip_prefix(&format!("http://{}", address.host()))
        .unwrap();

    assert_eq!(get(address, path, &[]).await.status, 200);
}

#[tokio::test]
async fn every_answer_of_the_dashboard_forbids_caches_and_frames() {
    let (daemon, _folder) = bare(&[]).await;
    let browser = Browser::open(&daemon).await;
    let fields = [("key".to_owned(), "wrong".to_owned())];
    let locked = get(&daemon.address, "/", &[]).await;

    for answer in [
        browser.page().await,
        locked,
        browser.post("/stop", &fields, &[]).await,
    ] {
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("cache-control", "no-store"),
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

        assert!(
            !policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'),
            "{policy}"
        );

        assert!(
            !answer.body.contains("http://") && !answer.body.contains("https://"),
            "{answer:?}"
        );

        assert!(
            !answer
                .body
                .contains(browser.cookie.split_once('=').unwrap().1),
            "{answer:?}"
        );

        assert!(answer.header("access-control-allow-origin").is_none());
    }

    let page = browser.page().await.body;
    assert!(
        page.contains("No command is running.") && page.contains("<noscript>"),
        "{page}"
    );
}

#[tokio::test]
async fn an_edit_is_shown_with_its_diff() {
    let host = TestHost::openssh();
    fs::write(host.remote("file"), "first\n<b>old</b>\nlast\n").unwrap();
    let daemon = host.daemon(&[]).await;
    let mut client = daemon.connected(Dialect::Stateless).await;
    let edit = json!({"path": host.remote("file"), "oldText": "<b>old</b>", "newText": "new"});
    let dry =
        json!({"path": host.remote("file"), "oldText": "last", "newText": "x", "dryRun": true});
    client.call("ssh_edit", edit).await.ok();
    client.call("ssh_edit", dry).await.ok();

    let browser = Browser::open(&daemon).await;
    let shown = " first\n<del>-&lt;b&gt;old&lt;/b&gt;</del>\n<ins>+new</ins>\n last\n</pre>";
    let page = browser
        .shows(&["Edited lately", "<b>host</b>", "/home/file</p>"])
        .await;
    assert!(page.contains(shown), "{page}");
    assert_eq!(
        page.matches("id=\"edit-").count(),
        1,
        "a dry run is no edit"
    );
}

/// A command that says hostile things and goes on, as a call that waits for it.
const HOSTILE: &str =
    "printf 'first\\n<script>alert(1)</script>\\033[31m\\n'; echo oops >&2; exec sleep 31415";

async fn hostile(
    daemon: &Daemon,
) -> tokio::task::JoinHandle<crate::support::mcp_client::ToolResult> {
    let mut client = daemon.connected(Dialect::Stateless).await;
    tokio::spawn(async move { client.call("ssh_exec", json!({"command": HOSTILE})).await })
}

#[tokio::test]
async fn a_running_command_is_shown_and_its_button_ends_it() {
    let host = TestHost::openssh();
    let daemon = host.daemon(&[]).await;
    let call = hostile(&daemon).await;
    let browser = Browser::open(&daemon).await;
    let escaped = "first\n&lt;script&gt;alert(1)&lt;/script&gt;</pre>";

    let page = browser
        .shows(&[
            escaped,
            ">oops</pre>",
            "exec sleep 31415</pre>",
            ">host",
            ">connected<",
        ])
        .await;

    assert_eq!(page.matches("<script").count(), 1, "its own alone: {page}");
    eventually("it runs", || host.runs("31415")).await;
    let fields = browser.fields("/stop").await;
    let back = browser.post("/stop", &fields, &[]).await;
    assert_eq!(
        (back.status, back.header("location")),
        (303, Some("/")),
        "{back:?}"
    );

    eventually("it is gone", || !host.runs("31415")).await;
    let result = call.await.unwrap().ok();
    assert!(
        result.text().contains("the person stopped it"),
        "{result:?}"
    );

    assert_eq!(result.outcome()["status"], "cancelled", "{result:?}");

    browser
        .shows(&[
            "Ended lately",
            "cancelled and was stopped, its processes are gone, by you",
        ])
        .await;

    // Once more: it has ended, which is what was wanted.
    assert_eq!(browser.post("/stop", &fields, &[]).await.status, 303);
}

#[tokio::test]
async fn what_is_not_a_form_of_the_page_stops_nothing() {
    let host = TestHost::openssh();
    let daemon = host.daemon(&[]).await;
    let call = hostile(&daemon).await;
    let browser = Browser::open(&daemon).await;
    browser.shows(&["oops"]).await;
    // The command prints before it becomes the program that is looked for at the end.
    eventually("it runs", || host.runs("31415")).await;
    let mut client = daemon.client(Dialect::Stateless).await;
    client
        .call("ssh_forward", json!({"to": "socks"}))
        .await
        .ok();
    let (stop, close, forward) = (
        browser.fields("/stop").await,
        browser.fields("/disconnect").await,
        browser.fields("/close").await,
    );

    let without = |name: &str| {
        stop.iter()
            .filter(|(each, _)| each != name)
            .cloned()
            .collect::<Vec<_>>()
    };

    let with_key = |key: String| [without("key"), vec![("key".to_owned(), key)]].concat();
    let cookie_word = browser.cookie.split_once('=').unwrap().1.to_owned();
    let long = [stop.clone(), vec![("more".to_owned(), "x".repeat(5_000))]].concat();

    for (fields, headers, status) in [
        (&stop, vec![("Cookie", "")], 403),
        (&stop, vec![("Cookie", "mcp-ssh-sessions-1=1")], 403),
        (&stop, vec![("Origin", "http://evil.example")], 403),
        (&stop, vec![("Origin", "null")], 403),
        (&stop, vec![("Origin", "http://127.0.0.1:1")], 403),
        (&stop, vec![("Sec-Fetch-Site", "cross-site")], 403),
        (&stop, vec![("Sec-Fetch-Site", "same-site")], 403),
        (&stop, vec![("Host", "evil.example")], 403),
        (&without("key"), vec![], 403),
        (&with_key(String::new()), vec![], 403),
        (&with_key("0".repeat(32)), vec![], 403),
        (&with_key(cookie_word), vec![], 403),
        (&vec![], vec![], 403),
        (&long, vec![], 400),
    ] {
        for path in ["/stop", "/disconnect", "/close", "/answer"] {
            let fields = [
                fields.clone(),
                close
                    .iter()
                    .chain(&forward)
                    .filter(|(name, _)| name != "key")
                    .cloned()
                    .collect(),
            ]
            .concat();

            let refused = browser.post(path, &fields, &headers).await;
            assert_eq!(
                refused.status, status,
                "{path} {fields:?} {headers:?}: {refused:?}"
            );
        }
    }

    for path in ["/stop", "/disconnect", "/close", "/answer"] {
        let answer = get(&browser.address, path, &[("Cookie", &browser.cookie)]).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    }

    browser
        .shows(&["oops", ">connected<", "id=\"forward-f1\""])
        .await;
    assert!(host.runs("31415"), "nothing was stopped");
    assert_eq!(browser.post("/stop", &stop, &[]).await.status, 303);
    call.await.unwrap().ok();
}

#[tokio::test]
async fn a_forward_is_shown_and_its_button_closes_it() {
    let host = TestHost::openssh();
    let daemon = host.daemon(&[]).await;
    let mut client = daemon.connected(Dialect::Stateless).await;
    let to = json!({"to": "/tmp/<i>.sock"});
    let opened = client.call("ssh_forward", to).await.ok();
    let listen = opened.structured()["forward"]["listen"]
        .as_str()
        .unwrap()
        .to_owned();
    std::net::TcpStream::connect(&listen).expect("it listens");

    let browser = Browser::open(&daemon).await;
    let path = format!("{listen} → host /tmp/&lt;i&gt;.sock</p>");
    let page = browser
        .shows(&["Forwarded ports", "id=\"forward-f1\"", &path])
        .await;
    assert_eq!(page.matches("action=\"/close\"").count(), 1, "{page}");

    let fields = browser.fields("/close").await;
    let back = browser.post("/close", &fields, &[]).await;
    assert_eq!((back.status, back.header("location")), (303, Some("/")));
    std::net::TcpStream::connect(&listen).expect_err("nobody listens");
    let page = browser.page().await.body;
    assert!(!page.contains("Forwarded ports"), "{page}");

    let list = client.call("ssh_forward", json!({})).await.ok();
    assert_eq!(list.structured()["forwards"], json!([]));

    // Once more, and others that there are not: nothing is left to do.
    for id in ["f1", "f2", "1", "f", "", "f18446744073709551616"] {
        let [key, _] = <[_; 2]>::try_from(fields.clone()).unwrap();
        let fields = [key, ("forward".to_owned(), id.to_owned())];
        assert_eq!(browser.post("/close", &fields, &[]).await.status, 303);
    }
}

#[tokio::test]
async fn a_disconnected_session_stops_its_work_and_connects_again() {
    let host = TestHost::openssh();
    let daemon = host.daemon(&[]).await;
    let call = hostile(&daemon).await;
    let browser = Browser::open(&daemon).await;
    browser.shows(&["oops"]).await;
    let mut client = daemon.client(Dialect::Stateless).await;
    client
        .call("ssh_shell", json!({"command": "cd /tmp", "shell": "<b>"}))
        .await
        .ok();

    browser
        .shows(&["<b>&lt;b&gt;</b> <small class=\"ready\">ready</small> <code>/tmp</code>"])
        .await;

    let fields = browser.fields("/disconnect").await;
    assert_eq!(browser.post("/disconnect", &fields, &[]).await.status, 303);
    browser
        .shows(&[">disconnected<", "No command is running."])
        .await;

    eventually("it is gone", || !host.runs("31415")).await;

    assert!(
        call.await
            .unwrap()
            .ok()
            .text()
            .contains("the person stopped it")
    );

    client
        .call("ssh_exec", json!({"command": "true"}))
        .await
        .ok();

    browser.shows(&[">connected<"]).await;
}

#[tokio::test]
async fn changes_come_as_events_and_end_with_the_daemon() {
    let host = TestHost::openssh();
    let mut daemon = host.daemon(&[]).await;
    let browser = Browser::open(&daemon).await;
    let mut wire = Wire::connect(&browser.address).await;
    let headers = [
        ("Host", &*browser.address.host()),
        ("Cookie", &browser.cookie),
    ];

    wire.send(request("GET", "/events", &headers, "")).await;
    let head = wire.head().await.unwrap();
    assert_eq!(
        (head.status, head.header("content-type")),
        (200, Some("text/event-stream")),
        "{head:?}"
    );

    let first = wire.event().await.unwrap();
    assert!(first.data.contains("No command is running."), "{first:?}");
    let call = hostile(&daemon).await;

    loop {
        let event = wire.event().await.expect("a change");
        if event.comment {
            continue;
        }

        let html: String = serde_json::from_str(&event.data).unwrap();
        if html.contains("oops") {
            break;
        }
    }

    daemon.end("TERM").await;
    wire.end().await;
    call.abort();
}

#[tokio::test]
async fn the_link_replaces_the_token_on_the_dashboard_only() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "correct-horse-battery-staple").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let arguments = ["--token-file", token.to_str().unwrap()];
    let daemon = Daemon::start(std::path::Path::new("/dev/null"), folder.path(), &arguments).await;
    let browser = Browser::open(&daemon).await;
    browser.page().await;
    let cookie = [("Cookie", browser.cookie.as_str())];

    for path in ["/status", "/health", "/mcp"] {
        assert_eq!(
            get(&daemon.address, path, &cookie).await.status,
            401,
            "{path}"
        );
    }

    let asked = ask(
        &daemon.address,
        request(
            "POST",
            "/link",
            &[("Host", &daemon.address.host()), cookie[0]],
            "",
        ),
    )
    .await;

    assert_eq!(asked.unwrap().status, 401);

    #[cfg(target_os = "linux")]
    {
        // A cookie that went to another port of this machine is of no use to whoever listens there.
        let headers = [
            ("Host", &*daemon.address.host()),
            cookie[0],
            ("Connection", "close"),
        ];

        let (text, port) = (request("GET", "/", &headers, ""), daemon.address.port());

        let received = crate::support::other_user::as_other(move || {
            use std::io::{Read as _, Write as _};

            let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            let mut received = String::new();
            stream.read_to_string(&mut received).unwrap();

            received
        });

        assert!(
            received.is_none_or(|received| received.starts_with("HTTP/1.1 403 ")
                && received.contains("another user"))
        );
    }
}
