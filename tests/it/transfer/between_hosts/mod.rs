//! `ssh_upload` and `ssh_download` with `session:/path` as the local side: from one host to another.

mod failures;
mod links;
mod trees;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{LENGTHS, mode, set_mode};
use crate::support::{
    checks::{assert_refused, random},
    disk::names,
    fixture::TestHost,
    mcp_client::{McpClient, ToolResult},
    open_sshd::OpenSshd,
    ssh_config,
};

/// Two hosts, and a client with the sessions `web` and `db`, of which none is connected at first.
pub(super) struct TwoHosts<A, B> {
    /// Before the hosts, so that the client stops first.
    pub(super) mcp: McpClient,
    pub(super) web: TestHost<A>,
    pub(super) db: TestHost<B>,
    /// The only folder of the client.
    folder: TempDir,
}

impl TwoHosts<OpenSshd, OpenSshd> {
    async fn openssh() -> Self {
        Self::of(TestHost::openssh(), TestHost::openssh()).await
    }
}

impl<A, B> TwoHosts<A, B> {
    pub(super) async fn of(web: TestHost<A>, db: TestHost<B>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mcp = McpClient::start(&config(&web, &db, folder.path()), folder.path()).await;

        Self {
            mcp,
            web,
            db,
            folder,
        }
    }

    /// Copies by `ssh_upload` from `web` to `db`.
    pub(super) async fn up(&mut self, from: &str, to: &str, more: Value) -> ToolResult {
        let call = self.begin_up(from, to, more).await;
        self.mcp.finish(call).await
    }

    /// Begins to copy by `ssh_upload` from `web` to `db`.
    async fn begin_up(&mut self, from: &str, to: &str, mut more: Value) -> u64 {
        let arguments = more.as_object_mut().unwrap();
        arguments.insert("localPath".into(), format!("web:{from}").into());
        arguments.insert("remotePath".into(), to.into());
        arguments.insert("session".into(), "db".into());
        self.mcp.begin_call("ssh_upload", more).await
    }

    /// Copies by `ssh_download` from `web` to `db`.
    pub(super) async fn down(&mut self, from: &str, to: &str) -> ToolResult {
        let local = format!("db:{to}");
        let arguments = json!({"remotePath": from, "localPath": local, "session": "web"});
        self.mcp.call("ssh_download", arguments).await
    }

    /// Everything that the client has written.
    fn written_here(&self) -> Vec<String> {
        names(self.folder.path())
    }
}

/// Writes one configuration for both hosts. What is for all hosts stands last.
fn config<A, B>(web: &TestHost<A>, db: &TestHost<B>, folder: &Path) -> PathBuf {
    let named = |path: &Path, name: &str| {
        let host = fs::read_to_string(path).unwrap();
        host.replacen("Host host", &format!("Host {name}"), 1)
    };

    let mut blocks = [named(&web.config, "web"), named(&db.config, "db")];
    blocks.sort_by_key(|block| block.contains("Host *"));
    ssh_config::write(folder, "both", &blocks.concat())
}

/// A path as text.
pub(super) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn a_file_goes_from_host_to_host_by_either_tool() {
    let mut bench = TwoHosts::openssh().await;
    let (from, to) = (bench.web.remote("source"), bench.db.remote("target"));
    let before = bench.written_here();

    for length in LENGTHS {
        let content = random(length);
        fs::write(&from, &content).unwrap();
        set_mode(&from, 0o640);
        let modified = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let file = fs::File::options().write(true).open(&from).unwrap();
        file.set_modified(modified).unwrap();

        for is_up in [true, false] {
            fs::write(&to, "old").unwrap();
            let result = if is_up {
                bench.up(text(&from), text(&to), json!({})).await.ok()
            } else {
                bench.down(text(&from), text(&to)).await.ok()
            };

            assert!(fs::read(&to).unwrap() == content, "{length} bytes");
            assert_eq!(mode(&to), 0o640);
            assert_eq!(fs::metadata(&to).unwrap().modified().unwrap(), modified);

            let seen = result.structured();
            assert_eq!(seen["files"], json!(1));
            assert_eq!(seen["bytes"], json!(length));
            assert_eq!(seen["verified"], json!(length > 0), "{length} bytes");
            assert_eq!(seen["to"], json!(text(&to)));
            assert_eq!(
                seen["otherSession"],
                json!(if is_up { "web" } else { "db" })
            );

            let said = format!(
                "copied 1 file, {length} bytes, from web to db:{}",
                text(&to)
            );
            assert!(result.text().starts_with(&said), "{}", result.text());
        }
    }

    assert_eq!(names(&bench.web.home), ["source"]);
    assert_eq!(names(&bench.db.home), ["target"]);

    let mut after = bench.written_here();
    after.retain(|name| !name.contains("sessions.json"));
    assert_eq!(after, before, "nothing but the store is written here");
}

