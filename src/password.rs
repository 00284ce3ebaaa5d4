//! Secrets in memory: wiped on drop, never shown.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, de::Error as _};
use zeroize::Zeroizing;

/// Password or passphrase, wiped from memory on drop.
///
/// The type can be read from a request, but implements neither `Serialize` nor `Display`. Its
/// `Debug` output does not contain the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Returns the secret. Meant for the call that sends or uses the secret, not for copies.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns the secret as a line for a program, wiped once it is sent.
    #[must_use]
    pub fn line(&self, end: u8) -> Bytes {
        // Room for all from the start: a growing buffer would leave copies behind.
        let mut line = Zeroizing::new(Vec::with_capacity(self.0.len() + 1));
        line.extend_from_slice(self.0.as_bytes());
        line.push(end);
        Bytes::from_owner(line)
    }
}

impl From<String> for Password {
    fn from(secret: String) -> Self {
        Self(Zeroizing::new(secret))
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The derived error would quote the wrong value, and a client may send a password of digits
        // as a number.
        String::deserialize(deserializer)
            .map(Self::from)
            .map_err(|_| D::Error::custom("expected a string"))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_does_not_show_itself() {
        let password: Password = serde_json::from_str("\"hunter2\"").unwrap();
        assert_eq!(password.reveal(), "hunter2");
        assert!(!format!("{:?} {:#?}", password, Some(&password)).contains("hunter2"));
    }

    #[test]
    fn a_password_of_the_wrong_type_is_not_quoted() {
        for json in ["48151623", "[\"hunter2\"]", "{\"hunter2\": 1}"] {
            let error = serde_json::from_str::<Password>(json)
                .unwrap_err()
                .to_string();
            assert!(error.starts_with("expected a string"), "{error}");
        }
    }
}
