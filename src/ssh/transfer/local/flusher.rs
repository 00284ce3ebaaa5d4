//! Flushes a file to the disk while it is being written, so that little is left to wait for.

use std::{fs::File, io, mem, sync::Arc};

use tokio::{
    runtime::Handle,
    task::{JoinHandle, spawn_blocking},
};

/// Bytes after which a file is flushed while more is written.
const FLUSHED_AT_ONCE: u64 = 8 * 1024 * 1024;

/// Flushes a file on another thread. Used on a thread that may block.
#[derive(Debug)]
pub(super) struct Flusher {
    file: Arc<File>,
    /// Number of bytes written since the last flush began.
    unflushed: u64,
    /// Flush that may still run.
    running: Option<JoinHandle<io::Result<()>>>,
}

impl Flusher {
    /// Creates the flusher of `file`, of which nothing is written yet.
    pub(super) fn new(file: Arc<File>) -> Self {
        Self {
            file,
            unflushed: 0,
            running: None,
        }
    }

    /// Notes that `bytes` more bytes are written, and begins to flush them if they are many and no
    /// flush is running.
    ///
    /// # Errors
    /// An earlier flush failed.
    pub(super) fn wrote(&mut self, bytes: u64) -> io::Result<()> {
        self.unflushed += bytes;
        let is_running = self
            .running
            .as_ref()
            .is_some_and(|flush| !flush.is_finished());
        if is_running || self.unflushed < FLUSHED_AT_ONCE {
            return Ok(());
        }

        self.wait()?;
        self.unflushed = 0;
        let file = Arc::clone(&self.file);
        self.running = Some(spawn_blocking(move || file.sync_data()));

        Ok(())
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// A flush failed. The system reports that only once for a file, so each result counts.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.wait()?;
        self.file.sync_all()
    }

    /// Waits for the flush that was begun.
    fn wait(&mut self) -> io::Result<()> {
        match mem::take(&mut self.running) {
            Some(flush) => Handle::current()
                .block_on(flush)
                .unwrap_or_else(|error| Err(io::Error::other(error))),
            None => Ok(()),
        }
    }
}
