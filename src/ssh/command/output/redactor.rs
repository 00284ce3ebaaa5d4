//! Secrets that the user has typed for a program, kept out of the program's output.

use std::borrow::Cow;

use zeroize::Zeroizing;

use crate::{
    framing::stream::{PerStream, Stream},
    password::Password,
};

/// Text in place of a secret. Its length tells nothing about the secret.
const MASK: &[u8] = b"********";
/// Length from which a secret is replaced wherever it occurs, in bytes. A shorter one is replaced
/// up to the end of the line, where a terminal echoes it; elsewhere it would be part of words.
const EVERYWHERE_FROM: usize = 4;

/// Filter of a command's output, which replaces the secrets typed for the command.
///
/// The output of a stream that may be the beginning of a secret is held back until more comes.
#[derive(Debug, Default)]
pub(super) struct Redactor {
    secrets: Vec<Secret>,
    held: PerStream<Zeroizing<Vec<u8>>>,
}

/// Secret of a [`Redactor`].
#[derive(Debug)]
struct Secret {
    password: Password,
    /// True for a short secret, which is forgotten at the next line end.
    until_line_end: bool,
}

impl Redactor {
    /// Adds a secret, to be replaced from now on.
    pub(super) fn add(&mut self, password: Password) {
        let length = password.reveal().trim().len();
        if length > 0 {
            self.secrets.push(Secret {
                password,
                until_line_end: length < EVERYWHERE_FROM,
            });
        }
    }

    /// Forgets all secrets.
    pub(super) fn forget(&mut self) {
        self.secrets.clear();
    }

    /// Returns the next bytes of a stream without the secrets.
    pub(super) fn pass<'a>(&mut self, stream: Stream, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let held = std::mem::take(self.held.get_mut(stream));
        if self.secrets.is_empty() && held.is_empty() {
            return Cow::Borrowed(bytes);
        }

        let whole = Zeroizing::new([held.as_slice(), bytes].concat());

        Cow::Owned(self.replace(stream, &whole, false))
    }

    /// Ends a stream: returns what was held back.
    pub(super) fn finish(&mut self, stream: Stream) -> Vec<u8> {
        let held = std::mem::take(self.held.get_mut(stream));
        self.replace(stream, &held, true)
    }

    /// Replaces the secrets in `bytes`, and holds back the beginning of a secret at the end unless
    /// the stream ends there.
    fn replace(&mut self, stream: Stream, bytes: &[u8], ends: bool) -> Vec<u8> {
        let (mut shown, mut rest) = (Vec::with_capacity(bytes.len()), bytes);

        while let Some((first, after)) = rest.split_first() {
            // A longer secret may begin with a shorter one.
            if !ends && self.may_become_secret(rest) {
                *self.held.get_mut(stream) = rest.to_vec().into();
                break;
            }

            if let Some(length) = self.secret_at(rest) {
                shown.extend_from_slice(MASK);
                rest = rest.get(length..).unwrap_or_default();
                continue;
            }

            if *first == b'\n' {
                self.secrets.retain(|secret| !secret.until_line_end);
            }

            shown.push(*first);
            rest = after;
        }

        shown
    }

    /// Returns the length of the longest secret at the beginning of `bytes`.
    fn secret_at(&self, bytes: &[u8]) -> Option<usize> {
        let secrets = self.secrets.iter().map(Secret::bytes);
        secrets
            .filter(|secret| bytes.starts_with(secret))
            .map(<[u8]>::len)
            .max()
    }

    /// Returns true if `bytes` are a part of a secret, from its beginning.
    fn may_become_secret(&self, bytes: &[u8]) -> bool {
        let mut secrets = self.secrets.iter().map(Secret::bytes);
        secrets.any(|secret| secret.len() > bytes.len() && secret.starts_with(bytes))
    }
}

impl Secret {
    /// Returns what is replaced. A shell that reads a line removes the spaces around it.
    fn bytes(&self) -> &[u8] {
        self.password.reveal().trim().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output of a program that prints these portions, for which the secrets were typed.
    fn passed(secrets: &[&str], portions: &[&str]) -> String {
        let mut redactor = Redactor::default();
        for secret in secrets {
            redactor.add(Password::from((*secret).to_owned()));
        }

        let mut shown = Vec::new();
        for portion in portions {
            shown.extend_from_slice(&redactor.pass(Stream::Stdout, portion.as_bytes()));
        }
        shown.extend(redactor.finish(Stream::Stdout));

        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn a_secret_is_replaced_however_the_output_is_cut() {
        let text = "a: hunter2\r\nhunter hunter22 hunthunter2 hunt";
        let expected = "a: ********\r\nhunter ********2 hunt******** hunt";
        for length in 1..=text.len() {
            let bytes: Vec<char> = text.chars().collect();
            let portions: Vec<String> = bytes
                .chunks(length)
                .map(|portion| portion.iter().collect())
                .collect();
            let portions: Vec<&str> = portions.iter().map(String::as_str).collect();
            assert_eq!(passed(&["hunter2"], &portions), expected, "{length}");
        }
    }

    #[test]
    fn the_longest_of_several_secrets_counts() {
        assert_eq!(
            passed(
                &["secret", " secret-2 ", "", " "],
                &["secret secret-2 secret-3"]
            ),
            "******** ******** ********-3"
        );
    }

    #[test]
    fn a_secret_at_the_end_of_the_output_is_replaced() {
        let secrets = ["secret", "secret-2"];
        assert_eq!(passed(&secrets, &["secret"]), "********");
        assert_eq!(passed(&secrets, &["secret", "-2"]), "********");
    }

    #[test]
    fn a_short_secret_is_replaced_up_to_the_end_of_its_line() {
        assert_eq!(
            passed(&["y", "1234"], &["y\r\n", "yes, 12345\n"]),
            "********\r\nyes, ********5\n"
        );
    }
}
