//! What is measured of the pure code: the input of each case, and the work that is done with it.
//!
//! `micro.rs` takes its time, `instructions.rs` lets its instructions be counted.

use std::fmt::Write as _;
use std::hint::black_box;

use mcp_ssh_sessions::capture::{Capture, Captured};
use mcp_ssh_sessions::edit::replace::{ReplaceError, Replaced, replace};
use mcp_ssh_sessions::framing::decoder::StreamDecoder;
use mcp_ssh_sessions::framing::sentinel::Sentinel;
use mcp_ssh_sessions::openssh::known_hosts::{
    HostKey, HostName, KnownHostsFile, Verdict, render_line, verdict,
};

/// What SSH brings at once.
const PORTION: usize = 32 * 1024;
/// The bytes of a stream.
pub(crate) const STREAM: usize = 1024 * 1024;
const HOSTS: usize = 1_000;
const LINES: usize = 2_000;

/// The output of a command and the marks of its end, as the shell sends them.
pub(crate) struct Decoding {
    sentinel: Sentinel,
    stream: Vec<u8>,
}

impl Decoding {
    /// Lines of text.
    pub(crate) fn text() -> Self {
        Self::of("a line of output, as commands print them\n".repeat(STREAM / 41))
    }

    /// The worst input: each byte may be the first one of the mark.
    pub(crate) fn marks() -> Self {
        Self::of("\x1e".repeat(STREAM))
    }

    fn of(output: String) -> Self {
        let sentinel = Sentinel::from_random([0x5a; 16]);
        let trailer = [
            sentinel.opening(),
            b"0 /home/user".to_vec(),
            sentinel.closing(),
        ];
        let stream = [output.into_bytes(), trailer.concat()].concat();
        Self { sentinel, stream }
    }

    pub(crate) fn run(&self) -> Vec<u8> {
        let mut decoder = StreamDecoder::new(&self.sentinel);
        let mut output = Vec::with_capacity(self.stream.len());
        for portion in self.stream.chunks(PORTION) {
            black_box(decoder.push(portion, &mut output));
        }
        output
    }
}

/// A portion of a stream that is much longer than what is kept of it.
pub(crate) struct Capturing(Vec<u8>);

impl Capturing {
    pub(crate) fn new() -> Self {
        Self(vec![b'x'; PORTION])
    }

    pub(crate) fn run(&self) -> Captured {
        let mut capture = Capture::new(PORTION, PORTION);
        for _ in 0..STREAM / PORTION {
            capture.push(black_box(&self.0));
        }
        capture.finish()
    }
}

/// A file with the line ends of Windows, of which one line is replaced by two.
pub(crate) struct Editing(Vec<u8>);

impl Editing {
    pub(crate) fn new() -> Self {
        let mut content = String::new();
        for number in 0..LINES {
            write!(content, "setting_{number} = {}\r\n", number * 7).expect("a string takes all");
        }
        Self(content.into_bytes())
    }

    pub(crate) fn run(&self) -> Result<Replaced, ReplaceError> {
        let (old, new) = ("setting_1500 = 10500\n", "# once\nsetting_1500 = 1\n");
        replace(black_box(&self.0), old.as_bytes(), new.as_bytes(), false)
    }
}

/// A `known_hosts` file with many hosts, of which the last one is looked up.
pub(crate) struct LookingUp {
    text: String,
    host: HostName,
    key: HostKey,
}

impl LookingUp {
    /// `salt` hashes the names, as `HashKnownHosts` does.
    pub(crate) fn new(salt: Option<[u8; 20]>) -> Self {
        let mut text = String::new();
        for number in 0..HOSTS {
            let line = render_line(&name(number), salt, &key(number)).expect("the name is plain");
            writeln!(text, "{line}").expect("a string takes all");
        }
        let last = HOSTS - 1;
        Self {
            text,
            host: name(last),
            key: key(last),
        }
    }

    pub(crate) fn run(&self) -> Verdict {
        let files = [KnownHostsFile {
            path: "known_hosts",
            text: self.text.as_bytes(),
        }];
        verdict(&files, black_box(&self.host), &self.key)
    }
}

fn name(number: usize) -> HostName {
    HostName::new(&format!("host-{number}.example"), 22)
}

/// An Ed25519 key that no other number has.
fn key(number: usize) -> HostKey {
    let point = [&[0; 24][..], &(number as u64).to_be_bytes()].concat();
    let blob = [b"\0\0\0\x0bssh-ed25519\0\0\0\x20", &point[..]].concat();
    HostKey::parse(&blob).expect("it is a key")
}
