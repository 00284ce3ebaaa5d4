//! Byte-exact replacement of text in a file.

use std::borrow::Cow;

use memchr::memmem;

use super::{
    lines::{count_line_ends, first_line_end},
    nearest::{Nearest, nearest},
};

/// Number of lines that [`ReplaceError::FoundSeveralTimes`] names.
const LINES_NAMED: usize = 20;

/// File after a replacement, made by [`replace`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The whole new content.
    pub content: Vec<u8>,
    /// Number of places that were replaced.
    pub places: usize,
}

/// Reason for which nothing was replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplaceError {
    /// The old text is empty.
    #[error("the old text is empty")]
    EmptyOldText,
    /// The new content would be the same as the old content.
    #[error("the new text is the same as the old text")]
    NothingChanges,
    /// The old text does not occur. The value is the most similar place, if any.
    #[error("the old text was not found{}", following(.0.as_deref()))]
    NotFound(Option<Box<Nearest>>),
    /// The old text occurs more than once.
    #[error("the old text was found {count} times: {}", line_list(.lines, *.count))]
    FoundSeveralTimes {
        /// Number of places. Overlapping places count once, but never all of them.
        count: usize,
        /// The first lines of the first 20 places, from 1.
        lines: Vec<usize>,
    },
}

/// Replaces `old` by `new` where `old` occurs exactly once, or at every place with `all`.
///
/// The old text is compared as bytes. If it has no CR, each LF of it also matches CRLF, and each LF
/// of the new text becomes the line end of the place: lines that stay keep their ends, other lines
/// take the end of the line they replace or follow. If the old text has a CR, both texts are taken
/// as they are. An LF of the new text after a CR always stays as it is.
///
/// # Errors
/// Returns [`ReplaceError`] with the reason. Nothing is replaced in part.
pub fn replace(
    content: &[u8],
    old: &[u8],
    new: &[u8],
    all: bool,
) -> Result<Replaced, ReplaceError> {
    if old.is_empty() {
        return Err(ReplaceError::EmptyOldText);
    }

    if old == new {
        return Err(ReplaceError::NothingChanges);
    }

    let searched = Searched::new(content, old);
    let places = searched.places(old);
    match places.as_slice() {
        [] => return Err(ReplaceError::NotFound(nearest(content, old).map(Box::new))),
        [_] => {}
        _ if all => {}
        _ => return Err(found_several_times(content, &places)),
    }

    // Overlapping places are ambiguous too, but a replacement of all takes each byte once.
    if !all
        && let [(first, _)] = places.as_slice()
        && let Some(second) = searched.overlapping(old)
    {
        return Err(found_several_times(content, &[(*first, 0), (second, 0)]));
    }

    let is_exact = old.contains(&b'\r');
    let mut changed = Vec::with_capacity(content.len());
    let mut kept = 0;
    for &(start, end) in &places {
        changed.extend_from_slice(content.get(kept..start).unwrap_or_default());
        if is_exact {
            changed.extend_from_slice(new);
        } else {
            changed.extend(with_line_ends(content, (start, end), old, new));
        }
        kept = end;
    }
    changed.extend_from_slice(content.get(kept..).unwrap_or_default());

    if changed == content {
        return Err(ReplaceError::NothingChanges);
    }

    Ok(Replaced {
        content: changed,
        places: places.len(),
    })
}

/// Returns a list of line numbers for a sentence, with the number of places left out.
pub(super) fn line_list(lines: &[usize], count: usize) -> String {
    let numbers: Vec<String> = lines.iter().map(usize::to_string).collect();
    let more = count.saturating_sub(lines.len());
    let rest = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };

    format!("lines {}{rest}", numbers.join(", "))
}

/// Returns the text that follows "not found" in an error.
pub(super) fn following(nearest: Option<&Nearest>) -> String {
    match nearest {
        Some(nearest) => format!("; {nearest}"),
        None => ", and nothing in the file is similar".to_owned(),
    }
}

/// Content in the form in which old text is looked for.
///
/// The form has LF for each CRLF if the old text allows that, and positions can be mapped back.
struct Searched<'a> {
    bytes: Cow<'a, [u8]>,
    /// Positions in `bytes` of each LF that was CRLF, in ascending order.
    crlf: Vec<usize>,
}

impl<'a> Searched<'a> {
    /// Prepares the content for a search for `old`.
    fn new(content: &'a [u8], old: &[u8]) -> Self {
        let may_match_crlf = old.contains(&b'\n') && !old.contains(&b'\r');
        if !may_match_crlf || memmem::find(content, b"\r\n").is_none() {
            return Self {
                bytes: Cow::Borrowed(content),
                crlf: Vec::new(),
            };
        }

        let (mut bytes, mut crlf) = (Vec::with_capacity(content.len()), Vec::new());
        let mut kept = 0;
        for at in memmem::find_iter(content, b"\r\n") {
            bytes.extend_from_slice(content.get(kept..at).unwrap_or_default());
            crlf.push(bytes.len());
            kept = at + 1;
        }
        bytes.extend_from_slice(content.get(kept..).unwrap_or_default());

        Self {
            bytes: Cow::Owned(bytes),
            crlf,
        }
    }

