//! Target of a connection, as given by the caller.

use std::path::PathBuf;

use crate::openssh::destination::{Destination, DestinationError};

/// Destination as the user typed it, with the options which win over the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Host name, alias of the configuration, or `ssh://` address.
    pub destination: Destination,
    /// Remote user, as given by `ssh -l`; `None` leaves the choice to the configuration.
    pub user: Option<String>,
    /// TCP port, as given by `ssh -p`; `None` leaves the choice to the configuration.
    pub port: Option<u16>,
    /// Configuration file, as given by `ssh -F`; `None` stands for the usual files.
    pub config_file: Option<PathBuf>,
}

impl Target {
    /// Returns the arguments for `ssh` in a shell which reach the same target.
    #[must_use]
    pub fn arguments(&self) -> String {
        // A path may contain any character, so it is quoted for a POSIX shell.
        let file = self.config_file.iter().map(|file| {
            format!(
                "-F '{}' ",
                file.display().to_string().replace('\'', r"'\''")
            )
        });

        let port = self.port.iter().map(|port| format!("-p {port} "));
        let user = self.user.iter().map(|user| format!("-l '{user}' "));
        file.chain(port).chain(user).collect::<String>() + self.destination.as_str()
    }
}

/// Parses `[user@]host[:port]` or `ssh://[user@]host[:port]`, with IPv6 addresses in brackets.
///
/// # Errors
/// The host or the user name is not usable.
pub(in crate::ssh) fn parse_hop(hop: &str) -> Result<Target, DestinationError> {
    let rest = hop
        .trim()
        .trim_start_matches("ssh://")
        .trim_end_matches('/');

    let (user, host) = rest
        .rsplit_once('@')
        .map_or((None, rest), |(user, host)| (Some(user), host));

    // In an IPv6 address without brackets, the last colon does not separate a port.
    let (host, port) = match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (host, None),
        },
        _ => (host, None),
    };

    let destination = Destination::parse(host.trim_start_matches('[').trim_end_matches(']'))?;
    let user = user
        .map(|user| crate::openssh::destination::parse_user(user).map(str::to_owned))
        .transpose()?;

    Ok(Target {
        destination,
        user,
        port,
        config_file: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_has_a_host_and_perhaps_a_user_and_a_port() {
        for (hop, host, user, port) in [
            ("h", "h", None, None),
            ("u@h", "h", Some("u"), None),
            ("u@h:2222", "h", Some("u"), Some(2222)),
            ("a@b@h", "h", Some("a@b"), None),
            ("ssh://u@h:22", "h", Some("u"), Some(22)),
            ("[::1]:22", "::1", None, Some(22)),
            ("u@[fe80::1]", "fe80::1", Some("u"), None),
            ("::1", "::1", None, None),
        ] {
            let target = parse_hop(hop).unwrap();
            assert_eq!(
                (
                    target.destination.as_str(),
                    target.user.as_deref(),
                    target.port
                ),
                (host, user, port),
                "{hop}"
            );
        }

        assert!(
            parse_hop("-oProxyCommand=x").is_err()
                && parse_hop("").is_err()
                && parse_hop("u@").is_err()
        );
    }
}
