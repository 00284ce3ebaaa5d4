//! Checks the address of a host together with its key: `CheckHostIP` and
//! `NoHostAuthenticationForLocalhost`.

use super::{
    HostKeyCheck,
    decision::{Acceptance, HostKeyDecision, changed_error, revoked_error},
    view,
};
use crate::openssh::{
    effective_config::{EffectiveConfig, StrictHostKeyChecking},
    known_hosts::{HostName, Verdict, verdict},
};

/// Options about the address of a host, with the necessary parts of the destination.
pub(super) struct AddressRules {
    /// True if `CheckHostIP` is set.
    check: bool,
    /// True if a loopback address needs no check (`NoHostAuthenticationForLocalhost`).
    exempt_loopback: bool,
    host_name: String,
    port: u16,
}

impl AddressRules {
    /// Reads the options. As in OpenSSH, a `HostKeyAlias` ends the exemption for loopback
    /// addresses.
    pub(super) fn new(config: &EffectiveConfig) -> Self {
        Self {
            check: config.check_host_ip,
            exempt_loopback: config.no_host_authentication_for_localhost
                && config.host_key_alias.is_none(),
            host_name: config.host_name.clone(),
            port: config.port,
        }
    }
}

impl HostKeyCheck {
    /// Returns true if any key is accepted, because the host is at a loopback address.
    pub(super) fn is_exempt(&self) -> bool {
        self.by_address.exempt_loopback && self.address.is_some_and(|address| address.is_loopback())
    }

    /// Decides about an acceptable key once more, by the key known for the host's address
    /// (`CheckHostIP`). The key of an unknown address is saved for the address too.
    pub(super) fn with_address(&self, acceptance: Acceptance) -> HostKeyDecision {
        let Some(address) = self.checked_address() else {
            return HostKeyDecision::Accept(acceptance);
        };

        let key = &acceptance.key;

        match verdict(&view(&self.files), &address, key) {
            Verdict::Trusted { .. } => HostKeyDecision::Accept(acceptance),
            Verdict::Unknown => {
                let mut save_as = acceptance.save_as;
                save_as.extend(self.recordable.then_some(address));
                HostKeyDecision::Accept(Acceptance {
                    save_as,
                    ..acceptance
                })
            }
            Verdict::Revoked { file, line } => {
                let location = format!("@revoked in {file}:{line}");
                HostKeyDecision::Refuse(revoked_error(&address, key, location))
            }
            Verdict::Changed { file, line, .. } if self.policy == StrictHostKeyChecking::No => {
                let address = address.as_str();
                HostKeyDecision::Accept(Acceptance {
                    warning: Some(format!(
                        "another key is known for the address {address} ({file}:{line})"
                    )),
                    ..acceptance
                })
            }
            Verdict::Changed {
                file,
                line,
                key_type: listed,
                fingerprint,
            } => {
                let offending =
                    format!("{listed} key for the address in {file}:{line} ({fingerprint})");
                HostKeyDecision::Refuse(changed_error(&address, key, file, offending))
            }
        }
    }

    /// Returns the name of the host's address, whose key has to be checked too; `None` if only the
    /// key of the host counts.
    fn checked_address(&self) -> Option<HostName> {
        let rules = &self.by_address;
        let address = self
            .address
            .filter(|address| rules.check && !address.is_loopback())?
            .to_string();

        // A destination which is an address itself has been looked up under this name already.
        (address != rules.host_name).then(|| HostName::new(&address, rules.port))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, net::IpAddr};

    use russh::keys::{PublicKey, PublicKeyOrCertificate};

    use super::*;
    use crate::{
        openssh::destination::Destination,
        ssh::{config::target::Target, error::HostKeyError, transport::host_key::ShownKey},
    };

    const ED: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGyNIOesCewgOk25b8NR67l6SEP6Q5cWbUcO3T10hy2b";
    const OTHER: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOZPZKRQGjSb/lctRnhvGr7EG5AZwbscCJQr3cH6WQw6";

