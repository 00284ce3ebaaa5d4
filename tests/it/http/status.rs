//! `mcp-ssh-sessions status`.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{
    daemon::{Daemon, status},
    fixture::TestHost,
    http_client::{Dialect, HttpClient},
    processes,
};

#[tokio::test]
async fn status_prints_what_goes_on_as_a_table_or_as_json() {
    let host = TestHost::openssh();
    let daemon = host.daemon(&[]).await;
    let (port, home) = (daemon.address.port().to_string(), host.folder());
    let (code, stdout, stderr) = status(home, &["--http", &port]).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(
        stdout.contains("no sessions") && !stdout.contains("JOB"),
        "{stdout}"
    );

    let mut client = daemon.connected(Dialect::Stateless).await;
    client
        .call("ssh_connect", json!({"host": "host", "name": "second"}))
        .await
        .ok();

    client
        .call("ssh_disconnect", json!({"session": "second"}))
        .await
        .ok();

    client
        .call(
            "ssh_shell",
            json!({"command": "cd /tmp; printf 'a\\033[31mb\\n'", "session": "host"}),
        )
        .await
        .ok();

    let job = client
        .call(
            "ssh_exec",
            json!({"command": "sleep 27182", "background": true}),
        )
        .await
        .ok();

    let id = job.outcome()["job"].as_str().unwrap().to_owned();

    let forward = client
        .call("ssh_forward", json!({"to": "socks", "session": "host"}))
        .await
        .ok();
    let forward = &forward.structured()["forward"];

    let (code, stdout, stderr) = status(home, &["--http", &port, "--listen", "127.0.0.1"]).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");

    let line = |start: &str| {
        stdout
            .lines()
            .find(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("{start}: {stdout}"))
    };

    assert!(line("host (default)").contains("  connected  "), "{stdout}");
    assert!(line("second").contains("  disconnected  "), "{stdout}");
    assert!(line("main").ends_with("  ready  /tmp"), "{stdout}");
    let url = forward["url"].as_str().unwrap();
    assert!(
        line("f1").contains("  open  ") && line("f1").ends_with(&format!("  {url}  host socks")),
        "{stdout}"
    );
    assert!(
        line(&id).contains("  running  ") && line(&id).ends_with("sleep 27182"),
        "{stdout}"
    );

    assert!(
        stdout.contains("  exit 0  ") && !stdout.contains('\u{1b}'),
        "{stdout}"
    );

    let (code, stdout, stderr) = status(home, &["--json", "--http", &port]).await;
    assert_eq!(
        (code, stdout.lines().count(), stderr.as_str()),
        (Some(0), 1, "")
    );

    let status: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));

    assert_eq!(
        status["sessions"],
        client
            .call("ssh_sessions", json!({}))
            .await
            .ok()
            .structured()["sessions"]
    );

    assert_eq!(
        status["shells"],
        json!([{"session": "host", "shell": "main", "state": "ready", "cwd": "/tmp"}])
    );

    assert_eq!(status["transfers"], json!([]));
    assert_eq!(status["forwards"], json!([forward]));
    let (past, running) = (&status["jobs"][0], &status["jobs"][1]);
    assert_eq!(
        (&past["status"], &past["ending"]),
        (&json!("exited"), &json!("exit 0")),
        "{status}"
    );

    assert_eq!(
        past["stdoutLines"],
        json!(["ab"]),
        "colours are left out: {status}"
    );

    assert_eq!(
        (&running["job"], &running["status"], &running["ending"]),
        (&json!(id), &json!("running"), &json!(null))
    );
}

#[tokio::test]
async fn status_sends_the_token_and_asks_over_the_socket_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (token, other, socket) = (
        path.join("token"),
        path.join("other"),
        path.join("mcp.sock"),
    );

    for (file, text) in [
        (&token, "correct-horse-battery-staple"),
        (&other, "another-horse-battery-staple"),
    ] {
        fs::write(file, text).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    let [token, other, socket] = [&token, &other, &socket].map(|path| path.to_str().unwrap());

    let daemon = Daemon::start(
        Path::new("/dev/null"),
        path,
        &["--token-file", token, "--socket", socket],
    )
    .await;

    let port = daemon.address.port().to_string();

    for address in [["--http", &port], ["--socket", socket]] {
        let (code, stdout, stderr) =
            status(path, &[address[0], address[1], "--token-file", token]).await;
        assert_eq!(
            (code, stdout.contains("no sessions"), stderr.as_str()),
            (Some(0), true, ""),
            "{address:?}"
        );

        for arguments in [
            vec![address[0], address[1]],
            vec![address[0], address[1], "--token-file", other],
        ] {
            let (code, stdout, stderr) = status(path, &arguments).await;
            assert_eq!(
                (code, stdout.as_str(), stderr.lines().count()),
                (Some(1), "", 1),
                "{arguments:?}: {stderr}"
            );

            assert!(
                stderr.contains("401") && !stderr.contains("horse"),
                "{stderr}"
            );
        }
    }

    let mut client = HttpClient::connect_with(
        &daemon.address,
        Dialect::Stateless,
        Some("correct-horse-battery-staple"),
    )
    .await;

    client.call("ssh_sessions", json!({})).await.ok();
}

#[tokio::test]
async fn status_says_in_one_line_that_no_daemon_answers() {
    let folder = tempfile::tempdir().unwrap();

    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
        .to_string();

    let missing = folder.path().join("missing").to_str().unwrap().to_owned();
    let mut cases = vec![
        (vec!["--http".to_owned(), free], "no daemon answers"),
        (vec!["--socket".to_owned(), missing], "no daemon answers"),
    ];

    for (answer, part) in [
        (&b"SSH-2.0-OpenSSH_9.9\r\n"[..], "is not mcp-ssh-sessions"),
        (b"", "is not mcp-ssh-sessions"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "is not mcp-ssh-sessions",
        ),
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 13\r\n\r\nnot\nmuch here",
            "404",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello",
            "is not mcp-ssh-sessions",
        ),
    ] {
        cases.push((
            vec!["--http".to_owned(), answering(Some(answer)).to_string()],
            part,
        ));
    }

    // Nothing at all, for ever.
    cases.push((
        vec!["--http".to_owned(), answering(None).to_string()],
        "did not answer",
    ));

    for (arguments, part) in cases {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let (code, stdout, stderr) = status(folder.path(), &arguments).await;
        assert_eq!(
            (code, stdout.as_str(), stderr.lines().count()),
            (Some(1), "", 1),
            "{arguments:?}: {stderr}"
        );

        assert!(
            stderr.starts_with("mcp-ssh-sessions: ") && stderr.contains(part),
            "{arguments:?}: {stderr}"
        );
    }
}

/// The port of a program of ours that says this to its first client and hangs up, or says nothing.
fn answering(answer: Option<&'static [u8]>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();

    thread::spawn(move || {
        while cfg!(target_os = "linux") && processes::connections(port).is_empty() {
            thread::sleep(Duration::from_millis(5));
        }

        // As a daemon that is busy does: until it takes the connection in, that is nobody's. Nobody can see that the
        // client looks at that meanwhile, which it does at once and then every 50 ms.
        thread::sleep(Duration::from_millis(100));
        let Ok((mut stream, _)) = listener.accept() else {
            return;
        };
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);

        match answer {
            Some(answer) => drop(stream.write_all(answer)),
            // Until the client leaves.
            None => while stream.read(&mut request).is_ok_and(|length| length > 0) {},
        }
    });

    port
}
