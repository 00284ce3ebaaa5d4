//! Channels of forwards, from this machine to the far side.

use std::sync::Arc;

use russh::{Channel, ChannelOpenFailure, client::Msg};
use tokio::sync::oneshot;

use crate::{
    forward::{address::ConnectAddress, refusal::Refusal},
    ssh::{
        command::remote_host::RemoteHost, connect::connection::Connection, error::SshError,
        pool::lanes::LaneSlot,
    },
};

/// Loopback addresses of the far side, in the order of the attempts.
const LOOPBACK: [&str; 2] = ["127.0.0.1", "::1"];

/// Open channel of a forward. The caller passes the channel to
/// [`relay`](super::relay::relay) at once, because an unread channel blocks its whole connection.
#[derive(Debug)]
pub struct ForwardChannel {
    /// Channel of russh.
    pub(super) channel: Channel<Msg>,
    /// Connection of the channel, which lasts as long as the channel does.
    pub(super) _connection: Arc<Connection>,
    /// Place on a lane; `None` on the first connection.
    pub(super) lane: Option<LaneSlot>,
}

/// Reason why a channel is not open.
#[derive(Debug, thiserror::Error)]
pub enum ForwardChannelError {
    /// The server refuses. The connection is fine.
    #[error(transparent)]
    Refused(Refusal),
    /// The connection has ended.
    #[error(transparent)]
    Lost(SshError),
}

/// Address of one channel.
#[derive(Debug, Clone)]
enum ChannelAddress {
    /// `direct-tcpip`.
    Tcp(String, u16),
    /// `direct-streamlocal@openssh.com`.
    Socket(String),
}

impl RemoteHost {
    /// Opens a channel to an address that the host reaches. A bare port is tried on 127.0.0.1, and
    /// then on `::1`. Such a channel does not count towards sshd's `MaxSessions`.
    ///
    /// `to` is never [`ConnectAddress::Socks`]: the address of the handshake is a host.
    ///
    /// # Errors
    /// The server refuses, or the connection has ended.
    pub async fn open_forward(
        &self,
        to: &ConnectAddress,
    ) -> Result<ForwardChannel, ForwardChannelError> {
        if let Some(lane) = self.lanes.slot() {
            let opened = open_at(lane.connection(), to).await;
            // The first connection may be alive.
            if !matches!(opened, Err(ForwardChannelError::Lost(_))) {
                return opened.map(|channel| ForwardChannel {
                    lane: Some(lane),
                    ..channel
                });
            }
        }

        open_at(&self.channels.first_shared(), to).await
    }
}

/// Opens a channel to an address over this connection.
async fn open_at(
    connection: &Arc<Connection>,
    to: &ConnectAddress,
) -> Result<ForwardChannel, ForwardChannelError> {
    match to {
        ConnectAddress::Port(port) => {
            let [four, six] = LOOPBACK.map(|ip| ChannelAddress::Tcp(ip.to_owned(), port.get()));
            match open(connection, four).await {
                // What 127.0.0.1 said is reported: most hosts serve nothing on `::1`.
                Err(ForwardChannelError::Refused(Refusal::ConnectFailed)) => {
                    match open(connection, six).await {
                        Err(ForwardChannelError::Refused(_)) => {
                            Err(ForwardChannelError::Refused(Refusal::ConnectFailed))
                        }
                        opened => opened,
                    }
                }
                opened => opened,
            }
        }
        ConnectAddress::Host(to) => {
            open(
                connection,
                ChannelAddress::Tcp(to.host.clone(), to.port.get()),
            )
            .await
        }
        ConnectAddress::Socket(path) => {
            open(connection, ChannelAddress::Socket(path.clone())).await
        }
        ConnectAddress::Socks => Err(ForwardChannelError::Refused(Refusal::Unsupported)),
    }
}

/// Opens a channel in a new task, which closes the channel again if the caller has gone.
async fn open(
    connection: &Arc<Connection>,
    address: ChannelAddress,
) -> Result<ForwardChannel, ForwardChannelError> {
    let (reply, answer) = oneshot::channel();
    let lost = || ForwardChannelError::Lost(connection.lost());

    tokio::spawn({
        let connection = Arc::clone(connection);
        async move {
            let opened = request(&connection, address).await;
            if let Err(Ok(unwanted)) = reply.send(opened) {
                let _ = unwanted.close().await;
            }
        }
    });

    // russh may leave a request waiting when the connection ends.
    let opened = tokio::select! {
        opened = answer => opened.map_err(|_| lost())?,
        () = connection.ended() => return Err(lost()),
    };

    match opened {
        Ok(channel) => Ok(ForwardChannel {
            channel,
            _connection: Arc::clone(connection),
            lane: None,
        }),
        Err(russh::Error::ChannelOpenFailure(reason)) => {
            Err(ForwardChannelError::Refused(refusal(&reason)))
        }
        Err(_) => Err(lost()),
    }
}

/// Requests a channel from the server. The originator is not passed on: which program connects is
/// nothing for the server.
async fn request(
    connection: &Connection,
    address: ChannelAddress,
) -> Result<Channel<Msg>, russh::Error> {
    match address {
        ChannelAddress::Tcp(host, port) => {
            let port = u32::from(port);
            let handle = &connection.handle;
            handle
                .channel_open_direct_tcpip(host, port, "127.0.0.1", 0)
                .await
        }
        ChannelAddress::Socket(path) => {
            connection
                .handle
                .channel_open_direct_streamlocal(path)
                .await
        }
    }
}

/// Returns the reason of the server.
fn refusal(reason: &ChannelOpenFailure) -> Refusal {
    match reason {
        ChannelOpenFailure::AdministrativelyProhibited => Refusal::Forbidden,
        ChannelOpenFailure::ConnectFailed => Refusal::ConnectFailed,
        ChannelOpenFailure::UnknownChannelType => Refusal::Unsupported,
        _ => Refusal::NoResources,
    }
}
