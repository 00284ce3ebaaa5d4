//! Connections to addresses of this machine, for a host that was allowed to reach them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::local_stream::LocalStream;
use crate::{forward::address::ConnectAddress, peer::own};

/// Loopback addresses of this machine, in the order of the attempts.
const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];
/// Time limit of a connection, the look-up of the name included.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Reason why an address of this machine is not connected.
#[derive(Debug, thiserror::Error)]
pub enum LocalConnectError {
    /// This program itself listens there, and would take the connection for its user's.
    #[error("mcp-ssh-sessions itself listens there, which is never lent to a host")]
    Own,
    /// Nothing listens at the address.
    #[error("nothing answers there")]
    Refused,
    /// Nothing answers in time.
    #[error("nothing answers there within {CONNECT_LIMIT:?}")]
    Silent,
    /// The system reports another failure.
    #[error("{0}")]
    Failed(#[source] io::Error),
}

/// Connects to an address as this machine reaches it. A bare port is tried on 127.0.0.1, and then on
/// `::1`. A listener of this program is never connected.
///
/// `to` is never [`ConnectAddress::Socks`]: the address of the handshake is a host.
///
/// # Errors
/// Nothing answers there, or this program itself listens there.
pub async fn connect(to: &ConnectAddress) -> Result<LocalStream, LocalConnectError> {
    let connecting = async {
        match to {
            ConnectAddress::Port(port) => {
                let addresses = LOOPBACK.map(|ip| SocketAddr::new(ip, port.get()));
                connect_tcp(addresses).await
            }
            ConnectAddress::Host(to) => {
                let addresses = lookup_host((to.host.as_str(), to.port.get())).await;
                connect_tcp(addresses.map_err(LocalConnectError::Failed)?).await
            }
            #[cfg(unix)]
            ConnectAddress::Socket(path) => {
                let stream = UnixStream::connect(path).await.map_err(failed)?;
                if own::is_own_program(&stream) {
                    return Err(LocalConnectError::Own);
                }
                Ok(LocalStream::Unix(stream))
            }
            #[cfg(not(unix))]
            ConnectAddress::Socket(_) => Err(failed(io::ErrorKind::Unsupported.into())),
            ConnectAddress::Socks => Err(failed(io::ErrorKind::InvalidInput.into())),
        }
    };

    timeout(CONNECT_LIMIT, connecting)
        .await
        .unwrap_or(Err(LocalConnectError::Silent))
}

/// Returns true if this program itself listens at an address of this machine, so that
/// [`connect`] refuses.
pub async fn is_own(to: &ConnectAddress) -> bool {
    match to {
        ConnectAddress::Port(port) => own::is_own_port(port.get()),
        ConnectAddress::Host(to) => {
            let found = lookup_host((to.host.as_str(), to.port.get()));
            let found = timeout(CONNECT_LIMIT, found).await;
            found.is_ok_and(|found| {
                found.is_ok_and(|mut addresses| addresses.any(own::is_own_address))
            })
        }
        ConnectAddress::Socket(_) => matches!(connect(to).await, Err(LocalConnectError::Own)),
        ConnectAddress::Socks => false,
    }
}

/// Connects to the first address that answers. The error is that of the first address.
async fn connect_tcp(
    addresses: impl IntoIterator<Item = SocketAddr>,
) -> Result<LocalStream, LocalConnectError> {
    let mut first = None;

    for address in addresses {
        // Each address is checked: a name may lead anywhere, and elsewhere at the next look-up.
        let connected = if own::is_own_address(address) {
            Err(LocalConnectError::Own)
        } else {
            TcpStream::connect(address).await.map_err(failed)
        };

        match connected {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                return Ok(LocalStream::Tcp(stream));
            }
            Err(error) => first = first.or(Some(error)),
        }
    }

    Err(first.unwrap_or(LocalConnectError::Refused))
}

/// Returns the error for a failure of the system.
fn failed(error: io::Error) -> LocalConnectError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => LocalConnectError::Refused,
        io::ErrorKind::TimedOut => LocalConnectError::Silent,
        _ => LocalConnectError::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn error(to: &str) -> String {
        let to = ConnectAddress::parse(to).unwrap();
        connect(&to).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn ports_hosts_and_sockets_are_connected_unless_they_are_ours() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for to in [
            port.to_string(),
            format!("localhost:{port}"),
            format!("127.0.0.1:{port}"),
        ] {
            connect(&ConnectAddress::parse(&to).unwrap()).await.unwrap();
        }

        let own = own::OwnPort::new(port);
        for to in [
            port.to_string(),
            format!("localhost:{port}"),
            format!("0.0.0.0:{port}"),
            format!("[::ffff:127.0.0.1]:{port}"),
        ] {
            assert!(error(&to).await.contains("never lent"), "{to}");
            assert!(is_own(&ConnectAddress::parse(&to).unwrap()).await, "{to}");
        }
        drop(own);
        drop(listener);
        assert_eq!(error(&port.to_string()).await, "nothing answers there");
        assert!(error("7722").await.contains("never lent"));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_socket_of_this_process_is_not_connected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let to = path.to_str().unwrap();
        assert_eq!(error(to).await, "nothing answers there");

        let _listener = tokio::net::UnixListener::bind(&path).unwrap();
        assert!(error(to).await.contains("never lent"));
    }
}
