//! What a person typed to say where to connect, refused early where `ssh` would take it for something else.

mod command_line;

use std::fmt;

pub use self::command_line::TypedDestination;

/// Longest accepted destination or user name, in bytes: a DNS name has at most 253 and a Unix user name 32,
/// so anything near this is a mistake or an attack.
pub const MAX_BYTES: usize = 1024;

/// Characters `ssh` refuses in a host name, because `%h` reaches a shell through `ProxyCommand`.
const REFUSED_IN_HOST: &str = "'`\"$\\;&<>|(){}";

/// Characters `ssh` refuses in a user name. `\` (Windows domains) and `$` are allowed there, except a final `\`.
const REFUSED_IN_USER: &str = "'`\";&<>|(){}";

/// The destination argument of `ssh`: `host`, `user@host`, an alias of the configuration, or
/// `ssh://user@host:port`, kept verbatim. Holding one means it is safe to hand to `ssh -G -- DESTINATION`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination(String);

impl Destination {
    /// Checks `typed` and keeps it unchanged.
    ///
    /// # Errors
    /// [`DestinationError`] for text that is empty, longer than [`MAX_BYTES`], or whose user or host part is
    /// empty, begins with `-`, or holds whitespace, control characters or the shell characters `ssh` refuses.
    pub fn parse(typed: &str) -> Result<Self, DestinationError> {
        let rest = typed.strip_prefix("ssh://").unwrap_or(typed);

        // `ssh` splits at the last `@`: user names may hold one (`me@corp.example@host`).
        let host = match rest.rsplit_once('@') {
            Some((user, host)) => {
                if user.contains(':') {
                    return Err(DestinationError::Password);
                }

                parse_user(user)?;
                host
            }
            None => rest,
        };

        check(host, DestinationPart::Host, REFUSED_IN_HOST)?;

        if typed.len() > MAX_BYTES {
            return Err(DestinationError::TooLong {
                part: DestinationPart::Host,
            });
        }

        Ok(Self(typed.to_owned()))
    }

    /// The text exactly as it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks a user name given apart from the destination (`ssh -l USER`) and returns it unchanged.
///
/// # Errors
/// [`DestinationError`] for the reasons of [`Destination::parse`].
pub fn parse_user(user: &str) -> Result<&str, DestinationError> {
    check(user, DestinationPart::User, REFUSED_IN_USER)?;

    if user.ends_with('\\') {
        return Err(DestinationError::Refused {
            part: DestinationPart::User,
            character: '\\',
        });
    }

    Ok(user)
}

/// What `ssh` means by `%n` (`ssh_config(5)`, TOKENS): the host in what was typed, without user, port and brackets.
#[must_use]
pub fn host_part(typed: &str) -> &str {
    let (host, is_address) = match typed.strip_prefix("ssh://") {
        Some(rest) => (rest.trim_end_matches('/'), true),
        None => (typed, false),
    };

    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    if !is_address {
        return host;
    }

    if let Some((inside, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return inside;
    }

    host.rsplit_once(':').map_or(host, |(host, _)| host)
}

/// The first character for which `ssh` keeps a host name from a shell (`valid_hostname` of its `ssh.c`).
#[must_use]
pub fn unsafe_in_host(host: &str) -> Option<char> {
    let bad = |c: &char| c.is_control() || c.is_whitespace() || REFUSED_IN_HOST.contains(*c);
    host.chars()
        .next()
        .filter(|first| *first == '-')
        .or_else(|| host.chars().find(bad))
}

/// The same of a user name (`valid_ruser`), in which a blank may stand, but no option after it.
#[must_use]
pub fn unsafe_in_user(user: &str) -> Option<char> {
    let mut before = ' ';
    for character in user.chars() {
        let option = character == '-' && before.is_whitespace();
        if option || character.is_control() || REFUSED_IN_USER.contains(character) {
            return Some(character);
        }

        before = character;
    }

    (before == '\\').then_some(before)
}

/// Which part of a destination an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationPart {
    /// The host name, address, alias, or `host:port` of an `ssh://` destination.
    Host,
    /// The user name.
    User,
}

impl fmt::Display for DestinationPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::User => "user name",
        })
    }
}

/// Why a destination or user name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// Nothing was typed for this part.
    #[error("the {part} is empty")]
    Empty {
        /// The part at fault.
        part: DestinationPart,
    },
    /// The part begins with `-` and would be read as an option.
    #[error("the {part} begins with `-`, which ssh would read as an option")]
    LeadingDash {
        /// The part at fault.
        part: DestinationPart,
    },
    /// The part holds a character that `ssh` refuses or that cannot belong to a name.
    #[error("the {part} holds the character {character:?}, which is not allowed there")]
    Refused {
        /// The part at fault.
        part: DestinationPart,
        /// The first such character.
        character: char,
    },
    /// `user:password@host`. What is typed as a destination is saved and shown; ssh takes no password there either.
    #[error("a password has no place in the host, which is saved; it has a parameter of its own")]
    Password,
    /// A command line of `ssh` with an option that cannot be taken over.
    #[error("the option {0:?} of the ssh command has no place here")]
    Option(String),
    /// A command line of `ssh` with a command for the host behind it.
    #[error("the ssh command runs {0:?} on the host, which connecting does not")]
    Command(String),
    /// The text exceeds [`MAX_BYTES`].
    #[error("the {part} is longer than {MAX_BYTES} bytes")]
    TooLong {
        /// The part at fault.
        part: DestinationPart,
    },
}

