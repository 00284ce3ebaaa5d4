//! Ports and sockets at which the host listens for this machine (RFC 4254, section 7.1, and OpenSSH's
//! `streamlocal-forward@openssh.com`), and the channels of the connections there.

use std::{
    collections::{HashMap, hash_map::Entry},
    num::NonZeroU16,
    sync::{Arc, Mutex},
    time::Duration,
};

use russh::{
    Channel, ChannelOpenFailure,
    client::{ChannelOpenHandle, Msg},
};
use tokio::{
    runtime::Handle,
    sync::{
        OwnedSemaphorePermit, Semaphore,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    time::timeout,
};

use super::channel::ForwardChannel;
use crate::{
    forward::{listen::ListenAddress, refusal::ListenRefusal},
    lock::lock,
    ssh::{command::remote_host::RemoteHost, connect::connection::Connection, error::SshError},
};

/// Address that a server is asked to listen at. `sshd` takes it for loopback in both families, as
/// `ssh` relies on.
const LOOPBACK: &str = "localhost";
/// Names of loopback by which a server may call the address of a connection.
const LOOPBACK_NAMES: [&str; 3] = [LOOPBACK, "127.0.0.1", "::1"];
/// Limit of the connections of a listener at the same time. Further ones are refused.
const MAX_CONNECTIONS: usize = 1024;
/// Time limit of the server for a request.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// Time limit of the server to stop listening. The connections are refused in any case.
const CANCEL_LIMIT: Duration = Duration::from_secs(3);

/// Address at which the host listens over one connection, made by [`RemoteHost::listen`]. Dropping
/// the listener refuses new connections at once and asks the host to stop listening.
#[derive(Debug)]
pub struct RemoteListener {
    address: ListenAddress,
    connection: Arc<Connection>,
    incoming: UnboundedReceiver<IncomingConnection>,
    /// True until the host is asked to stop.
    listens: bool,
}

/// Connection at the host that waits for an answer. Dropping it refuses the connection.
pub struct IncomingConnection {
    channel: Channel<Msg>,
    reply: ChannelOpenHandle,
    place: OwnedSemaphorePermit,
}

/// Reason why a host does not listen.
#[derive(Debug, thiserror::Error)]
pub enum RemoteListenError {
    /// The server refuses. The connection is fine.
    #[error(transparent)]
    Refused(ListenRefusal),
    /// The connection has ended, or the server does not answer.
    #[error(transparent)]
    Lost(SshError),
}

/// Addresses at which the server of one connection may report connections. Clones share the
/// addresses.
#[derive(Debug, Clone, Default)]
pub(in crate::ssh) struct RemoteListeners(Arc<Mutex<HashMap<ListenAddress, Entrance>>>);

/// Way of new connections to their listener.
#[derive(Debug)]
struct Entrance {
    queue: UnboundedSender<IncomingConnection>,
    /// Permits for connections at the same time.
    places: Arc<Semaphore>,
}

/// Outcome for a channel that the server wants to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ssh) enum Admission {
    /// The listener decides.
    Passed,
    /// The listener has too many connections, and the channel was refused.
    Full,
    /// There is no such listener, and the channel was refused.
    Unknown,
}

impl RemoteHost {
    /// Has the host listen at exactly this address, on loopback or at a socket path.
    ///
    /// # Errors
    /// The server refuses, or the connection has ended.
    pub async fn listen(
        &self,
        address: &ListenAddress,
    ) -> Result<RemoteListener, RemoteListenError> {
        let connection = self.channels.first_shared();

        match (request(&connection, Some(address)).await, address) {
            // The server gives no reason. One that grants another port refuses only this one.
            (Err(RemoteListenError::Refused(_)), ListenAddress::Port(port)) => {
                request(&connection, None).await?.close().await;
                Err(RemoteListenError::Refused(ListenRefusal::Port(*port)))
            }
            (listening, _) => listening,
        }
    }

