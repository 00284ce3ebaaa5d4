//! `ssh_config` files for machines without `ssh`: parses the lines and collects the settings for
//! one host.
//!
//! The result is the text which `ssh -G` would print, so that both ways share one parser. Features
//! that need more than text are not evaluated here: every `Match` except `Match all`, and canonical
//! host names.

use super::{
    algorithm_list::{algorithms, default_algorithms},
    forwardings::arguments,
    known_hosts::{Case, glob},
    option_support::{treatment, value_is_the_rest},
};

/// A line of an `ssh_config` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigLine {
    /// `Host` with the patterns.
    Host(Vec<String>),
    /// `Match` with the criteria.
    Match(Vec<String>),
    /// `Include` with the paths.
    Include(Vec<String>),
    /// Any other option: the name in lower case, and the arguments.
    Option(String, Vec<String>),
}

/// Reason for which a line cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// A quotation mark is not closed.
    #[error("a quotation mark is not closed")]
    Quote,
    /// An option has no value.
    #[error("{0} has no value")]
    Missing(String),
    /// An option does not accept the value.
    #[error("{0} does not take {1:?}")]
    Value(String, String),
}

impl ConfigLine {
    /// Parses a line. Returns `None` for empty lines and comments.
    ///
    /// # Errors
    /// Returns [`LineError::Quote`] or [`LineError::Missing`].
    pub fn read(text: &str) -> Result<Option<Self>, LineError> {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            return Ok(None);
        }

        // `ssh_config(5)` allows blanks, or blanks around a single `=`, between keyword and value.
        let (keyword, rest) = text.split_once([' ', '\t', '=']).unwrap_or((text, ""));
        let keyword = keyword.trim_matches('"').to_ascii_lowercase();
        let rest = rest.trim_start();
        let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
        // Quotes in a command belong to the shell that runs the command.
        let arguments = if value_is_the_rest(&keyword) {
            vec![rest.to_owned()]
        } else {
            words(rest)?
        };

        // The caller refuses an empty `Match` like every other `Match` which only `ssh` can decide.
        if arguments.iter().all(String::is_empty) && keyword != "match" {
            return Err(LineError::Missing(keyword));
        }

        Ok(Some(match keyword.as_str() {
            "host" => Self::Host(arguments),
            "match" => Self::Match(arguments),
            "include" => Self::Include(arguments),
            _ => Self::Option(keyword, arguments),
        }))
    }
}

/// Returns true if the patterns of a `Host` line match the host as typed. A matching pattern with
/// `!` excludes the host.
#[must_use]
pub fn host_matches(patterns: &[String], host_name: &str) -> bool {
    let matches = |pattern: &str| glob(pattern.as_bytes(), host_name.as_bytes(), Case::Exact);
    patterns.iter().any(|pattern| matches(pattern))
        && !patterns
            .iter()
            .filter_map(|pattern| pattern.strip_prefix('!'))
            .any(matches)
}

/// Options for a single host, collected from the matching blocks in the order of the files. The
/// first value of an option wins, except for options which may be repeated.
#[derive(Debug, Default)]
pub struct Settings {
    values: Vec<(String, String)>,
    /// Keywords unknown to every supported release of OpenSSH.
    pub unknown: Vec<String>,
}

impl Settings {
    /// Adds an option from a block which applies to the host.
    ///
    /// # Errors
    /// Returns [`LineError::Value`] for a value which `ssh -G` prints in another form, if the
    /// conversion fails.
    pub fn add(&mut self, keyword: &str, arguments: &[String]) -> Result<(), LineError> {
        let keyword = current_name(keyword);
        // `ssh` stops at an unknown keyword. Here the keyword may be newer than this program, so
        // the caller only warns.
        if treatment(keyword).is_none() {
            self.unknown.push(keyword.to_owned());
            return Ok(());
        }

        let value = arguments.join(" ");
        let bad = || LineError::Value(keyword.to_owned(), value.clone());

        // The order of the arms matters: options that may be repeated come before the test for an
        // earlier value.
        match keyword {
            "sendenv" => {
                // `-PATTERN` removes variables named by earlier lines (`ssh_config(5)`, `SendEnv`).
                for pattern in arguments {
                    match pattern.strip_prefix('-') {
                        Some(drop) => self.values.retain(|(name, held)| {
                            name != keyword || !glob(drop.as_bytes(), held.as_bytes(), Case::Exact)
                        }),
                        None => self.push(keyword, pattern),
                    }
                }
            }
            "setenv" if self.first(keyword).is_none() => {
                // One line may set several variables, but only the first `SetEnv` line counts.
                for variable in arguments {
                    self.push(keyword, variable);
                }
            }
            "identityfile" | "certificatefile" => self.push(keyword, &value),
            "localforward" | "remoteforward" | "dynamicforward" => {
                // A value that `ssh` would refuse is quoted, which no printed value is.
                let printed = arguments::printed(keyword, arguments);
                self.push(keyword, &printed.unwrap_or_else(|| format!("{value:?}")));
            }
            "proxyjump" | "proxycommand" => {
                // The two options exclude each other: the first of either kind wins.
                if self.first("proxyjump").is_none() && self.first("proxycommand").is_none() {
                    self.push(keyword, &value);
                }
            }
            _ if self.first(keyword).is_some() => {}
            "connecttimeout" | "serveraliveinterval" if value != "none" => {
                // `ssh -G` prints every time in seconds.
                self.push(keyword, &seconds(&value).ok_or_else(bad)?.to_string());
            }
            "rekeylimit" => {
                // `ssh -G` prints two numbers, with 0 for the default of either.
                let bytes = arguments
                    .first()
                    .and_then(|bytes| self::bytes(bytes))
                    .ok_or_else(bad)?;

                let after = match arguments.get(1).map(String::as_str) {
                    None | Some("none") => 0,
                    Some(time) => seconds(time).ok_or_else(bad)?,
                };

                self.push(keyword, &format!("{bytes} {after}"));
            }
            _ => match default_algorithms(keyword) {
                Some(default) => self.push(keyword, &algorithms(&value, default)),
                None => self.push(keyword, &value_word(&value)),
            },
        }

        Ok(())
    }

