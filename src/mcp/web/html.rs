//! Text in HTML.

/// Escapes text for HTML. Control characters, which a hostile server may send, become their
/// pictures (U+2400 …). Other controls, and marks that turn the direction of text around, become
/// U+FFFD.
pub(in crate::mcp) fn escape(text: &str) -> String {
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
            // Text that runs in the other direction could pass for other text.
            '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => {
                html.push('\u{fffd}');
            }
            letter if letter.is_control() => html.push('\u{fffd}'),
            letter => html.push(letter),
        }
    }

    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_text_comes_out() {
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
                "\u{9b}2J \u{202e}txt.exe\u{2069}",
                "\u{fffd}2J \u{fffd}txt.exe\u{fffd}",
            ),
        ] {
            assert_eq!(escape(text), html);
        }
    }
}
