//! Reasons why a server opens no channel for a forward.

use super::socks::SocksOutcome;

/// Reason of a server to refuse a channel (RFC 4254, section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The server forbids this forward.
    #[error(
        "the SSH server forbids this forward (AllowTcpForwarding, AllowStreamLocalForwarding or PermitOpen in its sshd_config)"
    )]
    Forbidden,
    /// Nothing accepts connections at the address, or the name is unknown there.
    #[error("nothing answers there")]
    ConnectFailed,
    /// The server does not know this kind of channel.
    #[error("the SSH server does not support this kind of forward")]
    Unsupported,
    /// The server lacks resources, or gives another reason.
    #[error("the SSH server has no resources for another channel")]
    NoResources,
}

impl Refusal {
    /// Returns the outcome for a SOCKS client.
    #[must_use]
    pub fn outcome(self) -> SocksOutcome {
        match self {
            Self::Forbidden | Self::Unsupported => SocksOutcome::Forbidden,
            Self::ConnectFailed => SocksOutcome::Unreachable,
            Self::NoResources => SocksOutcome::Failed,
        }
    }
}
