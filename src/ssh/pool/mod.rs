//! The connections of one log-in: the first, and those dialled beside it because the server lets each have only so many
//! channels (`MaxSessions`, `sshd_config(5)`). What the server allows is learned from its refusals.
//!
//! Only the opening of a channel is ever tried again over another connection, never what was sent over one.

mod extra;
mod policy;
mod slot;
mod standby;
pub(super) mod stops;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::AtomicBool},
    time::{Duration, Instant},
};

use russh::{Channel, client::Msg};
use tokio::{
    sync::{Notify, OnceCell},
    time::{sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

pub(super) use self::{policy::Priority, slot::ChannelSlot};
use self::{
    policy::{Choice, PoolLoad, choose, look_again},
    slot::{Member, PoolState, SLOT_RELEASE_LAG, attempt},
    stops::Stops,
};
use super::{
    auth::Credentials,
    config::target::Target,
    connect::connection::{Connection, Peer},
    error::SshError,
    prompt::prompter::Prompter,
};
use crate::framing::exec::{OTHER_PROBE, POSIX_PROBE, ShellProbe};

/// How long the question which login shell it is may take before the answer is "some other".
const PROBE_LIMIT: Duration = Duration::from_secs(10);
/// How long to wait before dialling again where sshd drops connections (`MaxStartups`); doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest of these pauses.
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// How long work leaves the last place to scripts where no further connection can be had.
const PLACE_KEPT: Duration = Duration::from_secs(1);
/// How long a script waits where no further connection can be had: there are signal requests too, if less certain ones.
const SCRIPT_PATIENCE: Duration = Duration::from_secs(2);

/// All connections of one log-in. Shared in an [`Arc`]; it lives and dies with its first connection.
#[derive(Debug)]
pub struct Pool {
    target: Target,
    credentials: Credentials,
    limit: Duration,
    first: Arc<Connection>,
    prefetches: bool,
    login_shell: OnceCell<ShellProbe>,
    /// A plain mutex: held for look-ups and assignments only.
    state: Mutex<PoolState>,
    /// Wakes those who wait for a place.
    changed: Notify,
    closing: CancellationToken,
    pub(super) stops: Stops,
    /// The server has refused a shell in which files are to be compared, as one does that is for SFTP alone.
    pub(super) has_no_shell: AtomicBool,
}

impl Pool {
    /// Connects, all within `limit`, which holds for each later connection too.
    ///
    /// # Errors
    /// [`SshError`], whose variant is the stage that failed.
    pub async fn open(
        target: &Target,
        credentials: &Credentials,
        prompter: &Prompter,
        limit: Duration,
    ) -> Result<Arc<Self>, SshError> {
        let first = Connection::open(target, credentials, prompter, limit).await?;
        let pool = Self::around(first, target, credentials, limit, true);
        pool.prefetch_channel();
        // Asked now, so that the first command need not wait for the answer.
        let probing = Arc::clone(&pool);
        tokio::spawn(async move { probing.login_shell().await });
        Ok(pool)
    }

    /// The pool of a connection that was made in this way; whether it always has a channel ready for the next command.
    pub(super) fn around(
        first: Arc<Connection>,
        target: &Target,
        credentials: &Credentials,
        limit: Duration,
        prefetches: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            target: target.clone(),
            credentials: Credentials {
                typed: first.typed.clone(),
                needs_proof: first.needs_proof,
                ..credentials.clone()
            },
            limit,
            state: Mutex::new(PoolState {
                members: vec![Member::new(Arc::clone(&first))],
                refused: None,
                proven: first.is_single_channel(),
                most: usize::from(first.is_single_channel()),
                dialling: false,
                trouble: None,
                hopeless: false,
                ready: None,
            }),
            prefetches: prefetches && !first.is_single_channel(),
            first,
            login_shell: OnceCell::new(),
            changed: Notify::new(),
            closing: CancellationToken::new(),
            stops: Stops::default(),
            has_no_shell: AtomicBool::new(false),
        })
    }

    /// The connection that was made first.
    #[must_use]
    pub fn first(&self) -> &Connection {
        &self.first
    }

    /// What was connected to.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.first.peer
    }

    /// Whether the first connection has ended: nothing new is begun over the others then.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.first.is_closed()
    }

    /// The error to report for something that failed because the first connection ended.
    #[must_use]
    pub fn lost(&self) -> SshError {
        self.first.lost()
    }

    /// Whether the server still answers over the first connection, within `limit`.
    pub async fn answers(&self, limit: Duration) -> bool {
        self.first.answers(limit).await
    }

    /// Whether it has ended without ever having been of use: nothing has come over any channel of its first connection.
    #[must_use]
    pub fn was_useless(&self) -> bool {
        self.first.has_ended() && !self.first.has_served()
    }

    /// Why the first connection ended, if that is known.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.first.reason()
    }

    /// Says goodbye and ends every connection.
    pub async fn close(&self) {
        self.closing.cancel();
        let members = std::mem::take(&mut self.state().members);
        self.changed.notify_waiters();
        futures_util::future::join_all(members.iter().map(|member| member.connection.close()))
            .await;
    }

    /// Lets go of what is kept ready for a next command, because there will be none: the connection ends with what still
    /// runs over it.
    pub fn retire(&self) {
        drop(self.state().ready.take());
    }

    /// Which shell runs the commands of this user; asked once, or until it runs any.
    pub(super) async fn login_shell(self: &Arc<Self>) -> ShellProbe {
        let probe = async {
            let probe = self.probe_shell().await;
            if probe.deaf.is_some() {
                Err(probe)
            } else {
                Ok(probe)
            }
        };

        match self.login_shell.get_or_try_init(|| probe).await {
            Ok(probe) => probe.clone(),
            Err(probe) => probe,
        }
    }

    async fn probe_shell(self: &Arc<Self>) -> ShellProbe {
        let ask = |probe| self.ask_and_see(probe, PROBE_LIMIT);
        let Ok((first, first_failed)) = ask(POSIX_PROBE).await else {
            return ShellProbe::unknown();
        };

        if let Some(posix) = ShellProbe::posix(&first) {
            return posix;
        }

        let Ok((second, second_failed)) = ask(OTHER_PROBE).await else {
            return ShellProbe::unknown();
        };
        ShellProbe::other(first_failed || second_failed, &first, &second)
    }

    /// Opens a session channel over whichever connection has room, or one dialled for it. A caller may stop waiting at
    /// any time: the channel is closed then, as soon as it is open.
    ///
    /// The caller must read it from the first moment on: an unread channel blocks its whole connection.
    ///
    /// # Errors
    /// The server refuses the only channel of a connection, or it refuses more and no connection can be had for the
    /// time that connecting may take, or the first connection has ended.
    pub(super) async fn open_channel(
        self: &Arc<Self>,
        priority: Priority,
    ) -> Result<(Channel<Msg>, ChannelSlot), SshError> {
        if let Some(ready) = self.take_prefetched().await {
            self.prefetch_channel();
            return Ok(ready);
        }

        let asked = Instant::now();
        loop {
            let changed = self.changed.notified();

            let Some(slot) = self.slot(priority, asked)? else {
                if timeout(SLOT_RELEASE_LAG, changed).await.is_err() {
                    self.state().doubt_refusals();
                }
                continue;
            };

            let connection = Arc::clone(&slot.connection);

            match attempt(slot).await {
                Some((slot, Ok(channel))) => {
                    self.prefetch_channel();
                    return Ok((channel, slot));
                }
                Some((slot, Err(SshError::ChannelRefused(reason)))) => {
                    drop(slot);
                    if !self.is_at_limit(&connection).await {
                        return Err(SshError::ChannelRefused(reason));
                    }
                }
                Some((_, Err(error))) if Arc::ptr_eq(&connection, &self.first) => {
                    return Err(error);
                }
                // Nothing was sent over it yet, and it will not do.
                Some((_, Err(_))) => self.discard(&connection),
                None => return Err(connection.lost()),
            }
        }
    }

    /// A place for a channel; `None` where there is none for now.
    fn slot(
        self: &Arc<Self>,
        priority: Priority,
        asked: Instant,
    ) -> Result<Option<ChannelSlot>, SshError> {
        if self.closing.is_cancelled() || (priority == Priority::Work && self.is_closed()) {
            return Err(self.lost());
        }

        let mut state = self.state();
        state
            .members
            .retain(|member| !member.connection.is_closed());

        if state.members.is_empty() {
            return Err(self.lost());
        }

        let situation = PoolLoad {
            limit: state.limit(),
            may_dial: !state.dialling && !state.hopeless && !self.is_closed(),
            keeps_one: state.trouble.is_none() || asked.elapsed() < PLACE_KEPT,
        };

        let patience = if priority == Priority::Control {
            self.limit.min(SCRIPT_PATIENCE)
        } else {
            self.limit
        };

        match choose(state.members.iter().map(Member::load), priority, situation) {
            Choice::Use(index) => Ok(state
                .members
                .get_mut(index)
                .map(|member| self.slot_on(member))),
            Choice::Dial | Choice::Wait
                if state.trouble.is_some() && asked.elapsed() >= patience =>
            {
                Err(state
                    .trouble
                    .clone()
                    .map_or_else(|| self.lost(), |source| SshError::NoRoom { source }))
            }
            Choice::Dial => {
                self.start_dialling(&mut state);
                Ok(None)
            }
            Choice::Wait => Ok(None),
        }
    }

    fn slot_on(self: &Arc<Self>, member: &mut Member) -> ChannelSlot {
        member.opening += 1;
        member.idle_since = None;
        ChannelSlot {
            pool: Arc::clone(self),
            connection: Arc::clone(&member.connection),
            is_open: false,
        }
    }

    fn start_dialling(self: &Arc<Self>, state: &mut PoolState) {
        state.dialling = true;
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                () = pool.closing.cancelled() => {}
                () = pool.dial() => {}
            }
        });
    }

    /// After a refusal: whether it can be the server's limit, which it cannot if this connection never had a channel.
    /// Whether one that was asked for at the same time was granted may not be known yet.
    async fn is_at_limit(&self, connection: &Arc<Connection>) -> bool {
        loop {
            let changed = self.changed.notified();

            {
                let mut state = self.state();
                let Some(member) = state.member(connection) else {
                    return true;
                };

                if member.had > 0 {
                    state.note_refusal(connection, Instant::now());
                    return true;
                }

                if member.opening == 0 {
                    return false;
                }
            }

            changed.await;
        }
    }

    /// Dials one more connection. What may have been sshd's `MaxStartups` is tried again for as long as connecting may
    /// take.
    async fn dial(self: &Arc<Self>) {
        let (started, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let left = self.limit.saturating_sub(started.elapsed());
            let dialled = self
                .first
                .open_another(&self.target, &self.credentials, left)
                .await;

            let again = {
                let mut state = self.state();
                match dialled {
                    _ if self.closing.is_cancelled() => return,
                    Ok(connection) => {
                        tokio::spawn(close_when_idle(
                            Arc::downgrade(self),
                            Arc::downgrade(&connection),
                        ));

                        state.members.push(Member::new(connection));
                        (state.trouble, state.dialling) = (None, false);
                        let (host, connections) = (&self.peer().host_name, state.members.len());
                        tracing::info!(host, connections, "one more connection, for more channels");

                        false
                    }
                    Err(error) => {
                        let in_time = started.elapsed() + pause < self.limit;
                        let again = in_time && error.is_transient() && !self.is_closed();
                        let text = error.to_string().escape_debug().to_string();

                        tracing::warn!(
                            host = self.peer().host_name,
                            again,
                            error = text,
                            "no further connection"
                        );

                        state.hopeless = !error.is_transient();
                        state.trouble = Some(Arc::new(error));
                        state.dialling = again;

                        again
                    }
                }
            };

            self.changed.notify_waiters();
            if !again {
                return;
            }

            sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    fn discard(&self, connection: &Arc<Connection>) {
        self.state().remove(connection);
        self.changed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes a connection when nothing has run over it for a while.
async fn close_when_idle(pool: Weak<Pool>, connection: Weak<Connection>) {
    let mut idle_since = None;
    while let Some(next) = look_again(idle_since, Instant::now()) {
        sleep_until(next.into()).await;
        let (Some(pool), Some(connection)) = (pool.upgrade(), connection.upgrade()) else {
            return;
        };

        let goes = {
            let mut state = pool.state();
            let Some(member) = state.member(&connection) else {
                return;
            };
            idle_since = member.idle_since;
            let goes = look_again(idle_since, Instant::now()).is_none();
            if goes {
                state.remove(&connection);
            }

            goes
        };

        if goes {
            tracing::info!(
                host = pool.peer().host_name,
                "a connection was idle and is closed"
            );
            return connection.close().await;
        }
    }
}
