//! Takes connections in.

use std::{convert::Infallible, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use http::{HeaderValue, Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{either::Either, sync::CancellationToken, task::TaskTracker};

use super::{
    io::{Io, Stream},
    router::Router,
    upgrade::Upgrades,
};
use crate::{
    mcp::{
        dashboard::routes::{AccessKeys, Dashboard},
        web::{
            guard::PeerInfo,
            listen::{Listener, accepted},
            newcomers::{Newcomer, Newcomers},
            peer::{self, PeerConnection},
            token::Token,
        },
    },
    session::registry::SessionRegistry,
};

/// How many connections there may be at once. More wait to be taken in.
const MAX_CONNECTIONS: usize = 768;
/// How many of them may be those of strangers, so that these keep nobody else out. Where a token decides who is one,
/// `newcomers` limits those that have not shown it.
const MAX_STRANGERS: usize = 32;
/// How long a client may take to send the head of a request, and to send the next one.
const HEAD_LIMIT: Duration = Duration::from_secs(15);
/// How long a client may not read what it is sent.
const UNREAD_LIMIT: Duration = Duration::from_secs(30);
/// How long answers to calls that were stopped may take to be sent at the end.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Serves all clients until `stop` is cancelled, then stops what runs and closes all connections. Takes less than two
/// seconds to end.
pub async fn serve(
    registry: Arc<SessionRegistry>,
    listeners: Vec<Listener>,
    token: Option<Token>,
    keys: Arc<AccessKeys>,
    stop: CancellationToken,
) {
    run(registry, listeners, token, keys, None, stop).await;
}

/// The same for conversations in lines, too, until nobody has been there for as long as `idle` and no job runs. A front
/// gets `proof` in the answer to its request.
pub(in crate::mcp::transport) async fn serve_shared(
    registry: Arc<SessionRegistry>,
    listener: Listener,
    proof: Option<HeaderValue>,
    idle: Duration,
    keys: Arc<AccessKeys>,
    stop: CancellationToken,
) {
    run(
        registry,
        vec![listener],
        None,
        keys,
        Some(Shared { proof, idle }),
        stop,
    )
    .await;
}

/// What only the shared daemon does.
struct Shared {
    /// What proves to a front whose daemon this is, where the system does not tell.
    proof: Option<HeaderValue>,
    /// How long it stays when nobody is there.
    idle: Duration,
}

async fn run(
    registry: Arc<SessionRegistry>,
    listeners: Vec<Listener>,
    token: Option<Token>,
    keys: Arc<AccessKeys>,
    shared: Option<Shared>,
    stop: CancellationToken,
) {
    let (closing, closed) = (CancellationToken::new(), CancellationToken::new());
    let (connections, accepting) = (TaskTracker::new(), TaskTracker::new());
    let listening = stop.child_token();
    let idle = shared.as_ref().map(|shared| shared.idle);

    let upgrades = shared.map(|shared| Upgrades {
        registry: Arc::clone(&registry),
        listening: listening.clone(),
        accepting: accepting.clone(),
        connections: connections.clone(),
        closing: closing.clone(),
        proof: shared.proof,
    });

    let leave = LeaveWhenIdle {
        registry: Arc::clone(&registry),
        is_there: listeners
            .iter()
            .map(|listener| -> PeerStillThere { Box::new(listener.is_there()) })
            .collect(),
        listening: listening.clone(),
        accepting: accepting.clone(),
        connections: connections.clone(),
    };

    let (opened, mut newly_opened) = mpsc::channel(1);
    let page = listeners.iter().find_map(Listener::page);

    let watch = Dashboard::new(
        Arc::clone(&registry),
        keys,
        page,
        opened,
        closed.child_token(),
    );

    let acceptor = Arc::new(Acceptor {
        newcomers: token.as_ref().map(|_| Arc::default()),
        router: Router::new(Arc::clone(&registry), token, watch, upgrades, &closed),
        connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        unauthenticated: Semaphore::new(MAX_STRANGERS),
        closing: closing.clone(),
    });

    let accept_from = {
        let (accepting, connections, listening) =
            (accepting.clone(), connections.clone(), listening.clone());

        move |listener| {
            accepting.spawn(accept(
                listener,
                Arc::clone(&acceptor),
                connections.clone(),
                listening.clone(),
            ))
        }
    };

    for listener in listeners {
        accept_from(listener);
    }

    accepting.spawn(listening.clone().run_until_cancelled_owned(async move {
        while let Some(listener) = newly_opened.recv().await {
            accept_from(listener);
        }
    }));

    accepting.close();
    tokio::select! {
        () = stop.cancelled() => {}
        () = leave.after(idle.unwrap_or(Duration::MAX)), if idle.is_some() => {}
    }

    registry.shut_down().await;
    closing.cancel();
    connections.close();
    let _ = timeout(LAST_WORDS, connections.wait()).await;
    closed.cancel();
    let _ = timeout(LAST_WORDS, async {
        tokio::join!(connections.wait(), accepting.wait())
    })
    .await;
}

type PeerStillThere = Box<dyn Fn() -> bool + Send + Sync>;

/// When a shared daemon is of no use any more.
struct LeaveWhenIdle {
    registry: Arc<SessionRegistry>,
    /// Whether each listener can still be found.
    is_there: Vec<PeerStillThere>,
    listening: CancellationToken,
    accepting: TaskTracker,
    connections: TaskTracker,
}

impl LeaveWhenIdle {
    /// Waits until nobody has been connected and no job has been running for as long as `limit`, or until that is so at
    /// all where no more clients come: because it gave way, or somebody removed its socket.
    async fn after(&self, limit: Duration) {
        let look = (limit / 4).clamp(Duration::from_millis(50), Duration::from_secs(5));
        let mut since = Instant::now();
        loop {
            let busy = !self.connections.is_empty() || self.registry.jobs.running() > 0;
            let lost = !self.is_there.iter().all(|is_there| is_there());

            if !self.listening.is_cancelled() && (lost || (!busy && since.elapsed() >= limit)) {
                // Whoever came in until now stays.
                self.listening.cancel();
                self.accepting.wait().await;
                continue;
            }

            if busy {
                since = Instant::now();
            } else if self.listening.is_cancelled() {
                return;
            }

            sleep(look).await;
        }
    }
}

struct Acceptor {
    router: Router,
    /// Where a token decides.
    newcomers: Option<Arc<Newcomers>>,
    connections: Arc<Semaphore>,
    unauthenticated: Semaphore,
    closing: CancellationToken,
}

async fn accept(
    listener: Listener,
    acceptor: Arc<Acceptor>,
    connections: TaskTracker,
    stop: CancellationToken,
) {
    let endpoint = listener.endpoint();
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&acceptor.connections).acquire_owned() => permit,
            () = stop.cancelled() => return,
        };

        let accepted = tokio::select! {
            accepted = take(&listener) => accepted,
            () = stop.cancelled() => return,
        };

        let Ok(permit) = permit else { return };

        // Else it has left already.
        let Some((stream, caller)) = accepted else {
            continue;
        };

        // At once, so that not even those whose turn has not come are too many.
        let newcomer = acceptor
            .newcomers
            .as_ref()
            .map(|newcomers| newcomers.enter(caller.address()));

        let acceptor = Arc::clone(&acceptor);

        connections.spawn(async move {
            let _permit = permit;

            let (connection, is_ours) = match caller {
                // With a token, the token decides.
                RequestOrigin::Tcp(connection) => (
                    Some(connection),
                    newcomer.is_none() && connection.is_ours().await,
                ),
                RequestOrigin::Known(is_ours) => (None, is_ours),
            };

            converse(
                stream,
                PeerInfo {
                    endpoint,
                    is_ours,
                    connection,
                    newcomer,
                },
                &acceptor,
            )
            .await;
        });
    }
}

