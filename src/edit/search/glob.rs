//! A glob for the names of files, with the same meaning for every program that searches.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

/// Number of globs that the braces of one stand for.
const MAX_ALTERNATIVES: usize = 64;
/// Length of a glob in bytes.
const MAX_BYTES: usize = 4_096;

/// Glob such as `*.rs` for names, or `src/**/*.{c,h}` for paths below the directory that is
/// searched.
#[derive(Debug, Clone)]
pub struct Glob {
    /// True for a glob with `!`, which names what is left out.
    is_negated: bool,
    /// Globs without braces.
    alternatives: Vec<String>,
    regex: Regex,
}

/// Reason for which a text is no [`Glob`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobError(&'static str);

impl fmt::Display for GlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Glob {
    /// Reads a glob: `*` and `?` within a name, `**` for any number of directories, `[a-z]`,
    /// `{a,b}` and `\` before a letter that has no meaning. A glob with `/` is that of a path.
    ///
    /// # Errors
    /// The text is malformed or stands for too many globs.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        if text.len() > MAX_BYTES || text.contains('\0') {
            return Err(GlobError("it is too long or holds a NUL byte"));
        }

        let (is_negated, text) = match text.strip_prefix('!') {
            Some(text) => (true, text),
            None => (false, text),
        };

        let mut alternatives = Vec::new();
        for plain in expanded(text)? {
            let is_path = plain.contains('/');
            let plain = plain.trim_start_matches("./");
            // `/a` is a path at the root, as in gitignore.
            let rooted = plain.trim_start_matches('/');
            let plain = if rooted.is_empty() || rooted.ends_with('/') {
                format!("{rooted}**")
            } else if is_path && !rooted.contains('/') {
                // Kept a path.
                format!("./{rooted}")
            } else {
                rooted.to_owned()
            };
            alternatives.push(plain);
        }

        let mut regex = String::new();
        for plain in &alternatives {
            if !regex.is_empty() {
                regex.push('|');
            }
            append_regex(plain, &mut regex)?;
        }

        let regex = RegexBuilder::new(&format!("^(?:{regex})$"))
            .unicode(false)
            .dot_matches_new_line(true)
            .build()
            .map_err(|_| GlobError("it is malformed or too large"))?;

        Ok(Self {
            is_negated,
            alternatives,
            regex,
        })
    }

    /// Returns true if a file is searched. The path begins below the directory that is searched.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        self.regex.is_match(path) != self.is_negated
    }

    /// Returns the globs for `rg --glob`.
    #[must_use]
    pub fn for_rg(&self) -> Vec<String> {
        let sign = if self.is_negated { "!" } else { "" };
        self.alternatives
            .iter()
            .map(|plain| match plain.strip_prefix("./") {
                Some(name) => format!("{sign}/{name}"),
                None => format!("{sign}{plain}"),
            })
            .collect()
    }

    /// Returns tests for `find`, one of which holds for each path that [`matches`](Self::matches).
    /// `None` if there are no such tests.
    #[must_use]
    pub fn for_find(&self) -> Option<Vec<[String; 2]>> {
        if self.is_negated {
            return None;
        }

        let tests = self.alternatives.iter().map(|plain| {
            if !plain.contains('/') && plain != "**" {
                return ["-name".to_owned(), plain.clone()];
            }
            // A `*` of `find` matches `/`, too.
            let path = plain.trim_start_matches("./").replace("**/", "*");
            ["-path".to_owned(), format!("./{path}")]
        });

        Some(tests.collect())
    }
}

/// Returns the globs for which the braces stand.
fn expanded(text: &str) -> Result<Vec<String>, GlobError> {
    let mut done = Vec::new();
    let mut left = vec![text.to_owned()];

    while let Some(glob) = left.pop() {
        if done.len() + left.len() > MAX_ALTERNATIVES {
            return Err(GlobError("it stands for too many globs"));
        }

        let Some(braces) = Braces::first(&glob)? else {
            done.push(glob);
            continue;
        };
        for choice in braces.choices.iter().rev() {
            left.push(format!("{}{choice}{}", braces.before, braces.after));
        }
    }

    Ok(done)
}

/// First pair of braces in a glob.
struct Braces<'a> {
    before: &'a str,
    choices: Vec<&'a str>,
    after: &'a str,
}

