//! What an SFTP server sends: however its bytes are cut, the same packets come out, or the same refusal; and whatever names
//! it lists, nothing is moved to where they lead.

use std::{collections::HashSet, path::Component, path::Path};

use bytes::Bytes;

use crate::{
    sftp::{
        frames::Frames,
        reply::{Packet, SftpReply},
    },
    tree::{
        entry::{Directory, DirectoryEntry, EntryAttributes, EntryKind},
        excludes::Excludes,
        limits::TreeLimits,
        name::{NameRules, check, folded},
        plan::Plan,
    },
};

/// All packets of a stream and whether it is refused in the end. Content without its pieces, which depend on the cuts.
fn read(stream: &[u8], cuts: &[u8]) -> (Vec<String>, bool) {
    let (mut frames, mut packets) = (Frames::default(), Vec::new());
    let (mut rest, mut cuts) = (stream, cuts.iter().cycle());
    while !rest.is_empty() {
        // Also long ones: short pieces are gathered.
        let length = cuts
            .next()
            .map_or(rest.len(), |cut| usize::from(*cut).pow(2) + 1)
            .min(rest.len());
        let (portion, later) = rest.split_at(length);
        rest = later;
        frames.push(Bytes::copy_from_slice(portion));
        loop {
            match frames.next_packet() {
                Ok(Some(Packet::Reply {
                    id,
                    reply: SftpReply::Content(content),
                })) => {
                    let all = content.pieces().collect::<Vec<_>>().concat();
                    assert_eq!(all.len(), content.len());
                    packets.push(format!("{id} {all:?}"));
                }
                Ok(Some(packet)) => packets.push(format!("{packet:?}")),
                Ok(None) => break,
                Err(_) => return (packets, true),
            }
        }
    }
    (packets, false)
}

/// Tries one input.
pub fn run(data: &[u8]) {
    let Some((&count, data)) = data.split_first() else {
        return;
    };
    let (cuts, data) = data.split_at(usize::from(count % 16).min(data.len()));
    assert_eq!(read(data, &[]), read(data, cuts));
    // The same as bodies of packets whose length is right, which no fuzzer would come by.
    let mut stream = Vec::new();
    for body in data
        .split(|byte| *byte == 0xfe)
        .filter(|body| !body.is_empty())
    {
        stream.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
        stream.extend(body);
    }
    assert_eq!(read(&stream, &[]), read(&stream, cuts));
    names(data);
}

/// Lists these names, in an answer of a server's, again in each directory that they make.
fn names(data: &[u8]) {
    let given: Vec<&[u8]> = data.split(|byte| *byte == 0xfe).take(100).collect();
    let string = |bytes: &[u8]| {
        [
            &u32::try_from(bytes.len()).unwrap_or_default().to_be_bytes()[..],
            bytes,
        ]
        .concat()
    };
    let count = u32::try_from(given.len()).unwrap_or_default().to_be_bytes();
    let each: Vec<u8> = given
        .iter()
        .flat_map(|name| [string(name), string(b"-rw"), vec![0; 4]].concat())
        .collect();
    let answer = string(&[&[104, 0, 0, 0, 7][..], &count, &each].concat());
    let mut frames = Frames::default();
    frames.push(answer.into());
    let Ok(Some(Packet::Reply {
        id: 7,
        reply: SftpReply::Names(listed),
    })) = frames.next_packet()
    else {
        panic!("a whole answer")
    };
    let listed: Vec<&[u8]> = listed.iter().map(|name| &*name.name).collect();
    assert_eq!(listed, given);
    for rules in [NameRules::Unix, NameRules::Mac, NameRules::Windows] {
        planned(&listed, rules);
    }
}

fn planned(names: &[&[u8]], rules: NameRules) {
    let limits = TreeLimits {
        entries: 1_000,
        name_bytes: 1 << 20,
        depth: 3,
        path: 2_000,
        failures: usize::MAX,
    };
    let excludes = Excludes::parse(&[]).expect("no pattern is malformed");
    let mut plan = Plan::new(
        Directory::root(EntryAttributes::default()),
        excludes,
        Some(rules),
        limits,
    );
    let (mut paths, mut taken) = (Vec::new(), 0);
    while let Some((ticket, directory)) = plan.next_directory() {
        paths.push(directory.path());
        let what = |at: usize| {
            [
                EntryKind::Directory,
                EntryKind::File(1),
                EntryKind::Link,
                EntryKind::Special,
            ][at % 4]
        };
        let entry = |(at, name): (usize, &&[u8])| DirectoryEntry {
            name: name.to_vec(),
            what: what(at),
            attributes: EntryAttributes::default(),
        };
        taken += names
            .iter()
            .filter(|name| !matches!(**name, b"." | b".."))
            .count();
        if plan
            .listed(&directory, names.iter().enumerate().map(entry).collect())
            .is_err()
        {
            break;
        }
        plan.done(ticket);
    }
    paths.extend(std::iter::from_fn(|| plan.next_leaf()).map(|(_, leaf)| leaf.path()));
    let mut seen = HashSet::new();
    for path in &paths {
        assert!(
            seen.insert(folded(path, rules)),
            "one place for two names: {}",
            String::from_utf8_lossy(path)
        );
        for name in path
            .split(|byte| *byte == b'/')
            .filter(|_| !path.is_empty())
        {
            assert_eq!(check(name, rules), Ok(()));
            assert!(!name.contains(&0) && !name.is_empty() && name != b"." && name != b"..");
            assert!(rules != NameRules::Windows || !name.contains(&b'\\') && !name.contains(&b':'));
        }
        let text = String::from_utf8_lossy(path);
        assert!(
            Path::new(&*text)
                .components()
                .all(|part| matches!(part, Component::Normal(_))),
            "{text}"
        );
    }
    if plan.is_all_listed() {
        // The root was not listed.
        let refused = plan.tally.failed + usize::try_from(plan.tally.special).unwrap_or_default();
        assert_eq!(
            paths.len() - 1 + refused,
            taken,
            "each name is moved or said to be not"
        );
    }
}
