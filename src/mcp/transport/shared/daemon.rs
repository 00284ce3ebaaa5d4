//! The shared daemon, as a process.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{
    location::{DaemonLocation, LocationError},
    start::{BUSY, READY},
};
#[cfg(windows)]
use crate::mcp::web::pipe;
use crate::{
    mcp::{
        dashboard::routes::AccessKeys,
        transport::http::serve::{Daemon, SharedDaemon},
        web::listen::{ListenError, Listener},
    },
    session::registry::SessionRegistry,
};

/// Length of the log, in bytes, beyond which the next daemon empties the file.
const LONG_LOG: u64 = 1024 * 1024;

/// Reason why the shared daemon cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The daemon's folder cannot be used.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// The lock file cannot be opened or locked.
    #[error("cannot lock {}: {source}", location.lock.display())]
    Lock {
        /// Files of the daemon.
        location: Box<DaemonLocation>,
        /// Error of the system.
        source: io::Error,
    },
    /// The socket or pipe cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The system provides no random numbers.
    #[error("the system's random number generator is unavailable: {0}")]
    Random(#[from] io::Error),
}

/// Serves the stdio proxies of this user at `location` until `stop` is cancelled or the daemon is
/// idle. The daemon is idle when it has had no client and no running job for as long as `idle`.
/// Prints one line to stdout: that the daemon is ready, that another daemon has the lock, or why
/// neither is so.
///
/// # Errors
/// The daemon cannot serve there. Unless random numbers are missing, stdout has got the reason,
/// too.
pub async fn serve(
    registry: Arc<SessionRegistry>,
    location: &DaemonLocation,
    idle: Duration,
    stop: CancellationToken,
) -> Result<(), DaemonError> {
    let say = |line: &str| {
        let mut stdout = io::stdout();
        // The process that started the daemon may be gone.
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    };

    match open(location).await {
        Ok(Some(listener)) => {
            // All that can fail comes before the promise to be ready.
            let access = Arc::new(AccessKeys::new()?);
            say(READY);
            tracing::info!("the shared daemon is ready on {}", listener.address());
            let daemon = Daemon {
                registry,
                listeners: vec![listener],
                token: None,
                access,
                shared: Some(SharedDaemon {
                    proof: location.proof(),
                    idle,
                }),
            };
            daemon.serve(stop).await;

            Ok(())
        }
        Ok(None) => {
            say(BUSY);
            Ok(())
        }
        Err(error) => {
            say(&error.to_string());
            Err(error)
        }
    }
}

/// Takes the lock and opens the listener; `None` if another process has the lock.
async fn open(location: &DaemonLocation) -> Result<Option<Listener>, DaemonError> {
    location.prepare()?;
    let lock = lock(location).map_err(|source| DaemonError::Lock {
        location: Box::new(location.clone()),
        source,
    })?;

    let Some(lock) = lock else { return Ok(None) };

    // Every daemon appends to the log, so that it would grow for ever.
    if fs::metadata(&location.log).is_ok_and(|log| log.len() > LONG_LOG)
        && let Ok(log) = fs::OpenOptions::new().write(true).open(&location.log)
    {
        let _ = log.set_len(0);
    }

    listen(location, lock).await.map(Some)
}

/// Opens the Unix socket, which keeps the lock.
#[cfg(unix)]
async fn listen(location: &DaemonLocation, lock: File) -> Result<Listener, DaemonError> {
    Ok(crate::mcp::web::listen::open_socket(&location.socket, Some(lock)).await?)
}

/// Opens the named pipe, which keeps the lock.
#[cfg(windows)]
async fn listen(location: &DaemonLocation, lock: File) -> Result<Listener, DaemonError> {
    let failed = |source| ListenError::Failed {
        address: location.socket.display().to_string(),
        source,
    };

    // The secret is written before the first proxy can connect and compare it.
    pipe::prove(&location.lock).map_err(failed)?;
    Ok(Listener::Pipe(
        pipe::Pipe::open(&location.socket).map_err(failed)?,
        lock,
    ))
}

/// Locks the lock file; `None` if another process has the lock. The file stays for ever, because
/// removing it would let two processes lock two files of the same name.
fn lock(location: &DaemonLocation) -> io::Result<Option<File>> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&location.lock)?;

    // A signal may interrupt the attempt, which says nothing about the lock.
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}