impl<'a> Braces<'a> {
    fn first(glob: &'a str) -> Result<Option<Self>, GlobError> {
        let part = |from: usize, to: usize| glob.get(from..to).unwrap_or_default();
        let (mut depth, mut start, mut choice_start) = (0_u32, 0, 0);
        let mut choices = Vec::new();
        let mut is_escaped = false;

        for (at, letter) in glob.char_indices() {
            if std::mem::take(&mut is_escaped) {
                continue;
            }

            match letter {
                '\\' => is_escaped = true,
                '{' => {
                    if depth == 0 {
                        (start, choice_start) = (at, at + 1);
                    }
                    depth += 1;
                }
                ',' if depth == 1 => {
                    choices.push(part(choice_start, at));
                    choice_start = at + 1;
                }
                '}' if depth == 1 => {
                    choices.push(part(choice_start, at));
                    return Ok(Some(Self {
                        before: part(0, start),
                        choices,
                        after: part(at + 1, glob.len()),
                    }));
                }
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }

        if depth > 0 {
            return Err(GlobError("a brace is not closed"));
        }
        Ok(None)
    }
}

/// Appends the regular expression of a glob without braces.
fn append_regex(glob: &str, regex: &mut String) -> Result<(), GlobError> {
    // A name is that of a file in any directory.
    if !glob.contains('/') {
        regex.push_str("(?:.*/)?");
    }

    let glob = glob.trim_start_matches("./");
    let mut rest = glob;
    while let Some(letter) = rest.chars().next() {
        let is_name_start = rest.len() == glob.len()
            || glob
                .get(..glob.len() - rest.len())
                .is_some_and(|done| done.ends_with('/'));

        if is_name_start && let Some(after) = rest.strip_prefix("**/") {
            regex.push_str("(?:.*/)?");
            rest = after;
            continue;
        }

        let mut after = rest.get(letter.len_utf8()..).unwrap_or_default();
        match letter {
            '*' if after.starts_with('*') => {
                after = after.trim_start_matches('*');
                regex.push_str(".*");
            }
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str(r"[^/][\x80-\xbf]*"),
            '[' => after = append_class(after, regex)?,
            '\\' => {
                let escaped = after.chars().next();
                let escaped = escaped.ok_or(GlobError("it ends with a backslash"))?;
                append_letter(escaped, regex);
                after = after.get(escaped.len_utf8()..).unwrap_or_default();
            }
            letter => append_letter(letter, regex),
        }
        rest = after;
    }

    Ok(())
}

/// Appends a class, and returns what follows it.
fn append_class<'a>(glob: &'a str, regex: &mut String) -> Result<&'a str, GlobError> {
    let (is_negated, inside) = match glob.strip_prefix(['!', '^']) {
        Some(inside) => (true, inside),
        None => (false, glob),
    };
    // A bracket at the first place is a letter.
    let end = inside
        .char_indices()
        .skip(1)
        .find(|(_, letter)| *letter == ']')
        .map(|(at, _)| at)
        .ok_or(GlobError("a bracket is not closed"))?;
    let letters = inside.get(..end).unwrap_or_default();
    if !letters.is_ascii() {
        return Err(GlobError("brackets hold only ASCII letters"));
    }

    regex.push_str(if is_negated { "[^/" } else { "[" });
    for (at, letter) in letters.char_indices() {
        if letter == '-' && at > 0 && at + 1 < letters.len() {
            regex.push('-');
        } else {
            append_letter(letter, regex);
        }
    }
    regex.push(']');

    Ok(inside.get(end + 1..).unwrap_or_default())
}

/// Appends a letter as itself, by its bytes.
fn append_letter(letter: char, regex: &mut String) {
    use fmt::Write as _;

    if letter.is_ascii_alphanumeric() || letter == '/' {
        regex.push(letter);
        return;
    }

    let mut bytes = [0; 4];
    for byte in letter.encode_utf8(&mut bytes).bytes() {
        let _ = write!(regex, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_matches_names_or_paths() {
        for (glob, path, is_match) in [
            ("*.rs", "a.rs", true),
            ("*.rs", "deep/a.rs", true),
            ("*.rs", "a.rss", false),
            ("a", "deep/a", true),
            ("src/*.rs", "src/a.rs", true),
            ("src/*.rs", "src/b/a.rs", false),
            ("src/**/*.rs", "src/a.rs", true),
            ("src/**/*.rs", "src/b/c/a.rs", true),
            ("**/b/*.rs", "b/a.rs", true),
            ("**/b/*.rs", "xb/a.rs", false),
            ("**/b/*.rs", "x/b/a.rs", true),
            ("src/**", "src/b/c", true),
            ("src/", "src/b/c", true),
            ("src/", "srcs/b", false),
            ("/a", "a", true),
            ("/a", "b/a", false),
            ("./a/b", "a/b", true),
            ("*.{ts,tsx}", "x/a.tsx", true),
            ("*.{ts,tsx}", "x/a.js", false),
            ("{a,b{c,d}}.x", "bd.x", true),
            ("{a,b{c,d}}.x", "b.x", false),
            ("?.x", "é.x", true),
            ("[!a-c].x", "b.x", false),
            ("[!a-c].x", "d.x", true),
            ("[]].x", "].x", true),
            ("!*.log", "a.txt", true),
            ("!*.log", "b/a.log", false),
            (r"\*.x", "*.x", true),
            (r"\*.x", "a.x", false),
            ("*.conf", ".hidden.conf", true),
            ("a\nb", "a\nb", true),
            ("**", "a/b", true),
            ("", "a", true),
        ] {
            let found = Glob::parse(glob).unwrap().matches(path.as_bytes());
            assert_eq!(found, is_match, "{glob} {path}");
        }

        assert!(Glob::parse("*.x").unwrap().matches(b"\xff.x"));
    }

    #[test]
    fn a_malformed_glob_is_refused() {
        for glob in ["[a", "{a", r"a\", "a\0", &"{a,b}".repeat(9), "[é]"] {
            assert!(Glob::parse(glob).is_err(), "{glob}");
        }
    }

    #[test]
    fn programs_get_the_glob_in_their_form() {
        for (glob, rg, find) in [
            ("*.rs", "*.rs", Some("-name *.rs")),
            (
                "a/*.{b,c}",
                "a/*.b a/*.c",
                Some("-path ./a/*.b -path ./a/*.c"),
            ),
            ("a/**/b", "a/**/b", Some("-path ./a/*b")),
            ("**/b", "**/b", Some("-path ./*b")),
            ("a/", "a/**", Some("-path ./a/**")),
            ("/a", "/a", Some("-path ./a")),
            ("!-x", "!-x", None),
        ] {
            let glob = Glob::parse(glob).unwrap();
            let tests = glob.for_find().map(|tests| tests.concat_words());
            assert_eq!(
                (glob.for_rg().join(" ").as_str(), tests.as_deref()),
                (rg, find)
            );
        }
    }

    trait ConcatWords {
        fn concat_words(&self) -> String;
    }

    impl ConcatWords for Vec<[String; 2]> {
        fn concat_words(&self) -> String {
            let tests: Vec<String> = self.iter().map(|test| test.join(" ")).collect();
            tests.join(" ")
        }
    }
}
