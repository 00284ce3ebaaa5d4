//! From a destination to an effective configuration.

pub(super) mod expand;
pub mod fallback;
pub mod named_hosts;
pub mod resolve;
pub mod target;
