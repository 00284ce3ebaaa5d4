//! The `ssh_config` file of a client of the test servers.

use std::fs;
use std::path::{Path, PathBuf};

/// One `Host` block for a server on 127.0.0.1; the `extra` lines come first, so that they win.
pub(crate) fn host(alias: &str, extra: &str, port: u16, user: &str, known_hosts: &Path) -> String {
    let known_hosts = known_hosts.display();
    format!(
        "Host {alias}\n{extra}\nHostName 127.0.0.1\nPort {port}\nUser {user}\nIdentitiesOnly yes\n\
         UserKnownHostsFile \"{known_hosts}\"\nGlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\n"
    )
}

/// Writes `blocks` to `folder/ssh_config_alias`.
pub(crate) fn write(folder: &Path, alias: &str, blocks: &str) -> PathBuf {
    let path = folder.join(format!("ssh_config_{alias}"));
    fs::write(&path, blocks).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}
