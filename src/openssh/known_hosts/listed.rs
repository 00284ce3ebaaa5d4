//! Keys which `known_hosts` files list for a host.

use super::{
    host_key::HostKey,
    host_pattern::HostName,
    line::{Marker, MatchingLine},
    verdict::{KnownHostsFile, all_lines},
};

/// Keys by which a host is known.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ListedKeys {
    /// Plain keys, revoked ones included.
    pub plain: Vec<HostKey>,
    /// True if an authority which is not revoked may vouch for the host.
    pub has_authority: bool,
}

/// Returns the keys listed for a host. As in `ssh`, lines for the host without port count too.
#[must_use]
pub fn listed_keys(files: &[KnownHostsFile<'_>], host: &HostName) -> ListedKeys {
    let lines: Vec<MatchingLine> = [Some(host.as_str()), host.without_port()]
        .into_iter()
        .flatten()
        .flat_map(|name| all_lines(files, name))
        .map(|(_, line)| line)
        .collect();

    let is_revoked = |key: &HostKey| {
        lines
            .iter()
            .any(|line| line.marker == Marker::Revoked && line.key == *key)
    };

    ListedKeys {
        has_authority: lines
            .iter()
            .any(|line| line.marker == Marker::CertAuthority && !is_revoked(&line.key)),
        plain: lines
            .iter()
            .filter(|line| line.marker == Marker::Plain && !line.certified)
            .map(|line| line.key.clone())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGyNIOesCewgOk25b8NR67l6SEP6Q5cWbUcO3T10hy2b";

    #[test]
    fn keys_and_authorities_are_found_by_name() {
        for (text, port, expected) in [
            (format!("h.ex {ED}"), 22, (1, false)),
            (format!("[h.ex]:2222 {ED}"), 2222, (1, false)),
            (format!("h.ex {ED}"), 2222, (1, false)),
            (format!("[h.ex]:2222 {ED}"), 22, (0, false)),
            (format!("[h.ex]:2223 {ED}"), 2222, (0, false)),
            (format!("other {ED}"), 22, (0, false)),
            (format!("*.ex {ED}\nh.ex {ED}"), 22, (2, false)),
            (format!("@revoked h.ex {ED}"), 22, (0, false)),
            (format!("@cert-authority *.ex {ED}"), 22, (0, true)),
            (
                format!("@cert-authority *.ex {ED}\n@revoked * {ED}"),
                22,
                (0, false),
            ),
            ("h.ex ssh-ed25519 @@@".to_owned(), 22, (0, false)),
            (String::new(), 22, (0, false)),
        ] {
            let files = [KnownHostsFile {
                path: "kh",
                text: text.as_bytes(),
            }];

            let listed = listed_keys(&files, &HostName::new("h.ex", port));
            assert_eq!(
                (listed.plain.len(), listed.has_authority),
                expected,
                "{text:?} {port}"
            );
        }
    }
}
