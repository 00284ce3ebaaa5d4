//! The test servers, as OpenSSH's own clients see them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::{
    fake_sshd::{FakeSshd, FakeSshdSettings},
    keys,
    open_sshd::{OpenSshd, OpenSshdSettings},
    processes,
};

fn fake(folder: &Path) -> (FakeSshd, PathBuf) {
    let key = keys::ed25519();
    let path = folder.join("id_ed25519");
    keys::write_private_key(&path, &key, None);
    let authorized_keys = vec![key.public_key().clone()];
    let sshd = FakeSshd::start(FakeSshdSettings {
        authorized_keys,
        ..FakeSshdSettings::default()
    });

    let config = sshd.write_ssh_config(folder, "host", &format!("IdentityFile {}", path.display()));
    (sshd, config)
}

fn run(program: &str, config: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(program);
    command.arg("-F").arg(config).args(arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());

    let mut child = command.spawn().expect("the OpenSSH client is installed");
    let mut stdin = child.stdin.take().unwrap();

    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().unwrap()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn both_servers_run_commands_and_store_files() {
    let folder = tempfile::tempdir().unwrap();
    let (_fake, fake_config) = fake(folder.path());
    let open = OpenSshd::start(&OpenSshdSettings::default());
    let input = vec![b'x'; 5_000_000];

    for config in [fake_config, open.write_ssh_config("host", "")] {
        let output = run(
            "ssh",
            &config,
            &["host", "cat; echo problem >&2; exit 7"],
            &input,
        );

        assert_eq!(
            (output.status.code(), output.stdout.len()),
            (Some(7), input.len()),
            "{output:?}"
        );

        assert!(output.stderr.ends_with(b"problem\n"));

        let [sent, back] = ["sent", "back"].map(|name| folder.path().join(name));
        std::fs::write(&sent, &input).unwrap();
        let (sent, stored) = (sent.display(), folder.path().join("stored"));
        let stored = stored.display();
        let batch = format!(
            "put {sent} {stored}.1\nrename {stored}.1 {stored}\nget {stored} {}\n",
            back.display()
        );

        let output = run("sftp", &config, &["-b", "-", "host"], batch.as_bytes());
        assert!(output.status.success(), "{output:?}");
        assert_eq!(std::fs::read(&back).unwrap(), input);
        std::fs::remove_file(back).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_connection_fails_the_client_and_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let (sshd, config) = fake(folder.path());

    let client = std::thread::spawn(move || {
        run(
            "ssh",
            &config,
            &["host", "setsid sleep 600 & sleep 600"],
            b"",
        )
    });

    let port = sshd.port();
    until(|| processes::of_connections_to(port).len() == 3);
    sshd.drop_connections();
    assert_eq!(client.join().unwrap().status.code(), Some(255));
    assert_eq!(
        (sshd.connections(), processes::of_connections_to(port).len()),
        (1, 3)
    );

    drop(sshd);
    until(|| processes::of_connections_to(port).is_empty());
}

fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "still not so after 20 s");
        std::thread::yield_now();
    }
}
