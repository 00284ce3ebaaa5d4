//! The expansions of `ssh_config(5)` that `ssh -G` leaves to us: `~`, `${ENV}` and percent tokens.

use std::fmt::Write as _;

use sha1::{Digest, Sha1};

use super::destination::{unsafe_in_host, unsafe_in_user};

/// What the tokens of `ssh_config(5)`, section TOKENS, stand for.
#[derive(Clone, Copy)]
pub struct Tokens<'a> {
    /// `%d` and a leading `~`: the local user's home directory.
    pub home: &'a str,
    /// `%u`: the local user name.
    pub local_user: &'a str,
    /// `%i`: the local user id.
    pub user_id: u32,
    /// `%l`: the local host name with its domain; `%L` is the part before the first dot.
    pub local_host: &'a str,
    /// `%h`: the remote host name after the configuration was applied (`hostname` of `ssh -G`).
    pub remote_host: &'a str,
    /// `%n`: the host as it was typed.
    pub original_host: &'a str,
    /// `%p`: the remote port.
    pub port: u16,
    /// `%r`: the remote user name.
    pub remote_user: &'a str,
    /// `%k`: the `HostKeyAlias`; without one, `%k` is [`original_host`](Self::original_host).
    pub host_key_alias: Option<&'a str>,
    /// `%j`: the raw `ProxyJump` value, empty without one.
    pub jump: &'a str,
    /// `${NAME}`: looks up an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// Expands a path option (`IdentityFile`, `CertificateFile`, `IdentityAgent`): a leading `~`, `${NAME}` and
/// percent tokens. A value is inserted as it is and never expanded again; a `$` without `{` is literal.
///
/// # Errors
/// [`TokenError`] naming the token, variable or user that cannot be expanded.
pub fn expand(template: &str, tokens: &Tokens<'_>) -> Result<String, TokenError> {
    let Some(rest) = template.strip_prefix('~') else {
        return substitute(template, tokens, TokenUse::Path);
    };

    if !(rest.is_empty() || rest.starts_with('/')) {
        let user = rest.split('/').next().unwrap_or(rest);
        return Err(TokenError::OtherHome(user.to_owned()));
    }

    Ok(tokens.home.trim_end_matches('/').to_owned() + &substitute(rest, tokens, TokenUse::Path)?)
}

/// Expands the percent tokens of a command option (`ProxyCommand`) and leaves `~` and `$` to the shell that runs it.
///
/// # Errors
/// [`TokenError`] for an unknown or cut-off percent token, and for a host or user name that `ssh` would not hand to a
/// shell: it may come from a canonical name that the DNS gave, or from a file that others write.
pub fn expand_command(template: &str, tokens: &Tokens<'_>) -> Result<String, TokenError> {
    substitute(template, tokens, TokenUse::Command)
}

/// Expands the percent tokens of `ProxyJump`, in which a name must not become two hops or a user of its own either.
///
/// # Errors
/// As [`expand_command`].
pub fn expand_jump(template: &str, tokens: &Tokens<'_>) -> Result<String, TokenError> {
    substitute(template, tokens, TokenUse::Jump)
}

/// Why a value of the configuration cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// `%x` with an `x` that has no meaning here.
    #[error("unknown token `%{0}`")]
    Unknown(char),
    /// The value ends in a single `%`.
    #[error("a `%` at the end stands for nothing; write `%%` for a percent sign")]
    TrailingPercent,
    /// `${NAME}` with a variable that is not set.
    #[error("environment variable `{0}` is not set")]
    UnsetVariable(String),
    /// `${` without `}`, or with nothing between.
    #[error("`${{` needs a variable name and a closing `}}`")]
    BrokenVariable,
    /// A name in a command or in a list of hops that would be more there than a name.
    #[error(
        "`%{token}` stands for {value:?} here, and {character:?} must not get into a command or a list of hops"
    )]
    Unsafe {
        /// The token.
        token: char,
        /// What it stands for.
        value: String,
        /// What is wrong with that.
        character: char,
    },
    /// `~name`: only the local user's own home is known.
    #[error("the home directory of `{0}` is not known; write the path out")]
    OtherHome(String),
}

/// Where the values go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TokenUse {
    /// A file name of this machine.
    Path,
    /// A line for a shell.
    Command,
    /// A list of hops.
    Jump,
}

