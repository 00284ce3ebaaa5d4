//! How a conversation begins.

use rmcp::{
    RoleServer,
    model::{ClientRequest, GetMeta as _, JsonRpcMessage, ProtocolVersion},
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
    transport::Transport,
};

/// Leaves out notifications and answers until a client has said hello. rmcp ends the server for one, but a client that
/// gives up on `server/discover` cancels it first and says hello then.
pub(super) struct FromHello<T> {
    transport: T,
    begun: bool,
}

impl<T> FromHello<T> {
    pub(super) fn new(transport: T) -> Self {
        Self {
            transport,
            begun: false,
        }
    }
}

impl<T: Transport<RoleServer>> Transport<RoleServer> for FromHello<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.transport.send(item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            let message = self.transport.receive().await?;
            if let JsonRpcMessage::Request(request) = &message {
                self.begun |= is_hello(&request.request);
            } else if !self.begun {
                continue;
            }

            return Some(message);
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.transport.close().await
    }
}

/// Whether rmcp begins to serve with this request: `initialize`, or one that carries all it needs (2026-07-28).
fn is_hello(request: &ClientRequest) -> bool {
    match request {
        ClientRequest::InitializeRequest(_) => true,
        ClientRequest::PingRequest(_) | ClientRequest::DiscoverRequest(_) => false,
        other => {
            let meta = other.get_meta();
            meta.missing_required_keys(&ProtocolVersion::V_2026_07_28)
                .is_empty()
                && meta
                    .protocol_version()
                    .is_some_and(|version| ProtocolVersion::KNOWN_VERSIONS.contains(&version))
        }
    }
}
