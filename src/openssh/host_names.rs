//! The hosts that `ssh_config` files name literally: the words of `Host` lines without a wildcard.

use std::collections::HashMap;

use super::{
    config_file::{ConfigLine, host_matches},
    destination::Destination,
    known_hosts::{Case, glob},
};
use crate::foreign_text::is_line_unsafe;

/// Limit of the depth at which files include each other, as in `ssh`.
const MAX_DEPTH: usize = 16;
/// Limit of the hosts that are kept.
const MAX_HOSTS: usize = 20_000;
/// Limit of a name, in bytes: that of DNS and more.
const MAX_NAME_BYTES: usize = 255;
/// Limit of a purpose, in characters.
const MAX_PURPOSE: usize = 120;

/// Host that a `Host` line names literally.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedHost {
    /// Name, as a person gives it to `ssh`.
    pub name: String,
    /// Text of the comment `# mcp: …` directly above the `Host` line; `None` without one. May hold
    /// any character.
    pub purpose: Option<String>,
}

/// Hosts in the order of the files, each once.
///
/// The caller reads the user's file first and then the system's, as `ssh` does.
#[derive(Debug, Default)]
pub struct NamedHosts {
    hosts: Vec<NamedHost>,
    /// Position of each name in `hosts`.
    positions: HashMap<String, usize>,
}

impl NamedHosts {
    /// Adds the hosts of a file. `included` returns the texts of the files that a path of an
    /// `Include` stands for, in order.
    ///
    /// Lines that `ssh` would not accept are skipped. A `Host` line in an included file counts only
    /// for names which the `Host` line around the `Include` matches too, as in `ssh`.
    pub fn read(&mut self, text: &str, included: &mut dyn FnMut(&str) -> Vec<String>) {
        self.file(text, &[], included);
    }

    /// Returns the hosts.
    #[must_use]
    pub fn into_hosts(self) -> Vec<NamedHost> {
        self.hosts
    }

