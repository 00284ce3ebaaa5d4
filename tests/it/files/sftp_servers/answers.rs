//! Answers that servers of some makes give, made by the fake server.

use crate::support::{
    fake_sshd::{
        FakeSshd, FakeSshdSettings,
        tampered::{Fault, SftpPacket},
    },
    fixture::TestHost,
};

const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const FSTAT: u8 = 8;
const OPENDIR: u8 = 11;

const END: u32 = 1;
const MISSING: u32 = 2;
const FAILURE: u32 = 4;

/// The name of a way, and the fault that makes it.
type Way = (&'static str, fn() -> Fault);

/// A server that runs no programs, and whose answers are changed.
fn tampered(fault: fn() -> Fault) -> TestHost<FakeSshd> {
    let settings = FakeSshdSettings {
        refuses_commands: true,
        fault: Some(Box::new(fault)),
        ..FakeSshdSettings::default()
    };

    TestHost::fake_with(settings, "")
}

/// Status of a request (`SSH_FXP_STATUS`).
fn status(asked: &SftpPacket, code: u32) -> Vec<u8> {
    let body = [
        &[101][..],
        &asked.id.to_be_bytes(),
        &code.to_be_bytes(),
        &[0; 8],
    ]
    .concat();
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
}

/// Content of a file (`SSH_FXP_DATA`).
fn data(asked: &SftpPacket, bytes: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| u32::try_from(bytes).unwrap().to_be_bytes();
    let head = [&[103][..], &asked.id.to_be_bytes(), &length(bytes.len())].concat();
    [&length(head.len() + bytes.len())[..], &head, bytes].concat()
}

/// Returns true if a server says that a file has ended.
fn is_end(answer: &[u8]) -> bool {
    answer.get(4) == Some(&101) && answer.get(9..13) == Some(&END.to_be_bytes())
}

#[tokio::test]
async fn files_end_in_the_ways_of_servers() {
    let ways: [Way; 5] = [
        ("a failure after the end", || {
            Box::new(|asked, honest| {
                let is_end = asked.kind == READ && is_end(&honest);
                Some(if is_end {
                    status(asked, FAILURE)
                } else {
                    honest
                })
            })
        }),
        ("no bytes after the end", || {
            Box::new(|asked, honest| {
                let is_end = asked.kind == READ && is_end(&honest);
                Some(if is_end { data(asked, b"") } else { honest })
            })
        }),
        ("short reads", || {
            Box::new(|asked, honest| {
                let is_data = asked.kind == READ && !is_end(&honest);
                Some(if is_data {
                    let bytes = &honest[13..];
                    data(asked, &bytes[..bytes.len().min(7_000)])
                } else {
                    honest
                })
            })
        }),
        ("no attributes of open files", || {
            Box::new(|asked, honest| {
                Some(if asked.kind == FSTAT {
                    status(asked, MISSING)
                } else {
                    honest
                })
            })
        }),
        ("one open file", one_open_file),
    ];

    for (way, fault) in ways {
        let mut host = tampered(fault).connect().await;
        host.sends(way).await;
        host.fetches(way).await;
        host.shows(way).await;
        host.edits(way).await;
    }
}

/// Opens a second file or directory only after the first was closed.
fn one_open_file() -> Fault {
    let mut open = 0_usize;
    Box::new(move |asked, honest| {
        let is_opened = honest.get(4) == Some(&102);
        match asked.kind {
            OPEN | OPENDIR if is_opened && open > 0 => return Some(status(asked, FAILURE)),
            OPEN | OPENDIR if is_opened => open += 1,
            CLOSE => open = open.saturating_sub(1),
            _ => {}
        }
        Some(honest)
    })
}
