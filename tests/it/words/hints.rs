//! Results that fail for a reason which one of our parameters would cure, and say so; and those that must not.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::{
    checks::{code, plain},
    fixture::{ConnectedHost, TestHost},
    open_sshd::OpenSshd,
    sudo_host::SudoHostSettings,
};

const FAKES: &str = "mkdir -p ~/bin; for name in frob twiddle; do printf '#!/bin/sh\\necho %s' $name > ~/bin/$name; done; \
                     chmod +x ~/bin/*; echo 'PATH=$HOME/bin:$PATH' > ~/.profile";

/// Runs a command that fails, and asserts that the status line says so much, and whether there is a hint in it.
async fn check(
    bench: &mut ConnectedHost<OpenSshd>,
    tool: &str,
    command: &str,
    more: Value,
    exit: i64,
    part: &str,
) {
    let mut arguments = more;
    arguments["command"] = command.into();
    let result = bench.mcp.call(tool, arguments).await.ok();
    let status = result.status_line();

    assert_eq!(
        code(&result),
        Some(exit),
        "{tool} {command}: {}",
        result.text()
    );

    if part.is_empty() {
        assert_eq!(
            result.outcome().get("notice"),
            None,
            "{tool} {command}: {status}"
        );
    } else {
        assert!(
            status.contains(part),
            "{tool} {command}: {part:?} is missing in {}",
            result.text()
        );
    }
}

#[tokio::test]
async fn a_program_that_only_a_login_shell_finds_is_said_to_be_one() {
    let mut bench = TestHost::openssh().connect().await;
    bench.exec(FAKES, plain()).await;

    for (tool, command, more, exit, part) in [
        ("ssh_exec", "frob", plain(), 127, "bash -lc 'COMMAND'"),
        (
            "ssh_exec",
            "cd /tmp && twiddle install x",
            plain(),
            127,
            "bash -lc 'COMMAND'",
        ),
        ("ssh_exec", "sh -c frob", plain(), 127, "bash -lc 'COMMAND'"),
        ("ssh_exec", "env frob", plain(), 127, "bash -lc 'COMMAND'"),
        (
            "ssh_exec",
            "frob",
            json!({"pty": true}),
            127,
            "bash -lc 'COMMAND'",
        ),
        ("ssh_shell", "frob", plain(), 127, ". ~/.profile"),
        ("ssh_exec", "./none", plain(), 127, ""),
        ("ssh_exec", "/opt/none/none", plain(), 127, ""),
        ("ssh_exec", "exit 127", plain(), 127, ""),
        ("ssh_exec", "frob; true", plain(), 0, ""),
        ("ssh_exec", "frob || exit 3", plain(), 3, ""),
    ] {
        check(&mut bench, tool, command, more, exit, part).await;
    }

    // What is said works.
    assert_eq!(
        bench.exec("bash -lc 'frob'", plain()).await.stdout(),
        "frob\n"
    );

    assert_eq!(
        bench.shell(". ~/.profile; frob", plain()).await.stdout(),
        "frob\n"
    );
}

#[tokio::test]
async fn the_words_of_other_login_shells_are_known_too() {
    for shell in ["/bin/dash", "/usr/bin/zsh", "/usr/bin/fish"] {
        let mut bench = TestHost::fake_with_shell(shell).connect().await;
        let result = bench.exec("none-of-this-name", plain()).await;
        assert_eq!(code(&result), Some(127), "{shell}");
        assert!(
            result.status_line().contains("bash -lc 'COMMAND'"),
            "{shell}: {}",
            result.text()
        );
    }
}

