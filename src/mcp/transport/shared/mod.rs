//! One daemon for all terminals that nobody has to start.
//!
//! A process with `--shared` is a [`front`]: it passes the lines of MCP between its client and the daemon of this user,
//! which [`place`] finds and `start` starts. What is on its way is in the front's `pending`, so that a daemon that ends is
//! replaced by a new one without the client. The [`daemon`] is the one of `http`, on a Unix socket (on Windows a named
//! pipe) alone: `http::upgrade` makes a connection to it a conversation in lines.

mod connect;
pub mod daemon;
pub mod location;
mod pending_requests;
mod start;
pub mod stdio_proxy;

pub use start::DaemonStart;
