//! Facts about the host in the answer of `ssh_connect`: system, machine, login shell, sudo and tools.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    checks::{code, plain},
    fake_sshd::FakeSshdSettings,
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
    programs,
};

/// Answers of `ssh_connect` for the session of a bench, which is connected already.
async fn connected<S>(bench: &mut ConnectedHost<S>) -> ToolResult {
    bench.mcp.connect(json!({"host": "host"})).await
}

fn session(result: &ToolResult) -> &Value {
    &result.structured()["session"]
}

fn text_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Writes a login shell that answers the probe by `answer`, and runs every other command.
fn login_shell(folder: &Path, answer: &str) -> String {
    let path = folder.join("login-shell");
    let script = format!(
        "#!/bin/sh\ncase $2 in *mcp-ssh-sessions:*)\n{answer}\nexit ;; esac\nexec /bin/sh \"$@\"\n"
    );

    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();

    path.display().to_string()
}

/// Fails unless the facts are those that commands on the host find.
async fn check<S>(mut bench: ConnectedHost<S>, shell: &str) {
    let result = connected(&mut bench).await;
    let found = bench
        .exec(
            "sh -c '. /etc/os-release; printf \"%s\\n\" \"${NAME% GNU/Linux} $VERSION_ID\"; uname -m; id -u; \
             for tool in rg git python3 docker podman kubectl systemctl jq; do command -v $tool; done; command -v sudo'",
            plain(),
        )
        .await
        .stdout();

    let lines: Vec<&str> = found.lines().collect();
    let [os, machine, user, paths @ ..] = &lines[..] else {
        panic!("{found}");
    };
    let names = paths.iter().map(|path| path.rsplit('/').next().unwrap());
    let (sudo, tools): (Vec<&str>, Vec<&str>) = names.partition(|name| *name == "sudo");
    let has_sudo = !sudo.is_empty() && *user != "0";

    let facts =
        ["os", "machine", "shell", "sudo", "tools"].map(|fact| session(&result)[fact].clone());
    let expected = [
        json!(os.trim()),
        json!(machine),
        json!(shell),
        if has_sudo { json!(true) } else { Value::Null },
        json!(tools),
    ];
    assert_eq!(facts, expected);

    let line = format!(
        "host: connected · {}@127.0.0.1:{} · publickey · {} {machine} · {shell}{} · {}",
        session(&result)["user"].as_str().unwrap(),
        session(&result)["port"],
        os.trim(),
        if has_sudo { " · sudo" } else { "" },
        tools.join(" "),
    );
    assert_eq!(result.text(), line);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_sshd_s_host_is_described() {
    let bench = TestHost::openssh().connect().await;
    let user = text_of("id", &["-un"]);
    let entry = text_of("getent", &["passwd", &user]);
    let shell = entry.rsplit('/').next().unwrap().to_owned();

    check(bench, &shell).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_dropbear_s_host_is_described() {
    for shell in ["bash", "zsh"] {
        check(
            TestHost::dropbear(&programs::shell(shell)).connect().await,
            shell,
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_posix_login_shell_gives_every_fact() {
    let folder = tempfile::tempdir().unwrap();
    let ash = folder.path().join("ash");
    symlink(programs::shell("busybox"), &ash).unwrap();
    check(
        TestHost::fake_with_shell(ash.to_str().unwrap())
            .connect()
            .await,
        "BusyBox ash",
    )
    .await;

    for shell in ["bash", "dash", "zsh", "ksh", "mksh", "yash"] {
        let path = programs::shell(shell);
        check(
            TestHost::fake_with_shell(path.to_str().unwrap())
                .connect()
                .await,
            shell,
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_login_shell_gives_its_name_alone() {
    for shell in ["fish", "tcsh"] {
        let mut bench = TestHost::fake_with_shell(programs::shell(shell).to_str().unwrap())
            .connect()
            .await;
        let text = connected(&mut bench).await.text();
        assert!(text.ends_with(&format!(" · publickey · {shell}")), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_facts_cost_no_request_of_their_own() {
    let world = TestHost::fake();
    let mut client = world.client().await;

    let result = client.connect(json!({"host": "box"})).await;
    assert!(session(&result)["os"].is_string(), "{}", result.text());
    assert_eq!(world.sshd.commands().len(), 1);

    let arguments = json!({"command": "true", "cwd": "/"});
    client.call("ssh_exec", arguments).await.ok();
    assert_eq!(world.sshd.commands().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_that_never_end_hold_up_no_command_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let login_shell = login_shell(
        folder.path(),
        "printf 'mcp-ssh-sessions:42:/bin/sh:/bin/sh:/bin/sh;\\nuname:Linux 6.1 x86_64\\n'; exec sleep 600",
    );

    let started = Instant::now();
    let world = TestHost::fake_with(
        FakeSshdSettings {
            login_shell,
            ..FakeSshdSettings::default()
        },
        "",
    );
    let mut client = world.client().await;
    let text = client.connect(json!({"host": "box"})).await.text();
    assert!(text.ends_with(" · publickey"), "{text}");

    // The directory shows that the login shell is known, although its answer never ends.
    let arguments = json!({"command": "pwd", "cwd": "/usr"});
    let result = client.call("ssh_exec", arguments).await.ok();
    assert_eq!(
        (result.stdout().as_str(), code(&result)),
        ("/usr\n", Some(0))
    );
    assert!(
        started.elapsed() < Duration::from_secs(9),
        "{:?}",
        started.elapsed()
    );

    let text = client.connect(json!({"host": "box"})).await.text();
    assert!(text.ends_with(" · Linux 6.1 x86_64 · sh"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_login_shell_holds_up_no_connect() {
    let folder = tempfile::tempdir().unwrap();
    let login_shell = login_shell(folder.path(), "exec sleep 600");
    let world = TestHost::fake_with(
        FakeSshdSettings {
            login_shell,
            ..FakeSshdSettings::default()
        },
        "",
    );

    let mut client = world.client().await;
    let started = Instant::now();
    let text = client.connect(json!({"host": "box"})).await.text();
    assert!(text.ends_with(" · publickey"), "{text}");
    // Before the probe's own limit of 10 s.
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_of_a_hostile_host_stay_in_one_short_line() {
    let folder = tempfile::tempdir().unwrap();
    let login_shell = login_shell(
        folder.path(),
        "printf 'mcp-ssh-sessions:42:/bin/sh:/bin/sh:/bin/sh;\\nuname:A \\033[2J \\n'\n\
         printf 'NAME=\"\\033]0;title\\007\\r\\t%01000d\"\\n/bin/git\\n\\nnotice: forged\\n' 0\n\
         yes /bin/evil | head -c 1000000",
    );
    let mut bench = TestHost::fake_with_shell(&login_shell).connect().await;

    let text = connected(&mut bench).await.text();
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(text.ends_with("… · sh · git") && text.len() < 200, "{text}");
    assert_eq!(
        code(&bench.exec("exit 3", json!({"cwd": "/"})).await),
        Some(3)
    );
}
