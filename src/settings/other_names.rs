//! What the sections say of names that a host may have, for those who do not look all of them up.

use super::{HostNames, HostRules, SectionName, Settings, pattern::Pattern, rules::HostSection};

/// Name that a host may have besides those that are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OtherName {
    /// This alias of the SSH configuration.
    Alias(String),
    /// Any address that a host can have.
    Address,
    /// Any name.
    Any,
}

impl Settings {
    /// Returns the strictest of what all sections say that match this name, or one of these names.
    /// Returns `None` if no section does. `[default]` does not count.
    #[must_use]
    pub fn rules_of_other(&self, other: &OtherName) -> Option<HostRules> {
        let sections = self.hosts.iter().filter(|section| section.may_match(other));
        let mut sections = sections.peekable();
        sections.peek()?;

        let nobody = HostNames::new("?");
        let name = nobody.iter().next()?;
        let mut rules = HostRules::default();
        for section in sections {
            rules.tighten(
                &section.section,
                &SectionName::Host(section.name.clone()),
                name,
            );
        }

        Some(rules)
    }
}

impl HostSection {
    fn may_match(&self, other: &OtherName) -> bool {
        match other {
            OtherName::Alias(alias) => {
                let names = HostNames::new(alias);
                names.iter().any(|name| self.pattern.matches(name))
            }
            OtherName::Address => may_match_address(&self.pattern),
            OtherName::Any => true,
        }
    }
}

/// Returns true if a pattern may match the text of an address that a host can have.
fn may_match_address(pattern: &Pattern) -> bool {
    let Pattern::Glob(letters) = pattern else {
        return true;
    };

    let is_of_address = |letter: &char| letter.is_ascii_hexdigit() || ".:*?".contains(*letter);
    // No address begins with one of these digits: the ranges are reserved (RFC 4291, 2.4).
    let is_reserved = matches!(letters.first(), Some('a'..='e'));

    letters.iter().all(is_of_address) && !is_reserved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_that_may_match_are_found() {
        for (pattern, alias, address) in [
            ("web", false, false),
            ("prod-*", true, false),
            ("*", true, true),
            ("1*", false, true),
            ("f*", false, true),
            ("db*", false, false),
            ("10.0.0.1", false, true),
            ("10.0.0.0/8", false, true),
            ("*.example.com", false, false),
        ] {
            let text = format!("[host.\"{pattern}\"]\nrun = 'ask'");
            let settings = Settings::parse(&text).unwrap();
            let alias_name = OtherName::Alias("prod-db".to_owned());
            for (other, is_found) in [
                (&alias_name, alias),
                (&OtherName::Address, address),
                (&OtherName::Any, true),
            ] {
                let found = settings.rules_of_other(other);
                assert_eq!(found.is_some(), is_found, "{pattern} {other:?}");
            }
        }

        // `[default]` holds for hosts without a section only.
        let settings = Settings::parse("[default]\nrun = 'never'").unwrap();
        assert_eq!(settings.rules_of_other(&OtherName::Any), None);
    }

    #[test]
    fn the_strictest_of_them_counts() {
        let text = "host.a.run = 'ask'\nhost.b.run = 'never'\nhost.b.sudo = 'ask'";
        let settings = Settings::parse(text).unwrap();
        let rules = settings.rules_of_other(&OtherName::Any).unwrap();
        assert_eq!(
            (rules.run.value.as_str(), rules.sudo.value.as_str()),
            ("never", "ask")
        );
    }
}