    /// Has the host listen at `preferred` if the server agrees, and else at a port of the server's
    /// choice.
    ///
    /// # Errors
    /// The server refuses any port, or the connection has ended.
    pub async fn listen_any(
        &self,
        preferred: Option<NonZeroU16>,
    ) -> Result<RemoteListener, RemoteListenError> {
        let connection = self.channels.first_shared();

        if let Some(port) = preferred {
            let listening = request(&connection, Some(&ListenAddress::Port(port))).await;
            if !matches!(listening, Err(RemoteListenError::Refused(_))) {
                return listening;
            }
        }

        request(&connection, None).await
    }
}

impl RemoteListener {
    /// Returns the address at the host, with the actual port.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// Waits for the next connection at the host. Returns `None` once the link is lost.
    pub async fn accept(&mut self) -> Option<IncomingConnection> {
        tokio::select! {
            incoming = self.incoming.recv() => incoming,
            () = self.connection.ended() => None,
        }
    }

    /// Accepts a connection of this listener, which takes up one of the places until the permit is
    /// dropped.
    pub async fn admit(
        &self,
        incoming: IncomingConnection,
    ) -> (ForwardChannel, OwnedSemaphorePermit) {
        incoming.reply.accept().await;
        let channel = ForwardChannel {
            channel: incoming.channel,
            _connection: Arc::clone(&self.connection),
        };
        (channel, incoming.place)
    }

    /// Returns true if the listener uses the first connection of this host.
    #[must_use]
    pub fn is_at(&self, host: &RemoteHost) -> bool {
        Arc::ptr_eq(&self.connection, &host.channels.first_shared())
    }

    /// Has the host stop listening, and waits for that as long as the link may take.
    pub async fn close(mut self) {
        self.listens = false;
        self.connection.facts.listeners.remove(&self.address);
        cancel(&self.connection, &self.address).await;
    }
}

impl Drop for RemoteListener {
    fn drop(&mut self) {
        if !self.listens {
            return;
        }

        self.connection.facts.listeners.remove(&self.address);
        if let Ok(runtime) = Handle::try_current() {
            let (connection, address) = (Arc::clone(&self.connection), self.address.clone());
            runtime.spawn(async move { cancel(&connection, &address).await });
        }
    }
}

impl IncomingConnection {
    /// Refuses the connection because its destination cannot be reached.
    pub async fn refuse(self) {
        self.reply.reject(ChannelOpenFailure::ConnectFailed).await;
    }
}

impl std::fmt::Debug for IncomingConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IncomingConnection").finish_non_exhaustive()
    }
}

impl RemoteListeners {
    /// Passes on a channel for a connection to a port of the host. `host` is the server's name for
    /// the address of the listener.
    pub(in crate::ssh) async fn admit_tcp(
        &self,
        host: &str,
        port: u32,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
    ) -> Admission {
        let port = u16::try_from(port).ok().and_then(NonZeroU16::new);
        match port.filter(|_| LOOPBACK_NAMES.contains(&host)) {
            Some(port) => self.admit(&ListenAddress::Port(port), channel, reply).await,
            None => Admission::Unknown,
        }
    }

    /// Passes on a channel for a connection to a socket of the host.
    pub(in crate::ssh) async fn admit_socket(
        &self,
        path: &str,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
    ) -> Admission {
        let address = ListenAddress::Socket(path.to_owned());
        self.admit(&address, channel, reply).await
    }

    /// Passes on a channel to the listener at this address. Never waits for anybody, because russh
    /// reads nothing meanwhile.
    async fn admit(
        &self,
        address: &ListenAddress,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
    ) -> Admission {
        let place = match lock(&self.0).get(address) {
            Some(entrance) => Arc::clone(&entrance.places)
                .try_acquire_owned()
                .ok()
                .map(|place| (entrance.queue.clone(), place)),
            None => return Admission::Unknown,
        };
        let Some((queue, place)) = place else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Admission::Full;
        };

        // A listener that has just been closed refuses by dropping the connection.
        let _ = queue.send(IncomingConnection {
            channel,
            reply,
            place,
        });

