//! Answers the server's messages outside of channels, and records facts about the connection.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use russh::{
    Channel, ChannelId, Names,
    client::{self, ChannelOpenHandle, DisconnectReason, Msg, Session},
    keys::{PublicKey, PublicKeyOrCertificate},
};
use tokio::sync::{Notify, oneshot};

use super::{
    agent_forward::ForwardedAgent,
    algorithms,
    deadline::ConnectDeadlines,
    host_key::{AcceptedHostKey, HostKeyCheck, HostKeyDecision, ShownKey, UnknownHost},
    remote_listeners::{Admission, RemoteListeners},
};
use crate::{
    event::Event,
    foreign_text::ForeignText,
    openssh::banner,
    ssh::{
        error::{CLOSED_BY_SERVER, MAX_WORDS_BYTES, SshError, excerpt},
        prompt::prompter::{Banner, Prompter, UnknownKey},
        trace::StageTrace,
    },
};

/// Facts about a connection. russh's handler records the facts, and the connection reads them.
#[derive(Debug, Default)]
pub(in crate::ssh) struct ConnectionFacts {
    /// Trace to which the log-in reports.
    pub(in crate::ssh) trace: StageTrace,
    /// Description of the agreed algorithms; set only for a recording trace.
    pub(in crate::ssh) algorithms: OnceLock<String>,
    /// Accepted host key of the server.
    pub(in crate::ssh) host_key: OnceLock<AcceptedHostKey>,
    /// Identification string of the server (RFC 4253, section 4.2).
    pub(in crate::ssh) software: OnceLock<Vec<u8>>,
    /// Agent which the server may use after the log-in; unset if no agent is forwarded.
    pub(in crate::ssh) agent: OnceLock<ForwardedAgent>,
    /// Addresses at which the server listens for this machine.
    pub(in crate::ssh) listeners: RemoteListeners,
    /// Reason for the end of the connection. A plain mutex, because the lock is held for an
    /// assignment only.
    ended: Mutex<Option<String>>,
    /// Words with which the server ended the connection (`SSH_MSG_DISCONNECT`, RFC 4253, section
    /// 11.1).
    pub(in crate::ssh) farewell: OnceLock<String>,
    /// True if the server ended the connection in good order, rather than the network.
    pub(in crate::ssh) ended_in_order: AtomicBool,
    /// Number of channels being opened next to another one, although the server is not known to take
    /// several.
    pub(in crate::ssh) openings_at_risk: AtomicUsize,
    /// Number of our channels which the server has closed.
    pub(in crate::ssh) channels_closed: AtomicUsize,
    /// End of the connection, for any reason.
    pub(in crate::ssh) closed: Event,
    /// Banners received before the log-in. A plain mutex, because the lock is held only briefly.
    banners: Mutex<Vec<String>>,
    /// Notification that a banner names a web page, after which the log-in may wait for the user.
    pub(in crate::ssh) page: Notify,
    /// End of the log-in, with or without success.
    pub(in crate::ssh) login_ended: Event,
    /// True once data or an exit status has arrived over a channel.
    pub(in crate::ssh) served: AtomicBool,
}

impl ConnectionFacts {
    /// Creates an empty record whose log-in reports to `trace`.
    pub(in crate::ssh) fn recording(trace: StageTrace) -> Self {
        Self {
            trace,
            ..Self::default()
        }
    }

    /// Returns the text of all banners; `None` if the server sent none.
    pub(in crate::ssh) fn banner(&self) -> Option<ForeignText> {
        let banners = self.banners.lock().ok()?;
        let words = excerpt(banners.join("\n").trim());
        (!words.is_empty()).then_some(words)
    }

    /// Keeps a banner, cut to the length which is shown. Returns false if too many were sent
    /// already.
    fn keep_banner(&self, words: &str) -> bool {
        let Ok(mut banners) = self.banners.lock() else {
            return false;
        };

        if banners.len() >= MAX_BANNERS {
            return false;
        }

        banners.push(words.chars().take(MAX_WORDS_BYTES).collect());

        true
    }

