//! `ssh_exec` against the real sshd: what goes in and what comes out.

mod endless_stdin;
mod lines;
mod login_shells;
mod not_run;
mod secrecy;
mod stop;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::support::{
    checks::{code, counted, eventually, plain, random, status, whole_output},
    fixture::TestHost,
    processes::running,
};

/// `i` counted to 20,000, on both streams in turn.
const INTERLEAVED: &str =
    "i=0; while [ $i -lt 20000 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done";

#[tokio::test]
async fn stdout_stderr_and_the_exit_status_arrive_apart() {
    let mut bench = TestHost::openssh().connect().await;

    for (command, stdout, stderr, exit) in [
        ("true", "", "", 0),
        ("echo out; echo err >&2; exit 7", "out\n", "err\n", 7),
        ("printf 'no newline'", "no newline", "", 0),
        ("printf ' \\n\\n x \\n\\n'", " \n\n x \n\n", "", 0),
        ("echo err >&2; false", "", "err\n", 1),
        ("exit 255", "", "", 255),
        (
            "echo \"it's\" '$HOME' \\\\ !x '\"'",
            "it's $HOME \\ !x \"\n",
            "",
            0,
        ),
        (
            "# a comment\n\ncat <<END\n$((1+1))\nEND\necho z # and another",
            "2\nz\n",
            "",
            0,
        ),
        ("printf 'é日本🚀\\n'", "é日本🚀\n", "", 0),
        (
            "printf '\\377\\376a\\000b\\036c'",
            "\u{fffd}\u{fffd}a\0b\u{1e}c",
            "",
            0,
        ),
        ("printf '\\036bad:7:x' >&2", "", "\u{1e}bad:7:x", 0),
        ("cat; wc -c", "0\n", "", 0),
    ] {
        let result = bench.exec(command, plain()).await;
        assert_eq!(
            (result.stdout().as_str(), result.stderr().as_str()),
            (stdout, stderr),
            "{command}"
        );

        assert_eq!(
            (status(&result), code(&result)),
            ("exited", Some(exit)),
            "{command}"
        );

        assert!(
            !result.outcome()["truncated"].as_bool().unwrap(),
            "{command}"
        );
    }

    let result = bench
        .exec("printf '\\377\\376'; printf '\\377' >&2", plain())
        .await;

    assert_eq!(
        (
            &result.outcome()["stdoutBytes"],
            &result.outcome()["stderrBytes"]
        ),
        (&json!(2), &json!(1))
    );
}

#[tokio::test]
async fn a_command_that_fails_to_parse_fails_alone() {
    let mut bench = TestHost::openssh().connect().await;
    for command in [
        "echo 'abc",
        "echo \"abc",
        "if true; then",
        ")",
        "echo $(",
        "/no/such/program",
    ] {
        let result = bench.exec(command, plain()).await;
        assert!(
            code(&result).unwrap() != 0 && !result.stderr().is_empty(),
            "{command}: {result:?}"
        );
    }

    assert_eq!(bench.exec("echo alive", plain()).await.stdout(), "alive\n");
}

#[tokio::test]
async fn a_death_by_signal_is_named() {
    let mut bench = TestHost::openssh().connect().await;

    for (command, signal) in [
        ("kill -KILL $$", "KILL"),
        ("kill -TERM $$", "TERM"),
        ("kill -USR1 $$", "USR1"),
    ] {
        let result = bench.exec(command, plain()).await;
        assert_eq!(
            (status(&result), result.outcome()["signal"].as_str()),
            ("signaled", Some(signal))
        );

        assert_eq!(code(&result), None);
    }

    let result = bench.exec("echo before; kill -KILL $$", plain()).await;
    assert!(
        result.stdout() == "before\n" && result.status_line().starts_with("[killed by KILL"),
        "{result:?}"
    );
}

