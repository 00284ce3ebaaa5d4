//! Location of the authentication agent, for `IdentityAgent` and `ForwardAgent`.

/// Location of the authentication agent, as set by `IdentityAgent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityAgent {
    /// Socket named by the environment variable `SSH_AUTH_SOCK`, which is the default.
    Environment,
    /// No agent may be used (`none`).
    None,
    /// Socket named by the environment variable in `$NAME`.
    Variable(String),
    /// Path of the socket.
    Path(String),
}

/// Parses the value of the option.
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