    /// Returns the reason which the server or the network gave for the end of the connection.
    pub(in crate::ssh) fn reason(&self) -> Option<String> {
        self.ended.lock().ok().and_then(|reason| reason.clone())
    }
}

/// Limit of the banners kept before the log-in. Tailscale's server sends a few, one after the
/// other.
const MAX_BANNERS: usize = 8;

/// Limit of the channels which a server may request in vain. During a key exchange russh keeps each
/// refusal in memory, with some kilobytes.
const MAX_REFUSALS: usize = 1000;

/// Handler which russh calls for messages of the server. russh owns the handler and drops it when
/// the connection ends.
pub(in crate::ssh) struct ClientHandler {
    /// Rules for accepting the host key.
    pub(in crate::ssh) check: Arc<HostKeyCheck>,
    /// Record of the connection.
    pub(in crate::ssh) facts: Arc<ConnectionFacts>,
    /// Sender for the host keys announced by the server; `None` after the first announcement.
    pub(in crate::ssh) announced: Option<oneshot::Sender<Vec<PublicKey>>>,
    /// Account as `user@host`, for display to the user.
    pub(in crate::ssh) account: String,
    /// Prompter for the question about an unknown host key, and for banners.
    pub(in crate::ssh) prompter: Prompter,
    /// Deadlines which move on during a question.
    pub(in crate::ssh) deadlines: ConnectDeadlines,
    /// Number of requested channels which were refused.
    pub(in crate::ssh) refused: usize,
}

impl Drop for ClientHandler {
    fn drop(&mut self) {
        self.facts.closed.set();
    }
}

impl ClientHandler {
    /// Refuses a channel which the server wants to open, by dropping the reply. russh would accept
    /// by default.
    ///
    /// # Errors
    /// The server has requested more than `MAX_REFUSALS` channels.
    fn refuse(&mut self) -> Result<(), SshError> {
        self.refused += 1;
        if self.refused > MAX_REFUSALS {
            return Err(SshError::Lost(Some(
                "the server requested too many channels".to_owned(),
            )));
        }
        Ok(())
    }

    /// Asks the user about an unknown key. Returns false without an answer.
    async fn is_trusted(&self, key: UnknownKey) -> bool {
        let answer = self.prompter.confirm_host_key(key);
        self.deadlines.while_asking(answer).await == Some(true)
    }
}

