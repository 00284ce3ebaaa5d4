//! Text of a terminal without what says nothing: empty lines and repetitions.

/// Number of equal lines in a row from which the line is shown once.
const MIN_REPEATED: usize = 3;

/// Shortens the text of a terminal: several empty lines become one, and three or more equal lines
/// become one with their number, such as `~ (×36)`. Empty lines at the beginning and end are left out.
///
/// A full-screen program fills its whole screen, so most of a screen is such lines.
pub(super) fn fold(text: &str) -> String {
    // An unfinished line may be a prompt, which stays as it is.
    let (lines, unfinished) = match text.rfind('\n') {
        Some(end) => text.split_at(end + 1),
        None => ("", text),
    };

    let mut lines = lines.lines().map(str::trim_end).peekable();
    let mut folded = String::new();

    while let Some(line) = lines.next() {
        let mut count = 1;
        while lines.next_if_eq(&line).is_some() {
            count += 1;
        }

        let is_last = lines.peek().is_none() && unfinished.is_empty();

        let shown = match count {
            _ if line.is_empty() && (folded.is_empty() || is_last) => String::new(),
            _ if line.is_empty() => "\n".to_owned(),
            MIN_REPEATED.. => format!("{line} (×{count})\n"),
            _ => format!("{line}\n").repeat(count),
        };
        folded.push_str(&shown);
    }

    folded + unfinished
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_say_nothing_are_folded() {
        for (text, folded) in [
            ("", ""),
            ("\n\n", ""),
            ("a\n", "a\n"),
            ("a", "a"),
            ("a  \n\n\n\nb \n", "a\n\nb\n"),
            ("a\n\n\nName? ", "a\n\nName? "),
            ("\n\na\n\n", "a\n"),
            ("a\na\nb\n", "a\na\nb\n"),
            ("text\n~\n~\n~\n~\n:\n", "text\n~ (×4)\n:\n"),
        ] {
            assert_eq!(fold(text), folded, "{text:?}");
        }
    }
}
