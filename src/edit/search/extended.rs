//! Writes a regular expression as a POSIX extended one, for `grep -E` in the locale `C`.

use regex_syntax::{
    hir::{Class, Hir, HirKind, Look, Repetition},
    utf8::{Utf8Sequence, Utf8Sequences},
};

/// Number of byte sequences for the characters of a class that are not ASCII.
const MAX_SEQUENCES: usize = 32;
/// Number of characters that are not ASCII.
const NON_ASCII: u32 = 0x11_0000 - 0x80 - 0x800;
/// Length of an expression in bytes.
const MAX_BYTES: usize = 32 * 1024;
/// Letters with a meaning outside of brackets.
const SPECIAL: &[u8] = br".[\()*+?{}|^$";

/// Writes the expression; `None` if there is none with this meaning.
///
/// A large class of characters that are not ASCII, such as those of `\w`, becomes either all or
/// none of them.
pub(super) fn write(hir: &Hir) -> Option<Vec<u8>> {
    let mut output = Vec::new();
    append(hir, &mut output)?;
    (output.len() <= MAX_BYTES).then_some(output)
}

fn append(hir: &Hir, output: &mut Vec<u8>) -> Option<()> {
    if output.len() > MAX_BYTES {
        return None;
    }

    match hir.kind() {
        HirKind::Empty => {}
        HirKind::Literal(literal) => {
            for byte in &*literal.0 {
                append_byte(*byte, output)?;
            }
        }
        HirKind::Class(class) => append_class(class, output)?,
        HirKind::Look(look) => output.extend_from_slice(match look {
            Look::Start | Look::StartLF | Look::StartCRLF => b"^",
            // The line of a file with CRLF ends before the CR.
            Look::End | Look::EndLF | Look::EndCRLF => b"\r?$",
            Look::WordAscii | Look::WordUnicode => br"\b",
            Look::WordAsciiNegate | Look::WordUnicodeNegate => br"\B",
            Look::WordStartAscii | Look::WordStartUnicode => br"\<",
            Look::WordEndAscii | Look::WordEndUnicode => br"\>",
            _ => return None,
        }),
        HirKind::Repetition(repetition) => append_repetition(repetition, output)?,
        HirKind::Capture(capture) => append_group(&capture.sub, output)?,
        HirKind::Concat(parts) => {
            for part in parts {
                append(part, output)?;
            }
        }
        HirKind::Alternation(parts) => {
            let is_empty = |part: &&Hir| matches!(part.kind(), HirKind::Empty);
            output.push(b'(');
            for (at, part) in parts.iter().filter(|part| !is_empty(part)).enumerate() {
                if at > 0 {
                    output.push(b'|');
                }
                append(part, output)?;
            }
            output.push(b')');
            // POSIX has no empty alternative.
            if parts.iter().any(|part| is_empty(&part)) {
                output.push(b'?');
            }
        }
    }

    Some(())
}

fn append_group(hir: &Hir, output: &mut Vec<u8>) -> Option<()> {
    output.push(b'(');
    append(hir, output)?;
    output.push(b')');

    Some(())
}

fn append_repetition(repetition: &Repetition, output: &mut Vec<u8>) -> Option<()> {
    let is_one = match repetition.sub.kind() {
        HirKind::Literal(literal) => literal.0.len() == 1,
        HirKind::Class(_) | HirKind::Capture(_) => true,
        _ => false,
    };
    if is_one {
        append(&repetition.sub, output)?;
    } else {
        append_group(&repetition.sub, output)?;
    }

    let count = match (repetition.min, repetition.max) {
        (0, None) => "*".to_owned(),
        (1, None) => "+".to_owned(),
        (0, Some(1)) => "?".to_owned(),
        (min, None) => format!("{{{min},}}"),
        (min, Some(max)) if min == max => format!("{{{min}}}"),
        (min, Some(max)) => format!("{{{min},{max}}}"),
    };
    output.extend_from_slice(count.as_bytes());

    Some(())
}

/// Appends one byte as itself.
fn append_byte(byte: u8, output: &mut Vec<u8>) -> Option<()> {
    if byte == 0 {
        return None;
    }

    if SPECIAL.contains(&byte) {
        output.push(b'\\');
    }
    output.push(byte);

    Some(())
}

