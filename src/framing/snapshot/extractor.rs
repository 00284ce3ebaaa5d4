//! Separates the output of a snapshot from a shell's stdout, and puts the snapshot together.

use zeroize::Zeroizing;

use super::{MAX_SNAPSHOT_BYTES, Snapshot, request};
use crate::framing::{
    decoder::{DecodeStep, StreamDecoder},
    quoting::unquote,
    sentinel::Sentinel,
    shell_kind::{ShellDescriptors, ShellKind},
};

/// Filter for the stdout of a shell, from start to end.
///
/// A snapshot comes in pieces of less than a kilobyte, each between marks and written at once. So
/// other output on the same stream stands between the pieces and not in them, and it passes on
/// unchanged.
#[derive(Debug)]
pub struct SnapshotExtractor {
    marks: Sentinel,
    decoder: StreamDecoder,
    taking: Option<SnapshotInProgress>,
}

/// Result of taking a snapshot.
#[derive(Debug)]
pub enum Extracted {
    /// The snapshot is complete.
    Whole(Box<Snapshot>),
    /// The state is longer than [`MAX_SNAPSHOT_BYTES`].
    TooLarge,
    /// Something is missing, or something else was mixed in.
    Spoiled,
}

/// Snapshot of which some pieces are still to come.
#[derive(Debug)]
struct SnapshotInProgress {
    /// Kind of the shell.
    kind: ShellKind,
    /// Name of the snapshot, which is in each piece.
    id: Sentinel,
    /// Text of the pieces so far.
    text: SnapshotPieces,
    /// Number of the next piece.
    next: u32,
    /// True if a piece was missing or damaged.
    spoiled: bool,
    /// Result, once the last piece has come.
    ended: Option<Extracted>,
}

/// Pieces so far. They are wiped, because they hold the values of variables.
#[derive(Default)]
struct SnapshotPieces(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for SnapshotPieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl SnapshotExtractor {
    /// Creates a filter for pieces between these marks.
    #[must_use]
    pub fn new(marks: Sentinel) -> Self {
        Self {
            decoder: StreamDecoder::new(&marks),
            marks,
            taking: None,
        }
    }

    /// Returns the request for a snapshot, to be written to the shell. Nothing may be running in
    /// the shell. A snapshot on its way is given up.
    pub fn request(&mut self, kind: ShellKind, streams: ShellDescriptors, id: Sentinel) -> Vec<u8> {
        // Each request has an id of its own, which tells late pieces of an earlier snapshot from
        // those of this one.
        let request = request::request(kind, streams, &self.marks, &id);

        self.taking = Some(SnapshotInProgress {
            kind,
            id,
            text: SnapshotPieces::default(),
            next: 0,
            spoiled: false,
            ended: None,
        });

        request
    }

    /// Returns true while pieces of a snapshot are still to come.
    #[must_use]
    pub fn is_taking(&self) -> bool {
        self.taking
            .as_ref()
            .is_some_and(|taking| taking.ended.is_none())
    }

    /// Returns the result of the last snapshot, only once.
    pub fn extracted(&mut self) -> Option<Extracted> {
        self.taking
            .as_mut()?
            .ended
            .take()
            .inspect(|_| self.taking = None)
    }

    /// Takes the next bytes of stdout, and returns the bytes outside of snapshots. `None` if those
    /// are all of them.
    pub fn push(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        // The usual case: without a mark, no byte is copied.
        if !self.decoder.is_busy() && !bytes.contains(&0x1e) {
            return None;
        }

        // A portion can hold the end of one piece and the beginning of the next.
        let (mut output, mut rest) = (Vec::new(), bytes.to_vec());

        loop {
            match self.decoder.push(&rest, &mut output) {
                DecodeStep::More => break,
                DecodeStep::Complete {
                    trailer,
                    rest: after,
                } => {
                    self.decoder = StreamDecoder::new(&self.marks);
                    let ours = match &mut self.taking {
                        Some(taking) => taking.piece(&trailer),
                        None => is_given_up(&trailer),
                    };

                    // A mark with other content is not from our script: it passes on as output.
                    if !ours {
                        output.extend(trailer);
                    }

                    rest = after;
                }
                DecodeStep::Broken => {
                    output.extend(self.finish());
                    break;
                }
            }
        }

        Some(output)
    }

    /// Returns the bytes held back. The shell has ended.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut output = Vec::new();
        self.decoder.finish(&mut output);
        self.decoder = StreamDecoder::new(&self.marks);
        output
    }
}

