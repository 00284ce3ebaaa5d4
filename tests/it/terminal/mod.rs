//! Commands with a terminal, and what a reader sees of output.

mod devices;
mod menus;
mod pretended;
pub(crate) mod prompts;
mod reader;
pub(crate) mod stop;

use std::{fs, os::unix::fs::MetadataExt as _};

use serde_json::{Value, json};

use crate::support::{
    checks::{assert_stopped, code, plain, skipped, status, whole_output},
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
    open_sshd::OpenSshd,
};

/// A client and a real sshd; `None` where its user's terminals are of no use to it.
async fn terminals() -> Option<ConnectedHost<OpenSshd>> {
    given(TestHost::openssh().connect().await)
}

/// Nothing where a server that is not run by root cannot give terminals: it would have to make them belong to the group
/// `tty`, if /dev/pts is not mounted so.
pub(crate) fn given<S>(bench: ConnectedHost<S>) -> Option<ConnectedHost<S>> {
    gives_terminals(&bench).then_some(bench)
}

/// Whether the server can give terminals here.
fn gives_terminals<S>(bench: &ConnectedHost<S>) -> bool {
    let root = fs::metadata(bench.folder()).unwrap().uid() == 0;
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let without_group = mounts
        .lines()
        .any(|mount| mount.contains(" /dev/pts devpts ") && !mount.contains("gid="));

    if !root && without_group {
        skipped("no server of this user can give terminals here");
    }

    root || !without_group
}

/// With a terminal.
fn pty() -> Value {
    json!({"pty": true})
}

/// The job of an answer that says the command runs.
fn job(result: &ToolResult) -> String {
    assert_eq!(status(result), "running", "{result:?}");
    result.outcome()["job"].as_str().expect("a job").to_owned()
}

/// Whether a program is there that is not on every system.
fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !found {
        skipped(&format!("there is no {program}"));
    }
    found
}

impl<S> ConnectedHost<S> {
    /// Gives a job input, and returns what it answers.
    async fn give(&mut self, job: &str, input: &str) -> ToolResult {
        self.job(job, json!({"input": input})).await
    }
}

#[tokio::test]
async fn a_command_has_a_terminal_with_size_type_and_environment() {
    if let Some(bench) = terminals().await {
        has_size_type_directory_and_environment(bench).await;
    }
}

pub(crate) async fn has_size_type_directory_and_environment<S>(mut bench: ConnectedHost<S>) {
    let command = "stty size; echo $TERM; test -t 0 && test -t 1 && test -t 2 && echo terminal; pwd; echo \"$GREETING\"; \
                   echo error >&2; exit 3";
    let parameters = json!({"pty": true, "cwd": "/", "env": {"GREETING": "hello  there"}});
    let result = bench.exec(command, parameters).await;
    assert_eq!(
        result.stdout(),
        "40 120\nxterm-256color\nterminal\n/\nhello  there\nerror\n"
    );

    assert_eq!(
        (result.stderr().as_str(), status(&result), code(&result)),
        ("", "exited", Some(3))
    );

    let result = bench
        .exec("test -t 0 || test -t 1 || test -t 2 || echo none", plain())
        .await;
    assert_eq!(result.stdout(), "none\n");
}

#[tokio::test]
async fn what_it_prints_is_cleaned_for_the_reader_and_whole_in_a_file() {
    let Some(mut bench) = terminals().await else {
        return;
    };

    let command =
        r"printf '\033[1;31mred\033[0m \033]0;title\007text\n10%%\r100%%\nabc\bX\n'; kill -TERM $$";
    let result = bench.exec(command, pty()).await;
    assert_eq!(result.stdout(), "red text\n100%\nabX\n");
    assert_eq!(
        (status(&result), result.outcome()["signal"].as_str()),
        ("signaled", Some("TERM"))
    );

    let raw = b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07text\r\n10%\r100%\r\nabc\x08X\r\n";
    assert_eq!(whole_output(&result), raw);
    assert_eq!(
        result.outcome()["stdoutBytes"].as_u64(),
        Some(raw.len() as u64)
    );

    assert!(
        result.status_line().contains("stdout as it came in "),
        "{result:?}"
    );

    let many = bench
        .exec(
            "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done",
            pty(),
        )
        .await;

    assert!(
        many.stdout().starts_with("line 1\nline 2\n")
            && many.stdout().ends_with("line 19999\nline 20000\n")
    );

    assert!(whole_output(&many).ends_with(b"line 19999\r\nline 20000\r\n"));
}

#[tokio::test]
async fn input_known_in_advance_is_typed_and_a_long_script_runs() {
    let Some(mut bench) = terminals().await else {
        return;
    };

    let result = bench
        .exec(
            "read a\nread b\necho \"[$a|$b]\"",
            json!({"pty": true, "stdin": "one\ntwo\n"}),
        )
        .await;

    assert!(result.stdout().ends_with("[one|two]\n"), "{result:?}");
    let long = format!("true {}\necho end", "x".repeat(60_000));
    assert_eq!(bench.exec(&long, pty()).await.stdout(), "end\n");
    let too_long = json!({"command": "x".repeat(200_000), "pty": true});
    let refused = bench.mcp.call("ssh_exec", too_long).await;
    assert!(
        refused.is_error() && refused.text().contains("takes at most"),
        "{}",
        refused.text()
    );
}

#[tokio::test]
async fn a_command_refused_a_terminal_runs_without_one_and_says_so() {
    let mut bench =
        TestHost::openssh_with(|settings| settings.extra_config.push_str("\nPermitTTY no"))
            .connect()
            .await;
    let result = bench
        .exec("test -t 0 || echo none; echo error >&2", pty())
        .await;

    assert_eq!(
        (result.stdout().as_str(), result.stderr().as_str()),
        ("none\n", "error\n")
    );

    assert_eq!((status(&result), code(&result)), ("exited", Some(0)));

    assert!(
        result.outcome()["notice"]
            .as_str()
            .unwrap()
            .contains("no terminal"),
        "{result:?}"
    );

    let result = bench
        .exec("sleep 7410", json!({"pty": true, "timeoutMs": 300}))
        .await;
    assert_stopped(&result, "timedOut", bench.sshd.port(), "7410");
}
