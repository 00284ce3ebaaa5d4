//! A regular expression, with the same meaning for every program that searches.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::{ParserBuilder, hir::Hir, hir::HirKind};

use super::extended;

/// Regular expression in the syntax of the `regex` crate, which is that of `rg`. Matches are within
/// one line.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    ignores_case: bool,
    regex: Regex,
    extended: Option<Vec<u8>>,
}

/// Reason for which a text is no [`Pattern`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError(String);

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pattern {
    /// Reads a regular expression.
    ///
    /// # Errors
    /// The text is malformed, too large, or would match a line end.
    pub fn parse(text: &str, ignores_case: bool) -> Result<Self, PatternError> {
        let hir = ParserBuilder::new()
            .multi_line(true)
            .utf8(false)
            .build()
            .parse(text)
            .map_err(|error| PatternError(reason(&error.to_string())))?;
        if has_line_end(&hir) {
            return Err(PatternError(
                "a match is within one line, so it has no line end".to_owned(),
            ));
        }

        let regex = RegexBuilder::new(text)
            .multi_line(true)
            .crlf(true)
            .case_insensitive(ignores_case)
            .build()
            .map_err(|error| PatternError(reason(&error.to_string())))?;

        Ok(Self {
            text: text.to_owned(),
            ignores_case,
            regex,
            extended: extended::write(&hir),
        })
    }

    /// Returns the pattern as typed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns true if upper and lower case are the same.
    #[must_use]
    pub fn ignores_case(&self) -> bool {
        self.ignores_case
    }

    /// Returns the pattern for `grep -E` in the locale `C`; `None` if there is no such pattern. The
    /// classes `\d`, `\s` and `\w` have only ASCII characters there.
    #[must_use]
    pub fn extended(&self) -> Option<&[u8]> {
        self.extended.as_deref()
    }

    /// Returns the position of the first match in a line.
    #[must_use]
    pub fn find(&self, line: &[u8]) -> Option<usize> {
        self.regex.find(line).map(|found| found.start())
    }
}

/// Returns the last line of a message, which has the reason. The lines before show the pattern.
fn reason(message: &str) -> String {
    let line = message.lines().last().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

fn has_line_end(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Literal(literal) => literal.0.contains(&b'\n'),
        HirKind::Repetition(repetition) => has_line_end(&repetition.sub),
        HirKind::Capture(capture) => has_line_end(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(has_line_end),
        HirKind::Empty | HirKind::Class(_) | HirKind::Look(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extended(text: &str) -> Option<String> {
        let pattern = Pattern::parse(text, false).unwrap();
        pattern
            .extended()
            .map(|bytes| bytes.escape_ascii().to_string())
    }

    #[test]
    fn a_pattern_is_written_for_grep() {
        for (text, expected) in [
            ("listen", "listen"),
            ("a.b*c+?d??", "a.b*c+d?"),
            (r"\d{1,3}\.\d+", r"[0-9]{1,3}\\.[0-9]+"),
            (r"x{2}y{3,}", "x{2}y{3,}"),
            (r"^\s*(?:foo|bar\w*)$", r"^SPACE*(foo|barWORD*)\r?$"),
            (r"\bid\B", r"\\bid\\B"),
            ("[^\"]+", "[^\\\"]+"),
            (r"[\]\[^-]", "[][^-]"),
            (r"[\^-]", "[-^]"),
            (r"[X-b]", r"[]X-Z\\_-b[^]"),
            ("(a|)b", "((a)?)b"),
            ("()", "()"),
            ("", ""),
            ("é[äö]", r"\xc3\xa9(\xc3\xa4|\xc3\xb6)"),
            ("(?i)ab", "[Aa][Bb]"),
            (r"\$\{x\}|\*", r"(\\$\\{x\\}|\\*)"),
            (r"\\", r"\\\\"),
            (r"(ab)+", "(ab)+"),
            (r"(?:ab)+", "(ab)+"),
        ] {
            let space = r"[\t\x0b-\r ]";
            let found = extended(text).unwrap();
            let expected = expected
                .replace("SPACE", space)
                .replace("WORD", "[0-9A-Z_a-z]");
            if text.contains(r"\s") {
                assert!(found.starts_with(r"^([\t\x0b-\r ]|"), "{found}");
            } else {
                assert_eq!(found, expected, "{text}");
            }
        }

        assert_eq!(extended(r"a\x00b"), None);
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_the_reason() {
        for (text, reason) in [
            ("(", "unclosed group"),
            ("a{", "repetition"),
            ("*", "repetition operator missing expression"),
            ("[", "unclosed character class"),
            (r"\1", "backreferences are not supported"),
            ("(?=a)", "look-around"),
            ("a\nb", "within one line"),
            (r"a\nb", "within one line"),
            ("(((((a{100}){100}){100}){100}){100})", "size limit"),
        ] {
            let error = Pattern::parse(text, false).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_match_is_found_in_bytes() {
        let pattern = Pattern::parse("NEEDLE$", true).unwrap();
        assert_eq!(pattern.find(b"\xff\xfe needle"), Some(3));
        assert_eq!(pattern.find(b"needle\r"), Some(0));
        assert_eq!(pattern.find(b"needles"), None);
    }
}