fn check(text: &str, part: DestinationPart, refused: &str) -> Result<(), DestinationError> {
    if text.is_empty() {
        return Err(DestinationError::Empty { part });
    }

    if text.len() > MAX_BYTES {
        return Err(DestinationError::TooLong { part });
    }

    if text.starts_with('-') {
        return Err(DestinationError::LeadingDash { part });
    }

    let bad = |c: &char| c.is_control() || c.is_whitespace() || refused.contains(*c);
    match text.chars().find(bad) {
        Some(character) => Err(DestinationError::Refused { part, character }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_destinations_are_kept_verbatim() {
        for typed in [
            "h",
            "Web-1.example.com",
            "bob@h",
            "bob@corp.example@h",
            "CORP\\bob@h",
            "ssh://bob@h:2222",
            "ssh://h:2222/",
            "::1",
            "fe80::1%eth0",
            "ssh://[::1]:22",
            "hé",
            "h*",
            &"x".repeat(MAX_BYTES),
        ] {
            let parsed = Destination::parse(typed).unwrap();
            assert_eq!(
                (parsed.as_str(), parsed.to_string().as_str()),
                (typed, typed)
            );
        }
    }

    #[test]
    fn refused_destinations_name_the_part_and_the_reason() {
        use DestinationError::{Empty, LeadingDash, Password, Refused, TooLong};
        use DestinationPart::{Host, User};

        for (typed, expected) in [
            ("", Empty { part: Host }),
            ("u@", Empty { part: Host }),
            ("ssh://", Empty { part: Host }),
            ("@h", Empty { part: User }),
            ("-oProxyCommand=x", LeadingDash { part: Host }),
            ("u@-h", LeadingDash { part: Host }),
            ("ssh://-h", LeadingDash { part: Host }),
            ("-u@h", LeadingDash { part: User }),
            ("ssh://-u@h", LeadingDash { part: User }),
            (
                "a b",
                Refused {
                    part: Host,
                    character: ' ',
                },
            ),
            (
                "h\n",
                Refused {
                    part: Host,
                    character: '\n',
                },
            ),
            (
                "h\u{2003}x",
                Refused {
                    part: Host,
                    character: '\u{2003}',
                },
            ),
            (
                "h\0",
                Refused {
                    part: Host,
                    character: '\0',
                },
            ),
            (
                "h\u{9b}",
                Refused {
                    part: Host,
                    character: '\u{9b}',
                },
            ),
            (
                "h$(id)",
                Refused {
                    part: Host,
                    character: '$',
                },
            ),
            (
                "h;id",
                Refused {
                    part: Host,
                    character: ';',
                },
            ),
            (
                "u\tx@h",
                Refused {
                    part: User,
                    character: '\t',
                },
            ),
            (
                "u`id`@h",
                Refused {
                    part: User,
                    character: '`',
                },
            ),
            ("u:secret@h", Password),
            ("ssh://u:secret@h", Password),
            (
                "u\\@h",
                Refused {
                    part: User,
                    character: '\\',
                },
            ),
            (&"x".repeat(MAX_BYTES + 1), TooLong { part: Host }),
            (
                &format!("u@{}", "x".repeat(MAX_BYTES)),
                TooLong { part: Host },
            ),
        ] {
            assert_eq!(Destination::parse(typed), Err(expected), "{typed:?}");
        }
    }

    #[test]
    fn the_host_is_what_is_left_without_user_and_port() {
        for (typed, host) in [
            ("h", "h"),
            ("bob@h", "h"),
            ("me@corp@h", "h"),
            ("a$HOME@h", "h"),
            ("::1", "::1"),
            ("bob@fe80::1%eth0", "fe80::1%eth0"),
            ("ssh://bob@h:2222/", "h"),
            ("ssh://h", "h"),
            ("ssh://bob@[::1]:22", "::1"),
            ("ssh://[::1]", "::1"),
        ] {
            assert_eq!(host_part(typed), host, "{typed}");
        }
    }

    #[test]
    fn messages_say_what_is_wrong() {
        let message = |typed| Destination::parse(typed).unwrap_err().to_string();
        assert_eq!(
            message("-x"),
            "the host begins with `-`, which ssh would read as an option"
        );

        assert_eq!(
            message("a\u{1b}b@h"),
            "the user name holds the character '\\u{1b}', which is not allowed there"
        );
    }
}
