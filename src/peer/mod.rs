//! The user at the other end of a connection from this machine.
//!
//! A peer is judged by its connection, never by its address: the process that sent the data may be
//! gone, and its port may belong to another process. So each look at the other end is followed by a
//! look at our own end, which must still be connected. As long as it is connected, the system gives
//! no other connection the same two addresses.

#[cfg(target_os = "linux")]
mod kernel;
#[cfg(all(unix, any(test, not(target_os = "linux"))))]
mod lsof;
pub(crate) mod own;

use std::{io, net::SocketAddr};

use tokio::net::TcpStream;
#[cfg(unix)]
use {
    nix::{ifaddrs::getifaddrs, unistd::geteuid},
    std::{net::IpAddr, sync::LazyLock},
};

/// True if systems of this kind tell whose a connection is. Elsewhere a token is needed.
pub(crate) const KNOWN_HERE: bool = cfg!(unix);

/// TCP connection of this process, distinct from any other, even from a later connection between
/// the same two addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerConnection {
    /// Address of our end.
    own: SocketAddr,
    /// Address of the other end.
    peer: SocketAddr,
    /// Identity of our end: the inode on Linux, the file descriptor on other systems.
    socket: u64,
}

impl PeerConnection {
    /// Returns the connection of `stream`, which has to stay open as long as questions about the
    /// connection are asked.
    ///
    /// # Errors
    /// The stream is not connected any more.
    pub(crate) fn of_stream(stream: &TcpStream) -> io::Result<Self> {
        let (own, peer) = (
            canonical(stream.local_addr()?),
            canonical(stream.peer_addr()?),
        );

        Ok(Self {
            own,
            peer,
            socket: identity(stream)?,
        })
    }

    /// Returns the address of the other end.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Returns true if a process of this user holds the other end and both ends are connected. A
    /// peer that has closed its socket, or is still connecting, holds nothing. Neither does a peer
    /// that sends no more (half-close), except on Linux. Returns false if the owner cannot be found
    /// out.
    pub(crate) async fn is_ours(self) -> bool {
        #[cfg(target_os = "linux")]
        return kernel::is_ours(self).await;
        #[cfg(all(unix, not(target_os = "linux")))]
        return lsof::is_ours(self).await;
        #[cfg(not(unix))]
        false
    }

    /// Returns true if the other end has an address of this machine, on loopback or not.
    #[cfg(unix)]
    pub(crate) fn is_local(&self) -> bool {
        let ip = self.peer.ip();
        ip.is_loopback() || ip == self.own.ip() || is_address_of_this_machine(ip)
    }

    /// Returns true if another user of this machine may hold the other end. Returns false where the
    /// system does not tell.
    pub(crate) async fn may_be_other_user(self) -> bool {
        #[cfg(unix)]
        return self.is_local() && !self.is_ours().await;
        #[cfg(not(unix))]
        false
    }
}

/// Returns true if a user id from the kernel is surely this user's.
#[cfg(unix)]
pub(crate) fn is_own_user(user: u32) -> bool {
    user == geteuid().as_raw() && *IS_UNMISTAKABLE
}

/// Tests whether this machine really tells whose a connection is. A sandbox may forbid the
/// questions.
#[cfg(target_os = "linux")]
pub(crate) async fn identifies_users() -> bool {
    let answer = async {
        let listener = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let client = TcpStream::connect(listener.local_addr()?).await?;
        loop {
            // Other processes may connect to this port, too.
            let (stream, peer) = listener.accept().await?;
            if peer == client.local_addr()? {
                return Ok::<_, io::Error>(PeerConnection::of_stream(&stream)?.is_ours().await);
            }
        }
    };

    answer.await.unwrap_or(false)
}

/// Returns true if systems of this kind tell whose a connection is.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unused_async, reason = "on Linux it waits")]
pub(crate) async fn identifies_users() -> bool {
    KNOWN_HERE
}

/// True if the kernel tells this user from all others. A user namespace shows every user without a
/// number there as the overflow user (`user_namespaces(7)`). This user may be shown in the same
/// way.
#[cfg(unix)]
static IS_UNMISTAKABLE: LazyLock<bool> = LazyLock::new(|| {
    if cfg!(not(target_os = "linux")) {
        return true;
    }
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let overflow = read("/proc/sys/kernel/overflowuid")
        .trim()
        .parse()
        .unwrap_or(65534);
    // Outside of user namespaces, every number stands for itself.
    let is_outside = || {
        read("/proc/self/uid_map")
            .split_whitespace()
            .eq(["0", "0", "4294967295"])
    };
    geteuid().as_raw() != overflow || is_outside()
});