#[tokio::test]
async fn a_host_that_becomes_a_session_is_named_once() {
    let mut bench = TwoHosts::openssh().await;
    fs::write(bench.web.remote("file"), "x").unwrap();
    let saved = "session web: connected and saved; session db: connected and saved";
    let first = bench.up("~/file", "~", json!({})).await.ok();
    assert!(first.text().ends_with(saved), "{}", first.text());
    let second = bench.up("~/file", "~", json!({})).await.ok();
    assert!(!second.text().contains("saved"), "{}", second.text());
    assert_eq!(names(&bench.db.home), ["file"]);
}

#[tokio::test]
async fn where_a_file_goes_is_as_with_a_local_one() {
    let mut bench = TwoHosts::openssh().await;
    fs::write(bench.web.remote("file"), "new").unwrap();
    fs::create_dir(bench.db.remote("there")).unwrap();

    for (to, place) in [
        ("there", "there/file"),
        ("~/there/", "there/file"),
        ("there/name", "there/name"),
        ("~", "file"),
        ("other", "other"),
    ] {
        bench.up("~/file", to, json!({})).await.ok();
        assert_eq!(fs::read(bench.db.remote(place)).unwrap(), b"new", "{to}");
        fs::remove_file(bench.db.remote(place)).unwrap();
    }

    std::os::unix::fs::symlink("there/behind", bench.db.remote("link")).unwrap();
    bench.up("~/file", "link", json!({})).await.ok();
    assert_eq!(fs::read(bench.db.remote("there/behind")).unwrap(), b"new");
}

#[tokio::test]
async fn no_copy_is_a_program_that_runs_as_somebody_else() {
    let mut bench = TwoHosts::openssh().await;
    fs::create_dir(bench.web.remote("tree")).unwrap();
    for path in ["file", "tree/short", "tree/long"] {
        let length = if path == "tree/long" { 300_000 } else { 10 };
        fs::write(bench.web.remote(path), random(length)).unwrap();
        set_mode(&bench.web.remote(path), 0o6755);
    }
    set_mode(&bench.web.remote("tree"), 0o7755);

    bench.up("~/file", "~", json!({})).await.ok();
    bench.up("~/tree", "~", json!({})).await.ok();
    for path in ["file", "tree/short", "tree/long", "tree"] {
        assert_eq!(mode(&bench.db.remote(path)), 0o755, "{path}");
    }
}

#[tokio::test]
async fn an_unchanged_file_is_skipped() {
    let mut bench = TwoHosts::openssh().await;
    fs::write(bench.web.remote("file"), "x").unwrap();

    for skipped in [0, 1] {
        let result = bench
            .up("~/file", "~", json!({"skipUnchanged": true}))
            .await
            .ok();
        assert_eq!(result.structured()["skipped"], json!(skipped));
    }
}

#[tokio::test]
async fn a_file_whose_size_reads_zero_goes_to_its_end() {
    let mut bench = TwoHosts::openssh().await;
    bench.up("/proc/self/status", "~", json!({})).await.ok();
    let status = fs::read_to_string(bench.db.remote("status")).unwrap();
    assert!(status.starts_with("Name:\t") && status.contains("\nPid:\t"));
}

