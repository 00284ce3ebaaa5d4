//! What the person allows: the settings file, and what it says about a host. Pure: the caller reads
//! the file and finds out the names of the host.
//!
//! The rules know hosts and kinds of work, never the text of commands. A pattern for commands does
//! not hold: quoting, variables and aliases write every command in endless ways.

mod decide;
mod document;
mod host_names;
mod nearest;
mod other_names;
mod pattern;
mod rules;
mod values;

pub use self::{
    decide::{Operation, Reason, Verdict, decide},
    document::SettingsError,
    host_names::{HostName, HostNames, NameKind, normal_form},
    other_names::OtherName,
    rules::{Held, HostRules, SectionName},
    values::{Access, AuditHead, AuditSettings, LocalSettings, Rule},
};

use self::rules::{HostSection, Section};

/// Content of a settings file.
///
/// The default is the content of a file without sections, which allows everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    default: Section,
    /// Sections of hosts, sorted by their patterns.
    hosts: Vec<HostSection>,
    local: LocalSettings,
    audit: Option<AuditSettings>,
}

impl Settings {
    /// Reads the text of a settings file (TOML 1.1). A byte order mark at its beginning is ignored.
    ///
    /// # Errors
    /// The text is not TOML, or has a key or value that this version does not know. The error names
    /// the line and the key, and quotes nothing else of the file.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        document::parse(text)
    }

    /// Returns what holds for a host: of each setting, the strictest value of all sections that
    /// match one of its names.
    ///
    /// The section `[default]` holds where no section of a host matches. Each address that the host
    /// may have is looked at by itself, because a section for one address says nothing about
    /// another one. The strictest result holds.
    #[must_use]
    pub fn rules(&self, host: &HostNames) -> HostRules {
        rules::rules(&self.default, &self.hosts, host)
    }

    /// Returns true if a section matches this alias, and none of the names of the host. Only then it
    /// matters whether the alias leads to the host.
    #[must_use]
    pub fn names_more(&self, alias: &str, host: &HostNames) -> bool {
        rules::names_more(&self.hosts, alias, host)
    }

    /// Returns the section `[local]`.
    #[must_use]
    pub fn local(&self) -> &LocalSettings {
        &self.local
    }

    /// Returns the section `[audit]`; `None` if the file has none, so that nothing is recorded.
    #[must_use]
    pub fn audit(&self) -> Option<&AuditSettings> {
        self.audit.as_ref()
    }
}