    /// Returns the first value of an option, or `None` if the option is not set.
    #[must_use]
    pub fn first(&self, keyword: &str) -> Option<&str> {
        self.values
            .iter()
            .find(|(name, _)| name == keyword)
            .map(|(_, value)| value.as_str())
    }

    /// Renders the settings like the output of `ssh -G` for the host `host_name`. `user` and `port`
    /// come from the command line and win over the files.
    #[must_use]
    pub fn to_config_dump(
        mut self,
        host_name: &str,
        user: Option<&str>,
        port: Option<u16>,
        local_user: &str,
    ) -> String {
        // `HostName` knows only `%h` and `%%`. Splitting first keeps the `h` of `%%h` literal.
        let pattern = self.first("hostname").unwrap_or("%h");
        let host = pattern
            .split("%%")
            .map(|part| part.replace("%h", host_name))
            .collect::<Vec<_>>()
            .join("%");

        // The command line wins over the files, as in `ssh`; the local user is the last resort.
        let user = user.or(self.first("user")).unwrap_or(local_user).to_owned();
        let port = port
            .map(|port| port.to_string())
            .or(self.first("port").map(str::to_owned));

        // The values just computed replace the collected ones, and there must be one line of each.
        self.values
            .retain(|(name, _)| !["hostname", "user", "port"].contains(&name.as_str()));
        self.push("hostname", &host.to_ascii_lowercase());
        self.push("user", &user);
        self.push("port", port.as_deref().unwrap_or("22"));

        self.values
            .iter()
            .fold(String::new(), |text, (name, value)| {
                text + name + " " + value + "\n"
            })
    }

    fn push(&mut self, keyword: &str, value: &str) {
        self.values.push((keyword.to_owned(), value.to_owned()));
    }
}

/// Splits a line into words at blanks, respecting quotation marks and backslashes. A word which
/// begins with `#` ends the line.
fn words(text: &str) -> Result<Vec<String>, LineError> {
    // A word is `None` until it begins, because `""` is a word too.
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = text.chars().peekable();

    while let Some(letter) = letters.next() {
        // Backslashes are checked before quotes: an escaped quote neither opens nor closes.
        match (letter, quote) {
            ('#', None) if word.is_none() => break,
            (' ' | '\t', None) => words.extend(word.take()),
            ('\\', _)
                if letters
                    .peek()
                    .is_some_and(|next| escaped(*next, quote.is_some())) =>
            {
                word.get_or_insert_default().extend(letters.next());
            }
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (_, Some(open)) if open == letter => quote = None,
            _ => word.get_or_insert_default().push(letter),
        }
    }

    words.extend(word);

    if quote.is_some() {
        Err(LineError::Quote)
    } else {
        Ok(words)
    }
}

/// Returns true for a character which a backslash escapes. Inside quotes, a blank needs no escape.
fn escaped(letter: char, quoted: bool) -> bool {
    matches!(letter, '"' | '\'' | '\\') || (letter == ' ' && !quoted)
}

/// Returns the present name of an option which was renamed.
fn current_name(keyword: &str) -> &str {
    // Only old configurations use these names; `ssh -G` always prints the new ones.
    match keyword {
        "pubkeyacceptedkeytypes" => "pubkeyacceptedalgorithms",
        "hostbasedkeytypes" => "hostbasedacceptedalgorithms",
        "challengeresponseauthentication" | "skeyauthentication" | "tisauthentication" => {
            "kbdinteractiveauthentication"
        }
        "keepalive" => "tcpkeepalive",
        other => other,
    }
}

