//! `known_hosts` files, parsed, judged and written like `ssh` (sshd(8), section "`SSH_KNOWN_HOSTS`
//! FILE FORMAT").
//!
//! Files are handled as bytes, because they may hold any text. The caller reads the files and
//! appends lines.

mod algorithm_order;
mod certificate;
mod host_key;
mod host_pattern;
mod line;
mod listed;
mod render;
mod update;
mod verdict;

pub use self::{
    algorithm_order::order_algorithms,
    certificate::HostCertificate,
    host_key::{CERTIFICATE_SUFFIX, HostKey, fingerprint, plain_key_type},
    host_pattern::{HostName, glob_by},
    listed::{ListedKeys, listed_keys},
    render::render_line,
    update::{KeyUpdate, plan_update},
    verdict::{Authority, KnownHostsFile, Verdict, authority, verdict},
};
pub(super) use self::{
    host_pattern::{Case, glob},
    line::read_key,
};

#[cfg(test)]
pub(super) use self::certificate::tests as certificate_tests;
