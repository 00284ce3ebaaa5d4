pub(crate) mod fake_sshd;
pub(crate) mod keys;
pub(crate) mod mcp_client;
pub(crate) mod open_sshd;
pub(crate) mod processes;
mod self_test;
pub(crate) mod ssh_agent;
pub(crate) mod ssh_config;
