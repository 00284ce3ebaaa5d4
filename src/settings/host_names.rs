//! Names of a host: all texts under which a section of the settings can mean it.

use core::net::IpAddr;
use std::collections::HashSet;

/// How a name belongs to its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// Alias, host name or address that was asked for.
    Asked,
    /// `HostName` of the SSH configuration.
    HostName,
    /// Address, from DNS or of the connection.
    Address,
    /// Alias of the SSH configuration that leads to the same place.
    Alias,
}

/// One name of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName {
    /// Name in lower case, without a dot at its end; an address in its usual form (RFC 5952), with
    /// an IPv4-mapped one as IPv4. May hold any other character.
    pub text: String,
    /// How the name belongs to the host.
    pub kind: NameKind,
    /// Value of a name that is an address.
    pub(super) address: Option<IpAddr>,
    /// Address for which the name holds; `None` if it holds whichever address the host has.
    pub(super) only_at: Option<IpAddr>,
}

/// All names of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostNames {
    /// The asked name first.
    names: Vec<HostName>,
    /// True if the host may have an address that is not among the names.
    has_unknown_address: bool,
}

impl HostNames {
    /// Starts with the alias, host name or address that was asked for, without user and port.
    ///
    /// Until an address is added, the address of the host counts as unknown.
    #[must_use]
    pub fn new(asked: &str) -> Self {
        let mut names = Self {
            names: Vec::new(),
            has_unknown_address: false,
        };

        names.add(asked, NameKind::Asked, None);

        names
    }

    /// Adds the host name of the SSH configuration.
    pub fn add_host_name(&mut self, name: &str) {
        self.add(name, NameKind::HostName, None);
    }

    /// Adds an address that the host has or may have.
    pub fn add_address(&mut self, address: IpAddr) {
        let address = address.to_canonical();
        self.add(&address.to_string(), NameKind::Address, Some(address));
    }

    /// Adds an alias that leads to the same place. Its rules can only make those of the host
    /// stricter, because the host was not asked for by this name.
    pub fn add_alias(&mut self, alias: &str) {
        self.add(alias, NameKind::Alias, None);
    }

    /// Says that the host may have another address too, for instance because DNS did not answer, or
    /// because a jump host looks the name up.
    pub fn set_unknown_address(&mut self) {
        self.has_unknown_address = true;
    }

    /// Returns the names, the asked one first.
    pub fn iter(&self) -> impl Iterator<Item = &HostName> {
        self.names.iter()
    }

    /// Returns true if the host may have an address that is not among the names.
    #[must_use]
    pub fn may_have_other_addresses(&self) -> bool {
        self.has_unknown_address
    }

    /// Returns true if both have a name or an address in common.
    #[must_use]
    pub fn shares_a_name_with(&self, other: &Self) -> bool {
        let texts = |names: &Self| -> HashSet<String> {
            names.iter().map(|name| name.text.clone()).collect()
        };

        !texts(self).is_disjoint(&texts(other))
    }

    /// Returns the name that was asked for.
    #[must_use]
    pub fn asked(&self) -> &str {
        self.names.first().map_or("", |name| name.text.as_str())
    }

    /// Returns the names that hold together, for each address that the host may have. Aliases that
    /// nobody asked for come last.
    pub(super) fn for_each_address(&self) -> Vec<Vec<&HostName>> {
        let mut addresses: Vec<Option<IpAddr>> = Vec::new();
        for name in &self.names {
            if name.only_at.is_some() && !addresses.contains(&name.only_at) {
                addresses.push(name.only_at);
            }
        }

        if self.has_unknown_address || addresses.is_empty() {
            addresses.push(None);
        }

        let names_at = |address: Option<IpAddr>| {
            let holds = |name: &&HostName| name.only_at.is_none() || name.only_at == address;
            let mut names: Vec<&HostName> = self.names.iter().filter(holds).collect();
            names.sort_by_key(|name| name.kind == NameKind::Alias);
            names
        };

        addresses.into_iter().map(names_at).collect()
    }

    /// Adds a name once; an empty one is none.
    fn add(&mut self, name: &str, kind: NameKind, only_at: Option<IpAddr>) {
        let (text, address) = normal_form(name);
        // A name that holds in any case says no more if it is an address of the host too.
        let is_known = |known: &HostName| {
            known.text == text && (known.only_at.is_none() || known.only_at == only_at)
        };

        if !text.is_empty() && !self.names.iter().any(is_known) {
            self.names.push(HostName {
                text,
                kind,
                address,
                only_at,
            });
        }
    }
}

/// Returns the form of a name that is compared, and its value if it is an address. A zone
/// (`%eth0`) stays in the text, and is not a part of the value.
#[must_use]
pub fn normal_form(name: &str) -> (String, Option<IpAddr>) {
    let bare = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(name)
        .trim_end_matches('.');

    let (address, zone) = match bare.split_once('%') {
        Some((address, _)) => (address, bare.get(address.len()..).unwrap_or_default()),
        None => (bare, ""),
    };

    match address.parse::<IpAddr>() {
        Ok(address) => {
            let address = address.to_canonical();
            (format!("{address}{zone}"), Some(address))
        }
        Err(_) => (bare.to_lowercase(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_form() {
        for (name, text, is_address) in [
            ("Web.Example.COM.", "web.example.com", false),
            ("BÜRO", "büro", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("[::1]", "::1", true),
            ("0:0:0:0:0:0:0:1", "::1", true),
            ("2001:DB8::0A", "2001:db8::a", true),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("fe80::1%eth0", "fe80::1%eth0", true),
            // `ssh` takes these spellings too, and DNS says which address they are.
            ("010.0.0.1", "010.0.0.1", false),
            ("0x7f000001", "0x7f000001", false),
            ("", "", false),
        ] {
            let form = normal_form(name);
            assert_eq!(
                (form.0.as_str(), form.1.is_some()),
                (text, is_address),
                "{name}"
            );
        }
    }

    #[test]
    fn names_hold_together_for_each_address() {
        let [one, two]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap());

        let mut names = HostNames::new("web");
        names.add_host_name("WEB.");
        assert_eq!(shown(&names), "web");

        names.add_address(one);
        names.add_address(two);
        names.add_address(two);
        names.add_alias("www");
        assert_eq!(shown(&names), "web 10.0.0.1 www | web 10.0.0.2 www");
        names.add_address("::ffff:10.0.0.2".parse().unwrap());

        names.set_unknown_address();
        assert_eq!(
            shown(&names),
            "web 10.0.0.1 www | web 10.0.0.2 www | web www"
        );
        assert_eq!(names.asked(), "web");

        // An address that was asked for is not an address among others.
        let mut names = HostNames::new("::ffff:10.0.0.1");
        names.add_address(one);
        assert_eq!(shown(&names), "10.0.0.1");
    }

    fn shown(names: &HostNames) -> String {
        let group = |names: Vec<&HostName>| {
            let texts: Vec<_> = names.iter().map(|name| name.text.as_str()).collect();
            texts.join(" ")
        };

        let groups: Vec<_> = names.for_each_address().into_iter().map(group).collect();
        groups.join(" | ")
    }
}
