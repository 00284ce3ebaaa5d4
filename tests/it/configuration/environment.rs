//! What the programs get that this one starts on the way to a host.

use std::{ffi::OsStr, fs, os::unix::fs::PermissionsExt as _};

use serde_json::json;

use super::dialling::netcat;
use crate::support::{
    checks::assert_refused, fake_sshd::FakeSshdSettings, fixture::TestHost, keys, program::Program,
};

/// The bearer token of a daemon that was started with it.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test(flavor = "multi_thread")]
async fn no_program_on_the_way_to_a_host_gets_the_token_of_the_daemon() {
    let settings = FakeSshdSettings {
        password: Some("correct horse".to_owned()),
        ..FakeSshdSettings::default()
    };

    let folder = tempfile::tempdir().unwrap();
    let seen = |name: &str| folder.path().join(name);

    let extra = format!(
        "Match exec \"env > '{}'\"\nHost box\nProxyCommand sh -c 'env > {}; exec \"$@\"' x {}\nSendEnv *\n",
        seen("match").display(),
        seen("proxy").display(),
        netcat()
    );

    let world = TestHost::fake_with(settings, &extra);
    keys::write_private_key(&world.key(), &keys::ed25519(), None);
    let askpass = seen("askpass.sh");

    fs::write(
        &askpass,
        format!(
            "#!/bin/sh\nenv > '{}'\necho correct horse\n",
            seen("askpass").display()
        ),
    )
    .unwrap();

    fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)).unwrap();

    let environment = [
        ("SSH_ASKPASS", askpass.as_os_str()),
        ("SSH_ASKPASS_REQUIRE", OsStr::new("force")),
        ("MCP_SSH_TOKEN", OsStr::new(TOKEN)),
        ("NO_SECRET", OsStr::new("inherited")),
    ];

    let mut program = Program::start_with(Some(&world.config), world.folder(), &environment).await;
    program
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok();

    for name in ["match", "proxy", "askpass"] {
        let variables = fs::read_to_string(seen(name)).unwrap();
        assert!(
            variables.contains("NO_SECRET=inherited"),
            "{name}: {variables}"
        );

        assert!(
            !variables.contains(TOKEN) && !variables.contains("MCP_SSH_TOKEN"),
            "{name}: {variables}"
        );
    }
}

/// What `ssh` printed is not believed: a name may come from the DNS (`CanonicalizeHostname`), or from an `ssh` that checks
/// less.
#[tokio::test(flavor = "multi_thread")]
async fn a_printed_name_with_shell_syntax_gets_into_no_command() {
    let folder = tempfile::tempdir().unwrap();
    let ran = folder.path().join("ran");
    let touch = format!("touch${{IFS}}{}", ran.display());

    for (option, host_name, user) in [
        (
            "proxycommand nc %h %p",
            format!("h;{touch}"),
            "agent".to_owned(),
        ),
        (
            "proxycommand nc %h %p",
            format!("`{touch}`"),
            "agent".to_owned(),
        ),
        (
            "proxycommand ssh -l %r gate",
            "h".to_owned(),
            format!("a|{touch}"),
        ),
        (
            "proxycommand ssh -l %r gate",
            "h".to_owned(),
            "-oProxyCommand=id".to_owned(),
        ),
        ("proxyjump gate-%h", "h,evil".to_owned(), "agent".to_owned()),
        ("proxyjump %r@gate", "h".to_owned(), format!("a;{touch}")),
    ] {
        let world = super::world("");
        let script = format!(
            "cat <<'END'\nhost box\nhostname {host_name}\nuser {user}\nport 22\n{option}\nEND"
        );
        let (path, _) = super::stand_in(world.folder(), &script);
        let path = [("PATH", path.as_ref())];
        let mut program = Program::start_with(Some(&world.config), world.folder(), &path).await;
        let refused = program.call("ssh_connect", json!({"host": "box"})).await;

        assert_refused(
            &refused,
            &[
                "must not get into a command",
                option.split(' ').next().unwrap(),
            ]
            .map(proper),
        );

        assert!(!ran.exists(), "{option}: {host_name} {user}");
    }
}

/// An option as `ssh_config(5)` spells it.
fn proper(name: &str) -> &str {
    match name {
        "proxycommand" => "ProxyCommand",
        "proxyjump" => "ProxyJump",
        other => other,
    }
}

/// `%n` is the host alone: a user name may hold what a host name may not.
#[tokio::test(flavor = "multi_thread")]
async fn the_host_as_typed_is_put_into_a_command_without_its_user() {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen");

    let world = TestHost::fake_with(
        FakeSshdSettings::default(),
        &format!(
            "Host box\nProxyCommand sh -c 'echo %n > {}; exec \"$@\"' x {}",
            seen.display(),
            netcat()
        ),
    );

    let mut client = world.client().await;

    for host in ["agent@box", "ssh://agent@box"] {
        client
            .call(
                "ssh_connect",
                json!({"host": host, "port": world.sshd.port()}),
            )
            .await
            .ok();

        assert_eq!(fs::read_to_string(&seen).unwrap(), "box\n", "{host}");
    }
}