fn substitute(template: &str, tokens: &Tokens<'_>, into: TokenUse) -> Result<String, TokenError> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;

    while let Some(at) = rest.find(['%', '$']) {
        let (before, found) = rest.split_at(at);
        out.push_str(before);

        if let Some(after) = found.strip_prefix('%') {
            let token = after.chars().next().ok_or(TokenError::TrailingPercent)?;
            let value = value(token, tokens).ok_or(TokenError::Unknown(token))?;

            if let Some(character) = unsafe_in(into, token, &value) {
                return Err(TokenError::Unsafe {
                    token,
                    value,
                    character,
                });
            }

            out.push_str(&value);
            rest = after.strip_prefix(token).unwrap_or_default();
        } else if let (TokenUse::Path, Some(after)) = (into, found.strip_prefix("${")) {
            let (name, after) = after.split_once('}').ok_or(TokenError::BrokenVariable)?;
            if name.is_empty() {
                return Err(TokenError::BrokenVariable);
            }

            out.push_str(
                &(tokens.env)(name).ok_or_else(|| TokenError::UnsetVariable(name.to_owned()))?,
            );

            rest = after;
        } else {
            out.push('$');
            rest = found.strip_prefix('$').unwrap_or_default();
        }
    }

    Ok(out + rest)
}

/// The first character of a name for which it must not be inserted. `%l` and `%L` are checked as the host is: a network may
/// have given this machine its name.
fn unsafe_in(into: TokenUse, token: char, value: &str) -> Option<char> {
    let unsafe_character = match token {
        _ if into == TokenUse::Path => return None,
        'h' | 'k' | 'L' | 'l' | 'n' => unsafe_in_host(value),
        'r' | 'u' => unsafe_in_user(value),
        _ => return None,
    };

    let separators: &[char] = match (token, into) {
        (_, TokenUse::Path | TokenUse::Command) => &[],
        ('r' | 'u', TokenUse::Jump) => &[','],
        (_, TokenUse::Jump) => &[',', '@'],
    };

    unsafe_character.or_else(|| {
        value
            .chars()
            .find(|character| separators.contains(character))
    })
}

fn value(token: char, tokens: &Tokens<'_>) -> Option<String> {
    let short_host = || tokens.local_host.split('.').next().unwrap_or_default();
    Some(match token {
        '%' => "%".to_owned(),
        'C' => connection_hash(tokens),
        'd' => tokens.home.to_owned(),
        'h' => tokens.remote_host.to_owned(),
        'i' => tokens.user_id.to_string(),
        'j' => tokens.jump.to_owned(),
        'k' => tokens
            .host_key_alias
            .unwrap_or(tokens.original_host)
            .to_owned(),
        'L' => short_host().to_owned(),
        'l' => tokens.local_host.to_owned(),
        'n' => tokens.original_host.to_owned(),
        'p' => tokens.port.to_string(),
        'r' => tokens.remote_user.to_owned(),
        'u' => tokens.local_user.to_owned(),
        _ => return None,
    })
}

