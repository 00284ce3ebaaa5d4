//! Which user is at the other end of a loopback connection.

use std::net::SocketAddr;

/// Whether this system tells whose a loopback connection is. Where it does not, a token is needed.
pub(in crate::mcp) const KNOWN_HERE: bool = cfg!(unix);

/// Whether a process of this user holds the other end of the loopback connection between these two addresses of ours
/// and its. What cannot be found out is not ours.
pub(in crate::mcp) async fn is_ours(own: SocketAddr, peer: SocketAddr) -> bool {
    let (own, peer) = (canonical(own), canonical(peer));
    peer.ip().is_loopback() && found(own, peer).await
}

/// The same address, whether it was written as IPv4 or as IPv4 in IPv6.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// From the kernel's tables of sockets, `/proc/net/tcp` and `tcp6` (proc(5)).
#[cfg(target_os = "linux")]
async fn found(own: SocketAddr, peer: SocketAddr) -> bool {
    tokio::task::spawn_blocking(move || {
        let user = nix::unistd::geteuid().as_raw();
        let four = procfs::net::tcp().unwrap_or_default();
        // An IPv6 socket may hold an IPv4 connection.
        let six = || procfs::net::tcp6().unwrap_or_default();
        let theirs = |row: &procfs::net::TcpNetEntry| {
            canonical(row.local_address) == peer && canonical(row.remote_address) == own
        };
        let row = four.into_iter().find(theirs).or_else(|| six().into_iter().find(theirs));
        // A socket that no process holds any more has no inode, and shows as root's.
        row.is_some_and(|row| row.inode != 0 && row.uid == user)
    })
    .await
    .unwrap_or(false)
}

/// From `lsof`, which macOS and the BSDs have: it lists the connections of this user's processes.
#[cfg(all(unix, not(target_os = "linux")))]
async fn found(own: SocketAddr, peer: SocketAddr) -> bool {
    let user = nix::unistd::geteuid().as_raw().to_string();
    let lsof = if std::path::Path::new("/usr/sbin/lsof").exists() { "/usr/sbin/lsof" } else { "lsof" };
    let asked = tokio::process::Command::new(lsof)
        .args(["-nP", "-a", "-u", &user, &format!("-iTCP@{peer}"), "-Fn"])
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let listed = tokio::time::timeout(std::time::Duration::from_secs(5), asked).await;
    matches!(listed, Ok(Ok(output)) if is_listed(&String::from_utf8_lossy(&output.stdout), own, peer))
}

#[cfg(not(unix))]
async fn found(_: SocketAddr, _: SocketAddr) -> bool {
    false
}

/// Whether the output of `lsof -Fn` has the peer's end of the connection.
#[cfg(any(test, all(unix, not(target_os = "linux"))))]
fn is_listed(output: &str, own: SocketAddr, peer: SocketAddr) -> bool {
    output.lines().any(|line| line.strip_prefix('n') == Some(&format!("{peer}->{own}")))
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_connection_of_this_process_is_ours_in_both_families_and_ends_being_so() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            let Ok(listener) = TcpListener::bind(address).await else { continue };
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (server, peer) = listener.accept().await.unwrap();
            let own = server.local_addr().unwrap();
            assert!(is_ours(own, peer).await, "{address}");
            assert!(!is_ours(peer, SocketAddr::new(own.ip(), 1)).await);
            drop(client);
            assert!(!is_ours(own, peer).await, "{address}: closed");
        }
    }

    #[test]
    fn lsof_lists_the_peers_end_and_not_only_our_own() {
        let (own, peer) = ("127.0.0.1:7722".parse().unwrap(), "127.0.0.1:50112".parse().unwrap());
        let ours = "p10\nf9\nn127.0.0.1:7722->127.0.0.1:50112\n";
        assert!(!is_listed(ours, own, peer));
        assert!(is_listed(&format!("{ours}p12\nf5\nn127.0.0.1:50112->127.0.0.1:7722\n"), own, peer));
        assert!(!is_listed("n127.0.0.1:50112->127.0.0.1:77221\n", own, peer));
    }
}
