//! Moves files over the SFTP subsystem (draft-ietf-secsh-filexfer-02), many requests in flight.

#[expect(dead_code, reason = "the transfers move onto it next")]
mod client;
mod download;
mod error;
mod paths;
mod upload;

use std::{sync::Arc, time::Duration};

use russh::{Channel, ChannelMsg, client::Msg};
use russh_sftp::{
    client::{Config, RawSftpSession, error::Error, rawsession::Limits},
    protocol::{FileAttributes, Packet, StatusCode},
};
use tokio::time::timeout;

pub use self::error::TransferError;
use super::{
    bounds::Bounds,
    connection::Connection,
    pool::{Need, Place, Pool},
};

/// The most that is asked for in one request, in bytes: what OpenSSH's server answers in one packet.
const LARGEST_CHUNK: u32 = 255 * 1024;
/// The same for servers that do not announce their limits: what every server must support.
const SMALLEST_CHUNK: u32 = 32 * 1024;
/// Requests in flight. With [`LARGEST_CHUNK`] this fills a link of 100 MB/s at 40 ms, in 8 MiB of memory.
const IN_FLIGHT: usize = 32;
/// One request waits behind those before it; russh-sftp's default of 10 s is too short for a slow link.
const REQUEST_LIMIT: Duration = Duration::from_secs(300);

/// How long the server may take to say which SFTP it speaks. A startup file that prints text makes it never heard.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How long tidying up after a failure may take: the other side may not answer any more.
const TIDY_LIMIT: Duration = Duration::from_secs(5);

/// What was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transferred {
    /// The path at the destination, as it was resolved.
    pub to: String,
    /// Bytes of content.
    pub bytes: u64,
    /// From the call to the end.
    pub duration: Duration,
}

/// An SFTP session on a channel of its own.
struct Sftp {
    raw: RawSftpSession,
    read_chunk: u32,
    write_chunk: u32,
    posix_rename: bool,
    fsync: bool,
    /// After the session, whose end closes the channel.
    place: Place,
}

impl Pool {
    /// Starts SFTP on a channel of its own, unless the transfer has to be stopped by then.
    async fn open_sftp(self: &Arc<Self>, bounds: &Bounds) -> Result<Sftp, TransferError> {
        let (channel, place) = tokio::select! {
            biased;
            _ = bounds.reached(Duration::ZERO) => return Err(TransferError::Cancelled),
            opened = self.open_channel(Need::Work) => opened?,
        };
        let connection = Arc::clone(place.connection());
        connection.unless_stopped(bounds, connection.start_sftp(channel, place)).await
    }
}

impl Connection {
    async fn start_sftp(&self, mut channel: Channel<Msg>, place: Place) -> Result<Sftp, TransferError> {
        channel.request_subsystem(true, "sftp").await.map_err(|_| self.lost())?;
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => break,
                Some(ChannelMsg::Failure | ChannelMsg::Close) => {
                    let _ = channel.close().await;
                    return Err(TransferError::NoSftp);
                }
                Some(_) => {}
                None => return Err(self.lost().into()),
            }
        }
        let config =
            Config { request_timeout_secs: REQUEST_LIMIT.as_secs(), max_packet_len: 512 * 1024, ..Config::default() };
        let mut raw = RawSftpSession::new_with_config(channel.into_stream(), config);
        let version = match timeout(START_LIMIT, raw.init()).await {
            Ok(Ok(version)) => version,
            Ok(Err(_)) if self.is_closed() => return Err(self.lost().into()),
            Ok(Err(Error::Status(status))) => return Err(TransferError::Start(message(&Error::Status(status)))),
            Ok(Err(_)) => return Err(TransferError::Start("it ended at once".to_owned())),
            Err(_) => return Err(TransferError::Start(format!("no answer of SFTP's within {START_LIMIT:?}"))),
        };
        let offers = |name: &str| version.extensions.contains_key(name);
        let (mut read_chunk, mut write_chunk) = (SMALLEST_CHUNK, SMALLEST_CHUNK);
        if offers("limits@openssh.com")
            && let Ok(limits) = raw.limits().await
        {
            let bounded = |limit: u64| u32::try_from(limit).unwrap_or(LARGEST_CHUNK).clamp(1, LARGEST_CHUNK);
            let limits = Limits::from(limits);
            read_chunk = limits.read_len.map_or(read_chunk, bounded);
            write_chunk = limits.write_len.map_or(write_chunk, bounded);
            raw.set_limits(limits);
        }
        let (posix_rename, fsync) = (offers("posix-rename@openssh.com"), offers("fsync@openssh.com"));
        Ok(Sftp { raw, read_chunk, write_chunk, posix_rename, fsync, place })
    }

    /// Ends early when the caller gives up, the session is disconnected, the program ends or the connection does.
    async fn unless_stopped<T>(
        &self,
        bounds: &Bounds,
        work: impl Future<Output = Result<T, TransferError>>,
    ) -> Result<T, TransferError> {
        tokio::select! {
            biased;
            _ = bounds.reached(Duration::ZERO) => Err(TransferError::Cancelled),
            result = work => result,
            () = self.ended() => Err(self.lost().into()),
        }
    }

    /// The error of a request: of the connection if that is gone, else what the server said about this path.
    fn transfer_error(&self, doing: &'static str, path: &str, error: &Error) -> TransferError {
        if self.is_closed() {
            return self.lost().into();
        }
        TransferError::Remote { doing, path: path.to_owned(), message: message(error) }
    }
}

