//! SSH client of this program, and the only folder that names russh: resolving destinations,
//! connecting, checking host keys, logging in, and everything that runs over a connection.
//!
//! A call goes through the modules in this order. [`config`] resolves a destination, `transport`
//! reaches the server and checks its host key, and [`auth`] logs in. [`connect`] combines these
//! into a connection, and `pool` opens channels over one or more connections. [`command`] and
//! [`transfer`] use such channels, to do what can be done with a
//! [`RemoteHost`](command::remote_host::RemoteHost). [`prompt`] asks the user where necessary, and
//! [`diagnose`] explains a connection for `doctor`.

pub mod auth;
pub mod command;
pub mod config;
pub mod connect;
pub mod diagnose;
pub mod error;
pub mod forward;
pub mod known_servers;
mod pool;
pub mod prompt;
pub mod trace;
pub mod transfer;
mod transport;
