//! From an effective configuration to a connection that is logged in.

pub(super) mod agent_forward;
pub(super) mod algorithms;
pub mod connection;
pub(super) mod deadline;
pub(super) mod dial;
pub(super) mod dns;
pub(super) mod handler;
pub(super) mod host_key;
pub(super) mod keepalive;
pub(super) mod metered;
pub(super) mod open;
pub(super) mod proxy_command;
pub(super) mod tcp;
