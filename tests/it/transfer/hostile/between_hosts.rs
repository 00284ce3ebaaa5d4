//! Hostile servers as the source of a copy to another host: nothing outside the target is written there.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use super::{faults::*, harmless, litter, same, snapshot};
use crate::support::{
    checks::assert_refused,
    disk::names,
    fake_sshd::{FakeSshd, FakeSshdSettings, tampered::Fault},
    fixture::TestHost,
    keys,
    mcp_client::{McpClient, ToolResult},
    open_sshd::OpenSshd,
    ssh_config,
};

/// No call takes longer, however slow the machine.
const DEADLINE: Duration = Duration::from_secs(300);

/// A hostile server, the session `web`, and a real one, the session `db`.
struct Hostile {
    mcp: McpClient,
    _web: FakeSshd,
    db: TestHost<OpenSshd>,
    folder: TempDir,
}

impl Hostile {
    async fn with(fault: fn() -> Fault) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let key = keys::ed25519();
        keys::write_private_key(&at("id_ed25519"), &key, None);

        fs::create_dir_all(at("home/tree/sub")).unwrap();
        fs::write(at("home/file"), vec![b'f'; 1_000_000]).unwrap();
        fs::write(at("home/tree/first"), "first").unwrap();
        fs::write(at("home/tree/long"), vec![b'l'; 1_000_000]).unwrap();
        fs::write(at("home/tree/sub/inner"), "inner").unwrap();

        let web = FakeSshd::start(FakeSshdSettings {
            authorized_keys: vec![key.public_key().clone()],
            home: Some(at("home")),
            fault: Some(Box::new(fault)),
            ..FakeSshdSettings::default()
        });

        let identity = format!("IdentityFile {}", at("id_ed25519").display());
        let config = web.write_ssh_config(folder.path(), "web", &identity);
        let db = TestHost::openssh();
        let other = fs::read_to_string(&db.config).unwrap();
        let both = fs::read_to_string(config).unwrap() + &other.replace("Host host", "Host db");
        let config = ssh_config::write(folder.path(), "both", &both);
        fs::write(db.remote("victim"), "old").unwrap();
        fs::write(db.remote("target"), "old").unwrap();

