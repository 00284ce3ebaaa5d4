//! The servers, one a row, and how a call to each must end.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::{
    Call::{self, DownloadFile, DownloadTree, DownloadTreeAgain, UploadFile, UploadTree},
    Ends::{self, Badly, Never, Same, Well},
    GROWTH, Row, Scenery,
    faults::*,
    hold,
};
use crate::support::fake_sshd::tampered::Fault;

pub(super) const GIB: u64 = 1 << 30;

pub(super) fn row(name: &'static str, call: Call, ends: Ends, fault: fn(&Scenery) -> Fault) -> Row {
    Row {
        name,
        call,
        ends,
        fault,
        growth: GROWTH,
        poses_as_openssh: false,
        prints: None,
    }
}

/// A path of the directory that nothing may be written into.
fn outside(scenery: &Scenery, name: &str) -> Vec<u8> {
    scenery.outside.join(name).as_os_str().as_bytes().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn names_that_lead_elsewhere_lead_nowhere() {
    const PATH: Ends = Badly("the name is a path and leads elsewhere");

    hold(vec![
        row("a file called ../x", DownloadTree, PATH, |_| {
            listing(&[(b"../x", FILE), (b"ok", FILE)])
        }),
        row("a directory called ../x", DownloadTree, PATH, |_| {
            listing(&[(b"../x", DIRECTORY)])
        }),
        row("a link called ../x", DownloadTree, PATH, |_| {
            listing(&[(b"../x", LINK)])
        }),
        row(
            "a file called ../../outside/victim",
            DownloadTree,
            PATH,
            |_| {
                listing(&[
                    (b"../../outside/victim", FILE),
                    (b"x/../../../outside/victim", FILE),
                ])
            },
        ),
        row("a file called a/b", DownloadTree, PATH, |_| {
            listing(&[(b"a/b", FILE), (b"a", DIRECTORY)])
        }),
        row("an absolute path", DownloadTree, PATH, |scenery| {
            listing(&[
                (&outside(scenery, "new"), FILE),
                (&outside(scenery, "directory"), DIRECTORY),
            ])
        }),
        row(". and .. as files", DownloadTree, Well(" 1 file,"), |_| {
            listing(&[(b".", FILE), (b"..", FILE), (b"ok", FILE)])
        }),
        row(
            ". and .. as directories",
            DownloadTree,
            Well(" 1 file,"),
            |_| listing(&[(b".", DIRECTORY), (b"..", DIRECTORY), (b"ok", FILE)]),
        ),
        row(
            "an empty name",
            DownloadTree,
            Badly("does not stand for a file in the directory"),
            |_| listing(&[(b"", FILE)]),
        ),
        row(
            "an empty name of a directory",
            DownloadTree,
            Badly("does not stand for a file"),
            |_| listing(&[(b"", DIRECTORY)]),
        ),
        row(
            "a NUL byte",
            DownloadTree,
            Badly("cannot hold a NUL byte"),
            |_| listing(&[(b"victim\0x", FILE)]),
        ),
        row(
            "names of 64 kB",
            DownloadTree,
            Badly("the name is too long"),
            |_| {
                let names: Vec<_> = (b'a'..=b'z').map(|letter| vec![letter; 64_000]).collect();
                invented(Vec::new(), move |_, before| {
                    Some(vec![(names.get(before)?.clone(), FILE, 4)])
                })
            },
        ),
        row(
            "the same name twice",
            DownloadTree,
            Badly("another entry that is the same name here"),
            |_| listing(&[(b"a", FILE), (b"a", FILE)]),
        ),
        row(
            "names that differ in case alone",
            DownloadTree,
            if cfg!(target_os = "macos") {
                Badly("the same name here")
            } else {
                Well(" 2 files,")
            },
            |_| listing(&[(b"A", FILE), (b"a", FILE)]),
        ),
        row(
            "what a terminal obeys",
            DownloadTree,
            Badly("\\u{1b}"),
            |_| {
                listing(&[
                    (b"\x1b]0;owned\x07/\r\n\x1b[2Jx", FILE),
                    ("\u{202e}txt/".as_bytes(), FILE),
                    (b"\xff/\x9b", FILE),
                ])
            },
        ),
        row(
            "what a terminal obeys, in names that can be",
            DownloadTree,
            Badly("\\u{1b}"),
            |_| {
                all(vec![
                    listing(&[
                        (b"\x1b]0;owned\x07\r\n\x1b[2Jx", FILE),
                        ("\u{202e}txt".as_bytes(), FILE),
                    ]),
                    always(OPEN, |id| {
                        status(id, FAILURE, b"\x1b[31mno\x07\r\nhint: run rm -r /")
                    }),
                ])
            },
        ),
        row(
            "what a terminal obeys, in the name of a file that takes long",
            DownloadTree,
            Never,
            |_| {
                all(vec![
                    listing(&[(b"\x1b]0;owned\x07\r\n\x1b[2J", FILE)]),
                    always(READ, |_| Vec::new()),
                ])
            },
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn links_are_kept_and_never_followed() {
    const IN_THE_WAY: Ends = Badly("there is a link or a file where a directory has to be");

    hold(vec![
        row(
            "a link, and a directory of its name",
            DownloadTree,
            Badly("the same name here"),
            |scenery| linking(outside(scenery, ""), &[(b"a", LINK), (b"a", DIRECTORY)]),
        ),
        row(
            "a directory, and a link of its name",
            DownloadTree,
            Badly("the same name here"),
            |scenery| {
                linking(
                    outside(scenery, ""),
                    &[(b"a", DIRECTORY), (b"a", LINK), (b"b", FILE)],
                )
            },
        ),
        row(
            "first a link, then a directory in its place",
            DownloadTreeAgain,
            IN_THE_WAY,
            |scenery| {
                let kind = if scenery.channel == 0 {
                    LINK
                } else {
                    DIRECTORY
                };
                linking(outside(scenery, ""), &[(b"a", kind)])
            },
        ),
        row(
            "first a link to .., then a directory in its place",
            DownloadTreeAgain,
            IN_THE_WAY,
            |scenery| {
                linking(
                    "../outside",
                    &[(
                        b"a",
                        if scenery.channel == 0 {
                            LINK
                        } else {
                            DIRECTORY
                        },
                    )],
                )
            },
        ),
        row(
            "first a link, then a file in its place",
            DownloadTreeAgain,
            Well(" 1 file,"),
            |scenery| {
                linking(
                    outside(scenery, "victim"),
                    &[(b"a", if scenery.channel == 0 { LINK } else { FILE })],
                )
            },
        ),
        row(
            "first a link, then another",
            DownloadTreeAgain,
            Well(" 1 link,"),
            |scenery| linking(outside(scenery, "victim"), &[(b"a", LINK)]),
        ),
        row(
            "links that lead outside",
            DownloadTree,
            Well(" 2 links,"),
            |_| linking("../../outside", &[(b"a", LINK), (b"b", LINK)]),
        ),
        row(
            "a link's target with a NUL byte",
            DownloadTree,
            Badly("making the link"),
            |_| linking(b"a\0b", &[(b"a", LINK)]),
        ),
        row(
            "a link without a target",
            DownloadTree,
            Badly("does not say where the link leads"),
            |_| linking("", &[(b"a", LINK)]),
        ),
        row(
            "a link's target of 100 kB",
            DownloadTree,
            Badly("making the link"),
            |_| linking(vec![b'x'; 100_000], &[(b"a", LINK)]),
        ),
        row(
            "a link that is answered with no name",
            DownloadTree,
            Badly("it answers something else"),
            |_| {
                all(vec![
                    linking("x", &[(b"a", LINK)]),
                    always(READLINK, |id| names(id, &[])),
                ])
            },
        ),
        Row {
            // All of them may be on their way at once.
            growth: 100,
            ..row(
                "many links, each with a packet full of targets",
                DownloadTree,
                Well("links"),
                |_| {
                    let many: Vec<Entry> = vec![(b"x".to_vec(), LINK, 0); 20_000];
                    let links = |_: &[u8], before| {
                        (before < 3).then(|| numbered(before * 100, 100, LINK, 0))
                    };
                    all(vec![
                        invented(Vec::new(), links),
                        always(READLINK, move |id| names(id, &many)),
                    ])
                },
            )
        },
    ])
    .await;
}

/// Entries with numbers as their names.
pub(super) fn numbered(from: usize, count: usize, mode: u32, length: u64) -> Vec<Entry> {
    (from..from + count)
        .map(|number| (format!("{number:07}").into_bytes(), mode, length))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn trees_without_end_end() {
    hold(vec![
        Row {
            growth: 200,
            ..row(
                "a directory without end",
                DownloadTree,
                Badly("more than 1000000 entries"),
                |_| {
                    invented(Vec::new(), |_, before| {
                        Some(numbered(before * 5_000, 5_000, FILE, 0))
                    })
                },
            )
        },
        Row {
            growth: 200,
            ..row(
                "one name without end",
                DownloadTree,
                Badly("more than 1000000 entries"),
                |_| {
                    let many: Vec<Entry> = vec![(b"a".to_vec(), FILE, 0); 5_000];
                    invented(Vec::new(), move |_, _| Some(many.clone()))
                },
            )
        },
        Row {
            growth: 200,
            ..row(
                "long names without end",
                DownloadTree,
                Badly("have more than 100000000 bytes"),
                |_| {
                    invented(Vec::new(), |_, before| {
                        Some(vec![(
                            vec![b'a' + u8::try_from(before % 26).unwrap(); 100_000],
                            FILE,
                            0,
                        )])
                    })
                },
            )
        },
        row(
            "nothing without end",
            DownloadTree,
            Well(" 0 files,"),
            |_| invented(Vec::new(), |_, _| Some(Vec::new())),
        ),
        row(
            "a directory in each directory",
            DownloadTree,
            Badly("more than 256 directories deep"),
            |_| {
                invented(Vec::new(), |_, before| {
                    (before == 0).then(|| vec![(b"d".to_vec(), DIRECTORY, 0)])
                })
            },
        ),
        row(
            "two directories in each directory",
            DownloadTree,
            Badly("the rest was not tried"),
            |_| {
                invented(Vec::new(), |_, before| {
                    (before == 0).then(|| numbered(0, 2, DIRECTORY, 0))
                })
            },
        ),
        row(
            "a directory that is in itself as a link",
            DownloadTree,
            Well(" 1 link,"),
            |_| linking(".", &[(b"self", LINK)]),
        ),
        row(
            "long names in one another",
            DownloadTree,
            Badly("its path is longer than 16384 bytes"),
            |_| {
                let directory = (vec![b'd'; 250], DIRECTORY, 0);
                let listing = [numbered(0, 20, FILE, 0), vec![directory]].concat();
                invented(Vec::new(), move |_, before| {
                    (before == 0).then(|| listing.clone())
                })
            },
        ),
        Row {
            growth: 300,
            ..row(
                "sixty directories without end",
                DownloadTree,
                Badly("more than 1000000 entries"),
                |_| {
                    invented(Vec::new(), |path, before| match (path.is_empty(), before) {
                        (true, 0) => Some(numbered(0, 60, DIRECTORY, 0)),
                        (true, _) => None,
                        (false, _) => Some(numbered(before * 10_000, 10_000, FILE, 0)),
                    })
                },
            )
        },
        Row {
            growth: 200,
            // Of other servers one answer after the other is asked for, and none would come.
            poses_as_openssh: true,
            ..row(
                "listings held back and sent the last first",
                DownloadTree,
                Badly("another entry"),
                |_| {
                    let listing =
                        |_: &[u8], before| (before < 20).then(|| numbered(0, 10_000, FILE, 0));
                    all(vec![invented(Vec::new(), listing), reversed(READDIR, 2, 8)])
                },
            )
        },
        // Ten seconds for each would be too long.
        row(
            "directories in one another that are never closed",
            DownloadTree,
            Well(" 0 files,"),
            |_| {
                let listing = |path: &[u8], before| {
                    (before == 0 && path.len() < 100).then(|| vec![(b"d".to_vec(), DIRECTORY, 0)])
                };
                all(vec![
                    invented(Vec::new(), listing),
                    answering(CLOSE, |_, _, _| Some(Vec::new())),
                ])
            },
        ),
        row(
            "a directory that cannot be listed",
            DownloadTree,
            Badly("permission denied"),
            |_| always(OPENDIR, |id| status(id, DENIED, b"")),
        ),
        row(
            "a listing that breaks off",
            DownloadTree,
            Badly("permission denied"),
            |_| {
                answering(READDIR, |before, asked, honest| {
                    Some(if before > 0 {
                        status(asked.id, DENIED, b"")
                    } else {
                        honest
                    })
                })
            },
        ),
        row(
            "listings of another kind",
            DownloadTree,
            Badly("it answers something else"),
            |_| always(READDIR, |id| handle(id, b"x")),
        ),
        row(
            "more names said than sent",
            DownloadTree,
            Badly("is not SFTP"),
            |_| {
                always(READDIR, |id| {
                    packet(
                        104,
                        &[
                            &id.to_be_bytes(),
                            &[0xff; 4],
                            &string(b"a"),
                            &string(b""),
                            &[0; 4],
                        ],
                    )
                })
            },
        ),
        row(
            "a directory that is not one",
            DownloadTree,
            Badly(""),
            |_| answering(STAT, |_, asked, _| Some(attributes(asked.id, FILE, 5))),
        ),
        row("no attributes at all", DownloadTree, Same, |_| {
            // The root alone: what it is must be known.
            answering(READDIR, |_, _, mut answer| {
                if answer[4] == 104 {
                    answer = without_attributes(&answer);
                }
                Some(answer)
            })
        }),
    ])
    .await;
}

/// A listing of names alone.
fn without_attributes(listing: &[u8]) -> Vec<u8> {
    let number = |at: usize| u32::from_be_bytes(*listing[at..].first_chunk().unwrap()) as usize;
    let (mut at, mut listed) = (13, Vec::new());

    for _ in 0..number(9) {
        let name = &listing[at + 4..at + 4 + number(at)];
        listed.extend([string(name), string(b""), vec![0; 4]].concat());
        at += 4 + name.len();
        at += 4 + number(at);

        // Size, owner, mode and times.
        assert_eq!(number(at), 0xf);
        at += 4 + 8 + 8 + 4 + 8;
    }

    packet(104, &[&listing[5..13], &listed])
}

/// Three bytes.
pub(super) fn three(offset: u64, _: usize) -> Option<Vec<u8>> {
    (offset == 0).then(|| b"abc".to_vec())
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn sizes_that_lie_cost_nothing() {
    const CHANGED: Ends = Badly("where 1073741824 were expected");
    const WRONG: Ends = Badly("it answers with a wrong number of bytes");
    const ROOM: Ends = Badly("there is room for");

    hold(vec![
        row("1 GiB said, 3 bytes sent", DownloadFile, CHANGED, |_| {
            invented_file(b"f".to_vec(), GIB, three)
        }),
        row("2^62 bytes said, and they come", DownloadFile, ROOM, |_| {
            invented_file(b"f".to_vec(), 1 << 62, |_, length| Some(vec![b'x'; length]))
        }),
        row("2^63 bytes said, 3 sent", DownloadFile, ROOM, |_| {
            invented_file(b"f".to_vec(), 1 << 63, three)
        }),
        row("u64::MAX bytes said, 3 sent", DownloadFile, ROOM, |_| {
            invented_file(b"f".to_vec(), u64::MAX, three)
        }),
        row(
            "u64::MAX bytes said, and they come",
            DownloadFile,
            ROOM,
            |_| {
                invented_file(b"f".to_vec(), u64::MAX, |_, length| {
                    Some(vec![b'x'; length])
                })
            },
        ),
        row(
            "3 bytes said, more there",
            DownloadFile,
            Well(" 3 bytes,"),
            |scenery| size(3, scenery),
        ),
        row(
            "a tree of files of 2^62 bytes, and they come",
            DownloadTree,
            ROOM,
            |_| tree_of(1 << 62, |_, length| Some(vec![b'x'; length])),
        ),
        row(
            "100 bytes said, 3 sent",
            DownloadFile,
            Badly("has 3 bytes where 100 were expected"),
            |_| invented_file(b"f".to_vec(), 100, three),
        ),
        row(
            "a page said, 3 bytes sent",
            DownloadFile,
            Badly("differs"),
            |_| invented_file(b"f".to_vec(), 4096, three),
        ),
        row(
            "a tree of files of a page, 3 bytes sent",
            DownloadTree,
            Well("not verified"),
            |_| tree_of(4096, three),
        ),
        row(
            "no size said, 3 bytes sent",
            DownloadFile,
            Well("not verified"),
            |_| invented_file(b"f".to_vec(), 0, three),
        ),
        row(
            "3 bytes said, none there",
            DownloadFile,
            Badly("has 0 bytes where 3 were expected"),
            |_| invented_file(b"f".to_vec(), 3, |_, _| None),
        ),
        row(
            "no size said, and no end",
            DownloadFile,
            Badly("which has no end"),
            |_| invented_file(b"f".to_vec(), 0, |_, length| Some(vec![b'x'; length])),
        ),
        row(
            "a size only where it is asked for by handle",
            DownloadFile,
            Badly(""),
            |_| {
                all(vec![
                    invented_file(b"f".to_vec(), GIB, three),
                    always(FSTAT, |id| attributes(id, FILE, 3)),
                ])
            },
        ),
        row(
            "more content than was asked for",
            DownloadFile,
            WRONG,
            |_| {
                invented_file(b"f".to_vec(), 1_000, |_, length| {
                    Some(vec![b'x'; length + 1])
                })
            },
        ),
        row(
            "much more content than was asked for",
            DownloadFile,
            WRONG,
            |_| invented_file(b"f".to_vec(), 1_000, |_, _| Some(vec![b'x'; 500_000])),
        ),
        row("no content, again and again", DownloadFile, WRONG, |_| {
            invented_file(b"f".to_vec(), 1_000, |_, _| Some(Vec::new()))
        }),
        row(
            "an end in the middle",
            DownloadFile,
            Badly("has 261120 bytes where 1000000"),
            |scenery| {
                let content = scenery.content.clone();
                invented_file(
                    b"f".to_vec(),
                    content.len() as u64,
                    move |offset, length| {
                        (offset < 261_120)
                            .then(|| content[usize::try_from(offset).unwrap()..][..length].to_vec())
                    },
                )
            },
        ),
        Row {
            growth: 8,
            ..row(
                "a byte at a time",
                DownloadFile,
                Well(" 10000 bytes,"),
                |scenery| {
                    let content = scenery.content.clone();
                    invented_file(b"f".to_vec(), 10_000, move |offset, _| {
                        Some(vec![content[usize::try_from(offset).unwrap()]])
                    })
                },
            )
        },
        row(
            "a tree of small files that are long",
            DownloadTree,
            Never,
            |_| {
                let mut tree = invented(Vec::new(), |_, before| {
                    (before < 10).then(|| numbered(before * 100, 100, FILE, 0))
                });
                let mut file =
                    invented_file(b"f".to_vec(), GIB, |_, length| Some(vec![b'x'; length]));
                Box::new(move |asked, honest| {
                    let of_file = matches!(asked.kind, OPEN | READ | FSTAT)
                        || asked.kind == STAT && !is_root(asked.string());
                    if of_file {
                        file(asked, honest)
                    } else {
                        tree(asked, honest)
                    }
                })
            },
        ),
        row(
            "a tree of files of u64::MAX bytes",
            DownloadTree,
            Well(" 300 files,"),
            |_| {
                invented(Vec::new(), |_, before| {
                    (before < 3).then(|| numbered(before * 100, 100, FILE, u64::MAX))
                })
            },
        ),
        row(
            "a tree whose handles come with much behind them",
            DownloadTree,
            Never,
            |_| {
                let tree = invented(Vec::new(), |_, before| {
                    (before < 10).then(|| numbered(before * 100, 100, FILE, 4))
                });
                let heavy = always(OPEN, |id| {
                    packet(
                        102,
                        &[&id.to_be_bytes(), &string(b"file"), &vec![0; 500_000]],
                    )
                });
                all(vec![
                    tree,
                    heavy,
                    answering(READ, |_, _, _| Some(Vec::new())),
                ])
            },
        ),
    ])
    .await;
}

/// A tree of three files that are said to have this length, with this content.
fn tree_of(length: u64, content: impl Fn(u64, usize) -> Option<Vec<u8>> + Send + 'static) -> Fault {
    let mut tree = invented(Vec::new(), move |_, before| {
        (before == 0).then(|| numbered(0, 3, FILE, length))
    });
    let mut file = invented_file(b"f".to_vec(), length, content);
    Box::new(move |asked, honest| {
        let of_file = matches!(asked.kind, OPEN | READ | FSTAT)
            || asked.kind == STAT && !is_root(asked.string());
        if of_file {
            file(asked, honest)
        } else {
            tree(asked, honest)
        }
    })
}

fn is_root(path: &[u8]) -> bool {
    path == b"tree/."
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn answers_are_taken_for_what_they_are() {
    const UNASKED: Ends = Badly("it answered a request that was not sent");
    const OTHER: Ends = Badly("it answers something else than was asked");
    const LENGTH: Ends = Badly("a packet has an impossible length");

    hold(vec![
        row("answers in reverse", DownloadFile, Same, |_| {
            reversed(READ, 4, 4)
        }),
        row(
            "answers in reverse, two at a time",
            DownloadFile,
            Same,
            |_| reversed(READ, 2, 4),
        ),
        row("acknowledgements in reverse", UploadFile, Same, |_| {
            reversed(WRITE, 4, 4)
        }),
        row(
            "every answer twice",
            DownloadFile,
            Badly("it sent its version again"),
            |_| Box::new(|_, honest| Some(honest.repeat(2))),
        ),
        row("content twice", DownloadFile, UNASKED, |_| {
            answering(READ, |_, _, honest| Some(honest.repeat(2)))
        }),
        row("an id that nobody used", DownloadFile, UNASKED, |_| {
            answering(READ, |_, _, honest| Some(renumbered(honest, 0xdead_beef)))
        }),
        row("ids exchanged", DownloadFile, UNASKED, |_| {
            answering(READ, |_, asked, honest| {
                Some(renumbered(honest, asked.id ^ 1))
            })
        }),
        row("a handle for content", DownloadFile, OTHER, |_| {
            always(READ, |id| handle(id, b"0"))
        }),
        row("names for content", DownloadFile, OTHER, |_| {
            always(READ, |id| names(id, &[]))
        }),
        row("content for a handle", DownloadFile, OTHER, |_| {
            always(OPEN, |id| data(id, b"0"))
        }),
        row("a handle for attributes", DownloadFile, OTHER, |_| {
            always(STAT, |id| handle(id, b"0"))
        }),
        row("success for content", DownloadFile, OTHER, |_| {
            always(READ, |id| status(id, 0, b""))
        }),
        row("success for a handle", DownloadFile, OTHER, |_| {
            always(OPEN, |id| status(id, 0, b""))
        }),
        row(
            "an end for a handle",
            DownloadFile,
            Badly("EndOfFile"),
            |_| always(OPEN, |id| status(id, EOF, b"")),
        ),
        row(
            "a code that is none",
            DownloadFile,
            Badly("Other(4294967295)"),
            |_| always(OPEN, |id| status(id, u32::MAX, b"")),
        ),
        row(
            "its version once more",
            DownloadFile,
            Badly("it sent its version again"),
            |_| always(READ, |_| version(3, "x")),
        ),
        row("a packet without a type", DownloadFile, LENGTH, |_| {
            always(READ, |_| vec![0; 4])
        }),
        row("a packet of 4 GiB", DownloadFile, LENGTH, |_| {
            always(READ, |_| [vec![0xff; 4], vec![103; 1000]].concat())
        }),
        row("a packet of 600 kB", DownloadFile, LENGTH, |_| {
            always(READ, |id| data(id, &[0; 600_000]))
        }),
        row(
            "a packet of 300 kB that says little",
            DownloadFile,
            Badly("xxxxxxxxxx"),
            |_| always(READ, |id| status(id, FAILURE, &[b'x'; 300_000])),
        ),
        row("a packet that is cut off", DownloadFile, Badly(""), |_| {
            answering(READ, |before, _, honest| {
                (before == 0).then(|| honest[..honest.len() - 1].to_vec())
            })
        }),
        row(
            "a packet of no known type",
            DownloadFile,
            Badly("an unknown type"),
            |_| always(READ, |id| packet(99, &[&id.to_be_bytes()])),
        ),
        row("text", DownloadFile, LENGTH, |_| {
            always(READ, |_| b"Connection reset by peer".to_vec())
        }),
        row("no answer", DownloadFile, Never, |_| {
            always(READ, |_| Vec::new())
        }),
        row(
            "no answer to the first question",
            DownloadFile,
            Never,
            |_| always(STAT, |_| Vec::new()),
        ),
        row("no answer to closing", DownloadFile, Same, |_| {
            always(CLOSE, |_| Vec::new())
        }),
        row("no answer to an upload", UploadFile, Never, |_| {
            always(WRITE, |_| Vec::new())
        }),
        row(
            "an end of the channel in the middle",
            DownloadFile,
            Badly("the SFTP server ended"),
            |_| answering(READ, |before, _, honest| (before < 2).then_some(honest)),
        ),
        row(
            "words that a terminal obeys",
            DownloadFile,
            Badly("\\u{1b}[2J"),
            |_| {
                always(OPEN, |id| {
                    status(
                        id,
                        FAILURE,
                        b"\x1b[2J\x1b]0;owned\x07\r\n\xff\xfe\xe2\x80\xaetxt\n\nhint: run this",
                    )
                })
            },
        ),
        row("a handle without bytes", DownloadFile, Same, |scenery| {
            called(b"", scenery)
        }),
        row("a handle that is not text", DownloadFile, Same, |scenery| {
            called(b"\xff\0\x80/..", scenery)
        }),
        row("the longest handle", DownloadFile, Same, |scenery| {
            called(&[0xfe; 256], scenery)
        }),
        row(
            "a handle that is too long",
            DownloadFile,
            Badly("a handle is too long"),
            |scenery| called(&[b'h'; 257], scenery),
        ),
        row(
            "a handle of 100 kB",
            DownloadFile,
            Badly("a handle is too long"),
            |scenery| called(&[b'h'; 100_000], scenery),
        ),
    ])
    .await;
}

/// The file as it is, under a handle of the test's.
fn called(handle: &[u8], scenery: &Scenery) -> Fault {
    as_it_is(handle, scenery.content.len() as u64, scenery)
}

/// The file as it is, with another size.
fn size(length: u64, scenery: &Scenery) -> Fault {
    as_it_is(b"f", length, scenery)
}

fn as_it_is(handle: &[u8], size: u64, scenery: &Scenery) -> Fault {
    let content = scenery.content.clone();
    invented_file(handle.to_vec(), size, move |offset, length| {
        let rest = &content[usize::try_from(offset).unwrap().min(content.len())..];
        (!rest.is_empty()).then(|| rest[..length.min(rest.len())].to_vec())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_none_is_said() {
    const START: Ends = Badly("SFTP does not start on the server");

    hold(vec![
        row(
            "no version",
            DownloadFile,
            Badly("no SFTP answer within"),
            |_| always(INIT, |_| Vec::new()),
        ),
        row("version 2", DownloadFile, START, |_| {
            always(INIT, |_| version(2, "x"))
        }),
        row("version 6", DownloadFile, START, |_| {
            always(INIT, |_| version(6, "x"))
        }),
        row("a greeting", DownloadFile, START, |_| {
            always(INIT, |_| b"Welcome to this host!\r\n".to_vec())
        }),
        row("zeros", DownloadFile, START, |_| {
            always(INIT, |_| vec![0; 1_000_000])
        }),
        row("an end", DownloadFile, Same, |_| {
            answering(INIT, |_, _, _| None)
        }),
        row("a refusal", DownloadFile, Badly("\\u{7}not today"), |_| {
            always(INIT, |id| status(id, DENIED + 1, b"\x07not today"))
        }),
        row("a handle", DownloadFile, START, |_| {
            always(INIT, |id| handle(id, b"0"))
        }),
        row("many extensions", DownloadFile, Same, |_| {
            let many = [string(b"limits@openssh.com"), string(&[b'1'; 10])]
                .concat()
                .repeat(10_000);
            always(INIT, move |_| packet(2, &[&3_u32.to_be_bytes(), &many]))
        }),
        row("limits of 0", DownloadFile, Same, |_| limits(0)),
        row("limits of 0 for an upload", UploadTree, Same, |_| limits(0)),
        row("limits of 1", DownloadTree, Same, |_| limits(1)),
        row("limits of 1 for an upload", UploadTree, Same, |_| limits(1)),
        row("limits without limit", DownloadTree, Same, |_| {
            limits(u64::MAX)
        }),
        row(
            "limits without limit for an upload",
            UploadTree,
            Same,
            |_| limits(u64::MAX),
        ),
        row("limits that are cut off", DownloadFile, Same, |_| {
            always(EXTENDED, |id| packet(201, &[&id.to_be_bytes(), &[1; 9]]))
        }),
        row("limits of another kind", DownloadFile, Same, |_| {
            always(EXTENDED, |id| names(id, &[]))
        }),
        row("limits that are refused", DownloadFile, Same, |_| {
            always(EXTENDED, |id| status(id, FAILURE, b""))
        }),
        row(
            "no limits, although there should be",
            DownloadFile,
            Badly("no SFTP answer within"),
            |_| always(EXTENDED, |_| Vec::new()),
        ),
    ])
    .await;
}

/// An honest server with these limits.
fn limits(limit: u64) -> Fault {
    extension("limits@openssh.com", move |id| {
        packet(
            201,
            &[
                &id.to_be_bytes(),
                &[limit; 4]
                    .iter()
                    .flat_map(|limit| limit.to_be_bytes())
                    .collect::<Vec<_>>(),
            ],
        )
    })
}

/// Sends the same in place of every answer to one extension.
pub(super) fn extension(
    name: &'static str,
    answer: impl Fn(u32) -> Vec<u8> + Send + 'static,
) -> Fault {
    answering(EXTENDED, move |_, asked, honest| {
        Some(if asked.string() == name.as_bytes() {
            answer(asked.id)
        } else {
            honest
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn an_upload_that_fails_leaves_what_was_there() {
    const UNASKED: Ends = Badly("it answered a request that was not sent");

    hold(vec![
        row("an id that nobody used", UploadFile, UNASKED, |_| {
            answering(WRITE, |_, _, honest| Some(renumbered(honest, 0xdead_beef)))
        }),
        row("acknowledgements twice", UploadFile, UNASKED, |_| {
            answering(WRITE, |_, _, honest| Some(honest.repeat(2)))
        }),
        row(
            "content for an acknowledgement",
            UploadFile,
            Badly("something else"),
            |_| always(WRITE, |id| data(id, b"x")),
        ),
        row(
            "a failure in the middle",
            UploadFile,
            Badly("the disk is full"),
            |_| {
                answering(WRITE, |before, asked, honest| {
                    Some(if before == 2 {
                        status(asked.id, FAILURE, b"the disk is full")
                    } else {
                        honest
                    })
                })
            },
        ),
        row(
            "an end of the channel in the middle",
            UploadFile,
            Badly("the SFTP server ended"),
            |_| answering(WRITE, |before, _, honest| (before < 2).then_some(honest)),
        ),
        row(
            "another size in the end",
            UploadFile,
            Badly("has 7 bytes where 1000000 were expected"),
            |_| always(STAT, |id| attributes(id, FILE, 7)),
        ),
        row(
            "a file that cannot be made",
            UploadFile,
            Badly("this account may not write files over SFTP"),
            |_| always(OPEN, |id| status(id, DENIED, b"")),
        ),
        row(
            "a mode that cannot be set",
            UploadFile,
            Well("1 entry without mode,"),
            |_| {
                let unset = always(STAT, |id| attributes(id, 0o100_600, 1_000_000));
                all(vec![always(SETSTAT, |id| status(id, DENIED, b"")), unset])
            },
        ),
        row(
            "a disk that does not hold",
            UploadFile,
            Badly("disk error"),
            |_| extension("fsync@openssh.com", |id| status(id, FAILURE, b"disk error")),
        ),
        row(
            "a temporary file that is gone in the end",
            UploadFile,
            Badly("no such file"),
            |scenery| {
                let home = home(scenery);
                answering(SETSTAT, move |_, _, honest| {
                    for entry in fs::read_dir(&home).unwrap().flatten() {
                        let _ = entry
                            .path()
                            .extension()
                            .is_some_and(|end| end == "part")
                            .then(|| fs::remove_file(entry.path()));
                    }
                    Some(honest)
                })
            },
        ),
        row(
            "a file that cannot be closed",
            UploadFile,
            Badly("disk quota exceeded"),
            |_| always(CLOSE, |id| status(id, FAILURE, b"disk quota exceeded")),
        ),
        row("paths with two names", UploadFile, Same, |_| {
            answering(REALPATH, |_, asked, mut honest| {
                let other = names(asked.id, &[(b"/nowhere".to_vec(), 0, 0)]);
                let length = u32::from_be_bytes(*honest.first_chunk().unwrap())
                    + u32::try_from(other.len() - 13).unwrap();
                honest[..4].copy_from_slice(&length.to_be_bytes());
                honest[9..13].copy_from_slice(&2_u32.to_be_bytes());
                Some([&honest, &other[13..]].concat())
            })
        }),
        row("paths without a name", UploadFile, Same, |_| {
            always(REALPATH, |id| names(id, &[]))
        }),
        row("paths that are empty", UploadFile, Same, |_| spelled(b"")),
        row("paths that are relative", UploadFile, Same, |_| {
            spelled(b"../../elsewhere")
        }),
        row("paths of 100 kB", UploadFile, Same, |_| {
            spelled(&[b"/".as_slice(), &b"x".repeat(100_000)].concat())
        }),
        row("paths with a NUL byte", UploadFile, Same, |_| {
            spelled(b"/a\0b")
        }),
        row(
            "paths that a terminal obeys",
            UploadFile,
            Badly("\\u{1b}"),
            |_| spelled(b"/none/\x1b[2J\x07\r\n"),
        ),
        row(
            "paths that a terminal obeys, and that can be",
            UploadFile,
            Well("\\u{1b}[2J"),
            |scenery| {
                spelled(&[home(scenery).as_os_str().as_bytes(), b"/\x1b[2J\x07\r\nx"].concat())
            },
        ),
        row(
            "a target that is no file",
            UploadFile,
            Badly("is not a regular file"),
            |_| always(STAT, |id| attributes(id, 0o020_666, 0)),
        ),
        row(
            "a target that is a directory without end",
            UploadFile,
            Badly("is a directory"),
            |_| always(STAT, |id| attributes(id, DIRECTORY, 0)),
        ),
        row(
            "directories that cannot be made",
            UploadTree,
            Badly(""),
            |_| {
                all(vec![
                    always(MKDIR, |id| status(id, DENIED, b"")),
                    always(LSTAT, |id| status(id, 2, b"")),
                ])
            },
        ),
        row(
            "links where directories should be",
            UploadTree,
            Badly("there is a link or a file"),
            |_| {
                all(vec![
                    always(MKDIR, |id| status(id, FAILURE, b"")),
                    always(LSTAT, |id| attributes(id, LINK, 0)),
                ])
            },
        ),
        row(
            "files that cannot be made",
            UploadTree,
            Badly("permission denied"),
            |_| always(OPEN, |id| status(id, DENIED, b"")),
        ),
        row(
            "an end of the channel in the middle of a tree",
            UploadTree,
            Badly("the SFTP server ended"),
            |_| answering(WRITE, |before, _, honest| (before < 2).then_some(honest)),
        ),
    ])
    .await;
}

/// The log-in's home.
fn home(scenery: &Scenery) -> PathBuf {
    scenery.outside.ancestors().nth(2).unwrap().join("home")
}

/// Every path is spelled so.
pub(super) fn spelled(path: &[u8]) -> Fault {
    let path = path.to_vec();
    always(REALPATH, move |id| names(id, &[(path.clone(), 0, 0)]))
}
