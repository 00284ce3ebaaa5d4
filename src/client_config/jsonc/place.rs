//! Places in a text: lines, commas and what is between values.

/// Returns the indentation of the line of this position.
pub(super) fn line_indent(text: &str, position: usize) -> &str {
    let before = text.get(..position).unwrap_or_default();
    let line = before.rsplit(['\n', '\u{feff}']).next().unwrap_or_default();
    let rest = line.trim_start_matches([' ', '\t']);
    line.get(..line.len() - rest.len()).unwrap_or_default()
}

/// Returns the start of the line if only spaces are before this position.
pub(super) fn line_start_if_blank(text: &str, position: usize) -> Option<usize> {
    let before = text.get(..position)?;
    let blank = before.trim_end_matches([' ', '\t']);
    (blank.is_empty() || blank.ends_with(['\n', '\u{feff}'])).then_some(blank.len())
}

/// Returns the start of the next line if only spaces follow on this one.
pub(super) fn line_rest(text: &str, position: usize) -> Option<usize> {
    let rest = text.get(position..)?;
    let line = rest.split_inclusive('\n').next()?;
    (line.ends_with('\n') && line.trim().is_empty()).then_some(position + line.len())
}

/// Returns the number of spaces and tabs at this position.
pub(super) fn spaces(text: &str, position: usize) -> usize {
    let rest = text.get(position..).unwrap_or_default();
    rest.len() - rest.trim_start_matches([' ', '\t']).len()
}

/// Returns the number of bytes of white space before this position.
pub(super) fn trailing_space(text: &str, position: usize) -> usize {
    let before = text.get(..position).unwrap_or_default();
    before.len() - before.trim_end_matches([' ', '\t', '\r', '\n']).len()
}

/// Returns the position of the comma that follows, after white space and comments.
pub(super) fn comma_after(text: &str, position: usize, limit: usize) -> Option<usize> {
    let comma = skip_trivia(text, position);
    (comma < limit && text.as_bytes().get(comma) == Some(&b',')).then_some(comma)
}

/// Returns the position after white space and comments.
pub(super) fn skip_trivia(text: &str, mut position: usize) -> usize {
    loop {
        let rest = text.get(position..).unwrap_or_default();
        let trimmed = rest.trim_start();
        position += rest.len() - trimmed.len();
        let comment = if trimmed.starts_with("//") {
            trimmed.find('\n').unwrap_or(trimmed.len())
        } else if trimmed.starts_with("/*") {
            trimmed.find("*/").map_or(trimmed.len(), |end| end + 2)
        } else {
            return position;
        };
        position += comment;
    }
}

/// Returns the text with another part from `start` to `end`.
pub(super) fn spliced(text: &str, start: usize, end: usize, part: &str) -> String {
    let before = text.get(..start).unwrap_or_default();
    let behind = text.get(end..).unwrap_or_default();
    format!("{before}{part}{behind}")
}
