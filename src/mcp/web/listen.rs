//! The addresses at which the daemon listens.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::{net::TcpListener, time::sleep};

use super::{MCP_PATH, guard::Endpoint};
use crate::peer;

/// Pause after the system had no files or memory for a connection.
const PAUSE: Duration = Duration::from_millis(50);
/// Limit of attempts to find a port which is free on both loopback addresses.
const MAX_FREE_PORTS: usize = 20;

/// Addresses to listen at, as configured.
#[derive(Debug)]
pub struct Addresses {
    /// TCP port; 0 for any free port, `None` for no TCP.
    pub port: Option<u16>,
    /// IP address for the port. `None` for loopback, in both families.
    pub ip: Option<IpAddr>,
    /// Path of a Unix socket to create. `None` for no socket.
    pub socket: Option<PathBuf>,
    /// True if clients have to send a token.
    pub has_token: bool,
}

/// Open listener at a single address.
#[derive(Debug)]
pub enum Listener {
    /// TCP listener, and the local address.
    Tcp(TcpListener, SocketAddr),
    /// Unix socket, and the file of the socket.
    #[cfg(unix)]
    Unix(UnixListener, SocketFile),
    /// Named pipe, and the lock of the daemon.
    #[cfg(windows)]
    Pipe(super::pipe::Pipe, std::fs::File),
}

/// File of a Unix socket. Dropping it removes the file, if this process created the file and it has
/// not been replaced.
#[cfg(unix)]
#[derive(Debug)]
pub struct SocketFile {
    /// Path of the file.
    path: PathBuf,
    /// Inode of the file, which tells whether another process has replaced the file. `None` if the
    /// socket was handed over.
    inode: Option<u64>,
    /// Lock of the daemon, released after the file is removed. `None` without a lock.
    _lock: Option<std::fs::File>,
}

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.inode.is_some() && inode(&self.path) == self.inode {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Returns the inode of the file at `path`; `None` if there is no file.
#[cfg(unix)]
fn inode(path: &std::path::Path) -> Option<u64> {
    std::fs::symlink_metadata(path)
        .ok()
        .map(|file| std::os::unix::fs::MetadataExt::ino(&file))
}

/// Reason why an address cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another program listens at the address.
    #[error(
        "{0} is taken; perhaps a daemon runs already (see: mcp-ssh-sessions status), else choose another one"
    )]
    InUse(String),
    /// The whole network could connect, so a token is needed.
    #[error(
        "serving {0} needs a token: give --token-file FILE or MCP_SSH_TOKEN (make one with: openssl rand -hex 32), or serve a loopback address"
    )]
    TokenNeeded(IpAddr),
    /// The system does not report the user of a connection, so a token is needed.
    #[error(
        "on this system a token is needed to keep other users of the machine out: give --token-file FILE or MCP_SSH_TOKEN"
    )]
    TokenNeededHere,
    /// The path belongs to a file which is not a socket.
    #[error("{} exists and is not a socket; choose another path", .0.display())]
    NotASocket(PathBuf),
    /// The system refuses for another reason.
    #[error("cannot listen on {address}: {source}")]
    Failed {
        /// Address, in words.
        address: String,
        /// Error of the system.
        source: io::Error,
    },
    /// The socket with this index was handed over, but is not a listening stream socket.
    #[error("socket {0} from LISTEN_FDS is not a listening TCP or Unix stream socket")]
    UnfitSocket(usize),
}

/// Opens the configured addresses. If the service manager has handed over sockets (`LISTEN_FDS`,
/// `sd_listen_fds(3)`), returns only those.
///
/// # Errors
/// An address is taken, needs a token, or cannot be opened.
pub async fn open(
    addresses: &Addresses,
    handed_over: HandedOver,
) -> Result<Vec<Listener>, ListenError> {
    let mut listeners = handed_over.0;

    if listeners.is_empty() {
        match (addresses.port, addresses.ip) {
            (Some(port), Some(ip)) => listeners.push(bind((ip, port).into()).await?),
            (Some(port), None) => listeners.extend(open_loopback(port).await?),
            (None, _) => {}
        }

        #[cfg(unix)]
        if let Some(path) = &addresses.socket {
            listeners.push(open_socket(path, None).await?);
        }
    }

    for listener in listeners.iter().filter(|_| !addresses.has_token) {
        listener.check_without_token().await?;
    }

    Ok(listeners)
}

/// Opens a port on 127.0.0.1 and on `[::1]`. `localhost` may lead to either, and nobody else must
/// get the other one.
async fn open_loopback(port: u16) -> Result<Vec<Listener>, ListenError> {
    for _ in 0..MAX_FREE_PORTS {
        let four = bind((Ipv4Addr::LOCALHOST, port).into()).await?;
        let Listener::Tcp(_, address) = &four else {
            continue;
        };

        match TcpListener::bind((Ipv6Addr::LOCALHOST, address.port())).await {
            Ok(six) => return Ok(vec![four, tcp(six)?]),
            // A port that is free on 127.0.0.1 may be taken on `[::1]`, so another one is tried.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && port == 0 => {}
            // Without IPv6 there is no such address, so nobody else can have it.
            Err(error)
                if error.kind() == io::ErrorKind::AddrNotAvailable || is_without_family(&error) =>
            {
                return Ok(vec![four]);
            }
            Err(source) => return Err(failed(format!("[::1]:{}", address.port()), source)),
        }
    }

    Err(ListenError::InUse(
        "every port that was tried on [::1]".to_owned(),
    ))
}

