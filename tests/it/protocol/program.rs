//! The built program, as an MCP client starts it: a process with pipes.

use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::json;
use tokio::time::timeout;

use crate::support::{
    checks::eventually,
    fixture::TestHost,
    processes,
    program::{Program, command},
};

/// No answer and no end of a test takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A second is promised; a busy machine may take this much.
const SECONDS: Duration = Duration::from_secs(8);

/// Runs the program to its end without input.
async fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path())
        .args(arguments)
        .stdin(Stdio::null())
        .output();

    let Output {
        status,
        stdout,
        stderr,
    } = timeout(PATIENCE, output).await.unwrap().unwrap();

    (
        status.code(),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

#[tokio::test]
async fn help_and_version_go_to_stdout() {
    let (status, stdout, stderr) = run(&["--version"]).await;
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    assert_eq!(
        stdout,
        concat!("mcp-ssh-sessions ", env!("CARGO_PKG_VERSION"), "\n")
    );

    let (status, stdout, stderr) = run(&["--help"]).await;
    assert_eq!((status, stderr.as_str()), (Some(0), ""));

    for option in [
        "--ssh-config",
        "--store",
        "--log",
        "MCP_SSH_CONFIG",
        "MCP_SSH_STORE",
        "MCP_SSH_LOG",
    ] {
        assert!(stdout.contains(option), "{option} is missing: {stdout}");
    }
}

#[tokio::test]
async fn a_wrong_option_gets_one_line_and_status_2() {
    for (arguments, part) in [
        (vec!["--bogus"], "--bogus"),
        (vec!["--log", "loud"], "loud"),
        (vec!["--store"], "--store"),
        (vec!["surplus"], "surplus"),
        (vec!["--log", "warn", "--log", "warn"], "--log"),
    ] {
        let (status, stdout, stderr) = run(&arguments).await;
        assert_eq!(
            (status, stdout.as_str(), stderr.lines().count()),
            (Some(2), "", 1),
            "{arguments:?}: {stderr}"
        );

        assert!(
            stderr.starts_with("mcp-ssh-sessions: ") && stderr.contains(part),
            "{arguments:?}: {stderr}"
        );
    }
}

#[tokio::test]
async fn stdin_that_ends_before_hello_ends_the_program_with_success() {
    // Several times: what ends first, the reading or the serving, is a matter of luck.
    for _ in 0..10 {
        assert_eq!(
            run(&["--log", "warn"]).await,
            (Some(0), String::new(), String::new())
        );
    }
}

#[tokio::test]
async fn stdin_that_ends_after_hello_ends_the_program_with_success() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(Path::new("/dev/null"), folder.path()).await;
    let (status, took) = program.close().await;
    assert_eq!(status.code(), Some(0));
    assert!(took < SECONDS, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_ending_signal_stops_the_command_and_the_program() {
    let world = TestHost::fake();
    for (number, signal) in ["TERM", "INT", "HUP"].into_iter().enumerate() {
        let mut program = Program::start(&world.config, world.folder()).await;
        program
            .call("ssh_connect", json!({"host": "box"}))
            .await
            .ok();

        let marker = format!("3{number}.5");

        program
            .begin(
                "tools/call",
                json!({"name": "ssh_exec", "arguments": {"command": format!("sleep {marker}")}}),
            )
            .await;

        eventually("the command runs", || world.runs(&marker)).await;
        assert!(processes::signal(signal, &[program.pid().to_string()]));

        let (status, took) = program.end().await;
        assert_eq!(status.code(), Some(0), "SIG{signal}");
        assert!(took < SECONDS, "SIG{signal}: {took:?}");
        eventually("the command is gone", || !world.runs(&marker)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_stdin_stops_the_running_command_and_the_program() {
    let world = TestHost::fake();
    for (tool, marker) in [("ssh_exec", "30.25"), ("ssh_shell", "30.75")] {
        let mut program = Program::start(&world.config, world.folder()).await;
        program
            .call("ssh_connect", json!({"host": "box"}))
            .await
            .ok();

        let command = format!("sleep {marker} & sleep {marker}; echo after");

        program
            .begin(
                "tools/call",
                json!({"name": tool, "arguments": {"command": command}}),
            )
            .await;

        eventually("the command runs", || world.runs(marker)).await;
        let (status, took) = program.close().await;
        assert_eq!(status.code(), Some(0), "{tool}");
        assert!(took < SECONDS, "{tool}: {took:?}");
        eventually("the command is gone", || !world.runs(marker)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stdout_carries_json_rpc_alone_whatever_is_logged() {
    let world = TestHost::fake();
    let mut program = Program::start(&world.config, world.folder()).await;

    // `request` parses every line.
    program
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok();

    assert!(
        program
            .call("ssh_connect", json!({"host": "nowhere.invalid"}))
            .await
            .is_error()
    );

    assert_eq!(
        program
            .call("ssh_exec", json!({"command": "echo out; echo err >&2"}))
            .await
            .stdout(),
        "out\n"
    );

    assert!(program.request("bogus", json!({})).await["error"].is_object());
    assert_eq!(program.close().await.0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_option_has_an_environment_twin() {
    let world = TestHost::fake();
    let store = world.folder().join("elsewhere/store.json");
    let mut command = command(world.folder());
    command
        .env("MCP_SSH_CONFIG", &world.config)
        .env("MCP_SSH_STORE", &store)
        .env("MCP_SSH_LOG", "off");

    let mut program = Program::spawn_unlogged(command, world.folder());
    program.initialize().await;
    program
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok();

    assert!(fs::read_to_string(store).unwrap().contains("\"box\""));
}
