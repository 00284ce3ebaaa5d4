//! More ways to say where to connect than `ssh` takes as its destination: `user@host:port`, and a whole command line.

use super::{Destination, DestinationError, DestinationPart, parse_user};

/// Options of `ssh` that make no difference to which host is reached and how: they concern output and terminals.
const HARMLESS: [char; 7] = ['q', 't', 'T', 'v', 'a', 'x', 'n'];

/// A destination as people write it, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedDestination {
    /// The destination for `ssh`.
    pub destination: Destination,
    /// `-l USER`.
    pub user: Option<String>,
    /// `-p PORT`, or what follows a colon.
    pub port: Option<u16>,
    /// `-i FILE`.
    pub key_path: Option<String>,
}

impl TypedDestination {
    /// Reads a destination of `ssh`, `user@host:port`, or a command such as `ssh -p 2222 user@host`.
    ///
    /// # Errors
    /// As [`Destination::parse`]; an option that would be lost; a command to run on the host.
    pub fn parse(typed: &str) -> Result<Self, DestinationError> {
        let typed = typed.trim_matches(' ');
        match typed
            .strip_prefix("ssh")
            .filter(|rest| rest.starts_with([' ', '\t']))
        {
            Some(arguments) => Self::command_line(arguments),
            None => Self::host_and_port(typed),
        }
    }

    /// What the session is called where nothing else is said: hosts that differ by their port alone differ in it.
    #[must_use]
    pub fn name(&self) -> String {
        let user = self
            .user
            .as_ref()
            .map(|user| format!("{user}@"))
            .unwrap_or_default();

        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let host = self.destination.as_str();
        if host.contains(':') && !port.is_empty() && !host.starts_with("ssh://") {
            return format!("{user}[{host}]{port}");
        }

        format!("{user}{host}{port}")
    }

    fn host_and_port(typed: &str) -> Result<Self, DestinationError> {
        let (host, port) =
            split_port(typed).map_or((typed.to_owned(), None), |(host, port)| (host, Some(port)));

        Ok(Self {
            destination: Destination::parse(&host)?,
            user: None,
            port,
            key_path: None,
        })
    }

    fn command_line(arguments: &str) -> Result<Self, DestinationError> {
        let (mut user, mut port, mut key_path, mut host) = (None, None, None, None);
        let mut words = words(arguments).into_iter();
        let mut options = true;

        while let Some(word) = words.next() {
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

            // As getopt(3) has it: letters without a value, then perhaps one with, which may be the next word.
            let letters = option.trim_start_matches(HARMLESS);
            let mut rest = letters.chars();
            let Some(letter) = rest.next() else { continue };
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

/// `user@host:port` or `[address]:port`, apart. An address of version 6 has colons of its own.
fn split_port(typed: &str) -> Option<(String, u16)> {
    if typed.starts_with("ssh://") {
        return None;
    }

    let (user, host) = typed
        .rsplit_once('@')
        .map_or(("", typed), |(user, host)| (user, host));
    let (name, port) = host.rsplit_once(':')?;
    let bracketed = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));

    if name.is_empty() || (bracketed.is_none() && name.contains(':')) {
        return None;
    }

    let port = port.parse().ok().filter(|port| *port > 0)?;
    let at = if typed.contains('@') { "@" } else { "" };

    Some((format!("{user}{at}{}", bracketed.unwrap_or(name)), port))
}

/// The words of a command line, with quotes taken off as a shell would.
fn words(text: &str) -> Vec<String> {
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
        for (typed, host, user, port, key, name) in [
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
            let read = TypedDestination::parse(typed).unwrap();
            assert_eq!(read.destination.as_str(), host, "{typed}");
            assert_eq!(
                (read.user.as_deref(), read.port, read.key_path.as_deref()),
                (user, port, key),
                "{typed}"
            );

            assert_eq!(read.name(), name, "{typed}");
        }
    }

    #[test]
    fn what_would_be_lost_is_refused() {
        use DestinationError::{Command, Empty, Option, Password, Refused};

        for (typed, expected) in [
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
            assert_eq!(TypedDestination::parse(typed), Err(expected), "{typed}");
        }
    }
}
