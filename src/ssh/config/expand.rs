//! Expands the tokens in paths and commands of the configuration with values of this machine.

use std::env;

use crate::{
    local::home::home,
    openssh::{
        destination::host_part,
        effective_config::EffectiveConfig,
        tokens::{Tokens, expand, expand_command, expand_jump},
    },
    ssh::error::SshError,
};

/// Expands `~`, `${VARIABLE}` and percent tokens in the value of a path option (`ssh_config(5)`,
/// TOKENS).
///
/// # Errors
/// A token or variable has no value.
pub(in crate::ssh) fn expand_path(
    option: &'static str,
    value: &str,
    config: &EffectiveConfig,
    destination: &str,
) -> Result<String, SshError> {
    with_tokens(config, destination, |tokens| expand(value, tokens))
        .map_err(|source| SshError::Token { option, source })
}

/// Expands the percent tokens of `ProxyCommand`. The rest is left to the shell which runs the
/// command.
///
/// # Errors
/// A token has no value, or a shell would take the value for more than a name.
pub(in crate::ssh) fn expand_command_option(
    option: &'static str,
    value: &str,
    config: &EffectiveConfig,
    destination: &str,
) -> Result<String, SshError> {
    with_tokens(config, destination, |tokens| expand_command(value, tokens))
        .map_err(|source| SshError::Token { option, source })
}

/// Expands the percent tokens of `ProxyJump`.
///
/// # Errors
/// A token has no value, or the value could change the list of hops.
pub(in crate::ssh) fn expand_hops(
    hops: &str,
    config: &EffectiveConfig,
    destination: &str,
) -> Result<String, SshError> {
    with_tokens(config, destination, |tokens| expand_jump(hops, tokens)).map_err(|source| {
        SshError::Token {
            option: "ProxyJump",
            source,
        }
    })
}

/// Calls a function with the values of all tokens.
pub(super) fn with_tokens<T>(
    config: &EffectiveConfig,
    destination: &str,
    use_them: impl FnOnce(&Tokens<'_>) -> T,
) -> T {
    let home = home().unwrap_or_default();
    let home = home.to_string_lossy();
    let local_user = local_user();
    let local_host = local_host_name();
    let lookup = |name: &str| env::var(name).ok();

    use_them(&Tokens {
        home: &home,
        local_user: &local_user,
        user_id: local_user_id(),
        local_host: &local_host,
        remote_host: &config.host_name,
        original_host: host_part(destination),
        port: config.port,
        remote_user: &config.user,
        host_key_alias: config.host_key_alias.as_deref(),
        jump: config.proxy_jump.as_deref().unwrap_or_default(),
        env: &lookup,
    })
}

/// Returns the name of the user who runs this program. As in `ssh`, the user database decides,
/// because the environment may say something else or nothing.
#[cfg(unix)]
pub(in crate::ssh) fn local_user() -> String {
    use nix::unistd::{Uid, User};
    let listed = User::from_uid(Uid::current())
        .ok()
        .flatten()
        .map(|user| user.name);
    listed.or_else(|| env::var("USER").ok()).unwrap_or_default()
}

/// Returns the name of the user who runs this program.
#[cfg(not(unix))]
pub(in crate::ssh) fn local_user() -> String {
    env::var("USERNAME").unwrap_or_default()
}

/// Returns the id of the user who runs this program.
#[cfg(unix)]
fn local_user_id() -> u32 {
    nix::unistd::Uid::current().as_raw()
}

/// Returns 0, since users have no numeric id on this system.
#[cfg(not(unix))]
fn local_user_id() -> u32 {
    0
}

/// Returns the name of this machine; empty if the name is unknown.
fn local_host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| env::var("HOSTNAME").ok())
        .or_else(|| env::var("COMPUTERNAME").ok())
        .map(|name| name.trim().to_owned())
        .unwrap_or_default()
}
