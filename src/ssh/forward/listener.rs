//! The listener of a forward on this machine.

#[cfg(unix)]
use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};
use std::{
    future::pending,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU16,
    time::Duration,
};

#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::{net::TcpListener, time::sleep};

use super::local_stream::LocalStream;
use crate::{
    forward::listen::ListenAddress,
    local::LocalName,
    peer,
    ssh::transfer::{Guard, TransferError},
};

/// Attempts to find a port that is free on both loopback addresses.
const MAX_FREE_PORTS: usize = 20;
/// Pause after the system had no files or memory for a connection.
const PAUSE: Duration = Duration::from_millis(50);

/// Open listener of a forward. Dropping the listener stops listening, and removes a socket's file.
#[derive(Debug)]
pub struct ForwardListener {
    address: ListenAddress,
    sockets: Sockets,
}

/// Listening sockets.
#[derive(Debug)]
enum Sockets {
    /// Port on 127.0.0.1, and on `::1` if free there.
    Tcp(TcpListener, Option<TcpListener>),
    /// Unix socket with its file.
    #[cfg(unix)]
    Unix {
        listener: UnixListener,
        _file: SocketFile,
    },
}

/// Reason why a forward cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ForwardListenError {
    /// Another program listens at the port.
    #[error("port {0} is taken on this machine")]
    PortTaken(NonZeroU16),
    /// Only a privileged program may listen at the port.
    #[error("port {0} needs privileges on this machine")]
    Privileged(NonZeroU16),
    /// A file exists at the path of the socket.
    #[error("{0} exists already")]
    PathTaken(ListenAddress),
    /// The system does not tell whose a connection is, so other users could not be kept out.
    #[error(
        "this system does not tell whose a connection is, so a port would be open to every user of this machine"
    )]
    UsersUnknown,
    /// The place of a socket is missing, or guarded and not permitted.
    #[error(transparent)]
    Place(Box<TransferError>),
    /// The system refuses for another reason.
    #[error("cannot listen at {0}: {1}")]
    Failed(String, #[source] io::Error),
}

impl From<TransferError> for ForwardListenError {
    fn from(error: TransferError) -> Self {
        Self::Place(Box::new(error))
    }
}

impl ForwardListener {
    /// Opens a listener at exactly this address. The guard asks the user about a guarded place for a
    /// socket; `None` asks nobody.
    ///
    /// # Errors
    /// The address is taken, cannot be used, or is guarded and not permitted.
    pub async fn open(
        address: &ListenAddress,
        guard: Option<&Guard>,
    ) -> Result<Self, ForwardListenError> {
        match address {
            ListenAddress::Port(port) => {
                require_known_users().await?;
                open_port(*port).await
            }
            #[cfg(unix)]
            ListenAddress::Socket(path) => {
                let place = match guard {
                    Some(guard) => guard.place_for_socket(path.into()).await?,
                    None => LocalName::resolve(path.as_ref())
                        .map_err(|error| ForwardListenError::Failed(address.to_string(), error))?,
                };
                open_socket(&place, address)
            }
            #[cfg(not(unix))]
            ListenAddress::Socket(_) => Err(ForwardListenError::Failed(
                address.to_string(),
                io::ErrorKind::Unsupported.into(),
            )),
        }
    }

    /// Opens a listener at `preferred` if that port is free, and else at any free port.
    ///
    /// # Errors
    /// The system has no free port.
    pub async fn open_any(preferred: Option<NonZeroU16>) -> Result<Self, ForwardListenError> {
        require_known_users().await?;

        if let Some(port) = preferred
            && let Ok(listener) = open_port(port).await
            && listener.has_all_of_loopback()
        {
            return Ok(listener);
        }

        let failed = |error| ForwardListenError::Failed("a free port".to_owned(), error);
        let mut attempts = 0;
        loop {
            let four = bind(Ipv4Addr::LOCALHOST.into(), 0).await.map_err(failed)?;
            let listener = with_six(four).await.map_err(failed)?;
            attempts += 1;
            if listener.has_all_of_loopback() || attempts == MAX_FREE_PORTS {
                return Ok(listener);
            }
        }
    }

