//! The first look at the other end of a forward, over a channel of its own.

use std::time::Duration;

use bytes::Bytes;
use russh::{Channel, ChannelMsg, client::Msg};
use tokio::time::timeout;

use super::channel::{ForwardChannel, ForwardChannelError};
use crate::{
    forward::{
        address::ConnectAddress,
        probe::{FarEnd, REQUEST, banner, is_http, may_ask},
    },
    ssh::command::remote_host::RemoteHost,
};

/// Time limit for a server to speak first, from the moment its connection is open.
const BANNER_LIMIT: Duration = Duration::from_millis(300);
/// Time limit for an answer over HTTP. A server that takes longer is still reachable.
const HTTP_LIMIT: Duration = Duration::from_secs(2);
/// Time limit for the end of the channel.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

impl RemoteHost {
    /// Connects to an address once, and returns what the other end says.
    ///
    /// # Errors
    /// The server refuses, or the connection has ended.
    pub async fn try_forward(&self, to: &ConnectAddress) -> Result<FarEnd, ForwardChannelError> {
        let ForwardChannel {
            mut channel,
            _connection,
            lane: _lane,
        } = self.open_forward(to).await?;

        let far_end = look(&mut channel, to).await;
        let _ = timeout(CLOSE_LIMIT, channel.close()).await;

        Ok(far_end)
    }
}

/// Waits for a banner, and then asks for one if the port allows it.
async fn look(channel: &mut Channel<Msg>, to: &ConnectAddress) -> FarEnd {
    match timeout(BANNER_LIMIT, first_bytes(channel)).await {
        Ok(Some(said)) if is_http(&said) => return FarEnd::Http,
        Ok(Some(said)) => return FarEnd::Banner(banner(&said)),
        // The server has closed the connection.
        Ok(None) => return FarEnd::Silent,
        Err(_) => {}
    }

    if !to.port().is_some_and(|port| may_ask(port.get())) {
        return FarEnd::Silent;
    }

    let answer = async {
        channel.data_bytes(Bytes::from_static(REQUEST)).await.ok()?;
        first_bytes(channel).await
    };

    match timeout(HTTP_LIMIT, answer).await {
        Ok(Some(answer)) if is_http(&answer) => FarEnd::Http,
        _ => FarEnd::Silent,
    }
}

/// Returns the first bytes from the other end, or `None` if it ends without any.
async fn first_bytes(channel: &mut Channel<Msg>) -> Option<Bytes> {
    loop {
        match channel.wait().await? {
            ChannelMsg::Data { data } => return Some(data),
            ChannelMsg::Eof | ChannelMsg::Close => return None,
            _ => {}
        }
    }
}