/// What a person reads of an SFTP error.
fn message(error: &Error) -> String {
    match error {
        Error::Status(status) => match status.status_code {
            StatusCode::NoSuchFile => "no such file or directory".to_owned(),
            StatusCode::PermissionDenied => "permission denied".to_owned(),
            _ => status.error_message.escape_debug().to_string(),
        },
        other => other.to_string(),
    }
}

/// What a path names. russh-sftp's own questions look at single bits of the type, and take a socket for a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    /// A regular file, or something of which the server does not say what it is.
    File,
    /// A device, socket or pipe.
    Special,
}

/// The type in the mode (`S_IFMT`).
fn kind(attributes: &FileAttributes) -> Kind {
    match attributes.permissions.unwrap_or(0) & 0o170_000 {
        0o040_000 => Kind::Directory,
        0o100_000 | 0 => Kind::File,
        _ => Kind::Special,
    }
}

impl Sftp {
    /// The attributes behind a path, links followed; `None` if there is nothing.
    async fn stat(&self, path: &str) -> Result<Option<FileAttributes>, Error> {
        match self.raw.stat(path).await {
            Ok(attributes) => Ok(Some(attributes.attrs)),
            Err(Error::Status(status)) if status.status_code == StatusCode::NoSuchFile => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The path that links lead to, as the server spells it.
    async fn real_path(&self, path: &str) -> Option<String> {
        self.raw.realpath(path).await.ok()?.files.into_iter().next().map(|file| file.filename)
    }

    /// Renames over whatever is there: in one step where the server can, else the old file steps aside first and comes
    /// back if the new one cannot take its place.
    async fn replace(&self, from: &str, to: &str) -> Result<(), Error> {
        if self.posix_rename {
            let mut request = Vec::with_capacity(from.len() + to.len() + 8);
            for path in [from, to] {
                request.extend_from_slice(&u32::try_from(path.len()).unwrap_or(u32::MAX).to_be_bytes());
                request.extend_from_slice(path.as_bytes());
            }
            return match self.raw.extended("posix-rename@openssh.com", request).await? {
                Packet::Status(status) if status.status_code == StatusCode::Ok => Ok(()),
                Packet::Status(status) => Err(status.into()),
                _ => Err(Error::UnexpectedPacket),
            };
        }
        let Err(refused) = self.raw.rename(from, to).await else { return Ok(()) };
        let aside = format!("{from}.old");
        if self.raw.rename(to, aside.as_str()).await.is_err() {
            return Err(refused);
        }
        if let Err(error) = self.raw.rename(from, to).await {
            let _ = self.raw.rename(aside.as_str(), to).await;
            return Err(error);
        }
        let _ = self.raw.remove(aside.as_str()).await;
        Ok(())
    }
}
