//! Names of sessions.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::foreign_text::is_line_unsafe;

/// Maximum length of a name, in bytes.
///
/// A name defaults to the destination as typed. The longest sensible destination has to fit:
/// `ssh://`, 32 bytes of user, `@`, 253 bytes of DNS name and `:65535`.
pub const MAX_NAME_BYTES: usize = 320;

/// Name of a session: 1 to [`MAX_NAME_BYTES`] bytes of one printable line, without white space at
/// either end.
///
/// Valid names include anything people type as a destination (`user@host`, `ssh://u@h:22`,
/// `[::1]:2222`) and any words (`my server`). Names are compared byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionName(String);

impl SessionName {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SessionName {
    type Error = SessionNameError;

    fn try_from(name: String) -> Result<Self, SessionNameError> {
        if name.trim().is_empty() {
            return Err(SessionNameError::Empty);
        }

        if name.len() > MAX_NAME_BYTES {
            return Err(SessionNameError::TooLong { bytes: name.len() });
        }

        // Names are shown inside one-line texts, which must not be broken or reversed.
        if let Some(character) = name.chars().find(|c| is_line_unsafe(*c)) {
            return Err(SessionNameError::ControlCharacter {
                code: character.into(),
            });
        }

        if name.trim() != name {
            return Err(SessionNameError::OuterSpace);
        }

        Ok(Self(name))
    }
}

impl TryFrom<&str> for SessionName {
    type Error = SessionNameError;

    fn try_from(name: &str) -> Result<Self, SessionNameError> {
        Self::try_from(name.to_owned())
    }
}

impl From<SessionName> for String {
    fn from(name: SessionName) -> Self {
        name.0
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// Reason why a text is not a valid session name.
///
/// The text itself is not repeated because the text may be huge or unprintable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionNameError {
    /// The text is empty or only white space.
    #[error("a session name cannot be empty or only white space")]
    Empty,
    /// The text is longer than [`MAX_NAME_BYTES`].
    #[error("a session name has at most {MAX_NAME_BYTES} bytes; this one has {bytes}")]
    TooLong {
        /// Length of the text, in bytes.
        bytes: usize,
    },
    /// The text contains a control character, a line separator, or a mark for reversed text.
    #[error("a session name cannot contain the control character U+{code:04X}")]
    ControlCharacter {
        /// Code point of the first such character.
        code: u32,
    },
    /// The text begins or ends with white space, which would make two names look alike.
    #[error("a session name cannot begin or end with white space")]
    OuterSpace,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_a_name() {
        let longest = "n".repeat(MAX_NAME_BYTES);
        for text in [
            "a",
            "user@host",
            "my server",
            "ssh://u@h:22",
            "[::1]:2222",
            "fe80::1%eth0",
            "büro-служба-机",
            "-x",
            &longest,
        ] {
            let name = SessionName::try_from(text).unwrap();
            assert_eq!((name.as_str(), name.to_string().as_str()), (text, text));
            let json = serde_json::to_string(&name).unwrap();
            assert_eq!(json, serde_json::to_string(text).unwrap());
            assert_eq!(serde_json::from_str::<SessionName>(&json).unwrap(), name);
        }
    }

    #[test]
    fn what_would_confuse_a_reader_is_refused_and_the_reason_said() {
        let too_long = "é".repeat(MAX_NAME_BYTES / 2) + "x";
        for (text, error, message) in [
            (
                "",
                SessionNameError::Empty,
                "a session name cannot be empty or only white space",
            ),
            (
                " \t\n",
                SessionNameError::Empty,
                "a session name cannot be empty or only white space",
            ),
            (
                &*too_long,
                SessionNameError::TooLong { bytes: 321 },
                "a session name has at most 320 bytes; this one has 321",
            ),
            (
                "a\nb",
                SessionNameError::ControlCharacter { code: 10 },
                "a session name cannot contain the control character U+000A",
            ),
            (
                "a\0",
                SessionNameError::ControlCharacter { code: 0 },
                "a session name cannot contain the control character U+0000",
            ),
            (
                "a\u{1b}[2J",
                SessionNameError::ControlCharacter { code: 0x1b },
                "a session name cannot contain the control character U+001B",
            ),
            (
                "a\u{202e}b",
                SessionNameError::ControlCharacter { code: 0x202e },
                "a session name cannot contain the control character U+202E",
            ),
            (
                " a",
                SessionNameError::OuterSpace,
                "a session name cannot begin or end with white space",
            ),
            (
                "a\u{a0}",
                SessionNameError::OuterSpace,
                "a session name cannot begin or end with white space",
            ),
        ] {
            let refused = SessionName::try_from(text).unwrap_err();
            assert_eq!(
                (&refused, refused.to_string().as_str()),
                (&error, message),
                "{text:?}"
            );

            let json = serde_json::to_string(text).unwrap();
            assert!(
                serde_json::from_str::<SessionName>(&json).is_err(),
                "{text:?}"
            );
        }
    }
}
