//! Files are read and edited as root.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::PathBuf,
};

use serde_json::{Value, json};

use super::{as_root, open};
use crate::support::{
    checks::{assert_refused, eventually, plain},
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
    page::Page,
    questions::{reply, result},
    sudo_host::{PASSWORD, SudoHost, SudoHostSettings, TELLTALE, USER},
};

/// Writes a file that only another user and root can read.
fn secret(host: &ConnectedHost<SudoHost>, name: &str, content: &[u8]) -> PathBuf {
    let path = host.remote(name);
    fs::write(&path, content).unwrap();
    chown(&path, Some(1234), Some(2345)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    path
}

async fn read(host: &mut ConnectedHost<SudoHost>, path: &str, mut more: Value) -> ToolResult {
    more["path"] = path.into();
    host.mcp.call("ssh_read", as_root(more)).await
}

async fn edit(host: &mut ConnectedHost<SudoHost>, path: &str, mut more: Value) -> ToolResult {
    more["path"] = path.into();
    host.mcp.call("ssh_edit", as_root(more)).await
}

#[tokio::test]
async fn a_file_that_only_root_may_read_is_read_and_edited() {
    let Some(mut host) = TestHost::sudo_with_password(SudoHostSettings::default()).await else {
        return;
    };
    let content = b"one\ncaf\xe9\r\nthree";
    let file = secret(&host, "it's a \"file\"", content);
    let path = file.to_str().unwrap().to_owned();

    let denied = host.mcp.call("ssh_read", json!({"path": path})).await;
    assert_refused(&denied, &["ermission denied", "sudo: true"]);
    let shown = read(&mut host, &path, plain()).await.ok();
    assert!(shown.text().contains("3\tthree\n"), "{}", shown.text());
    assert!(shown.text().contains("lines 1–3 of 3"), "{}", shown.text());

    let more = json!({"oldText": "three", "newText": "four\nfive"});
    let edited = edit(&mut host, &path, more).await.ok();
    assert!(edited.text().contains("+five"), "{}", edited.text());
    assert_eq!(fs::read(&file).unwrap(), b"one\ncaf\xe9\r\nfour\r\nfive");
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (1234, 2345));
    assert_eq!(metadata.mode() & 0o7777, 0o640);

    // A directory that the account may not enter.
    let folder = host.remote("folder");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    let path = folder.join("new").to_str().unwrap().to_owned();
    edit(&mut host, &path, json!({"content": "new\n"}))
        .await
        .ok();
    let created = fs::metadata(folder.join("new")).unwrap();
    assert_eq!(created.mode() & 0o7777, 0o600);
    let listed = read(&mut host, folder.to_str().unwrap(), plain()).await;
    assert!(listed.text().contains("new"), "{}", listed.text());
    let names = crate::support::disk::names(&folder);
    assert_eq!(names, ["new"]);
}

#[tokio::test]
async fn large_files_pass_through_sudo_in_both_directions() {
    let Some(mut host) = TestHost::sudo_with_password(SudoHostSettings::default()).await else {
        return;
    };
    let lines: Vec<String> = (0..100_000).map(|n| format!("line {n} {n:0>30}")).collect();
    let content = lines.join("\n") + "\n";
    let file = secret(&host, "large", content.as_bytes());
    let path = file.to_str().unwrap().to_owned();

    let more = json!({"oldText": "line 77777 ", "newText": "LINE 77777 "});
    edit(&mut host, &path, more).await.ok();
    let found = fs::read_to_string(&file).unwrap();
    assert!(found == content.replace("line 77777 ", "LINE 77777 "));

    let shown = read(&mut host, &path, json!({"offset": 77_778, "limit": 1}))
        .await
        .ok();
    assert!(shown.text().starts_with("77778\tLINE 77777 "));
    let end = read(&mut host, &path, json!({"offset": -1})).await.ok();
    assert!(end.text().contains("line 99999 "), "{}", end.text());
}

#[tokio::test]
async fn no_password_reaches_a_file_if_sudo_wants_none() {
    let settings = SudoHostSettings {
        rule: "ALL=(ALL:ALL) NOPASSWD: ALL",
        ..SudoHostSettings::default()
    };
    let Some(mut host) = TestHost::sudo_with_password(settings).await else {
        return;
    };
    let file = secret(&host, "file", b"old\n");
    let path = file.to_str().unwrap().to_owned();

    let shown = read(&mut host, &path, plain()).await.ok();
    assert!(shown.text().starts_with("1\told\n"), "{}", shown.text());
    let more = json!({"oldText": "old", "newText": "new"});
    edit(&mut host, &path, more).await.ok();
    assert_eq!(fs::read(&file).unwrap(), b"new\n");
    assert!(!host.sshd.log().contains(TELLTALE));
}

