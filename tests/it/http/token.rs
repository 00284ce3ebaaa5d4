//! The bearer token: who knows it, and where it is not.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::json;

use super::{bare, health};
use crate::support::{
    daemon::{self, Daemon},
    http_client::{Dialect, HttpClient},
    wire::{ask, request},
};

const SECRET: &str = "correct-horse-battery-staple-0815";

fn token_file(folder: &Path, token: &str, mode: u32) -> String {
    let file = folder.join(format!("token-{mode:o}"));
    fs::write(&file, token).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    file.to_str().unwrap().to_owned()
}

/// A daemon whose token comes from a file or from the environment.
async fn secured(folder: &Path, by_file: bool, arguments: &[&str]) -> Daemon {
    let mut command = daemon::command(Path::new("/dev/null"), folder);
    command.args(["--http", "0"]).args(arguments);

    if by_file {
        command.args([
            "--token-file",
            &token_file(folder, &format!("{SECRET}\n"), 0o600),
        ]);
    } else {
        command.env("MCP_SSH_TOKEN", SECRET);
    }

    Daemon::run(&mut command, folder).await
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn with_a_token_every_route_wants_it_and_nothing_else_will_do() {
    for by_file in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let daemon = secured(folder.path(), by_file, &[]).await;
        let address = &daemon.address;
        let host = address.host();
        let right = format!("Bearer {SECRET}");
        let (longer, shorter) = (
            format!("{right}x"),
            right.strip_suffix('5').unwrap().to_owned(),
        );

        let basic = format!("Basic {SECRET}");

        for (authorization, admitted) in [
            (vec![], false),
            (vec![("Authorization", "")], false),
            (vec![("Authorization", SECRET)], false),
            (
                vec![("Authorization", "Bearer wrong-horse-battery-staple")],
                false,
            ),
            (vec![("Authorization", &longer)], false),
            (vec![("Authorization", &shorter)], false),
            (vec![("Authorization", &basic)], false),
            (
                vec![("Authorization", &right), ("Authorization", "Bearer x")],
                false,
            ),
            (vec![("Cookie", &right)], false),
            (vec![("Authorization", &right)], true),
        ] {
            for (method, target, good) in [
                ("GET", "/health", 200),
                ("GET", "/status", 200),
                ("POST", "/link", 200),
                ("GET", "/mcp", 406),
                ("POST", "/mcp", 415),
                ("POST", "/mcp?sessionId=0", 415),
                ("DELETE", "/mcp", 400),
            ] {
                let headers = [vec![("Host", host.as_str())], authorization.clone()].concat();
                let answer = ask(address, request(method, target, &headers, ""))
                    .await
                    .unwrap();
                let expected = if admitted { good } else { 401 };
                assert_eq!(
                    answer.status, expected,
                    "{method} {target} {authorization:?}: {answer:?}"
                );

                assert_eq!(
                    answer.header("www-authenticate"),
                    (!admitted).then_some("Bearer")
                );
            }

            // In the address it would be in logs.
            let headers = [("Host", host.as_str())];
            let in_target = format!("/health?access_token={SECRET}");

            assert_eq!(
                ask(address, request("GET", &in_target, &headers, ""))
                    .await
                    .unwrap()
                    .status,
                401
            );
        }

        // The token opens no door to web pages.
        let evil = [
            ("Host", host.as_str()),
            ("Origin", "http://evil.example"),
            ("Authorization", &right),
        ];

        assert_eq!(
            ask(address, request("GET", "/health", &evil, ""))
                .await
                .unwrap()
                .status,
            403
        );

        for dialect in Dialect::KINDS {
            let mut client = HttpClient::connect_with(address, dialect, Some(SECRET)).await;
            assert_eq!(
                client
                    .call("ssh_sessions", json!({}))
                    .await
                    .ok()
                    .structured()["sessions"],
                json!([])
            );
        }

        let log = daemon.log();
        assert!(
            log.contains("TRACE") || log.contains("DEBUG"),
            "the log is at its most talkative: {log}"
        );

        assert!(
            !log.contains(SECRET) && !log.contains("wrong-horse"),
            "{log}"
        );

        let line = fs::read(format!("/proc/{}/cmdline", daemon.pid())).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&line).contains(SECRET));
        let written = files(folder.path())
            .into_iter()
            .filter(|file| !file.ends_with("token-600"));

        for file in written {
            assert!(
                !String::from_utf8_lossy(&fs::read(&file).unwrap()).contains(SECRET),
                "{}",
                file.display()
            );
        }
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());

    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[tokio::test]
