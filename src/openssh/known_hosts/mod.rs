//! `known_hosts` files, read, judged and written as `ssh` does (sshd(8), section "`SSH_KNOWN_HOSTS` FILE FORMAT").
//!
//! Everything works on bytes: these files may hold any. The caller reads the files and appends lines.

mod algorithm_order;
mod certificate;
mod host_key;
mod host_pattern;
mod line;
mod render;
mod update;
mod verdict;

pub use self::{
    algorithm_order::order_algorithms,
    certificate::HostCertificate,
    host_key::{CERTIFICATE_SUFFIX, HostKey, fingerprint, plain_key_type},
    host_pattern::HostName,
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
