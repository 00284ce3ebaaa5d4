//! The beginning of a conversation between a client and the server.

use rmcp::{
    RoleServer,
    model::{ClientRequest, GetMeta as _, JsonRpcMessage, ProtocolVersion},
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
    transport::Transport,
};

/// Transport which drops notifications and answers until the client has begun the handshake. rmcp would
/// end the server on such an early message. A client that gives up on `server/discover` cancels
/// that request first and begins the handshake afterwards.
pub(super) struct FromHandshake<T> {
    transport: T,
    /// True once the client has begun the handshake.
    has_begun: bool,
}

impl<T> FromHandshake<T> {
    /// Wraps the transport of a client that has not begun the handshake.
    pub(super) fn new(transport: T) -> Self {
        Self {
            transport,
            has_begun: false,
        }
    }
}

impl<T: Transport<RoleServer>> Transport<RoleServer> for FromHandshake<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.transport.send(item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            // Requests always pass: before the handshake, rmcp answers them, if only with an error.
            let message = self.transport.receive().await?;
            if let JsonRpcMessage::Request(request) = &message {
                self.has_begun |= is_handshake(&request.request);
            } else if !self.has_begun {
                continue;
            }

            return Some(message);
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.transport.close().await
    }
}

/// Returns true for the first request of a handshake, the one on which rmcp begins to serve. This is `initialize`, or a
/// request of revision 2026-07-28 with complete metadata.
fn is_handshake(request: &ClientRequest) -> bool {
    match request {
        ClientRequest::InitializeRequest(_) => true,
        ClientRequest::PingRequest(_) | ClientRequest::DiscoverRequest(_) => false,
        other => {
            // A request of 2026-07-28 carries in `_meta` what `initialize` negotiates in earlier
            // revisions.
            let meta = other.get_meta();
            meta.missing_required_keys(&ProtocolVersion::V_2026_07_28)
                .is_empty()
                && meta
                    .protocol_version()
                    .is_some_and(|version| ProtocolVersion::KNOWN_VERSIONS.contains(&version))
        }
    }
}
