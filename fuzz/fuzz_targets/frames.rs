//! The end of a frame: however its bytes are cut, the same output comes out, and all of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_ssh_sessions::framing::{
    decoder::{Progress, StreamDecoder, Trailer},
    noise::TerminalNoise,
    sentinel::Sentinel,
};

/// What a stream was taken apart into: output, and the trailer with what came after it, if there was one.
#[derive(Debug, PartialEq)]
enum Decoded {
    Broken,
    Whole { output: Vec<u8>, ended: Option<(Vec<u8>, Vec<u8>)> },
}

fn decode(stream: &[u8], cuts: &[u8]) -> Decoded {
    let mut decoder = StreamDecoder::new(&sentinel());
    let (mut output, mut ended) = (Vec::new(), None::<(Vec<u8>, Vec<u8>)>);
    let (mut rest, mut cuts) = (stream, cuts.iter().cycle());
    while !rest.is_empty() {
        let length = cuts.next().map_or(rest.len(), |cut| usize::from(*cut) + 1).min(rest.len());
        let (portion, later) = rest.split_at(length);
        rest = later;
        if let Some((_, after)) = &mut ended {
            after.extend_from_slice(portion);
            continue;
        }
        match decoder.push(portion, &mut output) {
            Progress::More => {}
            Progress::Complete { trailer, rest } => ended = Some((trailer, rest)),
            Progress::Broken => return Decoded::Broken,
        }
    }
    if ended.is_none() {
        decoder.finish(&mut output);
    }
    Decoded::Whole { output, ended }
}

fn filter(stream: &[u8], cuts: &[u8]) -> Vec<u8> {
    let (mut noise, mut output) = (TerminalNoise::of(7), Vec::new());
    let (mut rest, mut cuts) = (stream, cuts.iter().cycle());
    while !rest.is_empty() {
        let length = cuts.next().map_or(rest.len(), |cut| usize::from(*cut) + 1).min(rest.len());
        let (portion, later) = rest.split_at(length);
        noise.push(portion, &mut output);
        rest = later;
    }
    noise.finish(&mut output);
    output
}

fn sentinel() -> Sentinel {
    Sentinel::from_random([0x5a; 16])
}

fuzz_target!(|data: &[u8]| {
    let Some((&count, data)) = data.split_first() else { return };
    let (cuts, data) = data.split_at(usize::from(count % 16).min(data.len()));
    // The marks as single bytes: no fuzzer would guess them.
    let mut stream = Vec::new();
    for &byte in data {
        match byte {
            1 => stream.extend(sentinel().opening()),
            2 => stream.extend(sentinel().closing()),
            3 => stream.extend(b"bash: [7: 1 (255)] tcsetattr: Inappropriate ioctl for device\n"),
            _ => stream.push(byte),
        }
    }
    let whole = decode(&stream, &[]);
    let cut = decode(&stream, cuts);
    // A trailer that is too long is noticed earlier or later.
    if whole != Decoded::Broken && cut != Decoded::Broken {
        assert_eq!(whole, cut);
    }
    if let Decoded::Whole { output, ended } = whole {
        let mut again = output;
        if let Some((trailer, rest)) = ended {
            let _ = Trailer::parse(&trailer);
            again.extend(sentinel().opening());
            again.extend(trailer);
            again.extend(sentinel().closing());
            again.extend(rest);
        }
        assert_eq!(again, stream, "nothing is lost");
    }
    assert_eq!(filter(&stream, &[]), filter(&stream, cuts));
});
