//! The stdio proxy: a process with `--shared`, which passes lines between its client and the
//! daemon.

use std::{
    io,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use rmcp::transport::{async_rw::DEFAULT_MAX_LINE_LENGTH, stdio_pipes};
use tokio::{
    io::{
        AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite,
        AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf, split,
    },
    sync::Mutex as Pipe,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    connect::{Stream, connect},
    location::DaemonLocation,
    pending_requests::{Handshake, PendingRequests, answers},
    start::DaemonStart,
};
use crate::{
    lock::lock,
    mcp::{call::tool_error::ToolError, transport::overwriting::Overwriting},
};

/// Time limit for the last lines of the daemon after the client is gone.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);
/// Time limit for a new daemon to answer the `initialize` of a conversation which goes on.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Passes lines between this process's stdin and stdout and the daemon at `location`. Ends when stdin
/// ends or `stop` is cancelled, which takes little more than a second. The daemon is started on
/// demand, when the client sends a line.
pub async fn serve(location: DaemonLocation, start: DaemonStart, stop: CancellationToken) {
    let (stdin, stdout) = stdio_pipes();
    let client = Arc::new(ClientPipe {
        pending: Mutex::default(),
        output: Pipe::new(stdout),
        gone: stop,
    });

    let mut proxy = StdioProxy {
        location,
        start,
        client: Arc::clone(&client),
        link: None,
    };

    proxy.run(BufReader::new(Overwriting::new(stdin))).await;
    proxy.end().await;
}

/// Output to the client, and the open requests in both directions.
struct ClientPipe<W> {
    /// Open requests. The lock is held for look-ups and assignments only.
    pending: Mutex<PendingRequests>,
    /// Stream to the client, locked while a line is written.
    output: Pipe<W>,
    /// Token which is cancelled when the client is gone or the proxy has to end.
    gone: CancellationToken,
}

/// Proxy between a client and the shared daemon. A daemon that ends is replaced when the client
/// sends the next line.
struct StdioProxy<W> {
    location: DaemonLocation,
    start: DaemonStart,
    client: Arc<ClientPipe<W>>,
    /// Conversation with the present daemon. `None` before the first line, and after a failure.
    link: Option<Link>,
}

/// Conversation with a single daemon.
struct Link {
    write: WriteHalf<Stream>,
    /// Task which passes on the lines of the daemon, and ends with the conversation.
    reading: JoinHandle<()>,
}

impl<W: AsyncWrite + Send + Unpin + 'static> StdioProxy<W> {
    /// Passes on the lines of the client until the input ends or the client is gone.
    async fn run(&mut self, mut input: BufReader<impl AsyncRead + Unpin>) {
        let gone = self.client.gone.clone();
        let mut gone = pin!(gone.cancelled());
        let mut line = Vec::new();

        loop {
            let read = tokio::select! {
                read = whole_line(&mut input, &mut line) => read,
                () = &mut gone => return,
            };

            if !matches!(read, Ok(length) if length > 0) {
                return;
            }

            // `Overwriting` adds blank lines, which are not meant for the daemon.
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }

            // The daemon would wait for the end of a last line without a line feed.
            if line.last() != Some(&b'\n') {
                line.push(b'\n');
            }

            tokio::select! {
                () = self.deliver(&line) => {}
                () = &mut gone => return,
            }
        }
    }

    /// Sends a line of the client to the daemon, which is started if none is connected. If the
    /// daemon ends before the whole line is sent, the line goes to a new daemon, once.
    async fn deliver(&mut self, line: &[u8]) {
        // Two attempts, because the daemon may be ending while the line is sent.
        for _ in 0..2 {
            if self
                .link
                .as_ref()
                .is_none_or(|link| link.reading.is_finished())
            {
                match self.begin(line).await {
                    Ok(joined) => self.link = Some(joined),
                    Err(error) => {
                        tracing::error!("{}", error.message);
                        if let Some(refusal) = PendingRequests::refusal(line, &error) {
                            self.client.write(&refusal).await;
                        }

                        return;
                    }
                }
            }

            let Some(daemon) = &mut self.link else { return };
            let sent = self
                .client
                .pending()
                .outbound(line)
                .map(std::borrow::Cow::into_owned);

            let Some(sent) = sent else { return };
            if daemon.write.write_all(&sent).await.is_ok() {
                return;
            }

            // A daemon ignores a line without its end, so the line may be sent again.
            if !self.client.pending().take_back(line) {
                return;
            }

            // The reading task has to note the loss before a new conversation begins.
            if let Some(link) = self.link.take() {
                let _ = link.reading.await;
            }
        }
    }

    /// Joins a daemon and begins the conversation, again if there was a daemon before.
    ///
    /// # Errors
    /// No daemon can be joined, or the daemon does not take up the conversation.
    async fn begin(&self, line: &[u8]) -> Result<Link, ToolError> {
        let handshake = self.client.pending().handshake(line);
        let stream = connect(&self.location, &self.start)
            .await
            .map_err(|error| ToolError::from(&error))?;
        let (read, mut write) = split(stream);
        let mut read = BufReader::new(read);

        // For the client the conversation goes on, so it does not send `initialize` again.
        if let Some(handshake) = handshake {
            let said = timeout(HANDSHAKE_LIMIT, say(&handshake, &mut read, &mut write)).await;
            if !matches!(said, Ok(Ok(()))) {
                return Err(ToolError::new(
                    "the shared daemon does not go on with this conversation",
                    "call again",
                ));
            }
        }

        let lost = ToolError::new(
            "the shared daemon ended while this call ran; its connections, shells and jobs went with it",
            format!(
                "the next call starts a new one, and sessions connect by themselves; look what a command has done before \
                 you run it again. What the daemon said is in {}",
                self.location.log.display()
            ),
        );

        let reading = tokio::spawn(Arc::clone(&self.client).listen(read, lost));
        Ok(Link { write, reading })
    }

    /// Ends the conversation, and waits a moment for the last lines of the daemon.
    async fn end(mut self) {
        self.client.gone.cancel();
        if let Some(mut link) = self.link.take() {
            let _ = link.write.shutdown().await;
            let _ = timeout(DRAIN_LIMIT, link.reading).await;
        }
    }
}