impl client::Handler for ClientHandler {
    type Error = SshError;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, SshError> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());

        let acceptance = match self.check.decide(ShownKey::parse(shown)?, now) {
            HostKeyDecision::Accept(acceptance) => acceptance,
            HostKeyDecision::Refuse(error) => return Err(error.into()),
            HostKeyDecision::Ask(unknown) => {
                let UnknownHost {
                    key,
                    acceptance,
                    refusal,
                } = *unknown;

                if !self.is_trusted(key).await {
                    return Err(refusal.into());
                }

                acceptance
            }
        };

        let accepted = self.check.accept(acceptance);
        let _ = self.facts.host_key.set(accepted);
        Ok(true)
    }

    async fn auth_banner(&mut self, words: &str, _: &mut Session) -> Result<(), SshError> {
        // A banner is passed on at once, not with the result: the log-in may wait for the user to
        // act on it.
        if self.facts.keep_banner(words) && !words.trim().is_empty() {
            let page = banner::page(words).map(str::to_owned);
            if page.is_some() {
                self.facts.page.notify_one();
            }

            self.prompter.show_banner(Banner {
                account: self.account.clone(),
                words: excerpt(words.trim()),
                page,
                login_ended: self.facts.login_ended.clone(),
            });
        }

        Ok(())
    }

    async fn data(&mut self, _: ChannelId, _: &[u8], _: &mut Session) -> Result<(), SshError> {
        self.facts.served.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn exit_status(&mut self, _: ChannelId, _: u32, _: &mut Session) -> Result<(), SshError> {
        self.facts.served.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn kex_done(
        &mut self,
        _: Option<&[u8]>,
        names: &Names,
        session: &mut Session,
    ) -> Result<(), SshError> {
        self.facts
            .software
            .get_or_init(|| session.remote_sshid().to_vec());

        if self.facts.trace.is_recording() {
            self.facts
                .algorithms
                .get_or_init(|| algorithms::agreed(names));
        }

        Ok(())
    }

    async fn openssh_ext_host_keys_announced(
        &mut self,
        keys: Vec<PublicKey>,
        _: &mut Session,
    ) -> Result<(), SshError> {
        // Only the first announcement counts. The proofs are awaited elsewhere, because waiting in
        // the handler would keep russh from reading them.
        if let Some(announced) = self.announced.take() {
            let _ = announced.send(keys);
        }
        Ok(())
    }

    async fn channel_close(&mut self, _: ChannelId, _: &mut Session) -> Result<(), SshError> {
        self.facts.channels_closed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Opens a channel to the local agent. As in `ssh`, the request is refused if no agent is
    /// forwarded.
    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), SshError> {
        let Some((agent, slot)) = self
            .facts
            .agent
            .get()
            .and_then(|agent| Some((agent.clone(), agent.slot()?)))
        else {
            return self.refuse();
        };

        // The handler must return at once: russh reads nothing while it runs.
        tokio::spawn(async move {
            agent.serve(channel, reply).await;
            drop(slot);
        });

        Ok(())
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        connected_address: &str,
        connected_port: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), SshError> {
        let listeners = &self.facts.listeners;
        let admitted = listeners.admit_tcp(connected_address, connected_port, channel, reply);
        match admitted.await {
            Admission::Passed | Admission::Full => Ok(()),
            Admission::Unknown => self.refuse(),
        }
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        socket_path: &str,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), SshError> {
        let listeners = &self.facts.listeners;
        match listeners.admit_socket(socket_path, channel, reply).await {
            Admission::Passed | Admission::Full => Ok(()),
            Admission::Unknown => self.refuse(),
        }
    }

    // The server may open no other kind of channel.

    async fn server_channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        _reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), SshError> {
        self.refuse()
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host_to_connect: &str,
        _port_to_connect: u32,
        _originator_address: &str,
        _originator_port: u32,
        _reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), SshError> {
        self.refuse()
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _socket_path: &str,
        _reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), SshError> {
        self.refuse()
    }

    async fn server_channel_open_x11(
        &mut self,
        _channel: Channel<Msg>,
        _originator_address: &str,
        _originator_port: u32,
        _reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), SshError> {
        self.refuse()
    }

    async fn disconnected(&mut self, reason: DisconnectReason<SshError>) -> Result<(), SshError> {
        let in_order = match &reason {
            DisconnectReason::ReceivedDisconnect(_) => true,
            DisconnectReason::Error(SshError::Lost(cause)) => cause
                .as_deref()
                .is_none_or(|cause| cause == CLOSED_BY_SERVER),
            DisconnectReason::Error(_) => false,
        };
        self.facts.ended_in_order.store(in_order, Ordering::Relaxed);

        let (text, result) = match reason {
            DisconnectReason::ReceivedDisconnect(received) => {
                let text = format!("the server said: {}", excerpt(received.message));
                let _ = self.facts.farewell.set(text.clone());
                (text, Ok(()))
            }
            DisconnectReason::Error(SshError::Lost(Some(cause))) => {
                (cause.clone(), Err(SshError::Lost(Some(cause))))
            }
            DisconnectReason::Error(error) => (error.to_string(), Err(error)),
        };

        // The first reason is the cause; later ones are its consequences.
        if let Ok(mut ended) = self.facts.ended.lock() {
            ended.get_or_insert(text);
        }

        result
    }
}
