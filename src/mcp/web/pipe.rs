//! Named pipes of Windows.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use http::HeaderValue;
use tokio::{
    net::windows::named_pipe::{ClientOptions, NamedPipeClient, NamedPipeServer, ServerOptions},
    sync::Mutex,
    time::sleep,
};

/// `ERROR_PIPE_BUSY`: each instance of the pipe has a client, and the next instance is being
/// created.
const PIPE_BUSY: i32 = 231;

/// Named pipe which waits for clients. Clients on other machines are refused.
#[derive(Debug)]
pub struct Pipe {
    /// Name of the pipe.
    pub(super) name: PathBuf,
    /// Instance for the next client, locked while waiting for that client.
    next: Mutex<NamedPipeServer>,
}

impl Pipe {
    /// Creates the pipe with this name.
    ///
    /// # Errors
    /// Another process has created the pipe already, or it cannot be created.
    pub(in crate::mcp) fn open(name: &Path) -> io::Result<Self> {
        let next = Mutex::new(
            ServerOptions::new()
                .first_pipe_instance(true)
                .create(name)?,
        );

        Ok(Self {
            name: name.to_owned(),
            next,
        })
    }

    /// Waits for a client, and creates the instance for the next client.
    ///
    /// # Errors
    /// The pipe cannot be waited for, or no further instance can be created.
    pub(in crate::mcp) async fn accept(&self) -> io::Result<NamedPipeServer> {
        let mut next = self.next.lock().await;
        next.connect().await?;
        let fresh = ServerOptions::new().create(&self.name)?;
        Ok(std::mem::replace(&mut *next, fresh))
    }
}

/// Connects to a pipe, and waits up to a second while all instances are busy.
///
/// # Errors
/// There is no such pipe, or all instances stay busy.
pub(in crate::mcp) async fn connect(name: &Path) -> io::Result<NamedPipeClient> {
    for _ in 0..100 {
        match ClientOptions::new().open(name) {
            Err(error) if error.raw_os_error() == Some(PIPE_BUSY) => {
                sleep(Duration::from_millis(10)).await
            }
            opened => return opened,
        }
    }

    Err(io::Error::from_raw_os_error(PIPE_BUSY))
}

/// Writes a new secret next to the lock, in the user's profile directory. Any user can create a
/// pipe of any name. The daemon proves with the secret that this pipe belongs to the user.
///
/// # Errors
/// The secret cannot be created or written.
pub(in crate::mcp) fn prove(lock: &Path) -> io::Result<()> {
    fs::write(proof_file(lock), crate::random::hex::<16>()?)
}

/// Returns the secret of the daemon; `None` if the file cannot be read.
pub(in crate::mcp) fn proof(lock: &Path) -> Option<HeaderValue> {
    HeaderValue::try_from(fs::read_to_string(proof_file(lock)).ok()?).ok()
}

/// Returns the path of the secret, next to the lock.
fn proof_file(lock: &Path) -> PathBuf {
    lock.with_extension(OsStr::new("key"))
}
