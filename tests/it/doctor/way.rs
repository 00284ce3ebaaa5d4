//! The way there: addresses, ports, jump hosts, proxy commands, and what answers at the end of it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    thread,
};

use super::doctor;
use crate::support::{
    fake_sshd::{FakeSshd, FakeSshdSettings},
    keys, ssh_config,
};

/// The port of a listener that says this and then nothing, or (`None`) takes no connection in.
fn saying(words: Option<&'static [u8]>) -> (u16, Option<TcpListener>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let Some(words) = words else {
        return (port, Some(listener));
    };

    thread::spawn(move || {
        let Ok((mut stream, _)) = listener.accept() else {
            return;
        };
        let _ = stream.write_all(words);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut rest = [0; 1024];
        while stream.read(&mut rest).is_ok_and(|length| length > 0) {}
    });

    (port, None)
}

fn host(folder: &Path, port: u16, options: &str) -> PathBuf {
    let known_hosts = folder.join("known_hosts");
    fs::write(&known_hosts, "").unwrap();

    let block = ssh_config::host(
        "box",
        &format!("{options}\nIdentityAgent none"),
        port,
        "agent",
        &known_hosts,
    );

    ssh_config::write(folder, "box", &block)
}

#[tokio::test]
async fn what_is_no_ssh_server_or_does_not_answer_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let free = saying(None).0;
    let silent = saying(None);

    for (port, options, parts) in [
        (
            free,
            "",
            &[
                "✓ addresses: 127.0.0.1",
                "✗ TCP: could not connect",
                "127.0.0.1:PORT: ",
                "next: check host and port",
            ][..],
        ),
        (
            saying(Some(b"HTTP/1.1 400 Bad Request\r\n\x1b[2J\xc2\x9bgone\r\n")).0,
            "",
            &[
                "✓ TCP: 127.0.0.1:PORT accepts",
                "✗ server: ",
                "it says: HTTP/1.1 400 Bad Request",
                "it says: \\u{1b}[2J\\u{9b}gone",
                "– key exchange: not reached",
                "next: check that host and port are those of an SSH server",
            ],
        ),
        (
            saying(Some(b"")).0,
            "",
            &[
                "✗ server: ",
                "it says nothing",
                "next: check that host and port",
            ],
        ),
        (
            silent.0,
            "ConnectTimeout 1",
            &[
                "✓ TCP",
                "✗ server: the SSH handshake took longer than 1s",
                "it says nothing",
            ],
        ),
        (
            free,
            "HostName no-such-host.invalid",
            &[
                "✗ addresses: could not resolve",
                "– TCP: not reached",
                "next: check the",
            ],
        ),
        (
            free,
            "AddressFamily inet6",
            &["✗ addresses: ", "127.0.0.1: not of the wanted family"],
        ),
    ] {
        let output = doctor(&host(folder.path(), port, options), &[folder.path()]).await;
        let parts: Vec<_> = parts
            .iter()
            .map(|part| part.replace("PORT", &port.to_string()))
            .collect();

        let parts: Vec<_> = parts.iter().map(String::as_str).collect();
        output.says(false, &parts);
    }
}

#[tokio::test]
async fn each_jump_host_is_explained_and_one_that_fails_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (key, path) = (keys::ed25519(), folder.path().join("key"));
    keys::write_private_key(&path, &key, None);

    let server = || {
        let authorized_keys = vec![key.public_key().clone()];
        FakeSshd::start(FakeSshdSettings {
            authorized_keys,
            ..FakeSshdSettings::default()
        })
    };

    let (target, near) = (server(), server());
    let known_hosts = folder.path().join("known_hosts");
    fs::write(
        &known_hosts,
        target.known_hosts_line() + &near.known_hosts_line(),
    )
    .unwrap();

    let config = |jump: &str, near_options: &str, port: u16| {
        let block = |alias, options: &str, port| {
            let options = format!(
                "{options}\nIdentityAgent none\nIdentityFile {}",
                path.display()
            );
            ssh_config::host(alias, &options, port, "agent", &known_hosts)
        };

        let text = block("box", jump, port) + &block("near", near_options, near.port());
        ssh_config::write(folder.path(), "box", &text)
    };

    let closed = saying(None).0;

    for (jump, near_options, port, connects, parts) in [
        (
            "ProxyJump near",
            "",
            target.port(),
            true,
            &[
                "✓ configuration: agent at",
                "✓ near › configuration: agent at",
                "✓ near › TCP",
                "✓ near › host key",
                "✓ near › log-in: publickey",
                "✓ way there: 127.0.0.1 reaches 127.0.0.1 port",
                "✓ server: SSH-2.0-OpenSSH_FakeSshd",
                "✓ log-in: publickey as agent",
                "✓ box connects",
            ][..],
        ),
        (
            "ProxyJump near",
            "UserKnownHostsFile /dev/null",
            target.port(),
            false,
            &[
                "✗ near › host key: the host key of",
                "✗ way there: through the jump host near: ",
                "– server: not reached",
                "next: for the jump host near: run `ssh -F",
            ],
        ),
        (
            "ProxyJump near",
            "",
            closed,
            false,
            &[
                "✓ near › log-in",
                "✗ way there: the jump host could not connect to 127.0.0.1",
                "next: check that the jump",
            ],
        ),
        (
            "ProxyCommand echo no way >&2; exit 1",
            "",
            target.port(),
            false,
            &[
                "its ProxyCommand says: \"no way\"",
                "runs: echo no way >&2; exit 1",
                "– server: not reached",
            ],
        ),
    ] {
        let output = doctor(&config(jump, near_options, port), &[folder.path()]).await;
        output.says(connects, parts);
    }
}
