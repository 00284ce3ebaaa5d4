//! Forms of a destination which `ssh` does not accept as a single argument: `user@host:port` and a
//! whole command line.

use super::{Destination, DestinationError, DestinationPart, parse_user};

/// Options of `ssh` which are ignored here. They do not change which host is reached, or how.
const HARMLESS: [char; 7] = ['q', 't', 'T', 'v', 'a', 'x', 'n'];

/// A destination as typed, split into the argument for `ssh` and the options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedDestination {
    /// Destination to pass to `ssh`.
    pub destination: Destination,
    /// User name from `-l USER`, or `None` if not given.
    pub user: Option<String>,
    /// Port from `-p PORT` or after a colon, or `None` if not given.
    pub port: Option<u16>,
    /// Private key file from `-i FILE`, or `None` if not given.
    pub key_path: Option<String>,
}

impl TypedDestination {
    /// Parses a destination of `ssh`, `user@host:port`, or a command such as
    /// `ssh -p 2222 user@host`.
    ///
    /// # Errors
    /// Returns the errors of [`Destination::parse`]. A command line is also refused if an option
    /// would be lost, or if a command for the host follows.
    pub fn parse(input: &str) -> Result<Self, DestinationError> {
        // A blank has to follow: a host may be called `ssh` or `sshgate`.
        let input = input.trim_matches(' ');
        match input
            .strip_prefix("ssh")
            .filter(|rest| rest.starts_with([' ', '\t']))
        {
            Some(arguments) => Self::command_line(arguments),
            None => Self::host_and_port(input),
        }
    }

    /// Returns the default name of the session. The name includes the port, so that hosts which
    /// differ only in the port get different names.
    #[must_use]
    pub fn name(&self) -> String {
        let user = self
            .user
            .as_ref()
            .map(|user| format!("{user}@"))
            .unwrap_or_default();

        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        // Without brackets, the port would look like the last part of an IPv6 address.
        let host = self.destination.as_str();
        if host.contains(':') && !port.is_empty() && !host.starts_with("ssh://") {
            return format!("{user}[{host}]{port}");
        }

        format!("{user}{host}{port}")
    }

    /// Parses the `user@host:port` form.
    fn host_and_port(input: &str) -> Result<Self, DestinationError> {
        // Text that does not end in a port is a destination of `ssh` as it stands.
        let (host, port) =
            split_port(input).map_or((input.to_owned(), None), |(host, port)| (host, Some(port)));

        Ok(Self {
            destination: Destination::parse(&host)?,
            user: None,
            port,
            key_path: None,
        })
    }

    /// Parses the arguments of an `ssh` command.
    fn command_line(arguments: &str) -> Result<Self, DestinationError> {
        let (mut user, mut port, mut key_path, mut host) = (None, None, None, None);
        let mut words = words(arguments).into_iter();
        let mut options = true;

        while let Some(word) = words.next() {
            // Words before and after the host may be options, as in `ssh`. A second plain word
            // begins the remote command, which connecting would silently drop.
            let Some(option) = word.strip_prefix('-').filter(|_| options) else {
                if host.is_some() {
                    let rest: Vec<String> = std::iter::once(word).chain(words).collect();
                    return Err(DestinationError::Command(rest.join(" ")));
                }

                host = Some(word);
                continue;
            };

            if option == "-" {
                options = false;
                continue;
            }

            // As in getopt(3), letters without a value may precede a letter with a value, which may
            // be the next word.
            let letters = option.trim_start_matches(HARMLESS);
            let mut rest = letters.chars();
            let Some(letter) = rest.next() else { continue };
            // An option with an unknown effect must not be lost: it may decide which host is
            // reached.
            if !matches!(letter, 'p' | 'l' | 'i') {
                return Err(DestinationError::Option(word));
            }

            let attached = Some(rest.as_str().to_owned()).filter(|value| !value.is_empty());
            let value = attached
                .or_else(|| words.next())
                .ok_or_else(|| DestinationError::Option(word.clone()))?;

            match letter {
                'p' => {
                    port = Some(
                        value
                            .parse()
                            .map_err(|_| DestinationError::Option(format!("{word} {value}")))?,
                    );
                }
                'l' => user = Some(parse_user(&value)?.to_owned()),
                _ => key_path = Some(value),
            }
        }

        let host = host.ok_or(DestinationError::Empty {
            part: DestinationPart::Host,
        })?;

        Ok(Self {
            destination: Destination::parse(&host)?,
            user,
            port,
            key_path,
        })
    }
}

