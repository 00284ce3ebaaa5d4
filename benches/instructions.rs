//! `instructions CASE TIMES`: does the work of a case so many times. `scripts/instructions.mjs` runs it under valgrind
//! and compares the instructions that one time takes with `benches/instructions.json`.
#![expect(
    clippy::expect_used,
    reason = "a benchmark may say what it takes for granted"
)]

use std::hint::black_box;
use std::{env, io};

use serde_json::json;
use support::{fake_sshd::FakeSshd, fake_sshd::FakeSshdSettings, keys, mcp_client::McpClient};
use work::{Capturing, Decoding, Editing, LookingUp};

#[path = "../tests/it/support"]
#[expect(dead_code, reason = "one case uses a part of the tests' support")]
#[expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "written for tests, which may"
)]
mod support {
    pub(crate) mod fake_sshd;
    pub(crate) mod keys;
    pub(crate) mod mcp_client;
    pub(crate) mod processes;
    pub(crate) mod ssh_config;
}
mod work;

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let (case, times) = (arguments.next(), arguments.next());
    let times = times.and_then(|times| times.parse().ok());
    let (Some(case), Some(times)) = (case, times) else {
        return Err(io::Error::other("usage: instructions CASE TIMES"));
    };

    match case.as_str() {
        "decoder" => repeat(times, Decoding::text(), Decoding::run),
        "decoder_marks" => repeat(times, Decoding::marks(), Decoding::run),
        "capture" => repeat(times, Capturing::new(), Capturing::run),
        "edit" => repeat(times, Editing::new(), |editing| {
            editing.run().expect("the line is there once")
        }),
        "known_hosts" => repeat(times, LookingUp::new(None), LookingUp::run),
        "known_hosts_hashed" => repeat(times, LookingUp::new(Some([7; 20])), LookingUp::run),
        "ssh_exec" => ssh_exec(times)?,
        _ => return Err(io::Error::other(format!("there is no case {case}"))),
    }
    Ok(())
}

fn repeat<W, R>(times: usize, work: W, run: impl Fn(&W) -> R) {
    for _ in 0..times {
        black_box(run(&work));
    }
}

/// Calls `ssh_exec` so many times, one after the other: the client, our server and the SSH server are in this process
/// and on one thread, where no two of them can race.
#[tokio::main(flavor = "current_thread")]
async fn ssh_exec(times: usize) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let (key, identity) = (keys::ed25519(), folder.path().join("id_ed25519"));
    keys::write_private_key(&identity, &key, None);
    let sshd = FakeSshd::start(FakeSshdSettings {
        authorized_keys: vec![key.public_key().clone()],
        ..FakeSshdSettings::default()
    });

    let identity = format!("IdentityFile \"{}\"", identity.display());
    let config = sshd.write_ssh_config(folder.path(), "host", &identity);
    let mut client = McpClient::start(&config, folder.path()).await;
    client.connect(json!({"host": "host"})).await;

    for _ in 0..times {
        let answer = client.call("ssh_exec", json!({"command": "echo ok"})).await;
        assert_eq!(answer.ok().stdout(), "ok\n");
    }

    client.close().await;
    Ok(())
}
