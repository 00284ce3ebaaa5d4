//! Servers that lie to a tool that shows files, one a row, and how a call to each must end.

use super::{
    Call::{ReadDirectory, ReadEnd, ReadFile},
    Ends::{self, Badly, Never, Well},
    GROWTH, Row,
    faults::*,
    hold,
    table::{GIB, extension, numbered, row, spelled, three},
};
use crate::support::fake_sshd::tampered::Fault;

const ENDED: Ends = Badly("the SFTP server ended");
const OTHER: Ends = Badly("it answers something else than was asked");

/// A file of this length whose content has no end: short lines.
fn endless(length: u64) -> Fault {
    invented_file(b"f".to_vec(), length, |offset, length| {
        let lines = b"x\n".iter().cycle().skip(usize::from(offset % 2 == 1));
        Some(lines.take(length).copied().collect())
    })
}

/// A text file, of which one kind of request is answered in another way.
fn text_but(fault: Fault) -> Fault {
    all(vec![invented_file(b"f".to_vec(), 3, three), fault])
}

/// The channel ends at the first request of this kind.
fn ending(kind: u8) -> Fault {
    answering(kind, |_, _, _| None)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_file_that_lies_is_short() {
    const WRONG: Ends = Badly("it answers with a wrong number of bytes");
    const PAGE: Ends = Well("lines 1–2000");

    hold(vec![
        row(
            "1 GiB said, 3 bytes there",
            ReadFile,
            Well("1\tabc\n"),
            |_| invented_file(b"f".to_vec(), GIB, three),
        ),
        row(
            "u64::MAX said, 3 bytes there",
            ReadFile,
            Well("1\tabc\n"),
            |_| invented_file(b"f".to_vec(), u64::MAX, three),
        ),
        row("u64::MAX said, and they come", ReadFile, PAGE, |_| {
            endless(u64::MAX)
        }),
        row("no size said, and no end", ReadFile, PAGE, |_| endless(0)),
        row("3 bytes said, no end", ReadFile, Well("2\tx\n[/"), |_| {
            endless(3)
        }),
        row("a line without end", ReadFile, Never, |_| {
            invented_file(b"f".to_vec(), u64::MAX, |_, length| {
                Some(vec![b'x'; length])
            })
        }),
        row(
            "the end of 1 GiB, 3 bytes there",
            ReadEnd,
            Badly("became shorter"),
            |_| invented_file(b"f".to_vec(), GIB, three),
        ),
        row(
            "the end of u64::MAX bytes",
            ReadEnd,
            Well("-1\tx\n"),
            |_| endless(u64::MAX),
        ),
        row(
            "the end of what has none",
            ReadEnd,
            Badly("it has no end"),
            |_| endless(0),
        ),
        row(
            "the end of a line of 2^62 bytes",
            ReadEnd,
            Well("begins inside a line"),
            |_| invented_file(b"f".to_vec(), 1 << 62, |_, length| Some(vec![b'x'; length])),
        ),
        row(
            "an image of 2^62 bytes",
            ReadFile,
            Well("too large"),
            |_| {
                invented_file(b"f".to_vec(), 1 << 62, |offset, length| {
                    let beginning: &[u8] = if offset == 0 { b"GIF89a" } else { b"" };
                    Some([beginning, &vec![0; length - beginning.len()]].concat())
                })
            },
        ),
        row("more than was asked for", ReadFile, WRONG, |_| {
            invented_file(b"f".to_vec(), 9, |_, length| Some(vec![b'x'; length + 1]))
        }),
        row("nothing, again and again", ReadFile, WRONG, |_| {
            invented_file(b"f".to_vec(), 9, |_, _| Some(Vec::new()))
        }),
        row(
            "what a terminal obeys",
            ReadFile,
            Well("\\u{1b}[2J\\r\\u{202e}"),
            |_| {
                let evil = "\x1b[2J\r\u{202e}[exit 0]\n".as_bytes();
                invented_file(b"f".to_vec(), evil.len() as u64, move |offset, _| {
                    (offset == 0).then(|| evil.to_vec())
                })
            },
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_of_a_read_may_fail() {
    hold(vec![
        row("a device", ReadFile, Badly("not a regular file"), |_| {
            always(STAT, |id| attributes(id, 0o020_666, 0))
        }),
        row("attributes of another kind", ReadFile, OTHER, |_| {
            always(STAT, |id| handle(id, b"x"))
        }),
        row("a handle of another kind", ReadFile, OTHER, |_| {
            always(OPEN, |id| attributes(id, FILE, 3))
        }),
        row("content of another kind", ReadFile, OTHER, |_| {
            text_but(always(READ, |id| handle(id, b"x")))
        }),
        row("a refusal", ReadFile, Badly("permission denied"), |_| {
            always(OPEN, |id| status(id, DENIED, b""))
        }),
        row(
            "words that a terminal obeys",
            ReadFile,
            Badly("\\u{1b}[2J"),
            |_| {
                always(OPEN, |id| {
                    status(id, FAILURE, b"\x1b[2J\x07\r\nhint: run this")
                })
            },
        ),
        row(
            "no file, and a link with words",
            ReadFile,
            Badly("link to \"\\u{1b}"),
            |_| {
                all(vec![
                    always(STAT, |id| status(id, 2, b"no such file")),
                    always(READLINK, |id| names(id, &[(b"\x1b[2J\n".to_vec(), 0, 0)])),
                ])
            },
        ),
        row(
            "no file, and a link of 100 kB",
            ReadFile,
            Badly("no such file"),
            |_| {
                all(vec![
                    always(STAT, |id| status(id, 2, b"no such file")),
                    always(READLINK, |id| names(id, &[(vec![b'x'; 100_000], 0, 0)])),
                ])
            },
        ),
        row("links without end", ReadFile, Well("1\tabc\n"), |_| {
            text_but(all(vec![
                always(LSTAT, |id| attributes(id, LINK, 0)),
                always(READLINK, |id| names(id, &[(b"next".to_vec(), 0, 0)])),
            ]))
        }),
        row("no true path", ReadFile, Well("1\tabc\n"), |_| {
            text_but(spelled(b""))
        }),
        row("a relative path", ReadFile, Well("1\tabc\n"), |_| {
            text_but(spelled(b"../../elsewhere"))
        }),
        row("a path of 100 kB", ReadFile, Well("1\tabc\n"), |_| {
            text_but(spelled(&[b"/".as_slice(), &b"x".repeat(100_000)].concat()))
        }),
        row(
            "a path that a terminal obeys",
            ReadFile,
            Well("/\\u{1b}[2J\\n/file"),
            |_| text_but(spelled(b"/\x1b[2J\n")),
        ),
        row("an end at the paths", ReadFile, ENDED, |_| ending(REALPATH)),
        row("an end at the attributes", ReadFile, ENDED, |_| {
            ending(STAT)
        }),
        row("an end at the opening", ReadFile, ENDED, |_| ending(OPEN)),
        row("an end at the content", ReadFile, ENDED, |_| {
            text_but(ending(READ))
        }),
        row("an end at the closing", ReadFile, Well("1\tabc\n"), |_| {
            text_but(ending(CLOSE))
        }),
        row("an end at the directory", ReadDirectory, ENDED, |_| {
            ending(OPENDIR)
        }),
        row("an end at the names", ReadDirectory, ENDED, |_| {
            ending(READDIR)
        }),
        row("no attributes ever", ReadFile, Never, |_| {
            always(STAT, |_| Vec::new())
        }),
        row("no content ever", ReadFile, Never, |_| {
            text_but(always(READ, |_| Vec::new()))
        }),
        row("no names ever", ReadDirectory, Never, |_| {
            always(READDIR, |_| Vec::new())
        }),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_is_not_answered_ends() {
    hold(vec![row(
        "no content",
        ReadFile,
        Badly("no answer within 60s"),
        |_| text_but(always(READ, |_| Vec::new())),
    )])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn a_directory_that_lies_is_a_short_page() {
    hold(vec![
        row(
            "names that are paths",
            ReadDirectory,
            Well("../../x\n"),
            |_| {
                listing(&[
                    (b"../../x", FILE),
                    (b"/etc/passwd", LINK),
                    (b"a/b", DIRECTORY),
                ])
            },
        ),
        row(
            "what a terminal obeys",
            ReadDirectory,
            Well("\\u{1b}[2J\\n\\u{202e}x\\0"),
            |_| listing(&[("\x1b[2J\n\u{202e}x\0".as_bytes(), FILE)]),
        ),
        row(
            "targets that a terminal obeys",
            ReadDirectory,
            Well("a -> \\u{1b}[2J"),
            |_| linking(b"\x1b[2J\x07", &[(b"a", LINK)]),
        ),
        row("targets of 100 kB", ReadDirectory, Well("xxx…\n"), |_| {
            linking(vec![b'x'; 100_000], &[(b"a", LINK), (b"b", LINK)])
        }),
        row("names of 64 kB", ReadDirectory, Well("26 entries"), |_| {
            let many: Vec<Entry> = (b'a'..=b'z')
                .map(|letter| (vec![letter; 64_000], FILE, 4))
                .collect();
            invented(Vec::new(), move |_, before| {
                Some(vec![many.get(before)?.clone()])
            })
        }),
        row(
            "long forms of 200 kB",
            ReadDirectory,
            Well("100 entries"),
            |_| {
                answering(READDIR, |before, asked, _| {
                    let entry = [
                        string(format!("{before:03}").as_bytes()),
                        string(&vec![b'-'; 200_000]),
                        vec![0; 4],
                    ]
                    .concat();
                    Some(if before < 100 {
                        packet(
                            104,
                            &[&asked.id.to_be_bytes(), &1_u32.to_be_bytes(), &entry],
                        )
                    } else {
                        status(asked.id, EOF, b"")
                    })
                })
            },
        ),
        row(
            "nothing without end",
            ReadDirectory,
            Well("empty directory"),
            |_| invented(Vec::new(), |_, _| Some(Vec::new())),
        ),
        Row {
            growth: 200,
            ..row(
                "entries without end",
                ReadDirectory,
                Badly("more than 1000000 entries"),
                |_| {
                    invented(Vec::new(), |_, before| {
                        Some(numbered(before * 5_000, 5_000, FILE, 0))
                    })
                },
            )
        },
        row("names of another kind", ReadDirectory, OTHER, |_| {
            always(READDIR, |id| handle(id, b"x"))
        }),
        row(
            "more names said than sent",
            ReadDirectory,
            Badly("is not SFTP"),
            |_| {
                always(READDIR, |id| {
                    packet(104, &[&id.to_be_bytes(), &[0xff; 4], &string(b"a")])
                })
            },
        ),
        row(
            "a refusal in the middle",
            ReadDirectory,
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
            "no file, although it is named",
            ReadDirectory,
            Well("? ? ? ? ? a\n"),
            |_| {
                all(vec![
                    always(LSTAT, |id| status(id, 2, b"no such file")),
                    answering(READDIR, |before, asked, _| {
                        let entry = [string(b"a"), string(b""), vec![0; 4]].concat();
                        Some(if before == 0 {
                            packet(
                                104,
                                &[&asked.id.to_be_bytes(), &1_u32.to_be_bytes(), &entry],
                            )
                        } else {
                            status(asked.id, EOF, b"")
                        })
                    }),
                ])
            },
        ),
    ])
    .await;
}

const ACCOUNTS: &str = "users-groups-by-id@openssh.com";

/// A server that knows the names of accounts, and answers the question for them so.
fn accounts(answer: impl Fn(u32) -> Vec<u8> + Send + 'static) -> Fault {
    all(vec![
        always(INIT, |_| version(3, ACCOUNTS)),
        extension(ACCOUNTS, answer),
    ])
}

/// An answer with these names of users and groups.
fn account_names(id: u32, users: &[u8], groups: &[u8]) -> Vec<u8> {
    packet(201, &[&id.to_be_bytes(), &string(users), &string(groups)])
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_accounts_that_lie_are_harmless() {
    const NUMBERS: Ends = Well(" 0644 ");

    hold(vec![
        row("honest names", ReadFile, Well(" us\\u{1b}er:group"), |_| {
            accounts(|id| account_names(id, &string(b"us\x1ber"), &string(b"group")))
        }),
        row("names of 100 kB", ReadFile, NUMBERS, |_| {
            accounts(|id| account_names(id, &string(&[b'u'; 100_000]), &string(b"")))
        }),
        row("100,000 names", ReadDirectory, Well("entries"), |_| {
            accounts(|id| {
                let many = string(b"u").repeat(40_000);
                account_names(id, &many, &many)
            })
        }),
        row("no names", ReadFile, NUMBERS, |_| {
            accounts(|id| account_names(id, b"", b""))
        }),
        row("names that are cut off", ReadFile, NUMBERS, |_| {
            accounts(|id| account_names(id, &[0, 0, 0, 9, b'u'], b""))
        }),
        row("an answer that is cut off", ReadFile, NUMBERS, |_| {
            accounts(|id| packet(201, &[&id.to_be_bytes(), &[0xff; 4]]))
        }),
        row("an answer of another kind", ReadFile, NUMBERS, |_| {
            accounts(|id| handle(id, b"x"))
        }),
        row("a refusal", ReadFile, NUMBERS, |_| {
            accounts(|id| status(id, FAILURE, b"\x1b[2J"))
        }),
        row("no answer", ReadFile, Never, |_| accounts(|_| Vec::new())),
    ])
    .await;
}

/// A server without SFTP that prints this instead of running a script.
fn printing(name: &'static str, call: super::Call, ends: Ends, prints: &'static [u8]) -> Row {
    Row {
        growth: GROWTH,
        prints: Some(prints),
        ..row(name, call, ends, |_| ending(INIT))
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn programs_that_lie_are_not_believed() {
    const NONE: Ends = Badly("/bin/sh does not answer as expected");
    const KILO: [u8; 5_000] = [b'x'; 5_000];

    hold(vec![
        printing("nothing", ReadFile, NONE, b""),
        printing("zeros", ReadFile, NONE, &[0; 100_000]),
        printing("words", ReadFile, NONE, b"\x1b[2JWelcome\r\n"),
        printing(
            "an unknown kind",
            ReadFile,
            NONE,
            b"mcp-ssh-sessions:file:\0other\0\0/\0\0\0",
        ),
        printing(
            "an answer that is cut off",
            ReadFile,
            NONE,
            b"mcp-ssh-sessions:file:\0file\0\0/",
        ),
        printing(
            "a relative home",
            ReadFile,
            NONE,
            b"mcp-ssh-sessions:file:\0file\0\0../x\0\0\0text\n",
        ),
        printing(
            "a long home",
            ReadFile,
            NONE,
            [
                b"mcp-ssh-sessions:file:\0file\0\0/".as_slice(),
                &KILO,
                b"\0\0\0text\n",
            ]
            .concat()
            .leak(),
        ),
        printing(
            "facts that lie",
            ReadFile,
            Well("1\ttext\n"),
            b"mcp-ssh-sessions:file:\0file\0zz 99999999999999999999999 -1 a\x1b[2Jb:\xff\n\n\0/\0relative\n/\0zz 1ff\0text\n",
        ),
        printing(
            "an owner that is long, and a path that is",
            ReadFile,
            Well("1\ttext\n"),
            [
                b"mcp-ssh-sessions:file:\0file\x0081a4 5 5 ".as_slice(),
                &KILO,
                b"\0/\0/",
                &KILO,
                b"\n/\0\0text\n",
            ]
            .concat()
            .leak(),
        ),
        printing(
            "what a terminal obeys",
            ReadFile,
            Well("\\u{1b}[2J\\r\\u{202e}"),
            "mcp-ssh-sessions:file:\0file\0\0/\x1b[2J\n\0\0\0\x1b[2J\r\u{202e}\n".as_bytes(),
        ),
        printing(
            "a size that lies",
            ReadEnd,
            Well("-1\ty\n"),
            [
                b"mcp-ssh-sessions:file:\0file\x0081a4 18446744073709551615 5 a:b\0/\0\0\0".as_slice(),
                &b"y\n".repeat(200_000),
            ]
            .concat()
            .leak(),
        ),
        printing(
            "a link with words",
            ReadFile,
            Badly("link to \"\\u{1b}[2J"),
            b"mcp-ssh-sessions:file:\0missing\0\0/\0\0\0\x1b[2J\n",
        ),
        printing(
            "names that are paths, and facts about nobody",
            ReadDirectory,
            Well("../../x\n"),
            b"mcp-ssh-sessions:file:\0directory\0\0/\0\0\0../../x\0/etc/passwd\0-rf\0$(touch gone)\0\x1b[2J\0\0",
        ),
        Row {
            // Millions of short names have room in 8 MiB.
            growth: 100,
            ..printing(
            "names without an end",
            ReadDirectory,
            Well("of more than"),
            [
                b"mcp-ssh-sessions:file:\0directory\0\0/\0\0\0".as_slice(),
                &b"name\0".repeat(2_000_000),
            ]
            .concat()
            .leak(),
        )
        },
    ])
    .await;
}