/// Converts a keyword value to lower case, as `ssh -G` prints such values. Any other value is
/// unchanged.
fn value_word(value: &str) -> String {
    // Other values may be paths or names, in which case is significant.
    let lower = value.to_ascii_lowercase();

    let words = [
        "yes",
        "no",
        "true",
        "false",
        "none",
        "any",
        "inet",
        "inet6",
        "ask",
        "accept-new",
        "off",
        "auto",
        "force",
    ];

    if words.contains(&lower.as_str()) {
        lower
    } else {
        value.to_owned()
    }
}

/// Parses a time such as `90` or `1h30m` (`sshd_config(5)`, TIME FORMATS). Returns the number of
/// seconds.
fn seconds(text: &str) -> Option<u64> {
    // A unit ends each number. Sums are checked, because a file may hold any number.
    let (mut total, mut digits) = (0_u64, String::new());
    for letter in text.chars() {
        let unit = match letter.to_ascii_lowercase() {
            '0'..='9' => {
                digits.push(letter);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };

        total = total.checked_add(digits.parse::<u64>().ok()?.checked_mul(unit)?)?;
        digits.clear();
    }

    // A last number without a unit counts seconds.
    if digits.is_empty() {
        (!text.is_empty()).then_some(total)
    } else {
        total.checked_add(digits.parse().ok()?)
    }
}

/// Parses the first argument of `RekeyLimit` into a number of bytes; 0 stands for the default.
fn bytes(text: &str) -> Option<u64> {
    if text == "default" {
        return Some(0);
    }

    // The suffixes are powers of 1024 (`ssh_config(5)`, `RekeyLimit`).
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());

    let shift = match text.strip_prefix(digits)?.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };

    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(keyword: &str, arguments: &[&str]) -> ConfigLine {
        ConfigLine::Option(
            keyword.to_owned(),
            arguments
                .iter()
                .map(|argument| (*argument).to_owned())
                .collect(),
        )
    }

    #[test]
    fn lines_are_taken_apart_as_ssh_does() {
        for (text, expected) in [
            ("", None),
            ("  # Port 1", None),
            ("Port 22", Some(option("port", &["22"]))),
            ("\tPort\t=\t22 \r", Some(option("port", &["22"]))),
            ("Port=22", Some(option("port", &["22"]))),
            (
                "IdentityFile \"~/a b\"",
                Some(option("identityfile", &["~/a b"])),
            ),
            (
                "SetEnv A='x \"y' B=\"\\\"z\" # no",
                Some(option("setenv", &["A=x \"y", "B=\"z"])),
            ),
            ("SendEnv a\\ b c", Some(option("sendenv", &["a b", "c"]))),
            (
                "IdentityFile C:\\Users\\ann",
                Some(option("identityfile", &["C:\\Users\\ann"])),
            ),
            (
                "ProxyCommand = nc \"%h\" # x",
                Some(option("proxycommand", &["nc \"%h\" # x"])),
            ),
            (
                "Host a !b",
                Some(ConfigLine::Host(vec!["a".into(), "!b".into()])),
            ),
            ("match all", Some(ConfigLine::Match(vec!["all".into()]))),
            (
                "Include \"a b\" c",
                Some(ConfigLine::Include(vec!["a b".into(), "c".into()])),
            ),
        ] {
            assert_eq!(ConfigLine::read(text), Ok(expected), "{text}");
        }

        assert_eq!(ConfigLine::read("User \"x"), Err(LineError::Quote));
        assert_eq!(
            ConfigLine::read("User"),
            Err(LineError::Missing("user".into()))
        );
    }

    #[test]
    fn hosts_match_by_pattern_and_a_negated_one_wins() {
        for (patterns, host_name, expected) in [
            ("a", "a", true),
            ("a", "A", false),
            ("a* b?", "b1", true),
            ("* !b", "b", false),
            ("!b", "a", false),
        ] {
            let patterns: Vec<String> = patterns.split(' ').map(str::to_owned).collect();
            assert_eq!(
                host_matches(&patterns, host_name),
                expected,
                "{patterns:?} {host_name}"
            );
        }
    }

    #[test]
    fn times_and_sizes_have_units() {
        for (text, expected) in [
            ("0", Some(0)),
            ("90", Some(90)),
            ("1m30s", Some(90)),
            ("1h30", Some(3630)),
            ("1W", Some(604_800)),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }

        for (text, expected) in [
            ("default", Some(0)),
            ("512", Some(512)),
            ("1k", Some(1024)),
            ("4G", Some(4 << 30)),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }

        assert!(
            ["", "soon", "1x", "99999999999999999999"]
                .iter()
                .all(|text| seconds(text).is_none())
        );

        assert!(
            ["", "G", "1T", "99999999999999G", "none"]
                .iter()
                .all(|text| bytes(text).is_none())
        );
    }
}
