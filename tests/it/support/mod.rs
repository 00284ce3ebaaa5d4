pub(crate) mod checks;
pub(crate) mod daemon;
pub(crate) mod disk;
#[cfg(target_os = "linux")]
pub(crate) mod dropbear;
pub(crate) mod fake_sshd;
pub(crate) mod fixture;
pub(crate) mod hostile_sshd;
pub(crate) mod http_client;
pub(crate) mod keys;
pub(crate) mod link;
mod listening;
pub(crate) mod mcp_client;
pub(crate) mod open_sshd;
#[cfg(target_os = "linux")]
pub(crate) mod other_sshd;
#[cfg(target_os = "linux")]
pub(crate) mod other_user;
pub(crate) mod page;
pub(crate) mod processes;
pub(crate) mod program;
pub(crate) mod programs;
pub(crate) mod questions;
mod self_test;
pub(crate) mod ssh_agent;
pub(crate) mod ssh_config;
pub(crate) mod sudo_host;
pub(crate) mod wire;