    /// Returns the address of the listener, with the actual port.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// Accepts the next connection, after any number of failures. The caller has to check the
    /// owner.
    pub async fn accept(&self) -> LocalStream {
        loop {
            let accepted = match &self.sockets {
                Sockets::Tcp(four, six) => tokio::select! {
                    accepted = four.accept() => accepted.map(|(stream, _)| LocalStream::Tcp(stream)),
                    accepted = accept_six(six.as_ref()) => accepted.map(LocalStream::Tcp),
                },
                #[cfg(unix)]
                Sockets::Unix { listener, .. } => listener
                    .accept()
                    .await
                    .map(|(stream, _)| LocalStream::Unix(stream)),
            };

            match accepted {
                Ok(stream) => {
                    if let LocalStream::Tcp(stream) = &stream {
                        let _ = stream.set_nodelay(true);
                    }
                    return stream;
                }
                // A peer that has left already delays nobody else.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // With too many open files, the next attempt would fail at once.
                Err(error) => {
                    tracing::debug!(%error, "a connection to a forward was not taken in");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Returns true if no other program can get connections to `localhost` at this port.
    fn has_all_of_loopback(&self) -> bool {
        match &self.sockets {
            Sockets::Tcp(_, six) => six.is_some() || !has_loopback_six(),
            #[cfg(unix)]
            Sockets::Unix { .. } => true,
        }
    }
}

/// Succeeds if the system tells whose a connection is.
async fn require_known_users() -> Result<(), ForwardListenError> {
    if peer::identifies_users().await {
        Ok(())
    } else {
        Err(ForwardListenError::UsersUnknown)
    }
}

/// Opens a port on 127.0.0.1, and on `::1` if free there.
async fn open_port(port: NonZeroU16) -> Result<ForwardListener, ForwardListenError> {
    let failed = |error| of_port(port, error);
    let four = bind(Ipv4Addr::LOCALHOST.into(), port.get())
        .await
        .map_err(failed)?;
    with_six(four).await.map_err(failed)
}

/// Returns the error for a port at which the system lets nobody listen.
fn of_port(port: NonZeroU16, error: io::Error) -> ForwardListenError {
    match error.kind() {
        io::ErrorKind::AddrInUse => ForwardListenError::PortTaken(port),
        io::ErrorKind::PermissionDenied => ForwardListenError::Privileged(port),
        _ => ForwardListenError::Failed(format!("port {port}"), error),
    }
}

/// Adds a listener on `::1` at the same port, if free there.
async fn with_six(four: TcpListener) -> io::Result<ForwardListener> {
    let port = four.local_addr()?.port();
    let six = bind(Ipv6Addr::LOCALHOST.into(), port).await.ok();
    let port = NonZeroU16::new(port).ok_or(io::ErrorKind::AddrNotAvailable)?;

    Ok(ForwardListener {
        address: ListenAddress::Port(port),
        sockets: Sockets::Tcp(four, six),
    })
}

/// Opens a TCP listener.
async fn bind(ip: IpAddr, port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((ip, port)).await
}

/// Returns true if this machine has the address `::1`.
fn has_loopback_six() -> bool {
    std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// Accepts a connection at the listener, if there is one.
async fn accept_six(six: Option<&TcpListener>) -> io::Result<tokio::net::TcpStream> {
    match six {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => pending().await,
    }
}

/// Opens a Unix socket with mode 0600. An existing file is never replaced.
#[cfg(unix)]
fn open_socket(
    place: &LocalName,
    address: &ListenAddress,
) -> Result<ForwardListener, ForwardListenError> {
    use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};

    let open = || {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        let path = path_in_folder(place);
        socket.bind(&socket2::SockAddr::unix(&path)?)?;

        // Nobody can connect before `listen`, so the mode is never too wide.
        let file = SocketFile::of(place.clone())?;
        let (name, mode) = (
            OsStr::from_bytes(&place.name),
            Mode::S_IRUSR | Mode::S_IWUSR,
        );
        // Whoever may write to the directory could put a link to another file there meanwhile.
        fchmodat(&place.folder, name, mode, FchmodatFlags::NoFollowSymlink)?;
        socket.listen(128)?;
        socket.set_nonblocking(true)?;

        Ok((UnixListener::from_std(socket.into())?, file))
    };

    match open() {
        Ok((listener, file)) => Ok(ForwardListener {
            address: address.clone(),
            sockets: Sockets::Unix {
                listener,
                _file: file,
            },
        }),
        Err(error) if io::Error::kind(&error) == io::ErrorKind::AddrInUse => {
            Err(ForwardListenError::PathTaken(address.clone()))
        }
        Err(error) => Err(ForwardListenError::Failed(address.to_string(), error)),
    }
}

/// Returns a path that leads to a name in its open directory, wherever that directory is by now.
#[cfg(target_os = "linux")]
fn path_in_folder(place: &LocalName) -> PathBuf {
    use std::os::fd::{AsFd as _, AsRawFd as _};

    let folder = place.folder.as_fd().as_raw_fd();
    Path::new("/proc/self/fd")
        .join(folder.to_string())
        .join(OsStr::from_bytes(&place.name))
}

/// Returns the path of a name. Other systems than Linux have no path for an open directory.
#[cfg(all(unix, not(target_os = "linux")))]
fn path_in_folder(place: &LocalName) -> PathBuf {
    place.path.clone()
}

/// File of a Unix socket. Dropping it removes the file, unless the file has been replaced.
#[cfg(unix)]
#[derive(Debug)]
struct SocketFile {
    place: LocalName,
    inode: u64,
}

#[cfg(unix)]
impl SocketFile {
    /// Returns the file which a socket was bound to.
    fn of(place: LocalName) -> io::Result<Self> {
        Ok(Self {
            inode: inode(&path_in_folder(&place))?,
            place,
        })
    }
}

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        let path = path_in_folder(&self.place);
        if inode(&path).is_ok_and(|inode| inode == self.inode) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Returns the inode of the file at `path`.
#[cfg(unix)]
fn inode(path: &Path) -> io::Result<u64> {
    Ok(std::os::unix::fs::MetadataExt::ino(
        &std::fs::symlink_metadata(path)?,
    ))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpStream, UnixStream},
    };

    use super::*;

    #[tokio::test]
    async fn a_free_port_is_open_on_loopback_only_and_takes_this_user() {
        let listener = ForwardListener::open_any(None).await.unwrap();
        let ListenAddress::Port(port) = *listener.address() else {
            panic!("a port");
        };

        for host in ["127.0.0.1", "::1"] {
            if host == "::1" && !has_loopback_six() {
                continue;
            }
            let mut client = TcpStream::connect((host, port.get())).await.unwrap();
            let mut accepted = listener.accept().await;
            assert!(accepted.is_ours().await);

            client.write_all(b"ping").await.unwrap();
            let mut bytes = [0; 4];
            accepted.read_exact(&mut bytes).await.unwrap();
            assert_eq!(&bytes, b"ping");

            accepted.reset();
            let error = client.read(&mut bytes).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }

        let again = ForwardListener::open(listener.address(), None)
            .await
            .unwrap_err();
        assert!(matches!(again, ForwardListenError::PortTaken(taken) if taken == port));
        let other = ForwardListener::open_any(Some(port)).await.unwrap();
        assert_ne!(other.address(), listener.address());
    }

    #[test]
    fn a_privileged_port_is_named() {
        let port = NonZeroU16::new(80).unwrap();
        let error = of_port(port, io::Error::from_raw_os_error(nix::libc::EACCES));
        assert_eq!(
            error.to_string(),
            "port 80 needs privileges on this machine"
        );
    }

    #[tokio::test]
    async fn a_socket_is_private_and_removed_but_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let address = ListenAddress::parse(path.to_str().unwrap()).unwrap();
        let listener = ForwardListener::open(&address, None).await.unwrap();

        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let _client = UnixStream::connect(&path).await.unwrap();
        assert!(listener.accept().await.is_ours().await);

        let again = ForwardListener::open(&address, None).await.unwrap_err();
        assert!(matches!(again, ForwardListenError::PathTaken(_)), "{again}");
        drop(listener);
        assert!(!path.exists());

        let listener = ForwardListener::open(&address, None).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "another's").unwrap();
        drop(listener);
        assert!(path.exists(), "the file of another is left alone");
    }
}
