//! The output of a command in memory.

use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use super::{
    CommandOutput,
    redactor::Redactor,
    unseen::{ReaderId, Unseen},
};
use crate::{
    capture::{
        BEGINNING, Capture, Captured, Nature, console::ConsoleDecoder, whole_characters_at_end,
    },
    framing::stream::{PerStream, Stream},
    render::{Renderer, Style},
};

/// Longest stdout in a result, in bytes: half from the beginning and half from the end.
pub(super) const STDOUT_BUDGET: usize = 24 * 1024;
/// Longest stderr in a result, in bytes. Together with stdout this is below the size that clients
/// pass on to a model uncut.
const STDERR_BUDGET: usize = 6 * 1024;
/// Most readers whose place in an output is known. A further one takes the place of the reader that
/// came into being first, who would be shown the output from its beginning again.
const MAX_READERS: usize = 16;

/// Both streams of an output, as kept in memory.
#[derive(Debug)]
pub(super) struct OutputMemory {
    /// The streams.
    pub(super) streams: PerStream<OutputStream>,
    /// Time of the last output or input of the command.
    pub(super) last_activity: Instant,
    /// Stream of the last output.
    pub(super) last_stream: Stream,
    /// Output that each reader has not been shown; all of it for any other reader.
    readers: BTreeMap<ReaderId, PerStream<Unseen>>,
    /// Filter of secrets typed for the command.
    pub(super) redactor: Redactor,
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
            readers: BTreeMap::new(),
            redactor: Redactor::default(),
        }
    }

    /// Appends bytes to a stream. `is_whole` is true if memory holds the whole stream.
    pub(super) fn push(&mut self, stream: Stream, bytes: &[u8], is_whole: bool) {
        (self.last_activity, self.last_stream) = (Instant::now(), stream);
        let settled = self.streams.get_mut(stream).push(bytes, is_whole);
        for unseen in self.readers.values_mut() {
            unseen.get_mut(stream).push(&settled);
        }
    }

    /// Ends the decoding of a stream.
    pub(super) fn finish_decoding(&mut self, stream: Stream) {
        let settled = self.streams.get_mut(stream).finish_decoding();
        for unseen in self.readers.values_mut() {
            unseen.get_mut(stream).push(&settled);
        }
    }

    /// Returns the output without its text: the files, and the trouble with these.
    pub(super) fn without_text(&self) -> CommandOutput {
        let PerStream { stdout, stderr } = &self.streams;

        CommandOutput {
            stdout_file: stdout.file.clone(),
            stderr_file: stderr.file.clone(),
            trouble: stdout.trouble.clone().or_else(|| stderr.trouble.clone()),
            ..CommandOutput::default()
        }
    }

    /// Returns the place of a reader, who may be a new one.
    pub(super) fn reader(&mut self, reader: ReaderId) -> &mut PerStream<Unseen> {
        if self.readers.len() >= MAX_READERS && !self.readers.contains_key(&reader) {
            self.readers.pop_first();
        }

        self.readers.entry(reader).or_insert_with(|| PerStream {
            stdout: self.streams.stdout.whole(),
            stderr: self.streams.stderr.whole(),
        })
    }
}

/// One stream of an output, as kept in memory.
#[derive(Debug)]
pub(super) struct OutputStream {
    /// Number of bytes so far.
    pub(super) total: u64,
    /// Decoder of the output of a Windows host; `None` for UTF-8.
    pub(super) decoder: Option<ConsoleDecoder>,
    /// Converter from raw bytes to the text for a reader.
    pub(super) renderer: Renderer,
    /// Beginning and end of the text for a reader, in finished lines.
    pub(super) shown: Capture,
    /// First bytes of the stream, decoded and otherwise unconverted.
    pub(super) beginning: Vec<u8>,
    /// Longest text of an answer, in bytes.
    budget: usize,
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
            decoder: None,
            renderer: Renderer::new(style),
            shown: Capture::new(budget / 2, budget - budget / 2),
            beginning: Vec::new(),
            budget,
            // The text is kept beyond the share: equal outputs are shown once, and then whole.
            unspilled_budget: budget / share.max(1),
            unspilled: Vec::new(),
            file: None,
            trouble: None,
        }
    }

    /// Appends bytes to the stream, and returns the lines that they finish. Keeps the bytes if
    /// memory holds the whole stream so far.
    fn push(&mut self, bytes: &[u8], is_whole: bool) -> Vec<u8> {
        self.total = self.total.saturating_add(bytes.len() as u64);
        if is_whole {
            self.unspilled.extend_from_slice(bytes);
        }

        match &mut self.decoder {
            Some(decoder) => {
                let text = decoder.push(bytes);
                self.show(&text)
            }
            None => self.show(bytes),
        }
    }

    /// Appends decoded bytes to the text for a reader, and returns the lines that they finish.
    fn show(&mut self, bytes: &[u8]) -> Vec<u8> {
        let missing = BEGINNING - self.beginning.len();
        self.beginning.extend(bytes.iter().take(missing));

        let mut settled = Vec::new();
        self.renderer.push(bytes, &mut settled);
        self.shown.push(&settled);

        settled
    }

    /// Ends the decoding, where a character may be cut off, and returns the lines that this
    /// finishes.
    fn finish_decoding(&mut self) -> Vec<u8> {
        let rest = self.decoder.as_mut().map(ConsoleDecoder::finish);
        self.show(&rest.unwrap_or_default())
    }

    /// Returns the name of the encoding from which the text was decoded; `None` if it was not.
    fn decoded_from(&self) -> Option<&'static str> {
        self.decoder.as_ref()?.decoded_from()
    }

    /// Returns the part for a reader who has seen nothing.
    pub(super) fn whole(&self) -> Unseen {
        Unseen::new(0, Vec::new(), self.shown.clone())
    }

    /// Returns the text of a part, and the part that follows. `is_running` is true if more output
    /// may come.
    pub(super) fn unseen(&self, unseen: &Unseen, is_running: bool) -> (Captured, Unseen) {
        // Half a character is left to the next answer.
        let all = self.renderer.unfinished();
        let unfinished = if is_running {
            whole_characters_at_end(&all)
        } else {
            &all
        };

        let left = (all.len() - unfinished.len()) as u64;
        let shown = unseen.captured(unfinished);

        // Without new bytes, nothing says of what kind the stream is.
        let beginning = shown.as_ref().map(|_| self.beginning.clone());
        let decoded_from = shown.as_ref().and_then(|_| self.decoded_from());
        let mut shown = shown
            .unwrap_or_default()
            .with_original(self.total, beginning.unwrap_or_default());
        shown.decoded_from = decoded_from;

        let settled = Capture::new(self.budget / 2, self.budget - self.budget / 2);
        let mut next = Unseen::new(self.total - left, unfinished.to_vec(), settled);
        next.knows_end = !is_running;

        (shown, next)
    }

    /// Returns the stream as shown to a reader, with the unfinished line.
    pub(super) fn captured(&self) -> Captured {
        let mut shown = self.shown.clone();
        shown.push(&self.renderer.unfinished());
        let mut shown = shown
            .finish()
            .with_original(self.total, self.beginning.clone());
        shown.decoded_from = self.decoded_from();

        shown
    }

    /// Returns true if the text for a reader lacks parts of the stream. Then the raw bytes must be
    /// kept.
    pub(super) fn differs(&self) -> bool {
        self.renderer.was_rewritten()
            || self.decoded_from().is_some()
            || self.captured().nature() != Nature::Text
    }
}