#[tokio::test]
async fn a_terminal_or_sudo_password_is_suggested_where_it_is_missing() {
    let mut bench = TestHost::openssh().connect().await;

    // What programs say that are not on every machine, in their own words.
    let says = |text: &str| format!("printf '%s\\n' '{text}' >&2; exit 1");
    for (tool, command, more, exit, part) in [
        (
            "ssh_exec",
            "tty -s || { echo 'the input device is not a TTY' >&2; exit 1; }".to_owned(),
            plain(),
            1,
            "pty: true",
        ),
        (
            "ssh_exec",
            "TERM=xterm tmux new-session".to_owned(),
            plain(),
            1,
            "pty: true",
        ),
        (
            "ssh_shell",
            "TERM=xterm tmux new-session".to_owned(),
            plain(),
            1,
            "ssh_exec with pty: true",
        ),
        (
            "ssh_exec",
            says("Must be connected to a terminal."),
            plain(),
            1,
            "pty: true",
        ),
        (
            "ssh_exec",
            says("sudo: a password is required"),
            plain(),
            1,
            "sudo: true",
        ),
        (
            "ssh_shell",
            says("sudo: a terminal is required to read the password"),
            plain(),
            1,
            "use sudo: true",
        ),
        ("ssh_exec", says("a password is required"), plain(), 1, ""),
        (
            "ssh_exec",
            says("sudo: a password is required").replace("exit 1", "exit 0"),
            plain(),
            0,
            "",
        ),
        (
            "ssh_exec",
            "echo 'not a tty' >&2; false; true".to_owned(),
            plain(),
            0,
            "",
        ),
        (
            "ssh_exec",
            says("mesg: ttyname failed: Inappropriate ioctl for device"),
            plain(),
            1,
            "",
        ),
        ("ssh_exec", says("not a tty"), json!({"pty": true}), 1, ""),
    ] {
        check(&mut bench, tool, &command, more, exit, part).await;
    }
}

#[tokio::test]
async fn what_is_taken_as_it_is_is_said_where_it_has_done_harm() {
    let mut bench = TestHost::openssh().connect().await;
    let path = |value: &str| json!({"env": {"PATH": value}});
    for (tool, command, more, exit, part) in [
        (
            "ssh_exec",
            "uname",
            path("$PATH:/opt/x"),
            127,
            "PATH lost its own directories",
        ),
        (
            "ssh_exec",
            "uname",
            path("/opt/x:${PATH}"),
            127,
            "PATH lost its own directories",
        ),
        (
            "ssh_exec",
            "/bin/ls \"$WHERE\"",
            json!({"env": {"WHERE": "$HOME/none"}}),
            2,
            "values of env are literal",
        ),
        (
            "ssh_exec",
            "echo \"$WHERE\"; exit 3",
            json!({"env": {"WHERE": "$HOME/none"}}),
            3,
            "",
        ),
        ("ssh_exec", "true", path("$PATH:/opt/x"), 0, ""),
        (
            "ssh_exec",
            "pwd",
            json!({"cwd": "$HOME/none"}),
            1,
            "cwd is taken as it is",
        ),
        (
            "ssh_exec",
            "pwd",
            json!({"cwd": "/var/*"}),
            1,
            "cwd is taken as it is",
        ),
        ("ssh_exec", "cd /tmp\r\npwd\r\n", plain(), 127, "CRLF"),
        (
            "ssh_shell",
            "if true; then\r\necho a\r\nfi\r\n",
            plain(),
            2,
            "CRLF",
        ),
        (
            "ssh_exec",
            "for i in 1; do\r\n  echo $i\r\ndone\r\n",
            plain(),
            2,
            "CRLF",
        ),
        ("ssh_exec", "printf 'a\r\nb'", plain(), 0, ""),
        (
            "ssh_exec",
            "read name && echo \"$name\"",
            json!({"stdin": "Ann"}),
            1,
            "no newline at its end",
        ),
        (
            "ssh_exec",
            "cat > /dev/null; exit 1",
            json!({"stdin": "Ann"}),
            1,
            "",
        ),
    ] {
        let mut arguments = more.clone();
        arguments["command"] = command.into();
        let result = bench.mcp.call(tool, arguments).await.ok();
        let status = result.status_line();

        // How a shell calls its failure differs.
        assert_eq!(
            code(&result) == Some(0),
            exit == 0,
            "{command:?}: {}",
            result.text()
        );

        let hint = result.outcome()["notice"]
            .as_str()
            .unwrap_or_default()
            .to_owned();

        assert_eq!(
            (hint.contains(part), hint.is_empty()),
            (true, part.is_empty()),
            "{command:?} {more}: {status}"
        );
    }
}

