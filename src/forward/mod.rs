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