impl<W: AsyncWrite + Send + Unpin> ClientPipe<W> {
    /// Passes on the lines of the daemon until the daemon ends. Then answers the open calls with
    /// `lost`.
    async fn listen(self: Arc<Self>, mut read: BufReader<ReadHalf<Stream>>, lost: ToolError) {
        let mut line = Vec::new();
        while matches!(next(&mut read, &mut line).await, Ok(true)) {
            let passed = self.pending().inbound(&line).into_owned();
            self.write(&passed).await;
        }

        // Without a client nobody waits for answers.
        if self.gone.is_cancelled() {
            return;
        }

        let answers = self.pending().lost(&lost);
        for line in answers {
            self.write(&line).await;
        }
    }

    /// Writes a line to the client. After a failure the client counts as gone.
    async fn write(&self, line: &[u8]) {
        let mut output = self.output.lock().await;
        if output.write_all(line).await.is_err() || output.flush().await.is_err() {
            self.gone.cancel();
        }
    }
}

impl<W> ClientPipe<W> {
    fn pending(&self) -> MutexGuard<'_, PendingRequests> {
        lock(&self.pending)
    }
}

/// Repeats to a new daemon the lines with which the client began. The answer is dropped, because
/// the client has got it from an earlier daemon.
async fn say(
    handshake: &Handshake,
    read: &mut BufReader<ReadHalf<Stream>>,
    write: &mut WriteHalf<Stream>,
) -> io::Result<()> {
    write.write_all(&handshake.first).await?;
    let mut line = Vec::new();

    while next(read, &mut line).await? {
        if answers(&line, &handshake.id) {
            return match &handshake.second {
                Some(second) => write.write_all(second).await,
                None => Ok(()),
            };
        }
    }

    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Reads the next line of the client, including the line feed. Returns the length, which is 0 at
/// the end of the input. Lines longer than the daemon accepts are left out, as a line without an
/// end would fill the memory.
async fn whole_line(
    input: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> io::Result<usize> {
    let mut skipping = false;
    loop {
        line.clear();
        let length = input
            .take(DEFAULT_MAX_LINE_LENGTH as u64)
            .read_until(b'\n', line)
            .await?;

        let ends = length < DEFAULT_MAX_LINE_LENGTH || line.last() == Some(&b'\n');
        if ends && (!skipping || length == 0) {
            return Ok(length);
        }

        // The pieces of a long line make a single entry in the log.
        if !ends && !skipping {
            tracing::error!("a message of more than {DEFAULT_MAX_LINE_LENGTH} bytes is left out");
        }

        skipping = !ends;
    }
}

/// Reads the next whole line of the daemon, including the line feed. Returns `false` at the end.
async fn next(read: &mut BufReader<ReadHalf<Stream>>, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    read.read_until(b'\n', line).await?;
    Ok(line.last() == Some(&b'\n'))
}
