//! What the sections of the settings say about one host.

use std::fmt;

use super::{
    host_names::{HostName, HostNames, NameKind},
    pattern::Pattern,
    values::{Access, Rule},
};
use crate::foreign_text::ForeignText;

/// Name of a section that says something about hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SectionName {
    /// `[default]`.
    Default,
    /// `[host."PATTERN"]`, with the pattern as the file has it.
    Host(String),
}

impl fmt::Display for SectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("[default]"),
            Self::Host(pattern) if is_bare_key(pattern) => write!(f, "[host.{pattern}]"),
            Self::Host(pattern) => write!(f, "[host.\"{}\"]", ForeignText::from(pattern)),
        }
    }
}

/// Returns true if TOML takes a key without quotes.
fn is_bare_key(key: &str) -> bool {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !key.is_empty() && key.bytes().all(is_bare)
}

/// A value, and who says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held<T> {
    /// The value.
    pub value: T,
    /// Section that has the value; `None` if no section has the setting.
    pub by: Option<SectionName>,
    /// Name of the host that the section matches; for `[default]`, the name that no section
    /// matches.
    pub matched: Option<String>,
}

/// What holds for one host. The default is what holds without a settings file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostRules {
    /// Whether it may be connected to.
    pub connect: Held<Rule>,
    /// What may be done there at all.
    pub access: Held<Access>,
    /// Whether commands may run, and files may be written.
    pub run: Held<Rule>,
    /// Whether commands may run through sudo.
    pub sudo: Held<Rule>,
    /// Whether ports may be forwarded.
    pub forward: Held<Rule>,
}

/// The settings of one section; `None` where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) connect: Option<Rule>,
    pub(super) access: Option<Access>,
    pub(super) run: Option<Rule>,
    pub(super) sudo: Option<Rule>,
    pub(super) forward: Option<Rule>,
}

/// Section of the hosts that a pattern means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostSection {
    /// Pattern as the file has it.
    pub(super) name: String,
    pub(super) pattern: Pattern,
    pub(super) section: Section,
}

/// Returns true if a section matches the alias that matches no name of the host.
pub(super) fn names_more(sections: &[HostSection], alias: &str, host: &HostNames) -> bool {
    let alias = HostNames::new(alias);
    let matches = |section: &HostSection, names: &HostNames| {
        names.iter().any(|name| section.pattern.matches(name))
    };

    sections
        .iter()
        .any(|section| matches(section, &alias) && !matches(section, host))
}

/// See [`Settings::rules`](super::Settings::rules).
pub(super) fn rules(default: &Section, sections: &[HostSection], host: &HostNames) -> HostRules {
    let mut rules = HostRules::default();

    for names in host.for_each_address() {
        let mut is_named = false;

        for section in sections {
            let matched = names.iter().find(|name| section.pattern.matches(name));
            if let Some(name) = matched {
                let by = SectionName::Host(section.name.clone());
                rules.tighten(&section.section, &by, name);

                // An alias that nobody asked for is the last name, and opens nothing.
                is_named |= name.kind != NameKind::Alias;
            }
        }

        if !is_named && let Some(name) = most_specific(&names) {
            rules.tighten(default, &SectionName::Default, name);
        }
    }

    rules
}

/// Returns the name that says best which host is meant: its address, else the name that was asked
/// for.
fn most_specific<'a>(names: &[&'a HostName]) -> Option<&'a HostName> {
    let address = names.iter().find(|name| name.only_at.is_some());
    address.or_else(|| names.first()).copied()
}

impl HostRules {
    /// Takes over what a section says more strictly. The first of several sections that say the
    /// same is named.
    pub(super) fn tighten(&mut self, section: &Section, by: &SectionName, matched: &HostName) {
        tighten(&mut self.connect, section.connect, by, matched);
        tighten(&mut self.access, section.access, by, matched);
        tighten(&mut self.run, section.run, by, matched);
        tighten(&mut self.sudo, section.sudo, by, matched);
        tighten(&mut self.forward, section.forward, by, matched);
    }
}

