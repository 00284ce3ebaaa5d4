//! Forwarded ports: addresses, states, flow control and the SOCKS handshake. Pure: text, bytes and facts in, values
//! out. The folder `ssh/forward/` carries the bytes.

pub mod address;
pub mod flow;
pub mod listen;
pub mod probe;
pub mod refusal;
pub mod request;
pub mod socks;
pub mod state;

/// Limit of the connections of a forward at the same time. Further connections wait in the queue of
/// the system at a local forward, and are refused at a remote forward.
pub const MAX_CONNECTIONS: usize = 1024;
