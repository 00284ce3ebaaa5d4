//! Values of the settings.

/// Value of `access`, from the least strict to the strictest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Access {
    /// Everything that the other settings allow.
    #[default]
    Full,
    /// Reading only: no command of the agent's runs, and nothing is changed.
    Read,
    /// Nothing at all.
    Never,
}

/// Value of `connect`, `run`, `sudo` and `forward`, from the least strict to the strictest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Rule {
    /// Allowed without a question.
    #[default]
    Allow,
    /// Allowed if the person says so.
    Ask,
    /// Refused.
    Never,
}

/// Value of a setting, as its word in the file.
pub(super) trait Word: Copy + Ord + Default + 'static {
    /// All values.
    const ALL: &'static [Self];

    /// Returns the word.
    fn word(self) -> &'static str;
}

impl Word for Access {
    const ALL: &'static [Self] = &[Self::Full, Self::Read, Self::Never];

    fn word(self) -> &'static str {
        self.as_str()
    }
}

impl Word for Rule {
    const ALL: &'static [Self] = &[Self::Allow, Self::Ask, Self::Never];

    fn word(self) -> &'static str {
        self.as_str()
    }
}

impl Word for AuditHead {
    const ALL: &'static [Self] = &[Self::None, Self::Journald, Self::Syslog];

    fn word(self) -> &'static str {
        self.as_str()
    }
}

impl Access {
    /// Returns the word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Read => "read",
            Self::Never => "never",
        }
    }
}

impl Rule {
    /// Returns the word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Never => "never",
        }
    }
}

/// Section `[local]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalSettings {
    /// Folders of this machine for transfers, each absolute or below `~/`; empty if the setting is
    /// not there. The setting itself is never an empty list.
    pub roots: Vec<String>,
}

/// Where the head of the audit chain goes besides the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum AuditHead {
    /// Nowhere.
    #[default]
    None,
    /// The journal of systemd.
    Journald,
    /// The system's log (syslog(3)).
    Syslog,
}

impl AuditHead {
    /// Returns the word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Journald => "journald",
            Self::Syslog => "syslog",
        }
    }
}

/// Section `[audit]`. That it is there turns the record on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// File of the record, absolute or below `~/`; `None` for the usual place.
    pub file: Option<String>,
    /// True if no call may go without its record.
    pub required: bool,
    /// Where the head of the chain goes.
    pub head: AuditHead,
    /// Size of the file at which it is rotated, in MiB: 1 to 1,048,576.
    pub max_mib: u64,
}

impl AuditSettings {
    /// Usual `max_mib`.
    const MAX_MIB: u64 = 64;
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            file: None,
            required: false,
            head: AuditHead::None,
            max_mib: Self::MAX_MIB,
        }
    }
}
