//! What a reader sees of output: the same however its bytes are cut, of bounded length, and exact where it is not said to
//! be altered.

use crate::render::{Renderer, Style};

/// By how many bytes a line may grow that is drawn over: the cursor can move on without writing.
const MOST_ADDED: usize = 512;

fn shown(style: Style, stream: &[u8], cuts: &[u8]) -> (Vec<u8>, bool) {
    let (mut renderer, mut output) = (Renderer::new(style), Vec::new());
    let (mut rest, mut cuts) = (stream, cuts.iter().cycle());
    while !rest.is_empty() {
        let length = cuts
            .next()
            .map_or(rest.len(), |cut| usize::from(*cut) + 1)
            .min(rest.len());
        let (portion, later) = rest.split_at(length);
        renderer.push(portion, &mut output);
        // A look in between changes nothing.
        let _ = (renderer.unfinished(), renderer.latest(), renderer.prompt());
        rest = later;
    }
    renderer.finish(&mut output);
    (output, renderer.was_rewritten())
}

/// Tries one input.
pub fn run(data: &[u8]) {
    let Some((&count, data)) = data.split_first() else {
        return;
    };
    let (cuts, stream) = data.split_at(usize::from(count % 16).min(data.len()));
    for style in [Style::Plain, Style::Terminal] {
        let whole = shown(style, stream, &[]);
        assert_eq!(whole, shown(style, stream, cuts), "{style:?}");
        if style == Style::Plain {
            let drawn_over = memchr::memchr_iter(b'\r', stream).count();
            assert!(whole.0.len() <= stream.len() + drawn_over * MOST_ADDED);
            assert!(
                whole.1 || whole.0 == stream,
                "what is not said to be altered is not"
            );
        }
    }
}
