//! Patterns for entries to leave out of a tree, in the syntax of `gitignore(5)`, relative to the
//! root of the tree.

use std::{borrow::Cow, path::Path};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// Exclude patterns of a transfer. Later patterns override earlier ones.
#[derive(Debug, Clone)]
pub struct Excludes(Gitignore);

/// Error for a pattern which is malformed, or has another meaning than the author expects.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pattern {pattern:?} of exclude {problem}")]
pub struct ExcludeError {
    /// Pattern as given.
    pub pattern: String,
    /// Problem, as the end of a sentence about the pattern.
    pub problem: String,
}

impl Excludes {
    /// Parses exclude patterns. Later patterns override earlier patterns.
    ///
    /// # Errors
    /// Returns [`ExcludeError`] for a malformed pattern, and for a pattern that would silently
    /// exclude nothing.
    pub fn parse(patterns: &[String]) -> Result<Self, ExcludeError> {
        // `[a` would match literally by default, so a typing error would exclude nothing.
        let mut builder = GitignoreBuilder::new("");
        let _ = builder.allow_unclosed_class(false);

        for pattern in patterns {
            let wrong = |problem: String| ExcludeError {
                pattern: pattern.clone(),
                problem,
            };

            // These patterns are valid for `gitignore(5)` and have to be refused before the parser.
            if let Some(problem) = misleading(pattern) {
                return Err(wrong(problem.to_owned()));
            }

            builder
                .add_line(None, pattern)
                .map_err(|error| wrong(reason(&error)))?;
        }

        // Some faults show only when all patterns are compiled together, so all of them are named.
        let gitignore = builder.build();

        gitignore.map(Self).map_err(|error| ExcludeError {
            pattern: patterns.join(" "),
            problem: reason(&error),
        })
    }

    /// Returns true if there are no patterns.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if the patterns exclude a path, relative to the root. The caller never asks
    /// about paths below an excluded directory.
    #[must_use]
    pub fn cover(&self, path: &[u8], is_directory: bool) -> bool {
        self.0.matched(as_path(path), is_directory).is_ignore()
    }
}

/// Returns the problem of a pattern which `gitignore(5)` reads differently from the author of a
/// list.
fn misleading(pattern: &str) -> Option<&'static str> {
    if pattern.trim().is_empty() {
        return Some("is empty");
    }

    // The parser takes a single pattern, so the lines of a pasted `.gitignore` would become one.
    if pattern.contains(['\n', '\r', '\0']) {
        return Some("holds a line break or NUL byte: give each pattern as one entry of the list");
    }

    // A comment excludes nothing, but an entry of a list is hardly meant as a comment.
    if pattern.starts_with('#') {
        return Some("is a comment: write \\# for a name that begins with #");
    }

    // Git takes braces literally and the matcher here expands them: the author may expect either.
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

/// Returns the parser's error as the end of a sentence about the pattern.
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
