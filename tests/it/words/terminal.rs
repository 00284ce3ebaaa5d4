//! What a person's terminal shows: the log, and what the command line prints.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use serde_json::json;

use super::{HOSTILE, assert_harmless};
use crate::support::{
    daemon::{self, Daemon, status},
    fake_sshd::{FakeSshd, FakeSshdSettings},
    fixture::TestHost,
    http_client::{Dialect, HttpClient},
    ssh_config,
};

/// The port of a server that says this to each of its clients, perhaps when it was asked, and hangs up.
fn saying(words: Vec<u8>, asked: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();

    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            if asked {
                let _ = stream.read(&mut [0; 4096]);
            }

            let _ = stream.write_all(&words);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });

    port
}

/// Lines, an identification and a goodbye (`SSH_MSG_DISCONNECT`, RFC 4253, section 11.1), all of them hostile.
fn identification() -> Vec<u8> {
    let string =
        |text: &[u8]| [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text].concat();

    let message = [
        &[1, 0, 0, 0, 2][..],
        &string(HOSTILE.as_bytes()),
        &string(b""),
    ]
    .concat();

    let padding = 12 - (message.len() + 5) % 8;
    let length = u32::try_from(1 + message.len() + padding).unwrap();

    let packet = [
        &length.to_be_bytes()[..],
        &[u8::try_from(padding).unwrap()],
        &message,
        &vec![0; padding],
    ]
    .concat();

    let words = HOSTILE.replace('\n', "\r\n");

    [
        words.as_bytes(),
        b"SSH-2.0-\x1b[2Jowned\xc2\x9b\xe2\x80\xae\r\n",
        &packet,
    ]
    .concat()
}

