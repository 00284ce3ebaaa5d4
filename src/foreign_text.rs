//! Text from a remote host, a configuration file, another process or an agent. Pure: text in, text
//! out.
//!
//! Such text may hold characters that move a terminal's cursor, hide or reverse other text, or make
//! a line of its own that looks like a line of this program.

use std::fmt::{self, Write as _};

use serde::Serialize;

/// Text from others, wrapped where it enters and escaped where it is shown.
///
/// `Display` writes a single line. Bytes that are not UTF-8 become U+FFFD at once. Serialization
/// writes the text as it came, because JSON has escapes of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ForeignText(String);

impl<T: AsRef<[u8]>> From<T> for ForeignText {
    fn from(text: T) -> Self {
        Self(String::from_utf8_lossy(text.as_ref()).into_owned())
    }
}

impl ForeignText {
    /// Returns the text as it came, for parsing and protocols. The caller never shows it.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.0
    }

    /// Returns true if the text has no characters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Cuts the text after this number of bytes, at the end of a character, and marks the cut with
    /// `…`.
    #[must_use]
    pub fn cut(mut self, max_bytes: usize) -> Self {
        if self.0.len() > max_bytes {
            let end = (0..=max_bytes).rfind(|end| self.0.is_char_boundary(*end));
            self.0.truncate(end.unwrap_or_default());
            self.0.push('…');
        }

        self
    }

    /// Returns the text with its lines and tabs, and all else escaped as by `Display`.
    #[must_use]
    pub fn block(&self) -> String {
        let mut block = String::with_capacity(self.0.len());

        for part in self.0.split_inclusive(['\n', '\t']) {
            let text = part.trim_end_matches(['\n', '\t']);
            let end = part.get(text.len()..).unwrap_or_default();
            let text = match end {
                // A carriage return before a line feed belongs to the end of the line.
                "\n" => text.trim_end_matches('\r'),
                _ => text,
            };

            block.push_str(&escape_line(text));
            block.push_str(end);
        }

        block
    }

    /// Returns the text for HTML; see `escape_html`.
    #[must_use]
    pub fn html(&self) -> String {
        escape_html(&self.0)
    }
}

impl fmt::Display for ForeignText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&escape_line(&self.0))
    }
}

/// Escapes a line that was put together from texts of others, as in `\n`.
///
/// Escaping a line again changes nothing.
#[must_use]
pub fn escape_line(text: impl AsRef<[u8]>) -> String {
    let text = String::from_utf8_lossy(text.as_ref());
    let mut line = String::with_capacity(text.len());

    for letter in text.chars() {
        if is_line_unsafe(letter) || is_invisible(letter) {
            line.extend(letter.escape_debug());
        } else {
            line.push(letter);
        }
    }

    line
}

/// Escapes text for HTML, with its lines and tabs.
///
/// Control characters become their pictures (U+2400 …). Other unsafe characters become U+FFFD.
#[must_use]
pub(crate) fn escape_html(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();

    while let Some(letter) = letters.next() {
        match letter {
            // A carriage return in an ordinary end of line needs no picture.
            '\r' if letters.peek() == Some(&'\n') => {}
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            '\n' | '\t' => html.push(letter),
            '\0'..='\u{1f}' => {
                html.push(char::from_u32(0x2400 + u32::from(letter)).unwrap_or('\u{fffd}'));
            }
            '\u{7f}' => html.push('\u{2421}'),
            letter if is_line_unsafe(letter) || is_invisible(letter) => html.push('\u{fffd}'),
            letter => html.push(letter),
        }
    }

    html
}

/// Escapes characters in JSON which serde leaves alone and terminals obey, as in `\u009b`.
///
/// Programs read the same values, because such characters occur only in strings. Line ends between
/// values stay.
#[must_use]
pub fn json_for_a_terminal(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter != '\n' && (is_line_unsafe(letter) || is_invisible(letter)) {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(letter);
        }
    }

    shown
}

