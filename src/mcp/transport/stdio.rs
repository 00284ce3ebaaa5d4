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

use super::{handshake::FromHello, overwriting::Overwriting};
use crate::{mcp::server::SshServer, session::registry::SessionRegistry};

/// How long answers to calls that were stopped may take to be written once the client is gone.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Serves one client over this process's stdin and stdout until stdin ends or `stop` is cancelled, then stops what runs
/// and closes all connections. Takes less than a second to end.
pub async fn serve(registry: Arc<SessionRegistry>, stop: CancellationToken) {
    let (stdin, stdout) = stdio_pipes();
    serve_over(registry, stdin, stdout, stop).await;
}

/// The same over any two streams.
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

    let served = CancellationToken::new();

    let mut serving = {
        let (handler, until) = (SshServer::new(Arc::clone(&registry)), served.clone());
        tokio::spawn(async move {
            // Both failures mean that the client went away: before it said hello, or afterwards.
            let transport = FromHello::new(AsyncRwTransport::new_server(
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

    registry.shut_down().await;
    served.cancel();
    if !finished {
        let _ = timeout(LAST_WORDS, serving).await;
    }
}

/// Serves one client of several over a stream, until it ends or `stop` is cancelled; what runs for it is stopped then.
pub(super) async fn converse<S>(server: SshServer, stream: S, stop: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (input, output) = split(stream);
    let ended = stop.child_token();
    let input = UntilEnd {
        input,
        ended: ended.clone(),
    };

    let transport = FromHello::new(AsyncRwTransport::new_server(
        Overwriting::new(input),
        output,
    ));

    if let Ok(running) = server.serve_with_ct(transport, ended).await {
        let _ = running.waiting().await;
    }
}

/// Tells when the input has ended. rmcp waits for running calls then; here the end of input is what ends them.
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
