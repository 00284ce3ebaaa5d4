//! Nothing that a command does breaks the framing: each leaves its own stdout, stderr and status right, and the next
//! command in step.

mod table;

use serde_json::json;

use self::table::{ANY, FAILS, Step, TABLE, WHATEVER, WHICHEVER};
use super::other_shells::without_bash;
use crate::support::{
    checks::{code, counted, plain, status},
    fixture::{ConnectedHost, TestHost},
};

/// The shells in which a row of the table makes sense, each with those above it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum Language {
    /// Those of POSIX, bash among them.
    Any,
    /// bash.
    Bash,
    /// bash with a process group of its own, which sshd gives to each command and Dropbear does not: there, who signals
    /// the group ends the connection.
    OwnGroup,
}

#[tokio::test]
async fn no_command_breaks_the_framing() {
    run(
        TestHost::openssh_with(|_| {}).connect().await,
        Language::OwnGroup,
    )
    .await;
}

#[tokio::test]
async fn no_command_breaks_the_framing_of_a_shell_that_is_not_bash() {
    for sh in ["dash", "busybox"] {
        let (bench, _programs) = without_bash(sh).await;
        run(bench, Language::Any).await;
    }
}

/// Runs the table, and after each row two commands in step: one may still have had what was meant for the other.
pub(crate) async fn run<S>(mut bench: ConnectedHost<S>, language: Language) {
    let after: [Step; 2] = [
        ("echo in step; echo e >&2", "in step\n", "e\n", 0),
        ("sh -c 'exit 2'", "", "", 2),
    ];

    let (long, ssh) = (
        "y".repeat(300_000),
        format!("ssh -F '{}' host", bench.config.display()),
    );

    let mut wrong = Vec::new();

    for (name, wants, steps) in TABLE {
        if *wants > language {
            continue;
        }

        for (number, (command, stdout, stderr, exit)) in steps.iter().chain(&after).enumerate() {
            let command = command.replace("{LONG}", &long).replace("{SSH}", &ssh);
            let result = bench
                .shell(&command, json!({"shell": name, "timeoutMs": 20_000}))
                .await;
            let seen = (result.stdout(), result.stderr(), code(&result));

            let right = ([WHICHEVER, ANY].contains(stdout) || seen.0 == *stdout)
                && match *stderr {
                    "" => seen.1.is_empty(),
                    ANY => true,
                    text => seen.1.contains(text),
                }
                && match *exit {
                    WHATEVER => true,
                    FAILS => seen.2.is_some_and(|code| code != 0),
                    exact => seen.2 == Some(exact),
                };

            // At once, and not because its time was up.
            let right = right && ["exited", "signaled"].contains(&status(&result));
            let ours = ["__mcp", "POSIXLY_CORRECT;"]
                .iter()
                .any(|word| seen.1.contains(word));
            let ours = ours && !command.contains("__mcp");
            if !right || ours || (number >= steps.len() && seen.1.len() > 2) {
                wrong.push(format!("{name}, {command:?}: {:?}", result.blocks()));
                break;
            }
        }

        // So that there are not as many shells as rows in the end.
        bench.shell("kill -9 $$", json!({"shell": name})).await;
    }

    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        TABLE.len(),
        wrong.join("\n")
    );
}

#[tokio::test]
async fn what_the_background_writes_at_full_speed_breaks_no_frame() {
    let mut bench = TestHost::openssh_with(|_| {}).connect().await;

    // It ends by itself, lest a failure leave it behind.
    let writer = "W=1; (i=0; while [ $i -lt 3000000 ]; do i=$((i+1)); printf 'x\\036'; echo y >&2; done) & true";
    bench.shell(writer, plain()).await;

    for round in 0..100_i64 {
        let result = bench
            .shell(
                &format!("cd /usr; cd /; W=$((W+1)); (exit {})", round % 200),
                plain(),
            )
            .await;

        assert_eq!(
            (status(&result), code(&result)),
            ("exited", Some(round % 200)),
            "{}",
            result.status_line()
        );

        assert_eq!(result.outcome()["cwd"], "/", "{}", result.status_line());
    }

    let result = bench
        .shell("kill $!; wait $!; test $W = 101", plain())
        .await;
    assert_eq!(code(&result), Some(0), "{}", result.status_line());
    assert_eq!(
        bench.shell("echo in step", plain()).await.stdout(),
        "in step\n"
    );
}

