//! `ssh_upload` with `sessions`: one upload to many hosts.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    checks::{eventually, random},
    disk::names,
    fixture::TestHost,
    mcp_client::{McpClient, ToolResult},
    open_sshd::OpenSshd,
    ssh_config,
};

/// Several of the real sshd, each with a home of its own, and a client that knows them as `w0`, `w1` and so on.
struct Hosts {
    /// Before the hosts, so that the client stops first.
    mcp: McpClient,
    each: Vec<TestHost<OpenSshd>>,
    folder: TempDir,
}

impl Hosts {
    async fn start(count: usize) -> Self {
        let each: Vec<_> = (0..count).map(|_| TestHost::openssh()).collect();
        let folder = tempfile::tempdir().unwrap();
        let blocks = each.iter().enumerate().map(|(number, host)| {
            let config = fs::read_to_string(&host.config).unwrap();
            config.replacen("Host host", &format!("Host w{number}"), 1)
        });

        let config = ssh_config::write(folder.path(), "all", &blocks.collect::<String>());
        let mcp = McpClient::start(&config, folder.path()).await;
        Self { mcp, each, folder }
    }

    /// Writes a file on this machine.
    fn source(&self, content: &[u8]) -> String {
        let path = self.folder.path().join("source");
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    async fn upload(&mut self, local: &str, remote: &str, sessions: Value) -> ToolResult {
        let arguments = json!({"localPath": local, "remotePath": remote, "sessions": sessions});
        self.mcp.call("ssh_upload", arguments).await
    }

    /// What the hosts have at this path in their homes.
    fn contents(&self, name: &str) -> Vec<Option<Vec<u8>>> {
        let read = |host: &TestHost<OpenSshd>| fs::read(host.remote(name)).ok();
        self.each.iter().map(read).collect()
    }
}

fn sessions(result: &ToolResult) -> Vec<Value> {
    result.structured()["sessions"].as_array().unwrap().clone()
}

#[tokio::test]
async fn one_call_brings_a_file_to_every_host() {
    let mut hosts = Hosts::start(3).await;
    let content = random(1_000_000);
    let source = hosts.source(&content);
    for host in &hosts.each {
        fs::create_dir(host.remote("etc")).unwrap();
    }

    let result = hosts.upload(&source, "~/etc/", json!(["w1", "w*"])).await;
    let result = result.ok();
    assert_eq!(
        hosts.contents("etc/source"),
        vec![Some(content.clone()); hosts.each.len()]
    );

    let facts = result.structured();
    assert_eq!(
        (&facts["files"], &facts["bytes"], &facts["failed"]),
        (&json!(3), &json!(3_000_000), &json!(0))
    );

    let in_order: Vec<_> = sessions(&result)
        .iter()
        .map(|each| (each["session"].clone(), each["verified"].clone()))
        .collect();
    let expected = ["w1", "w0", "w2"].map(|name| (json!(name), json!(true)));
    assert_eq!(in_order, expected);

    // The homes differ, and so do the lines.
    let blocks = result.blocks();
    assert_eq!(blocks.len(), 6, "{blocks:?}");
    for (pair, host) in blocks.chunks(2).zip([1, 0, 2]) {
        assert_eq!(pair[0], format!("[session w{host}]"));
        let target = hosts.each[host].remote("etc/source");
        let line = format!(
            "uploaded 1 file, 1000000 bytes, to {} (SHA-256 verified)",
            target.display()
        );
        assert!(pair[1].starts_with(&line), "{pair:?}");
    }
}

#[tokio::test]
async fn a_host_that_fails_stops_no_other() {
    let mut hosts = Hosts::start(3).await;
    let source = hosts.source(b"content");
    fs::create_dir(hosts.each[1].remote("target")).unwrap();
    fs::create_dir(hosts.each[1].remote("target/source")).unwrap();

    let asked = json!(["w0", "w1", "nowhere", "w2"]);
    let result = hosts.upload(&source, "target", asked).await.ok();
    let expected = Some(b"content".to_vec());
    assert_eq!(hosts.contents("target"), [expected.clone(), None, expected]);
    assert_eq!(names(&hosts.each[1].remote("target")), ["source"]);

    let facts = result.structured();
    assert_eq!((&facts["files"], &facts["failed"]), (&json!(2), &json!(2)));
    let each = sessions(&result);
    assert!(each[1]["error"].is_string() && each[1]["hint"].is_string());
    assert!(
        each[2]["error"].as_str().unwrap().contains("nowhere"),
        "{each:?}"
    );

    let blocks = result.blocks();
    assert_eq!(blocks[0], "[session w1]");
    assert_eq!(blocks[2], "[session nowhere]");
    let kinds = &result.0["_meta"]["mcp-ssh-sessions/blocks"];
    assert_eq!(
        (&kinds[1], &kinds[3], &kinds[5]),
        (&json!("error"), &json!("error"), &json!("status"))
    );

    let nowhere = hosts.upload(&source, "target", json!(["nowhere"])).await;
    assert!(nowhere.is_error(), "{}", nowhere.text());
}

#[tokio::test]
async fn hosts_that_say_the_same_share_a_line() {
    let mut hosts = Hosts::start(2).await;
    let source = hosts.source(b"content");
    let shared = hosts.folder.path().join("shared");
    fs::create_dir(&shared).unwrap();

    // Both hosts are this machine, so an absolute path is the same on both.
    let remote = format!("{}/", shared.display());
    let result = hosts.upload(&source, &remote, json!(["w?"])).await.ok();
    let blocks = result.blocks();
    assert_eq!(blocks.len(), 2, "{blocks:?}");
    assert_eq!(blocks[0], "[sessions w0, w1]");
    assert_eq!(names(&shared), ["source"]);
}

#[tokio::test]
async fn a_tree_of_one_host_goes_to_the_others() {
    let mut hosts = Hosts::start(3).await;
    let tree = hosts.each[0].remote("tree");
    fs::create_dir_all(tree.join("empty")).unwrap();
    fs::write(tree.join("file"), "content").unwrap();

    let result = hosts.upload("w0:~/tree", "copy", json!(["w1", "w2"])).await;
    let result = result.ok();
    for host in &hosts.each[1..] {
        assert_eq!(names(&host.remote("copy")), ["empty", "file"]);
        assert_eq!(fs::read(host.remote("copy/file")).unwrap(), b"content");
    }

    for each in sessions(&result) {
        assert_eq!(each["otherSession"], "w0", "{each}");
    }
    let text = result.text();
    assert!(text.contains(" from w0, to "), "{text}");
}

#[tokio::test]
async fn a_cancelled_call_leaves_nothing_on_any_host() {
    let mut hosts = Hosts::start(3).await;
    let source = hosts.source(b"");
    fs::File::create(&source).unwrap().set_len(1 << 30).unwrap();
    let arguments = json!({"localPath": source, "remotePath": "target", "sessions": ["w*"]});
    let call = hosts.mcp.begin_call("ssh_upload", arguments).await;
    let homes: Vec<_> = hosts.each.iter().map(|host| host.home.clone()).collect();
    let all = |check: fn(&Path) -> bool| homes.iter().all(|home| check(home));

    eventually("all have begun", || all(|home| !names(home).is_empty())).await;
    hosts.mcp.cancel(call).await;
    eventually("all is removed", || all(|home| names(home).is_empty())).await;
}

#[tokio::test]
async fn sessions_are_named_in_one_way_only() {
    let mut hosts = Hosts::start(1).await;
    let source = hosts.source(b"content");
    for (sessions, session, part) in [
        (json!([]), Value::Null, "ssh_upload: sessions names 1 to"),
        (json!(["w0"]), json!("w0"), "session is left out"),
        (json!(["x*"]), Value::Null, "no session matches"),
    ] {
        let arguments = json!({
            "localPath": source, "remotePath": "target", "sessions": sessions, "session": session,
        });
        let refused = hosts.mcp.call("ssh_upload", arguments).await;
        let text = refused.text();
        assert!(refused.is_error() && text.contains(part), "{text}");
    }
    assert_eq!(hosts.contents("target"), [None]);
}
