//! What hostile servers do, put together from few parts.

use std::collections::HashMap;

use crate::support::fake_sshd::tampered::{Fault, SftpPacket};

pub(crate) const INIT: u8 = 1;
pub(crate) const OPEN: u8 = 3;
pub(super) const CLOSE: u8 = 4;
pub(super) const READ: u8 = 5;
pub(super) const WRITE: u8 = 6;
pub(super) const LSTAT: u8 = 7;
pub(super) const FSTAT: u8 = 8;
pub(super) const SETSTAT: u8 = 9;
pub(super) const OPENDIR: u8 = 11;
pub(super) const READDIR: u8 = 12;
pub(super) const MKDIR: u8 = 14;
pub(super) const REALPATH: u8 = 16;
pub(super) const STAT: u8 = 17;
pub(super) const READLINK: u8 = 19;
pub(super) const EXTENDED: u8 = 200;

pub(super) const EOF: u32 = 1;
pub(crate) const DENIED: u32 = 3;
pub(crate) const FAILURE: u32 = 4;

pub(super) const FILE: u32 = 0o100_644;
pub(super) const DIRECTORY: u32 = 0o040_755;
pub(super) const LINK: u32 = 0o120_777;

/// A name in a listing, with mode and size.
pub(super) type Entry = (Vec<u8>, u32, u64);

/// The content of every file of an [`invented`] tree.
pub(super) const EVIL: &[u8] = b"evil";

/// A packet of any type.
pub(super) fn packet(kind: u8, fields: &[&[u8]]) -> Vec<u8> {
    let body = fields.concat();
    [&size(body.len() + 1)[..], &[kind], &body].concat()
}

fn reply(kind: u8, id: u32, fields: &[&[u8]]) -> Vec<u8> {
    packet(kind, &[&id.to_be_bytes(), &fields.concat()])
}

pub(super) fn string(bytes: &[u8]) -> Vec<u8> {
    [&size(bytes.len())[..], bytes].concat()
}

fn size(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap().to_be_bytes()
}

pub(crate) fn status(id: u32, code: u32, message: &[u8]) -> Vec<u8> {
    reply(
        101,
        id,
        &[&code.to_be_bytes(), &string(message), &string(b"")],
    )
}

pub(super) fn handle(id: u32, bytes: &[u8]) -> Vec<u8> {
    reply(102, id, &[&string(bytes)])
}

pub(super) fn data(id: u32, bytes: &[u8]) -> Vec<u8> {
    reply(103, id, &[&string(bytes)])
}

pub(super) fn names(id: u32, entries: &[Entry]) -> Vec<u8> {
    let listed = entries.iter().flat_map(|(name, mode, length)| {
        let attributes = [
            &5_u32.to_be_bytes()[..],
            &length.to_be_bytes(),
            &mode.to_be_bytes(),
        ]
        .concat();
        [string(name), string(b""), attributes].concat()
    });

    reply(
        104,
        id,
        &[&size(entries.len()), &listed.collect::<Vec<_>>()],
    )
}

/// Attributes with size and mode.
pub(super) fn attributes(id: u32, mode: u32, length: u64) -> Vec<u8> {
    reply(
        105,
        id,
        &[
            &5_u32.to_be_bytes(),
            &length.to_be_bytes(),
            &mode.to_be_bytes(),
        ],
    )
}

/// The first packet of a server that has one extension.
pub(super) fn version(number: u32, extension: &str) -> Vec<u8> {
    packet(
        2,
        &[
            &number.to_be_bytes(),
            &string(extension.as_bytes()),
            &string(b"1"),
        ],
    )
}

/// The same, announced as OpenSSH's sftp-server does (`process_init` of sftp-server.c).
pub(crate) fn posing_as_openssh(mut fault: Fault) -> Fault {
    let names = [
        "posix-rename@openssh.com",
        "fstatvfs@openssh.com",
        "fsync@openssh.com",
        "limits@openssh.com",
    ];

    Box::new(move |asked, honest| {
        if asked.kind != INIT {
            return fault(asked, honest);
        }

        let extensions = names
            .map(|name| [string(name.as_bytes()), string(b"1")].concat())
            .concat();
        fault(asked, packet(2, &[&3_u32.to_be_bytes(), &extensions]))
    })
}

/// An answer under another id.
pub(super) fn renumbered(mut answer: Vec<u8>, id: u32) -> Vec<u8> {
    answer[5..9].copy_from_slice(&id.to_be_bytes());
    answer
}

/// Changes the answers to one kind of request; it is told how many of them there were before.
pub(super) fn answering(
    kind: u8,
    mut change: impl FnMut(usize, &SftpPacket, Vec<u8>) -> Option<Vec<u8>> + Send + 'static,
) -> Fault {
    let mut before = 0;
    Box::new(move |asked, honest| {
        if asked.kind != kind {
            return Some(honest);
        }

        before += 1;
        change(before - 1, asked, honest)
    })
}

