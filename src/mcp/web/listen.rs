//! The addresses that are served.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::{net::TcpListener, time::sleep};

use super::{MCP_PATH, guard::Endpoint, peer};

/// How long nothing is taken in after the system could not give a connection, for want of files or memory.
const PAUSE: Duration = Duration::from_millis(50);
/// How many free ports are tried until one is free on both loopback addresses.
const MAX_FREE_PORTS: usize = 20;

/// What to listen on.
#[derive(Debug)]
pub struct Addresses {
    /// A TCP port; 0 is any free one.
    pub port: Option<u16>,
    /// The address to take it on, if not on loopback, in both families.
    pub ip: Option<IpAddr>,
    /// The path of a Unix socket to make.
    pub socket: Option<PathBuf>,
    /// Whether there is a token.
    pub has_token: bool,
}

/// An open address.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener, SocketAddr),
    /// A Unix socket at a path; the file is removed at the end if it was made here.
    #[cfg(unix)]
    Unix(UnixListener, SocketFile),
    /// A named pipe, and the lock that goes with it.
    #[cfg(windows)]
    Pipe(super::pipe::Pipe, std::fs::File),
}

/// The file of a Unix socket.
#[cfg(unix)]
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// What tells it from one that another process has made there since; `None` if it was not made here.
    inode: Option<u64>,
    /// Let go of once the file is removed.
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

#[cfg(unix)]
fn inode(path: &std::path::Path) -> Option<u64> {
    std::fs::symlink_metadata(path)
        .ok()
        .map(|file| std::os::unix::fs::MetadataExt::ino(&file))
}

/// Why an address cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Something else listens there.
    #[error(
        "{0} is taken; perhaps a daemon runs already (see: mcp-ssh-sessions status), else choose another one"
    )]
    Taken(String),
    /// Everybody in the network could come in.
    #[error(
        "serving {0} needs a token: give --token-file FILE or MCP_SSH_TOKEN (make one with: openssl rand -hex 32), or serve a loopback address"
    )]
    TokenNeeded(IpAddr),
    /// On this system nobody tells whose a connection is.
    #[error(
        "on this system a token is needed to keep other users of the machine out: give --token-file FILE or MCP_SSH_TOKEN"
    )]
    TokenNeededHere,
    /// Something other than a socket is there.
    #[error("{} exists and is not a socket; choose another path", .0.display())]
    NotASocket(PathBuf),
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Failed {
        /// Where.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// What was handed over is not a listening stream socket.
    #[error(
        "socket {0} of those handed over by LISTEN_FDS is no listening TCP or Unix stream socket"
    )]
    UnfitSocket(usize),
}

/// Opens the addresses, or takes those that the service manager has opened (`LISTEN_FDS`, `sd_listen_fds(3)`), which then
/// are the only ones.
///
/// # Errors
/// An address is taken, not allowed without a token, or cannot be opened.
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

/// Takes a port on 127.0.0.1 and on `[::1]`, so that nobody else can have the one of them to which `localhost` may lead.
async fn open_loopback(port: u16) -> Result<Vec<Listener>, ListenError> {
    for _ in 0..MAX_FREE_PORTS {
        let four = bind((Ipv4Addr::LOCALHOST, port).into()).await?;
        let Listener::Tcp(_, address) = &four else {
            continue;
        };

        match TcpListener::bind((Ipv6Addr::LOCALHOST, address.port())).await {
            Ok(six) => return Ok(vec![four, tcp(six)?]),
            // What is free here is not free there.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && port == 0 => {}
            // Without IPv6 there is no such address, and nobody else can have it.
            Err(error)
                if error.kind() == io::ErrorKind::AddrNotAvailable || is_without_family(&error) =>
            {
                return Ok(vec![four]);
            }
            Err(source) => return Err(failed(format!("[::1]:{}", address.port()), source)),
        }
    }

    Err(ListenError::Taken(
        "every port that was tried on [::1]".to_owned(),
    ))
}

async fn bind(address: SocketAddr) -> Result<Listener, ListenError> {
    tcp(TcpListener::bind(address)
        .await
        .map_err(|source| failed(address.to_string(), source))?)
}

/// Whether the system has no IPv6 at all.
fn is_without_family(error: &io::Error) -> bool {
    #[cfg(unix)]
    return error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT);
    // WSAEAFNOSUPPORT.
    #[cfg(not(unix))]
    return error.raw_os_error() == Some(10047);
}

