//! `IdentityAgent` and `ForwardAgent`: where the authentication agent listens.

/// `IdentityAgent`: where the authentication agent listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityAgent {
    /// Not set, or `SSH_AUTH_SOCK`: the socket named by that environment variable.
    Environment,
    /// `none`: no agent may be used.
    None,
    /// `$NAME`: the socket named by the environment variable `NAME`.
    Variable(String),
    /// The path of the socket.
    Path(String),
}

/// Reads the value of the option.
pub(super) fn identity_agent(value: &str) -> IdentityAgent {
    match value {
        "SSH_AUTH_SOCK" => IdentityAgent::Environment,
        "none" => IdentityAgent::None,
        _ => match value.strip_prefix('$') {
            Some(name) if !name.starts_with('{') => IdentityAgent::Variable(name.to_owned()),
            _ => IdentityAgent::Path(value.to_owned()),
        },
    }
}
