//! HTTP/1.1 as bytes: a client that sends what it is told, right or wrong, and reads whatever comes back.

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_util::either::Either;

/// No answer of a test takes longer, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Waits, but not for ever.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("in time")
}

/// Where a daemon is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DaemonAddress {
    /// A port of 127.0.0.1.
    Tcp(u16),
    /// The path of a Unix socket.
    Socket(PathBuf),
}

impl DaemonAddress {
    /// The port; panics for a Unix socket.
    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Tcp(port) => *port,
            Self::Socket(path) => panic!("{} has no port", path.display()),
        }
    }

    /// A right `Host` header for it.
    pub(crate) fn host(&self) -> String {
        match self {
            Self::Tcp(port) => format!("127.0.0.1:{port}"),
            Self::Socket(_) => "localhost".to_owned(),
        }
    }
}

/// The text of a request with these headers, and no others but `Content-Length` where there is a body.
pub(crate) fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {target} HTTP/1.1\r\n");
    for (name, value) in headers {
        text.extend([*name, ": ", *value, "\r\n"]);
    }

    if !body.is_empty() {
        let _ = write!(text, "Content-Length: {}\r\n", body.len());
    }

    text + "\r\n" + body
}

/// The status, headers and body of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header, named in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(each, _)| each == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Sends one request over a connection of its own and reads the whole answer; `None` if the connection ends instead.
pub(crate) async fn ask(address: &DaemonAddress, request: impl AsRef<[u8]>) -> Option<Answer> {
    let mut wire = Wire::connect(address).await;
    wire.send(&request).await;

    // What is said of the body of an answer to HEAD is not there to read.
    if request.as_ref().starts_with(b"HEAD") {
        wire.head().await
    } else {
        wire.answer().await
    }
}

/// What is left of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    Bytes(usize),
    Chunks,
}

/// A connection.
pub(crate) struct Wire {
    stream: BufReader<Either<TcpStream, UnixStream>>,
    left: Left,
}

/// One server-sent event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) data: String,
    /// Whether it was a comment, which means nothing but that the stream lives.
    pub(crate) comment: bool,
}

impl Wire {
    pub(crate) async fn connect(address: &DaemonAddress) -> Self {
        let stream = match address {
            DaemonAddress::Tcp(port) => TcpStream::connect(("127.0.0.1", *port))
                .await
                .map(Either::Left),
            DaemonAddress::Socket(path) => UnixStream::connect(path).await.map(Either::Right),
        };

        let stream = BufReader::new(stream.unwrap_or_else(|error| panic!("{address:?}: {error}")));
        Self {
            stream,
            left: Left::Nothing,
        }
    }

    /// Sends bytes. A server that has heard enough may have hung up: what it said first is there to read.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = soon(self.stream.get_mut().write_all(bytes.as_ref())).await;
    }

    /// Ends this direction.
    pub(crate) async fn half_close(&mut self) {
        let _ = self.stream.get_mut().shutdown().await;
    }

    /// The next answer, whole; `None` if the connection ends without one.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let mut answer = self.head().await?;
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await {
            body.extend(chunk);
        }
        answer.body = String::from_utf8(body).expect("text");
        Some(answer)
    }

    /// The status and headers of the next answer; `None` if the connection ends without them.
    pub(crate) async fn head(&mut self) -> Option<Answer> {
        let first = self.line().await?;
        let status = first
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.split(' ').nth(1))
            .expect("a status line");

        let mut answer = Answer {
            status: status.parse().expect("a number"),
            headers: Vec::new(),
            body: String::new(),
        };

        loop {
            let line = self.line().await.expect("a whole head");
            let Some((name, value)) = line.split_once(':') else {
                break;
            };

            answer
                .headers
                .push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }

        self.left = if answer.header("transfer-encoding") == Some("chunked") {
            Left::Chunks
        } else {
            answer
                .header("content-length")
                .map_or(Left::Nothing, |length| {
                    Left::Bytes(length.parse().expect("a number"))
                })
        };

        Some(answer)
    }

    /// The next part of the body.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        match self.left {
            Left::Nothing => None,
            Left::Bytes(length) => {
                self.left = Left::Nothing;
                self.bytes(length).await
            }
            Left::Chunks => {
                let length = usize::from_str_radix(self.line().await?.as_str(), 16)
                    .expect("the size of a chunk");
                let bytes = self.bytes(length).await;
                self.line().await;

                if length == 0 {
                    self.left = Left::Nothing;
                    return None;
                }

                bytes
            }
        }
    }

    /// The next event of an event stream, each of which comes in a chunk of its own; `None` at its end.
    pub(crate) async fn event(&mut self) -> Option<Event> {
        let mut text = String::new();
        while !text.ends_with("\n\n") {
            text.push_str(&String::from_utf8(self.chunk().await?).expect("text"));
        }

        let mut event = Event {
            comment: text.starts_with(':'),
            ..Event::default()
        };

        for line in text.lines() {
            match line.split_once(':') {
                Some(("event", value)) => value.trim().clone_into(&mut event.name),
                Some(("id", value)) => value.trim().clone_into(&mut event.id),
                Some(("data", value)) => event.data.push_str(value.trim()),
                _ => {}
            }
        }

        Some(event)
    }

    /// The message of the stream that has this id; others are put into `others`. `None` if the stream ends before.
    pub(crate) async fn message(&mut self, id: u64, others: &mut Vec<Value>) -> Option<Value> {
        loop {
            let event = self.event().await?;
            if event.data.is_empty() {
                continue;
            }

            let message: Value = serde_json::from_str(&event.data).expect("JSON");
            if message["id"] == id {
                return Some(message);
            }

            others.push(message);
        }
    }

    /// Waits until the other end hangs up; what it still sends is left unread.
    pub(crate) async fn end(&mut self) {
        let mut rest = Vec::new();
        let _ = soon(self.stream.read_to_end(&mut rest)).await;
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match soon(self.stream.read_line(&mut line)).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
        }
    }

    async fn bytes(&mut self, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        soon(self.stream.read_exact(&mut bytes)).await.ok()?;
        Some(bytes)
    }
}
