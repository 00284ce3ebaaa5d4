//! What to connect to.

use std::path::PathBuf;

use crate::openssh::destination::{Destination, DestinationError};

/// What is to be connected: the destination as typed, and the options that win over the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Host, alias or `ssh://` address.
    pub destination: Destination,
    /// `User`, as `ssh -l`.
    pub user: Option<String>,
    /// `Port`, as `ssh -p`.
    pub port: Option<u16>,
    /// The configuration file, as `ssh -F`; `None` is the person's own.
    pub config_file: Option<PathBuf>,
}

impl Target {
    /// What a person gives to `ssh` in a shell to reach the same.
    #[must_use]
    pub fn arguments(&self) -> String {
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

/// Reads `[user@]host[:port]` or `ssh://[user@]host[:port]`, with IPv6 addresses in brackets.
pub(in crate::ssh) fn parse_hop(hop: &str) -> Result<Target, DestinationError> {
    let rest = hop
        .trim()
        .trim_start_matches("ssh://")
        .trim_end_matches('/');

    let (user, host) = rest
        .rsplit_once('@')
        .map_or((None, rest), |(user, host)| (Some(user), host));

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