#[tokio::test]
async fn scripts_of_megabytes_run() {
    let mut bench = TestHost::openssh_with(|_| {}).connect().await;
    let value = |length| format!("x='{}'; echo ${{#x}}; unset x", "y".repeat(length));
    let lines = counted(20_000, |n| format!(": line {n} \"it's\"\n"));
    let quotes = format!("printf %s \"{}\" | wc -c", "'".repeat(100_000));
    let both = format!(
        "yes | head -c 3000000; : '{}'; yes | head -c 3000000 >&2; echo end",
        "z".repeat(3_000_000)
    );

    for (script, ends) in [
        (value(300_000), "300000\n"),
        (value(3_000_000), "3000000\n"),
        (format!("{lines}echo done"), "done\n"),
        (quotes, "100000\n"),
        (both, "end\n"),
    ] {
        let result = bench.shell(&script, plain()).await;
        assert!(
            result.stdout().ends_with(ends) && code(&result) == Some(0),
            "{}",
            result.status_line()
        );

        assert_eq!(
            bench.shell("echo in step", plain()).await.stdout(),
            "in step\n"
        );
    }
}

#[tokio::test]
async fn a_gigabyte_of_output_leaves_the_next_command_in_step() {
    let mut bench = TestHost::openssh_with(|_| {}).connect().await;

    let result = bench
        .shell(
            "V=1; yes 0123456789abcdef | head -c 1000000000; echo end; (exit 7)",
            plain(),
        )
        .await;

    assert_eq!(
        (status(&result), code(&result)),
        ("exited", Some(7)),
        "{}",
        result.status_line()
    );

    assert_eq!(
        result.outcome()["stdoutBytes"],
        1_000_000_004_u64,
        "{}",
        result.status_line()
    );

    assert!(
        result.stdout().ends_with("end\n"),
        "{}",
        result.status_line()
    );

    assert_eq!(bench.shell("echo $V", plain()).await.stdout(), "1\n");
}

#[tokio::test]
async fn a_nul_byte_in_a_command_is_refused_and_changes_nothing() {
    let mut bench = TestHost::openssh_with(|_| {}).connect().await;
    bench.shell("V=1", plain()).await;
    let refused = bench
        .mcp
        .call("ssh_shell", serde_json::json!({"command": "V=2\0"}))
        .await;

    assert!(
        refused.is_error() && refused.text().contains("NUL"),
        "{refused:?}"
    );

    assert_eq!(bench.shell("echo $V", plain()).await.stdout(), "1\n");
}

#[tokio::test]
async fn a_directory_of_any_name_is_reported_and_kept() {
    let mut bench = TestHost::openssh_with(|_| {}).connect().await;
    let home = bench.home.display().to_string();

    for (name, shown) in [
        ("a'b\nc \"d\"", "a'b\\nc \"d\""),
        ("a:b;c\u{1e}d", "a:b;c\\u{1e}d"),
        ("-n", "-n"),
        ("é日🚀", "é日🚀"),
        ("$x`id`\\", "$x`id`\\"),
    ] {
        std::fs::create_dir(bench.home.join(name)).unwrap();
        let quoted = name.replace('\'', "'\\''");
        let result = bench.shell(&format!("cd '{home}/{quoted}'"), plain()).await;
        assert_eq!(
            (code(&result), &result.outcome()["cwd"]),
            (Some(0), &format!("{home}/{shown}").into()),
            "{name:?}"
        );

        assert_eq!(
            bench.shell("pwd", plain()).await.stdout(),
            format!("{home}/{name}\n")
        );

        bench.shell("kill -9 $$", plain()).await;
        assert_eq!(
            bench.shell("pwd", plain()).await.stdout(),
            format!("{home}/{name}\n"),
            "after a new start"
        );
    }
}
