//! Reasons for guarding a place, in words for the user and the agent.

use std::fmt;

/// Reason for which a place or a file is guarded. The `Display` form completes a sentence after
/// "because".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GuardReason {
    /// The directory `~/.ssh`.
    Ssh,
    /// A key or certificate file named by `ssh_config`.
    KeyFile,
    /// A file whose content is a private key of the named format.
    PrivateKey(&'static str),
    /// A store of passwords or tokens.
    Credentials,
    /// Data of this program.
    Own,
    /// An `ssh_config` file, or a file included by `ssh_config`.
    SshConfig,
    /// A file of known or revoked host keys.
    KnownHosts,
    /// A file which a shell or another program runs or obeys when starting.
    Startup,
    /// Settings or hooks of Git or another version control system, which can name programs.
    Versions,
    /// Settings and instructions of AI agents and agent tools.
    Agent,
    /// A file which the system runs at log-in, at boot or on a schedule.
    Autostart,
    /// A directory in which programs are found by name, such as an entry of `PATH`.
    Programs,
    /// A file which decides who may log in, and with which rights.
    Accounts,
    /// Memory or environment of a running process.
    Process,
    /// A hard link to a file of a guarded directory.
    OtherName,
    /// A place outside the folders (roots) which the client has named.
    Outside,
    /// A place outside the folders (`roots`) which the user's settings name.
    OutsideRoots,
}

impl fmt::Display for GuardReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Each text continues "it is guarded, because …" in the error of a transfer.
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
            Self::OutsideRoots => "it is outside the folders that the settings name (roots)",
        };

        f.write_str(words)
    }
}