#[tokio::test]
async fn a_path_that_is_taken_as_it_is_is_said_what_to_write_instead() {
    let mut bench = TestHost::openssh().connect().await;
    let local = bench.local("file");
    std::fs::write(&local, "content").unwrap();
    let up = |remote: &str| json!({"localPath": local, "remotePath": remote});
    let down = |remote: &str, to: &str| json!({"remotePath": remote, "localPath": bench.folder().join(to)});
    let tree = json!({"localPath": "/etc/*.conf", "remotePath": "x"});

    for (tool, arguments, part) in [
        (
            "ssh_upload",
            up("$HOME/none/file"),
            "write ~/ for the home directory",
        ),
        (
            "ssh_download",
            down("${HOME}/file", "x"),
            "write ~/ for the home directory",
        ),
        (
            "ssh_download",
            down("/var/log/*.log", "x"),
            "without patterns",
        ),
        ("ssh_upload", tree, "without patterns"),
        ("ssh_upload", up("none/deeper/file"), "mkdir -p"),
        ("ssh_upload", up("/none-of-this/file"), "mkdir -p"),
        (
            "ssh_download",
            down("/etc/passwd", "none/deeper/x"),
            "make its directory on this machine",
        ),
        (
            "ssh_download",
            down("/etc/none-of-this", "x"),
            "check remotePath",
        ),
    ] {
        let refused = bench.mcp.call(tool, arguments.clone()).await;
        assert!(refused.is_error(), "{arguments}");

        let hint = refused
            .text()
            .split("\nhint: ")
            .nth(1)
            .unwrap_or_default()
            .to_owned();

        assert!(hint.contains(part), "{arguments}: {}", refused.text());
    }
}

#[tokio::test]
async fn a_file_that_only_root_may_write_is_written_with_sudo() {
    let Some(host) = TestHost::sudo(&SudoHostSettings::default()) else {
        return;
    };
    let mut bench = host.connect().await;
    let local = bench.local("file");
    std::fs::write(&local, "content").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "root's").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();

    for (tool, arguments, part) in [
        (
            "ssh_upload",
            json!({"localPath": local, "remotePath": "/etc/none-of-this.conf"}),
            "tee PATH",
        ),
        (
            "ssh_upload",
            json!({"localPath": local, "remotePath": "/root/file"}),
            "tee PATH",
        ),
        (
            "ssh_download",
            json!({"remotePath": secret, "localPath": bench.local("x")}),
            "cat PATH",
        ),
    ] {
        let refused = bench.mcp.call(tool, arguments.clone()).await;
        assert!(
            refused.is_error() && refused.text().contains(part),
            "{arguments}: {}",
            refused.text()
        );

        assert!(refused.text().contains("sudo: true"), "{}", refused.text());
    }

    // sudo's own words, without a terminal.
    for (tool, command, part) in [
        ("ssh_exec", "sudo id -u", "use sudo: true, without sudo"),
        ("ssh_exec", "sudo -n id -u", "use sudo: true, without sudo"),
        ("ssh_shell", "sudo id -u", "use sudo: true"),
    ] {
        let refused = bench.mcp.call(tool, json!({"command": command})).await.ok();
        assert!(
            refused.status_line().contains(part),
            "{command}: {}",
            refused.text()
        );
    }
}

#[tokio::test]
async fn a_program_that_wanted_to_be_talked_to_is_named() {
    let mut bench = TestHost::openssh().connect().await;
    for (tool, command, more, part) in [
        (
            "ssh_shell",
            "bash",
            plain(),
            "bash had an empty stdin and ended at once",
        ),
        (
            "ssh_shell",
            "sudo -n -i",
            plain(),
            "you are still the same user",
        ),
        (
            "ssh_shell",
            "cd /tmp && sudo -n su -",
            plain(),
            "sudo: true",
        ),
        (
            "ssh_shell",
            "sudo -n su -\nid -un",
            plain(),
            "you are still the same user",
        ),
        (
            "ssh_exec",
            "python3",
            plain(),
            "give it its input with stdin",
        ),
        (
            "ssh_exec",
            "zsh -i",
            json!({"stdin": ""}),
            "zsh -i had an empty stdin",
        ),
        ("ssh_exec", "bash", json!({"stdin": "echo hi\n"}), ""),
        ("ssh_exec", "bash -c 'echo hi'", plain(), ""),
        ("ssh_shell", "echo 'echo hi' | bash", plain(), ""),
        ("ssh_shell", "python3 -c pass", plain(), ""),
        ("ssh_exec", "false && bash; true", plain(), ""),
    ] {
        if command.contains("sudo")
            && std::process::Command::new("sudo")
                .args(["-n", "true"])
                .status()
                .is_err()
        {
            continue;
        }

        check(&mut bench, tool, command, more, 0, part).await;
    }
}
