//! Finds the place of a file that is most similar to a text which does not occur in it.

use std::fmt::{self, Write as _};

use super::{
    display::{character_start, window},
    lines::{count_line_ends, lines, text},
};

/// Number of lines of the text that serve to find similar places.
const PROBES: usize = 4;
/// Number of similar lines that are kept for each probe.
const CANDIDATES: usize = 8;
/// Number of lines of the text that are compared with a candidate.
const COMPARED_LINES: usize = 60;
/// Number of bytes of a line that are compared with a candidate.
const COMPARED_BYTES: usize = 400;
/// Similarity in percent below which a place is not worth showing.
const LEAST_SIMILARITY: usize = 35;
/// Number of slots for the groups of three bytes that occur in a probe.
const SLOTS: usize = 4096;
/// Width of a shown line, in bytes.
const SHOWN: usize = 120;

/// Place of a file that is most similar to a text, made by [`nearest`].
///
/// `Display` shows the place in at most five lines, with whitespace made visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nearest {
    /// Line of the first difference in the file, from 1.
    pub line: usize,
    /// Column of the first difference in that line, in characters from 1.
    pub column: usize,
    /// Description of the first difference.
    difference: String,
    /// Line of the text and line of the file, with a mark below the difference.
    shown: [String; 3],
}

impl fmt::Display for Nearest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [wanted, found, mark] = &self.shown;
        write!(
            out,
            "the most similar place differs in line {}, column {}: {}\n  text: {wanted}\n  file: {found}\n        {mark}",
            self.line, self.column, self.difference
        )
    }
}

/// Returns the place of `content` most similar to `wanted`, or `None` if nothing is similar.
///
/// Similar places are found by the groups of three bytes that their lines share with the longest
/// lines of `wanted`, in one pass over the content. Only the best candidates are compared.
#[must_use]
pub fn nearest(content: &[u8], wanted: &[u8]) -> Option<Nearest> {
    let wanted_lines: Vec<&[u8]> = lines(wanted).collect();
    let probes = Probes::new(&wanted_lines);
    let candidates = probes.candidates(content);

    let mut best = None::<(usize, usize)>;
    for (probe, line_start) in candidates {
        let start = back_up(content, line_start, probe);
        let similarity = similarity(content.get(start..).unwrap_or_default(), &wanted_lines);
        // Of equally similar places the first wins.
        if best
            .is_none_or(|(most, first)| similarity > most || (similarity == most && start < first))
        {
            best = Some((similarity, start));
        }
    }

    let (similarity, start) = best?;
    (similarity >= LEAST_SIMILARITY).then(|| describe(content, start, wanted))
}

/// Longest lines of the wanted text, as sets of groups of three bytes.
struct Probes {
    /// Bit set of the probes in which a group occurs, for each hash of a group.
    slots: Vec<u8>,
    /// For each probe, its line in the text and its number of groups.
    lines: Vec<(usize, usize)>,
}

impl Probes {
    /// Chooses the longest lines as probes.
    fn new(wanted: &[&[u8]]) -> Self {
        let mut longest: Vec<usize> = (0..wanted.len()).collect();
        longest.sort_by_key(|at| std::cmp::Reverse(wanted.get(*at).map_or(0, |line| line.len())));
        longest.truncate(PROBES);

        let (mut slots, mut probes) = (vec![0_u8; SLOTS], Vec::new());
        for (probe, at) in longest.into_iter().enumerate() {
            let mut groups = 0;
            let line = wanted.get(at).copied().unwrap_or_default();
            each_group(line, |slot| {
                groups += 1;
                if let Some(slot) = slots.get_mut(slot) {
                    *slot |= 1 << probe;
                }
            });
            probes.push((at, groups));
        }

        Self {
            slots,
            lines: probes,
        }
    }

    /// Returns the most similar lines as pairs of a line of the text and a position in the content.
    fn candidates(&self, content: &[u8]) -> Vec<(usize, usize)> {
        // The worst of each list comes last. Lists are short, so sorting is cheap.
        let mut best: Vec<Vec<(usize, usize)>> = vec![Vec::new(); self.lines.len()];
        let mut position = 0;

        for line in lines(content) {
            let (mut hits, mut groups) = ([0_usize; PROBES], 0_usize);
            each_group(line, |slot| {
                groups += 1;
                let mut set = self.slots.get(slot).copied().unwrap_or_default();
                while set != 0 {
                    if let Some(hits) = hits.get_mut(set.trailing_zeros() as usize) {
                        *hits += 1;
                    }
                    set &= set - 1;
                }
            });

            for ((best, hits), (_, wanted)) in best.iter_mut().zip(hits).zip(&self.lines) {
                // A long line may contain the whole text, so its length counts only a little.
                let shared = hits.min(*wanted) * 1000;
                let score = shared / (wanted + 1) + shared / (groups + wanted + 1);
                let is_better = best.last().is_none_or(|(worst, _)| score > *worst);
                if hits > 0 && (best.len() < CANDIDATES || is_better) {
                    best.push((score, position));
                    best.sort_by_key(|(score, position)| (std::cmp::Reverse(*score), *position));
                    best.truncate(CANDIDATES);
                }
            }

            position += line.len();
        }

        let of_probe = best.into_iter().zip(&self.lines);
        of_probe
            .flat_map(|(best, (line, _))| best.into_iter().map(|(_, position)| (*line, position)))
            .collect()
    }
}