#[tokio::test]
async fn a_session_can_be_both_sides_but_never_the_same_place() {
    let mut host = TestHost::openssh();
    let more = fs::read_to_string(&host.config).unwrap();
    let more = more.replacen("Host host", "Host host alias", 1);
    host.config = ssh_config::write(host.folder(), "more", &more);
    let (home, folder) = (host.home.clone(), host.folder().to_owned());
    let mut mcp = McpClient::start(&host.config, &folder).await;

    fs::create_dir_all(home.join("tree/sub")).unwrap();
    fs::write(home.join("tree/sub/file"), "content").unwrap();
    fs::write(home.join("file"), "content").unwrap();
    std::os::unix::fs::symlink("tree", home.join("link")).unwrap();
    std::os::unix::fs::symlink("file", home.join("file-link")).unwrap();

    for other in ["host", "alias"] {
        for (from, to) in [
            ("file", "~/file"),
            ("file", "~"),
            ("file", "file-link"),
            ("file-link", "file"),
            ("tree", "~"),
            ("tree", "tree/sub"),
            ("tree", "tree/new"),
            ("tree", "link"),
            ("link", "tree/new"),
            ("tree/.", "tree"),
        ] {
            let arguments = json!({"localPath": format!("{other}:~/{from}"), "remotePath": to,
                                   "session": "host"});
            let refused = mcp.call("ssh_upload", arguments).await;
            assert_refused(&refused, &["is the source itself", "give another target"]);
        }
    }

    assert_eq!(names(&home), ["file", "file-link", "link", "tree"]);
    assert_eq!(names(&home.join("tree")), ["sub"]);
    assert_eq!(names(&home.join("tree/sub")), ["file"]);

    for (from, to) in [("file", "copy"), ("tree", "tree2"), ("tree/sub", "~")] {
        let arguments = json!({"localPath": format!("host:~/{from}"), "remotePath": to,
                               "session": "host"});
        mcp.call("ssh_upload", arguments).await.ok();
    }

    for copy in ["copy", "tree2/sub/file", "sub/file", "file"] {
        assert_eq!(fs::read(home.join(copy)).unwrap(), b"content", "{copy}");
    }
}

#[tokio::test]
async fn only_a_session_before_the_colon_is_another_host() {
    let mut bench = TwoHosts::openssh().await;
    let (own, home) = (bench.folder.path().to_owned(), bench.db.home.clone());
    fs::create_dir(own.join("web:")).unwrap();
    fs::write(own.join("web:/file"), "local").unwrap();
    fs::write(home.join("file"), "remote").unwrap();
    bench
        .mcp
        .call("ssh_connect", json!({"host": "db"}))
        .await
        .ok();

    // A path with a separator before the colon is local.
    let arguments = json!({"localPath": own.join("web:/file"), "remotePath": "up"});
    bench.mcp.call("ssh_upload", arguments).await.ok();
    assert_eq!(fs::read(home.join("up")).unwrap(), b"local");
    let arguments = json!({"remotePath": "file", "localPath": own.join("web:/file")});
    bench.mcp.call("ssh_download", arguments).await.ok();
    assert_eq!(fs::read(own.join("web:/file")).unwrap(), b"remote");

    for (tool, path) in [
        ("ssh_upload", "wbe:/file"),
        ("ssh_download", "wbe:/file"),
        ("ssh_upload", "wbe:~/file"),
    ] {
        let arguments = json!({"localPath": path, "remotePath": "file"});
        let refused = bench.mcp.call(tool, arguments).await;
        let hint = format!("a local file of that name is ./{path}");
        assert_refused(&refused, &["no session \"wbe\"", "there are: db", &hint]);
    }

    // A drive of Windows is a path of this machine, unless a session has its name.
    let arguments = json!({"localPath": "C:/no/such/file", "remotePath": "x"});
    let refused = bench.mcp.call("ssh_upload", arguments).await;
    assert_refused(&refused, &["C:/no/such/file", "No such file"]);
    let connect = json!({"host": "db", "name": "C"});
    bench.mcp.call("ssh_connect", connect).await.ok();
    let arguments = json!({"localPath": format!("C:{}", text(&home.join("up"))),
                           "remotePath": "from-c", "session": "db"});
    bench.mcp.call("ssh_upload", arguments).await.ok();
    assert_eq!(fs::read(home.join("from-c")).unwrap(), b"local");
}
