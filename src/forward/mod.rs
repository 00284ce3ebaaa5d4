//! Forwarded ports: addresses, states and the SOCKS handshake. Pure: text, bytes and facts in, values
//! out. The folder `ssh/forward/` carries the bytes.

pub mod address;
pub mod listen;
pub mod probe;
pub mod refusal;
pub mod socks;
pub mod state;