        Admission::Passed
    }

    /// Adds a listener; `None` if there is one at this address.
    fn add(&self, address: &ListenAddress) -> Option<UnboundedReceiver<IncomingConnection>> {
        let (queue, incoming) = unbounded_channel();
        match lock(&self.0).entry(address.clone()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(entry) => {
                entry.insert(Entrance {
                    queue,
                    places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
                });
                Some(incoming)
            }
        }
    }

    /// Removes the listener at this address.
    fn remove(&self, address: &ListenAddress) {
        lock(&self.0).remove(address);
    }
}

/// Asks the server to listen, in a new task, which takes the request back if the caller has gone.
/// `None` lets the server choose a port.
async fn request(
    connection: &Arc<Connection>,
    address: Option<&ListenAddress>,
) -> Result<RemoteListener, RemoteListenError> {
    let (reply, answer) = oneshot::channel();
    let lost = || RemoteListenError::Lost(connection.lost());

    tokio::spawn({
        let (connection, address) = (Arc::clone(connection), address.cloned());
        async move { reply.send(listen(connection, address).await) }
    });

    // russh may leave a request waiting when the connection ends.
    tokio::select! {
        listening = timeout(REQUEST_LIMIT, answer) => match listening {
            Ok(listening) => listening.map_err(|_| lost())?,
            Err(_) => Err(RemoteListenError::Lost(SshError::Timeout {
                stage: "listening on the host",
                after: REQUEST_LIMIT,
            })),
        },
        () = connection.ended() => Err(lost()),
    }
}

/// Asks the server to listen, and adds the listener to those of the connection.
async fn listen(
    connection: Arc<Connection>,
    address: Option<ListenAddress>,
) -> Result<RemoteListener, RemoteListenError> {
    let refused = || {
        RemoteListenError::Refused(match &address {
            Some(ListenAddress::Socket(_)) => ListenRefusal::Socket,
            Some(ListenAddress::Port(_)) | None => ListenRefusal::Forbidden,
        })
    };
    let (handle, listeners) = (&connection.handle, &connection.facts.listeners);

    // Added before the request, because the first connection may come with the answer. The port of
    // the server's choice is not known so early.
    let added = match &address {
        Some(address) => Some(listeners.add(address).ok_or_else(refused)?),
        None => None,
    };
    let granted = match &address {
        Some(ListenAddress::Port(port)) => {
            let port = u32::from(port.get());
            handle.tcpip_forward(LOOPBACK, port).await
        }
        Some(ListenAddress::Socket(path)) => handle.streamlocal_forward(path).await.map(|()| 0),
        None => handle.tcpip_forward(LOOPBACK, 0).await,
    };

    let listening = match (granted, address.clone(), added) {
        (Ok(_), Some(address), Some(incoming)) => Ok((address, incoming)),
        (Ok(port), ..) => u16::try_from(port)
            .ok()
            .and_then(NonZeroU16::new)
            .map(ListenAddress::Port)
            .and_then(|address| Some((address.clone(), listeners.add(&address)?)))
            .ok_or_else(refused),
        (Err(russh::Error::RequestDenied), ..) => Err(refused()),
        (Err(_), ..) => Err(RemoteListenError::Lost(connection.lost())),
    };

    match (listening, &address) {
        (Ok((address, incoming)), _) => Ok(RemoteListener {
            address,
            connection: Arc::clone(&connection),
            incoming,
            listens: true,
        }),
        (Err(error), Some(address)) => {
            listeners.remove(address);
            Err(error)
        }
        (Err(error), None) => Err(error),
    }
}

/// Asks the server to stop listening. A server that does not answer in time keeps the port until
/// the connection ends.
async fn cancel(connection: &Connection, address: &ListenAddress) {
    let cancelled = async {
        match address {
            ListenAddress::Port(port) => {
                let port = u32::from(port.get());
                connection.handle.cancel_tcpip_forward(LOOPBACK, port).await
            }
            ListenAddress::Socket(path) => connection.handle.cancel_streamlocal_forward(path).await,
        }
    };

    tokio::select! {
        _ = timeout(CANCEL_LIMIT, cancelled) => {}
        () = connection.ended() => {}
    }
}