    /// Returns the start and end of each place in the content, without overlaps.
    fn places(&self, old: &[u8]) -> Vec<(usize, usize)> {
        memmem::find_iter(&self.bytes, old)
            .map(|at| (self.original(at), self.original(at + old.len())))
            .collect()
    }

    /// Returns the start of a second place that overlaps the first place, if there is one.
    fn overlapping(&self, old: &[u8]) -> Option<usize> {
        let first = memmem::find(&self.bytes, old)?;
        let rest = self.bytes.get(first + 1..)?;
        memmem::find(rest, old).map(|at| self.original(first + 1 + at))
    }

    /// Maps a position back to the content. The position of an LF that was CRLF maps to the CR.
    fn original(&self, at: usize) -> usize {
        at + self.crlf.partition_point(|crlf| *crlf < at)
    }
}

/// Returns the error for places in ascending order.
fn found_several_times(content: &[u8], places: &[(usize, usize)]) -> ReplaceError {
    let (mut lines, mut line, mut counted) = (Vec::new(), 1, 0);
    for (start, _) in places.iter().take(LINES_NAMED) {
        line += count_line_ends(content.get(counted..*start).unwrap_or_default());
        counted = *start;
        lines.push(line);
    }

    ReplaceError::FoundSeveralTimes {
        count: places.len(),
        lines,
    }
}

/// Returns the new text with the line ends of the place at which it stands.
fn with_line_ends(content: &[u8], place: (usize, usize), old: &[u8], new: &[u8]) -> Vec<u8> {
    if !new.contains(&b'\n') {
        return new.to_vec();
    }

    let ends = line_ends(content, place);
    let old_lines: Vec<&[u8]> = old.split(|byte| *byte == b'\n').collect();
    let new_lines: Vec<&[u8]> = new.split(|byte| *byte == b'\n').collect();

    let shorter = old_lines.len().min(new_lines.len());
    let same = |(old, new): &(&&[u8], &&[u8])| old == new;
    let first = old_lines.iter().zip(&new_lines).take_while(same).count();
    let last = old_lines.iter().rev().zip(new_lines.iter().rev());
    let last = last.take(shorter - first).take_while(same).count();

    let mut text = Vec::with_capacity(new.len());
    for (at, line) in new_lines.iter().enumerate() {
        text.extend_from_slice(line);
        if at + 1 == new_lines.len() {
            break;
        }

        // Lines that stay keep their ends; a line in between takes that of the line it replaces.
        let counterpart = if at < first {
            at
        } else if at + last >= new_lines.len() {
            at + old_lines.len() - new_lines.len()
        } else if old_lines.len() > first + last {
            at.min(old_lines.len() - last - 1)
        } else {
            first.saturating_sub(1)
        };

        let end = ends.get(counterpart).copied().unwrap_or(b"\n");
        text.extend_from_slice(if line.ends_with(b"\r") { b"\n" } else { end });
    }

    text
}

