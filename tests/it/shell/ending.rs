//! What ends a command does not end its shell; where it does, the next shell has the state from before that command.

use serde_json::json;

use super::{
    each_prints,
    other_shells::{with_shell, without_bash},
};
use crate::support::{
    checks::{code, plain, status},
    fixture::TestHost,
    programs,
};

#[tokio::test]
async fn an_errexit_ends_the_command_and_not_bash() {
    let mut bench = TestHost::openssh().connect().await;
    bench
        .shell("V=kept; S=$$; sleep 7801 & J=$!", plain())
        .await;

    for (command, stdout, exit) in [
        ("set -e; false; echo no", "", 1),
        ("echo a\n(exit 4)\necho no", "a\n", 4),
        ("f() { false; echo no; }; f; echo no", "", 1),
        ("x=$(exit 5); echo no", "", 5),
        ("nosuch 2>/dev/null; echo no", "", 127),
        (
            "{ echo a; sh -c 'exit 6'; echo no; } | cat; echo after",
            "a\nafter\n",
            0,
        ),
        (
            "if false; then :; fi; ! true; false || echo yes",
            "yes\n",
            0,
        ),
        ("set -o pipefail; false | true; echo no", "", 1),
        (
            "for i in 1 2; do echo $i; [ $i = 2 ] || continue; (exit 7); done; echo no",
            "1\n2\n",
            7,
        ),
        ("eval 'false'; echo no", "", 1),
        ("set +e; false; echo yes; set +o pipefail", "yes\n", 0),
        ("false; echo yes", "yes\n", 0),
        ("set -euo pipefail\necho a\nfalse\necho no", "a\n", 1),
        ("set +eu +o pipefail; false; echo yes", "yes\n", 0),
    ] {
        let result = bench.shell(command, plain()).await;
        assert_eq!(
            (result.stdout().as_str(), result.stderr().as_str()),
            (stdout, ""),
            "{command}: {result:?}"
        );

        assert_eq!(
            (status(&result), code(&result)),
            ("exited", Some(exit)),
            "{command}: {result:?}"
        );

        assert!(
            result.outcome().get("notice").is_none(),
            "{command}: {result:?}"
        );
    }

    assert_eq!(
        bench
            .shell("echo $V; [ $S = $$ ] && kill $J && echo same", plain())
            .await
            .stdout(),
        "kept\nsame\n"
    );
}

#[tokio::test]
async fn a_commands_own_err_trap_runs_and_its_state_survives_bash() {
    let mut bench = TestHost::openssh().connect().await;
    bench.shell("V=kept; cd /usr/lib", plain()).await;

    let result = bench
        .shell(
            "set -eE; trap 'echo failed at $LINENO' ERR\n\nfalse\necho no",
            plain(),
        )
        .await;

    assert_eq!(
        (result.stdout().as_str(), code(&result)),
        ("failed at 3\n", Some(1)),
        "{result:?}"
    );

    let result = bench.shell("echo $V $PWD", plain()).await;
    assert_eq!(result.stdout(), "kept /usr/lib\n", "{result:?}");
}

#[tokio::test]
async fn an_exit_trap_runs_at_an_exit_as_in_a_script() {
    let mut bench = TestHost::openssh().connect().await;
    for (command, stdout, exit) in [
        (
            "V=kept; trap 'echo bye $?' EXIT; echo a; exit 3; echo no",
            "a\nbye 3\n",
            3,
        ),
        ("exit 4", "", 4),
        (
            "set -- 'o n e'; trap 'echo \"$1\"; exit 7; echo no' EXIT; exit",
            "o n e\n",
            7,
        ),
        ("trap 'echo \"it'\\''s\"\necho \"$V\"' EXIT", "", 0),
        ("echo not yet; (exit 8)", "not yet\n", 8),
        ("exit 0", "it's\nkept\n", 0),
        (
            "f() { trap 'echo in f' EXIT; exit 5; }; f; echo no",
            "in f\n",
            5,
        ),
        ("trap 'echo bye' EXIT; set -e; false; echo no", "bye\n", 1),
        ("set +e; trap 'echo no' EXIT; trap - EXIT; exit 6", "", 6),
        ("(trap 'echo inner' EXIT; exit 2); echo $?", "inner\n2\n", 0),
        ("echo $V", "kept\n", 0),
    ] {
        let result = bench.shell(command, plain()).await;
        assert_eq!(
            (result.stdout().as_str(), result.stderr().as_str()),
            (stdout, ""),
            "{command}: {result:?}"
        );

        assert_eq!(
            (status(&result), code(&result)),
            ("exited", Some(exit)),
            "{command}: {result:?}"
        );

        assert!(
            result.outcome().get("notice").is_none(),
            "{command}: {result:?}"
        );
    }

    for sh in ["dash", "busybox"] {
        let (mut bench, _programs) = without_bash(sh).await;
        let bye = bench.home.join("bye").display().to_string();

        let result = bench
            .shell(
                &format!("trap 'echo bye; echo bye >{bye}' EXIT; echo a; exit 3"),
                plain(),
            )
            .await;

        // busybox gives the shell's own streams back before its trap runs.
        let stdout = if sh == "dash" { "a\nbye\n" } else { "a\n" };
        assert_eq!(
            (result.stdout().as_str(), code(&result)),
            (stdout, Some(3)),
            "{sh}: {result:?}"
        );

        assert_eq!(std::fs::read_to_string(&bye).unwrap(), "bye\n", "{sh}");
    }
}