/// Splits `user@host:port` or `[address]:port`. Returns `None` without a port, and for a bare IPv6
/// address, whose colons separate no port.
fn split_port(input: &str) -> Option<(String, u16)> {
    // `ssh` itself splits the port off this form.
    if input.starts_with("ssh://") {
        return None;
    }

    let (user, host) = input
        .rsplit_once('@')
        .map_or(("", input), |(user, host)| (user, host));
    let (name, port) = host.rsplit_once(':')?;
    let bracketed = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));

    if name.is_empty() || (bracketed.is_none() && name.contains(':')) {
        return None;
    }

    // Nothing listens on port 0, so such a text is left as it is for the checks of the host.
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let at = if input.contains('@') { "@" } else { "" };

    Some((format!("{user}{at}{}", bracketed.unwrap_or(name)), port))
}

/// Splits a command line into words and removes quotes like a shell.
fn words(text: &str) -> Vec<String> {
    // A word is `None` until it begins, because quotes without content are a word too.
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);

    for letter in text.chars() {
        match (quote, letter) {
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (Some(open), _) if open == letter => quote = None,
            (None, _) if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }

    words.extend(word);

    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_read_as_people_write_it() {
        for (input, host, user, port, key, name) in [
            ("web", "web", None, None, None, "web"),
            (" web ", "web", None, None, None, "web"),
            ("bob@h:2222", "bob@h", None, Some(2222), None, "bob@h:2222"),
            ("h:22", "h", None, Some(22), None, "h:22"),
            (
                "bob@10.0.0.5:2200",
                "bob@10.0.0.5",
                None,
                Some(2200),
                None,
                "bob@10.0.0.5:2200",
            ),
            ("::1", "::1", None, None, None, "::1"),
            (
                "bob@fe80::1",
                "bob@fe80::1",
                None,
                None,
                None,
                "bob@fe80::1",
            ),
            ("[::1]:2222", "::1", None, Some(2222), None, "[::1]:2222"),
            (
                "bob@corp@h:22",
                "bob@corp@h",
                None,
                Some(22),
                None,
                "bob@corp@h:22",
            ),
            (
                "ssh://bob@h:2222",
                "ssh://bob@h:2222",
                None,
                None,
                None,
                "ssh://bob@h:2222",
            ),
            (
                "ssh -p 2222 bob@h",
                "bob@h",
                None,
                Some(2222),
                None,
                "bob@h:2222",
            ),
            (
                "ssh bob@h -p2222",
                "bob@h",
                None,
                Some(2222),
                None,
                "bob@h:2222",
            ),
            (
                "ssh -l bob -i '/k e y' h",
                "h",
                Some("bob"),
                None,
                Some("/k e y"),
                "bob@h",
            ),
            ("ssh -tt -vp 22 h", "h", None, Some(22), None, "h:22"),
            (
                "ssh  ssh://bob@h:22",
                "ssh://bob@h:22",
                None,
                None,
                None,
                "ssh://bob@h:22",
            ),
            ("ssh -- h", "h", None, None, None, "h"),
            ("sshhost", "sshhost", None, None, None, "sshhost"),
            ("ssh", "ssh", None, None, None, "ssh"),
            // As ssh has it: a name that no resolver knows.
            ("h:0", "h:0", None, None, None, "h:0"),
        ] {
            let read = TypedDestination::parse(input).unwrap();
            assert_eq!(read.destination.as_str(), host, "{input}");
            assert_eq!(
                (read.user.as_deref(), read.port, read.key_path.as_deref()),
                (user, port, key),
                "{input}"
            );

            assert_eq!(read.name(), name, "{input}");
        }
    }

    #[test]
    fn what_would_be_lost_is_refused() {
        use DestinationError::{Command, Empty, Option, Password, Refused};

        for (input, expected) in [
            ("ssh -J jump h", Option("-J".to_owned())),
            (
                "ssh -oProxyCommand=x h",
                Option("-oProxyCommand=x".to_owned()),
            ),
            ("ssh -A h", Option("-A".to_owned())),
            ("ssh -p x h", Option("-p x".to_owned())),
            ("ssh -p 99999 h", Option("-p 99999".to_owned())),
            ("ssh h -p", Option("-p".to_owned())),
            ("ssh h uptime -p", Command("uptime -p".to_owned())),
            (
                "ssh -p 22",
                Empty {
                    part: DestinationPart::Host,
                },
            ),
            ("bob:secret@h:22", Password),
            (
                "h:x y",
                Refused {
                    part: DestinationPart::Host,
                    character: ' ',
                },
            ),
            (
                "-p 22 h",
                DestinationError::LeadingDash {
                    part: DestinationPart::Host,
                },
            ),
        ] {
            assert_eq!(TypedDestination::parse(input), Err(expected), "{input}");
        }
    }
}
