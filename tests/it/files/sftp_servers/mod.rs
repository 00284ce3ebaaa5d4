//! SFTP servers that lack requests, mix open files up, reject names or end a file in their own way. Each account runs no
//! programs, so that all is done over SFTP.

mod answers;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use serde_json::json;

use crate::{
    support::{
        checks::{assert_refused, skipped},
        fixture::{ConnectedHost, TestHost},
        mcp_client::ToolResult,
        open_sshd::OpenSshd,
        other_sshd::Make,
    },
    transfer::sftp_server,
};

/// OpenSSH's server with further options.
fn openssh_with(options: &str) -> Option<TestHost<OpenSshd>> {
    let Some(program) = sftp_server() else {
        skipped("no sftp-server program");
        return None;
    };

    Some(TestHost::openssh_with(|settings| {
        settings.sftp = format!("{program} {options}");
        settings.extra_config = format!("ForceCommand {program} {options}\n");
    }))
}

/// Files of a tree by their paths.
fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut left = vec![root.to_path_buf()];

    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }

    files
}

/// Makes a tree with files of several lengths.
fn make_tree(root: &Path) {
    fs::create_dir_all(root.join("sub")).unwrap();
    for number in 0..20 {
        let text = format!("line one\nneedle {number}\n").repeat(number * 100);
        fs::write(root.join(format!("file {number}")), text).unwrap();
    }
    fs::write(root.join("sub/long"), vec![b'l'; 400_000]).unwrap();
}

impl<S> ConnectedHost<S> {
    async fn tool(&mut self, tool: &str, arguments: serde_json::Value) -> ToolResult {
        self.mcp.call(tool, arguments).await
    }

    /// A path in the home as the tools take it.
    fn path(&self, name: &str) -> String {
        self.remote(name).to_str().unwrap().to_owned()
    }

    /// Sends a file, which may replace another, and a tree, which is there the second time.
    async fn sends(&mut self, what: &str) {
        let (file, tree) = (self.local("file"), self.local("tree"));
        fs::write(&file, "new content\n").unwrap();
        make_tree(&tree);
        fs::write(self.remote("old"), "old content, which is longer\n").unwrap();

        for target in ["new", "old"] {
            let path = self.path(target);
            self.try_upload(&file, &path).await.ok();
            assert_eq!(
                fs::read(self.remote(target)).unwrap(),
                b"new content\n",
                "{what}"
            );
        }

        for _ in 0..2 {
            let home = self.path("") + "/";
            self.try_upload(&tree, &home).await.ok();
            assert!(contents(&tree) == contents(&self.remote("tree")), "{what}");
        }
    }

    /// Fetches files of several lengths, and a tree.
    async fn fetches(&mut self, what: &str) {
        let tree = self.remote("theirs");
        make_tree(&tree);
        for (name, length) in [("none", 0), ("some", 1000), ("many", 1_000_000)] {
            fs::write(self.remote(name), vec![b'x'; length]).unwrap();
            let (path, back) = (self.path(name), self.local(name));
            self.try_download(&path, &back).await.ok();
            assert_eq!(fs::read(back).unwrap().len(), length, "{what}");
        }

        let (path, back) = (self.path("theirs"), self.local("theirs"));
        self.try_download(&path, &back).await.ok();
        assert!(contents(&tree) == contents(&back), "{what}");
    }

    /// Reads and searches.
    async fn shows(&mut self, what: &str) {
        let tree = self.remote("shown");
        make_tree(&tree);
        fs::write(tree.join("empty"), "").unwrap();
        let path = self.path("shown");

        for (name, more, part) in [
            ("/file 1", json!({}), "needle 1\n"),
            ("/file 19", json!({"offset": -1}), "needle 19\n"),
            ("/empty", json!({}), "empty"),
            ("", json!({}), "file 19"),
        ] {
            let mut arguments = more;
            arguments["path"] = format!("{path}{name}").into();
            let page = self.tool("ssh_read", arguments).await.ok();
            assert!(page.text().contains(part), "{what}: {}", page.text());
        }

        let search = json!({"pattern": "needle", "path": path, "filesOnly": true});
        let found = self.tool("ssh_search", search).await.ok();
        assert!(
            found.text().contains("in 19 files") && !found.text().contains("not searched"),
            "{what}: {}",
            found.text()
        );
    }

    /// Creates a file and changes it, so that it gets longer and shorter.
    async fn edits(&mut self, what: &str) {
        let path = self.path("edited");
        let create = json!({"path": path, "content": "one\ntwo\n"});
        self.tool("ssh_edit", create).await.ok();

        for (old, new) in [("two", "two and a half"), ("two and a half", "2")] {
            let edit = json!({"path": path, "oldText": old, "newText": new});
            self.tool("ssh_edit", edit).await.ok();
            let now = fs::read_to_string(self.remote("edited")).unwrap();
            assert_eq!(now, format!("one\n{new}\n"), "{what}");
        }
    }

