//! Destinations typed by the user, checked before `ssh` could misread them.

mod command_line;

use std::fmt;

pub use self::command_line::TypedDestination;

/// Limit for the length of a destination or user name, in bytes. A DNS name has at most 253 bytes
/// and a Unix user name 32, so a longer text is a mistake or an attack.
pub const MAX_BYTES: usize = 1024;

/// Characters which `ssh` refuses in a host name, because `%h` reaches a shell through
/// `ProxyCommand`.
const REFUSED_IN_HOST: &str = "'`\"$\\;&<>|(){}";

/// Characters which `ssh` refuses in a user name. Windows domains need `\`, and `$` occurs too;
/// both are allowed, except a final `\`.
const REFUSED_IN_USER: &str = "'`\";&<>|(){}";

/// Destination argument of `ssh`, kept verbatim: `host`, `user@host`, an alias of the
/// configuration, or `ssh://user@host:port`. A value is safe to pass to `ssh -G -- DESTINATION`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination(String);

impl Destination {
    /// Parses a destination. The text is checked but not changed.
    ///
    /// # Errors
    /// Returns [`DestinationError`] if the text or a part of it is empty or longer than
    /// [`MAX_BYTES`]. Each part must not begin with `-`, or hold whitespace, control characters or
    /// the shell characters that `ssh` refuses. A password after the user name is refused too.
    pub fn parse(input: &str) -> Result<Self, DestinationError> {
        let rest = input.strip_prefix("ssh://").unwrap_or(input);

        // `ssh` splits at the last `@`, because user names may hold one (`me@corp.example@host`).
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

        // The host is checked as a whole with its port: `ssh` splits the `ssh://` form itself.
        check(host, DestinationPart::Host, REFUSED_IN_HOST)?;

        if input.len() > MAX_BYTES {
            return Err(DestinationError::TooLong {
                part: DestinationPart::Host,
            });
        }

        Ok(Self(input.to_owned()))
    }

    /// Returns the text exactly as typed.
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

/// Checks a user name given separately (`ssh -l USER`) and returns the same text.
///
/// # Errors
/// Returns [`DestinationError`] for the same reasons as [`Destination::parse`].
pub fn parse_user(user: &str) -> Result<&str, DestinationError> {
    check(user, DestinationPart::User, REFUSED_IN_USER)?;

    // A final `\` would escape the character after the name in a `ProxyCommand`.
    if user.ends_with('\\') {
        return Err(DestinationError::Refused {
            part: DestinationPart::User,
            character: '\\',
        });
    }

    Ok(user)
}

/// Returns the host within a destination, without user, port and brackets. This is the meaning of
/// `%n` in `ssh_config(5)`, TOKENS.
#[must_use]
pub fn host_part(input: &str) -> &str {
    // Only the `ssh://` form can hold a port. Elsewhere a colon belongs to an IPv6 address.
    let (host, is_address) = match input.strip_prefix("ssh://") {
        Some(rest) => (rest.trim_end_matches('/'), true),
        None => (input, false),
    };

    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    if !is_address {
        return host;
    }

    // An address in brackets has colons of its own, so the last colon may not begin the port.
    if let Some((inside, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return inside;
    }

    host.rsplit_once(':').map_or(host, |(host, _)| host)
}

/// Returns the first character for which `ssh` refuses to pass a host name to a shell
/// (`valid_hostname` of OpenSSH's `ssh.c`).
#[must_use]
pub fn unsafe_in_host(host: &str) -> Option<char> {
    let bad = |c: &char| c.is_control() || c.is_whitespace() || REFUSED_IN_HOST.contains(*c);
    host.chars()
        .next()
        .filter(|first| *first == '-')
        .or_else(|| host.chars().find(bad))
}

/// Returns the first character for which `ssh` refuses to pass a user name to a shell
/// (`valid_ruser` of OpenSSH's `ssh.c`). A blank is allowed unless `-` follows.
#[must_use]
pub fn unsafe_in_user(user: &str) -> Option<char> {
    // The name may follow a blank in the command, so a `-` at its beginning makes an option too.
    let mut before = ' ';
    for character in user.chars() {
        let option = character == '-' && before.is_whitespace();
        if option || character.is_control() || REFUSED_IN_USER.contains(character) {
            return Some(character);
        }

        before = character;
    }

    // A final `\` would escape the character which follows the name in the command.
    (before == '\\').then_some(before)
}

/// Part of a destination which an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationPart {
    /// Host name, address, alias, or `host:port` of an `ssh://` destination.
    Host,
    /// User name.
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

/// Reason for which a destination or user name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// The part is empty.
    #[error("the {part} is empty")]
    Empty {
        /// Part at fault.
        part: DestinationPart,
    },
    /// The part begins with `-` and would be read as an option.
    #[error("the {part} begins with `-`, which ssh would read as an option")]
    LeadingDash {
        /// Part at fault.
        part: DestinationPart,
    },
    /// The part holds a character which `ssh` refuses or which cannot belong to a name.
    #[error("the {part} holds the character {character:?}, which is not allowed there")]
    Refused {
        /// Part at fault.
        part: DestinationPart,
        /// First refused character.
        character: char,
    },
    /// The text has the form `user:password@host`. Destinations are saved and shown, and `ssh` does
    /// not accept a password there either.
    #[error(
        "the host must not contain a password, because the host is saved; use the parameter password"
    )]
    Password,
    /// The command line of `ssh` has an option which this program cannot take over.
    #[error("the option {0:?} of the ssh command is not supported here")]
    Option(String),
    /// The command line of `ssh` ends with a command for the host.
    #[error("the ssh command would run {0:?} on the host; connect without a command")]
    Command(String),
    /// The text exceeds [`MAX_BYTES`].
    #[error("the {part} is longer than {MAX_BYTES} bytes")]
    TooLong {
        /// Part at fault.
        part: DestinationPart,
    },
}

/// Checks the host or the user of a destination.
fn check(text: &str, part: DestinationPart, refused: &str) -> Result<(), DestinationError> {
    if text.is_empty() {
        return Err(DestinationError::Empty { part });
    }

    if text.len() > MAX_BYTES {
        return Err(DestinationError::TooLong { part });
    }

    // `--` protects only the arguments of `ssh` itself. The name also reaches the programs of a
    // `ProxyCommand`.
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
        for input in [
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
            let parsed = Destination::parse(input).unwrap();
            assert_eq!(
                (parsed.as_str(), parsed.to_string().as_str()),
                (input, input)
            );
        }
    }

    #[test]
    fn refused_destinations_name_the_part_and_the_reason() {
        use DestinationError::{Empty, LeadingDash, Password, Refused, TooLong};
        use DestinationPart::{Host, User};

        for (input, expected) in [
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
            assert_eq!(Destination::parse(input), Err(expected), "{input:?}");
        }
    }

    #[test]
    fn the_host_is_what_is_left_without_user_and_port() {
        for (input, host) in [
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
            assert_eq!(host_part(input), host, "{input}");
        }
    }

    #[test]
    fn messages_say_what_is_wrong() {
        let message = |input| Destination::parse(input).unwrap_err().to_string();
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
