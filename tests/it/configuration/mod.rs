//! What the SSH configuration says takes effect, or is named.

mod agent;
mod channels;
mod dialling;
mod environment;
mod without_ssh;

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use mcp_ssh_sessions::openssh::option_support::treatment;
use serde_json::json;

use crate::support::{
    checks::assert_refused,
    fake_sshd::{FakeSshd, FakeSshdSettings},
    fixture::TestHost,
    program::Program,
};

fn world(extra: &str) -> TestHost<FakeSshd> {
    TestHost::fake_with(FakeSshdSettings::default(), &format!("Host box\n{extra}"))
}

#[test]
fn every_option_that_ssh_prints_has_a_treatment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");

    fs::write(
        &file,
        "LocalForward 1 h:2\nRemoteForward 1 h:2\nDynamicForward 3\nPKCS11Provider /p\nKnownHostsCommand /k\n\
         RemoteCommand r\nLocalCommand l\nHostKeyAlias a\nBindAddress 127.0.0.1\nBindInterface lo\nProxyJump j\n\
         SetEnv A=1\nCertificateFile /c\nControlPath /c\nIdentityAgent none\nIgnoreUnknown *\nRevokedHostKeys /r\n\
         GSSAPIClientIdentity g\nGSSAPIServerIdentity g\nKbdInteractiveDevices d\nPreferredAuthentications publickey\n",
    )
    .unwrap();

    let printed = |file: &Path| {
        let output = Command::new("ssh")
            .args(["-G", "-T", "-F"])
            .arg(file)
            .arg("host")
            .output()
            .unwrap();

        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();

        text.lines()
            .filter_map(|line| line.split(' ').next().map(str::to_owned))
            .collect::<BTreeSet<_>>()
    };

    let keywords = &printed(Path::new("/dev/null")) | &printed(&file);
    assert!(keywords.len() > 60, "{keywords:?}");
    let unknown: Vec<_> = keywords
        .iter()
        .filter(|keyword| treatment(keyword).is_none())
        .collect();

    assert!(unknown.is_empty(), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn options_without_effect_are_named_once_and_defaults_are_not() {
    let world = world("ForwardX11 yes\nRequestTTY force\nControlMaster auto");
    let mut client = world.client().await;
    let named = client.connect(json!({"host": "box"})).await;
    let notices = named.structured()["notices"].as_array().unwrap().clone();
    assert_eq!(notices.len(), 1, "{notices:?}");
    let notice = notices[0].as_str().unwrap();

    for (option, times) in [("ForwardX11", 1), ("RequestTTY", 1), ("ControlMaster", 0)] {
        assert_eq!(notice.matches(option).count(), times, "{option}: {notice}");
    }

    assert!(named.text().contains(notice), "{}", named.text());
    let plain = client.connect(json!({"host": "other"})).await;
    assert_eq!(plain.structured().get("notices"), None, "{}", plain.text());
}

/// A folder with an `ssh` that writes down that it was called, and then does what `script` says.
fn stand_in(folder: &Path, script: &str) -> (String, std::path::PathBuf) {
    use std::os::unix::fs::PermissionsExt as _;

    let (bin, calls) = (folder.join("bin"), folder.join("calls"));
    fs::create_dir(&bin).unwrap();
    let real = std::env::var("PATH").unwrap();
    let program = format!(
        "#!/bin/sh\necho \"$*\" >> '{}'\nPATH='{real}'\n{script}\n",
        calls.display()
    );

    fs::write(bin.join("ssh"), program).unwrap();
    fs::set_permissions(bin.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();

    (format!("{}:{real}", bin.display()), calls)
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_is_asked_once_a_connect() {
    let world = world("");
    let (path, calls) = stand_in(world.folder(), "exec ssh \"$@\"");
    let path = [("PATH", path.as_ref())];
    let mut program = Program::start_with(Some(&world.config), world.folder(), &path).await;
    program
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok();

    program
        .call("ssh_exec", json!({"command": "true"}))
        .await
        .ok();

    let calls = fs::read_to_string(calls).unwrap();
    assert_eq!(calls.lines().count(), 1, "{calls}");
    assert!(
        calls.starts_with("-G ") && calls.ends_with("-- box\n"),
        "{calls}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ssh_that_hangs_is_stopped_and_its_words_are_passed_on() {
    for (script, arguments, parts) in [
        (
            "exec sleep 600",
            json!({"host": "box", "timeoutMs": 700}),
            ["ssh -G", "took longer"],
        ),
        (
            "echo 'no such thing' >&2; exit 255",
            json!({"host": "box"}),
            ["ssh refused", "no such thing"],
        ),
        (
            "echo hostname h; echo user u; echo 'refuseconnection not from here'",
            json!({"host": "box"}),
            ["refused", "not from here"],
        ),
        (
            "echo host box; echo port 22",
            json!({"host": "box"}),
            ["configuration", "hostname"],
        ),
    ] {
        let world = world("");
        let (path, _) = stand_in(world.folder(), script);
        let path = [("PATH", path.as_ref())];
        let mut program = Program::start_with(Some(&world.config), world.folder(), &path).await;
        assert_refused(&program.call("ssh_connect", arguments).await, &parts);
        assert_eq!(world.sshd.connections(), 0);
    }
}