#[tokio::test]
async fn the_next_shell_has_the_state_before_the_fatal_command() {
    for sh in ["bash", "dash", "busybox"] {
        let (mut bench, _programs) = with_shell(sh).await;

        let ends: &[&str] = match sh {
            "bash" => &[
                "builtin exit 3",
                "exec true",
                "kill -9 $$",
                "trap : ERR; set -e; false",
                "exec sh -c 'exit 4'",
            ],
            _ => &[
                "exit 3",
                "exec true",
                "kill -9 $$",
                "set -e; false",
                "f() { exit 5; }; f",
            ],
        };

        for end in ends {
            // At once, with no time in which a state would be kept by itself.
            bench
                .shell("cd /usr/lib; V='a b'; export E=2; umask 027", plain())
                .await;

            let result = bench
                .shell(&format!("V=lost; echo out; {end}"), plain())
                .await;
            assert_eq!(result.stdout(), "out\n", "{sh} {end}: {result:?}");

            assert!(
                result
                    .status_line()
                    .contains("in the state from before this command"),
                "{sh} {end}: {result:?}"
            );

            let next = bench
                .shell("echo $V; sh -c 'echo $E'; pwd; umask", plain())
                .await;

            assert_eq!(
                next.stdout(),
                "a b\n2\n/usr/lib\n0027\n",
                "{sh} {end}: {next:?}"
            );

            let notice = next.outcome()["notice"]
                .as_str()
                .unwrap_or_default()
                .to_owned();

            for part in [
                "the shell had ended and this is a new shell",
                "what the last command changed",
            ] {
                assert!(notice.contains(part), "{sh} {end}: {notice}");
            }
        }
    }
}

#[tokio::test]
async fn a_shell_that_ends_at_once_or_repeatedly_is_replaced() {
    for sh in ["bash", "dash"] {
        let (mut bench, _programs) = with_shell(sh).await;
        bench.shell("kill -9 $$", plain()).await;
        assert_eq!(bench.shell("echo a; V=1", plain()).await.stdout(), "a\n");

        for _ in 0..3 {
            let result = bench.shell("kill -9 $$", plain()).await;
            assert!(
                result.status_line().contains("the shell itself has ended"),
                "{sh}: {result:?}"
            );
        }

        assert_eq!(
            bench.shell("echo $V", plain()).await.stdout(),
            "1\n",
            "{sh}"
        );
    }
}

#[tokio::test]
async fn an_errexit_from_the_accounts_environment_is_not_in_effect() {
    let mut bench = TestHost::openssh_with(|settings| {
        settings
            .extra_config
            .push_str(" SHELLOPTS=braceexpand:errexit:nounset");
    })
    .connect()
    .await;

    each_prints(
        &mut bench,
        &[("false; echo alive", "alive\n"), ("echo again", "again\n")],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_login_shell_makes_no_difference() {
    for login in ["zsh", "fish", "dash", "tcsh"] {
        let mut bench = TestHost::fake_with_shell(&programs::shell(login).display().to_string())
            .connect()
            .await;

        for (command, stdout, exit) in [
            ("exec 9>>lock; flock -n 9; echo $LINENO", "1\n", 0),
            ("echo kept >&9; cat lock; rm lock", "kept\n", 0),
            ("set -e\nfalse\necho no", "", 1),
            ("set +e; trap 'echo bye' EXIT; exit 3", "bye\n", 3),
            ("V=1", "", 0),
        ] {
            let result = bench.shell(command, json!({})).await;
            assert_eq!(
                (result.stdout().as_str(), code(&result)),
                (stdout, Some(exit)),
                "{login} {command}: {result:?}"
            );
        }

        bench.shell("kill -9 $$", plain()).await;
        assert_eq!(
            bench.shell("echo $V", plain()).await.stdout(),
            "1\n",
            "{login}"
        );
    }
}
