//! A forwarded port of a session.

use std::{
    io,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{caller::Caller, live::LiveSession};
use crate::{
    foreign_text::ForeignText,
    forward::{
        address::ConnectAddress,
        listen::ListenAddress,
        refusal::Refusal,
        socks::{SocksEvent, SocksHandshake, SocksOutcome, SocksVersion},
        state::{ForwardCounts, ForwardDirection, ForwardState, ForwardWay},
    },
    lock::lock,
    ssh::forward::{
        channel::{ForwardChannel, ForwardChannelError},
        listener::ForwardListener,
        local_stream::LocalStream,
        relay::{RelayEnd, RelayedBytes, relay},
    },
};

/// Limit of the connections of a forward at the same time. Further connections wait in the queue of
/// the system.
const MAX_CONNECTIONS: usize = 1024;
/// Time limit of a SOCKS handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);
/// Attempts to open a channel for a connection, where each finds its link lost.
const MAX_ATTEMPTS: usize = 3;

/// Forwarded port, which listens on this machine and connects on the far side of a session.
///
/// Survives the link: a new connection waits until the session is connected again. Dropping the
/// forward stops listening and resets the connections through it. Without the session no connection
/// is served.
#[derive(Debug)]
pub struct Forward {
    id: u64,
    session: String,
    listen: ListenAddress,
    shared: Arc<Shared>,
    _closing: DropGuard,
}

/// State that the forward shares with its connections.
#[derive(Debug)]
struct Shared {
    to: ConnectAddress,
    bytes: RelayedBytes,
    open: AtomicUsize,
    accepted: AtomicU64,
    reset: AtomicU64,
    strangers: AtomicU64,
    /// Reason of the latest refusal; `None` after a success. Locked for an assignment only.
    refused: Mutex<Option<Refusal>>,
    closing: CancellationToken,
}

impl Forward {
    /// Starts to serve the connections of a listener. `id` is unique in the process.
    #[must_use]
    pub fn start(
        id: u64,
        session: &Arc<LiveSession>,
        listener: ForwardListener,
        to: ConnectAddress,
    ) -> Self {
        let shared = Arc::new(Shared {
            to,
            bytes: RelayedBytes::default(),
            open: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            reset: AtomicU64::new(0),
            strangers: AtomicU64::new(0),
            refused: Mutex::new(None),
            closing: CancellationToken::new(),
        });

        let forward = Self {
            id,
            session: session.saved.name.to_string(),
            listen: listener.address().clone(),
            shared: Arc::clone(&shared),
            _closing: shared.closing.clone().drop_guard(),
        };
        tokio::spawn(accept(shared, Arc::downgrade(session), listener));

        forward
    }

    /// Returns the state at this moment. `is_connected` is true if the session has a live
    /// connection.
    #[must_use]
    pub fn state(&self, is_connected: bool) -> ForwardState {
        let shared = &self.shared;
        let way = match *lock(&shared.refused) {
            _ if !is_connected => ForwardWay::Reconnecting,
            Some(refusal) => ForwardWay::Refused(ForeignText::from(refusal.to_string())),
            None => ForwardWay::Open,
        };

        ForwardState {
            id: self.id,
            session: ForeignText::from(&self.session),
            direction: ForwardDirection::Local,
            listen: self.listen.clone(),
            to: shared.to.clone(),
            is_http: false,
            way,
            counts: ForwardCounts {
                open: shared.open.load(Ordering::Relaxed),
                accepted: shared.accepted.load(Ordering::Relaxed),
                reset: shared.reset.load(Ordering::Relaxed),
                strangers: shared.strangers.load(Ordering::Relaxed),
                bytes_to: shared.bytes.to.load(Ordering::Relaxed),
                bytes_from: shared.bytes.from.load(Ordering::Relaxed),
            },
        }
    }
}

/// Accepts connections until the forward is closed, and serves each in a task of its own.
async fn accept(shared: Arc<Shared>, session: Weak<LiveSession>, listener: ForwardListener) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));

    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, local) = tokio::select! {
            next = next => next,
            () = shared.closing.cancelled() => return,
        };

        let (shared, session) = (Arc::clone(&shared), Weak::clone(&session));
        tokio::spawn(async move {
            let _place = place;
            serve(&shared, &session, local).await;
        });
    }
}

