//! A secret in memory: wiped when dropped, shown nowhere.

use std::fmt;

use serde::Deserialize;
use zeroize::Zeroizing;

/// A password or passphrase.
///
/// It can be read from a request, but has neither `Serialize` nor `Display`, and its `Debug` shows nothing.
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// The secret itself, for the one call that sends or uses it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Password {
    fn from(secret: String) -> Self {
        Self(Zeroizing::new(secret))
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
}