/// Sends the same in place of every answer to one kind of request.
pub(super) fn always(kind: u8, answer: impl Fn(u32) -> Vec<u8> + Send + 'static) -> Fault {
    answering(kind, move |_, asked, _| Some(answer(asked.id)))
}

/// Several faults at once.
pub(super) fn all(mut faults: Vec<Fault>) -> Fault {
    Box::new(move |asked, honest| {
        faults
            .iter_mut()
            .try_fold(honest, |answer, fault| fault(asked, answer))
    })
}

/// The answers to one kind of request, held back until there are so many and then sent the last one first. What comes
/// after the last full set is sent at once.
pub(super) fn reversed(kind: u8, at_once: usize, of: usize) -> Fault {
    let mut held: Vec<Vec<u8>> = Vec::new();
    answering(kind, move |before, _, honest| {
        held.push(honest);
        if held.len() < at_once && before < of / at_once * at_once {
            return Some(Vec::new());
        }

        Some(held.drain(..).rev().flatten().collect())
    })
}

/// A file that is none: any handle, any stated size, any content by offset (`None` is its end).
pub(super) fn invented_file(
    called: Vec<u8>,
    length: u64,
    content: impl Fn(u64, usize) -> Option<Vec<u8>> + Send + 'static,
) -> Fault {
    Box::new(move |asked, honest| {
        Some(match asked.kind {
            STAT | LSTAT | FSTAT => attributes(asked.id, FILE, length),
            OPEN => handle(asked.id, &called),
            CLOSE => status(asked.id, 0, b""),
            READ if asked.string() == called => {
                match content(asked.offset(), usize::try_from(asked.length()).unwrap()) {
                    Some(bytes) => data(asked.id, &bytes),
                    None => status(asked.id, EOF, b""),
                }
            }
            _ => honest,
        })
    })
}

/// A tree that is none. `list` gives what each READDIR of a directory brings: it is told its path, empty for the root,
/// and how many came before, and ends it with `None`. Every file has the content [`EVIL`], every link leads to `target`.
pub(super) fn invented(
    target: Vec<u8>,
    mut list: impl FnMut(&[u8], usize) -> Option<Vec<Entry>> + Send + 'static,
) -> Fault {
    let mut open: HashMap<Vec<u8>, (Vec<u8>, usize)> = HashMap::new();
    let mut opened = 0_u32;
    Box::new(move |asked, honest| {
        let id = asked.id;
        Some(match asked.kind {
            STAT | LSTAT if below(asked.string()).is_empty() => attributes(id, DIRECTORY, 0),
            STAT | LSTAT | FSTAT => attributes(id, FILE, EVIL.len() as u64),
            OPENDIR => {
                opened += 1;
                open.insert(
                    opened.to_be_bytes().to_vec(),
                    (below(asked.string()).to_vec(), 0),
                );

                handle(id, &opened.to_be_bytes())
            }
            READDIR => {
                // A handle that was not given, as OpenSSH's server answers it.
                let Some((path, before)) = open.get_mut(asked.string()) else {
                    return Some(status(id, FAILURE, b""));
                };
                *before += 1;
                list(path, *before - 1)
                    .map_or_else(|| status(id, EOF, b""), |entries| names(id, &entries))
            }
            CLOSE => {
                open.remove(asked.string());
                status(id, 0, b"")
            }
            OPEN => handle(id, b"file"),
            READ if asked.offset() == 0 => data(
                id,
                &EVIL[..EVIL.len().min(usize::try_from(asked.length()).unwrap())],
            ),
            READ => status(id, EOF, b""),
            READLINK => names(id, &[(target.clone(), 0, 0)]),
            _ => honest,
        })
    })
}

/// An [`invented`] tree with these entries and no others.
pub(super) fn listing(entries: &[(&[u8], u32)]) -> Fault {
    linking("nowhere", entries)
}

/// The same, whose links lead to `target`.
pub(super) fn linking(target: impl AsRef<[u8]>, entries: &[(&[u8], u32)]) -> Fault {
    let entries: Vec<Entry> = entries
        .iter()
        .map(|(name, mode)| (name.to_vec(), *mode, EVIL.len() as u64))
        .collect();

    invented(target.as_ref().to_vec(), move |path, before| {
        (before == 0).then(|| {
            if path.is_empty() {
                entries.clone()
            } else {
                vec![(b"inner".to_vec(), FILE, 4)]
            }
        })
    })
}

/// A path from the root of the tree on, which is named by a relative or an absolute path.
fn below(path: &[u8]) -> &[u8] {
    let root = b"tree/.";
    let at = path.windows(root.len()).position(|part| part == root);
    let below = at.map_or(path, |at| &path[at + root.len()..]);
    below.strip_prefix(b"/").unwrap_or(below)
}