#[tokio::test]
async fn stdin_arrives_byte_for_byte_and_ends() {
    let mut bench = TestHost::openssh().connect().await;
    for stdin in ["", "text", "é\0\n\u{1e}\\n'\"$x `id`\r\n"] {
        let result = bench.exec("cat", json!({"stdin": stdin})).await;
        assert_eq!(result.stdout(), stdin);
    }

    let long = counted(700_000, |n| format!("{n:06}é"));
    let result = bench.exec("cat", json!({"stdin": long})).await;
    assert_eq!(result.outcome()["stdoutBytes"], long.len());
    assert!(whole_output(&result) == long.as_bytes());

    // A command that does not read must not wait for somebody to read.
    let result = bench.exec("echo done", json!({"stdin": long})).await;
    assert_eq!(
        (result.stdout().as_str(), code(&result)),
        ("done\n", Some(0))
    );

    let result = bench
        .exec("head -c 3; exec 0<&-; echo", json!({"stdin": long}))
        .await;
    assert_eq!(result.stdout(), "000\n");
}

#[tokio::test]
async fn a_command_runs_in_its_directory() {
    let mut bench = TestHost::openssh().connect().await;
    let home = bench.home.clone();

    for folder in [
        "x",
        "with blanks",
        "it's \"q\" $HOME",
        "new\nline",
        "-dash",
        "é日",
        "~",
        "back\\slash",
    ] {
        fs::create_dir(home.join(folder)).unwrap();
    }

    let absolute = |name: &str| home.join(name).display().to_string();

    for (cwd, expected) in [
        ("/", "/".to_owned()),
        ("~", home.display().to_string()),
        ("~/", home.display().to_string()),
        ("~/x", absolute("x")),
        ("~/with blanks", absolute("with blanks")),
        ("~/it's \"q\" $HOME", absolute("it's \"q\" $HOME")),
        ("~/new\nline", absolute("new\nline")),
        ("~/-dash", absolute("-dash")),
        ("~/é日", absolute("é日")),
        ("~/back\\slash", absolute("back\\slash")),
        (&absolute("~"), absolute("~")),
    ] {
        let result = bench.exec("pwd", json!({"cwd": cwd})).await;
        assert_eq!(
            (result.stdout(), code(&result)),
            (format!("{expected}\n"), Some(0)),
            "{cwd:?}: {result:?}"
        );
    }

    for missing in [
        "/no/such",
        "~/no such",
        "~nobody-of-this-name",
        "-",
        "no\nsuch",
    ] {
        let result = bench.exec("echo ran", json!({"cwd": missing})).await;
        assert_eq!(
            (result.stdout().as_str(), code(&result)),
            ("", Some(1)),
            "{missing}: {result:?}"
        );

        assert!(!result.stderr().is_empty(), "{missing}");
    }
}

#[tokio::test]
async fn environment_variables_arrive_byte_for_byte() {
    let mut bench = TestHost::openssh().connect().await;
    let value = "it's \"q\" $HOME `id` \\ !x %s\nline 2\té日🚀 ";

    let result = bench
        .exec(
            "printf '%s|%s|' \"$A\" \"$_b2\"; env",
            json!({"env": {"A": value, "_b2": ""}}),
        )
        .await;

    assert!(
        result.stdout().starts_with(&format!("{value}||")),
        "{result:?}"
    );

    assert!(
        result.stdout().contains(&format!("A={value}\n")),
        "not exported: {result:?}"
    );

    for name in ["", "1A", "A B", "A=B", "A;id", "É"] {
        let arguments = json!({"command": "echo ran", "env": {name: "v"}});
        let result = bench.mcp.call("ssh_exec", arguments).await;
        assert!(
            result.is_error() && result.text().contains("is not a name"),
            "{name:?}: {result:?}"
        );
    }
}

#[tokio::test]
async fn a_command_of_300_kilobytes_runs() {
    let mut bench = TestHost::openssh().connect().await;
    let long = format!("x='{}'; echo ${{#x}}; cat", "y".repeat(300_000));

    let result = bench
        .exec(
            &long,
            json!({"stdin": "and stdin\n", "cwd": "/", "env": {"A": "b"}}),
        )
        .await;

    assert_eq!(
        (result.stdout().as_str(), code(&result)),
        ("300000\nand stdin\n", Some(0)),
        "{}",
        result.status_line()
    );

    let lines = counted(20_000, |n| format!(": line {n} \"it's\"\n"));
    let result = bench
        .exec(&format!("{lines}echo done\nexit 3"), plain())
        .await;

    assert_eq!(
        (result.stdout().as_str(), code(&result)),
        ("done\n", Some(3))
    );

    assert_eq!(bench.exec("echo alive", plain()).await.stdout(), "alive\n");
}

