//! The handshake with a server: key exchange and host key check.

use std::sync::Arc;

use russh::{client, keys::PublicKey};
use tokio::sync::oneshot;

use super::{OpenConnection, route::RouteStream};
use crate::{
    foreign_text::ForeignText,
    openssh::effective_config::EffectiveConfig,
    ssh::{
        connect::proxy_command::ProxyProcess,
        error::SshError,
        prompt::prompter::Prompter,
        trace::Stage,
        transport::{
            deadline::{ConnectDeadlines, Deadline},
            handler::{ClientHandler, ConnectionFacts},
            host_key::{AcceptedHostKey, HostKeyCheck},
            metered::{FirstBytes, MeteredStream, Traffic},
        },
    },
};

/// Transport after the key exchange, to a server with an accepted host key. Nobody is logged in
/// yet.
pub(super) struct Secured {
    pub(super) handle: client::Handle<ClientHandler>,
    pub(super) check: Arc<HostKeyCheck>,
    pub(super) facts: Arc<ConnectionFacts>,
    pub(super) traffic: Traffic,
    /// Receiver of the host keys announced by the server (`UpdateHostKeys`).
    pub(super) announced: oneshot::Receiver<Vec<PublicKey>>,
    pub(super) accepted: AcceptedHostKey,
    pub(super) proxy: Option<ProxyProcess>,
}

impl OpenConnection<'_> {
    /// Performs the SSH handshake: exchanges keys and checks the server's host key (RFC 4253).
    pub(super) async fn secure(
        &self,
        config: &EffectiveConfig,
        check: HostKeyCheck,
        engine: Arc<client::Config>,
        stream: RouteStream,
        connecting: &Deadline,
        proxy: Option<ProxyProcess>,
    ) -> Result<Secured, SshError> {
        let facts = Arc::new(ConnectionFacts::recording(self.trace.clone()));
        let check = Arc::new(check);
        let (announce, announced) = oneshot::channel();

        let handler = ClientHandler {
            check: Arc::clone(&check),
            facts: Arc::clone(&facts),
            announced: Some(announce),
            account: config.account(),
            // With `BatchMode` nobody is asked, so an unknown key is refused.
            prompter: if config.batch_mode {
                Prompter::default()
            } else {
                self.prompter.clone()
            },
            deadlines: ConnectDeadlines {
                connecting: connecting.clone(),
                attempt: self.deadline.clone(),
            },
            refused: 0,
        };

        // The first bytes are kept for `doctor` only, which explains the handshake from them.
        let first_bytes = self.trace.is_recording().then(FirstBytes::default);
        let traffic = Traffic::default();
        let stream = MeteredStream::new(stream, first_bytes.clone(), traffic.clone());
        let handshake = client::connect_stream(engine, stream, handler);
        let result = connecting
            .limit("the SSH handshake", handshake)
            .await
            .flatten();

        if let Some(first_bytes) = first_bytes {
            let error = result.as_ref().err();
            self.explain_handshake(&first_bytes.so_far(), error, proxy.is_some(), &facts);
        }

        let handle = match result {
            Ok(handle) => handle,
            Err(error) => {
                return Err(in_handshake(error, &config.host_name, proxy, &traffic.words()).await);
            }
        };

        let accepted = facts.host_key.get().cloned().unwrap_or_default();
        self.trace.begin(Stage::Authentication);

        // A name may lead to another machine the second time. Its process ids and files would be
        // others.
        if self
            .same_host_as
            .is_some_and(|first| first.peer.host_key != accepted.fingerprint)
        {
            let message = "it shows another host key than before, and may be another machine";
            return Err(SshError::Handshake {
                host: config.host_name.clone(),
                message: message.to_owned(),
            });
        }

        Ok(Secured {
            handle,
            check,
            facts,
            traffic,
            announced,
            accepted,
            proxy,
        })
    }
}

/// Turns an error before authentication into a handshake error, which quotes the `ProxyCommand` and
/// the server. Errors of other kinds are returned unchanged.
async fn in_handshake(
    error: SshError,
    host: &str,
    proxy: Option<ProxyProcess>,
    words: &str,
) -> SshError {
    // No connection was lost, because none was established yet. A timeout stays one unless there
    // are words of the proxy or the server to quote.
    let message = match &error {
        SshError::Lost(reason) => reason
            .clone()
            .unwrap_or_else(|| "the server closed the connection".to_owned()),
        SshError::Timeout { .. } if proxy.is_some() || !words.is_empty() => error.to_string(),
        _ => return error,
    };

    let complaint = match proxy {
        Some(proxy) => proxy.complaint().await,
        None => ForeignText::default(),
    };

    let said = if complaint.is_empty() {
        String::new()
    } else {
        format!("; its ProxyCommand says: \"{complaint}\"")
    };

    let words = if words.is_empty() {
        String::new()
    } else {
        format!("; the server says: {words}")
    };

    SshError::Handshake {
        host: host.to_owned(),
        message: message + &said + &words,
    }
}
