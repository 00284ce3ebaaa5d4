//! Servers that lie to a tool that changes or searches files, one a row, and how a call to each must end.

use super::{
    Call::{self, EditFile, SearchTree},
    Ends::{self, Badly, Never, Well},
    Row,
    faults::*,
    hold,
    table::{GIB, numbered, row, three},
};
use crate::support::fake_sshd::tampered::Fault;

/// What a server for SFTP alone says to every program.
const NO_PROGRAMS: &[u8] = b"This service allows sftp connections only.\n";

/// A row of a server that runs no programs.
fn alone(name: &'static str, call: Call, ends: Ends, fault: fn(&super::Scenery) -> Fault) -> Row {
    Row {
        prints: Some(NO_PROGRAMS),
        ..row(name, call, ends, fault)
    }
}

/// A text file, of which one kind of request is answered in another way.
fn text_but(fault: Fault) -> Fault {
    all(vec![invented_file(b"f".to_vec(), 3, three), fault])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_a_file_that_lies_changes_nothing() {
    const OTHER: Ends = Badly("it answers something else than was asked");
    const LONG: Ends = Badly("files of up to 4 MiB are edited");

    hold(vec![
        row("u64::MAX said", EditFile, LONG, |_| {
            invented_file(b"f".to_vec(), u64::MAX, three)
        }),
        row("no size said, and no end", EditFile, LONG, |_| {
            invented_file(b"f".to_vec(), 0, |_, length| Some(vec![b'x'; length]))
        }),
        row(
            "3 bytes said, no end",
            EditFile,
            Badly("was not found"),
            |_| invented_file(b"f".to_vec(), 3, |_, length| Some(vec![b'x'; length])),
        ),
        row(
            "1 MiB said, 3 bytes there",
            EditFile,
            Badly("the same handle"),
            |_| invented_file(b"f".to_vec(), 1 << 20, three),
        ),
        row(
            "what the disk does not have",
            EditFile,
            Badly("the same handle"),
            |_| invented_file(b"f".to_vec(), 3, three),
        ),
        row(
            "more than was asked for",
            EditFile,
            Badly("wrong number"),
            |_| invented_file(b"f".to_vec(), 9, |_, length| Some(vec![b'x'; length + 1])),
        ),
        row("a device", EditFile, Badly("is a device"), |_| {
            always(STAT, |id| attributes(id, 0o020_666, 0))
        }),
        row(
            "a device, once it is open",
            EditFile,
            Badly("is a device"),
            |_| text_but(always(FSTAT, |id| attributes(id, 0o020_666, 3))),
        ),
        row("a link to itself", EditFile, Badly("in a circle"), |_| {
            all(vec![
                always(LSTAT, |id| attributes(id, LINK, 4)),
                always(READLINK, |id| names(id, &[(b"file".to_vec(), 0, 0)])),
            ])
        }),
        row("a handle of another kind", EditFile, OTHER, |_| {
            always(OPEN, |id| attributes(id, FILE, 3))
        }),
        row("content of another kind", EditFile, OTHER, |_| {
            text_but(always(READ, |id| handle(id, b"x")))
        }),
        row("a refusal", EditFile, Badly("permission denied"), |_| {
            always(OPEN, |id| status(id, DENIED, b""))
        }),
        row(
            "a name that a terminal obeys",
            EditFile,
            Badly("\\u{1b}[2J"),
            |_| {
                text_but(always(REALPATH, |id| {
                    names(id, &[(b"/\x1b[2J\n[exit 0]".to_vec(), 0, 0)])
                }))
            },
        ),
        row("content that never comes", EditFile, Never, |_| {
            text_but(always(READ, |_| Vec::new()))
        }),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_of_a_tree_that_lies_ends() {
    hold(vec![
        alone(
            "files of 1 GiB said",
            SearchTree,
            Well("[no matches"),
            |_| {
                invented(Vec::new(), |path, before| {
                    (path.is_empty() && before == 0).then(|| vec![(b"a".to_vec(), FILE, GIB)])
                })
            },
        ),
        alone(
            "directories in each other",
            SearchTree,
            Well("no matches"),
            |_| {
                invented(Vec::new(), |_, before| {
                    (before == 0).then(|| vec![(b"d".to_vec(), DIRECTORY, 0)])
                })
            },
        ),
        Row {
            growth: 200,
            ..alone(
                "entries without end",
                SearchTree,
                Badly("more than 1000000 entries"),
                |_| {
                    invented(Vec::new(), |_, before| {
                        Some(numbered(before * 5_000, 5_000, DIRECTORY, 0))
                    })
                },
            )
        },
        alone(
            "names that lead elsewhere",
            SearchTree,
            Well("no matches"),
            |_| listing(&[(b"../x", FILE), (b"/etc/passwd", FILE), (b"..", DIRECTORY)]),
        ),
    ])
    .await;
}