/// Who came in.
#[derive(Debug, Clone, Copy)]
enum RequestOrigin {
    Tcp(PeerConnection),
    /// Whether it is this user is known.
    Known(bool),
}

impl RequestOrigin {
    fn address(&self) -> Option<IpAddr> {
        if let Self::Tcp(connection) = self {
            Some(connection.peer().ip())
        } else {
            None
        }
    }
}

/// The next connection; `None` if it has been closed by now.
async fn take(listener: &Listener) -> Option<(Stream, RequestOrigin)> {
    match listener {
        Listener::Tcp(listener, _) => {
            let (stream, _) = accepted(|| listener.accept()).await;
            let connection = PeerConnection::of(&stream).ok()?;
            stream.set_nodelay(true).ok()?;

            Some((Either::Left(stream), RequestOrigin::Tcp(connection)))
        }
        #[cfg(unix)]
        Listener::Unix(listener, _) => {
            let (stream, _) = accepted(|| listener.accept()).await;
            let user = stream.peer_cred().ok()?.uid();
            Some((
                Either::Right(stream),
                RequestOrigin::Known(peer::is_own_user(user)),
            ))
        }
        // Its default access control lets nobody write but this user and administrators.
        #[cfg(windows)]
        Listener::Pipe(pipe, _) => {
            let stream = accepted(|| pipe.accept()).await;
            Some((Either::Right(stream), RequestOrigin::Known(true)))
        }
    }
}

/// Answers the requests of one connection, until it ends.
async fn converse(stream: Stream, peer: PeerInfo, acceptor: &Arc<Acceptor>) {
    // Where a token decides, everybody is a newcomer until then, and no stranger.
    let stranger = !peer.is_ours && peer.newcomer.is_none();

    let _permit = if stranger {
        let Ok(permit) = acceptor.unauthenticated.try_acquire() else {
            return;
        };
        Some(permit)
    } else {
        None
    };

    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(UNREAD_LIMIT));
    let leave = peer
        .newcomer
        .as_ref()
        .map(Newcomer::leave)
        .unwrap_or_default();

    let peer = Arc::new(peer);
    let answering = service_fn(|request: Request<Incoming>| {
        let (acceptor, peer) = (Arc::clone(acceptor), Arc::clone(&peer));
        async move { Ok::<_, Infallible>(acceptor.router.answer(request, &peer).await) }
    });

    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .keep_alive(!stranger)
        .max_headers(100);

    let io: Io = TokioIo::new(Box::pin(stream));
    let mut connection = pin!(http.serve_connection(io, answering).with_upgrades());
    tokio::select! {
        _ = connection.as_mut() => return,
        () = leave.cancelled() => return,
        () = acceptor.closing.cancelled() => connection.as_mut().graceful_shutdown(),
    }

    let _ = connection.await;
}
