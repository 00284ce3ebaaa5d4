//! Output of a server where something else was expected, such as a startup file's question or a
//! message to a wrong user.

use crate::ssh::error::{MAX_WORDS_BYTES, excerpt};

/// Beginning of unexpected output, as much as an error message shows.
#[derive(Debug, Default)]
pub(in crate::ssh) struct UnexpectedOutput(Vec<u8>);

impl UnexpectedOutput {
    /// Takes the next bytes of output.
    pub(in crate::ssh) fn push(&mut self, bytes: &[u8]) {
        let room = (MAX_WORDS_BYTES + 1).saturating_sub(self.0.len());
        self.0.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// Returns true if there is no output but white space.
    pub(in crate::ssh) fn is_empty(&self) -> bool {
        self.0.iter().all(u8::is_ascii_whitespace)
    }

    /// Returns `what` happened, followed by this output, if any.
    pub(in crate::ssh) fn appended_to(&self, what: String) -> String {
        let words = excerpt(self.0.trim_ascii());
        if words.is_empty() {
            what
        } else {
            format!("{what}; the server printed: {words}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_follow_what_happened_plainly_and_cut() {
        for (events, expected) in [
            (&b""[..], "it ended".to_owned()),
            (b" \r\n", "it ended".to_owned()),
            (
                b"Please login as \"ubuntu\".\n\x1b[2J",
                "it ended; the server printed: Please login as \"ubuntu\".\\n\\u{1b}[2J".to_owned(),
            ),
            (
                &[b'a'; 5000],
                format!(
                    "it ended; the server printed: {}…",
                    "a".repeat(MAX_WORDS_BYTES)
                ),
            ),
        ] {
            let mut words = UnexpectedOutput::default();
            events.chunks(7).for_each(|part| words.push(part));
            assert_eq!(words.appended_to("it ended".to_owned()), expected);
        }
    }
}