        Self {
            mcp: McpClient::start(&config, folder.path()).await,
            _web: web,
            db,
            folder,
        }
    }

    async fn copy(&mut self, from: &str, to: &str) -> ToolResult {
        let arguments: Value = json!({"localPath": format!("web:~/{from}"), "remotePath": to,
                                      "session": "db"});
        let call = self.mcp.call("ssh_upload", arguments);
        let result = timeout(DEADLINE, call).await.expect("it ends");
        harmless(from, &result.text());
        assert!(result.text().len() < 10_000, "{}", result.text());
        assert!(litter(&self.db.home).is_empty(), "{from}");
        result
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_lead_elsewhere_are_not_written() {
    let mut bench = Hostile::with(|| {
        listing(&[
            (b"..", DIRECTORY),
            (b".", FILE),
            (b"../victim", FILE),
            (b"../../victim", DIRECTORY),
            (b"/tmp/mcp-ssh-sessions-victim", FILE),
            (b"sub/../../victim", FILE),
            (b"a\0b", FILE),
            (b"", FILE),
            (b"\x1b[2J", FILE),
            (b"back\\..\\slash", FILE),
            (b"directory", DIRECTORY),
            (b"good", FILE),
        ])
    })
    .await;

    let result = bench.copy("tree/.", "copy").await;
    assert_refused(
        &result,
        &["6 entries could not be moved", "leads elsewhere"],
    );

    let copy = bench.db.remote("copy");
    assert_eq!(
        names(&copy),
        ["\u{1b}[2J", "back\\..\\slash", "directory", "good"]
    );
    assert_eq!(fs::read(copy.join("directory/inner")).unwrap(), EVIL);
    assert_eq!(names(&bench.db.home), ["copy", "target", "victim"]);
    assert_eq!(fs::read(bench.db.remote("victim")).unwrap(), b"old");
    assert!(!Path::new("/tmp/mcp-ssh-sessions-victim").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_through_a_link_from_the_source() {
    // The same name is a link and a directory, in either order.
    for entries in [
        [(&b"name"[..], LINK), (b"name", DIRECTORY)],
        [(b"name", DIRECTORY), (b"name", LINK)],
    ] {
        let mut bench = match entries[0].1 {
            LINK => Hostile::with(|| linking("..", &[(b"name", LINK), (b"name", DIRECTORY)])).await,
            _ => Hostile::with(|| linking("..", &[(b"name", DIRECTORY), (b"name", LINK)])).await,
        };

        let result = bench.copy("tree/.", "copy").await;
        assert_refused(&result, &["1 entry could not be moved", "the same name"]);
        assert_eq!(names(&bench.db.home), ["copy", "target", "victim"]);
    }

    // The link is there from an earlier copy.
    let mut bench = Hostile::with(|| listing(&[(b"name", DIRECTORY)])).await;
    fs::create_dir(bench.db.remote("copy")).unwrap();
    std::os::unix::fs::symlink("..", bench.db.remote("copy/name")).unwrap();
    let result = bench.copy("tree/.", "copy").await;
    assert_refused(&result, &["there is a link or a file where a directory"]);
    assert_eq!(names(&bench.db.home), ["copy", "target", "victim"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_without_end_is_given_up() {
    let mut bench = Hostile::with(|| {
        let mut count = 0_u64;
        invented(Vec::new(), move |_, _| {
            Some(
                (0..500)
                    .map(|_| {
                        count += 1;
                        (format!("{count:0200}").into_bytes(), FILE, 4)
                    })
                    .collect(),
            )
        })
    })
    .await;

    let result = bench.copy("tree/.", "copy").await;
    assert_refused(&result, &["the names of the tree have more than"]);
    assert_eq!(names(&bench.db.home), ["copy", "target", "victim"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_without_end_are_given_up() {
    let mut bench = Hostile::with(|| {
        invented(Vec::new(), |_, before| {
            (before == 0).then(|| vec![(b"deeper".to_vec(), DIRECTORY, 0)])
        })
    })
    .await;

    let result = bench.copy("tree/.", "copy").await;
    assert_refused(&result, &["directories deep"]);
}

/// What a server does with a file, and what the error says.
type Lie = (&'static str, fn() -> Fault, &'static [&'static str]);

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_lies_leaves_the_old_one_whole() {
    let rows: [Lie; 4] = [
        (
            "shorter than it says",
            || {
                invented_file(b"f".to_vec(), 5_000_000, |offset, length| {
                    (offset < 1_000_000).then(|| vec![b'x'; length])
                })
            },
            &["session \"web\"", "where 5000000 were expected"],
        ),
        (
            "no size and no content",
            || invented_file(b"f".to_vec(), u64::MAX, |_, _| None),
            &["session \"web\"", "has 0 bytes where"],
        ),
        (
            "the channel ends",
            || answering(READ, |before, _, honest| (before < 2).then_some(honest)),
            &["session \"web\"", "the SFTP server ended"],
        ),
        (
            "wrong answers",
            || always(READ, |id| handle(id, b"x")),
            &["session \"web\"", "something else than was asked"],
        ),
    ];

    for (name, fault, parts) in rows {
        let mut bench = Hostile::with(fault).await;
        let result = bench.copy("file", "target").await;
        assert_refused(&result, parts);
        let target = fs::read(bench.db.remote("target")).unwrap();
        assert_eq!(target, b"old", "{name}");
        assert_eq!(names(&bench.db.home), ["target", "victim"], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_content_than_a_file_has_is_not_written() {
    let mut bench = Hostile::with(|| {
        invented_file(b"f".to_vec(), 100_000, |_, length| Some(vec![b'x'; length]))
    })
    .await;

    bench.copy("file", "target").await.ok();
    assert_eq!(
        fs::read(bench.db.remote("target")).unwrap(),
        vec![b'x'; 100_000]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_cannot_be_opened_is_named_with_its_session() {
    for (code, reason) in [(2, "no such file"), (DENIED, "permission denied")] {
        let fault: fn() -> Fault = if code == DENIED {
            || refusing_to_open(DENIED)
        } else {
            || refusing_to_open(2)
        };

        let mut bench = Hostile::with(fault).await;
        let result = bench.copy("tree", "copy").await;
        assert_refused(
            &result,
            &[
                "2 entries could not be moved",
                "\"first\": opening it: ",
                "\"long\": opening it: ",
                reason,
                "(session web)",
            ],
        );

        let copy = snapshot(&bench.db.remote("copy"), Path::new("-"));
        let paths: Vec<_> = copy.keys().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(paths, ["sub", "sub/inner"]);
    }
}

/// Opens no file whose path has `/first` or `/long`.
fn refusing_to_open(code: u32) -> Fault {
    answering(OPEN, move |_, asked, honest| {
        let refused = [&b"/first"[..], b"/long"]
            .iter()
            .any(|end| asked.string().ends_with(end));
        Some(if refused {
            status(asked.id, code, b"not for you")
        } else {
            honest
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_with_room_for_one_open_file_is_read_file_by_file() {
    let mut bench = Hostile::with(|| {
        let mut open = 0_usize;
        Box::new(move |asked, honest| {
            Some(match asked.kind {
                OPEN | OPENDIR if open > 0 => status(asked.id, FAILURE, b"too many open files"),
                OPEN | OPENDIR => {
                    open += 1;
                    honest
                }
                CLOSE => {
                    open -= 1;
                    honest
                }
                _ => honest,
            })
        })
    })
    .await;

    let lots = bench.folder.path().join("home/lots");
    for number in 0..12 {
        fs::create_dir_all(lots.join(format!("{number}"))).unwrap();
        fs::write(lots.join(format!("{number}/long")), vec![b'l'; 300_000]).unwrap();
        fs::write(lots.join(format!("{number}/short")), "short").unwrap();
    }

    bench.copy("lots", "copy").await.ok();
    assert!(same(&lots, &bench.db.remote("copy")));
}
