//! `UpdateHostKeys`: the files that `ssh` would leave.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Stdio};

use serde_json::json;

use super::{
    differential::Case,
    servers::Servers,
    table::{Decision, row},
};
use crate::support::{checks::eventually, mcp_client::McpClient};

const YES: &str = "UpdateHostKeys yes";

fn text(folder: &Path) -> String {
    fs::read_to_string(folder.join("user")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_servers_new_keys_are_learned_and_old_ones_removed() {
    let servers = Servers::start(&["plain"]);
    let port = servers.get("plain").port();
    for (before, after) in [
        ("{H} {ED}", "{H} {ED}\n{H} {EC}\n{H} {RSA}"),
        (
            "x {CA}\n{H} {ED-B}\n# kept\n{H} {EC}",
            "x {CA}\n# kept\n{H} {EC}\n{H} {ED}\n{H} {RSA}",
        ),
        (
            "{H} {ED}\n{H} {EC}\n{H} {RSA}\n{H} {EC-B}",
            "{H} {ED}\n{H} {EC}\n{H} {RSA}",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();

        // The server shows the one of these keys that is known.
        let algorithms = if before.contains("{H} {ED-B}") {
            "\nHostKeyAlgorithms ^ecdsa-sha2-nistp256"
        } else {
            ""
        };

        let config: &'static str = format!("{YES}{algorithms}").leak();
        let row = row("plain", config, before, Decision::Accepted);
        let (theirs, ours) = (
            Case::write(&row, &servers, folder.path(), "ssh"),
            Case::write(&row, &servers, folder.path(), "we"),
        );

        let expected = servers.fill(after, port) + "\n";

        let mut ssh = tokio::process::Command::new("ssh");
        ssh.args(["-N", "-o", "BatchMode=yes", "-F"])
            .arg(&theirs.config)
            .arg("box")
            .kill_on_drop(true);

        let mut ssh = ssh
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();

        eventually("ssh updates its file", || text(&theirs.folder) == expected).await;
        ssh.kill().await.unwrap();

        let mut client = McpClient::start(&ours.config, &ours.folder).await;
        client
            .call("ssh_connect", json!({"host": "box"}))
            .await
            .ok();

        eventually("we update our file", || text(&ours.folder) == expected).await;
        let old = fs::read_to_string(ours.folder.join("user.old")).unwrap();
        assert_eq!(old, servers.fill(before, port) + "\n");

        assert_eq!(
            fs::metadata(ours.folder.join("user"))
                .unwrap()
                .permissions()
                .mode()
                & 0o777,
            0o600
        );

        client
            .call("ssh_exec", json!({"command": "true"}))
            .await
            .ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_learned_where_ssh_learns_nothing() {
    let servers = Servers::start(&["plain", "good"]);
    let mut left_alone = Vec::new();

    for (server, config, before) in [
        ("plain", "UpdateHostKeys no", "{H} {ED}"),
        ("plain", "UpdateHostKeys ask", "{H} {ED}"),
        ("plain", YES, "* {ED}"),
        ("plain", YES, "127.0.0.1 {ED}"),
        ("plain", YES, "{H} {ED}\nother {EC}"),
        (
            "plain",
            "UpdateHostKeys yes\nStrictHostKeyChecking no",
            "{H} {ED-B}",
        ),
        ("good", YES, "@cert-authority {H} {CA}\n{H} {ED}"),
    ] {
        let folder = tempfile::tempdir().unwrap();

        let case = Case::write(
            &row(server, config, before, Decision::Accepted),
            &servers,
            folder.path(),
            "we",
        );

        let mut client = McpClient::start(&case.config, &case.folder).await;
        client
            .call("ssh_connect", json!({"host": "box"}))
            .await
            .ok();

        client
            .call("ssh_exec", json!({"command": "true"}))
            .await
            .ok();

        left_alone.push((
            folder,
            case,
            client,
            servers.fill(before, servers.get(server).port()) + "\n",
        ));
    }

    // By the time one that learns has learned, the others would have too.
    let folder = tempfile::tempdir().unwrap();

    let case = Case::write(
        &row("plain", YES, "{H} {ED}", Decision::Accepted),
        &servers,
        folder.path(),
        "we",
    );

    let mut client = McpClient::start(&case.config, &case.folder).await;
    client
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok();

    eventually("the file is updated", || {
        text(&case.folder).lines().count() == 3
    })
    .await;

    for (_folder, case, _client, before) in &left_alone {
        assert_eq!(&text(&case.folder), before);
    }
}
