//! Names of guarded places, compared so that two spellings of one file count as equal on every file
//! system.

/// Pattern for a name in the path of a guarded place. Comparisons ignore case and everything else
/// that `folded` removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GuardedName {
    /// Exactly this name, folded.
    Is(String),
    /// Any name with this beginning and this end, both folded.
    Like(String, String),
}

impl GuardedName {
    /// Parses a path with `/` between the names. A `*` in a name stands for any text.
    #[must_use]
    pub(crate) fn path(path: &str) -> Vec<Self> {
        path.split('/')
            .filter(|name| !name.is_empty())
            .map(Self::single_name)
            .collect()
    }

    /// Parses the pattern for one name of a path. Of a pattern with several `*`, the text between the
    /// first and the last `*` is ignored.
    #[must_use]
    pub(crate) fn single_name(name: &str) -> Self {
        // Only the end of a name loses dots and blanks: more letters follow the beginning.
        match (name.split_once('*'), name.rsplit_once('*')) {
            (Some((beginning, _)), Some((_, end))) => {
                Self::Like(lower(beginning), folded(end.as_bytes()))
            }
            _ => Self::Is(folded(name.as_bytes())),
        }
    }

    /// Returns true if the pattern covers a name which [`folded`] has returned.
    pub(super) fn matches(&self, folded: &str) -> bool {
        match self {
            Self::Is(name) => name == folded,
            Self::Like(beginning, end) => folded
                .strip_prefix(beginning.as_str())
                .is_some_and(|rest| rest.ends_with(end.as_str())),
        }
    }
}

/// Returns the common form of all names which some file system treats as equal. Case is ignored, as
/// are the letters that HFS+ ignores and the dots and blanks that Windows drops from the end. On a
/// stricter file system this guards a few names too many.
pub(super) fn folded(name: &[u8]) -> String {
    // A name of dots only (`.` and `..`) has to keep them.
    let lower = lower(&String::from_utf8_lossy(name));
    let end = lower.trim_end_matches(['.', ' ']);
    if end.is_empty() {
        lower
    } else {
        end.to_owned()
    }
}

/// Converts to lower case and removes the letters which HFS+ ignores.
fn lower(text: &str) -> String {
    text.chars()
        .filter(|letter| !is_passed_over(*letter))
        .flat_map(char::to_lowercase)
        .collect()
}

/// Returns true for the letters which HFS+ ignores in names (Apple's Technical Note TN1150,
/// "Unicode Subtleties").
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
                GuardedName::single_name(one).matches(&folded(other.as_bytes())),
                same,
                "{one} {other}"
            );
        }

        assert!(
            GuardedName::single_name(".claude*").matches(".claude.json")
                && !GuardedName::single_name(".claude*").matches("claude")
        );

        assert!(
            GuardedName::single_name("*.conf").matches("a.conf")
                && !GuardedName::single_name("*.conf").matches("a.conf.old")
        );

        assert!(
            GuardedName::single_name("*").matches("anything")
                && !GuardedName::single_name("a*a").matches("a")
        );
        assert_eq!(
            GuardedName::path(".config//git/"),
            [
                GuardedName::single_name(".config"),
                GuardedName::single_name("git")
            ]
        );
    }
}