/// Returns the line ends inside a place, and at last that of the line in which the place ends.
fn line_ends(content: &[u8], (start, end): (usize, usize)) -> Vec<&'static [u8]> {
    let (before, rest) = content.split_at_checked(start).unwrap_or((content, b""));
    let (inside, after) = rest.split_at_checked(end - start).unwrap_or((rest, b""));
    let kind = |text: &[u8], at: usize| -> &'static [u8] {
        if text.get(..at).is_some_and(|line| line.ends_with(b"\r")) {
            b"\r\n"
        } else {
            b"\n"
        }
    };

    let mut ends: Vec<_> = memchr::memchr_iter(b'\n', inside)
        .map(|at| kind(inside, at))
        .collect();

    // A last line without an end is like the line before it.
    let last = match memchr::memchr(b'\n', after) {
        Some(at) => kind(after, at),
        None => match ends.last() {
            Some(end) => end,
            None => memchr::memrchr(b'\n', before)
                .map_or_else(|| first_line_end(content), |at| kind(before, at)),
        },
    };
    ends.push(last);

    ends
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_named_bytes_change() {
        for (content, old, new, result) in [
            ("a\nb\nc\n", "b", "x", "a\nx\nc\n"),
            // Line ends of the place.
            ("a\r\nb\r\nc\r\n", "a\nb", "a\nx\ny", "a\r\nx\r\ny\r\nc\r\n"),
            ("a\r\nb\r\n", "b", "x\ny", "a\r\nx\r\ny\r\n"),
            ("a\r\nb", "b", "x\ny", "a\r\nx\r\ny"),
            ("a\nb", "b", "x\ny", "a\nx\ny"),
            ("a", "a", "x\ny", "x\ny"),
            // Mixed files: each line keeps its end.
            ("a\nb\r\nc\nd\n", "a\nb\nc\n", "a\nc\n", "a\nc\nd\n"),
            ("a\nb\r\nc\nd\n", "a\nb\nc\n", "a\nx\nc\n", "a\nx\r\nc\nd\n"),
            (
                "a\r\nb\nc\r\n",
                "a\nb\nc",
                "a\nnew\nb\nc",
                "a\r\nnew\r\nb\nc\r\n",
            ),
            // A line end at the beginning is taken whole.
            ("a\r\nb\r\n", "\nb", "", "a\r\n"),
            ("a\r\nb\r\n", "a\n", "", "b\r\n"),
            // A CR in the old text means the bytes themselves.
            ("a\r\nb\r\n", "a\r\n", "a\n", "a\nb\r\n"),
            ("a\nb\n", "a\n", "a\r\n", "a\r\nb\n"),
            ("a\r\n", "a\r", "b\r", "b\r\n"),
            ("a\r\nb\r\n", "b", "x\r\ny", "a\r\nx\r\ny\r\n"),
            // No newline at the end, and a byte order mark.
            ("a\nb", "b", "c", "a\nc"),
            ("\u{feff}a\n", "a", "b", "\u{feff}b\n"),
            ("", "a", "", ""),
        ] {
            let replaced = replace(content.as_bytes(), old.as_bytes(), new.as_bytes(), false);
            let found = replaced.map(|replaced| replaced.content);
            let expected = if content.is_empty() {
                Err(ReplaceError::NotFound(None))
            } else {
                Ok(result.as_bytes().to_vec())
            };
            assert_eq!(found, expected, "{content:?} {old:?} {new:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_stay() {
        let replaced = replace(
            b"caf\xe9\r\nport 22\n\xff",
            b"port 22\n",
            b"port 23\n",
            false,
        );
        assert_eq!(
            replaced.map(|replaced| replaced.content),
            Ok(b"caf\xe9\r\nport 23\n\xff".to_vec())
        );
    }

    #[test]
    fn every_place_is_replaced_only_on_request() {
        let content = b"x\nx\r\ny\nx\n";
        assert_eq!(
            replace(content, b"x\n", b"z\n", false),
            Err(ReplaceError::FoundSeveralTimes {
                count: 3,
                lines: vec![1, 2, 4]
            })
        );
        assert_eq!(
            replace(content, b"x\n", b"z\n", true),
            Ok(Replaced {
                content: b"z\nz\r\ny\nz\n".to_vec(),
                places: 3
            })
        );

        let overlapping = replace(b"\naaa\n", b"aa", b"b", false);
        let error = overlapping.expect_err("two places").to_string();
        assert_eq!(error, "the old text was found 2 times: lines 2, 2");
    }

    #[test]
    fn many_places_are_counted_and_some_are_named() {
        let error = replace(&b"x\n".repeat(500), b"x", b"y", false).expect_err("500 places");
        let text = error.to_string();
        assert!(text.starts_with("the old text was found 500 times: lines 1, 2, 3, "));
        assert!(text.ends_with(", 20 and 480 more"), "{text}");
    }

    #[test]
    fn texts_without_effect_are_refused() {
        assert_eq!(
            replace(b"a", b"", b"b", false),
            Err(ReplaceError::EmptyOldText)
        );
        for (content, old, new) in [("a", "a", "a"), ("a\r\n", "a\n", "a\r\n")] {
            assert_eq!(
                replace(content.as_bytes(), old.as_bytes(), new.as_bytes(), false),
                Err(ReplaceError::NothingChanges)
            );
        }
    }

    fn without_cr(bytes: &[u8]) -> Vec<u8> {
        String::from_utf8_lossy(bytes)
            .replace("\r\n", "\n")
            .into_bytes()
    }

    proptest! {
        #[test]
        fn what_is_around_the_place_stays(
            before in "[ab\r\n]{0,12}", old in "[cd\n]{0,5}[cd]", after in "[ab\r\n]{0,12}",
            crlf in any::<bool>(), new in "[xy\n]{0,6}",
        ) {
            let place = if crlf { old.replace('\n', "\r\n") } else { old.clone() };
            prop_assume!(!before.ends_with('\r') || !place.starts_with(['\r', '\n']));
            let content = [&before, &place, &after].map(String::as_str).concat();
            let replaced = replace(content.as_bytes(), old.as_bytes(), new.as_bytes(), false);

            if let Ok(replaced) = replaced {
                let result = String::from_utf8(replaced.content).expect("ASCII");
                prop_assert!(result.starts_with(&before) && result.ends_with(&after));
                let middle = &result.as_bytes()[before.len()..result.len() - after.len()];
                prop_assert_eq!(without_cr(middle), new.into_bytes());
            } else {
                let several = matches!(replaced, Err(ReplaceError::FoundSeveralTimes { .. }));
                prop_assert!(several);
            }
        }
    }
}
