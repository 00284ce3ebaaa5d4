//! Starts the tests' SSH server for a live demo: `demo-sshd FOLDER`.
//!
//! Writes keys and an `ssh_config` with the hosts `demo` (log-in by key), `demo-password`, `demo-questions`
//! (keyboard-interactive) and `demo-unknown` (its host key is in no `known_hosts`) into FOLDER, and prints one line of JSON when it is ready. A line `drop` on its standard
//! input cuts all connections, which a line `dropped` confirms; it ends when its standard input does.

use std::io::Write as _;
use std::path::PathBuf;
use std::{env, fs, io};

use support::fake_sshd::{FakeSshd, FakeSshdSettings};
use support::{keys, ssh_config};
use tokio::io::{AsyncBufReadExt as _, BufReader};

#[path = "../it/support"]
#[expect(dead_code, reason = "the demo uses a part of the tests' support")]
#[expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "written for tests, which may"
)]
mod support {
    pub(crate) mod fake_sshd;
    pub(crate) mod keys;
    pub(crate) mod processes;
    pub(crate) mod ssh_config;
}

const USER: &str = "agent";

#[tokio::main]
async fn main() -> io::Result<()> {
    let Some(folder) = env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::other("usage: demo-sshd FOLDER"));
    };
    fs::create_dir_all(folder.join("home"))?;
    let folder = folder.canonicalize()?;
    let key = keys::ed25519();
    keys::write_private_key(&folder.join("id_ed25519"), &key, None);

    // Not a fixed one: every local user can reach the server, which runs commands.
    let password = format!("{:032x}", u128::from_ne_bytes(keys::random()));
    let code: &str = password.clone().leak();

    let sshd = FakeSshd::start(FakeSshdSettings {
        user: USER.to_owned(),
        password: Some(password.clone()),
        rounds: vec![vec![
            ("Code from your token: ", false, code),
            ("Where are you? ", true, "at home"),
        ]],
        authorized_keys: vec![key.public_key().clone()],
        home: Some(folder.join("home")),
        login_shell: "/bin/bash".to_owned(),
        ..FakeSshdSettings::default()
    });

    let known_hosts = folder.join("known_hosts");
    fs::write(&known_hosts, sshd.known_hosts_line())?;
    let host = |alias, extra: &str| ssh_config::host(alias, extra, sshd.port(), USER, &known_hosts);
    let nobodys_hosts = folder.join("known_hosts_without_it");
    let by_key = format!("IdentityFile \"{}\"", folder.join("id_ed25519").display());
    let by_password = "PubkeyAuthentication no\nPreferredAuthentications password";
    let by_answers = "PubkeyAuthentication no\nPreferredAuthentications keyboard-interactive";
    let config = folder.join("ssh_config");

    // What ssh_config says by default, and what comes first wins.
    let unknown = format!("StrictHostKeyChecking ask\n{by_key}");
    let unknown = ssh_config::host("demo-unknown", &unknown, sshd.port(), USER, &nobodys_hosts);
    let by_words = host("demo-password", by_password) + &host("demo-questions", by_answers);
    fs::write(&config, host("demo", &by_key) + &by_words + &unknown)?;
    let ready =
        serde_json::json!({ "port": sshd.port(), "password": password, "sshConfig": config });
    writeln!(io::stdout(), "{ready}")?;
    let mut orders = BufReader::new(tokio::io::stdin()).lines();

    while let Some(order) = orders.next_line().await? {
        if order == "drop" {
            sshd.drop_connections();
            writeln!(io::stdout(), "dropped")?;
        }
    }

    Ok(())
}
