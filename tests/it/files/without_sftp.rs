//! `ssh_read` on a server that has no SFTP: the same answers, by the programs of the host.

use std::{fs, os::unix::fs::symlink};

use serde_json::{Value, json};

use crate::support::{
    checks::{assert_refused, counted, plain},
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
    open_sshd::OpenSshd,
};

/// Two clients of one machine: with SFTP and without.
pub(super) struct Both {
    pub(super) with: ConnectedHost<OpenSshd>,
    pub(super) without: ConnectedHost<OpenSshd>,
}

impl Both {
    pub(super) async fn start() -> Self {
        let bare = TestHost::openssh_with(|settings| {
            settings.sftp = "/bin/false".into();
        });
        Self {
            with: TestHost::openssh().connect().await,
            without: bare.connect().await,
        }
    }

    /// Writes a file, of which both are told the absolute path.
    fn write(&self, name: &str, content: &[u8]) -> String {
        let path = self.with.remote(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Reads with SFTP and without, and asserts that the answers are the same.
    pub(super) async fn same(&mut self, path: &str, more: Value) -> ToolResult {
        let expected = self.with.read(path, more.clone()).await;
        let result = self.without.read(path, more.clone()).await;
        assert_eq!(result.0["content"], expected.0["content"], "{path} {more}");
        assert_eq!(result.0["_meta"], expected.0["_meta"], "{path} {more}");
        result
    }
}

#[tokio::test]
async fn a_file_is_read_as_with_sftp() {
    let mut both = Both::start().await;
    for (name, content) in [
        ("plain", &b"one\n\ttwo\n"[..]),
        ("empty", b""),
        ("crlf", b"a\r\nb\r\n"),
        ("latin", b"caf\xe9\nx"),
        ("utf16", b"\xff\xfea\0\n\0b\0\n\0"),
        ("binary", b"\x1f\x8b\x08\0\0\x01"),
        ("image", b"GIF89a\x01\0\x01\0"),
        ("it's $(here); `x`\n\"é\"", b"quoted\n"),
        ("-n", b"option\n"),
    ] {
        let path = both.write(name, content);
        for more in [
            plain(),
            json!({"offset": -1}),
            json!({"offset": 2, "limit": 1}),
        ] {
            both.same(&path, more).await;
        }
    }

    let long = counted(200_000, |number| {
        format!("line {number} {}\n", "x".repeat(20))
    });
    let path = both.write("long", long.as_bytes());
    for more in [
        json!({"offset": -3}),
        json!({"offset": -1_500, "limit": 10}),
        json!({"offset": 100, "limit": 3}),
    ] {
        both.same(&path, more).await;
    }

    // The script has printed the whole file, so the number of its lines is known here.
    let far = json!({"offset": 150_000, "limit": 2});
    let far = both.without.read(&path, far).await.ok();
    assert!(
        far.text().starts_with("150000\tline 149999 "),
        "{}",
        far.text()
    );
    assert!(far.text().contains("lines 150000–150001 of 200000"));

    both.same("/proc/version", plain()).await;

    let longer = long.repeat(3);
    let path = both.write("longer", longer.as_bytes());
    for (offset, first) in [(450_000, "450000\tline 49999 "), (-200_000, "line 0 ")] {
        let more = json!({"offset": offset, "limit": 2});
        let read = both.without.read(&path, more).await.ok();
        assert!(read.text().contains(first), "{offset}: {}", read.text());
    }
}

#[tokio::test]
async fn a_directory_is_listed_as_with_sftp() {
    let mut both = Both::start().await;
    let folder = both.with.remote("folder");
    fs::create_dir_all(folder.join("sub dir")).unwrap();
    fs::create_dir_all(folder.join(".hidden")).unwrap();
    symlink("no\nwhere", folder.join("dangling")).unwrap();
    for name in ["-l", "it's", "two\nlines", "*", "é"] {
        fs::write(folder.join(name), name).unwrap();
    }

    let folder = folder.to_str().unwrap().to_owned();
    for more in [
        plain(),
        json!({"offset": 3, "limit": 2}),
        json!({"offset": -1}),
    ] {
        both.same(&folder, more).await;
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_without_sftp() {
    let mut both = Both::start().await;
    both.with
        .exec("cd; mkfifo fifo; ln -s nothing dangling", plain())
        .await;
    let path = |name: &str| both.with.remote(name).to_str().unwrap().to_owned();
    for (path, parts) in [
        (path("missing"), &["no such file", "ssh_read"][..]),
        (path("dangling"), &["no such file"]),
        (path("fifo"), &["not a regular file", "ssh_exec"]),
        ("/dev/zero".to_owned(), &["not a regular file"]),
        (String::new(), &["path is empty"]),
    ] {
        assert_refused(&both.without.read(&path, plain()).await, parts);
    }

    both.without.shell("cd /proc/self", plain()).await;
    let relative = both.without.read("status", json!({"limit": 1})).await.ok();
    assert!(
        relative.text().starts_with("1\tName:\t"),
        "{}",
        relative.text()
    );
}
