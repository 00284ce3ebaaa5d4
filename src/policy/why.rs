//! Why something is guarded, in words for the person and for the agent.

use std::fmt;

/// Why a place or a file is guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GuardReason {
    /// `~/.ssh`.
    Ssh,
    /// A key or certificate that `ssh_config` names.
    KeyFile,
    /// The content of a private key, of this kind.
    PrivateKey(&'static str),
    /// Where passwords and tokens are kept.
    Credentials,
    /// What this program keeps for itself.
    Own,
    /// An `ssh_config` file, or one that it includes.
    SshConfig,
    /// Known or revoked host keys.
    KnownHosts,
    /// What a shell or another program runs when it starts.
    Startup,
    /// Settings of Git or another version control, which name programs, and hooks.
    Versions,
    /// Settings and instructions of an agent or its tools.
    Agent,
    /// What the system runs at log-in, at start or at a time.
    Autostart,
    /// Programs that are found by their name alone.
    Programs,
    /// Who may log in, and as whom.
    Accounts,
    /// What a process keeps in its memory.
    Process,
    /// Another name of a file that is guarded under its first one.
    OtherName,
    /// Outside the folders that the client works in.
    Outside,
}

impl fmt::Display for GuardReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::Ssh => "SSH keeps its keys and settings there",
            Self::KeyFile => "ssh_config names it as a key or certificate",
            Self::PrivateKey(kind) => return write!(f, "it is a private key ({kind})"),
            Self::Credentials => "passwords or tokens are kept there",
            Self::Own => "this program keeps its own data there",
            Self::SshConfig => "it is part of the SSH configuration, which can run commands",
            Self::KnownHosts => "it says which host keys are trusted or revoked",
            Self::Startup => "programs run or obey what is there when they start",
            Self::Versions => "settings and hooks of version control can run commands",
            Self::Agent => "agents and their tools take settings and instructions from there",
            Self::Autostart => "the system runs what is there by itself",
            Self::Programs => "programs are started from there by their name",
            Self::Accounts => "it says who may log in to this machine",
            Self::Process => "it is the memory or environment of a process",
            Self::OtherName => "it is a file of a guarded directory under another name",
            Self::Outside => "it is outside the folders that the client works in",
        };

        f.write_str(words)
    }
}
