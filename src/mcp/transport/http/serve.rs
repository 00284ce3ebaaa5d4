//! Accepts connections and serves HTTP on them.

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

/// Limit of connections at the same time. Further connections wait in the queue of the system.
const MAX_CONNECTIONS: usize = 768;
/// Limit of connections by other users at the same time, which leaves room for this user. With a
/// token, the limit does not apply: `newcomers` limits the connections that have not shown the
/// token.
const MAX_STRANGERS: usize = 32;
/// Time limit for a client to send the head of a request, counted anew for each request.
const HEAD_LIMIT: Duration = Duration::from_secs(15);
/// Time limit for a write to a client which does not read.
const UNREAD_LIMIT: Duration = Duration::from_secs(30);
/// Time limit for sending the answers to stopped calls at the end.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Serves all clients until `stop` is cancelled. Then stops all commands and closes all
/// connections, which takes less than two seconds.
pub async fn serve(
    registry: Arc<SessionRegistry>,
    listeners: Vec<Listener>,
    token: Option<Token>,
    keys: Arc<AccessKeys>,
    stop: CancellationToken,
) {
    run(registry, listeners, token, keys, None, stop).await;
}

/// Serves HTTP and conversations in lines until `stop` is cancelled or the daemon is idle. The
/// daemon is idle when it has had no client and no running job for as long as `idle`. A stdio proxy
/// gets `proof` in the answer to its request; `None` where the kernel tells whose the daemon is.
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

/// Settings of the shared daemon.
struct Shared {
    /// Secret which proves to a stdio proxy whose daemon this is. `None` where the kernel tells.
    proof: Option<HeaderValue>,
    /// Time without clients and jobs after which the daemon ends.
    idle: Duration,
}

/// Serves HTTP on `listeners` until `stop` is cancelled or a shared daemon is idle. Then stops all
/// commands and closes all connections.
async fn run(
    registry: Arc<SessionRegistry>,
    listeners: Vec<Listener>,
    token: Option<Token>,
    keys: Arc<AccessKeys>,
    shared: Option<Shared>,
    stop: CancellationToken,
) {
    // `closing` lets each connection finish its answer; `closed` ends the streams that remain.
    let (closing, closed) = (CancellationToken::new(), CancellationToken::new());
    let (connections, accepting) = (TaskTracker::new(), TaskTracker::new());
    // A shared daemon may stop listening long before it ends.
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

    // A daemon on a socket opens a port for the page only when somebody asks for a link.
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

    // Waiting for a tracker ends only if it is closed; tasks can still be added.
    accepting.close();
    tokio::select! {
        () = stop.cancelled() => {}
        () = leave.after(idle.unwrap_or(Duration::MAX)), if idle.is_some() => {}
    }

    // Commands end first, so that the open connections still carry the answers to their calls.
    registry.shut_down().await;
    closing.cancel();
    connections.close();
    let _ = timeout(LAST_WORDS, connections.wait()).await;
    // Event streams never end by themselves.
    closed.cancel();
    let _ = timeout(LAST_WORDS, async {
        tokio::join!(connections.wait(), accepting.wait())
    })
    .await;
}

/// Test which returns true while clients can still find a listener.
type PeerStillThere = Box<dyn Fn() -> bool + Send + Sync>;

/// Conditions under which a shared daemon ends by itself.
struct LeaveWhenIdle {
    registry: Arc<SessionRegistry>,
    /// Tests for each listener, whether clients can still find the socket.
    is_there: Vec<PeerStillThere>,
    listening: CancellationToken,
    accepting: TaskTracker,
    connections: TaskTracker,
}

