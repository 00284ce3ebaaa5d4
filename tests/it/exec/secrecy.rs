//! Values of environment variables stand in no argument of a process, which every user of the remote host can see.

use serde_json::json;

use super::login_shells::login_shells;
use crate::support::{
    checks::{code, plain},
    fixture::{ConnectedHost, TestHost},
    sudo_host::{SudoHost, SudoHostSettings},
};

/// Prints the arguments of all processes but its own, and the variable. The value is not in this text.
const LOOK: &str = "sh -c 'tr \"\\\\0\" \" \" < /proc/$PPID/cmdline; for each in /proc/[0-9]*/cmdline; do tr \"\\\\0\" \" \" < $each; done 2>/dev/null; printf \"<%s>\" \"$V\"'";

/// The real sshd, with an account that has this login shell.
async fn with_login_shell(shell: &str) -> Option<ConnectedHost<SudoHost>> {
    TestHost::sudo_with_password(SudoHostSettings {
        shell: shell.to_owned().leak(),
        ..SudoHostSettings::default()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_in_no_argument_whichever_the_login_shell() {
    for shell in login_shells() {
        let Some(mut bench) = with_login_shell(&shell).await else {
            return;
        };

        for pty in [false, true] {
            let value = format!("a-secret of {}", shell.replace('/', "-"));
            let more = json!({"env": {"V": value, "W": "it's\nmore"}, "pty": pty});
            let result = bench.exec(LOOK, more).await;
            let found = result.stdout();
            assert_eq!(
                (found.matches(&value).count(), code(&result)),
                (1, Some(0)),
                "{shell} {pty}: {result:?}"
            );

            assert!(
                found.contains(&format!("<{value}>")),
                "{shell} {pty}: {result:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_shows_nothing_of_them_and_is_as_it_was() {
    let odd = "it's \"q\" $HOME `id` !x \\ \u{3} \u{4} \u{16} \r \t é日🚀";
    for value in [odd, &"long ".repeat(2000)] {
        for shell in login_shells() {
            let Some(mut bench) = with_login_shell(&shell).await else {
                return;
            };
            let plain = bench.exec("stty -a", json!({"pty": true})).await.stdout();
            assert!(
                plain.contains(" echo ") && plain.contains(" icanon "),
                "{plain}"
            );

            let with = bench
                .exec("stty -a", json!({"pty": true, "env": {"V": value}}))
                .await
                .stdout();

            assert_eq!(with, plain, "{shell}");

            // What is typed at once comes to the command, after the terminal is as it was: U+0004 ends it.
            let more = json!({"pty": true, "env": {"V": value}, "stdin": "typed\n\u{4}", "timeoutMs": 60_000});
            let result = bench
                .exec("sh -c 'cat > typed; printf %s \"$V\" > value'", more)
                .await;
            assert_eq!(code(&result), Some(0), "{shell}: {result:?}");
            assert_eq!(
                std::fs::read_to_string(bench.remote("typed")).unwrap(),
                "typed\n",
                "{shell}"
            );

            assert_eq!(
                std::fs::read_to_string(bench.remote("value")).unwrap(),
                value,
                "{shell}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sudo_logs_none_of_them() {
    let Some(mut bench) = TestHost::sudo_with_password(SudoHostSettings::default()).await else {
        return;
    };

    for pty in [false, true] {
        let more = json!({"env": {"V": "a-secret"}, "pty": pty});
        let result = bench.root(LOOK, more).await.ok();
        assert_eq!(result.stdout().matches("a-secret").count(), 1, "{result:?}");
        assert!(result.stdout().contains("<a-secret>"), "{result:?}");
    }

    bench.root("true", plain()).await.ok();
    let log = bench.sshd.log();
    assert!(
        log.matches("COMMAND=").count() >= 3 && !log.contains("a-secret"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_terminals_runs_the_command_with_variables() {
    for shell in login_shells() {
        let mut bench = TestHost::fake_with_shell(&shell).connect().await;
        let result = bench
            .exec("sh -c 'echo $V'", json!({"env": {"V": "v"}, "pty": true}))
            .await;

        assert_eq!(
            (result.stdout().as_str(), code(&result)),
            ("v\n", Some(0)),
            "{shell}: {result:?}"
        );
    }
}