#[tokio::test]
async fn a_refusal_of_sudo_is_the_error_and_changes_nothing() {
    let settings = SudoHostSettings::default();
    let Some(mut host) = open(settings, json!({}), plain()).await else {
        return;
    };
    let file = secret(&host, "file", b"old\n");
    let path = file.to_str().unwrap().to_owned();
    let more = json!({"oldText": "old", "newText": "new"});

    // Nobody can be asked.
    let unanswered = &["sudo asked for a password, and none was given"][..];
    assert_refused(&read(&mut host, &path, plain()).await, unanswered);
    assert_refused(&edit(&mut host, &path, more.clone()).await, unanswered);
    assert_eq!(fs::read(&file).unwrap(), b"old\n");
}

#[tokio::test]
async fn an_account_outside_of_sudoers_is_refused_in_sudos_words() {
    let settings = SudoHostSettings {
        rule: "",
        ..SudoHostSettings::default()
    };
    let Some(mut host) = TestHost::sudo_with_password(settings).await else {
        return;
    };
    let file = secret(&host, "file", b"old\n");
    let path = file.to_str().unwrap().to_owned();

    let refused = read(&mut host, &path, plain()).await;
    assert_refused(&refused, &["sudo refused", "not in the sudoers file"]);
    let more = json!({"oldText": "old", "newText": "new"});
    let refused = edit(&mut host, &path, more).await;
    assert_refused(&refused, &["sudo refused", "not in the sudoers file"]);
    assert_eq!(fs::read(&file).unwrap(), b"old\n");
}

#[tokio::test]
async fn the_person_sees_which_file_and_is_asked_once_a_session() {
    let capabilities = json!({"elicitation": {"url": {}}});
    let settings = SudoHostSettings::default();
    let Some(mut host) = open(settings, capabilities, plain()).await else {
        return;
    };
    let file = secret(&host, "<b>\u{1b}", b"old\n");
    let path = file.to_str().unwrap().to_owned();

    let more = json!({"path": path, "oldText": "old", "newText": "new"});
    let call = host.mcp.begin_call("ssh_edit", as_root(more)).await;
    for answer in ["wrong", PASSWORD] {
        let (id, page) = Page::next(&mut host.mcp).await;
        reply(&mut host.mcp, &id, json!({"action": "accept"})).await;
        let shown = page.get().await.body;
        let action = "<blockquote>edit the file /";
        for part in [action, "/&lt;b&gt;\\u{1b}</blockquote>", USER] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        page.type_in(answer).await;
    }
    result(&mut host.mcp, call).await.ok();
    assert_eq!(fs::read(&file).unwrap(), b"new\n");

    // The password is known now, for commands as well.
    read(&mut host, &path, plain()).await.ok();
    host.root("true", plain()).await.ok();
    assert!(!fs::read_to_string(&file).unwrap().contains(TELLTALE));
}

#[tokio::test]
async fn root_needs_no_sudo() {
    let mut host = TestHost::openssh().connect().await;
    let file = host.remote("file");
    fs::write(&file, "old\n").unwrap();
    let path = file.to_str().unwrap().to_owned();

    let arguments = as_root(json!({"path": path}));
    let shown = host.mcp.call("ssh_read", arguments).await.ok();
    assert!(shown.text().starts_with("1\told\n"), "{}", shown.text());
    let more = as_root(json!({"path": path, "oldText": "old", "newText": "new"}));
    host.mcp.call("ssh_edit", more).await.ok();
    assert_eq!(fs::read(&file).unwrap(), b"new\n");
}

#[tokio::test]
async fn a_person_who_declines_ends_the_edit() {
    let capabilities = json!({"elicitation": {"url": {}}});
    let settings = SudoHostSettings::default();
    let Some(mut host) = open(settings, capabilities, plain()).await else {
        return;
    };
    let file = secret(&host, "file", b"old\n");
    let path = file.to_str().unwrap().to_owned();

    let more = json!({"path": path, "oldText": "old", "newText": "new"});
    let call = host.mcp.begin_call("ssh_edit", as_root(more)).await;
    let (id, _page) = Page::next(&mut host.mcp).await;
    reply(&mut host.mcp, &id, json!({"action": "decline"})).await;
    let refused = result(&mut host.mcp, call).await;
    assert_refused(&refused, &["sudo asked for a password, and none was given"]);
    assert_eq!(fs::read(&file).unwrap(), b"old\n");
    eventually("sudo has ended", || host.sshd.running("sudo").is_empty()).await;
}
