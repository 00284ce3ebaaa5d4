//! `known_hosts` files, read, judged and written as `ssh` does (sshd(8), section "`SSH_KNOWN_HOSTS` FILE FORMAT").
//!
//! Everything works on bytes: these files may hold any. The caller reads the files and appends lines.

mod host_key;
mod host_pattern;
mod line;
mod render;
mod verdict;

pub use host_key::{HostKey, fingerprint};
pub use host_pattern::HostName;
pub(super) use host_pattern::glob;
pub use render::render_line;
pub use verdict::{KnownHostsFile, Verdict, known_key_types, verdict};
