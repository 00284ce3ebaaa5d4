//! The programs that this one starts.

use std::ffi::OsStr;

use tokio::process::Command;

/// The variables of our environment that are meant for this process alone: the bearer token of the daemon.
pub const SECRET_VARIABLES: [&str; 1] = ["MCP_SSH_TOKEN"];

/// A program to start. It inherits the environment without [`SECRET_VARIABLES`].
///
/// Every child process is made here (`tests/architecture.rs` sees to that): what a `ProxyCommand`, a `Match exec`, an
/// askpass program or a browser gets, all that these start get too.
#[must_use]
pub fn command(program: impl AsRef<OsStr>) -> Command {
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
