//! Pattern of a host section: a name with `*` and `?`, an address, or a network (`10.0.0.0/8`).

use core::net::IpAddr;

use super::host_names::{HostName, normal_form};
use crate::openssh::known_hosts::glob_by;

/// Pattern that means hosts by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    /// Text in which `*` stands for any text and `?` for one character, in lower case.
    Glob(Vec<char>),
    /// One address, in any spelling.
    Address(IpAddr),
    /// All addresses whose first bits are those of this address.
    Network { address: IpAddr, bits: u32 },
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Returns what is wrong with a pattern that cannot match any name. Such a rule would protect
    /// nothing.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("a host has a name");
        }

        if let Some((address, bits)) = text.split_once('/') {
            return network(address, bits);
        }

        // A zone is a part of the name of an interface here, so such an address is a text.
        let (form, address) = normal_form(text);
        if let Some(address) = address.filter(|_| !form.contains('%')) {
            return Ok(Self::Address(address));
        }

        if text.contains('@') {
            return Err("a host is named without a user");
        }

        if text.starts_with('!') {
            return Err("a section names hosts, and cannot exclude them");
        }

        if text.contains([',', ' ', '\t', '[', ']']) || text.chars().any(char::is_control) {
            return Err("a section names hosts by one name, in which * and ? stand for any text");
        }

        if address.is_none() && is_name_with_port(text) {
            return Err("a host is named without a port");
        }

        Ok(Self::Glob(form.chars().collect()))
    }

    /// Returns true if the pattern means a host of this name.
    pub(super) fn matches(&self, name: &HostName) -> bool {
        match self {
            Self::Glob(pattern) => {
                let text: Vec<char> = name.text.chars().collect();
                glob_by(pattern, &text, |a, b| a == b)
            }
            Self::Address(address) => name.address == Some(*address),
            Self::Network { address, bits } => name
                .address
                .is_some_and(|found| first_bits(found, *bits) == first_bits(*address, *bits)),
        }
    }
}

/// Reads a network: an address, and the number of its bits that count.
fn network(address: &str, bits: &str) -> Result<Pattern, &'static str> {
    const WRONG: &str = "a network is an address, a slash and a number of bits, as in 10.0.0.0/8";
    /// Bits of an IPv6 address in front of the IPv4 address that it stands for.
    const MAPPED_BITS: u32 = 96;

    let written: IpAddr = address.parse().map_err(|_| WRONG)?;
    let is_number = bits.bytes().all(|byte| byte.is_ascii_digit());
    let bits: u32 = bits.parse().ok().filter(|_| is_number).ok_or(WRONG)?;

    if bits > if written.is_ipv4() { 32 } else { 128 } {
        return Err(WRONG);
    }

    // Names are compared in their usual form, in which an IPv4-mapped address is IPv4.
    let usual = written.to_canonical();
    let (address, bits) = match bits.checked_sub(MAPPED_BITS) {
        Some(rest) if usual.is_ipv4() && written.is_ipv6() => (usual, rest),
        _ => (written, bits),
    };

    Ok(Pattern::Network { address, bits })
}

/// Returns the first bits of an address, and whether it is IPv4.
fn first_bits(address: IpAddr, bits: u32) -> (bool, u128) {
    let (value, length) = match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };

    let rest = length - bits.min(length);
    (
        address.is_ipv4(),
        value.checked_shr(rest).unwrap_or_default(),
    )
}

/// Returns true for a text such as `web:22`. More than one colon belongs to a pattern of IPv6
/// addresses.
fn is_name_with_port(text: &str) -> bool {
    let port = text.split_once(':').map(|(_, port)| port);
    port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::super::host_names::HostNames;
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names() {
        for (pattern, name, matches) in [
            ("web", "web", true),
            ("web", "WEB", true),
            ("WEB", "web.", true),
            ("web.", "web", true),
            ("web", "web1", false),
            ("web", "myweb", false),
            ("prod-*", "prod-", true),
            ("prod-*", "prod-web.example.com", true),
            ("prod-*", "xprod-web", false),
            ("*.Example.com", "a.b.example.COM", true),
            ("*.example.com", "example.com", false),
            ("web?", "web1", true),
            ("web?", "web", false),
            ("bür?", "BÜRO", true),
            ("*", "anything", true),
            ("*", "10.0.0.1", true),
            ("10.0.*", "10.0.3.4", true),
            ("10.0.*", "::ffff:10.0.3.4", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("::ffff:a00:1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.10", false),
            ("::1", "0:0::1", true),
            ("[::1]", "::1", true),
            ("2001:db8::A", "2001:DB8:0:0::a", true),
            ("2001:db8:*", "2001:0db8::a", true),
            ("fe80::1", "fe80::1%eth0", true),
            ("fe80::1%eth0", "fe80:0::1%eth0", true),
            ("fe80::1%eth1", "fe80::1%eth0", false),
            ("10.0.0.0/8", "10.9.9.9", true),
            ("10.1.2.3/8", "10.9.9.9", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "10.example.com", false),
            ("10.0.0.1/32", "10.0.0.1", true),
            ("10.0.0.1/32", "10.0.0.2", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "::1", true),
            ("::/0", "1.2.3.4", false),
            ("::ffff:10.0.0.0/104", "10.9.9.9", true),
            ("::ffff:10.0.0.0/104", "11.0.0.1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("fe80::/10", "fe80::1%eth0", true),
        ] {
            let read = Pattern::parse(pattern).unwrap();
            let names = HostNames::new(name);
            let name = names.iter().next().unwrap();
            assert_eq!(read.matches(name), matches, "{pattern} and {}", name.text);
        }
    }

    #[test]
    fn a_pattern_that_cannot_match_is_an_error() {
        for (pattern, word) in [
            ("", "name"),
            ("root@web", "user"),
            ("!web", "exclude"),
            ("web,db", "one name"),
            ("web db", "one name"),
            ("[web]:22", "one name"),
            ("web\n", "one name"),
            ("web:22", "port"),
            ("10.0.0.1:22", "port"),
            ("10.0.0.0/33", "network"),
            ("10.0.0.0/+8", "network"),
            ("10.0.0.0/", "network"),
            ("::/129", "network"),
            ("10.0/8", "network"),
            ("ssh://web", "network"),
            ("*/8", "network"),
        ] {
            let error = Pattern::parse(pattern).unwrap_err();
            assert!(error.contains(word), "{pattern:?}: {error}");
        }
    }
}