impl SnapshotInProgress {
    /// Takes `id:number:length:text`, or `id:number:end:length` at the end. Returns false for any
    /// other text.
    fn piece(&mut self, piece: &[u8]) -> bool {
        let Some([id, number, length, text]) = fields(piece) else {
            return false;
        };

        // The rest of a snapshot that was given up may still come.
        if id != self.id.as_str().as_bytes() {
            return is_given_up(piece);
        }

        // Pieces are numbered, so a missing one shows even where the lengths agree by chance.
        self.spoiled |= number != self.next.to_string().as_bytes();
        self.next = self.next.wrapping_add(1);

        match length {
            b"end" => self.ended = Some(self.finish(text)),
            b"big" => self.ended = Some(Extracted::TooLarge),
            _ if is_length(length, text) => {
                let room = 8 * MAX_SNAPSHOT_BYTES > self.text.0.len();
                self.spoiled |= !room;
                if room {
                    self.text.0.extend_from_slice(text);
                }
            }
            _ => {
                self.spoiled = true;
                return false;
            }
        }

        true
    }

    /// Checks the length of the whole text, and parses the snapshot.
    fn finish(&mut self, length: &[u8]) -> Extracted {
        let text = std::mem::take(&mut self.text).0;
        // A snapshot that is not complete must not be restored: it is a script, and half a script
        // does something else.
        if self.spoiled || !is_length(length, &text) {
            return Extracted::Spoiled;
        }

        // bash has written the text with `printf %q`, and other shells as it is.
        let text = match self.kind {
            ShellKind::Bash => unquote(&text).map(Zeroizing::new),
            ShellKind::Posix => Some(text),
        };

        let snapshot = text.and_then(|text| Snapshot::parse(self.kind, &self.id, &text));

        snapshot.map_or(Extracted::Spoiled, |snapshot| {
            Extracted::Whole(Box::new(snapshot))
        })
    }
}

/// Splits a piece into four fields.
fn fields(piece: &[u8]) -> Option<[&[u8]; 4]> {
    let mut fields = piece.splitn(4, |byte| *byte == b':');
    Some([
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    ])
}

/// Returns true for a piece of a snapshot given up for a later snapshot. Nobody else knows the
/// marks.
fn is_given_up(piece: &[u8]) -> bool {
    let Some([id, _, length, text]) = fields(piece) else {
        return false;
    };
    let is_id = id.len() == 32 && id.iter().all(u8::is_ascii_hexdigit);
    is_id && (is_length(length, text) || [&b"end"[..], b"big"].contains(&length))
}

