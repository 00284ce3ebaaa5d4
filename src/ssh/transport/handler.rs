//! What we answer when the server asks or tells us something outside a channel.

use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use russh::{
    Channel, ChannelId, Names,
    client::{self, ChannelOpenHandle, DisconnectReason, Msg, Session},
    keys::{PublicKey, PublicKeyOrCertificate},
};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    agent_forward::ForwardedAgent,
    algorithms,
    deadline::Deadline,
    host_key::{AcceptedHostKey, HostKeyCheck},
};
use crate::{
    openssh::banner,
    ssh::{
        error::{HostKeyError, MAX_WORDS_BYTES, SshError, said},
        prompt::prompter::{Banner, Prompter, UnknownKey},
        trace::StageTrace,
    },
};

/// What the handler, which russh owns, has learned and its connection wants to know.
#[derive(Debug, Default)]
pub(in crate::ssh) struct ConnectionFacts {
    /// Where it is noted how the log-in goes.
    pub(in crate::ssh) trace: StageTrace,
    /// The algorithms that were agreed on.
    pub(in crate::ssh) algorithms: OnceLock<String>,
    /// How the server's host key came to be accepted.
    pub(in crate::ssh) host_key: OnceLock<AcceptedHostKey>,
    /// The server's identification string (RFC 4253, section 4.2).
    pub(in crate::ssh) software: OnceLock<Vec<u8>>,
    /// The agent that the server may use, once logged in; unset where none is forwarded.
    pub(in crate::ssh) agent: OnceLock<ForwardedAgent>,
    /// Why the connection ended. A plain mutex: held for an assignment only.
    ended: Mutex<Option<String>>,
    /// How many channels of ours the server has closed before we did.
    pub(in crate::ssh) channels_closed: AtomicUsize,
    /// Cancelled when the connection has ended, for whatever reason.
    pub(in crate::ssh) closed: CancellationToken,
    /// What the server has said before the log-in. A plain mutex: held for an assignment or a look only.
    banners: Mutex<Vec<String>>,
    /// Told when these words name a web page: then the log-in may wait for the person.
    pub(in crate::ssh) page: Notify,
    /// Cancelled when the log-in has ended.
    pub(in crate::ssh) logged_in: CancellationToken,
    /// Whether anything has come over a channel: the connection was of use.
    pub(in crate::ssh) served: AtomicBool,
}

impl ConnectionFacts {
    /// Nothing yet, and where the log-in is to be noted.
    pub(in crate::ssh) fn recording(trace: StageTrace) -> Self {
        Self {
            trace,
            ..Self::default()
        }
    }

    /// What the server has said before the log-in, if anything.
    pub(in crate::ssh) fn banner(&self) -> Option<String> {
        let banners = self.banners.lock().ok()?;
        let words = banners.join("\n").trim().to_owned();
        (!words.is_empty()).then_some(words)
    }

    /// Keeps what the server says, as far as it is shown. `false`: it has said enough.
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

    /// Why the connection ended, if the server or the network said so.
    pub(in crate::ssh) fn reason(&self) -> Option<String> {
        self.ended.lock().ok().and_then(|reason| reason.clone())
    }
}

/// How often a server is listened to before the log-in. Tailscale's says a few things, one after the other.
const MAX_BANNERS: usize = 8;

/// How many channels a server may ask for in vain; one that goes on breaks the protocol. While new keys are agreed on russh
/// keeps the refusals in memory, and some kilobytes with each.
const MAX_REFUSALS: usize = 1000;

pub(in crate::ssh) struct ClientHandler {
    pub(in crate::ssh) check: Arc<HostKeyCheck>,
    pub(in crate::ssh) facts: Arc<ConnectionFacts>,
    /// Takes the host keys that the server says it has.
    pub(in crate::ssh) announced: Option<oneshot::Sender<Vec<PublicKey>>>,
    /// `user@host`, for the person.
    pub(in crate::ssh) account: String,
    /// Who is asked about a key that is not known, and told what the server says.
    pub(in crate::ssh) prompter: Prompter,
    /// What stands still meanwhile: the time for the connection, and that for everything.
    pub(in crate::ssh) deadlines: [Deadline; 2],
    /// How many channels it was asked for that nobody wants.
    pub(in crate::ssh) refused: usize,
    /// russh drops its handler when the connection ends, and this says so.
    pub(in crate::ssh) _closed: DropGuard,
}

