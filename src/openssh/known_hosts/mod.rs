//! `known_hosts` files, read, judged and written as `ssh` does (sshd(8), section "`SSH_KNOWN_HOSTS` FILE FORMAT").
//!
//! Everything works on bytes: these files may hold any. The caller reads the files and appends lines.

mod certificate;
mod host_key;
mod host_pattern;
mod line;
mod order;
mod render;
mod update;
mod verdict;

pub use certificate::HostCertificate;
pub use host_key::{CERTIFICATE_SUFFIX, HostKey, fingerprint, plain_key_type};
pub use host_pattern::HostName;
pub(super) use host_pattern::{Case, glob};
pub(super) use line::read_key;
pub use order::order_algorithms;
pub use render::render_line;
pub use update::{KeyUpdate, plan_update};
pub use verdict::{Authority, KnownHostsFile, Verdict, authority, verdict};

#[cfg(test)]
pub(super) use certificate::tests as certificate_tests;