async fn a_token_that_protects_nothing_keeps_the_daemon_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let short = token_file(path, "fifteen-letters", 0o600);
    let open = token_file(path, SECRET, 0o644);
    let group = token_file(path, SECRET, 0o640);
    let missing = path.join("missing").to_str().unwrap().to_owned();

    for (arguments, environment, part) in [
        (vec!["--token-file", &short], None, "16 characters"),
        (vec!["--token-file", &open], None, "chmod 600"),
        (vec!["--token-file", &group], None, "chmod 600"),
        (vec!["--token-file", &missing], None, "missing"),
        (
            vec!["--token-file", path.to_str().unwrap()],
            None,
            path.to_str().unwrap(),
        ),
        // A file that is named is meant, whatever the environment says.
        (vec!["--token-file", &missing], Some(SECRET), "missing"),
        (vec![], Some("short"), "16 characters"),
        (vec![], Some(""), "16 characters"),
        (
            vec![],
            Some("with spaces in it, though long"),
            "16 characters",
        ),
        (vec!["--listen", "0.0.0.0"], None, "--token-file"),
        (vec!["--listen", "::"], None, "--token-file"),
    ] {
        let mut command = daemon::command(Path::new("/dev/null"), path);
        command.args(["--http", "0"]).args(&arguments);
        if let Some(token) = environment {
            command.env("MCP_SSH_TOKEN", token);
        }

        let (status, stdout, stderr) = daemon::output(&mut command).await;
        let said: Vec<&str> = stderr.lines().collect();
        assert_eq!(
            (status, stdout.as_str(), said.len()),
            (Some(1), "", 1),
            "{arguments:?} {environment:?}: {stderr}"
        );

        assert!(
            said[0].starts_with("mcp-ssh-sessions: ") && said[0].contains(part),
            "{arguments:?}: {stderr}"
        );

        assert!(!stderr.contains(SECRET), "{stderr}");
        assert!(
            environment.is_none_or(|token| token.is_empty() || !stderr.contains(token)),
            "{stderr}"
        );
    }
}

#[tokio::test]
async fn an_address_for_other_machines_is_served_with_a_token_alone() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = secured(folder.path(), true, &["--listen", "0.0.0.0"]).await;
    let right = format!("Bearer {SECRET}");

    // By whatever name other machines know this one.
    let own = format!("box.lan:{}", daemon.address.port());
    let (own_origin, other_origin) = (format!("http://{own}"), "http://evil.example");

    for (headers, status) in [
        (vec![("Host", own.as_str())], 401),
        (vec![("Host", &own), ("Authorization", &right)], 200),
        (
            vec![
                ("Host", &own),
                ("Authorization", &right),
                ("Origin", &own_origin),
            ],
            200,
        ),
        (
            vec![
                ("Host", &own),
                ("Authorization", &right),
                ("Origin", other_origin),
            ],
            403,
        ),
        (
            vec![
                ("Host", &own),
                ("Authorization", &right),
                ("Sec-Fetch-Site", "cross-site"),
            ],
            403,
        ),
        (vec![("Authorization", &right)], 403),
    ] {
        let answer = ask(&daemon.address, request("GET", "/health", &headers, ""))
            .await
            .unwrap();
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
    }
}

#[tokio::test]
async fn without_a_token_one_that_is_sent_makes_no_difference() {
    let (daemon, _folder) = bare(&[]).await;
    let mut client =
        HttpClient::connect_with(&daemon.address, Dialect::Stateless, Some(SECRET)).await;
    client.call("ssh_sessions", json!({})).await.ok();
    assert_eq!(health(&daemon.address).await["status"], "ok");
    assert!(!daemon.log().contains(SECRET));
}
