//! The byte stream to a server.

use std::{net::SocketAddr, sync::Arc};

use russh::{ChannelStream, client::Msg};
use tokio_util::either::Either;

use super::{OpenConnection, hops};
use crate::{
    openssh::effective_config::EffectiveConfig,
    ssh::{
        config::expand::expand_hops,
        connect::{
            connection::Connection,
            proxy_command::{self, CommandStream, ProxyProcess},
        },
        error::SshError,
        trace::Stage,
        transport::{deadline::Deadline, dial::dial, tcp::TcpTransport},
    },
};

/// Byte stream to the server: a channel of the jump host, the pipes of a `ProxyCommand`, or TCP.
pub(super) type RouteStream = Either<ChannelStream<Msg>, Either<CommandStream, TcpTransport>>;

/// Byte stream to the server, with the jump host or `ProxyCommand` which carries the stream.
pub(super) struct Route {
    pub(super) stream: RouteStream,
    pub(super) hop: Option<Arc<Connection>>,
    pub(super) proxy: Option<ProxyProcess>,
    /// Dialled address of the server; `None` through a jump host or `ProxyCommand`.
    pub(super) address: Option<SocketAddr>,
    /// Deadline of `ConnectTimeout`, which covers connecting and the handshake (`ssh_config(5)`).
    pub(super) connecting: Deadline,
}

impl OpenConnection<'_> {
    /// Establishes the byte stream to the server: through jump hosts, through a `ProxyCommand`, or
    /// by TCP.
    pub(super) async fn reach(&self, config: &EffectiveConfig) -> Result<Route, SshError> {
        let trace = self.trace;
        trace.begin(Stage::Proxy);
        // `via` is the rest of a list whose tokens were expanded for the destination.
        let hops = match (self.via, &config.proxy_jump) {
            (None, Some(own)) => Some(expand_hops(own, config, self.destination())?),
            (via, _) => via.map(str::to_owned),
        };

        let (mut hop, mut proxy, mut address) = (None, None, None);
        if let Some(hops) = hops {
            hop = Some(hops::connect_hops(&hops, self).await?);
        }

        // `ConnectTimeout` starts here, because each hop has a `ConnectTimeout` of its own.
        let connecting = self.deadline.within(config.connect_timeout);

        let stream = if let Some(hop) = &hop {
            let forward = hop.forward(&config.host_name, config.port);
            let forwarded = connecting
                .limit("connecting through the jump host", forward)
                .await??;

            trace.pass(|| {
                format!(
                    "{} reaches {} port {}",
                    hop.peer.host_name, config.host_name, config.port
                )
            });

            Either::Left(forwarded)
        } else if let Some(command) = &config.proxy_command {
            // A started command proves nothing yet: the stage passes once the server answers
            // through it.
            let started = proxy_command::start_command(command, config, self.destination(), trace)?;
            proxy = Some(started.process);
            Either::Right(Either::Left(started.stream))
        } else {
            // A further connection dials the address of the first, since the name may resolve
            // differently now.
            let dialled = dial(
                config,
                self.same_host_as.and_then(|first| first.address),
                &connecting,
                trace,
            )
            .await?;

            address = dialled.peer_address();
            Either::Right(Either::Right(dialled))
        };

        Ok(Route {
            stream,
            hop,
            proxy,
            address,
            connecting,
        })
    }
}