/// Calls `found` with the slot of each group of three bytes of the line. Whitespace is left out.
fn each_group(line: &[u8], mut found: impl FnMut(usize)) {
    // A line begins and ends like with a space, so that a line of one byte has a group.
    let mut group = u32::from(b' ');
    let mut bytes = 1;
    let solid = line.iter().filter(|byte| !byte.is_ascii_whitespace());
    for byte in solid.chain([&b' ']) {
        group = (group << 8 | u32::from(*byte)) & 0x00ff_ffff;
        bytes += 1;
        if bytes >= 3 {
            found((group.wrapping_mul(0x9e37_79b1) >> 20) as usize);
        }
    }
}

/// Returns the position of the line that is `count` lines before that at `start`, or 0.
fn back_up(content: &[u8], start: usize, count: usize) -> usize {
    let mut start = start;
    for _ in 0..count {
        let before = content.get(..start.saturating_sub(1)).unwrap_or_default();
        start = memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
    }

    start
}

/// Returns the similarity of the first lines of `content` with the wanted lines, in percent.
fn similarity(content: &[u8], wanted: &[&[u8]]) -> usize {
    let (mut equal, mut all) = (0, 0);
    let mut found = lines(content);

    for wanted in wanted.iter().take(COMPARED_LINES) {
        let wanted = text(wanted).trim_ascii();
        let weight = wanted.len().min(COMPARED_BYTES) + 1;
        all += weight;

        let Some(found) = found.next() else { continue };
        let mut found = text(found).trim_ascii();
        // A long line may hold the text somewhere inside.
        if found.len() > 2 * wanted.len() {
            let rest = found.get(aligned(found, wanted)..).unwrap_or_default();
            found = rest.get(..wanted.len()).unwrap_or(rest);
        }
        if found == wanted {
            equal += weight;
        } else {
            equal += common(wanted.iter(), found.iter())
                .max(common(wanted.iter().rev(), found.iter().rev()))
                .max(shared_groups(wanted, found));
        }
    }

    equal * 100 / all.max(1)
}

/// Returns the length of the common beginning of two sequences, within bounds.
fn common<'a>(a: impl Iterator<Item = &'a u8>, b: impl Iterator<Item = &'a u8>) -> usize {
    a.zip(b)
        .take(COMPARED_BYTES)
        .take_while(|(a, b)| a == b)
        .count()
}

/// Returns the number of groups of three bytes that two lines share, within bounds.
fn shared_groups(wanted: &[u8], found: &[u8]) -> usize {
    let probes = Probes::new(&[wanted.get(..COMPARED_BYTES).unwrap_or(wanted)]);
    let mut shared = 0;
    each_group(found, |slot| {
        shared += usize::from(probes.slots.get(slot).is_some_and(|set| *set != 0));
    });
    let longer = wanted.len().max(found.len().min(COMPARED_BYTES)).max(1);

    shared.min(wanted.len()) * wanted.len() / longer
}

/// Describes the first difference between the text and the file from the line at `start`.
fn describe(content: &[u8], start: usize, wanted: &[u8]) -> Nearest {
    let rest = content.get(start..).unwrap_or_default();
    let line = text(lines(rest).next().unwrap_or_default());
    let begin = start + aligned(line, lines(wanted).next().map(text).unwrap_or_default());

    let found = content.get(begin..).unwrap_or_default();
    let (mut in_wanted, mut in_found) = first_difference(wanted, found);
    // Whole characters are named, not the bytes in which they differ.
    let back = (in_wanted - character_start(wanted, in_wanted))
        .max(in_found - character_start(found, in_found));
    in_wanted -= back.min(in_wanted);
    in_found -= back.min(in_found);

    let at = begin + in_found;
    let (found_start, found_line) = line_at(content, at);
    let (wanted_start, wanted_line) = line_at(wanted, in_wanted);
    let (shown_wanted, before) = visible(wanted_line, in_wanted - wanted_start);
    let (shown_found, before_found) = visible(found_line, at - found_start);

    // The texts before the difference may be of different width, so the mark is that of the file.
    let mark = format!(
        "{}^",
        " ".repeat(before_found.max(usize::from(before == 0)))
    );
    let before_difference = content.get(found_start..at).unwrap_or_default();
    let of_text = named(
        wanted.get(in_wanted..).unwrap_or_default(),
        "the end of the text",
    );
    let of_file = named(content.get(at..).unwrap_or_default(), "the end of the file");

    Nearest {
        line: 1 + count_line_ends(content.get(..found_start).unwrap_or_default()),
        column: 1 + String::from_utf8_lossy(before_difference).chars().count(),
        difference: format!("{of_text} in the text, {of_file} in the file"),
        shown: [shown_wanted, shown_found, mark],
    }
}

