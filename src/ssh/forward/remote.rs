//! Ports and sockets at which the host listens for this machine (RFC 4254, section 7.1, and OpenSSH's
//! `streamlocal-forward@openssh.com`), and the channels of the connections there.

use std::{num::NonZeroU16, sync::Arc, time::Duration};

use russh::ChannelOpenFailure;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, mpsc::UnboundedReceiver, oneshot},
    time::timeout,
};

use super::channel::ForwardChannel;
use crate::{
    forward::{listen::ListenAddress, refusal::ListenRefusal},
    framing::{quoting::quoted, read_file::SHELL},
    ssh::{
        command::{remote_host::RemoteHost, script::RemoteScript},
        connect::connection::Connection,
        error::SshError,
        pool::Priority,
        transport::remote_listeners::QueuedChannel,
    },
};

/// Address that a server is asked to listen at. For `localhost`, `sshd` would be content with `::1`
/// where another program has the port on 127.0.0.1.
const LOOPBACK: &str = "127.0.0.1";
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
    queued: UnboundedReceiver<QueuedChannel>,
    /// True until the host is asked to stop.
    listens: bool,
}

/// Connection at the host that waits for an answer. Dropping it refuses the connection.
#[derive(Debug)]
pub struct IncomingConnection {
    queued: QueuedChannel,
    connection: Arc<Connection>,
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

    /// Removes the file of a socket at which the host listened for this machine. OpenSSH's server
    /// leaves the file, and would not listen there again. A failure shows when that is tried.
    pub async fn remove_socket(self: &Arc<Self>, path: &str) {
        let path = quoted(path.as_bytes());
        let script = [b"[ ! -S ", &path[..], b" ] || rm -f -- ", &path[..], b"\n"].concat();

        let _ = self
            .run_script(RemoteScript {
                command: SHELL.to_owned(),
                stdin: script,
                priority: Priority::Control,
                answer_end: Vec::new(),
                max_answer_bytes: 1,
                limit: CANCEL_LIMIT,
                progress: None,
            })
            .await;
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
        let queued = tokio::select! {
            queued = self.queued.recv() => queued?,
            () = self.connection.ended() => return None,
        };

        Some(IncomingConnection {
            queued,
            connection: Arc::clone(&self.connection),
        })
    }

    /// Returns the connection over which the host listens.
    #[must_use]
    pub fn connection(&self) -> Arc<Connection> {
        Arc::clone(&self.connection)
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
    /// Accepts the connection, which takes up one of the places until the permit is dropped.
    pub async fn accept(self) -> (ForwardChannel, OwnedSemaphorePermit) {
        let QueuedChannel {
            channel,
            reply,
            place,
        } = self.queued;
        reply.accept().await;

        let channel = ForwardChannel {
            channel,
            _connection: self.connection,
            lane: None,
        };
        (channel, place)
    }

    /// Refuses the connection because its destination cannot be reached.
    pub async fn refuse(self) {
        let reply = self.queued.reply;
        reply.reject(ChannelOpenFailure::ConnectFailed).await;
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
        (Ok(_), Some(address), Some(queued)) => Ok((address, queued)),
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
        (Ok((address, queued)), _) => Ok(RemoteListener {
            address,
            connection: Arc::clone(&connection),
            queued,
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