impl LeaveWhenIdle {
    /// Waits until nobody has been connected and no job has been running for as long as `limit`.
    /// When no more clients can come, because the daemon gave way or the socket was removed, the
    /// wait ends with the last connection and job.
    async fn after(&self, limit: Duration) {
        let look = (limit / 4).clamp(Duration::from_millis(50), Duration::from_secs(5));
        let mut since = Instant::now();
        loop {
            let busy = !self.connections.is_empty() || self.registry.jobs.running() > 0;
            let lost = !self.is_there.iter().all(|is_there| is_there());

            if !self.listening.is_cancelled() && (lost || (!busy && since.elapsed() >= limit)) {
                // Connections accepted up to now stay, so the daemon may be busy after all.
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

/// State shared by the tasks that accept and serve connections.
struct Acceptor {
    router: Router,
    /// Connections which have not shown the token yet. `None` without a token.
    newcomers: Option<Arc<Newcomers>>,
    connections: Arc<Semaphore>,
    /// Permits for connections of other users.
    unauthenticated: Semaphore,
    closing: CancellationToken,
}

/// Accepts connections from `listener` until `stop` is cancelled, and serves each in a separate
/// task.
async fn accept(
    listener: Listener,
    acceptor: Arc<Acceptor>,
    connections: TaskTracker,
    stop: CancellationToken,
) {
    let endpoint = listener.endpoint();
    loop {
        // Without a permit nothing is accepted: further connections wait in the queue of the
        // system.
        let permit = tokio::select! {
            permit = Arc::clone(&acceptor.connections).acquire_owned() => permit,
            () = stop.cancelled() => return,
        };

        let accepted = tokio::select! {
            accepted = take(&listener) => accepted,
            () = stop.cancelled() => return,
        };

        let Ok(permit) = permit else { return };

        // The peer may have left already.
        let Some((stream, caller)) = accepted else {
            continue;
        };

        // Counted before the task begins to run, so that waiting tasks are limited, too.
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

            serve_connection(
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

/// Origin of a connection, as known when the connection is accepted.
#[derive(Debug, Clone, Copy)]
enum RequestOrigin {
    /// TCP, where the user is still to be found out.
    Tcp(PeerConnection),
    /// Unix socket or pipe; true if this user is at the other end.
    Known(bool),
}

impl RequestOrigin {
    /// Returns the IP address of the peer; `None` for a Unix socket or a pipe.
    fn address(&self) -> Option<IpAddr> {
        if let Self::Tcp(connection) = self {
            Some(connection.peer().ip())
        } else {
            None
        }
    }
}

/// Accepts the next connection; `None` if the peer has closed the connection by now.
async fn take(listener: &Listener) -> Option<(Stream, RequestOrigin)> {
    match listener {
        Listener::Tcp(listener, _) => {
            let (stream, _) = accepted(|| listener.accept()).await;
            // The peer is judged by this connection, so its addresses are taken at once.
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
        // The default access control of a pipe admits only this user and administrators.
        #[cfg(windows)]
        Listener::Pipe(pipe, _) => {
            let stream = accepted(|| pipe.accept()).await;
            Some((Either::Right(stream), RequestOrigin::Known(true)))
        }
    }
}

/// Answers the requests of a connection. Ends when the peer leaves, when a newcomer has to make
/// room, or when the daemon closes.
async fn serve_connection(stream: Stream, peer: PeerInfo, acceptor: &Arc<Acceptor>) {
    // With a token, every connection begins as a newcomer, and those have a limit of their own.
    let stranger = !peer.is_ours && peer.newcomer.is_none();

    let _permit = if stranger {
        let Ok(permit) = acceptor.unauthenticated.try_acquire() else {
            return;
        };
        Some(permit)
    } else {
        None
    };

    // A peer that does not read must not hold a connection for ever.
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

    // Other users get a refusal, and no second request on the same connection.
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .keep_alive(!stranger)
        .max_headers(100);

    let io: Io = TokioIo::new(Box::pin(stream));
    let mut connection = pin!(http.serve_connection(io, answering).with_upgrades());
    // A newcomer that has to leave is cut off, but a closing daemon lets answers finish.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = leave.cancelled() => return,
        () = acceptor.closing.cancelled() => connection.as_mut().graceful_shutdown(),
    }

    let _ = connection.await;
}
