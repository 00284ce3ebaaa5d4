//! Names as all the file systems see them on which they may be one.

/// A name on the way to a guarded place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuardedName {
    /// This one.
    Is(String),
    /// Any that begins and ends so.
    Like(String, String),
}

impl GuardedName {
    /// The names of a path with `/` between them; a `*` in a name stands for anything.
    #[must_use]
    pub fn path(path: &str) -> Vec<Self> {
        path.split('/')
            .filter(|name| !name.is_empty())
            .map(Self::one)
            .collect()
    }

    /// One name or, with a `*` in it, its beginning and its end. What is between two of them is not looked at.
    #[must_use]
    pub fn one(name: &str) -> Self {
        match (name.split_once('*'), name.rsplit_once('*')) {
            (Some((beginning, _)), Some((_, end))) => {
                Self::Like(lower(beginning), folded(end.as_bytes()))
            }
            _ => Self::Is(folded(name.as_bytes())),
        }
    }

    /// This very name, whatever letters it has.
    #[must_use]
    pub fn exactly(name: &[u8]) -> Self {
        Self::Is(folded(name))
    }

    /// Whether it stands for a name that [`folded`] has returned.
    pub(super) fn matches(&self, folded: &str) -> bool {
        match self {
            Self::Is(name) => name == folded,
            Self::Like(beginning, end) => folded
                .strip_prefix(beginning.as_str())
                .is_some_and(|rest| rest.ends_with(end.as_str())),
        }
    }
}

/// What two names have in common that are one to some file system: without regard to case, without the letters that HFS+
/// passes over, without the dots and blanks at the end that Windows drops. On a file system that tells them apart, a name
/// that only looks like a guarded one is guarded, too.
pub(super) fn folded(name: &[u8]) -> String {
    let lower = lower(&String::from_utf8_lossy(name));
    let end = lower.trim_end_matches(['.', ' ']);
    if end.is_empty() {
        lower
    } else {
        end.to_owned()
    }
}

fn lower(text: &str) -> String {
    text.chars()
        .filter(|letter| !is_passed_over(*letter))
        .flat_map(char::to_lowercase)
        .collect()
}

/// The letters that HFS+ ignores in names (Apple's Technical Note TN1150, "Unicode Subtleties").
fn is_passed_over(letter: char) -> bool {
    matches!(letter, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_one_somewhere_are_one_here() {
        for (one, other, same) in [
            (".ssh", ".SSH", true),
            (".ssh", ".s\u{200c}sh", true),
            (".git", ".git. .", true),
            (".git", "git", false),
            (".ssh", ".sshd", false),
            ("...", "...", true),
        ] {
            assert_eq!(
                GuardedName::one(one).matches(&folded(other.as_bytes())),
                same,
                "{one} {other}"
            );
        }

        assert!(
            GuardedName::one(".claude*").matches(".claude.json")
                && !GuardedName::one(".claude*").matches("claude")
        );

        assert!(
            GuardedName::one("*.conf").matches("a.conf")
                && !GuardedName::one("*.conf").matches("a.conf.old")
        );

        assert!(GuardedName::one("*").matches("anything") && !GuardedName::one("a*a").matches("a"));
        assert_eq!(
            GuardedName::path(".config//git/"),
            [GuardedName::one(".config"), GuardedName::one("git")]
        );
    }
}
