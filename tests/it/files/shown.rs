//! The memory of the files that each client was shown.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::Path,
};

use mcp_ssh_sessions::{
    session::{
        caller::Caller, error::SessionError, live::LiveSession, shown_files::ShownFile,
        work::RemoteRead,
    },
    ssh::{
        command::output::ReaderId,
        transfer::{FileView, ReadRequest, Start},
    },
};

use crate::support::{
    checks::counted,
    fixture::{TestHost, registry, session},
    open_sshd::OpenSshd,
};

/// Session of a host with a client of its own.
struct Shown {
    host: TestHost<OpenSshd>,
    session: std::sync::Arc<LiveSession>,
    caller: Caller,
}

impl Shown {
    async fn start(host: TestHost<OpenSshd>) -> Self {
        let registry = registry(&host.config);
        let caller = Caller {
            reader: ReaderId::unique(),
            ..Caller::default()
        };

        Self {
            session: session(&registry, "host").await,
            host,
            caller,
        }
    }

    /// Reads a page, and returns what is remembered of the file with this resolved path.
    async fn read(&self, path: &str, start: Start, resolved: &Path) -> Option<ShownFile> {
        self.try_read(path, start)
            .await
            .unwrap_or_else(|error| panic!("{path}: {error:?}"));

        self.shown(resolved)
    }

    async fn try_read(&self, path: &str, start: Start) -> Result<FileView, SessionError> {
        let request = ReadRequest {
            path: String::new(),
            directory: Vec::new(),
            start,
            limit: 2,
        };
        let work = RemoteRead {
            path: path.to_owned(),
            sudo: false,
        };
        let permit = self.session.permit(work, &self.caller).await?;
        self.session.read_file(request, &permit, &self.caller).await
    }

    fn shown(&self, resolved: &Path) -> Option<ShownFile> {
        let resolved = resolved.as_os_str().as_encoded_bytes();
        self.session.shown_file(self.caller.reader, resolved)
    }
}

/// Size and time of a file, and the SHA-256 if it is `whole`.
fn state(path: &Path, whole: bool) -> ShownFile {
    let modified = u32::try_from(fs::metadata(path).unwrap().mtime()).unwrap();
    let state = ShownFile::whole(&fs::read(path).unwrap(), Some(modified));
    ShownFile {
        sha256: state.sha256.filter(|_| whole),
        ..state
    }
}

/// Reads files by paths that begin in `base`.
async fn reads_are_remembered(bench: &Shown, base: &Path) {
    let folder = bench.host.home.canonicalize().unwrap();
    let typed = |name: &str| base.join(name).to_str().unwrap().to_owned();
    let path = |name: &str| folder.join(name);
    fs::write(path("text"), "one\r\ntwo\nthree").unwrap();
    fs::write(path("image"), b"GIF89a\x01\0\x01\0").unwrap();
    fs::write(path("binary"), b"\x1f\x8b\x08\0\0\x01").unwrap();
    fs::write(path("empty"), "").unwrap();
    fs::write(path("long"), counted(120_000, |n| format!("line {n}\n"))).unwrap();
    fs::write(path("two\nlines\n"), "x\n").unwrap();
    fs::create_dir(path("folder")).unwrap();
    symlink("../text", path("folder/link")).unwrap();
    symlink("folder", path("way")).unwrap();

    let (first, last) = (Start::Line(1), Start::FromEnd(1));
    for (name, start, resolved, whole) in [
        ("text", first, "text", true),
        ("text", last, "text", true),
        ("folder/../text", first, "text", true),
        ("way/link", first, "text", true),
        ("empty", first, "empty", true),
        ("empty", last, "empty", true),
        ("image", last, "image", true),
        ("two\nlines\n", first, "two\nlines\n", true),
        ("long", first, "long", false),
        ("long", last, "long", false),
    ] {
        let resolved = path(resolved);
        let shown = bench.read(&typed(name), start, &resolved).await;
        assert_eq!(shown, Some(state(&resolved, whole)), "{name} {start:?}");
    }

    let binary = bench.read(&typed("binary"), first, &path("binary")).await;
    assert_eq!(binary.map(|file| file.size), Some(Some(6)));
    let directory = bench.read(&typed("folder"), first, &path("folder")).await;
    assert_eq!(directory, None);
    assert_eq!(bench.shown(&path("way/link")), None);
}

#[tokio::test]
async fn what_was_read_is_remembered_by_resolved_path() {
    let bench = Shown::start(TestHost::openssh()).await;
    reads_are_remembered(&bench, Path::new("")).await;
    let bench = Shown::start(TestHost::openssh()).await;
    reads_are_remembered(&bench, Path::new("~")).await;
}

#[tokio::test]
async fn what_was_read_without_sftp_is_remembered() {
    let bare = TestHost::openssh_with(|settings| settings.sftp = "/bin/false".into());
    let bench = Shown::start(bare).await;
    // SSH and SFTP do not have the same home here.
    reads_are_remembered(&bench, &bench.host.home).await;
}

#[tokio::test]
async fn the_latest_read_of_each_client_counts() {
    let bench = Shown::start(TestHost::openssh()).await;
    let path = bench.host.home.canonicalize().unwrap().join("file");
    fs::write(&path, "old\n").unwrap();
    assert_eq!(bench.shown(&path), None);
    let old = bench.read("file", Start::Line(1), &path).await.unwrap();

    let other = Caller {
        reader: ReaderId::unique(),
        ..Caller::default()
    };
    fs::write(&path, "new\n").unwrap();
    let bytes = path.as_os_str().as_encoded_bytes();
    assert_eq!(bench.session.shown_file(other.reader, bytes), None);
    assert!(!old.matches(b"new\n", old.modified));
    assert_eq!(bench.shown(&path), Some(old));

    let new = bench.read("file", Start::Line(1), &path).await.unwrap();
    assert!(new.matches(b"new\n", None) && !new.matches(b"old\n", old.modified));
}

#[tokio::test]
async fn a_failed_read_is_not_remembered() {
    let bench = Shown::start(TestHost::openssh()).await;
    let path = bench.host.home.canonicalize().unwrap().join("file");
    fs::write(&path, "old\n").unwrap();
    let old = bench.read("file", Start::Line(1), &path).await;

    fs::remove_file(&path).unwrap();
    let failed = bench.try_read("file", Start::Line(1)).await;
    assert!(failed.is_err());
    assert_eq!(bench.shown(&path), old);
}
