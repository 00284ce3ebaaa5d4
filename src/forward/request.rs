//! A forward that somebody asks for.

use super::{address::ConnectAddress, listen::ListenAddress, state::ForwardDirection};

/// Forward that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardRequest {
    /// Address to which connections lead.
    pub to: ConnectAddress,
    /// Address at which to listen. `None` for the port of `to` if that is free, and else for any
    /// free port.
    pub listen: Option<ListenAddress>,
    /// Side that listens.
    pub direction: ForwardDirection,
}
