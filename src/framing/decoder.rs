//! Finds the end of a frame in a stream of bytes, however the bytes are cut.

use super::{quoting::unquote, sentinel::Sentinel};

/// Longest trailer, in bytes. A working directory has at most a few kilobytes, so a longer trailer
/// is not ours.
const MAX_TRAILER_BYTES: usize = 256 * 1024;

/// Decoder for a stream of a frame.
///
/// Bytes go in with [`push`](Self::push) in portions of any size. Output comes out as soon as it
/// cannot be part of the mark any more, so a gigabyte of output passes through without being kept.
#[derive(Debug)]
pub struct StreamDecoder {
    opening: Vec<u8>,
    closing: Vec<u8>,
    held: Vec<u8>,
    in_trailer: bool,
}

/// Result of [`StreamDecoder::push`].
#[derive(Debug, PartialEq, Eq)]
pub enum DecodeStep {
    /// The frame goes on.
    More,
    /// The frame has ended.
    Complete {
        /// Text between the opening and the closing mark.
        trailer: Vec<u8>,
        /// Bytes after the closing mark: output between frames, of processes in the background.
        rest: Vec<u8>,
    },
    /// The text after the opening mark cannot be a trailer, so the stream is out of step.
    Broken,
}

impl StreamDecoder {
    /// Creates a decoder for the frame of this sentinel.
    #[must_use]
    pub fn new(sentinel: &Sentinel) -> Self {
        Self {
            opening: sentinel.opening(),
            closing: sentinel.closing(),
            held: Vec::new(),
            in_trailer: false,
        }
    }

    /// Takes the next bytes of the stream, and appends everything certain to be output to `output`.
    pub fn push(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> DecodeStep {
        // Bytes that were searched before are not searched again, except a possible beginning of
        // the mark.
        let mut from = 0;

        if self.in_trailer {
            from = (self.held.len() + 1).saturating_sub(self.closing.len());
            self.held.extend_from_slice(bytes);
        } else {
            // The usual case: without a record separator nothing has to be held back or copied
            // twice.
            if self.held.is_empty() && !bytes.contains(&RECORD_SEPARATOR) {
                output.extend_from_slice(bytes);
                return DecodeStep::More;
            }

            self.held.extend_from_slice(bytes);
            let Some(at) = find(&self.held, &self.opening) else {
                let partial = longest_prefix_at_end(&self.held, &self.opening);
                output.extend(self.held.drain(..self.held.len() - partial));
                return DecodeStep::More;
            };

            output.extend(self.held.drain(..at));
            self.held.drain(..self.opening.len());
            self.in_trailer = true;
        }

        let closing = self
            .held
            .get(from..)
            .and_then(|held| find(held, &self.closing))
            .map(|at| from + at);

        // A stream whose closing mark never comes must not fill the memory.
        match closing {
            Some(at) if at <= MAX_TRAILER_BYTES => {
                let rest = self.held.split_off(at + self.closing.len());
                self.held.truncate(at);

                // A trailer that was interrupted in its middle has been written again. The last one
                // counts.
                while let Some(again) = find(&self.held, &self.opening) {
                    self.held.drain(..again + self.opening.len());
                }

                DecodeStep::Complete {
                    trailer: std::mem::take(&mut self.held),
                    rest,
                }
            }
            _ if self.held.len() > MAX_TRAILER_BYTES + self.closing.len() => DecodeStep::Broken,
            _ => DecodeStep::More,
        }
    }

    /// Returns true if bytes are held back, or a trailer has begun.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.in_trailer || !self.held.is_empty()
    }

    /// Appends the bytes held back. The stream has ended, so they were output after all.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        output.append(&mut self.held);
    }
}

/// Content of the trailer on stdout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    /// Exit status of the command. In the first frame of a shell, this is the shell's process id.
    pub status: u32,
    /// Process ids of the shell's background jobs.
    pub jobs: Vec<u32>,
    /// Working directory. In the first frame, this is the text for
    /// [`started`](super::script::started).
    pub directory: Vec<u8>,
    /// True if the shell has lost a builtin needed by every frame. This trailer was written without
    /// it, and no other can follow. `jobs` is then empty in any case.
    pub crippled: bool,
}

