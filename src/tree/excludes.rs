//! What is left out of a tree: patterns in the syntax of `gitignore(5)`, relative to the root of the tree.

use std::{borrow::Cow, path::Path};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// The patterns of one transfer.
#[derive(Debug, Clone)]
pub struct Excludes(Gitignore);

/// A pattern that does not mean what it seems to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pattern {pattern:?} of exclude {problem}")]
pub struct ExcludeError {
    /// As it was given.
    pub pattern: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Excludes {
    /// Reads patterns; a later one outweighs those before it.
    ///
    /// # Errors
    /// A pattern that is malformed, or that would silently leave out nothing.
    pub fn parse(patterns: &[String]) -> Result<Self, ExcludeError> {
        let mut builder = GitignoreBuilder::new("");
        let _ = builder.allow_unclosed_class(false);

        for pattern in patterns {
            let wrong = |problem: String| ExcludeError {
                pattern: pattern.clone(),
                problem,
            };

            if let Some(problem) = misleading(pattern) {
                return Err(wrong(problem.to_owned()));
            }

            builder
                .add_line(None, pattern)
                .map_err(|error| wrong(reason(&error)))?;
        }

        let gitignore = builder.build();

        gitignore.map(Self).map_err(|error| ExcludeError {
            pattern: patterns.join(" "),
            problem: reason(&error),
        })
    }

    /// Whether nothing is left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this path from the root on is left out. What is below a directory that is left out is not asked for.
    #[must_use]
    pub fn cover(&self, path: &[u8], is_directory: bool) -> bool {
        self.0.matched(as_path(path), is_directory).is_ignore()
    }
}

/// What `gitignore(5)` would take for something else than whoever writes it into a list.
fn misleading(pattern: &str) -> Option<&'static str> {
    if pattern.trim().is_empty() {
        return Some("is empty");
    }

    if pattern.contains(['\n', '\r', '\0']) {
        return Some("holds a line break or NUL byte: give each pattern as one entry of the list");
    }

    if pattern.starts_with('#') {
        return Some("is a comment: write \\# for a name that begins with #");
    }

    let mut escaped = false;

    for letter in pattern.chars() {
        if !escaped && matches!(letter, '{' | '}') {
            return Some(
                "has braces, which gitignore has not: give each alternative as a pattern, or write \\{ and \\}",
            );
        }
        escaped = letter == '\\' && !escaped;
    }

    None
}

fn reason(error: &ignore::Error) -> String {
    match error {
        ignore::Error::Glob { err, .. } => format!("is malformed: {err}"),
        other => format!("cannot be used: {other}"),
    }
}

#[cfg(unix)]
fn as_path(path: &[u8]) -> Cow<'_, Path> {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    Cow::Borrowed(Path::new(OsStr::from_bytes(path)))
}

#[cfg(not(unix))]
fn as_path(path: &[u8]) -> Cow<'_, Path> {
    match String::from_utf8_lossy(path) {
        Cow::Borrowed(text) => Cow::Borrowed(Path::new(text)),
        Cow::Owned(text) => Cow::Owned(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(patterns: &[&str], path: &[u8]) -> bool {
        let patterns: Vec<String> = patterns
            .iter()
            .map(|pattern| (*pattern).to_owned())
            .collect();

        let (path, directory) = path
            .strip_suffix(b"/")
            .map_or((path, false), |path| (path, true));
        Excludes::parse(&patterns).unwrap().cover(path, directory)
    }

    #[test]
    fn patterns_mean_what_they_mean_to_git() {
        for (patterns, path, covered) in [
            (&["*.log"][..], &b"a.log"[..], true),
            (&["*.log"], b"deep/down/a.log", true),
            (&["*.log"], b"a.logs", false),
            (&["target"], b"target/", true),
            (&["target"], b"a/target", true),
            (&["target/"], b"a/target/", true),
            (&["target/"], b"target", false),
            (&["/target"], b"target/", true),
            (&["/target"], b"a/target/", false),
            (&["a/b"], b"a/b", true),
            (&["a/b"], b"x/a/b", false),
            (&["**/b"], b"x/a/b", true),
            (&["a/**"], b"a/b/c", true),
            (&["a/**"], b"a/", false),
            (&["a/**/z"], b"a/z", true),
            (&["a/**/z"], b"a/b/c/z", true),
            (&["*"], b"a/b", true),
            (&["a*z"], b"a/z", false),
            (&["?.txt"], b"a.txt", true),
            (&["?.txt"], b"ab.txt", false),
            (&["[a-c].txt"], b"b.txt", true),
            (&["[!a-c].txt"], b"b.txt", false),
            (&["*.log", "!keep.log"], b"keep.log", false),
            (&["!keep.log", "*.log"], b"keep.log", true),
            (&["\\!x"], b"!x", true),
            (&["\\#x"], b"#x", true),
            (&["\\{x\\}"], b"{x}", true),
            (&["x "], b"x", true),
            (&["x\\ "], b"x ", true),
            (&[".git"], b".git/", true),
            (&[".*"], b"a/.hidden", true),
            (&["*.TXT"], b"a.txt", false),
            (&["caf\u{e9}"], "caf\u{e9}".as_bytes(), true),
            (&[], b"a", false),
        ] {
            assert_eq!(
                covers(patterns, path),
                covered,
                "{patterns:?} {}",
                String::from_utf8_lossy(path)
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_text_are_matched_too() {
        assert!(
            covers(&["*.log"], b"\xff\xfe.log")
                && covers(&["a/"], b"\xff/a/")
                && !covers(&["*.log"], b"\xff")
        );
    }

    #[test]
    fn a_pattern_that_is_malformed_or_would_do_nothing_is_said() {
        for (pattern, part) in [
            ("a[b", "malformed"),
            ("[z-a]", "malformed"),
            ("a\\", "malformed"),
            ("", "empty"),
            ("  ", "empty"),
            ("#x", "comment"),
            ("*.{js,ts}", "braces"),
            ("a}", "braces"),
            ("a\nb", "line break"),
            ("a\0", "NUL"),
        ] {
            let error = Excludes::parse(&["ok".to_owned(), pattern.to_owned()]).unwrap_err();
            assert!(
                error.to_string().contains(part) && error.pattern == pattern,
                "{error}"
            );
        }
    }
}