/// Returns the position in a line of the file at which the first line of the text begins best.
fn aligned(line: &[u8], wanted: &[u8]) -> usize {
    let mut length = wanted.len();
    // A beginning of a few bytes occurs anywhere, so shorter ones say nothing.
    while length >= 4 {
        let beginning = wanted.get(..length).unwrap_or_default();
        if let Some(at) = memchr::memmem::find(line, beginning) {
            let indented = line.len() - line.trim_ascii_start().len();
            let is_blank = beginning.trim_ascii().is_empty();
            return if is_blank && at <= indented { 0 } else { at };
        }
        length /= 2;
    }

    0
}

/// Returns the positions of the first difference. An LF of the text equals a CRLF of the file.
fn first_difference(wanted: &[u8], found: &[u8]) -> (usize, usize) {
    let (mut at, mut in_found) = (0, 0);
    while let (Some(a), Some(b)) = (wanted.get(at), found.get(in_found)) {
        if *a == b'\n' && found.get(in_found..in_found + 2) == Some(b"\r\n") {
            in_found += 1;
        } else if a != b {
            break;
        }
        at += 1;
        in_found += 1;
    }

    (at, in_found)
}

/// Returns the line that covers a position, without LF, and where it begins.
fn line_at(bytes: &[u8], at: usize) -> (usize, &[u8]) {
    let before = bytes.get(..at).unwrap_or_default();
    let start = memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
    let rest = bytes.get(start..).unwrap_or_default();
    let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());

    (start, rest.get(..end).unwrap_or(rest))
}

/// Returns a part of a line around `at` with whitespace made visible, and its width before `at`.
fn visible(line: &[u8], at: usize) -> (String, usize) {
    let (start, end) = window(line, at, SHOWN);
    let trailing = line.trim_ascii_end().len();
    let (mut shown, mut width) = (String::new(), 0);
    let mut position = start;

    for chunk in line.get(start..end).unwrap_or_default().utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\t' => shown.push('→'),
                '\r' => shown.push('␍'),
                ' ' if position >= trailing || position == at => shown.push('·'),
                _ if is_easily_confused(letter) => shown.extend(letter.escape_unicode()),
                _ => shown.push(letter),
            }
            position += letter.len_utf8();
            if position <= at {
                width = shown.chars().count();
            }
        }

        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
            position += 1;
            if position <= at {
                width = shown.chars().count();
            }
        }
    }

    (shown, width)
}

/// Returns true for a character that looks like another one, like nothing, or ends a line.
fn is_easily_confused(letter: char) -> bool {
    crate::foreign_text::is_line_unsafe(letter)
        || matches!(letter,
            // Spaces, marks without width, combining marks, dashes and quotation marks.
            '\u{a0}' | '\u{ad}' | '\u{300}'..='\u{36f}' | '\u{2000}'..='\u{201f}'
            | '\u{202f}' | '\u{2032}' | '\u{2033}' | '\u{205f}' | '\u{2060}' | '\u{2212}'
            | '\u{3000}' | '\u{feff}')
}

