//! SSH transport (RFC 4253): TCP, algorithms, the server's host key, and the server's requests to
//! the client.

pub(super) mod agent_forward;
pub(super) mod algorithms;
pub(super) mod deadline;
pub(super) mod dial;
pub(super) mod dns;
pub(super) mod handler;
pub(super) mod host_key;
pub(super) mod metered;
pub(super) mod remote_listeners;
pub(super) mod tcp;
