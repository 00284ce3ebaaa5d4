//! Splits bytes into lines and knows the two line ends, LF and CRLF.

/// Returns the lines of `bytes`, each with its line end. Only the last line may lack an end.
pub(super) fn lines(bytes: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n')
}

/// Returns the line without its LF or CRLF.
pub(super) fn text(line: &[u8]) -> &[u8] {
    let end = line_end(line).len();
    line.get(..line.len() - end).unwrap_or(line)
}

/// Returns the LF or CRLF at the end of a line, or nothing for a last line without an end.
pub(super) fn line_end(line: &[u8]) -> &'static [u8] {
    if line.ends_with(b"\r\n") {
        b"\r\n"
    } else if line.ends_with(b"\n") {
        b"\n"
    } else {
        b""
    }
}

/// Returns the line end of the first line, or LF if there is none.
pub(super) fn first_line_end(bytes: &[u8]) -> &'static [u8] {
    match lines(bytes).next().map(line_end) {
        Some(b"\r\n") => b"\r\n",
        _ => b"\n",
    }
}

/// Returns the number of LF bytes.
pub(super) fn count_line_ends(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', bytes).count()
}
