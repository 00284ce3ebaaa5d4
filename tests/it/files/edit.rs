//! `ssh_edit` against the real sshd: answers, errors, and what a client has to know before.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::json;

use crate::support::{checks::assert_refused, fixture::TestHost};

#[tokio::test]
async fn one_place_is_replaced_and_the_diff_is_shown() {
    let mut host = TestHost::openssh().connect().await;
    let path = host.remote("conf");
    fs::write(&path, "a\nb\nc\nd\ne\nf\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();

    let path = path.to_str().unwrap().to_owned();
    let result = host
        .mcp
        .call(
            "ssh_edit",
            json!({"path": path, "oldText": "d\n", "newText": "D\nD2\n"}),
        )
        .await;
    assert_eq!(
        result.text(),
        format!("@@ -2,5 +2,6 @@\n b\n c\n-d\n+D\n+D2\n e\n f\n[edited {path} · +2 −1]")
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb\nc\nD\nD2\ne\nf\n");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);

    let again = host
        .mcp
        .call(
            "ssh_edit",
            json!({"path": path, "oldText": "d\n", "newText": "x"}),
        )
        .await;
    assert_refused(&again, &["was not found"]);
}
