//! Servers that grant a terminal and have none, as Apache MINA.

use serde_json::{Value, json};

use crate::support::{
    checks::{code, status},
    fake_sshd::FakeSshdSettings,
    fixture::TestHost,
};

#[tokio::test]
async fn a_pretended_terminal_is_said_and_no_mark_is_shown() {
    let settings = FakeSshdSettings {
        pretends_terminals: true,
        ..FakeSshdSettings::default()
    };
    let mut bench = TestHost::fake_with(settings, "").connect().await;

    for more in [
        json!({}),
        json!({"env": {"A": "secret value"}}),
        json!({"stdin": ""}),
        json!({"cwd": "/", "env": {"A": "b\nc"}}),
    ] {
        let mut arguments: Value = more.clone();
        arguments["pty"] = true.into();
        let result = bench.exec("[ -t 0 ]; echo $?; exit 4", arguments).await;
        assert_eq!(
            (result.stdout().trim(), status(&result), code(&result)),
            ("1", "exited", Some(4)),
            "{more}: {result:?}"
        );
        assert!(result.text().contains("no terminal"), "{more}: {result:?}");
    }

    // What the server echoes of the input is its own doing, but no mark of ours is among it.
    let typed = json!({"pty": true, "stdin": "hi\n", "env": {"A": "b"}});
    let result = bench.exec("read -r line; echo \"<$line>\"", typed).await;
    let shown = result.stdout();
    let lines: Vec<_> = shown.split_whitespace().collect();
    assert_eq!(lines, ["hi", "<hi>"], "{result:?}");
}
