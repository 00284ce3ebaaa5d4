//! Accepts connections and serves HTTP on them.

use std::{convert::Infallible, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use http::{HeaderValue, Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, mpsc};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{either::Either, sync::CancellationToken};

use super::{
    io::{Io, Stream},
    lifecycle::Lifecycle,
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
            token::Token,
        },
    },
    peer::{self, PeerConnection, own::OwnPort},
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

/// Everything that a daemon serves, and to whom. [`serve`](Self::serve) runs it to the end.
pub struct Daemon {
    /// Sessions of all clients.
    pub registry: Arc<SessionRegistry>,
    /// Addresses at which clients connect.
    pub listeners: Vec<Listener>,
    /// Token that clients must send; `None` if the user of a connection decides.
    pub token: Option<Token>,
    /// Access to the status page.
    pub access: Arc<AccessKeys>,
    /// Settings of the shared daemon; `None` for a daemon that a person starts.
    pub shared: Option<SharedDaemon>,
}

/// Settings of the shared daemon, which also speaks MCP in lines.
pub struct SharedDaemon {
    /// Secret which proves to a stdio proxy whose daemon this is. `None` where the kernel reports
    /// the user.
    pub proof: Option<HeaderValue>,
    /// Time without clients and running jobs after which the daemon ends.
    pub idle: Duration,
}

impl Daemon {
    /// Serves all clients until `stop` is cancelled or a shared daemon is idle. Then stops all
    /// commands and closes all connections, which takes less than two seconds.
    pub async fn serve(self, stop: CancellationToken) {
        let Self {
            registry,
            listeners,
            token,
            access,
            shared,
        } = self;

        let lifecycle = Lifecycle::new(&stop);
        let idle = shared.as_ref().map(|shared| shared.idle);
        let are_reachable = listeners.iter().map(Listener::is_there).collect();

        let upgrades = shared.map(|shared| Upgrades {
            registry: Arc::clone(&registry),
            lifecycle: lifecycle.clone(),
            proof: shared.proof,
        });

        // A daemon on a socket opens a port for the page only when somebody asks for a link.
        let (opened, mut newly_opened) = mpsc::channel(1);
        let page = listeners.iter().find_map(Listener::page);

        let dashboard = Dashboard::new(
            Arc::clone(&registry),
            access,
            page,
            opened,
            lifecycle.closed.child_token(),
        );

        let acceptor = Arc::new(Acceptor {
            newcomers: token.as_ref().map(|_| Arc::default()),
            router: Router::new(
                Arc::clone(&registry),
                token,
                dashboard,
                upgrades,
                &lifecycle.closed,
            ),
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            unauthenticated: Semaphore::new(MAX_STRANGERS),
            lifecycle: lifecycle.clone(),
        });

        for listener in listeners {
            acceptor.start(listener);
        }

        let until = lifecycle.listening.clone();
        lifecycle
            .accepting
            .spawn(until.run_until_cancelled_owned(async move {
                while let Some(listener) = newly_opened.recv().await {
                    acceptor.start(listener);
                }
            }));

        match idle {
            None => stop.cancelled().await,
            Some(limit) => tokio::select! {
                () = stop.cancelled() => {}
                () = lifecycle.idle(limit, &registry, are_reachable) => {}
            },
        }

        // Commands end first, so that the open connections still carry the answers to their calls.
        registry.shut_down().await;
        lifecycle.close().await;
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
    lifecycle: Lifecycle,
}

impl Acceptor {
    /// Starts a task that accepts the connections of a listener.
    fn start(self: &Arc<Self>, listener: Listener) {
        self.lifecycle
            .accepting
            .spawn(accept(listener, Arc::clone(self)));
    }
}

/// Accepts connections until the daemon stops listening, and serves each in a separate task.
async fn accept(listener: Listener, acceptor: Arc<Acceptor>) {
    let Lifecycle {
        listening,
        connections,
        ..
    } = acceptor.lifecycle.clone();

    let endpoint = listener.endpoint();
    let _own_port = match &listener {
        Listener::Tcp(_, address) => Some(OwnPort::new(address.port())),
        #[cfg(any(unix, windows))]
        _ => None,
    };

    loop {
        // Without a permit nothing is accepted: further connections wait in the queue of the
        // system.
        let permit = tokio::select! {
            permit = Arc::clone(&acceptor.connections).acquire_owned() => permit,
            () = listening.cancelled() => return,
        };

        let accepted = tokio::select! {
            accepted = accept_next(&listener) => accepted,
            () = listening.cancelled() => return,
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
async fn accept_next(listener: &Listener) -> Option<(Stream, RequestOrigin)> {
    match listener {
        Listener::Tcp(listener, _) => {
            let (stream, _) = accepted(|| listener.accept()).await;
            // The peer is judged by this connection, so its addresses are taken at once.
            let connection = PeerConnection::of_stream(&stream).ok()?;
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
        () = acceptor.lifecycle.closing.cancelled() => connection.as_mut().graceful_shutdown(),
    }

    let _ = connection.await;
}
