//! The owner of a TCP socket, according to the Linux kernel.

use std::{
    net::SocketAddr,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
};

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{
        AF_INET, AF_INET6, IPPROTO_TCP, TCP_CLOSE_WAIT, TCP_ESTABLISHED, TCP_FIN_WAIT1,
        TCP_FIN_WAIT2,
    },
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvfrom, send, socket,
};
use procfs::net::{TcpNetEntry, TcpState, tcp, tcp6};

use super::{PeerConnection, canonical, is_own_user};

/// Size limit of an answer about a socket, in bytes. Without extensions an answer takes a tenth.
const MAX_ANSWER_BYTES: usize = 1024;

/// True once the kernel has answered through netlink. From then on, a socket without an answer does
/// not exist.
static ANSWERS: AtomicBool = AtomicBool::new(false);

/// Socket in the tables of the kernel.
struct KernelSocket {
    /// True if the connection is open in at least one direction (half-close).
    is_connected: bool,
    /// Id of the user who owns the socket.
    user: u32,
    /// Inode of the socket. 0 if no process holds the socket.
    inode: u64,
}

/// Returns true if a process of this user holds the other end and both ends are connected, be it in
/// one direction.
pub(super) async fn is_ours(connection: PeerConnection) -> bool {
    let answer = netlink()
        .and_then(|netlink| judge(connection, |local, remote| ask(&netlink, local, remote)));
    if answer.is_some() || ANSWERS.load(Ordering::Relaxed) {
        return answer.unwrap_or(false);
    }

    // A sandbox may forbid netlink. Reading the whole tables takes milliseconds, so another thread
    // does it.
    let listed = tokio::task::spawn_blocking(move || judge(connection, listed)).await;
    listed.ok().flatten().unwrap_or(false)
}

/// Judges a connection by the sockets which `find` returns for a local and a remote address.
/// Returns `None` if `find` does not even return our own socket.
fn judge(
    connection: PeerConnection,
    find: impl Fn(SocketAddr, SocketAddr) -> Option<KernelSocket>,
) -> Option<bool> {
    let theirs = find(connection.peer, connection.own);

    // Our end is looked up last: if it is still connected, the socket found before is its other
    // end.
    let own = find(connection.own, connection.peer)?;
    let is_connected = own.is_connected && own.inode == connection.socket;
    let is_held =
        |theirs: KernelSocket| theirs.is_connected && theirs.inode != 0 && is_own_user(theirs.user);
    Some(is_connected && theirs.is_some_and(is_held))
}

/// Opens a netlink socket for questions to the kernel, which answers at once. Returns `None` if the
/// system forbids netlink.
fn netlink() -> Option<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        flags,
        SockProtocol::NetlinkSockDiag,
    )
    .ok()
}

/// Asks the kernel for the socket with exactly these addresses, by `sock_diag(7)`. The kernel finds
/// an IPv4 connection in sockets of both families.
fn ask(netlink: &OwnedFd, local: SocketAddr, remote: SocketAddr) -> Option<KernelSocket> {
    let request = InetRequest {
        family: if local.is_ipv4() { AF_INET } else { AF_INET6 },
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id: SocketId {
            source_port: local.port(),
            destination_port: remote.port(),
            source_address: local.ip(),
            destination_address: remote.ip(),
            interface_id: 0,
            // INET_DIAG_NOCOOKIE.
            cookie: [0xff; 8],
        },
    };

    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    send(netlink.as_raw_fd(), &bytes, MsgFlags::empty()).ok()?;

    let mut answer = [0; MAX_ANSWER_BYTES];
    let (length, sender) = recvfrom::<NetlinkAddr>(netlink.as_raw_fd(), &mut answer).ok()?;

    // Any process can send to a netlink socket; the port id 0 belongs to the kernel.
    sender.filter(|sender| sender.pid() == 0)?;
    let answer = NetlinkMessage::<SockDiagMessage>::deserialize(answer.get(..length)?).ok()?;
    let NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(found)) = answer.payload else {
        return None;
    };
    ANSWERS.store(true, Ordering::Relaxed);
    let (found, id) = (&found.header, &found.header.socket_id);
    let is_asked_for = canonical(SocketAddr::new(id.source_address, id.source_port)) == local
        // Without a connection, the kernel returns the listener at this address.
        && canonical(SocketAddr::new(id.destination_address, id.destination_port)) == remote;

    is_asked_for.then(|| KernelSocket {
        is_connected: matches!(
            found.state,
            TCP_ESTABLISHED | TCP_FIN_WAIT1 | TCP_FIN_WAIT2 | TCP_CLOSE_WAIT
        ),
        user: found.uid,
        inode: found.inode.into(),
    })
}

