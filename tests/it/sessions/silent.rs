//! Servers that do not answer when they are asked whether they are still there.

use std::{
    fs, io,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use mcp_ssh_sessions::{
    openssh::destination::Destination,
    ssh::{
        auth::Credentials,
        config::target::Target,
        connect::{RouteCheck, UnknownHosts, connection::Connection},
        known_servers::KnownServers,
        prompt::prompter::Prompter,
    },
};

use crate::support::{
    checks::eventually,
    clock,
    hostile_sshd::{HostileSshd, Peer, Script, message, text},
    keys, ssh_config,
};

/// The client has had the answer to its first question.
static ANSWERED: AtomicBool = AtomicBool::new(false);

/// Has no answer to any global request (RFC 4254, section 4).
fn answers_nothing(peer: &mut Peer) -> io::Result<()> {
    peer.let_in()?;
    peer.be_silent()
}

/// Answers the first one, and then hangs.
fn answers_once(peer: &mut Peer) -> io::Result<()> {
    peer.let_in()?;
    peer.wait_for(80)?;
    peer.send(&message(82, &[]))?;

    // The answer to a question of its own comes after that was read.
    peer.send(&message(80, &[&text("unknown@example.com"), &[1]]))?;
    peer.wait_for(82)?;
    ANSWERED.store(true, Ordering::SeqCst);

    peer.be_silent()
}

#[tokio::test]
async fn only_a_server_that_could_answer_is_abandoned_when_silent() {
    let script = |script: Script| script;
    for (options, script, given_up) in [
        ("", script(answers_nothing), false),
        ("ServerAliveCountMax 1", answers_nothing, false),
        ("ServerAliveInterval 0", answers_once, false),
        ("", answers_once, true),
    ] {
        let sshd = HostileSshd::start(script);
        let folder = tempfile::tempdir().unwrap();
        let (key, known_hosts) = (folder.path().join("key"), folder.path().join("known_hosts"));
        keys::write_private_key(&key, &keys::ed25519(), None);
        fs::write(&known_hosts, sshd.known_hosts_line()).unwrap();
        let lines = format!("{options}\nIdentityFile {}", key.display());
        let host = ssh_config::host("box", &lines, sshd.port(), "agent", &known_hosts);
        let config = ssh_config::write(folder.path(), "silent", &host);
        let destination = Destination::parse("box").unwrap();

        let target = Target {
            destination,
            user: None,
            port: None,
            config_file: Some(config),
        };

        let (credentials, prompter) = (Credentials::default(), Prompter::default());
        let connection = Connection::open(
            &target,
            &credentials,
            &prompter,
            Duration::from_secs(60),
            UnknownHosts::AsConfigured,
            &RouteCheck::default(),
            &KnownServers::default(),
        )
        .await
        .unwrap();

        if given_up {
            eventually("the first question is answered", || {
                ANSWERED.load(Ordering::SeqCst)
            })
            .await;
        }

        clock::pass(Duration::from_secs(600)).await;
        assert_eq!(connection.is_closed(), given_up, "{options}");

        if given_up {
            assert!(
                connection
                    .lost()
                    .to_string()
                    .contains("has not answered for a minute"),
                "{}",
                connection.lost()
            );
        }
    }
}
