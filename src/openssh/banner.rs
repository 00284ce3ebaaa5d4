//! Log-in banner of a server, sent before the authentication (RFC 4252, section 5.4).

/// Limit for the length of a web address, in bytes. Browsers accept longer addresses.
const MAX_ADDRESS_BYTES: usize = 2048;

/// Returns the first web address in a banner which is safe to show to the user. Only `https`
/// addresses of ASCII letters without a user name count: `https://good.example@evil.example` leads
/// to the second host.
#[must_use]
pub fn page(text: &str) -> Option<&str> {
    const SCHEME: &str = "https://";

    text.match_indices(SCHEME).find_map(|(at, _)| {
        // Letters of other alphabets and direction marks can make one host look like another, so
        // the address ends there. So does a closing quote or bracket of the text around it.
        let rest = text.get(at..)?;
        let is_end = |letter: char| !letter.is_ascii_graphic() || "<>\"'`\\^{}|".contains(letter);
        let address = rest
            .split(is_end)
            .next()?
            .trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']']);

        // An `@` in the host would hide the real host behind a user name.
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
