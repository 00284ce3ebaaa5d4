//! Child processes of this program.

use std::ffi::OsStr;

use tokio::process::Command;

/// Environment variables for this process only: the bearer token of the daemon.
pub(crate) const SECRET_VARIABLES: [&str; 1] = ["MCP_SSH_TOKEN"];

/// Prepares a child process, which inherits the environment without [`SECRET_VARIABLES`].
///
/// Every child process is created here, as `tests/architecture.rs` checks. A `ProxyCommand`, a
/// `Match exec`, an askpass program or a browser would pass the variables on to everything it
/// starts.
#[must_use]
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in SECRET_VARIABLES {
        command.env_remove(name);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_has_none_of_our_secrets_in_its_environment() {
        let command = command("true").into_std();
        let removed: Vec<_> = command
            .get_envs()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name)
            .collect();
        assert_eq!(removed, SECRET_VARIABLES);
    }
}
