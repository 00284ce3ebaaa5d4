//! The shared daemon.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{
    location::{DaemonLocation, PlaceError},
    start::{BUSY, READY},
};
#[cfg(windows)]
use crate::mcp::web::pipe;
use crate::{
    mcp::{
        dashboard::routes::AccessKeys,
        transport::http::serve::serve_shared,
        web::listen::{ListenError, Listener},
    },
    session::registry::SessionRegistry,
};

/// From this length on, in bytes, the log is begun anew by the next daemon.
const LONG_LOG: u64 = 1024 * 1024;

/// Why it cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// There is no place for it.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Nothing can be written there.
    #[error("cannot lock {}: {source}", place.lock.display())]
    Lock {
        /// Where.
        place: Box<DaemonLocation>,
        /// Why not.
        source: io::Error,
    },
    /// The socket cannot be made.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// No random numbers are to be had.
    #[error("no random numbers are to be had: {0}")]
    Random(#[from] io::Error),
}

/// Serves the fronts of this user at `place` until `stop` is cancelled or nobody has been there and no job has run for
/// as long as `idle`. Says on stdout, in one line, whether it does: it may be that another daemon does already.
///
/// # Errors
/// It cannot serve there; that has been said on stdout, too.
pub async fn serve(
    registry: Arc<SessionRegistry>,
    place: &DaemonLocation,
    idle: Duration,
    stop: CancellationToken,
) -> Result<(), DaemonError> {
    let say = |line: &str| {
        let mut stdout = io::stdout();
        // Whoever started it may be gone.
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    };

    match open(place).await {
        Ok(Some(listener)) => {
            let keys = Arc::new(AccessKeys::new()?);
            say(READY);
            tracing::info!("the shared daemon is ready on {}", listener.address());
            serve_shared(registry, listener, place.proof(), idle, keys, stop).await;

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

/// `None`: another process has the lock.
async fn open(place: &DaemonLocation) -> Result<Option<Listener>, DaemonError> {
    place.prepare()?;
    let lock = lock(place).map_err(|source| DaemonError::Lock {
        place: Box::new(place.clone()),
        source,
    })?;

    let Some(lock) = lock else { return Ok(None) };

    if fs::metadata(&place.log).is_ok_and(|log| log.len() > LONG_LOG)
        && let Ok(log) = fs::OpenOptions::new().write(true).open(&place.log)
    {
        let _ = log.set_len(0);
    }

    listen(place, lock).await.map(Some)
}

#[cfg(unix)]
async fn listen(place: &DaemonLocation, lock: File) -> Result<Listener, DaemonError> {
    Ok(crate::mcp::web::listen::open_socket(&place.socket, Some(lock)).await?)
}

#[cfg(windows)]
async fn listen(place: &DaemonLocation, lock: File) -> Result<Listener, DaemonError> {
    let failed = |source| ListenError::Failed {
        address: place.socket.display().to_string(),
        source,
    };

    pipe::prove(&place.lock).map_err(failed)?;
    Ok(Listener::Pipe(
        pipe::Pipe::open(&place.socket).map_err(failed)?,
        lock,
    ))
}

/// The lock file stays: removing it would let two processes lock two files of one name.
fn lock(place: &DaemonLocation) -> io::Result<Option<File>> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&place.lock)?;

    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}
