//! Moves bytes between a channel and what serves it, and ends the channel as sshd does.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use russh::server::{Handle, Msg};
use russh::{ChannelWriteHalf, Disconnect, Sig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::process::Child;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// `SSH_EXTENDED_DATA_STDERR` (RFC 4254 section 5.2).
const STDERR: u32 = 1;

/// What the client sends on a channel.
pub(super) enum Input {
    Data(Vec<u8>),
    Eof,
}

/// The server's end of an open channel.
pub(super) struct ChannelEnd {
    pub(super) session: Handle,
    pub(super) output: ChannelWriteHalf<Msg>,
    pub(super) input: UnboundedReceiver<Input>,
    /// Ends when the client has closed the channel or is gone.
    pub(super) closed: oneshot::Receiver<()>,
    /// Whether the connection ends with the channel.
    pub(super) ends_connection: bool,
    /// The place among the `max_sessions`.
    pub(super) slot: Option<OwnedSemaphorePermit>,
}

/// Serves the channel with a process: its exit status is sent when it ends, EOF when its outputs have ended, and the
/// channel is closed after both. A client that closes first takes the pipes away, not the process.
pub(super) async fn process(mut end: ChannelEnd, mut child: Child) {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
        return;
    };
    let (session, output) = (&end.session, &end.output);

    let relayed = async {
        tokio::join!(
            send(stdout, output, None),
            send(stderr, output, Some(STDERR))
        );
        let _ = session.eof(output.id()).await;
    };

    let exited = async {
        if let Ok(status) = child.wait().await {
            report(status, end.session.clone(), output.id()).await;
        }
    };

    tokio::select! {
        ((), ()) = async { tokio::join!(relayed, exited) } => (),
        () = feed(&mut end.input, stdin) => (),
        _ = &mut end.closed => (),
    }

    close(end).await;

    // Reaped here, however long it goes on.
    let _ = child.wait().await;
}

/// Serves the channel with a stream; `exit_status` is sent once it has ended.
pub(super) async fn stream(
    mut end: ChannelEnd,
    stream: impl AsyncRead + AsyncWrite,
    exit_status: Option<u32>,
) {
    let (read, write) = tokio::io::split(stream);
    let (session, output) = (&end.session, &end.output);

    let relayed = async {
        send(read, output, None).await;
        let _ = session.eof(output.id()).await;
        if let Some(status) = exit_status {
            let _ = session.exit_status_request(output.id(), status).await;
        }
    };

    tokio::pin!(write);
    tokio::select! {
        () = relayed => (),
        () = feed(&mut end.input, write) => (),
        _ = &mut end.closed => (),
    }

    close(end).await;
}

/// The place is free before the client learns of the end: it may open the next channel at once.
async fn close(mut end: ChannelEnd) {
    drop(end.slot.take());
    let _ = end.session.close(end.output.id()).await;
    if end.ends_connection {
        let _ = end
            .session
            .disconnect(Disconnect::ByApplication, String::new(), String::new())
            .await;
    }
}

/// Writes what the client sends, until the channel is closed; after EOF, or when nobody reads, it discards.
async fn feed(input: &mut UnboundedReceiver<Input>, to: impl AsyncWrite + Unpin) {
    let mut to = Some(to);
    while let Some(message) = input.recv().await {
        let open = match (&mut to, message) {
            (Some(to), Input::Data(bytes)) => {
                to.write_all(&bytes).await.is_ok() && to.flush().await.is_ok()
            }
            (Some(to), Input::Eof) => {
                let _ = to.shutdown().await;
                false
            }
            (None, _) => false,
        };

        if !open {
            to = None;
        }
    }
}

/// Sends what `from` yields, within the client's window.
async fn send(from: impl AsyncRead, output: &ChannelWriteHalf<Msg>, extended: Option<u32>) {
    let from = tokio::io::BufReader::with_capacity(32 << 10, from);
    tokio::pin!(from);
    let _ = tokio::io::copy_buf(&mut from, &mut output.make_writer_ext(extended)).await;
}

async fn report(status: ExitStatus, session: Handle, channel: russh::ChannelId) {
    let _ = match status.signal() {
        Some(signal) => {
            let name = signal_name(signal);
            session
                .exit_signal_request(
                    channel,
                    name,
                    status.core_dumped(),
                    String::new(),
                    String::new(),
                )
                .await
        }
        None => {
            session
                .exit_status_request(channel, status.code().unwrap_or_default().cast_unsigned())
                .await
        }
    };
}

/// RFC 4254 section 6.10; the numbers are those that Linux and macOS share.
fn signal_name(number: i32) -> Sig {
    match number {
        1 => Sig::HUP,
        2 => Sig::INT,
        3 => Sig::QUIT,
        4 => Sig::ILL,
        6 => Sig::ABRT,
        8 => Sig::FPE,
        9 => Sig::KILL,
        11 => Sig::SEGV,
        13 => Sig::PIPE,
        14 => Sig::ALRM,
        15 => Sig::TERM,
        10 if cfg!(target_os = "linux") => Sig::USR1,
        12 if cfg!(target_os = "linux") => Sig::Custom("USR2".to_owned()),
        30 if cfg!(target_os = "macos") => Sig::USR1,
        31 if cfg!(target_os = "macos") => Sig::Custom("USR2".to_owned()),
        _ => Sig::Custom("SIG@openssh.com".to_owned()),
    }
}
