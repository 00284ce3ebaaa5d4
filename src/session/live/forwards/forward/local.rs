//! The side of a local forward: connections on this machine that lead to the far side.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Semaphore,
    time::{Instant, timeout},
};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{Shared, ended};
use crate::{
    forward::{
        MAX_CONNECTIONS,
        address::ConnectAddress,
        refusal::Refusal,
        socks::{HANDSHAKE_LIMIT, SocksEvent, SocksHandshake, SocksOutcome, SocksRequest},
    },
    session::caller::Caller,
    ssh::forward::{
        channel::{ForwardChannel, ForwardChannelError},
        listener::ForwardListener,
        local_stream::LocalStream,
        relay::{RelayEnd, relay},
    },
};

/// Attempts to open a channel for a connection, where each finds its link lost.
const MAX_ATTEMPTS: usize = 3;

/// Accepts connections on this machine until the forward ends.
pub(super) async fn accept(
    shared: &Arc<Shared>,
    listener: ForwardListener,
    work: &TaskTrackerToken,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));

    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, local) = tokio::select! {
            next = next => next,
            () = ended(shared) => return,
        };

        let (shared, work) = (Arc::clone(shared), work.clone());
        tokio::spawn(async move {
            let (_place, _work) = (place, work);
            serve(&shared, local).await;
        });
    }
}

/// Serves one connection. A connection of another user is reset before anything is passed on.
async fn serve(shared: &Shared, local: LocalStream) {
    if !local.is_ours().await {
        shared.strangers.fetch_add(1, Ordering::Relaxed);
        return local.reset();
    }

    shared.count_begin();
    let ended = pass_on(shared, local).await;
    shared.count_end(ended);
}

/// Connects to the far side and passes the bytes on. Returns `None` if the far side was not
/// reached.
async fn pass_on(shared: &Shared, mut local: LocalStream) -> Option<RelayEnd> {
    // A closed forward must not connect its session.
    let begun = tokio::select! {
        biased;
        () = shared.closing.cancelled() => Err(io::ErrorKind::Interrupted.into()),
        begun = begin(shared, &mut local) => begun,
    };

    if let Ok((channel, early)) = begun {
        return Some(relay(local, channel, early, &shared.bytes, &shared.closing).await);
    }

    // A SOCKS client still has to read the reply.
    if shared.to == ConnectAddress::Socks {
        let _ = local.shutdown().await;
    } else {
        local.reset();
    }

    None
}

/// Opens the channel of a connection. The bytes are those that the program has sent to the far side
/// already.
async fn begin(shared: &Shared, local: &mut LocalStream) -> io::Result<(ForwardChannel, Bytes)> {
    let refused = |_| io::Error::from(io::ErrorKind::ConnectionRefused);

    if shared.to != ConnectAddress::Socks {
        let opened = open_channel(shared, &shared.to).await;
        if !matches!(opened, Err(None)) {
            shared.note_refusal(opened.as_ref().err().copied().flatten());
        }

        return opened
            .map(|channel| (channel, Bytes::new()))
            .map_err(refused);
    }

    let socks = timeout(HANDSHAKE_LIMIT, shake_hands(local))
        .await
        .map_err(io::Error::from)??;
    // A refusal of one address says nothing about the other addresses.
    let opened = open_channel(shared, &ConnectAddress::Host(socks.to)).await;

    let outcome = match &opened {
        Ok(_) => SocksOutcome::Connected,
        Err(Some(refusal)) => refusal.outcome(),
        Err(None) => SocksOutcome::Failed,
    };
    local.write_all(&socks.version.reply(outcome)).await?;

    opened
        .map(|channel| (channel, socks.early.into()))
        .map_err(refused)
}

/// Carries out the SOCKS handshake, up to the reply about the address.
async fn shake_hands(local: &mut LocalStream) -> io::Result<SocksRequest> {
    let (mut handshake, mut buffer) = (SocksHandshake::default(), [0; 1024]);

    loop {
        match handshake.next_event() {
            Ok(Some(SocksEvent::Send(bytes))) => local.write_all(&bytes).await?,
            Ok(Some(SocksEvent::Connect(request))) => return Ok(request),
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

/// Opens a channel over the session's connection, and waits for the reconnect if the link is lost,
/// at most as long as connecting may take in all. The error is the reason of a refusal, or `None`
/// if the session is not connected or has gone.
async fn open_channel(
    shared: &Shared,
    to: &ConnectAddress,
) -> Result<ForwardChannel, Option<Refusal>> {
    let mut waited = Duration::ZERO;

    for _ in 0..MAX_ATTEMPTS {
        let session = shared.session.upgrade().ok_or(None)?;
        let left = session.connect_limit().saturating_sub(waited);
        let began = Instant::now();
        let host = timeout(left, session.host(&shared.grant, &Caller::default())).await;
        let host = host.map_err(|_| None)?.map_err(|_| None)?;
        waited += began.elapsed();
        drop(session);

        match host.open_forward(to).await {
            Ok(channel) => return Ok(channel),
            Err(ForwardChannelError::Refused(refusal)) => return Err(Some(refusal)),
            Err(ForwardChannelError::Lost(_)) => {}
        }
    }

    Err(None)
}