/// Opens a TCP listener at `address`.
async fn bind(address: SocketAddr) -> Result<Listener, ListenError> {
    tcp(TcpListener::bind(address)
        .await
        .map_err(|source| failed(address.to_string(), source))?)
}

/// Returns true if the error means that the system has no IPv6.
fn is_without_family(error: &io::Error) -> bool {
    #[cfg(unix)]
    return error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT);
    // WSAEAFNOSUPPORT.
    #[cfg(not(unix))]
    return error.raw_os_error() == Some(10047);
}

/// Accepts the next connection, after any number of failures.
pub(in crate::mcp) async fn accepted<T, F: Future<Output = io::Result<T>>>(
    accept: impl Fn() -> F,
) -> T {
    loop {
        match accept().await {
            Ok(accepted) => return accepted,
            // A peer that has left already delays nobody else.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) => {}
            // With too many open files, the next attempt would fail at once.
            Err(error) => {
                tracing::debug!(%error, "a connection was not taken in");
                sleep(PAUSE).await;
            }
        }
    }
}

impl Listener {
    /// Returns the address in words for users and clients.
    #[must_use]
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(_, address) => format!("http://{address}{MCP_PATH}"),
            #[cfg(unix)]
            Self::Unix(_, file) => format!("the Unix socket {}", file.path.display()),
            #[cfg(windows)]
            Self::Pipe(pipe, _) => format!("the pipe {}", pipe.name.display()),
        }
    }

    /// Succeeds if this listener needs no token, because the system tells this user from all
    /// others.
    ///
    /// # Errors
    /// A token is needed.
    async fn check_without_token(&self) -> Result<(), ListenError> {
        let identifies_users = match self {
            // A peer on another machine has no user id here.
            Self::Tcp(_, address) if !address.ip().to_canonical().is_loopback() => {
                return Err(ListenError::TokenNeeded(address.ip()));
            }
            Self::Tcp(..) => peer::identifies_users().await,
            #[cfg(unix)]
            Self::Unix(..) => peer::is_own_user(nix::unistd::geteuid().as_raw()),
            // The access control of a pipe keeps other users out by itself.
            #[cfg(windows)]
            Self::Pipe(..) => true,
        };

        if identifies_users {
            Ok(())
        } else {
            Err(ListenError::TokenNeededHere)
        }
    }

    /// Returns a test which is true while clients can find the listener. The file of a socket may
    /// be removed at any time.
    pub(in crate::mcp) fn is_there(&self) -> impl Fn() -> bool + Send + Sync + use<> {
        // A socket that was handed over has no inode here: its file belongs to the service manager.
        #[cfg(unix)]
        let made = if let Self::Unix(_, file) = self {
            file.inode.map(|made| (file.path.clone(), made))
        } else {
            None
        };

        move || {
            #[cfg(unix)]
            return made
                .as_ref()
                .is_none_or(|(path, made)| inode(path) == Some(*made));
            #[cfg(not(unix))]
            true
        }
    }

    /// Returns the origin at which browsers on this machine find the daemon. `None` for a socket or
    /// a pipe.
    #[must_use]
    pub fn page(&self) -> Option<String> {
        match self {
            Self::Tcp(_, address) => Some(format!("http://{}", reachable(*address))),
            #[cfg(unix)]
            Self::Unix(..) => None,
            #[cfg(windows)]
            Self::Pipe(..) => None,
        }
    }

    /// Returns the kind of address, for the guard.
    pub(in crate::mcp) fn endpoint(&self) -> Endpoint {
        match self {
            Self::Tcp(_, address) if address.ip().to_canonical().is_loopback() => {
                Endpoint::Loopback(address.port())
            }
            Self::Tcp(..) => Endpoint::Network,
            #[cfg(unix)]
            Self::Unix(..) => Endpoint::Socket,
            #[cfg(windows)]
            Self::Pipe(..) => Endpoint::Socket,
        }
    }
}

/// Opens a free port on loopback for the page of a daemon that browsers do not reach otherwise.
/// Returns the listener and its origin.
///
/// # Errors
/// No port is free, or the system does not tell whose a connection is.
pub(in crate::mcp) async fn open_for_page(
    has_token: bool,
) -> Result<(Listener, String), ListenError> {
    if !has_token && !peer::identifies_users().await {
        return Err(ListenError::TokenNeededHere);
    }

    let failed = |source| failed("a port on loopback".to_owned(), source);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;

    Ok((
        Listener::Tcp(listener, address),
        format!("http://{address}"),
    ))
}