/// Returns true if `length` is the length of the text, in bytes or, as some shells count, in
/// characters.
fn is_length(length: &[u8], text: &[u8]) -> bool {
    let length: Option<usize> = std::str::from_utf8(length)
        .ok()
        .and_then(|length| length.parse().ok());
    length == Some(text.len())
        || std::str::from_utf8(text).is_ok_and(|text| length == Some(text.chars().count()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn extractor() -> SnapshotExtractor {
        let mut extractor = SnapshotExtractor::new(Sentinel::from_random([1; 16]));
        extractor.request(
            ShellKind::Bash,
            ShellDescriptors::Above(23),
            Sentinel::from_random([2; 16]),
        );
        extractor
    }

    fn piece(number: u32, length: &str, text: &str) -> Vec<u8> {
        let (marks, id) = (Sentinel::from_random([1; 16]), "02".repeat(16));
        [
            marks.opening(),
            format!("{id}:{number}:{length}:{text}").into_bytes(),
            marks.closing(),
        ]
        .concat()
    }

    /// Returns the pieces of a snapshot with a single variable.
    fn pieces() -> Vec<Vec<u8>> {
        let text = format!(
            "$'\\036{0} u\\n0022\\n\\036{0} v\\ndeclare -- V=\"1\"\\n'",
            "02".repeat(16)
        );

        let (first, second) = text.split_at(40);
        vec![
            piece(0, &first.len().to_string(), first),
            piece(1, &second.len().to_string(), second),
            piece(2, "end", &text.len().to_string()),
        ]
    }

    /// Pushes a stream in portions of `cut` bytes.
    fn pushed(extractor: &mut SnapshotExtractor, stream: &[u8], cut: usize) -> Vec<u8> {
        let mut output = Vec::new();
        for portion in stream.chunks(cut) {
            output.extend(extractor.push(portion).unwrap_or_else(|| portion.to_vec()));
        }
        output.extend(extractor.finish());
        output
    }

    #[test]
    fn a_snapshot_is_assembled_and_other_output_passes_through() {
        let [first, second, end] = pieces().try_into().unwrap();
        let stream = [&b"a\x1e"[..], &first, b"b\n", &second, b"c", &end, b"\x1e"].concat();
        for cut in [1, 7, 1000] {
            let mut extractor = extractor();
            assert_eq!(pushed(&mut extractor, &stream, cut), b"a\x1eb\nc\x1e");
            assert!(
                matches!(extractor.extracted(), Some(Extracted::Whole(_)))
                    && extractor.extracted().is_none()
                    && !extractor.is_taking()
            );
        }
    }

    #[test]
    fn an_incomplete_or_mixed_snapshot_is_dropped_and_nothing_else() {
        let [first, second, end] = pieces().try_into().unwrap();
        let mixed = |at| [&first[..at], b"foreign", &first[at..]].concat();

        for (stream, foreign) in [
            ([&second[..], &end].concat(), ""),
            ([&first[..], &end].concat(), ""),
            ([&first[..], &second, &second, &end].concat(), ""),
            ([&mixed(50)[..], &second, &end].concat(), "foreign"),
            ([&mixed(90)[..], &second, &end].concat(), "foreign"),
            ([&first[..], &second, &piece(2, "end", "7")].concat(), ""),
        ] {
            let mut extractor = extractor();
            let passed = String::from_utf8(pushed(&mut extractor, &stream, 64)).unwrap();
            assert!(passed.contains(foreign), "{passed}");
            let extracted = extractor.extracted();
            assert!(
                matches!(extracted, Some(Extracted::Spoiled)),
                "{extracted:?} after {passed:?}"
            );
        }

        let mut extractor = extractor();
        pushed(&mut extractor, &piece(0, "big", "9000000"), 9);
        assert!(matches!(extractor.extracted(), Some(Extracted::TooLarge)));
    }

    #[test]
    fn pieces_of_an_abandoned_snapshot_are_never_output() {
        let other = |number, length, text| {
            let piece = piece(number, length, text);
            String::from_utf8(piece)
                .unwrap()
                .replace(&"02".repeat(16), &"03".repeat(16))
                .into_bytes()
        };

        let given_up = [other(0, "1", "x"), b"out".to_vec(), other(1, "end", "1")].concat();
        for cut in [1, 1000] {
            let mut extractor = extractor();

            assert_eq!(
                pushed(
                    &mut extractor,
                    &[given_up.clone(), pieces().concat()].concat(),
                    cut
                ),
                b"out"
            );

            assert!(matches!(extractor.extracted(), Some(Extracted::Whole(_))));
            assert_eq!(pushed(&mut extractor, &given_up, cut), b"out");
            assert_eq!(
                pushed(&mut extractor, &other(2, "5", "x"), cut),
                [&b"03".repeat(16)[..], b":2:5:x"].concat()
            );
        }
    }

    #[test]
    fn nothing_of_a_snapshot_is_shown() {
        let mut extractor = extractor();
        extractor.push(&pieces()[0]);
        assert!(!format!("{extractor:?}").contains("036"));
    }

    proptest! {
        #[test]
        fn what_is_no_snapshot_passes_unchanged(
            stream in proptest::collection::vec(prop_oneof![Just(0x1eu8), Just(b'0'), Just(b'1'), any::<u8>()], 0..200), cut in 1usize..40,
        ) {
            prop_assert_eq!(pushed(&mut extractor(), &stream, cut), stream);
        }
    }
}
