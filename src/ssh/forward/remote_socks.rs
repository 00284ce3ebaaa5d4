//! The SOCKS handshake with a program at the host, whose connections begin on this machine.

use bytes::Bytes;
use russh::ChannelMsg;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    channel::ForwardChannel,
    local_address::{LocalConnectError, connect},
    local_stream::LocalStream,
};
use crate::forward::{
    address::ConnectAddress,
    socks::{HANDSHAKE_LIMIT, SocksEvent, SocksHandshake, SocksOutcome, SocksRequest},
};

impl ForwardChannel {
    /// Carries out the handshake and connects to the address that the program names, as this machine
    /// reaches it. The program has been answered in either case. Returns `None` after closing the
    /// channel, which `closing` brings about as well.
    pub async fn connect_by_socks(
        self,
        closing: &CancellationToken,
    ) -> Option<(Self, LocalStream)> {
        let mut channel = self;
        let connected = tokio::select! {
            connected = timeout(HANDSHAKE_LIMIT, channel.shake_hands_and_connect()) => connected,
            () = closing.cancelled() => Ok(None),
        };

        if let Ok(Some(local)) = connected {
            return Some((channel, local));
        }

        // The end of the direction comes first, so that the program gets the reply.
        let _ = channel.channel.eof().await;
        let _ = channel.channel.close().await;

        None
    }

    /// Reads the request, connects, and replies.
    async fn shake_hands_and_connect(&mut self) -> Option<LocalStream> {
        let request = self.read_request().await?;
        // A program that does not wait for the reply could fill the channel meanwhile, which would
        // block the whole connection.
        if !request.early.is_empty() {
            return None;
        }

        let to = ConnectAddress::Host(request.to);
        let connected = tokio::select! {
            connected = connect(&to) => connected,
            () = self.unexpected() => return None,
        };
        let outcome = match &connected {
            Ok(_) => SocksOutcome::Connected,
            Err(LocalConnectError::Own) => SocksOutcome::Forbidden,
            Err(_) => SocksOutcome::Unreachable,
        };
        self.send(request.version.reply(outcome)).await?;

        connected.ok()
    }

    /// Reads messages up to the request.
    async fn read_request(&mut self) -> Option<SocksRequest> {
        let mut handshake = SocksHandshake::default();

        loop {
            match handshake.next_event() {
                Ok(Some(SocksEvent::Send(bytes))) => self.send(bytes).await?,
                Ok(Some(SocksEvent::Connect(request))) => return Some(request),
                Ok(None) => match self.channel.wait().await? {
                    ChannelMsg::Data { data } => handshake.push(&data),
                    ChannelMsg::Eof | ChannelMsg::Close => return None,
                    _ => {}
                },
                Err(error) => {
                    self.send(error.reply()).await?;
                    return None;
                }
            }
        }
    }

    /// Waits for anything that a program does not send before the reply.
    async fn unexpected(&mut self) {
        while matches!(
            self.channel.wait().await,
            Some(ChannelMsg::WindowAdjusted { .. })
        ) {}
    }

    /// Sends bytes to the program.
    async fn send(&self, bytes: impl Into<Bytes>) -> Option<()> {
        self.channel.data_bytes(bytes).await.ok()
    }
}
