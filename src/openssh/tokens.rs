//! Expansions of `ssh_config(5)` which `ssh -G` leaves to the caller: `~`, `${ENV}` and percent
//! tokens.

use std::fmt::Write as _;

use sha1::{Digest, Sha1};

use super::destination::{unsafe_in_host, unsafe_in_user};

/// Values of the tokens of `ssh_config(5)`, section TOKENS.
#[derive(Clone, Copy)]
pub struct Tokens<'a> {
    /// `%d` and a leading `~`: home directory of the local user.
    pub home: &'a str,
    /// `%u`: name of the local user.
    pub local_user: &'a str,
    /// `%i`: id of the local user.
    pub user_id: u32,
    /// `%l`: local host name with the domain. `%L` is the part before the first dot.
    pub local_host: &'a str,
    /// `%h`: remote host name after the configuration was applied (`hostname` of `ssh -G`).
    pub remote_host: &'a str,
    /// `%n`: host as typed.
    pub original_host: &'a str,
    /// `%p`: remote port.
    pub port: u16,
    /// `%r`: name of the remote user.
    pub remote_user: &'a str,
    /// `%k`: `HostKeyAlias`. If `None`, `%k` is [`original_host`](Self::original_host).
    pub host_key_alias: Option<&'a str>,
    /// `%j`: value of `ProxyJump`, empty if not set.
    pub jump: &'a str,
    /// `${NAME}`: function which looks up an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// Expands a path option (`IdentityFile`, `CertificateFile`, `IdentityAgent`): a leading `~`,
/// `${NAME}` and percent tokens. Values are inserted unchanged and never expanded again. A `$`
/// without `{` is literal.
///
/// # Errors
/// Returns [`TokenError`] naming the token, variable or user which cannot be expanded.
pub fn expand(template: &str, tokens: &Tokens<'_>) -> Result<String, TokenError> {
    let Some(rest) = template.strip_prefix('~') else {
        return substitute(template, tokens, TokenUse::Path);
    };

    // Another user's home would need a look-up, which the pure part of the program cannot do.
    if !(rest.is_empty() || rest.starts_with('/')) {
        let user = rest.split('/').next().unwrap_or(rest);
        return Err(TokenError::OtherHome(user.to_owned()));
    }

    // Only the rest is searched for tokens: a home directory may hold a percent sign.
    Ok(tokens.home.trim_end_matches('/').to_owned() + &substitute(rest, tokens, TokenUse::Path)?)
}

/// Expands the percent tokens of a command option (`ProxyCommand`). `~` and `$` are left to the
/// shell which runs the command.
///
/// # Errors
/// Returns [`TokenError`] for an unknown or cut-off token, and for a host or user name that `ssh`
/// would not pass to a shell. Such a name may come from the DNS (as a canonical name) or from a
/// file that others write.
pub fn expand_command(template: &str, tokens: &Tokens<'_>) -> Result<String, TokenError> {
    substitute(template, tokens, TokenUse::Command)
}

/// Expands the percent tokens of `ProxyJump`. A name must not become two hops, or bring a user name
/// of its own.
///
/// # Errors
/// Returns the errors of [`expand_command`], and [`TokenError::Unsafe`] for a separator of hops.
pub fn expand_jump(template: &str, tokens: &Tokens<'_>) -> Result<String, TokenError> {
    substitute(template, tokens, TokenUse::Jump)
}

/// Reason for which a value of the configuration cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token `%x` has no meaning here.
    #[error("unknown token `%{0}`")]
    Unknown(char),
    /// The value ends in a single `%`.
    #[error("a `%` at the end stands for nothing; write `%%` for a percent sign")]
    TrailingPercent,
    /// The variable in `${NAME}` is not set.
    #[error("environment variable `{0}` is not set")]
    UnsetVariable(String),
    /// A `${` has no `}`, or no name follows.
    #[error("`${{` needs a variable name and a closing `}}`")]
    BrokenVariable,
    /// A name holds a character with a meaning in a command or a list of hops.
    #[error(
        "`%{token}` stands for {value:?} here, and {character:?} must not get into a command or a list of hops"
    )]
    Unsafe {
        /// Token whose value is refused.
        token: char,
        /// Value of the token.
        value: String,
        /// Refused character.
        character: char,
    },
    /// The path begins with `~name`, but only the home of the local user is known.
    #[error("the home directory of `{0}` is not known; write the path out")]
    OtherHome(String),
}

/// Use of an expanded text, which decides which characters are safe.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TokenUse {
    /// Path of a local file.
    Path,
    /// Command line for a shell.
    Command,
    /// List of hops for `ProxyJump`.
    Jump,
}

/// Replaces all tokens and variables of a template.
fn substitute(template: &str, tokens: &Tokens<'_>, into: TokenUse) -> Result<String, TokenError> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;

    // The search continues after each inserted value, so no value is expanded again.
    while let Some(at) = rest.find(['%', '$']) {
        let (before, found) = rest.split_at(at);
        out.push_str(before);

        if let Some(after) = found.strip_prefix('%') {
            let token = after.chars().next().ok_or(TokenError::TrailingPercent)?;
            let value = value(token, tokens).ok_or(TokenError::Unknown(token))?;

            // Only inserted values are checked. The template is the user's own text.
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
            // `${NAME}` belongs to paths only. In a command, the shell expands variables.
            let (name, after) = after.split_once('}').ok_or(TokenError::BrokenVariable)?;
            if name.is_empty() {
                return Err(TokenError::BrokenVariable);
            }

            out.push_str(
                &(tokens.env)(name).ok_or_else(|| TokenError::UnsetVariable(name.to_owned()))?,
            );

            rest = after;
        } else {
            // A `$` without `{` is literal in a path, and in a command it belongs to the shell.
            out.push('$');
            rest = found.strip_prefix('$').unwrap_or_default();
        }
    }

    Ok(out + rest)
}

/// Returns the first character for which a value must not be inserted. `%l` and `%L` are checked
/// like a remote host name, because a network may have named this machine.
fn unsafe_in(into: TokenUse, token: char, value: &str) -> Option<char> {
    // Numbers, hashes and this machine's own paths are not under the control of others.
    let unsafe_character = match token {
        _ if into == TokenUse::Path => return None,
        'h' | 'k' | 'L' | 'l' | 'n' => unsafe_in_host(value),
        'r' | 'u' => unsafe_in_user(value),
        _ => return None,
    };

    // A comma ends a hop. An `@` in a host would make the text before it a user name, but user
    // names themselves may hold an `@`.
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

/// Returns the value of a token, or `None` if the token is unknown.
fn value(token: char, tokens: &Tokens<'_>) -> Option<String> {
    // Tokens of `KnownHostsCommand` and `LocalCommand` (`%f`, `%H`, `%I`, `%K`, `%t`, `%T`) are
    // unknown here, because neither option is supported.
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

/// Returns the value of `%C`: SHA-1 of `%l%h%p%r%j` in hexadecimal. Releases without `%j` hash the
/// same bytes if there is no jump host.
fn connection_hash(tokens: &Tokens<'_>) -> String {
    let Tokens {
        local_host,
        remote_host,
        port,
        remote_user,
        jump,
        ..
    } = tokens;

    // The digest occurs in file names of the user's configuration, so it has to agree with `ssh`.
    // SHA-1 protects nothing here.
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
    fn a_name_with_shell_syntax_is_not_put_into_a_command() {
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
