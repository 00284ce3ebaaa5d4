//! What a reader sees of output: the same however its bytes are cut, of bounded length, and exact where it is not said to
//! be altered.
#![no_main]

#[allow(dead_code, unused_imports)]
#[path = "../../src/readable/mod.rs"]
mod readable;

use libfuzzer_sys::fuzz_target;
use readable::{Readable, Style};

/// As it is documented for what is not a terminal's.
const LONGEST_LINE: usize = 32 * 1024;

fn shown(style: Style, stream: &[u8], cuts: &[u8]) -> (Vec<u8>, bool) {
    let (mut readable, mut output) = (Readable::new(style), Vec::new());
    let (mut rest, mut cuts) = (stream, cuts.iter().cycle());
    while !rest.is_empty() {
        let length = cuts.next().map_or(rest.len(), |cut| usize::from(*cut) + 1).min(rest.len());
        let (portion, later) = rest.split_at(length);
        readable.push(portion, &mut output);
        // A look in between changes nothing.
        let _ = (readable.unfinished(), readable.latest(), readable.prompt());
        rest = later;
    }
    readable.finish(&mut output);
    (output, readable.altered())
}

fuzz_target!(|data: &[u8]| {
    let Some((&count, data)) = data.split_first() else { return };
    let (cuts, stream) = data.split_at(usize::from(count % 16).min(data.len()));
    for style in [Style::Plain, Style::Terminal] {
        let whole = shown(style, stream, &[]);
        assert_eq!(whole, shown(style, stream, cuts), "{style:?}");
        if style == Style::Plain {
            // A line that is drawn over may be longer in its last state: the cursor can move on without writing.
            let drawn_over = stream.iter().filter(|byte| **byte == b'\r').count();
            assert!(whole.0.len() <= stream.len() + drawn_over * LONGEST_LINE);
            assert!(whole.1 || whole.0 == stream, "what is not said to be altered is not");
        }
    }
});
