//! MCP over standard input and output.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rmcp::{
    ServiceExt as _,
    transport::{async_rw::AsyncRwTransport, stdio_pipes},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, split},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{handshake::FromHandshake, overwriting::Overwriting};
use crate::{mcp::server::SshServer, session::registry::SessionRegistry};

/// Time limit for writing the answers to stopped calls after the client is gone.
const DRAIN_LIMIT: Duration = Duration::from_millis(100);

/// Serves a single client over this process's stdin and stdout until stdin ends or `stop` is
/// cancelled. Then stops all commands and closes all SSH connections, which takes less than a
/// second.
pub async fn serve(registry: Arc<SessionRegistry>, stop: CancellationToken) {
    let (stdin, stdout) = stdio_pipes();
    serve_over(registry, stdin, stdout, stop).await;
}

/// Serves a single client over any two streams until `input` ends or `stop` is cancelled. Then
/// stops all commands and closes all SSH connections.
pub async fn serve_over<R, W>(
    registry: Arc<SessionRegistry>,
    input: R,
    output: W,
    stop: CancellationToken,
) where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let ended = CancellationToken::new();
    let input = UntilEnd {
        input,
        ended: ended.clone(),
    };

    let stop_serving = CancellationToken::new();

    let mut serving = {
        let (handler, until) = (SshServer::new(Arc::clone(&registry)), stop_serving.clone());
        tokio::spawn(async move {
            // Both failures mean that the client went away, before its handshake or afterwards.
            let transport = FromHandshake::new(AsyncRwTransport::new_server(
                Overwriting::new(input),
                output,
            ));

            if let Ok(running) = handler.serve_with_ct(transport, until).await {
                let _ = running.waiting().await;
            }
        })
    };

    let finished = tokio::select! {
        () = ended.cancelled() => false,
        () = stop.cancelled() => false,
        _ = &mut serving => true,
    };

    // Commands are stopped before the server, so that their calls can still be answered.
    registry.shut_down().await;
    stop_serving.cancel();
    if !finished {
        let _ = timeout(DRAIN_LIMIT, serving).await;
    }
}

/// Serves a client of the shared daemon over a stream until the stream ends or `stop` is cancelled.
/// The client's running calls are stopped then. Sessions stay, as other clients may use them.
pub(super) async fn serve_stream<S>(server: SshServer, stream: S, stop: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    // A child token, because the end of this client must not end the other clients.
    let (input, output) = split(stream);
    let ended = stop.child_token();
    let input = UntilEnd {
        input,
        ended: ended.clone(),
    };

    let transport = FromHandshake::new(AsyncRwTransport::new_server(
        Overwriting::new(input),
        output,
    ));

    if let Ok(running) = server.serve_with_ct(transport, ended).await {
        let _ = running.waiting().await;
    }
}

/// Reader which cancels `ended` at the end of the input. rmcp would wait for running calls then;
/// here the end of the input stops them.
struct UntilEnd<R> {
    input: R,
    ended: CancellationToken,
}

impl<R: AsyncRead + Unpin> AsyncRead for UntilEnd<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.input).poll_read(cx, into);
        if matches!(&polled, Poll::Ready(result) if result.is_err() || into.filled().len() == before)
        {
            self.ended.cancel();
        }
        polled
    }
}
