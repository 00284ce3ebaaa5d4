//! The host at the other end of a log-in. Each operation is in the file of [`command`] that carries
//! it out, in an `impl` block of its own. [`transfer`] takes a [`RemoteHost`] for the channels.
//!
//! [`command`]: crate::ssh::command
//! [`transfer`]: crate::ssh::transfer

mod examination;
mod login_shell;
pub(super) mod stops;
mod windows;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::OnceCell, time::timeout};

use self::stops::Stops;
use crate::{
    event::Event,
    framing::exec::{HostFacts, ShellProbe},
    sftp::reply::ServerLimits,
    ssh::{
        auth::Credentials,
        config::target::Target,
        connect::{
            RouteCheck, UnknownHosts,
            connection::{Connection, Peer},
        },
        error::SshError,
        known_servers::{Capacity, KnownServers, KnownShell},
        pool::{ChannelPool, lanes::Lanes},
        prompt::prompter::Prompter,
    },
};

/// Host to which a log-in leads, with everything that can be done there, shared in an [`Arc`].
///
/// Created by each log-in, and of no use once the first connection has ended. The next log-in
/// creates another `RemoteHost` and finds out anew what the machine can do.
#[derive(Debug)]
pub struct RemoteHost {
    /// Channels to the host.
    pub(in crate::ssh) channels: Arc<ChannelPool>,
    /// Connections for forwards only.
    pub(in crate::ssh) lanes: Arc<Lanes>,
    /// Login shell that the last connection found. It holds until the shell of this one is known.
    expected_shell: Option<KnownShell>,
    /// Family of the user's login shell, once known.
    login_shell: OnceCell<ShellProbe>,
    /// Facts that came with the answer of the login shell.
    facts: OnceLock<HostFacts>,
    /// The same, from a login shell of Windows.
    windows_facts: OnceLock<HostFacts>,
    /// Event of the end of the first probe, with or without facts.
    probed: Event,
    /// Commands about to be stopped.
    pub(super) stops: Stops,
    /// True if the server has refused to run a shell for comparing or editing files, as a server
    /// for SFTP only does.
    pub(in crate::ssh) has_no_shell: AtomicBool,
    /// True if SFTP could not be started for a tool that shows files, which has other ways.
    pub(in crate::ssh) has_no_sftp: AtomicBool,
    /// True if a server of SFTP other than OpenSSH's has carried out a request for a path, or has
    /// refused one for a reason.
    pub(in crate::ssh) sftp_takes_paths: AtomicBool,
    /// Limits which the server of SFTP announced, with the time that the answer took.
    pub(in crate::ssh) sftp_limits: OnceLock<(ServerLimits, Duration)>,
}

impl RemoteHost {
    /// Connects and logs in, within `limit`. The limit also holds for each later connection to the
    /// host, but `unknown_hosts` only for this one. `servers` has what earlier connections showed
    /// about the server. `route_check` holds for all of these
    /// connections.
    ///
    /// # Errors
    /// [`SshError`], whose variant is the stage that failed.
    pub async fn open(
        target: &Target,
        credentials: &Credentials,
        prompter: &Prompter,
        limit: Duration,
        unknown_hosts: UnknownHosts,
        route_check: &RouteCheck,
        servers: &KnownServers,
    ) -> Result<Arc<Self>, SshError> {
        let first = Connection::open(
            target,
            credentials,
            prompter,
            limit,
            unknown_hosts,
            route_check,
            servers,
        )
        .await?;

        let host = Self::around(first, target, credentials, limit, true, servers);
        host.begin();

        Ok(host)
    }

