//! The end of a frame: however its bytes are cut, the same output comes out, and all of it.

use crate::framing::{
    decoder::{DecodeStep, StreamDecoder, Trailer},
    job_control_messages::TerminalNoise,
    sentinel::Sentinel,
};

/// As in the decoder.
const LONGEST_TRAILER: usize = 256 * 1024;
const NOISE: &[u8] = b"bash: [7: 1 (255)] tcsetattr: Inappropriate ioctl for device\n";

/// What a stream was taken apart into: output, and the trailer with what came after it, if there was one.
#[derive(Debug, PartialEq)]
enum Decoded {
    Broken,
    Whole {
        output: Vec<u8>,
        ended: Option<(Vec<u8>, Vec<u8>)>,
    },
}

/// Takes it apart in portions of these sizes, and says how much was held back at most.
fn decode(stream: &[u8], cuts: &[u8]) -> (Decoded, usize) {
    let mut decoder = StreamDecoder::new(&sentinel());
    let (mut output, mut ended) = (Vec::new(), None::<(Vec<u8>, Vec<u8>)>);
    let (mut rest, mut cuts) = (stream, cuts.iter().cycle());
    let (mut pushed, mut most_held) = (0, 0);
    while !rest.is_empty() {
        let length = cuts
            .next()
            .map_or(rest.len(), |cut| usize::from(*cut) + 1)
            .min(rest.len());
        let (portion, later) = rest.split_at(length);
        rest = later;
        if let Some((_, after)) = &mut ended {
            after.extend_from_slice(portion);
            continue;
        }
        match decoder.push(portion, &mut output) {
            DecodeStep::More => {
                pushed += length;
                most_held = most_held.max(pushed - output.len());
            }
            DecodeStep::Complete { trailer, rest } => ended = Some((trailer, rest)),
            DecodeStep::Broken => return (Decoded::Broken, most_held),
        }
    }
    if ended.is_none() {
        decoder.finish(&mut output);
    }
    (Decoded::Whole { output, ended }, most_held)
}

fn filter(stream: &[u8], cuts: &[u8]) -> Vec<u8> {
    let (mut noise, mut output) = (TerminalNoise::for_shell(7), Vec::new());
    let (mut rest, mut cuts) = (stream, cuts.iter().cycle());
    while !rest.is_empty() {
        let length = cuts
            .next()
            .map_or(rest.len(), |cut| usize::from(*cut) + 1)
            .min(rest.len());
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

/// What it has to be taken apart into, found without regard to cuts.
fn expected(stream: &[u8]) -> Decoded {
    let (opening, closing) = (sentinel().opening(), sentinel().closing());
    let Some(begin) = find(stream, &opening) else {
        return Decoded::Whole {
            output: stream.to_vec(),
            ended: None,
        };
    };
    let (output, inside) = (&stream[..begin], &stream[begin + opening.len()..]);
    match find(inside, &closing).filter(|end| *end <= LONGEST_TRAILER) {
        Some(end) => {
            let (mut trailer, rest) = (&inside[..end], &inside[end + closing.len()..]);
            while let Some(again) = find(trailer, &opening) {
                trailer = &trailer[again + opening.len()..];
            }
            Decoded::Whole {
                output: output.to_vec(),
                ended: Some((trailer.to_vec(), rest.to_vec())),
            }
        }
        None if inside.len() > LONGEST_TRAILER + closing.len() => Decoded::Broken,
        // What was held back comes out at the end of the stream, but for the mark, which is ours.
        None => Decoded::Whole {
            output: [output, inside].concat(),
            ended: None,
        },
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}

/// Tries one input.
pub fn run(data: &[u8]) {
    let Some((&count, data)) = data.split_first() else {
        return;
    };
    let (cuts, data) = data.split_at(usize::from(count % 16).min(data.len()));
    // What no fuzzer would guess as single bytes.
    let mut stream = Vec::new();
    for &byte in data {
        match byte {
            1 => stream.extend(sentinel().opening()),
            2 => stream.extend(sentinel().closing()),
            3 => stream.extend(NOISE),
            4 => stream.extend(&NOISE[..usize::from(count) % NOISE.len()]),
            // Seldom, because it takes time.
            5 if count == u8::MAX && stream.len() < LONGEST_TRAILER => {
                stream.resize(stream.len() + LONGEST_TRAILER + 10, b'x');
            }
            _ => stream.push(byte),
        }
    }
    let expected = expected(&stream);
    for cuts in [&[], cuts] {
        let (seen, most_held) = decode(&stream, cuts);
        assert_eq!(seen, expected);
        assert!(
            most_held <= LONGEST_TRAILER + 512,
            "{most_held} bytes held back"
        );
    }
    if let Decoded::Whole {
        ended: Some((trailer, _)),
        ..
    } = &expected
        && let Some(Trailer { directory, .. }) = Trailer::parse(trailer)
    {
        assert!(trailer.ends_with(&directory) || directory.len() < trailer.len());
    }
    let filtered = filter(&stream, &[]);
    assert_eq!(filtered, filter(&stream, cuts));
    assert!(
        find(&stream, NOISE).is_some()
            || find(&stream, b"] tcsetattr: ").is_some()
            || filtered == stream
    );
}
