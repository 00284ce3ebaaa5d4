//! Descriptors that a command opens are its own, stay from one command to the next, and are the only ones that programs
//! inherit.

use serde_json::json;

use super::{
    each_prints,
    other_shells::{with_shell, without_bash},
};
use crate::support::{
    checks::{code, plain},
    fixture::{ConnectedHost, TestHost},
    open_sshd::OpenSshd,
};

/// Opens a file on this descriptor, locks it, and has two further commands see that it is still there.
async fn stays(bench: &mut ConnectedHost<OpenSshd>, number: &str, stdin: Option<&str>) {
    let shell = format!("fd {number} {stdin:?}");
    let lock = bench
        .home
        .join(format!("lock {number}"))
        .display()
        .to_string();

    let arguments = || match stdin {
        Some(stdin) => json!({"shell": shell, "stdin": stdin}),
        None => json!({"shell": shell}),
    };

    for (command, exit) in [
        (format!("exec {number}>>'{lock}'; flock -n {number}"), 0),
        (format!("flock -n '{lock}' true"), 1),
        (format!("echo kept >&{number}; cat >/dev/null"), 0),
        (
            format!("grep -qx kept '{lock}' && flock -n '{lock}' true"),
            1,
        ),
        (format!("exec {number}>&-; flock -w 10 '{lock}' true"), 0),
    ] {
        let result = bench.shell(&command, arguments()).await;
        assert_eq!(
            (code(&result), result.stderr().as_str()),
            (Some(exit), ""),
            "{shell} {command}: {result:?}"
        );

        assert!(
            result.outcome().get("notice").is_none(),
            "{command}: {result:?}"
        );
    }
}

#[tokio::test]
async fn every_descriptor_that_a_command_opens_stays_open() {
    let mut bench = TestHost::openssh().connect().await;

    for number in [
        "3", "7", "8", "9", "10", "11", "12", "13", "14", "20", "63", "99", "200", "229", "240",
        "254",
    ] {
        stays(&mut bench, number, None).await;
    }

    for number in ["3", "9", "10", "200"] {
        stays(&mut bench, number, Some("text\n")).await;
    }

    for command in [
        "exec {fd}>>kept; exec {other}>>kept; [ $fd -ge 10 ]",
        "echo a >&$fd && echo b >&$other",
    ] {
        assert_eq!(
            code(&bench.shell(command, plain()).await),
            Some(0),
            "{command}"
        );
    }

    assert_eq!(
        bench.shell("cat kept; rm kept", plain()).await.stdout(),
        "a\nb\n"
    );
}

#[tokio::test]
async fn every_descriptor_that_a_shell_without_bash_opens_stays_open() {
    for sh in ["dash", "busybox", "ksh"] {
        let (mut bench, _programs) = without_bash(sh).await;

        // Where there are only digits, one of them is ours.
        for number in (3..10).filter(|number| *number != 7 || sh == "busybox") {
            stays(&mut bench, &number.to_string(), None).await;
            stays(&mut bench, &number.to_string(), Some("text\n")).await;
        }

        if sh == "busybox" {
            for number in ["20", "99", "200", "254"] {
                stays(&mut bench, number, None).await;
            }
        }
    }
}

#[tokio::test]
async fn programs_inherit_three_descriptors_and_the_commands_own() {
    for sh in ["bash", "dash", "busybox", "ksh"] {
        let (mut bench, _programs) = with_shell(sh).await;
        let listed = bench
            .shell("exec 5>/dev/null; sh -c 'echo /proc/$$/fd/*'", plain())
            .await
            .stdout();

        let mut numbers: Vec<&str> = listed
            .split_whitespace()
            .filter_map(|path| path.rsplit('/').next())
            .collect();

        // The one with which the shell reads the folder, and the one that ksh, alone, does not hand on.
        numbers.retain(|number| !["3", "5", "10"].contains(number));
        assert_eq!(numbers, ["0", "1", "2"], "{sh}: {listed}");
    }
}

#[tokio::test]
async fn a_shell_with_too_few_descriptors_ends_with_an_explanation() {
    let mut bench = TestHost::openssh().connect().await;
    each_prints(
        &mut bench,
        &[
            ("ulimit -Sn 64", ""),
            ("echo a; ulimit -Sn", "a\n64\n"),
            ("ulimit -Sn 256", ""),
        ],
    )
    .await;

    for limit in ["ulimit -Sn 5", "ulimit -n 3"] {
        bench.shell("V=1; cd /usr/lib", plain()).await;
        let result = bench
            .shell(&format!("{limit}; echo set; (exit 3)"), plain())
            .await;
        assert_eq!(result.stdout(), "set\n", "{limit}: {result:?}");
        assert!(
            result.status_line().contains("the shell itself has ended"),
            "{limit}: {result:?}"
        );

        assert_eq!(
            bench.shell("pwd", plain()).await.stdout(),
            "/usr/lib\n",
            "{limit}"
        );
    }
}

#[tokio::test]
async fn closing_every_descriptor_leaves_the_next_command_in_step() {
    for sh in ["bash", "dash", "busybox"] {
        let (mut bench, _programs) = with_shell(sh).await;
        for command in [
            "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; echo a",
            "for n in 3 4 5 6 7 8 9; do eval \"exec $n<&-\"; done; echo a",
            "n=3; while [ $n -lt 10 ]; do eval \"exec $n>/dev/null\"; n=$((n+1)); done; echo a",
        ] {
            let result = bench.shell(command, plain()).await;
            assert_eq!(
                (result.stdout().as_str(), result.stderr().as_str()),
                ("a\n", ""),
                "{sh}: {command}"
            );

            let next = bench.shell("echo b; echo e >&2", plain()).await;
            assert_eq!(
                (next.stdout().as_str(), next.stderr().as_str()),
                ("b\n", "e\n"),
                "{sh}: {command}"
            );

            assert!(next.outcome().get("notice").is_none(), "{sh}: {command}");
        }
    }

    let mut bench = TestHost::openssh().connect().await;
    for command in [
        "for n in $(seq 3 260); do eval \"exec $n>&-\"; done 2>/dev/null; echo a",
        "for n in /proc/$$/fd/*; do n=${n##*/}; [ $n -lt 3 ] || exec {n}>&-; done; echo a",
    ] {
        let result = bench.shell(command, plain()).await;
        assert_eq!(result.stdout(), "a\n", "{command}: {result:?}");
        assert_eq!(
            bench.shell("echo b", plain()).await.stdout(),
            "b\n",
            "{command}"
        );
    }
}