/// The next connection, however many cannot be taken in before it.
pub(in crate::mcp) async fn accepted<T, F: Future<Output = io::Result<T>>>(
    accept: impl Fn() -> F,
) -> T {
    loop {
        match accept().await {
            Ok(accepted) => return accepted,
            // Who has left already costs nobody else anything.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) => {}
            // Too many open files: at once it would fail again.
            Err(error) => {
                tracing::debug!(%error, "a connection was not taken in");
                sleep(PAUSE).await;
            }
        }
    }
}

impl Listener {
    /// What a person or a client needs to come here.
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

    /// Whether this user can be told from all others here, so that no token is needed.
    async fn check_without_token(&self) -> Result<(), ListenError> {
        let is_told = match self {
            Self::Tcp(_, address) if !address.ip().to_canonical().is_loopback() => {
                return Err(ListenError::TokenNeeded(address.ip()));
            }
            Self::Tcp(..) => peer::is_told().await,
            #[cfg(unix)]
            Self::Unix(..) => peer::is_own_user(nix::unistd::geteuid().as_raw()),
            #[cfg(windows)]
            Self::Pipe(..) => true,
        };

        if is_told {
            Ok(())
        } else {
            Err(ListenError::TokenNeededHere)
        }
    }

    /// Tells whether clients still find it: somebody may remove the file of a socket.
    pub(in crate::mcp) fn is_there(&self) -> impl Fn() -> bool + Send + Sync + use<> {
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

    /// Where a browser on this machine finds the daemon, if it does.
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

/// Opens a free port on loopback for the page of a daemon that no browser reaches otherwise.
///
/// # Errors
/// There is none, or the system does not tell whose a connection is.
pub(in crate::mcp) async fn open_for_page(
    has_token: bool,
) -> Result<(Listener, String), ListenError> {
    if !has_token && !peer::is_told().await {
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

/// The address at which this machine reaches what listens at that one, which may stand for all there are.
pub(in crate::mcp) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The sockets that the service manager has opened for this process.
#[derive(Debug, Default)]
pub struct HandedOver(Vec<Listener>);

impl HandedOver {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes them, in the context of a tokio runtime. They count only if `LISTEN_PID` names this process.
    ///
    /// # Errors
    /// One of them is no listening TCP or Unix stream socket.
    pub fn take() -> Result<Self, ListenError> {
        #[cfg(unix)]
        {
            // Of another process, or of a shell in which they were set by hand, these file descriptors may be anything.
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

    listener.set_nonblocking(true).map_err(|_| unfit())?;
    let listener = UnixListener::from_std(listener).map_err(|_| unfit())?;

    Ok(Listener::Unix(
        listener,
        SocketFile {
            path: path.unwrap_or_default(),
            inode: None,
            _lock: None,
        },
    ))
}

fn tcp(listener: TcpListener) -> Result<Listener, ListenError> {
    let address = listener
        .local_addr()
        .map_err(|source| failed("TCP".to_owned(), source))?;
    Ok(Listener::Tcp(listener, address))
}

/// Makes a Unix socket for its owner alone, and keeps the lock as long as it is there. One that a dead process left behind
/// is replaced.
///
/// # Errors
/// Something else listens or is there, or it cannot be made.
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

        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(|source| failed(named(), source))?;
            }
            _ => return Err(ListenError::Taken(named())),
        }
    }

    let listener = UnixListener::bind(path).map_err(|source| failed(named(), source))?;
    let file = SocketFile {
        path: path.to_owned(),
        inode: inode(path),
        _lock: lock,
    };

    // Whoever comes before this is asked for the user id all the same.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(|source| failed(named(), source))?;

    Ok(Listener::Unix(listener, file))
}

fn failed(address: String, source: io::Error) -> ListenError {
    if source.kind() == io::ErrorKind::AddrInUse {
        return ListenError::Taken(address);
    }
    ListenError::Failed { address, source }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, io::ErrorKind};

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn accepting_pauses_where_it_would_fail_again_and_not_because_somebody_has_left() {
        #[cfg(unix)]
        let exhausted = || io::Error::from_raw_os_error(nix::libc::EMFILE);
        #[cfg(not(unix))]
        let exhausted = || io::Error::from(ErrorKind::OutOfMemory);
        let left = || io::Error::from(ErrorKind::ConnectionAborted);

        for (error, paused) in [
            (&exhausted as &dyn Fn() -> io::Error, 3 * PAUSE),
            (&left, Duration::ZERO),
        ] {
            let (begun, tries) = (Instant::now(), Cell::new(0));
            let taken = accepted(async || {
                tries.set(tries.get() + 1);
                if tries.get() < 4 {
                    Err(error())
                } else {
                    Ok(tries.get())
                }
            });

            assert_eq!((taken.await, begun.elapsed()), (4, paused));
        }
    }
}
