//! Line numbers are those of the command's own lines.

use crate::support::{checks::plain, fixture::TestHost};

#[tokio::test]
async fn the_first_line_of_a_command_is_line_1_every_time() {
    let mut bench = TestHost::openssh().connect().await;

    for (command, stdout, stderr) in [
        ("echo $LINENO\n\necho $LINENO", "1\n3\n", ""),
        ("echo $LINENO # and again", "1\n", ""),
        ("f() {\n  echo $LINENO\n}\nf\necho $LINENO", "2\n5\n", ""),
        ("f; set -e; echo $LINENO", "2\n1\n", ""),
        ("(exit 4)", "", ""),
        ("set -u\necho $LINENO; set +eu", "2\n", ""),
        ("trap 'echo $LINENO' ERR\n\nfalse\ntrap - ERR", "3\n", ""),
        ("g() { caller; }\ng", "2 NULL\n", ""),
        ("x='\n\n'\necho $LINENO", "4\n", ""),
        ("POSIXLY_CORRECT=1\necho $LINENO", "2\n", ""),
        ("echo $LINENO; unset POSIXLY_CORRECT", "1\n", ""),
        ("\ncat <<E\nunfinished", "unfinished\n", "line 2 "),
        ("readonly LINENO\necho a", "a\n", ""),
        ("echo b", "b\n", ""),
    ] {
        let result = bench.shell(command, plain()).await;
        assert_eq!(result.stdout(), stdout, "{command:?}: {result:?}");
        assert!(
            result.stderr().contains(stderr) && (stderr.is_empty() == result.stderr().is_empty()),
            "{result:?}"
        );
    }

    let result = bench
        .shell(
            "cat\necho $LINENO",
            serde_json::json!({"stdin": "a\n\n\n", "shell": "other"}),
        )
        .await;

    assert_eq!(result.stdout(), "a\n\n\n2\n");
}
