//! Line numbers are those of the command's own lines, and a command that cannot be read is quoted without ours.

use serde_json::{Value, json};

use crate::support::{
    checks::{code, plain},
    fixture::TestHost,
    programs,
};

/// What else may come with a command, each with lines of its own around it.
fn company() -> [Value; 5] {
    [
        plain(),
        json!({"cwd": "/usr"}),
        json!({"env": {"V": "first\nsecond\nthird", "W": "w"}}),
        json!({"stdin": "a\nb\n", "cwd": "/usr", "env": {"V": "v"}}),
        json!({"pty": true, "env": {"V": "first\nsecond"}}),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_of_a_command_has_its_own_number() {
    // Each with what it says of a third line.
    for (shell, says) in [
        ("bash", "line 3: no-such-program"),
        ("dash", "3: no-such-program"),
        ("ksh", "[3]: no-such-program"),
        ("zsh", "zsh:3: command not found: no-such-program"),
    ] {
        let mut bench = TestHost::fake_with_shell(programs::shell(shell).to_str().unwrap())
            .connect()
            .await;
        let long = format!("{}\n", ": ".repeat(9000));
        for more in company() {
            for first in ["echo $? $LINENO\n", &long] {
                let command = format!("{first}\nno-such-program\nexit 4");
                let result = bench.exec(&command, more.clone()).await;
                let said = (result.stdout() + &result.stderr())
                    .replace("eval: ", "")
                    .replace("(eval)", "zsh");

                assert!(
                    said.contains(says) && code(&result) == Some(4),
                    "{shell} {more}: {result:?}"
                );

                assert!(
                    first == long || said.starts_with("0 1") || shell == "dash",
                    "{shell} {more}: {result:?}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_with_a_syntax_error_fails_with_the_shells_words() {
    for shell in ["bash", "dash", "ksh", "zsh", "yash", "mksh", "fish"] {
        let mut bench = TestHost::fake_with_shell(programs::shell(shell).to_str().unwrap())
            .connect()
            .await;
        for more in company() {
            for command in ["if then", "echo a\n\n(", "echo 'unfinished"] {
                let mut more: Value = more.clone();
                more["command"] = command.into();
                let result = bench.mcp.call("ssh_exec", more.clone()).await;
                let said = result.text();
                let failed = code(&result).is_some_and(|code| code != 0);
                assert!(
                    failed || said.contains("the command was not run"),
                    "{shell} {more}: {result:?}"
                );

                let words = said.to_lowercase();

                let why = [
                    "syntax",
                    "parse",
                    "unmatched",
                    "unexpected",
                    "missing",
                    "unterminated",
                    "no closing",
                    "end of mismatched",
                ];

                assert!(
                    why.iter().any(|why| words.contains(why)),
                    "{shell} {more}: {said}"
                );

                assert!(!said.contains("__mcp"), "{shell} {more}: {said}");
            }
        }
    }
}