    /// Creates the host at the end of an open connection. `prefetches` keeps a channel ready for
    /// the next command.
    pub(in crate::ssh) fn around(
        first: Arc<Connection>,
        target: &Target,
        credentials: &Credentials,
        limit: Duration,
        prefetches: bool,
        servers: &KnownServers,
    ) -> Arc<Self> {
        let server = servers.entry(&first.peer.host_key, first.identification());
        let account = server.account(&first.peer.user);
        let channels = ChannelPool::around(first, target, credentials, limit, prefetches, server);
        // Where asking could do harm, `login_shells` has the answer.
        let takes_many = channels.capacity() == Some(Capacity::ManyChannels);

        Arc::new(Self {
            lanes: Lanes::new(Arc::clone(&channels)),
            channels,
            expected_shell: account.shell.filter(|_| takes_many),
            login_shell: OnceCell::new(),
            facts: OnceLock::new(),
            windows_facts: OnceLock::new(),
            probed: Event::new(),
            stops: Stops::default(),
            has_no_shell: AtomicBool::new(false),
            has_no_sftp: AtomicBool::new(false),
            sftp_takes_paths: AtomicBool::new(false),
            sftp_limits: OnceLock::new(),
        })
    }

    /// Returns the first connection to the host.
    #[must_use]
    pub fn first(&self) -> &Connection {
        self.channels.first()
    }

    /// Notes that no further programs are to be run for comparing and editing files.
    pub fn runs_no_programs(&self) {
        self.has_no_shell.store(true, Ordering::Relaxed);
    }

    /// Returns true if each connection to the host has room for a single channel.
    #[must_use]
    pub fn has_single_channels(&self) -> bool {
        matches!(
            self.capacity(),
            Some(Capacity::OneCommand | Capacity::OneChannel)
        )
    }

    /// Returns the host's name, the user and other facts of the first connection.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.first().peer
    }

    /// Returns the facts that came with the answer of the login shell. Until then, the facts of the
    /// last connection; `None` if there are none.
    #[must_use]
    pub fn facts(&self) -> Option<HostFacts> {
        let known = self.windows_facts.get().or_else(|| self.facts.get());
        let expected = || self.expected_shell().map(KnownShell::facts);

        known.cloned().or_else(expected)
    }

    /// Waits until the first probe has ended, for up to `limit`. Does not wait if the last
    /// connection has left its facts.
    pub async fn wait_for_facts(&self, limit: Duration) {
        let _ = timeout(limit, self.probed.wait()).await;
    }

    /// Returns true if the first connection has ended, or is about to because it had its only
    /// command. Nothing new is begun on the host then.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.first().is_closed() || self.channels.is_used_up()
    }

    /// Returns the error for an operation which failed because the first connection ended.
    #[must_use]
    pub fn lost(&self) -> SshError {
        self.first().lost()
    }

    /// Returns true if the server answers over the first connection within `limit`.
    pub async fn answers(&self, limit: Duration) -> bool {
        self.first().answers(limit).await
    }

    /// Returns true if the first connection has ended without ever having been of use: no channel
    /// ever carried anything.
    #[must_use]
    pub fn was_useless(&self) -> bool {
        self.first().has_ended() && !self.first().has_served()
    }

    /// Returns the reason why the first connection ended; `None` if unknown.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.first().reason()
    }

    /// Returns the words with which the server ended the first connection; `None` if there were
    /// none, or if they were not read because a request met the closed connection first.
    #[must_use]
    pub fn farewell(&self) -> Option<String> {
        self.first().farewell()
    }

    /// Keeps a connection for forwards ready from now on, if the log-in allows that.
    pub fn keep_lane(&self) {
        self.lanes.keep();
    }

    /// Returns the number of connections that carry forwards only.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.lanes.count()
    }

    /// Keeps no connection for forwards ready any more.
    pub fn release_lanes(&self) {
        self.lanes.release();
    }

    /// Forgets what earlier connections showed about the server, so that the next one is examined.
    pub fn forget_server(&self) {
        self.channels.server.forget();
    }

    /// Closes every connection to the host with a disconnect message.
    pub async fn close(&self) {
        tokio::join!(self.lanes.close(), self.channels.close());
    }

    /// Releases the channel kept for the next command, because there will be none. The first
    /// connection ends with the work that still runs on the host.
    pub fn retire(&self) {
        self.lanes.release();
        self.channels.retire();
    }
}