/// Returns the address at which this machine reaches a listener. An unspecified address stands for
/// all addresses, so it becomes loopback.
pub(in crate::mcp) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Sockets which the service manager has opened for this process.
#[derive(Debug, Default)]
pub struct HandedOver(Vec<Listener>);

impl HandedOver {
    /// Returns true if no sockets were handed over.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the sockets, in the context of a tokio runtime. They count only if `LISTEN_PID` names
    /// this process.
    ///
    /// # Errors
    /// A socket is not a listening TCP or Unix stream socket.
    pub fn from_environment() -> Result<Self, ListenError> {
        #[cfg(unix)]
        {
            // For another process, or set by hand in a shell, these file descriptors may be
            // anything.
            let process = std::env::var("LISTEN_PID")
                .ok()
                .and_then(|process| process.parse().ok());

            if process != Some(std::process::id()) {
                return Ok(Self::default());
            }

            let mut handed_over = listenfd::ListenFd::from_env();
            let listeners = (0..handed_over.len()).map(|index| taken(&mut handed_over, index));
            Ok(Self(listeners.collect::<Result<_, _>>()?))
        }

        #[cfg(not(unix))]
        Ok(Self::default())
    }
}

/// Takes the socket with this index.
///
/// # Errors
/// The socket is not a listening TCP or Unix stream socket.
#[cfg(unix)]
fn taken(handed_over: &mut listenfd::ListenFd, index: usize) -> Result<Listener, ListenError> {
    let unfit = || ListenError::UnfitSocket(index);
    if let Ok(Some(listener)) = handed_over.take_tcp_listener(index) {
        listener.set_nonblocking(true).map_err(|_| unfit())?;
        return tcp(TcpListener::from_std(listener).map_err(|_| unfit())?);
    }

    let listener = handed_over
        .take_unix_listener(index)
        .ok()
        .flatten()
        .ok_or_else(unfit)?;

    let path = listener
        .local_addr()
        .ok()
        .and_then(|address| address.as_pathname().map(PathBuf::from));

    // Tokio expects the non-blocking mode and does not set it.
    listener.set_nonblocking(true).map_err(|_| unfit())?;
    let listener = UnixListener::from_std(listener).map_err(|_| unfit())?;

    // The service manager has created the file, so it is not removed here.
    Ok(Listener::Unix(
        listener,
        SocketFile {
            path: path.unwrap_or_default(),
            inode: None,
            _lock: None,
        },
    ))
}

/// Wraps a TCP listener together with the local address.
fn tcp(listener: TcpListener) -> Result<Listener, ListenError> {
    let address = listener
        .local_addr()
        .map_err(|source| failed("TCP".to_owned(), source))?;
    Ok(Listener::Tcp(listener, address))
}

/// Creates a Unix socket with access for this user only, and keeps the lock as long as the socket
/// exists. A socket that a dead process left is replaced.
///
/// # Errors
/// Another process listens there, another file is there, or the socket cannot be created.
#[cfg(unix)]
pub(in crate::mcp) async fn open_socket(
    path: &std::path::Path,
    lock: Option<std::fs::File>,
) -> Result<Listener, ListenError> {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

    let named = || format!("the Unix socket {}", path.display());

    if let Ok(there) = std::fs::symlink_metadata(path) {
        if !there.file_type().is_socket() {
            return Err(ListenError::NotASocket(path.to_owned()));
        }

        // Only a refused connection shows that no process listens there any more.
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(|source| failed(named(), source))?;
            }
            _ => return Err(ListenError::InUse(named())),
        }
    }

    let listener = UnixListener::bind(path).map_err(|source| failed(named(), source))?;
    let file = SocketFile {
        path: path.to_owned(),
        inode: inode(path),
        _lock: lock,
    };

    // A peer that connects before this step is still asked for its user id.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(|source| failed(named(), source))?;

    Ok(Listener::Unix(listener, file))
}

/// Returns the error for an address which cannot be opened.
fn failed(address: String, source: io::Error) -> ListenError {
    if source.kind() == io::ErrorKind::AddrInUse {
        return ListenError::InUse(address);
    }
    ListenError::Failed { address, source }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, io::ErrorKind};

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn accepting_pauses_only_after_an_error_that_would_repeat() {
        #[cfg(unix)]
        let exhausted = || io::Error::from_raw_os_error(nix::libc::EMFILE);
        #[cfg(not(unix))]
        let exhausted = || io::Error::from(ErrorKind::OutOfMemory);
        let left = || io::Error::from(ErrorKind::ConnectionAborted);

        for (error, paused) in [
            (&exhausted as &dyn Fn() -> io::Error, 3 * PAUSE),
            (&left, Duration::ZERO),
        ] {
            let (start, tries) = (Instant::now(), Cell::new(0));
            let taken = accepted(async || {
                tries.set(tries.get() + 1);
                if tries.get() < 4 {
                    Err(error())
                } else {
                    Ok(tries.get())
                }
            });

            assert_eq!((taken.await, start.elapsed()), (4, paused));
        }
    }
}