#[tokio::test]
async fn interleaved_streams_are_counted_to_the_byte() {
    let mut bench = TestHost::openssh().connect().await;
    let result = bench.exec(INTERLEAVED, plain()).await;
    let expected: u64 = (0..20_000_u32)
        .map(|n| n.to_string().len() as u64 + 2)
        .sum();
    assert_eq!(result.outcome()["stdoutBytes"], expected);
    assert_eq!(result.outcome()["stderrBytes"], expected);
    let lines = counted(20_000, |n| format!("o{n}\n"));
    assert!(whole_output(&result) == lines.as_bytes());
    assert!(result.stdout().starts_with("o0\no1\n") && result.stdout().ends_with("o19999\n"));
    assert!(result.stderr().starts_with("e0\ne1\n") && result.stderr().ends_with("e19999\n"));
}

#[tokio::test]
async fn fifty_megabytes_are_bounded_here_and_whole_in_a_private_file() {
    let mut bench = TestHost::openssh().connect().await;
    let source = bench.local("source");
    fs::write(&source, random(50_000_000)).unwrap();
    let result = bench
        .exec(&format!("cat {}", source.display()), plain())
        .await;

    assert_eq!(
        (
            &result.outcome()["stdoutBytes"],
            &result.outcome()["truncated"]
        ),
        (&json!(50_000_000), &json!(true))
    );

    assert!(
        result.0.to_string().len() < 300_000,
        "{} bytes",
        result.0.to_string().len()
    );

    assert!(whole_output(&result) == fs::read(&source).unwrap());
    let file = result.outcome()["outputFile"].as_str().unwrap();
    assert_eq!(
        fs::metadata(file).unwrap().permissions().mode() & 0o777,
        0o600
    );

    assert!(
        result.status_line().contains(file),
        "{}",
        result.status_line()
    );
}

#[tokio::test]
async fn a_background_process_with_the_output_does_not_hold_the_call() {
    let mut bench = TestHost::openssh().connect().await;
    let started = std::time::Instant::now();
    let result = bench.exec("sleep 7301 & echo x", plain()).await;
    assert!(started.elapsed().as_secs() < 10);
    assert_eq!((result.stdout().as_str(), code(&result)), ("x\n", Some(0)));

    assert!(
        result.outcome()["notice"]
            .as_str()
            .unwrap()
            .contains("background"),
        "{result:?}"
    );

    assert_eq!(
        running(bench.sshd.port(), "7301").len(),
        1,
        "it is not ours to stop"
    );
}

#[tokio::test]
async fn ten_commands_run_side_by_side_on_one_connection() {
    let mut bench = TestHost::openssh_with(|settings| settings.max_sessions = 11)
        .connect()
        .await;
    let folder = bench.home.display().to_string();
    let mut calls = Vec::new();

    // Each waits for the others: one after another, none would ever end.
    for number in 0..10 {
        let command = format!(
            "touch {number}; while [ $(ls | wc -l) -lt 10 ]; do sleep 0.05; done; echo {number}"
        );

        calls.push(
            bench
                .begin("ssh_exec", &command, json!({"cwd": folder}))
                .await,
        );
    }

    for (number, call) in calls.into_iter().enumerate().rev() {
        assert_eq!(
            bench.mcp.finish(call).await.ok().stdout(),
            format!("{number}\n")
        );
    }

    assert_eq!(bench.sshd.log().matches("Accepted publickey").count(), 1);
}

#[tokio::test]
async fn a_process_that_ends_late_is_not_cut_short() {
    let mut bench = TestHost::openssh().connect().await;
    let result = bench
        .exec("(sleep 0.5; echo late) & wait; printf end", plain())
        .await;
    assert_eq!(result.stdout(), "late\nend");

    // Output that trickles on after the exit status is output still.
    let result = bench
        .exec(
            "(for i in 1 2 3 4; do sleep 0.3; echo $i; done) & echo x",
            plain(),
        )
        .await;

    assert_eq!(result.stdout(), "x\n1\n2\n3\n4\n", "{result:?}");
    eventually("no process is left", || {
        running(bench.sshd.port(), "sleep").is_empty()
    })
    .await;
}