impl Trailer {
    /// Reads `status:jobs:directory`, with `!` for the jobs of a crippled shell. `None` for any
    /// other text.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        // The directory comes last, because it may hold colons.
        let mut fields = text.splitn(3, |byte| *byte == b':');
        let status = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let jobs = std::str::from_utf8(fields.next()?).ok()?;
        let crippled = jobs == "!";
        let jobs = if crippled { "" } else { jobs };
        let directory = fields.next()?;

        // A quoted directory is one with a line end in its name. Every other begins with a slash.
        let directory = unquote(directory).unwrap_or_else(|| directory.to_vec());
        let jobs = jobs
            .split_whitespace()
            .map(|pid| pid.parse().ok())
            .collect::<Option<_>>()?;

        Some(Self {
            status,
            jobs,
            directory,
            crippled,
        })
    }
}

/// First byte of every mark: ASCII RS, which is rare in text.
const RECORD_SEPARATOR: u8 = 0x1e;

/// Returns the position of `needle`, which begins with a record separator.
pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    // Every needle begins with a record separator, which is rare in output.
    let mut from = 0;
    while let Some(offset) = haystack
        .get(from..)?
        .iter()
        .position(|byte| *byte == RECORD_SEPARATOR)
    {
        let at = from + offset;
        if haystack.get(at..)?.starts_with(needle) {
            return Some(at);
        }

        from = at + 1;
    }

    None
}

