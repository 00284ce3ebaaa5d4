//! Names of users as whom sudo runs a shell.

use std::fmt;

/// Longest name, in bytes. Linux allows 32, and a domain may come with the name.
const MAX_NAME_BYTES: usize = 128;

/// User of the host as whom sudo runs a shell. No login shell changes the name in single quotes, and
/// no program takes it for an option or a number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SudoUser(String);

impl SudoUser {
    /// Returns the superuser.
    #[must_use]
    pub fn root() -> Self {
        Self("root".to_owned())
    }

    /// Takes the name of a user, such as `postgres`, `www-data` or `CORP\ann`. `None` for anything
    /// else: sudo takes `#` before a number for a user id, and a dash begins an option.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let is_plain = |letter: char| letter.is_alphanumeric() || "_.@$+-\\".contains(letter);
        let has_ends = name.starts_with(|first: char| first.is_alphanumeric() || first == '_')
            && !name.ends_with('\\');

        // In fish, a pair of backslashes is one, even in quotes.
        let is_name = name.len() <= MAX_NAME_BYTES
            && has_ends
            && name.chars().all(is_plain)
            && !name.contains("\\\\");

        is_name.then(|| Self(name.to_owned()))
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SudoUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_and_options_and_quotes_are_not() {
        for name in [
            "root",
            "postgres",
            "www-data",
            "_apt",
            "a.b_c+d",
            "svc$",
            "ann@corp.example",
            "CORP\\ann",
            "jürgen",
            "1000",
        ] {
            assert_eq!(
                SudoUser::parse(name).unwrap().to_string(),
                name,
                "{name:?} is a name"
            );
        }

        for text in [
            "",
            " ",
            "-u",
            "--login",
            "#0",
            "#-1",
            "%wheel",
            "a b",
            "a\nb",
            "a\tb",
            "a\u{1b}b",
            "a\0",
            "it's",
            "a!b",
            "a;b",
            "a:b",
            "a/b",
            "a\\",
            "a\\\\b",
            "\\a",
            "$(id)",
            "\u{202e}a",
            &"a".repeat(MAX_NAME_BYTES + 1),
        ] {
            assert_eq!(SudoUser::parse(text), None, "{text:?}");
        }
    }
}
