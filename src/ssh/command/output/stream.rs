//! The output of a command in memory.

use std::{path::PathBuf, time::Instant};

use crate::{
    capture::{BEGINNING, Capture, Captured, Nature},
    framing::stream::{PerStream, Stream},
    render::{Renderer, Style},
};

/// Longest stdout in a result, in bytes: half from the beginning and half from the end.
pub(super) const STDOUT_BUDGET: usize = 24 * 1024;
/// Longest stderr in a result, in bytes. Together with stdout this is below the size that clients
/// pass on to a model uncut.
const STDERR_BUDGET: usize = 6 * 1024;

/// Both streams of an output, as kept in memory.
#[derive(Debug)]
pub(super) struct OutputMemory {
    /// The streams.
    pub(super) streams: PerStream<OutputStream>,
    /// Time of the last output or input of the command.
    pub(super) last_activity: Instant,
    /// Stream of the last output.
    pub(super) last_stream: Stream,
}

impl OutputMemory {
    /// Creates two empty streams. `share` commands answer together, so an answer may show only a
    /// share of each.
    pub(super) fn new(style: Style, share: usize) -> Self {
        let stream = |budget| OutputStream::new(budget, share, style);

        Self {
            streams: PerStream {
                stdout: stream(STDOUT_BUDGET),
                stderr: stream(STDERR_BUDGET),
            },
            last_activity: Instant::now(),
            last_stream: Stream::Stdout,
        }
    }

    /// Appends bytes to a stream. `is_whole` is true if memory holds the whole stream.
    pub(super) fn push(&mut self, stream: Stream, bytes: &[u8], is_whole: bool) {
        (self.last_activity, self.last_stream) = (Instant::now(), stream);
        self.streams.get_mut(stream).push(bytes, is_whole);
    }
}

/// One stream of an output, as kept in memory.
#[derive(Debug)]
pub(super) struct OutputStream {
    /// Number of bytes so far.
    pub(super) total: u64,
    /// Converter from raw bytes to the text for a reader.
    pub(super) renderer: Renderer,
    /// Beginning and end of the text for a reader, in finished lines.
    pub(super) shown: Capture,
    /// First bytes of the stream, unconverted.
    pub(super) beginning: Vec<u8>,
    /// Size from which on the stream needs a file, in bytes.
    pub(super) unspilled_budget: usize,
    /// All bytes of the stream, unconverted; empty once there is a file.
    pub(super) unspilled: Vec<u8>,
    /// File with the whole stream; `None` if no file is needed so far.
    pub(super) file: Option<PathBuf>,
    /// Reason why the stream could not be kept; `None` if all went well.
    pub(super) trouble: Option<String>,
}

impl OutputStream {
    /// Creates an empty stream, which may fill `budget` bytes of an answer for `share` commands.
    fn new(budget: usize, share: usize, style: Style) -> Self {
        Self {
            total: 0,
            renderer: Renderer::new(style),
            shown: Capture::new(budget / 2, budget - budget / 2),
            beginning: Vec::new(),
            // The text is kept beyond the share: equal outputs are shown once, and then whole.
            unspilled_budget: budget / share.max(1),
            unspilled: Vec::new(),
            file: None,
            trouble: None,
        }
    }

    /// Appends bytes to the stream. Keeps them all if memory holds the whole stream so far.
    fn push(&mut self, bytes: &[u8], is_whole: bool) {
        self.total = self.total.saturating_add(bytes.len() as u64);
        let missing = BEGINNING - self.beginning.len();
        self.beginning.extend(bytes.iter().take(missing));
        if is_whole {
            self.unspilled.extend_from_slice(bytes);
        }

        let mut settled = Vec::new();
        self.renderer.push(bytes, &mut settled);
        self.shown.push(&settled);
    }

    /// Returns the stream as shown to a reader, with the unfinished line.
    pub(super) fn captured(&self) -> Captured {
        let mut shown = self.shown.clone();
        shown.push(&self.renderer.unfinished());
        shown
            .finish()
            .with_original(self.total, self.beginning.clone())
    }

    /// Returns true if the text for a reader lacks parts of the stream. Then the raw bytes must be
    /// kept.
    pub(super) fn differs(&self) -> bool {
        self.renderer.was_rewritten() || self.captured().nature() != Nature::Text
    }
}