/// `%C`: SHA-1 of `%l%h%p%r%j` in hexadecimal. Releases that do not know `%j` hash the same bytes when there
/// is no jump host.
fn connection_hash(tokens: &Tokens<'_>) -> String {
    let Tokens {
        local_host,
        remote_host,
        port,
        remote_user,
        jump,
        ..
    } = tokens;

    let digest = Sha1::digest(format!(
        "{local_host}{remote_host}{port}{remote_user}{jump}"
    ));

    digest
        .iter()
        .fold(String::with_capacity(40), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        (name == "KEYS").then(|| "/k %h ${X}".to_owned())
    }

    fn tokens() -> Tokens<'static> {
        Tokens {
            home: "/home/ann",
            local_user: "ann",
            user_id: 1000,
            local_host: "vm.example",
            remote_host: "ho.st",
            original_host: "Ho.St",
            port: 2222,
            remote_user: "bob",
            host_key_alias: None,
            jump: "",
            env: &env,
        }
    }

    #[test]
    fn every_token_expands_to_its_meaning() {
        for (template, expected) in [
            ("", ""),
            ("~", "/home/ann"),
            ("~/.ssh/%r_%h_key", "/home/ann/.ssh/bob_ho.st_key"),
            ("a~/x", "a~/x"),
            (
                "%d/%i/%u/%l/%L/%n/%p/%k/%%h%j",
                "/home/ann/1000/ann/vm.example/vm/Ho.St/2222/Ho.St/%h",
            ),
            ("${KEYS}/é%h", "/k %h ${X}/ého.st"),
            ("$KEYS/$", "$KEYS/$"),
        ] {
            assert_eq!(
                expand(template, &tokens()).as_deref(),
                Ok(expected),
                "{template}"
            );
        }
    }

    #[test]
    fn what_cannot_be_expanded_is_named() {
        for (template, expected) in [
            ("x%q", TokenError::Unknown('q')),
            ("%é", TokenError::Unknown('é')),
            ("x%", TokenError::TrailingPercent),
            ("${NOPE}/x", TokenError::UnsetVariable("NOPE".into())),
            ("${KEYS", TokenError::BrokenVariable),
            ("${}", TokenError::BrokenVariable),
            ("~root/x", TokenError::OtherHome("root".into())),
        ] {
            assert_eq!(expand(template, &tokens()), Err(expected), "{template}");
        }

        assert_eq!(
            TokenError::BrokenVariable.to_string(),
            "`${` needs a variable name and a closing `}`"
        );

        assert_eq!(TokenError::Unknown('q').to_string(), "unknown token `%q`");
    }

    #[test]
    fn a_command_keeps_what_the_shell_expands() {
        let command = expand_command("~/nc ${PROXY:-x} $HOME %h:%p", &tokens());
        assert_eq!(command.as_deref(), Ok("~/nc ${PROXY:-x} $HOME ho.st:2222"));
    }

    #[test]
    fn a_name_that_a_shell_would_take_for_more_is_not_put_into_a_command() {
        for (template, remote_host, remote_user, found) in [
            ("nc %h %p", "h;id", "bob", Some(('h', ';'))),
            ("nc %h %p", "$(id)", "bob", Some(('h', '$'))),
            ("nc %h %p", "-oProxyCommand=id", "bob", Some(('h', '-'))),
            ("nc %h %p", "a b", "bob", Some(('h', ' '))),
            ("ssh %r@gate", "h", "`id`", Some(('r', '`'))),
            ("ssh -l %r gate", "h", "-F/tmp/x", Some(('r', '-'))),
            ("ssh -l %r gate", "h", "bob -oX", Some(('r', '-'))),
            ("ssh -l %r gate", "h", "bob\\", Some(('r', '\\'))),
            ("ssh -l %r gate", "h", "bob\n", Some(('r', '\n'))),
            // Not inserted, and so of no harm.
            ("nc gate 22", "h;id", "`id`", None),
            ("nc %h %p %r", "fe80::1%eth0", "CORP\\bob smith$", None),
        ] {
            let tokens = Tokens {
                remote_host,
                remote_user,
                ..tokens()
            };

            let expanded = expand_command(template, &tokens);

            let refused = match &expanded {
                Err(TokenError::Unsafe {
                    token, character, ..
                }) => Some((*token, *character)),
                _ => None,
            };

            assert_eq!(
                refused, found,
                "{template} {remote_host} {remote_user}: {expanded:?}"
            );
        }

        let named = Tokens {
            original_host: "a`b",
            host_key_alias: Some("k|l"),
            local_host: "l&m",
            ..tokens()
        };

        for token in ["%n", "%k", "%l", "%L"] {
            assert!(
                matches!(
                    expand_command(token, &named),
                    Err(TokenError::Unsafe { .. })
                ),
                "{token}"
            );
        }

        assert!(expand("%n%k", &named).is_ok(), "a file may have any name");
    }

    #[test]
    fn a_name_stays_one_name_in_a_list_of_hops() {
        for (original_host, remote_user, fits) in [
            ("box", "me@corp", true),
            ("box,evil", "bob", false),
            ("box@evil", "bob", false),
            ("box", "bob,evil", false),
            ("box;id", "bob", false),
        ] {
            let tokens = Tokens {
                original_host,
                remote_user,
                ..tokens()
            };

            assert_eq!(
                expand_jump("%r@near-%n", &tokens).is_ok(),
                fits,
                "{original_host} {remote_user}"
            );
        }
    }

    #[test]
    fn the_connection_hash_is_the_one_ssh_prints() {
        // From `ssh -G -o ControlPath=%C -l bob -p 2222 Ho.St` on a host named `vm`.
        let direct = Tokens {
            local_host: "vm",
            ..tokens()
        };

        assert_eq!(
            expand("%C", &direct).as_deref(),
            Ok("6ec57a2a8905851ece46a229c44c87fe88421a62")
        );

        let jumped = Tokens {
            jump: "gate",
            ..direct
        };

        assert_ne!(expand("%C", &jumped), expand("%C", &direct));
    }

    #[test]
    fn an_alias_a_root_home_and_a_jump_are_used() {
        let other = Tokens {
            home: "/",
            host_key_alias: Some("al"),
            jump: "u@gate:22",
            ..tokens()
        };
        assert_eq!(expand("~/%k-%j", &other).as_deref(), Ok("/al-u@gate:22"));
    }
}
