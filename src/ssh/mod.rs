//! The only folder that names russh: resolving, dialling, checking host keys, authenticating, and what runs over the
//! connection then.
//!
//! A call goes through the rooms in this order: [`config`] resolves a destination, [`connect`] opens a connection to it,
//! [`auth`] logs in, [`prompt`] asks the person where that is needed, and [`pool`] gives channels over one or more
//! connections. [`command`] and [`mod@transfer`] work over such channels. [`diagnose`] explains a connection to `doctor`.

pub mod auth;
pub mod command;
pub mod config;
pub mod connect;
pub mod diagnose;
pub mod error;
pub mod pool;
pub mod prompt;
pub mod transfer;
