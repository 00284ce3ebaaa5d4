//! What a server says before it lets anybody in (RFC 4252, section 5.4).

/// The longest address that is looked at, in bytes; browsers take more.
const MAX_ADDRESS_BYTES: usize = 2048;

/// The first web page that the text names, if it has one that can be shown to a person: `https`, plain letters, and no
/// user name in front of the host, with which one host can pass for another.
#[must_use]
pub fn page(text: &str) -> Option<&str> {
    const SCHEME: &str = "https://";

    text.match_indices(SCHEME).find_map(|(at, _)| {
        let rest = text.get(at..)?;
        let is_end = |letter: char| !letter.is_ascii_graphic() || "<>\"'`\\^{}|".contains(letter);
        let address = rest
            .split(is_end)
            .next()?
            .trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']']);

        let host = address
            .strip_prefix(SCHEME)?
            .split(['/', '?', '#'])
            .next()?;

        (!host.is_empty() && !host.contains('@') && address.len() <= MAX_ADDRESS_BYTES)
            .then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_page_that_can_be_shown_is_found_in_a_text() {
        for (text, expected) in [
            (
                "# Tailscale SSH requires an additional check.\r\n# To authenticate, visit: https://login.example.com/a/1f\r\n",
                Some("https://login.example.com/a/1f"),
            ),
            (
                "See <https://a.example/x?y=1#z>.",
                Some("https://a.example/x?y=1#z"),
            ),
            ("(https://a.example/x), then", Some("https://a.example/x")),
            (
                "https://good.example@evil.example/ https://b.example",
                Some("https://b.example"),
            ),
            ("http://a.example", None),
            ("https://", None),
            ("https:///path", None),
            ("https://a.example/\u{202e}x", Some("https://a.example/")),
            ("https://\u{430}pple.example/", None),
            ("Authorised use only.", None),
        ] {
            assert_eq!(page(text), expected, "{text}");
        }

        assert_eq!(
            page(&format!("https://a/{}", "x".repeat(MAX_ADDRESS_BYTES))),
            None
        );
    }
}
