//! A process with `--shared`: passes lines between its client and the daemon.

use std::{
    io,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    connect::{Stream, join},
    location::DaemonLocation,
    pending_requests::{Hello, PendingRequests, answers},
    start::DaemonStart,
};
use crate::mcp::{call::tool_error::ToolError, transport::overwriting::Overwriting};

/// How long the daemon may take to say its last words once the client is gone.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long a new daemon may take to answer the hello of a conversation that goes on.
const HELLO_LIMIT: Duration = Duration::from_secs(10);

/// Passes lines between this process's stdin and stdout and the daemon at `place` until stdin ends or `stop` is
/// cancelled. The daemon is started, if need be, when the client says something. Takes little more than a second to end.
pub async fn serve(place: DaemonLocation, start: DaemonStart, stop: CancellationToken) {
    let (stdin, stdout) = stdio_pipes();
    let client = Arc::new(ClientPipe {
        pending: Mutex::default(),
        output: Pipe::new(stdout),
        gone: stop,
    });

    let mut front = StdioProxy {
        place,
        start,
        client: Arc::clone(&client),
        link: None,
    };

    front.run(BufReader::new(Overwriting::new(stdin))).await;
    front.end().await;
}

/// The client, and what is on its way to and from it.
struct ClientPipe<W> {
    /// A plain mutex, held for look-ups and assignments only.
    pending: Mutex<PendingRequests>,
    /// Held while a line is written.
    output: Pipe<W>,
    gone: CancellationToken,
}

struct StdioProxy<W> {
    place: DaemonLocation,
    start: DaemonStart,
    client: Arc<ClientPipe<W>>,
    link: Option<Link>,
}

/// A conversation with one daemon.
struct Link {
    write: WriteHalf<Stream>,
    /// Ends with it.
    reading: JoinHandle<()>,
}

impl<W: AsyncWrite + Send + Unpin + 'static> StdioProxy<W> {
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

            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }

            if line.last() != Some(&b'\n') {
                line.push(b'\n');
            }

            tokio::select! {
                () = self.deliver(&line) => {}
                () = &mut gone => return,
            }
        }
    }

    /// Sends a line of the client. A daemon that is gone is replaced; one that goes before it has the whole line, once.
    async fn deliver(&mut self, line: &[u8]) {
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

            // Without its end the line means nothing to the daemon: it may be sent again.
            if !self.client.pending().take_back(line) {
                return;
            }

            if let Some(link) = self.link.take() {
                let _ = link.reading.await;
            }
        }
    }

    /// Begins the conversation with a daemon, anew if there was one before.
    async fn begin(&self, line: &[u8]) -> Result<Link, ToolError> {
        let hello = self.client.pending().hello(line);
        let stream = join(&self.place, &self.start)
            .await
            .map_err(|error| ToolError::from(&error))?;
        let (read, mut write) = split(stream);
        let mut read = BufReader::new(read);

        if let Some(hello) = hello {
            let said = timeout(HELLO_LIMIT, say(&hello, &mut read, &mut write)).await;
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
                self.place.log.display()
            ),
        );

        let reading = tokio::spawn(Arc::clone(&self.client).listen(read, lost));
        Ok(Link { write, reading })
    }

    async fn end(mut self) {
        self.client.gone.cancel();
        if let Some(mut link) = self.link.take() {
            let _ = link.write.shutdown().await;
            let _ = timeout(LAST_WORDS, link.reading).await;
        }
    }
}

impl<W: AsyncWrite + Send + Unpin> ClientPipe<W> {
    /// Passes on what a daemon says, until its end.
    async fn listen(self: Arc<Self>, mut read: BufReader<ReadHalf<Stream>>, lost: ToolError) {
        let mut line = Vec::new();
        while matches!(next(&mut read, &mut line).await, Ok(true)) {
            let passed = self.pending().inbound(&line).into_owned();
            self.write(&passed).await;
        }

        if self.gone.is_cancelled() {
            return;
        }

        let answers = self.pending().lost(&lost);
        for line in answers {
            self.write(&line).await;
        }
    }

    async fn write(&self, line: &[u8]) {
        let mut output = self.output.lock().await;
        if output.write_all(line).await.is_err() || output.flush().await.is_err() {
            self.gone.cancel();
        }
    }
}

impl<W> ClientPipe<W> {
    fn pending(&self) -> MutexGuard<'_, PendingRequests> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says what the client has said to an earlier daemon; the answer is one that the client has had.
async fn say(
    hello: &Hello,
    read: &mut BufReader<ReadHalf<Stream>>,
    write: &mut WriteHalf<Stream>,
) -> io::Result<()> {
    write.write_all(&hello.first).await?;
    let mut line = Vec::new();

    while next(read, &mut line).await? {
        if answers(&line, &hello.id) {
            return match &hello.second {
                Some(second) => write.write_all(second).await,
                None => Ok(()),
            };
        }
    }

    Err(io::ErrorKind::UnexpectedEof.into())
}

/// The next line of a client, with its end, and its length; 0 is the end of them all. A line that is longer than the daemon
/// would take is left out, as there: without an end it would fill the memory.
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

        if !ends && !skipping {
            tracing::error!("a message of more than {DEFAULT_MAX_LINE_LENGTH} bytes is left out");
        }

        skipping = !ends;
    }
}

/// The next whole line, with its end; `false`: there is none.
async fn next(read: &mut BufReader<ReadHalf<Stream>>, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    read.read_until(b'\n', line).await?;
    Ok(line.last() == Some(&b'\n'))
}