/// Returns true for an address of this machine, and for any address if the system lists none.
#[cfg(unix)]
fn is_address_of_this_machine(ip: IpAddr) -> bool {
    let Ok(mut interfaces) = getifaddrs() else {
        return true;
    };

    interfaces.any(|interface| {
        interface.address.is_some_and(|address| {
            let four = address
                .as_sockaddr_in()
                .map(|address| IpAddr::from(address.ip()));

            let six = || {
                address
                    .as_sockaddr_in6()
                    .map(|address| IpAddr::from(address.ip()))
            };

            four.or_else(six) == Some(ip)
        })
    })
}

/// Returns the inode of the socket.
#[cfg(target_os = "linux")]
fn identity(stream: &TcpStream) -> io::Result<u64> {
    Ok(nix::sys::stat::fstat(stream)?.st_ino)
}

/// Returns the file descriptor of the socket.
#[cfg(all(unix, not(target_os = "linux")))]
fn identity(stream: &TcpStream) -> io::Result<u64> {
    u64::try_from(std::os::fd::AsRawFd::as_raw_fd(stream)).map_err(io::Error::other)
}

/// Returns 0, because nothing is asked about a socket on this system.
#[cfg(not(unix))]
fn identity(_: &TcpStream) -> io::Result<u64> {
    Ok(0)
}

/// Returns the same address, with IPv4 inside IPv6 written as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::time::Duration;

    use socket2::{Domain, SockRef, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;

    /// A listener in each family, and for IPv4 by way of IPv6.
    async fn listeners() -> Vec<TcpListener> {
        let mut listeners = Vec::new();
        for address in ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            listeners.extend(TcpListener::bind(address).await);
        }
        assert!(!listeners.is_empty());
        listeners
    }

    async fn accepted(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        (listener.accept().await.unwrap().0, client)
    }

    /// Starts a connection between two addresses, which lasts at most as long as the returned
    /// socket.
    fn connecting(from: SocketAddr, to: SocketAddr) -> Socket {
        let socket = Socket::new(Domain::for_address(from), Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&from.into()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&to.into());
        socket
    }

    #[tokio::test]
    async fn a_connection_of_this_process_is_ours_until_it_ends() {
        for listener in listeners().await {
            let (server, client) = accepted(&listener).await;
            let (theirs, ours) = (
                PeerConnection::of_stream(&server).unwrap(),
                PeerConnection::of_stream(&client).unwrap(),
            );

            assert!(theirs.is_ours().await && ours.is_ours().await, "{theirs:?}");
            assert!(theirs.is_local());
            let other_port = PeerConnection {
                peer: SocketAddr::new(theirs.peer.ip(), 1),
                ..theirs
            };

            assert!(!other_port.is_ours().await);
            drop(client);
            assert!(!theirs.is_ours().await, "{theirs:?}: closed");
        }
    }

    #[tokio::test]
    async fn the_next_owner_of_a_port_is_not_the_peer_that_has_left() {
        for listener in listeners().await {
            let (server, client) = accepted(&listener).await;
            let theirs = PeerConnection::of_stream(&server).unwrap();
            let port = client.local_addr().unwrap();
            SockRef::from(&client)
                .set_linger(Some(Duration::ZERO))
                .unwrap();

            drop(client);

            // The same two addresses, the same user, and both ends connected.
            let follower = connecting(port, listener.local_addr().unwrap());
            let (next, _) = listener.accept().await.unwrap();
            assert_eq!(next.peer_addr().unwrap().port(), port.port());
            let next = PeerConnection::of_stream(&next).unwrap();
            assert!(next.is_ours().await, "{next:?}");
            assert!(!theirs.is_ours().await, "{theirs:?}");
            assert!(PeerConnection::of_stream(&server).is_err(), "it is over");
            drop(follower);
        }
    }

    #[tokio::test]
    async fn a_peer_that_sends_no_more_is_ours_until_it_has_closed() {
        for listener in listeners().await {
            let (server, client) = accepted(&listener).await;
            SockRef::from(&client)
                .shutdown(std::net::Shutdown::Write)
                .unwrap();

            server.readable().await.unwrap();
            let connection = PeerConnection::of_stream(&server).unwrap();
            assert_eq!(connection.is_ours().await, cfg!(target_os = "linux"));
            drop(client);
            assert!(!connection.is_ours().await, "{connection:?}");
        }
    }

    #[tokio::test]
    async fn this_machine_tells_whose_a_connection_is() {
        assert!(identifies_users().await);
        assert!(is_own_user(geteuid().as_raw()));
        assert!(!is_own_user(geteuid().as_raw() + 1));
    }

    #[test]
    fn addresses_of_this_machine_are_known() {
        for (ip, is_own) in [
            ("127.0.0.1", true),
            ("192.0.2.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(
                is_address_of_this_machine(ip.parse().unwrap()),
                is_own,
                "{ip}"
            );
        }
    }
}