/// Searches the tables of all sockets, `/proc/net/tcp` and `tcp6` (`proc_pid_net(5)`), for the
/// socket with exactly these addresses.
fn listed(local: SocketAddr, remote: SocketAddr) -> Option<KernelSocket> {
    let is_asked_for = |row: &TcpNetEntry| {
        canonical(row.local_address) == local && canonical(row.remote_address) == remote
    };
    let four = || tcp().unwrap_or_default().into_iter().find(is_asked_for);

    // An IPv6 socket may hold an IPv4 connection.
    let six = || tcp6().unwrap_or_default().into_iter().find(is_asked_for);

    four().or_else(six).map(|row| KernelSocket {
        is_connected: matches!(
            row.state,
            TcpState::Established | TcpState::FinWait1 | TcpState::FinWait2 | TcpState::CloseWait
        ),
        user: row.uid,
        inode: row.inode,
    })
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, net::Shutdown, time::Duration};

    use nix::unistd::geteuid;
    use socket2::SockRef;
    use tokio::{
        net::{TcpListener, TcpStream},
        time::{sleep, timeout},
    };

    use super::*;

    #[test]
    fn both_ends_must_still_be_connected_after_the_lookup() {
        let (own, peer) = (
            SocketAddr::from(([127, 0, 0, 1], 1)),
            SocketAddr::from(([127, 0, 0, 1], 2)),
        );

        let connection = PeerConnection {
            own,
            peer,
            socket: 7,
        };

        let user = geteuid().as_raw();
        let (theirs, ours) = ((true, user, 8), (true, user, 7));

        for (theirs, ours, judged) in [
            (Some(theirs), Some(ours), Some(true)),
            // It is about to connect.
            (Some((false, user, 8)), Some(ours), Some(false)),
            // No process holds it any more.
            (Some((true, user, 0)), Some(ours), Some(false)),
            (Some((true, user + 1, 8)), Some(ours), Some(false)),
            (None, Some(ours), Some(false)),
            (Some(theirs), Some((false, user, 7)), Some(false)),
            // Another socket has our address by now.
            (Some(theirs), Some((true, user, 9)), Some(false)),
            (Some(theirs), None, None),
        ] {
            let answer = RefCell::new(Vec::new());

            let find = |local, remote| {
                answer.borrow_mut().push((local, remote));
                let found = if local == peer { theirs } else { ours };
                found.map(|(is_connected, user, inode)| KernelSocket {
                    is_connected,
                    user,
                    inode,
                })
            };

            assert_eq!(judge(connection, find), judged, "{theirs:?} {ours:?}");
            assert_eq!(answer.into_inner(), [(peer, own), (own, peer)]);
        }
    }

    #[tokio::test]
    async fn netlink_and_the_tables_of_proc_say_the_same() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            let Ok(listener) = TcpListener::bind(address).await else {
                continue;
            };

            let client = TcpStream::connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            let (server, _) = listener.accept().await.unwrap();
            let connection = PeerConnection::of_stream(&server).unwrap();
            let other = PeerConnection {
                socket: connection.socket + 1,
                ..connection
            };

            let netlink = netlink().unwrap();
            let answer = |local, remote| ask(&netlink, local, remote);
            for judged in [judge(connection, answer), judge(connection, listed)] {
                assert_eq!(judged, Some(true), "{address}");
            }

            for judged in [judge(other, answer), judge(other, listed)] {
                assert_eq!(
                    judged,
                    Some(false),
                    "{address}: another socket than the one at this address"
                );
            }

            SockRef::from(&client).shutdown(Shutdown::Write).unwrap();
            server.readable().await.unwrap();
            for judged in [judge(connection, answer), judge(connection, listed)] {
                assert_eq!(judged, Some(true), "{address}: the other end sends no more");
            }

            drop(client);
            let answers = || [judge(connection, answer), judge(connection, listed)];
            eventually(Some(false), answers).await;

            drop(server);
            eventually(None, answers).await;
        }
    }

    /// Waits for these answers. A program that another test starts at this moment holds the closed
    /// sockets for an instant.
    async fn eventually(expected: Option<bool>, answers: impl Fn() -> [Option<bool>; 2]) {
        let expected_by_both = async {
            while answers() != [expected; 2] {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(10), expected_by_both)
            .await
            .expect("the kernel forgets the socket");
    }
}