    /// Names of temporary files in the home.
    fn litter(&self) -> Vec<String> {
        contents(&self.home)
            .into_keys()
            .filter(|name| name.contains(".part") || name.contains("mcp-ssh-sessions"))
            .collect()
    }
}

#[tokio::test]
async fn what_an_account_may_not_ask_for_is_done_without() {
    for denied in [
        "posix-rename,fsync,limits,lsetstat",
        "lstat",
        "fstat",
        "realpath",
        "setstat,fsetstat,lsetstat",
        "rename,posix-rename",
    ] {
        let Some(host) = openssh_with(&format!("-P {denied}")) else {
            return;
        };
        let mut host = host.connect().await;
        host.sends(denied).await;
        host.fetches(denied).await;
        host.shows(denied).await;
        host.edits(denied).await;
        assert_eq!(host.litter(), [""; 0], "{denied}");
    }
}

#[tokio::test]
async fn files_are_sent_where_none_are_shown() {
    for denied in ["stat,lstat,fstat", "read,readdir,opendir,remove,rename"] {
        let Some(host) = openssh_with(&format!("-P {denied}")) else {
            return;
        };
        let mut host = host.connect().await;
        host.sends(denied).await;
        assert_eq!(host.litter(), [""; 0], "{denied}");
    }
}

#[tokio::test]
async fn copies_that_the_server_keeps_are_named() {
    let Some(host) = openssh_with("-P remove,posix-rename") else {
        return;
    };
    let mut host = host.connect().await;
    host.edits("remove").await;

    let path = host.path("edited");
    let edit = json!({"path": path, "oldText": "2", "newText": "3"});
    let text = host.tool("ssh_edit", edit).await.ok().text();
    let copy = host.litter().into_iter().find(|name| text.contains(name));
    let copy = host.remote(&copy.expect("the copy is named"));
    assert_eq!(fs::read_to_string(copy).unwrap(), "one\n2\n", "{text}");
}

#[tokio::test]
async fn a_server_without_links_or_removal_keeps_no_test_link() {
    let Some(host) = openssh_with("-P remove,posix-rename") else {
        return;
    };
    let mut host = host.connect().await;
    let tree = host.local("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), "file").unwrap();
    symlink("file", tree.join("link")).unwrap();

    let path = host.path("tree");
    let sent = host.try_upload(&tree, &path).await;
    assert_refused(
        &sent,
        &["\"link\": making the link: the server removes no files"],
    );
    assert_eq!(fs::read(host.remote("tree/file")).unwrap(), b"file");
    assert_eq!(host.litter(), [""; 0]);
}

#[tokio::test]
async fn an_account_that_may_only_read_is_named() {
    const READ_ONLY: &str = "this account may not write files over SFTP; nothing was written";
    let Some(host) = openssh_with("-R") else {
        return;
    };
    let mut host = host.connect().await;
    let (file, tree) = (host.local("file"), host.local("tree"));
    fs::write(&file, "new").unwrap();
    make_tree(&tree);
    fs::write(host.remote("old"), "old").unwrap();

    for (local, remote) in [(&file, "new"), (&file, "old"), (&tree, "tree")] {
        let path = host.path(remote);
        let sent = host.try_upload(local, &path).await;
        assert_refused(&sent, &[READ_ONLY]);
    }
    for edit in [
        json!({"path": host.path("new"), "content": "new"}),
        json!({"path": host.path("old"), "oldText": "old", "newText": "new"}),
    ] {
        let edited = host.tool("ssh_edit", edit).await;
        assert_refused(&edited, &[READ_ONLY]);
    }

    assert_eq!(fs::read(host.remote("old")).unwrap(), b"old");
    host.fetches("read-only").await;
}

#[tokio::test]
async fn files_with_the_same_handle_are_searched_one_by_one() {
    let mut host = TestHost::other(&Make::Erlang).connect().await;
    host.shows("Erlang").await;
    host.edits("Erlang").await;
}

#[tokio::test]
async fn a_refused_command_costs_no_connection() {
    let mut host = TestHost::other(&Make::Proftpd).connect().await;
    host.shows("ProFTPD").await;
    host.edits("ProFTPD").await;

    let refused = host.tool("ssh_shell", json!({"command": "true"})).await;
    assert!(
        refused.is_error() && !refused.text().contains("lost"),
        "{}",
        refused.text()
    );
}

#[tokio::test]
async fn temporary_files_are_visible_where_they_have_to_be() {
    let make = Make::Asyncssh(&["hidden", "posix_rename"]);
    let mut host = TestHost::other(&make).connect().await;
    host.sends("hidden names").await;
    host.edits("hidden names").await;

    let tree = host.local("tree");
    symlink("file 1", tree.join("link")).unwrap();
    fs::set_permissions(tree.join("file 1"), fs::Permissions::from_mode(0o755)).unwrap();
    let home = host.path("") + "/";
    let sent = host.try_upload(&tree, &home).await.ok();
    assert!(!sent.text().contains("in place"), "{}", sent.text());
    assert!(host.remote("tree/link").is_symlink());
    assert_eq!(host.litter(), [""; 0]);
}