    /// The decision on `ED`, shown by `h.ex` at `address`, in short, and what is in the file then.
    fn decide(options: &str, known_hosts: &str, address: Option<&str>) -> (String, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kh");
        fs::write(&file, known_hosts).unwrap();
        let config = format!(
            "hostname h.ex\nuser u\nport 2222\nuserknownhostsfile {}\nglobalknownhostsfile none\n{options}",
            file.display()
        );

        let target = Target {
            destination: Destination::parse("h.ex").unwrap(),
            user: None,
            port: None,
            config_file: None,
        };

        let mut check =
            HostKeyCheck::load(&EffectiveConfig::parse(&config).unwrap(), &target).unwrap();
        check.address = address.map(|address| address.parse::<IpAddr>().unwrap());
        let shown = PublicKeyOrCertificate::from(PublicKey::from_openssh(ED).unwrap());

        let decision = match check.decide(ShownKey::parse(&shown).unwrap(), 0) {
            HostKeyDecision::Accept(acceptance) => match check.accept(acceptance).notice {
                Some(_) => "accepted with notice".to_owned(),
                None => "accepted".to_owned(),
            },
            HostKeyDecision::Ask(unknown) => format!("unknown {}", unknown.key.host),
            HostKeyDecision::Refuse(HostKeyError::Changed {
                host, offending, ..
            }) => {
                let (_, line) = offending.split_once("kh:").unwrap();
                format!("changed {host} {}", line.split(' ').next().unwrap())
            }
            HostKeyDecision::Refuse(HostKeyError::Revoked { host, .. }) => {
                format!("revoked {host}")
            }
            HostKeyDecision::Refuse(HostKeyError::Unknown { host, .. }) => {
                format!("unknown {host}")
            }
            HostKeyDecision::Refuse(error) => error.to_string(),
        };

        (decision, fs::read_to_string(&file).unwrap())
    }

    #[test]
    fn check_host_ip_requires_and_saves_the_key_under_the_address() {
        let (host, address) = ("[h.ex]:2222", "[10.0.0.1]:2222");
        let known = format!("{host} {ED}\n");

        for (policy, text, decision, added) in [
            (
                "yes",
                known.clone(),
                "accepted with notice",
                format!("{address} {ED}\n"),
            ),
            (
                "yes",
                format!("{host},{address} {ED}\n"),
                "accepted",
                String::new(),
            ),
            (
                "accept-new",
                String::new(),
                "accepted with notice",
                format!("{host},{address} {ED}\n"),
            ),
            ("yes", String::new(), "unknown [h.ex]:2222", String::new()),
            (
                "yes",
                format!("{known}{address} {OTHER}\n"),
                "changed [10.0.0.1]:2222 2",
                String::new(),
            ),
            (
                "accept-new",
                format!("{address} {OTHER}\n"),
                "changed [10.0.0.1]:2222 1",
                String::new(),
            ),
            (
                "no",
                format!("{known}{address} {OTHER}\n"),
                "accepted with notice",
                String::new(),
            ),
            (
                "no",
                format!("{address} {OTHER}\n"),
                "accepted with notice",
                known.clone(),
            ),
            (
                "no",
                format!("{known}@revoked {address} {ED}\n"),
                "revoked [10.0.0.1]:2222",
                String::new(),
            ),
            (
                "yes",
                format!("{host} {OTHER}\n"),
                "changed [h.ex]:2222 1",
                String::new(),
            ),
        ] {
            let options = format!("checkhostip yes\nstricthostkeychecking {policy}\n");
            let expected = (decision.to_owned(), format!("{text}{added}"));
            assert_eq!(
                decide(&options, &text, Some("10.0.0.1")),
                expected,
                "{policy} {text}"
            );
        }

        for (options, address) in [
            ("checkhostip no", Some("10.0.0.1")),
            ("checkhostip yes", Some("127.0.0.1")),
            ("checkhostip yes", None),
        ] {
            let text = format!("{known}[10.0.0.1]:2222 {OTHER}\n");
            assert_eq!(
                decide(options, &text, address),
                ("accepted".to_owned(), text)
            );
        }
    }

    #[test]
    fn hidden_names_of_host_and_address_stand_on_lines_of_their_own() {
        let options = "checkhostip yes\nstricthostkeychecking accept-new\nhashknownhosts yes";
        let (decision, text) = decide(options, "", Some("10.0.0.1"));
        assert_eq!(
            (decision.as_str(), text.lines().count()),
            ("accepted with notice", 2),
            "{text}"
        );

        assert_eq!(
            decide(options, &text, Some("10.0.0.1")),
            ("accepted".to_owned(), text)
        );
    }

    #[test]
    fn a_loopback_address_is_exempt_where_the_configuration_says_so() {
        let option = "nohostauthenticationforlocalhost yes";
        for (options, address, expected) in [
            (option.to_owned(), Some("127.0.0.9"), "accepted"),
            (option.to_owned(), Some("::1"), "accepted"),
            (option.to_owned(), Some("10.0.0.1"), "unknown [h.ex]:2222"),
            (option.to_owned(), None, "unknown [h.ex]:2222"),
            (
                format!("{option}\nhostkeyalias al"),
                Some("127.0.0.1"),
                "unknown al",
            ),
            (String::new(), Some("127.0.0.1"), "unknown [h.ex]:2222"),
        ] {
            assert_eq!(
                decide(&options, "", address),
                (expected.to_owned(), String::new()),
                "{options} {address:?}"
            );
        }
    }
}