/// Names the first character of the bytes.
fn named(bytes: &[u8], end: &str) -> String {
    let first = bytes.get(..bytes.len().min(4)).unwrap_or_default();
    let Some(chunk) = first.utf8_chunks().next() else {
        return end.to_owned();
    };

    match chunk.valid().chars().next() {
        None => format!(
            "the byte 0x{:02x}",
            first.first().copied().unwrap_or_default()
        ),
        Some('\n') => "the end of the line (LF)".to_owned(),
        Some('\r') if bytes.starts_with(b"\r\n") => "the end of the line (CRLF)".to_owned(),
        Some('\r') => "a carriage return".to_owned(),
        Some('\t') => "a tab".to_owned(),
        Some(' ') => "a space".to_owned(),
        Some(letter) if is_easily_confused(letter) || letter == '\0' => {
            format!("U+{:04X}", u32::from(letter))
        }
        Some(letter) if letter.is_ascii() => format!("\"{letter}\""),
        Some(letter) => format!("\"{letter}\" (U+{:04X})", u32::from(letter)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        for (content, wanted, line, column, difference) in [
            (
                "a\nport 22\nb\n",
                "port 23\n",
                2,
                7,
                "\"3\" in the text, \"2\" in the file",
            ),
            (
                "fn a() {\n\treturn 1;\n}\n",
                "fn a() {\n    return 1;\n}",
                2,
                1,
                "a space in the text, a tab in the file",
            ),
            (
                "say(\u{201c}hi\u{201d})\n",
                "say(\"hi\")\n",
                1,
                5,
                "\"\"\" in the text, U+201C in the file",
            ),
            (
                "let a\u{a0}= 1;\n",
                "let a = 1;",
                1,
                6,
                "a space in the text, U+00A0 in the file",
            ),
            (
                "name = cafe\u{301} au lait\n",
                "name = caf\u{e9} au lait",
                1,
                11,
                "\"\u{e9}\" (U+00E9) in the text, \"e\" in the file",
            ),
            (
                "first line \nsecond\n",
                "first line\nsecond\n",
                1,
                11,
                "the end of the line (LF) in the text, a space in the file",
            ),
            (
                "one\ntwo three\n",
                "one\r\ntwo three\r\n",
                1,
                4,
                "the end of the line (CRLF) in the text, the end of the line (LF) in the file",
            ),
            (
                "alpha beta\n",
                "alpha beta\ngamma\n",
                2,
                1,
                "\"g\" in the text, the end of the file in the file",
            ),
            (
                "x = caf\u{e9}\n",
                "x = caf\u{ea}\n",
                1,
                8,
                "\"\u{ea}\" (U+00EA) in the text, \"\u{e9}\" (U+00E9) in the file",
            ),
        ] {
            let nearest = nearest(content.as_bytes(), wanted.as_bytes()).expect(content);
            assert_eq!(
                (nearest.line, nearest.column, nearest.difference.as_str()),
                (line, column, difference),
                "{content:?}"
            );
            assert!(nearest.to_string().lines().count() <= 10);
        }
    }

    #[test]
    fn whitespace_is_visible_and_the_difference_is_marked() {
        let nearest = nearest(b"if x:\n\tgo(1)  \n", b"if x:\n\tgo(2)\n").expect("similar");
        assert_eq!(
            nearest.to_string(),
            "the most similar place differs in line 2, column 5: \"2\" in the text, \"1\" in the file\n  \
             text: →go(2)\n  file: →go(1)··\n            ^"
        );
    }

    #[test]
    fn the_best_of_similar_places_is_chosen() {
        let block = |n: u32| format!("server {{\n  listen {n};\n  root /srv/{n};\n}}\n");
        let content: String = (1000..1400).map(block).collect();
        let wanted = block(1200).replace("root /srv", "root /var");
        let found = nearest(content.as_bytes(), wanted.as_bytes()).expect("similar");
        assert_eq!((found.line, found.column), (803, 9));
    }

    #[test]
    fn what_is_not_similar_is_not_shown() {
        assert_eq!(
            nearest(b"completely other words\n", b"0123456789 xyz"),
            None
        );
        assert_eq!(nearest(b"", b"a"), None);
    }

    #[test]
    fn a_place_in_a_long_line_is_found() {
        let line = format!(
            "{}{{\"port\":8080,\"host\":\"a\"}}{}",
            "[1,2],".repeat(50_000),
            "x,".repeat(9_000)
        );
        let found = nearest(line.as_bytes(), b"{\"port\":8080,\"host\":\"b\"}").expect("similar");
        assert_eq!((found.line, found.column), (1, 300_022));
        assert!(found.to_string().len() < 600, "{found}");
    }

    #[test]
    fn a_large_file_takes_a_moment() {
        let content: String = (0..1_000_000).map(|n| n.to_string() + "\n").collect();
        let same = "}\n".repeat(1_000_000);
        let begin = Instant::now();
        for (content, wanted) in [
            (&content, "999999 \nend"),
            (&same, "}\n}}\n}\n"),
            (&same, &"}\n".repeat(1_000)),
        ] {
            let _ = nearest(content.as_bytes(), wanted.as_bytes());
        }

        // A debug build on a busy machine is many times slower than the program.
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "{:?}",
            begin.elapsed()
        );
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_nearest_place_or_none(
            content in prop::collection::vec(prop::sample::select(b"ab \t\r\n\xc3\xa9\xe2\x80\xff".to_vec()), 0..80),
            wanted in prop::collection::vec(prop::sample::select(b"ab \t\r\n\xc3\xa9\xe2\x80\xff".to_vec()), 1..40),
        ) {
            if let Some(nearest) = nearest(&content, &wanted) {
                prop_assert!(nearest.line <= lines(&content).count() + 1);
                prop_assert!(nearest.to_string().lines().count() <= 10);
            }
        }
    }
}
