//! Text of a terminal without what says nothing: empty lines and repetitions.

/// Number of equal lines in a row from which the line is shown once.
const MIN_REPEATED: usize = 3;

/// Shortens the text of a terminal: several empty lines become one, and three or more equal lines
/// become one with their number. Empty lines at the beginning and end are left out.
///
/// A full-screen program fills its whole screen, so most of a screen is such lines.
pub(super) fn fold(text: &str) -> String {
    let mut lines = text
        .trim_matches('\n')
        .split('\n')
        .map(str::trim_end)
        .peekable();

    let mut folded: Vec<String> = Vec::new();

    while let Some(line) = lines.next() {
        let mut count = 1;
        while lines.next_if_eq(&line).is_some() {
            count += 1;
        }

        match count {
            _ if line.is_empty() => folded.push(String::new()),
            MIN_REPEATED.. => folded.push(format!("{line} [… {count} such lines]")),
            _ => folded.extend((0..count).map(|_| line.to_owned())),
        }
    }

    let mut folded = folded.join("\n");

    if text.ends_with('\n') && !folded.is_empty() {
        folded.push('\n');
    }

    folded
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
            ("\n\na\n\n", "a\n"),
            ("a\na\nb\n", "a\na\nb\n"),
            ("text\n~\n~\n~\n~\n:\n", "text\n~ [… 4 such lines]\n:\n"),
        ] {
            assert_eq!(fold(text), folded, "{text:?}");
        }
    }
}