impl ClientHandler {
    /// Refuses a channel that the server wants to open: the reply that is dropped does, where russh would accept.
    fn refuse(&mut self) -> Result<(), SshError> {
        self.refused += 1;
        if self.refused > MAX_REFUSALS {
            return Err(SshError::Lost(Some(
                "the server wants channels without end".to_owned(),
            )));
        }
        Ok(())
    }

    /// Asks the person, if there is one and `ssh` would ask.
    async fn is_trusted(&self, unknown: &HostKeyError) -> bool {
        let (
            Some(file),
            HostKeyError::Unknown {
                host,
                key_type,
                fingerprint,
                ..
            },
        ) = (self.check.asks_to_save_in(), unknown)
        else {
            return false;
        };

        let (host, key_type, fingerprint) = (host.clone(), key_type.clone(), fingerprint.clone());

        let answer = self.prompter.confirm_host_key(UnknownKey {
            host,
            key_type,
            fingerprint,
            saved_in: file.to_owned(),
        });

        let [connecting, all] = &self.deadlines;
        all.while_asking(connecting.while_asking(answer)).await == Some(true)
    }
}

impl client::Handler for ClientHandler {
    type Error = SshError;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, SshError> {
        let accepted = match self.check.decide(shown, false) {
            Err(unknown @ HostKeyError::Unknown { .. }) => {
                let trusted = self.is_trusted(&unknown).await;
                self.check.decide(shown, trusted)?
            }
            decided => decided?,
        };

        let _ = self.facts.host_key.set(accepted);
        Ok(true)
    }

    async fn auth_banner(&mut self, words: &str, _: &mut Session) -> Result<(), SshError> {
        if self.facts.keep_banner(words) && !words.trim().is_empty() {
            let page = banner::page(words).map(str::to_owned);
            if page.is_some() {
                self.facts.page.notify_one();
            }

            let words = words.chars().take(MAX_WORDS_BYTES).collect();
            let over = self.facts.logged_in.clone();

            self.prompter.tell(Banner {
                account: self.account.clone(),
                words,
                page,
                login_ended: over,
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
        // The first announcement alone counts. To wait here for the proofs would keep them from being read.
        if let Some(take) = self.announced.take() {
            let _ = take.send(keys);
        }
        Ok(())
    }

    async fn channel_close(&mut self, _: ChannelId, _: &mut Session) -> Result<(), SshError> {
        self.facts.channels_closed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// A server that asks for the agent unasked gets none, as in `ssh`.
    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), SshError> {
        let Some((agent, place)) = self
            .facts
            .agent
            .get()
            .and_then(|agent| Some((agent.clone(), agent.place()?)))
        else {
            return self.refuse();
        };

        tokio::spawn(async move {
            agent.serve(channel, reply).await;
            drop(place);
        });

        Ok(())
    }

    // Nothing else is ever forwarded from the other side.

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _connected_address: &str,
        _connected_port: u32,
        _originator_address: &str,
        _originator_port: u32,
        _reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), SshError> {
        self.refuse()
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _socket_path: &str,
        _reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), SshError> {
        self.refuse()
    }

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
        let (text, result) = match reason {
            DisconnectReason::ReceivedDisconnect(told) => {
                (format!("the server said: {}", said(&told.message)), Ok(()))
            }
            DisconnectReason::Error(SshError::Lost(Some(cause))) => {
                (cause.clone(), Err(SshError::Lost(Some(cause))))
            }
            DisconnectReason::Error(error) => (error.to_string(), Err(error)),
        };

        if let Ok(mut ended) = self.facts.ended.lock() {
            ended.get_or_insert(text);
        }

        result
    }
}
