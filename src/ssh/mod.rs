//! The only folder that names russh: resolving, dialling, checking host keys, authenticating, and what runs over the
//! connection then.
//!
//! A call goes through the rooms in this order: [`config`] resolves a destination, `transport` reaches the server and checks
//! its host key, [`auth`] logs in, [`connect`] puts these together into a connection, and [`pool`] gives channels over one
//! or more connections. [`command`] and [`transfer`] work over such channels. [`prompt`] asks the person where that is
//! needed, and [`diagnose`] explains a connection to `doctor`.

pub mod auth;
pub mod command;
pub mod config;
pub mod connect;
pub mod diagnose;
pub mod error;
pub mod pool;
pub mod prompt;
pub mod trace;
pub mod transfer;
mod transport;
