//! Reads statements with quoted words, as a shell prints them for reading them again.

/// Cuts text at the line ends outside of quotes. `None` if the text ends inside quotes.
pub(super) fn statements(text: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut found, mut begin, mut quote, mut at) = (Vec::new(), 0, Quote::None, 0);

    // The kinds of quotes differ in the meaning of a backslash, so the kind is tracked.
    while let Some(&byte) = text.get(at) {
        at += match (quote, byte) {
            (Quote::None | Quote::Double | Quote::Ansi, b'\\') => 2,
            (Quote::None, b'\n') => {
                found.extend(text.get(begin..at));
                begin = at + 1;
                1
            }
            (_, b'\'' | b'"') => {
                let dollar = at > 0 && text.get(at - 1) == Some(&b'$');
                quote = quote.after(byte, dollar);
                1
            }
            _ => 1,
        };
    }

    found.extend(text.get(begin..));
    found.retain(|statement| !statement.is_empty());

    (quote == Quote::None).then_some(found)
}

/// Returns the name at the beginning of an assignment, before the `=` or the end. `None` if it is
/// not a variable's name.
pub(super) fn name(statement: &[u8]) -> Option<&str> {
    let end = statement
        .iter()
        .position(|byte| *byte == b'=')
        .unwrap_or(statement.len());

    let name = std::str::from_utf8(statement.get(..end)?).ok()?;
    let mut letters = name.bytes();
    let first = letters.next()?;
    let word = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_';
    (word(first) && !first.is_ascii_digit() && letters.all(word)).then_some(name)
}

/// Kind of quotes around a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
    /// `$'…'`, in which a backslash escapes a quote.
    Ansi,
}

impl Quote {
    /// Returns the kind of quotes after this quotation mark.
    fn after(self, mark: u8, behind_dollar: bool) -> Self {
        match (self, mark) {
            (Self::None, b'\'') if behind_dollar => Self::Ansi,
            (Self::None, b'\'') => Self::Single,
            (Self::None, _) => Self::Double,
            (Self::Single | Self::Ansi, b'\'') | (Self::Double, b'"') => Self::None,
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::framing::quoting::quote;

    #[test]
    fn a_line_end_ends_a_statement_only_outside_quotes() {
        for (text, expected) in [
            ("", Some(vec![])),
            ("a='1'\nb='2'", Some(vec!["a='1'", "b='2'"])),
            (
                "a='1\n2'\n\nb=\"3\n\\\"4\"\n",
                Some(vec!["a='1\n2'", "b=\"3\n\\\"4\""]),
            ),
            (
                "a=$'it\\'s\n'\nb='\\'\nc",
                Some(vec!["a=$'it\\'s\n'", "b='\\'", "c"]),
            ),
            (
                "a='it'\"'\"'s\n'\nb='x'\\''\ny'",
                Some(vec!["a='it'\"'\"'s\n'", "b='x'\\''\ny'"]),
            ),
            ("a=\"$'\n\"\nb", Some(vec!["a=\"$'\n\"", "b"])),
            (
                "a=([0]=\"x\n\" [1]='y')\nb=\\\nc",
                Some(vec!["a=([0]=\"x\n\" [1]='y')", "b=\\\nc"]),
            ),
            ("a='1", None),
            ("a=\"\\\"", None),
        ] {
            let found = statements(text.as_bytes());
            let found = found.map(|found| {
                found
                    .iter()
                    .map(|s| String::from_utf8_lossy(s).into_owned())
                    .collect()
            });

            assert_eq!(
                found,
                expected.map(|e| e.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_name_is_what_a_shell_takes_for_one() {
        for (text, expected) in [
            ("A=1", Some("A")),
            ("_b9", Some("_b9")),
            ("9=1", None),
            ("a b=1", None),
            ("=", None),
            ("a;b=1", None),
        ] {
            assert_eq!(name(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn quoted_text_is_one_statement(texts in proptest::collection::vec("[a'\"$\\\\\n]{0,12}", 1..5)) {
            let mut lines = Vec::new();
            for text in &texts {
                lines.extend_from_slice(b"v=");
                quote(&mut lines, text.as_bytes());
                lines.push(b'\n');
            }
            prop_assert_eq!(statements(&lines).map(|found| found.len()), Some(texts.len()));
        }

        #[test]
        fn any_bytes_can_be_read(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = (statements(&text), name(&text));
        }
    }
}
