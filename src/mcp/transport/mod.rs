//! Transports over which messages of MCP come and go.

mod front_request;
mod handshake;
pub mod http;
mod overwriting;
pub mod shared;
pub mod stdio;