/// Serves one connection. A connection of another user is reset before anything is passed on.
async fn serve(shared: &Shared, session: &Weak<LiveSession>, local: LocalStream) {
    if !local.is_ours().await {
        shared.strangers.fetch_add(1, Ordering::Relaxed);
        return local.reset();
    }

    shared.accepted.fetch_add(1, Ordering::Relaxed);
    shared.open.fetch_add(1, Ordering::Relaxed);
    let end = pass_on(shared, session, local).await;
    shared.open.fetch_sub(1, Ordering::Relaxed);

    if end != RelayEnd::Finished {
        shared.reset.fetch_add(1, Ordering::Relaxed);
    }
}

/// Connects to the far side and passes the bytes on.
async fn pass_on(shared: &Shared, session: &Weak<LiveSession>, mut local: LocalStream) -> RelayEnd {
    let begun = async {
        let socks = match &shared.to {
            ConnectAddress::Socks => Some(
                timeout(HANDSHAKE_LIMIT, shake_hands(&mut local))
                    .await
                    .map_err(io::Error::from)??,
            ),
            _ => None,
        };

        let to = socks.as_ref().map_or(&shared.to, |socks| &socks.to);
        let opened = open_channel(session, to).await;

        if let Some(socks) = &socks {
            let outcome = match &opened {
                Ok(_) => SocksOutcome::Connected,
                Err(Some(refusal)) => refusal.outcome(),
                Err(None) => SocksOutcome::Failed,
            };
            local.write_all(&socks.version.reply(outcome)).await?;
        }

        // A refusal of one address says nothing about the other addresses of a SOCKS proxy.
        if socks.is_none() && !matches!(opened, Err(None)) {
            *lock(&shared.refused) = opened.as_ref().err().copied().flatten();
        }

        let early = socks.map(|socks| socks.early).unwrap_or_default();
        opened
            .map(|channel| (channel, early))
            .map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))
    };

    let begun = tokio::select! {
        begun = begun => begun,
        () = shared.closing.cancelled() => Err(io::ErrorKind::Interrupted.into()),
    };

    if let Ok((channel, early)) = begun {
        relay(local, channel, early, &shared.bytes, &shared.closing).await
    } else {
        // A SOCKS client still has to read the reply.
        if shared.to == ConnectAddress::Socks {
            let _ = local.shutdown().await;
        } else {
            local.reset();
        }
        RelayEnd::LocalReset
    }
}

/// Address that a SOCKS client named.
struct SocksAddress {
    version: SocksVersion,
    to: ConnectAddress,
    early: Bytes,
}

/// Carries out the SOCKS handshake, up to the reply about the address.
async fn shake_hands(local: &mut LocalStream) -> io::Result<SocksAddress> {
    let (mut handshake, mut buffer) = (SocksHandshake::default(), [0; 1024]);

    loop {
        match handshake.next_event() {
            Ok(Some(SocksEvent::Send(bytes))) => local.write_all(&bytes).await?,
            Ok(Some(SocksEvent::Connect(request))) => {
                return Ok(SocksAddress {
                    version: request.version,
                    to: ConnectAddress::Host(request.to),
                    early: request.early.into(),
                });
            }
            Ok(None) => {
                let read = local.read(&mut buffer).await?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                handshake.push(buffer.get(..read).unwrap_or_default());
            }
            Err(error) => {
                local.write_all(&error.reply()).await?;
                return Err(io::Error::other(error));
            }
        }
    }
}

/// Opens a channel over the session's connection, and waits for the reconnect if the link is lost.
/// The error is the reason of a refusal, or `None` if the session is not connected or has gone.
async fn open_channel(
    session: &Weak<LiveSession>,
    to: &ConnectAddress,
) -> Result<ForwardChannel, Option<Refusal>> {
    for _ in 0..MAX_ATTEMPTS {
        let session = session.upgrade().ok_or(None)?;
        let host = session.host(&Caller::default()).await.map_err(|_| None)?;

        match host.open_forward(to).await {
            Ok(channel) => return Ok(channel),
            Err(ForwardChannelError::Refused(refusal)) => return Err(Some(refusal)),
            Err(ForwardChannelError::Lost(_)) => {}
        }
    }

    Err(None)
}