    /// Adds the hosts of a file. `around` holds the patterns of the block of each `Include` that
    /// led to the file, empty for no condition.
    fn file(
        &mut self,
        text: &str,
        around: &[Vec<String>],
        included: &mut dyn FnMut(&str) -> Vec<String>,
    ) {
        let mut block = Vec::new();
        let mut above = None;

        for line in text.lines() {
            let purpose = std::mem::replace(&mut above, purpose(line));
            match ConfigLine::read(line) {
                Ok(Some(ConfigLine::Host(patterns))) => {
                    self.add(&patterns, purpose, around);
                    block = patterns;
                }
                // Only `ssh` can decide about a `Match`, so nothing is ruled out.
                Ok(Some(ConfigLine::Match(_))) => block = Vec::new(),
                Ok(Some(ConfigLine::Include(paths))) if around.len() < MAX_DEPTH => {
                    let around = [around, &[block.clone()]].concat();
                    for path in paths {
                        for text in included(&path) {
                            self.file(&text, &around, included);
                        }
                    }
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Adds the names of a `Host` line.
    fn add(&mut self, patterns: &[String], purpose: Option<&str>, around: &[Vec<String>]) {
        let excluded: Vec<&[u8]> = patterns
            .iter()
            .filter_map(|pattern| Some(pattern.strip_prefix('!')?.as_bytes()))
            .collect();

        for name in patterns.iter().filter(|pattern| is_name(pattern)) {
            let is_excluded = excluded
                .iter()
                .any(|pattern| glob(pattern, name.as_bytes(), Case::Exact));
            let is_reached = around
                .iter()
                .all(|block| block.is_empty() || host_matches(block, name));

            if is_excluded || !is_reached || self.hosts.len() >= MAX_HOSTS {
                continue;
            }

            let position = *self.positions.entry(name.clone()).or_insert_with(|| {
                self.hosts.push(NamedHost {
                    name: name.clone(),
                    purpose: None,
                });
                self.hosts.len() - 1
            });

            if let Some(host) = self.hosts.get_mut(position)
                && host.purpose.is_none()
            {
                host.purpose = purpose.map(|text| text.chars().take(MAX_PURPOSE).collect());
            }
        }
    }
}

/// Returns true if a word of a `Host` line is a name that can be connected to, not a pattern.
fn is_name(word: &str) -> bool {
    // `ssh` splits a user off before it looks for the host, so a name with `@` is never found.
    !word.contains(['*', '?', '!', '@', char::REPLACEMENT_CHARACTER])
        && !word.starts_with("ssh://")
        && word.len() <= MAX_NAME_BYTES
        && !word.chars().any(is_line_unsafe)
        && Destination::parse(word).is_ok()
}

/// Returns the text of a comment `# mcp: TEXT`.
fn purpose(line: &str) -> Option<&str> {
    let comment = line.trim().strip_prefix('#')?.trim_start();
    let (word, text) = comment.split_once(':')?;
    let text = text.trim();
    (word.eq_ignore_ascii_case("mcp") && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hosts of the file `config`, in short: `name` or `name=purpose`. `Include` finds the
    /// other files by name.
    fn named(files: &[(&str, &str)]) -> String {
        let text = |name: &str| {
            let found = files.iter().find(|(file, _)| *file == name);
            found.map(|(_, text)| (*text).to_owned())
        };

        let mut hosts = NamedHosts::default();
        hosts.read(&text("config").unwrap(), &mut |path| {
            text(path).into_iter().collect()
        });

        let shown = hosts
            .into_hosts()
            .into_iter()
            .map(|host| match host.purpose {
                Some(purpose) => format!("{}={purpose}", host.name),
                None => host.name,
            });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn literal_words_of_host_lines_are_hosts() {
        for (text, expected) in [
            ("Host web", "web"),
            ("Host web db\nPort 22\nHost mail", "web db mail"),
            ("host=a b", "a b"),
            ("HOST = a\tb \r\n hOsT c", "a b c"),
            ("Host \"a\" 'b' c # d", "a b c"),
            ("Host \"a b\" c", "c"),
            ("Host * a* b? !c d", "d"),
            ("Host a b !b !*x ax", "a"),
            ("Host b\nHost a b", "b a"),
            ("# Host a\n  #Host b\nHost c", "c"),
            ("Match host a\nHost b", "b"),
            ("HostName a\nHosts b\nHost", ""),
            ("Host a \"b\nHost c", "c"),
            ("Host -oProxyCommand=x a;b u@c ssh://d $(e) f", "f"),
            (
                "Host 10.0.0.1 ::1 fe80::1%eth0 büro",
                "10.0.0.1 ::1 fe80::1%eth0 büro",
            ),
            ("Host a\u{202e}b a\u{fffd} c", "c"),
            ("", ""),
        ] {
            assert_eq!(named(&[("config", text)]), expected, "{text:?}");
        }
    }

    #[test]
    fn a_comment_directly_above_is_the_purpose() {
        for (text, expected) in [
            (
                "# mcp: staging web\nHost a b",
                "a=staging web b=staging web",
            ),
            ("#MCP:x\n  Host a", "a=x"),
            ("# mcp: x\n\nHost a", "a"),
            ("# mcp: x\n# y\nHost a", "a"),
            ("# mcp: x\nPort 1\nHost a", "a"),
            ("# mcp:  \nHost a", "a"),
            ("# mcpx: y\nHost a", "a"),
            ("Host a # mcp: x", "a"),
            ("# mcp: x\nHost a\nHost b", "a=x b"),
            ("# mcp: x: y\nHost a\n# mcp: z\nHost a", "a=x: y"),
            ("Host a\n# mcp: z\nHost a", "a=z"),
        ] {
            assert_eq!(named(&[("config", text)]), expected, "{text:?}");
        }

        let long = named(&[("config", &format!("# mcp: {}\nHost a", "é".repeat(999)))]);
        assert_eq!(long.chars().count(), "a=".len() + MAX_PURPOSE);
    }

    #[test]
    fn included_hosts_stand_where_they_are_included() {
        for (config, one, two, expected) in [
            ("Host a\nInclude one\nHost b", "Port 1", "", "a b"),
            ("Include one two\nHost b", "Host x", "Host y", "x y b"),
            (
                "Include one\nHost b",
                "Include two\nHost x",
                "Host y",
                "y x b",
            ),
            (
                "Include one\nHost b",
                "Host x\nInclude two",
                "Host y",
                "x b",
            ),
            ("Include missing one", "Host x", "", "x"),
            // The block around an `Include` has to match too.
            ("Host *\nInclude one", "Host x y", "", "x y"),
            ("Host x*\nInclude one", "Host x y", "", "x"),
            ("Host a x\nInclude one\nHost b", "Host x y", "", "a x b"),
            ("Host * !x\nInclude one", "Host x y", "", "y"),
            ("Match all\nInclude one", "Host x", "", "x"),
            ("Host a\nMatch all\nInclude one", "Host x", "", "a x"),
            (
                "Host x*\nInclude one",
                "Host *y\nInclude two",
                "Host xy xz zy",
                "xy",
            ),
            // A purpose belongs to the next line, not to the next file.
            ("# mcp: p\nInclude one", "Host x", "", "x"),
        ] {
            let files = [("config", config), ("one", one), ("two", two)];
            assert_eq!(named(&files), expected, "{config:?} {one:?} {two:?}");
        }
    }

    #[test]
    fn files_that_include_each_other_end() {
        assert_eq!(named(&[("config", "Include config\nHost a")]), "a");

        // Depth 16 is read, and depth 17 is not.
        let files: Vec<(String, String)> = (0..20)
            .map(|depth| {
                let name = if depth == 0 {
                    "config".to_owned()
                } else {
                    format!("f{depth}")
                };
                (
                    name,
                    format!("Host h{depth}\nMatch all\nInclude f{}", depth + 1),
                )
            })
            .collect();
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        let hosts = named(&files);
        assert!(hosts.ends_with("h15 h16"), "{hosts}");
    }

    #[test]
    fn there_is_a_limit_of_hosts() {
        let text = (0..MAX_HOSTS + 5).fold(String::new(), |text, number| {
            format!("{text}Host h{number}\n")
        });
        let mut hosts = NamedHosts::default();
        hosts.read(&text, &mut |_| Vec::new());
        assert_eq!(hosts.into_hosts().len(), MAX_HOSTS);
    }
}
