//! What is left of a secret in the memory of the program once its session is disconnected.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    sync::LazyLock,
};

use serde_json::json;

use crate::support::{
    fake_sshd::FakeSshdSettings,
    fixture::TestHost,
    keys,
    program::Program,
    sudo_host::{PASSWORD, SudoHostSettings, TELLTALE},
};

/// What is looked for. No other bytes of the program are these by chance.
const PART: &str = "k7QzV2mXw9TbHc4P";

/// Long, so that memory that was freed and is used again for less still shows some of it.
static SECRET: LazyLock<String> = LazyLock::new(|| PART.repeat(50));

/// How often a secret stands in the memory that the process can write to.
fn copies(pid: u32, secret: &str) -> usize {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut found = 0;

    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];

        // Some parts of it are the kernel's own.
        if memory.read_exact_at(&mut bytes, from).is_ok() {
            found += memchr::memmem::find_iter(&bytes, secret).count();
        }
    }

    found
}

async fn use_and_disconnect(program: &mut Program) {
    let pid = program.pid();
    assert!(
        copies(pid, PART) > 0,
        "a session keeps it to connect again, and so it can be found"
    );

    let ran = program
        .call("ssh_exec", json!({"command": "echo in"}))
        .await
        .ok();

    assert_eq!(ran.stdout(), "in\n");
    program
        .call("ssh_shell", json!({"command": "echo in"}))
        .await
        .ok();

    program.call("ssh_disconnect", json!({})).await.ok();
    assert_eq!(copies(pid, PART), 0, "copies of it are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_password_is_wiped_from_memory_after_the_disconnect() {
    let world = TestHost::fake_with_password(&SECRET);
    let mut program = Program::start(&world.config, world.folder()).await;
    let call = json!({"host": "box", "password": *SECRET});
    program.call("ssh_connect", call.clone()).await.ok();
    use_and_disconnect(&mut program).await;

    // It is gone for the program as well.
    let refused = program.call("ssh_exec", json!({"command": "true"})).await;
    assert!(
        refused.is_error() && refused.text().contains("password"),
        "{}",
        refused.text()
    );

    let again = program.call("ssh_connect", call).await.ok();
    assert!(!again.text().contains("notice"), "{}", again.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_passphrase_is_wiped_from_memory_after_the_disconnect() {
    let world = TestHost::fake();
    let key = russh::keys::load_secret_key(world.key(), None).unwrap();
    keys::write_private_key(&world.key(), &key, Some(&SECRET));
    let mut program = Program::start(&world.config, world.folder()).await;
    program
        .call("ssh_connect", json!({"host": "box", "passphrase": *SECRET}))
        .await
        .ok();

    use_and_disconnect(&mut program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typed_secrets_are_wiped_from_memory_after_the_disconnect() {
    for keyboard_interactive in [false, true] {
        let mut settings = FakeSshdSettings::default();
        if keyboard_interactive {
            settings.rounds = vec![vec![("Password: ", false, PART)]];
        } else {
            settings.password = Some(PART.to_owned());
        }

        let world = TestHost::fake_with(settings, "");
        keys::write_private_key(&world.key(), &keys::ed25519(), None);
        let askpass = world.folder().join("askpass");
        fs::write(&askpass, format!("#!/bin/sh\necho '{PART}'\n")).unwrap();
        fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)).unwrap();
        let environment = [
            ("SSH_ASKPASS", askpass.as_os_str()),
            ("SSH_ASKPASS_REQUIRE", OsStr::new("force")),
        ];

        let mut program =
            Program::start_with(Some(&world.config), world.folder(), &environment).await;
        program
            .call("ssh_connect", json!({"host": "box"}))
            .await
            .ok();

        use_and_disconnect(&mut program).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sudo_password_is_wiped_from_memory_after_the_disconnect() {
    let Some(host) = TestHost::sudo(&SudoHostSettings::default()) else {
        return;
    };

    // Apart from the program, which knows it only from what this prints.
    let (askpass, answer) = (host.local("askpass"), host.local("answer"));
    fs::write(&answer, PASSWORD).unwrap();
    fs::write(&askpass, format!("#!/bin/sh\ncat '{}'\n", answer.display())).unwrap();
    fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)).unwrap();
    let environment = [
        ("SSH_ASKPASS", askpass.as_os_str()),
        ("SSH_ASKPASS_REQUIRE", OsStr::new("force")),
    ];

    let mut program = Program::start_with(Some(&host.config), host.folder(), &environment).await;
    program
        .call("ssh_connect", json!({"host": "host"}))
        .await
        .ok();

    for call in [
        json!({"command": "id -u", "sudo": true}),
        json!({"command": "cat", "sudo": true, "stdin": "x"}),
        json!({"command": "sleep 600", "sudo": true, "background": true}),
    ] {
        program.call("ssh_exec", call).await.ok();
    }

    assert!(
        copies(program.pid(), TELLTALE) > 0,
        "it is kept until the session is disconnected"
    );

    program.call("ssh_disconnect", json!({})).await.ok();
    assert_eq!(copies(program.pid(), TELLTALE), 0, "copies of it are left");
}
