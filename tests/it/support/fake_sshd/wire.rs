//! The proxy between the TCP stream and russh, where a connection stalls.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Bytes that may wait for the client. russh does not read while it writes, so that two russh peers that both have much
/// to say would wait for each other for ever; the channel windows of a test fit in here.
pub(super) const QUEUED_OUTPUT: usize = 64 << 20;

const CHUNK: usize = 64 << 10;

/// Copies both ways until russh has ended and its last bytes are sent, or the client is gone.
pub(super) async fn proxy(tcp: TcpStream, russh: DuplexStream, stalled: watch::Receiver<bool>) {
    let (tcp_read, tcp_write) = tcp.into_split();
    let (russh_read, russh_write) = tokio::io::split(russh);
    let outbound = copy(russh_read, tcp_write, stalled.clone());
    tokio::pin!(outbound);

    tokio::select! {
        () = &mut outbound => (),
        () = copy(tcp_read, russh_write, stalled) => outbound.await,
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut stalled: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        // After the read, so that the bytes of a read that was already waiting are held back as well.
        // An error means that the server was dropped, which aborts this task.
        if stalled.wait_for(|stalled| !stalled).await.is_err()
            || to.write_all(&buffer[..length]).await.is_err()
        {
            break;
        }
    }

    let _ = to.shutdown().await;
}
