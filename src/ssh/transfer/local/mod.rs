//! Threads for reading and writing local files.

pub(super) mod io_threads;
pub(super) mod thread_pool;