/// Returns true if a character ends a line, reverses later text, or controls a terminal.
///
/// `char::is_control` covers neither Unicode's line separators nor its direction marks.
#[must_use]
pub(crate) fn is_line_unsafe(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns true if a character shows nothing, and so could hide a difference between two names or
/// a message to the agent.
fn is_invisible(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_nothing_that_a_terminal_obeys_or_that_hides() {
        for (text, expected) in [
            ("plain ü \"q\" it's \\", "plain ü \"q\" it's \\"),
            ("\x1b[2Jgone\r\n\t\0", "\\u{1b}[2Jgone\\r\\n\\t\\0"),
            (
                "a\u{202e}b\u{9b}c\u{200b}\u{2028}",
                "a\\u{202e}b\\u{9b}c\\u{200b}\\u{2028}",
            ),
            (
                "\u{ad}\u{61c}\u{180e}\u{2060}\u{feff}\u{fff9}\u{e0041}",
                "\\u{ad}\\u{61c}\\u{180e}\\u{2060}\\u{feff}\\u{fff9}\\u{e0041}",
            ),
        ] {
            let line = ForeignText::from(text).to_string();
            assert_eq!(line, expected);
            assert_eq!(escape_line(&line), expected, "a second time");
        }

        assert_eq!(
            ForeignText::from(b"\xff\x1b").to_string(),
            "\u{fffd}\\u{1b}"
        );
    }

    #[test]
    fn a_block_keeps_lines_and_tabs() {
        for (text, expected) in [
            ("Passwort für é:\n\t", "Passwort für é:\n\t"),
            ("\u{1b}[2Ja\r\n\rb\u{202e}", "\\u{1b}[2Ja\n\\rb\\u{202e}"),
        ] {
            assert_eq!(ForeignText::from(text).block(), expected);
        }
    }

    #[test]
    fn html_holds_nothing_but_text() {
        for (text, html) in [
            ("a b\n\tc é 漢", "a b\n\tc é 漢"),
            (
                "<b a='1' c=\"2\">&amp;",
                "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;amp;",
            ),
            (
                "\u{1b}[31m\r\0\u{7f}",
                "\u{241b}[31m\u{240d}\u{2400}\u{2421}",
            ),
            ("a\r\nb\rc", "a\nb\u{240d}c"),
            (
                "\u{9b}2J \u{202e}txt.exe\u{2069}\u{200b}",
                "\u{fffd}2J \u{fffd}txt.exe\u{fffd}\u{fffd}",
            ),
        ] {
            assert_eq!(ForeignText::from(text).html(), html);
        }
    }

    #[test]
    fn json_and_the_raw_text_are_as_they_came() {
        let text = ForeignText::from("a\u{1b}\u{202e}");
        assert_eq!(text.raw(), "a\u{1b}\u{202e}");
        assert_eq!(
            serde_json::to_value(&text).unwrap(),
            serde_json::Value::from(text.raw())
        );
    }

    #[test]
    fn a_cut_is_marked_and_between_characters() {
        let cut = |text: &str| ForeignText::from(text).cut(1000).to_string();
        assert_eq!(cut(&"ü".repeat(500)), "ü".repeat(500));
        assert_eq!(cut(&"ü".repeat(501)), "ü".repeat(500) + "…");
        assert_eq!(cut(&"€".repeat(334)), "€".repeat(333) + "…");
    }

    #[test]
    fn json_for_a_terminal_is_the_same_json() {
        for (json, shown) in [
            (
                "{\n  \"caf\u{e9}\": \"\u{1f680}\\n\"\n}",
                "{\n  \"caf\u{e9}\": \"\u{1f680}\\n\"\n}",
            ),
            (
                "\"a\\u001b[2J\u{7f}\u{9b}\"",
                "\"a\\u001b[2J\\u007f\\u009b\"",
            ),
            ("\"\u{e0041}\"", "\"\\udb40\\udc41\""),
            (
                "\"\u{202e}txt\u{2066}\u{2028}\"",
                "\"\\u202etxt\\u2066\\u2028\"",
            ),
        ] {
            assert_eq!(json_for_a_terminal(json), shown);
        }
    }
}
