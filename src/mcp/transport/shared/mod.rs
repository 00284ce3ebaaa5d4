//! One daemon for all terminals, which starts on demand.
//!
//! A process with `--shared` is a stdio proxy ([`stdio_proxy`]). It passes the lines of MCP between
//! its client and the daemon of this user. [`location`] says where the daemon is, `start` starts
//! it, and `connect` joins it.
//!
//! `pending_requests` records the requests without an answer, so that a new daemon can replace one
//! that ends without the client's help. The [`daemon`] is that of `http`, but listens only on a
//! Unix socket (on Windows a named pipe). `http::upgrade` turns a connection to it into a
//! conversation in lines.

mod connect;
pub mod daemon;
pub mod location;
mod pending_requests;
mod start;
pub mod stdio_proxy;

pub use start::DaemonStart;
