//! The owner of a TCP socket, according to `lsof` on macOS and the BSDs. `lsof` lists the
//! connections of this user's processes.

use std::{
    path::Path,
    process::{self, Stdio},
    sync::Arc,
    time::Duration,
};

use nix::unistd::geteuid;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::PeerConnection;
use crate::child;

/// Time limit for making a list.
const LIMIT: Duration = Duration::from_secs(5);

/// Latest list, and the time when `lsof` was started for the list. All who wait share the list, so
/// at most one `lsof` runs.
static LATEST: Mutex<Option<(Instant, Arc<str>)>> = Mutex::const_new(None);

/// Returns true if a process of this user holds the other end and both ends are connected.
pub(super) async fn is_ours(connection: PeerConnection) -> bool {
    let theirs = list().await;
    if !has_theirs(&theirs, connection) {
        return false;
    }
    // Our end is looked up last: if it is still connected, the peer listed before is its other end.
    has_own(&list().await, connection, process::id())
}

/// Returns the established connections of this user's processes, in the format of `lsof -F pfn`.
/// Each process has a line, followed by two lines for each of its connections. `lsof` is started
/// after the call of this function.
async fn list() -> Arc<str> {
    let waiting_since = Instant::now();
    let mut latest = LATEST.lock().await;
    // An older list may lack a connection that was made since.
    if let Some((_, list)) = latest
        .as_ref()
        .filter(|(list_started, _)| *list_started > waiting_since)
    {
        return Arc::clone(list);
    }

    let list_started = Instant::now();
    // A daemon may run with a `PATH` that lacks /usr/sbin.
    let program = if Path::new("/usr/sbin/lsof").exists() {
        "/usr/sbin/lsof"
    } else {
        "lsof"
    };

    let user = geteuid().as_raw().to_string();

    // `-n` and `-P` keep addresses numeric, and `-a` demands all conditions together.
    let listing = child::command(program)
        .args([
            "-nPw",
            "-a",
            "-u",
            &user,
            "-iTCP",
            "-sTCP:ESTABLISHED",
            "-Fpfn",
        ])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();

    // A list that cannot be made is empty, so that no peer is taken for this user.
    let listed = timeout(LIMIT, listing).await.ok().and_then(Result::ok);
    let list: Arc<str> = listed
        .map(|output| String::from_utf8_lossy(&output.stdout).into())
        .unwrap_or_default();
    *latest = Some((list_started, Arc::clone(&list)));

    list
}

/// Returns true if the list contains the other end of the connection.
fn has_theirs(list: &str, connection: PeerConnection) -> bool {
    let name = format!("n{}->{}", connection.peer, connection.own);
    list.lines().any(|line| line == name)
}

/// Returns true if the list contains our own end of the connection, held by this process.
fn has_own(list: &str, connection: PeerConnection, process: u32) -> bool {
    let process = format!("p{process}");
    let end = format!(
        "f{}\nn{}->{}\n",
        connection.socket, connection.own, connection.peer
    );

    let (mut current, mut rest) = ("", list);

    // A file descriptor belongs to the process whose line came last.
    while let Some((line, after)) = rest.split_once('\n') {
        if line.starts_with('p') {
            current = line;
        }

        if current == process && rest.starts_with(&end) {
            return true;
        }

        rest = after;
    }

    false
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_list_has_the_peers_end_and_that_very_own_one() {
        let (own, peer) = (
            "127.0.0.1:7722".parse().unwrap(),
            "127.0.0.1:50112".parse().unwrap(),
        );

        let connection = PeerConnection {
            own,
            peer,
            socket: 9,
        };

        let ours =
            "p10\nf8\nn127.0.0.1:7722->127.0.0.1:50111\nf9\nn127.0.0.1:7722->127.0.0.1:50112\n";
        let theirs = "p12\nf5\nn127.0.0.1:50112->127.0.0.1:7722\n";
        assert!(
            !has_theirs(ours, connection) && has_theirs(&format!("{ours}{theirs}"), connection)
        );

        assert!(!has_theirs(
            "n127.0.0.1:50112->127.0.0.1:77221\n",
            connection
        ));

        assert!(has_own(&format!("{theirs}{ours}"), connection, 10));
        assert!(!has_own(ours, connection, 1) && !has_own(ours, connection, 12));

        assert!(!has_own(
            &format!("{ours}{theirs}"),
            PeerConnection {
                socket: 5,
                ..connection
            },
            12
        ));

        assert!(!has_own(
            ours,
            PeerConnection {
                socket: 8,
                ..connection
            },
            10
        ));

        assert!(!has_own("", connection, 10));
    }

    /// Runs on every system which has `lsof`.
    #[tokio::test]
    async fn a_connection_of_this_process_is_listed_until_it_is_closed() {
        if process::Command::new("lsof").arg("-v").output().is_err() {
            return;
        }

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let socket = u64::try_from(server.as_raw_fd()).unwrap();
        let connection = PeerConnection {
            socket,
            ..PeerConnection::of_stream(&server).unwrap()
        };

        assert!(is_ours(connection).await);
        let other = u64::try_from(client.as_raw_fd()).unwrap();

        assert!(
            !is_ours(PeerConnection {
                socket: other,
                ..connection
            })
            .await,
            "another socket than that at this address"
        );

        drop(client);
        assert!(!is_ours(connection).await, "the other end is closed");
    }
}