/// A server that asks and greets with hostile words, and an `ssh_config` with more hosts; and what is to outlive them.
fn world() -> (TestHost<FakeSshd>, tempfile::TempDir) {
    let asks = FakeSshdSettings {
        banner: Some(HOSTILE.to_owned()),
        rounds: vec![vec![(HOSTILE, true, "a"), (HOSTILE, false, "b")]],
        ..FakeSshdSettings::default()
    };

    let folder = tempfile::tempdir().unwrap();
    let known_hosts = folder.path().join("known_hosts");
    fs::write(&known_hosts, format!("{HOSTILE}\n@revoked {HOSTILE}\n")).unwrap();

    let says = ssh_config::host(
        "says",
        "IdentityAgent none",
        saying(identification(), false),
        "agent",
        &known_hosts,
    );

    let proxy = "ProxyCommand printf '\\033[2Jowned\\302\\233' >&2";
    let proxied = ssh_config::host("proxied", proxy, 22, "agent", &known_hosts);
    let world = TestHost::fake_with(asks, &format!("{says}\n{proxied}\n"));
    (world, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_others_say_moves_the_cursor_of_the_command_line() {
    let (world, _known_hosts) = world();
    fs::remove_file(world.key()).unwrap();
    let folder = world.folder();
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };

    let broken = file(
        "broken",
        &format!("Host box\n  NoSuchOption{HOSTILE}\n  HostName {HOSTILE}\n"),
    );

    let garbage = file("garbage.json", HOSTILE);
    let saved = json!({"version": 1, "sessions": [{"name": "kept", "host": HOSTILE, "user": HOSTILE, "keyPath": HOSTILE}]});
    let saved = file("saved.json", &saved.to_string());

    let output =
        json!({"sessions": [{"name": HOSTILE, "state": HOSTILE, "hostName": HOSTILE, "user": HOSTILE, "port": HOSTILE,
        "lastError": HOSTILE}], "shells": [{"shell": HOSTILE, "session": HOSTILE, "state": HOSTILE, "cwd": HOSTILE}],
        "jobs": [{"job": HOSTILE, "session": HOSTILE, "command": HOSTILE, "status": HOSTILE, "ending": HOSTILE}],
        "transfers": [{"session": HOSTILE, "direction": HOSTILE, "localPath": HOSTILE, "remotePath": HOSTILE}],
        "edits": [{"session": HOSTILE, "path": HOSTILE, "editedAt": HOSTILE, "added": HOSTILE, "diff": HOSTILE}],
        "notice": HOSTILE})
        .to_string();

    let answer = |status: &str, text: &str| {
        let length = text.len();
        saying(
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{text}").into_bytes(),
            true,
        )
        .to_string()
    };

    let (friendly, refusing) = (answer("200 OK", &output), answer("404 Not Found", HOSTILE));
    let nowhere = format!("/none/{HOSTILE}");

    for arguments in [
        &["doctor", "box"][..],
        &["doctor", "says"],
        &["doctor", "says", "--json"],
        &["doctor", "proxied"],
        &["doctor", "proxied", "--json"],
        &["doctor", HOSTILE],
        &["doctor", "box", "--ssh-config", &broken],
        &["doctor", "box", "--ssh-config", &nowhere],
        &["doctor", "box", "--store", &garbage],
        &["doctor", "kept", "--store", &saved],
        &["doctor", "kept", "--store", &saved, "--json"],
        &["status", "--http", &friendly],
        &["status", "--http", &friendly, "--json"],
        &["status", "--http", &refusing],
        &["status", "--open", "--http", &friendly],
        &["status", "--socket", &nowhere],
        &["--http", "0", "--token-file", &nowhere],
        &["--http", "0", "--socket", &nowhere],
        &["--http", HOSTILE],
        &["--log", HOSTILE],
        &[HOSTILE],
        &["--help", "--store", HOSTILE],
    ] {
        let mut command = daemon::command(&world.config, folder);

        if arguments.contains(&"--ssh-config") || arguments.contains(&"--store") {
            command = tokio::process::Command::new(daemon::program());
            command
                .env("HOME", folder)
                .env("MCP_SSH_TOKEN_FILE", HOSTILE)
                .env_remove("SSH_AUTH_SOCK");
        }

        let (code, stdout, stderr) = daemon::output(command.args(arguments)).await;
        let what = format!("{arguments:?} ends with {code:?}");
        assert_harmless(&what, &stdout);
        assert_harmless(&what, &stderr);
        let hostile = arguments
            .iter()
            .any(|argument| *argument == "says" || *argument == friendly)
            && !arguments.contains(&"--open");

        assert!(
            !hostile || (stdout.clone() + &stderr).contains("owned"),
            "{what}: it says nothing\n{stdout}\n{stderr}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_of_others_never_moves_the_cursor_in_log_or_status() {
    let (world, _known_hosts) = world();
    let folder = world.folder();
    let daemon = Daemon::start(&world.config, folder, &[]).await;
    let mut client = HttpClient::connect(&daemon.address, Dialect::Stateless).await;
    client
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok();

    for (tool, arguments) in [
        ("ssh_connect", json!({"host": "says"})),
        ("ssh_connect", json!({"host": "proxied"})),
        ("ssh_connect", json!({"host": HOSTILE})),
        ("ssh_connect", json!({"host": "box", "name": HOSTILE})),
        (
            "ssh_connect",
            json!({"host": "other", "name": "refused", "user": "nobody", "password": "x"}),
        ),
        (
            "ssh_connect",
            json!({"host": "other", "name": "keyed", "keyPath": format!("/none/{HOSTILE}")}),
        ),
        (
            "ssh_exec",
            json!({"command": format!("printf '%s' '{HOSTILE}' | tee /dev/stderr"), "session": "box"}),
        ),
        (
            "ssh_exec",
            json!({"command": format!(": '{HOSTILE}'; sleep 20"), "session": "box", "background": true}),
        ),
        (
            "ssh_shell",
            json!({"command": format!("mkdir '{HOSTILE}'; cd '{HOSTILE}'"), "session": "box"}),
        ),
        (
            "ssh_shell",
            json!({"command": "true", "session": "box", "shell": HOSTILE}),
        ),
        (
            "ssh_download",
            json!({"localPath": HOSTILE, "remotePath": format!("/none/{HOSTILE}"), "session": "box"}),
        ),
    ] {
        client.call(tool, arguments).await;
    }

    let port = daemon.address.port().to_string();

    for form in [&["--http", &port][..], &["--http", &port, "--json"]] {
        let (code, stdout, stderr) = status(folder, form).await;
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        assert_harmless("status", &stdout);
        assert!(stdout.contains("owned"), "{stdout}");
    }

    // A command is cut off, with what the log says of it.
    world.sshd.drop_connections();
    client
        .call("ssh_exec", json!({"command": "true", "session": "box"}))
        .await;

    let log = daemon.log();
    assert_harmless("the log", &log);
    assert!(
        log.contains("owned") && log.contains("not connected"),
        "{log}"
    );

    let forged = |line: &str| line.starts_with("[exit") || line.starts_with("hint:");
    assert!(!log.lines().any(forged), "{log}");
}
