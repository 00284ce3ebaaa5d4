//! Threads that read and write local files.

pub(super) mod io_threads;
pub(super) mod thread_pool;
