//! Reasons why a server opens no channel for a forward, or does not listen for one.

use core::num::NonZeroU16;

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

/// Reason of a server not to listen (RFC 4254, section 7.1). Servers give none, so the kinds are those
/// that their answers to other requests tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListenRefusal {
    /// The server refuses any port.
    #[error(
        "the SSH server forbids remote forwards (AllowTcpForwarding or PermitListen in its sshd_config)"
    )]
    Forbidden,
    /// The server refuses this port, and would listen at another one.
    #[error("port {0} on the host is taken or needs privileges there")]
    Port(NonZeroU16),
    /// The server refuses the socket.
    #[error(
        "the host cannot create the socket, or the SSH server forbids it (AllowStreamLocalForwarding in its sshd_config)"
    )]
    Socket,
}