fn tighten<T: Ord>(held: &mut Held<T>, value: Option<T>, by: &SectionName, matched: &HostName) {
    let Some(value) = value else { return };
    if value > held.value || (value == held.value && held.by.is_none()) {
        *held = Held {
            value,
            by: Some(by.clone()),
            matched: Some(matched.text.clone()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    /// What holds, in short: `connect access run sudo forward`, and who says so if a section does.
    fn held(text: &str, names: &HostNames) -> String {
        let rules = Settings::parse(text).unwrap().rules(names);
        let shown = |word: &str, by: &Option<SectionName>, matched: &Option<String>| match by {
            Some(by) => format!("{word} {by} {}", matched.as_deref().unwrap()),
            None => word.to_owned(),
        };

        let HostRules {
            connect,
            access,
            run,
            sudo,
            forward,
        } = rules;
        [
            shown(connect.value.as_str(), &connect.by, &connect.matched),
            shown(access.value.as_str(), &access.by, &access.matched),
            shown(run.value.as_str(), &run.by, &run.matched),
            shown(sudo.value.as_str(), &sudo.by, &sudo.matched),
            shown(forward.value.as_str(), &forward.by, &forward.matched),
        ]
        .join(", ")
    }

    fn names(asked: &str, host_name: &str, addresses: &[&str]) -> HostNames {
        let mut names = HostNames::new(asked);
        names.add_host_name(host_name);
        for address in addresses {
            names.add_address(address.parse().unwrap());
        }
        names
    }

    #[test]
    fn the_strictest_matching_section_holds() {
        const FILE: &str = r#"
            [default]
            connect = "ask"
            run = "never"
            [host."prod-*"]
            access = "read"
            [host."*.example.com"]
            sudo = "never"
            run = "ask"
            [host."10.0.0.0/8"]
            access = "never"
            forward = "ask"
            [host.prod-web]
            run = "allow"
            sudo = "ask"
        "#;

        for (asked, host_name, addresses, expected) in [
            (
                "other",
                "other.net",
                &["11.0.0.1"][..],
                "ask [default] 11.0.0.1, full, never [default] 11.0.0.1, allow, allow",
            ),
            (
                "other",
                "other.net",
                &[],
                "ask [default] other, full, never [default] other, allow, allow",
            ),
            (
                "PROD-db",
                "db.net",
                &[],
                "allow, read [host.\"prod-*\"] prod-db, allow, allow, allow",
            ),
            (
                "db",
                "prod-db.",
                &["::ffff:10.1.1.1"],
                "allow, never [host.\"10.0.0.0/8\"] 10.1.1.1, allow, allow, ask \
                 [host.\"10.0.0.0/8\"] 10.1.1.1",
            ),
            (
                "prod-web",
                "web.example.com",
                &["1.1.1.1"],
                "allow, read [host.\"prod-*\"] prod-web, ask [host.\"*.example.com\"] \
                 web.example.com, never [host.\"*.example.com\"] web.example.com, allow",
            ),
        ] {
            assert_eq!(
                held(FILE, &names(asked, host_name, addresses)),
                expected,
                "{asked}"
            );
        }
    }

    #[test]
    fn a_section_for_one_address_opens_no_other() {
        const FILE: &str = r#"
            default.connect = "never"
            host."10.0.0.0/8".connect = "allow"
            host.dev.run = "ask"
        "#;
        let opened = |names: &HostNames| !held(FILE, names).starts_with("never");

        for (addresses, is_open) in [
            (&["10.0.0.1"][..], true),
            (&["10.0.0.1", "10.0.0.2"], true),
            (&["10.0.0.1", "11.0.0.1"], false),
            (&["11.0.0.1"], false),
            (&[], false),
        ] {
            assert_eq!(
                opened(&names("x", "x.net", addresses)),
                is_open,
                "{addresses:?}"
            );
        }

        // A jump host may look up another address than this machine.
        let mut beyond = names("x", "x.net", &["10.0.0.1"]);
        beyond.set_unknown_address();
        assert!(!opened(&beyond));

        // An alias that leads to the same place opens nothing, and is followed where it is stricter.
        let mut known_as = names("11.0.0.1", "11.0.0.1", &["11.0.0.1"]);
        known_as.add_alias("dev");
        assert!(!opened(&known_as));

        let mut known_as = names("10.0.0.1", "10.0.0.1", &["10.0.0.1"]);
        known_as.add_alias("dev");
        assert!(opened(&known_as));
        assert_eq!(
            Settings::parse(FILE).unwrap().rules(&known_as).run.value,
            Rule::Ask
        );
    }

    #[test]
    fn nothing_said_allows_everything() {
        for text in ["", "# empty", "[default]", "[host.web]"] {
            assert_eq!(
                held(text, &HostNames::new("web")),
                "allow, full, allow, allow, allow"
            );
        }
        assert_eq!(
            Settings::default().rules(&HostNames::new("web")),
            HostRules::default()
        );
    }

    #[test]
    fn the_name_of_a_section_is_written_as_in_toml() {
        for (pattern, shown) in [
            ("web-1_a", "[host.web-1_a]"),
            ("*.a", "[host.\"*.a\"]"),
            ("a\u{202e}b", "[host.\"a\\u{202e}b\"]"),
        ] {
            assert_eq!(SectionName::Host(pattern.to_owned()).to_string(), shown);
        }
        assert_eq!(SectionName::Default.to_string(), "[default]");
    }
}