fn append_class(class: &Class, output: &mut Vec<u8>) -> Option<()> {
    let mut bytes = [false; 256];
    let mut sequences = Vec::new();
    match class {
        Class::Bytes(class) => {
            for range in class.ranges() {
                include(&mut bytes, range.start(), range.end());
            }
        }
        Class::Unicode(class) => {
            let mut count = 0;
            for range in class.ranges() {
                let (start, end) = (u32::from(range.start()), u32::from(range.end()));
                if let Ok(first) = u8::try_from(start)
                    && first < 0x80
                {
                    include(&mut bytes, first, u8::try_from(end.min(0x7f)).ok()?);
                }
                if end >= 0x80 {
                    count += end - start.max(0x80) + 1;
                    let start = char::from_u32(start.max(0x80))?;
                    let room = (MAX_SEQUENCES + 1).saturating_sub(sequences.len());
                    sequences.extend(Utf8Sequences::new(start, range.end()).take(room));
                }
            }

            if count > NON_ASCII / 2 {
                include(&mut bytes, 0x80, 0xff);
                sequences.clear();
            }
            if sequences.len() > MAX_SEQUENCES {
                sequences.clear();
            }
        }
    }

    let has_bytes = bytes.contains(&true);
    if sequences.is_empty() {
        return append_bracket(&bytes, output);
    }

    if sequences.len() > 1 || has_bytes {
        output.push(b'(');
    }
    if has_bytes {
        append_bracket(&bytes, output)?;
    }
    for (at, sequence) in sequences.iter().enumerate() {
        if at > 0 || has_bytes {
            output.push(b'|');
        }
        append_sequence(sequence, output)?;
    }
    if sequences.len() > 1 || has_bytes {
        output.push(b')');
    }

    Some(())
}

fn append_sequence(sequence: &Utf8Sequence, output: &mut Vec<u8>) -> Option<()> {
    for range in sequence.as_slice() {
        let mut bytes = [false; 256];
        include(&mut bytes, range.start, range.end);
        append_bracket(&bytes, output)?;
    }

    Some(())
}

fn include(bytes: &mut [bool; 256], first: u8, last: u8) {
    if let Some(range) = bytes.get_mut(usize::from(first)..=usize::from(last)) {
        range.fill(true);
    }
}

/// Appends an expression for one of these bytes. NUL and the line end are in no line of a text, so
/// they belong to either side.
fn append_bracket(bytes: &[bool; 256], output: &mut Vec<u8>) -> Option<()> {
    let has = |byte: u8| bytes.get(usize::from(byte)) == Some(&true);
    let is_negated = has(0xff) && has(0x80);
    let is_listed = |byte: u8| !matches!(byte, 0 | b'\n') && has(byte) != is_negated;

    let listed: Vec<u8> = (0..=u8::MAX).filter(|byte| is_listed(*byte)).collect();
    match (listed.as_slice(), is_negated) {
        ([], true) => {
            output.push(b'.');
            return Some(());
        }
        ([], false) => return None,
        ([one], false) => return append_byte(*one, output),
        _ => {}
    }

    output.push(b'[');
    if is_negated {
        output.push(b'^');
    }

    // These have a meaning except in certain places.
    let is_plain = |byte: u8| is_listed(byte) && !b"][^-".contains(&byte);
    if is_listed(b']') {
        output.push(b']');
    }

    let mut next = 0_u16;
    while let Ok(first) = u8::try_from(next) {
        let last = (first..=u8::MAX).take_while(|byte| is_plain(*byte)).last();
        next = match last {
            None => next + 1,
            Some(last) => {
                output.push(first);
                if last > first + 1 {
                    output.push(b'-');
                }
                if last > first {
                    output.push(last);
                }
                u16::from(last) + 1
            }
        };
    }

    if is_listed(b'[') {
        output.push(b'[');
    }
    let is_first = output.last() == Some(&b'[') && !is_listed(b'[');
    if is_first && is_listed(b'^') {
        output.extend_from_slice(b"-^");
    } else {
        output.extend(is_listed(b'^').then_some(b'^'));
        output.extend(is_listed(b'-').then_some(b'-'));
    }
    output.push(b']');

    Some(())
}
