//! Threads for reading and writing local files.

mod flusher;
pub(super) mod io_threads;
pub(super) mod read_at;
pub(super) mod sum;
pub(super) mod thread_pool;