/// Returns the length of the longest end of `bytes` with which `needle` begins.
fn longest_prefix_at_end(bytes: &[u8], needle: &[u8]) -> usize {
    let longest = bytes.len().min(needle.len().saturating_sub(1));
    (1..=longest)
        .rev()
        .find(|length| {
            bytes
                .get(bytes.len() - length..)
                .is_some_and(|end| needle.starts_with(end))
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sentinel() -> Sentinel {
        Sentinel::from_random([0x5a; 16])
    }

    fn framed(output: &[u8], trailer: &[u8], rest: &[u8]) -> Vec<u8> {
        let sentinel = sentinel();
        [
            output,
            &sentinel.opening(),
            trailer,
            &sentinel.closing(),
            rest,
        ]
        .concat()
    }

    /// Trailer, with the bytes after the closing mark.
    type Ended = (Vec<u8>, Vec<u8>);

    /// Pushes the stream in portions of the given sizes and returns the output with what ended the frame.
    fn decode(stream: &[u8], cuts: &[usize]) -> (Vec<u8>, Option<Ended>) {
        let mut decoder = StreamDecoder::new(&sentinel());
        let (mut output, mut ended, mut at) = (Vec::new(), None::<Ended>, 0);
        let mut cuts = cuts.iter().copied().cycle();

        while at < stream.len() {
            let end = (at + cuts.next().unwrap_or(stream.len()).max(1)).min(stream.len());
            let portion = &stream[at..end];
            at = end;

            match &mut ended {
                Some((_, rest)) => rest.extend_from_slice(portion),
                None => match decoder.push(portion, &mut output) {
                    DecodeStep::Complete { trailer, rest } => ended = Some((trailer, rest)),
                    DecodeStep::More => {}
                    DecodeStep::Broken => panic!("broken"),
                },
            }
        }

        if ended.is_none() {
            decoder.finish(&mut output);
        }

        (output, ended)
    }

    #[test]
    fn a_frame_ends_at_its_own_mark_and_nowhere_else() {
        let forged = [
            &b"\x1edeadbeefdeadbeefdeadbeefdeadbeef:0::/\x1e"[..],
            b"x\n",
        ]
        .concat();

        for output in [
            &b""[..],
            b"text\n",
            b"\x1e",
            b"no newline",
            &forged,
            b"\x00\xff\x1e\x1e5a5a",
        ] {
            let (decoded, ended) = decode(&framed(output, b"0::/", b"later"), &[]);
            assert_eq!(decoded, output);
            assert_eq!(ended, Some((b"0::/".to_vec(), b"later".to_vec())));
        }
    }

    #[test]
    fn output_is_passed_on_before_the_frame_ends() {
        let mut decoder = StreamDecoder::new(&sentinel());
        let mut output = Vec::new();
        assert_eq!(decoder.push(b"first\n\x1e", &mut output), DecodeStep::More);
        assert_eq!(output, b"first\n");
        assert_eq!(decoder.push(b"second\n", &mut output), DecodeStep::More);
        assert_eq!(output, b"first\n\x1esecond\n");
    }

    #[test]
    fn an_endless_trailer_is_broken_and_not_kept() {
        let mut decoder = StreamDecoder::new(&sentinel());
        let mut stream = sentinel().opening();
        stream.extend(std::iter::repeat_n(b'x', MAX_TRAILER_BYTES + 1));
        stream.extend(sentinel().closing());
        assert_eq!(decoder.push(&stream, &mut Vec::new()), DecodeStep::Broken);

        // The same a byte at a time, and one that is just short enough.
        let mut decoder = StreamDecoder::new(&sentinel());
        assert!(
            stream
                .iter()
                .any(|byte| decoder.push(&[*byte], &mut Vec::new()) == DecodeStep::Broken)
        );

        let mut decoder = StreamDecoder::new(&sentinel());
        stream.remove(sentinel().opening().len());
        assert!(matches!(
            decoder.push(&stream, &mut Vec::new()),
            DecodeStep::Complete { .. }
        ));
    }

    #[test]
    fn a_trailer_that_was_begun_twice_is_the_last_of_the_two() {
        let partial = [&b"out"[..], &sentinel().opening(), b"0:"].concat();
        let (decoded, ended) = decode(&[&partial[..], &framed(b"", b"130::/", b"")].concat(), &[7]);
        assert_eq!(
            (decoded, ended),
            (b"out".to_vec(), Some((b"130::/".to_vec(), Vec::new())))
        );
    }

    #[test]
    fn a_trailer_holds_status_jobs_and_any_directory() {
        let read = |text: &[u8]| Trailer::parse(text).map(|t| (t.status, t.jobs, t.directory));
        assert_eq!(
            read(b"0::/var/log"),
            Some((0, vec![], b"/var/log".to_vec()))
        );

        assert_eq!(
            read(b"0::$'/a\\n\\'b'"),
            Some((0, vec![], b"/a\n'b".to_vec()))
        );

        assert_eq!(
            read(b"127:12\n13\n:/a:b\nc"),
            Some((127, vec![12, 13], b"/a:b\nc".to_vec()))
        );

        let crippled = Trailer::parse(b"3:!:/tmp").unwrap();

        assert_eq!(
            (
                crippled.status,
                crippled.crippled,
                crippled.directory.as_slice()
            ),
            (3, true, &b"/tmp"[..])
        );

        for broken in [&b""[..], b"0", b"0:", b"x::/", b"0:x:/", b"-1::/"] {
            assert_eq!(read(broken), None, "{broken:?}");
        }
    }

    proptest! {
        #[test]
        fn any_cut_of_the_bytes_gives_the_same_frame(
            output in proptest::collection::vec(prop_oneof![Just(0x1eu8), Just(b'5'), Just(b'a'), any::<u8>()], 0..200),
            rest in proptest::collection::vec(any::<u8>(), 0..40),
            cuts in proptest::collection::vec(1usize..50, 1..20),
        ) {
            let (decoded, ended) = decode(&framed(&output, b"3:7\n:/tmp", &rest), &cuts);
            prop_assert_eq!(decoded, output);
            prop_assert_eq!(ended, Some((b"3:7\n:/tmp".to_vec(), rest)));
        }

        #[test]
        fn a_stream_without_the_mark_is_all_output(
            output in proptest::collection::vec(prop_oneof![Just(0x1eu8), Just(b'5'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(1usize..50, 1..20),
        ) {
            prop_assert_eq!(decode(&output, &cuts), (output, None));
        }
    }
}
