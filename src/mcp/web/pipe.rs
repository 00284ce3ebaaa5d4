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

/// `ERROR_PIPE_BUSY`: each instance of the pipe has a client, and the next one is being made.
const PIPE_BUSY: i32 = 231;

/// A pipe that waits for clients; one of another machine is refused.
#[derive(Debug)]
pub struct Pipe {
    pub(super) name: PathBuf,
    /// The instance for the next client. Held while it is waited for.
    next: Mutex<NamedPipeServer>,
}

impl Pipe {
    /// The first instance of this name.
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

    /// Waits for a client.
    pub(in crate::mcp) async fn accept(&self) -> io::Result<NamedPipeServer> {
        let mut next = self.next.lock().await;
        next.connect().await?;
        let fresh = ServerOptions::new().create(&self.name)?;
        Ok(std::mem::replace(&mut *next, fresh))
    }
}

/// Connects to a pipe.
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

/// Writes a new secret beside the lock, in the person's profile directory: any user can make a pipe of any name, and the
/// daemon proves with it that this one is its own.
pub(in crate::mcp) fn prove(lock: &Path) -> io::Result<()> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    fs::write(
        beside(lock),
        format!("{:032x}", u128::from_be_bytes(random)),
    )
}

/// The daemon's secret.
pub(in crate::mcp) fn proof(lock: &Path) -> Option<HeaderValue> {
    HeaderValue::try_from(fs::read_to_string(beside(lock)).ok()?).ok()
}

fn beside(lock: &Path) -> PathBuf {
    lock.with_extension(OsStr::new("key"))
}
