//! The question which shell runs the commands of the account.
//!
//! It is asked in channels that nobody has requested, which not every server takes. So a server that
//! nobody knows is examined first, see [`examination`](super::examination).

use std::{future::pending, sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};

use super::RemoteHost;
use crate::{
    framing::exec::{HostFacts, OTHER_PROBE, POSIX_PROBE, ShellProbe},
    ssh::{
        error::SshError,
        known_servers::{Capacity, KnownShell},
    },
};

/// Time limit of a probe for the login shell. Without an answer the shell counts as unknown.
pub(super) const PROBE_LIMIT: Duration = Duration::from_secs(10);
/// Time limit of the facts about the host, from the moment at which the login shell is known. A
/// `PATH` over a dead network must not hold up the first command.
pub(super) const FACTS_LIMIT: Duration = Duration::from_secs(1);

impl RemoteHost {
    /// Returns the commands and channels that the server takes over a connection; `None` if that is
    /// not known.
    pub(in crate::ssh) fn capacity(&self) -> Option<Capacity> {
        self.channels.capacity()
    }

    /// Returns the family of the user's login shell. The probe is repeated until the host runs
    /// commands at all.
    pub(in crate::ssh) async fn login_shell(self: &Arc<Self>) -> ShellProbe {
        self.login_shell_for(true).await
    }

    /// Returns the family of the user's login shell as [`login_shell`](Self::login_shell) does. Where
    /// the question could cost the connection, it is asked only if the answer `is_needed`.
    pub(in crate::ssh) async fn login_shell_for(self: &Arc<Self>, is_needed: bool) -> ShellProbe {
        let shell = self
            .login_shell
            .get_or_try_init(|| Box::pin(self.find_any_shell(is_needed)));

        match shell.await {
            Ok(probe) => probe.clone(),
            Err(probe) => probe,
        }
    }

    /// Returns the login shell that the last connection found, while the shell of this one has not
    /// answered.
    pub(in crate::ssh) fn expected_shell(&self) -> Option<&KnownShell> {
        if self.login_shell.initialized() {
            return None;
        }

        // An answer that shows no such shell is not kept here, but makes the memory void.
        let remembered = self.channels.server.account(&self.peer().user).shell;
        self.expected_shell
            .as_ref()
            .filter(|expected| remembered.as_ref() == Some(expected))
    }

    /// Returns true if the account is known to run no commands, or only certain ones.
    #[must_use]
    pub fn refuses_commands(&self) -> bool {
        self.login_shell.get().is_some_and(|probe| probe.refuses)
    }

    /// Examines a server of which nothing is known, after a refusal. Returns true if the server takes
    /// one command over a connection, so that the refusal may be due to an earlier command.
    pub(in crate::ssh) async fn turns_out_to_take_one_command(self: &Arc<Self>) -> bool {
        if self.capacity().is_some() {
            return false;
        }

        self.login_shell().await;
        self.capacity() == Some(Capacity::OneCommand)
    }

    /// Finds out the login shell in a way that this server bears.
    ///
    /// # Errors
    /// Returns what is known for now, and the next caller is to try again.
    pub(super) async fn find_shell(
        self: &Arc<Self>,
        is_needed: bool,
    ) -> Result<ShellProbe, ShellProbe> {
        if matches!(self.capacity(), None | Some(Capacity::OneCommand)) {
            let known = self.channels.server.get().login_shells;
            if let Some(shell) = known.get(&self.peer().user) {
                return Ok(shell.clone());
            }

            // Boxed, because the future is large and rarely needed.
            let examined = Box::pin(self.examine(is_needed)).await;
            return examined.ok_or_else(ShellProbe::unknown);
        }

        let probe = self.probe_shell().await;
        if probe.deaf.is_some() {
            Err(probe)
        } else {
            Ok(probe)
        }
    }

    /// Probes the login shell with up to two commands.
    async fn probe_shell(self: &Arc<Self>) -> ShellProbe {
        let (first, first_failed) = match self.ask_posix_shell().await {
            Ok(answer) => answer,
            Err(SshError::ExecRefused) => {
                let refusing = ShellProbe::refusing();
                self.remember_shell(&refusing, b"");
                return refusing;
            }
            Err(_) => return ShellProbe::unknown(),
        };

        let probe = if let Some(posix) = ShellProbe::posix(&first) {
            posix
        } else {
            // Only a shell of another family gets the second probe: every POSIX shell has answered
            // the first.
            let Ok((second, second_failed)) = self.probe(OTHER_PROBE, PROBE_LIMIT, None).await
            else {
                return ShellProbe::unknown();
            };
            ShellProbe::other(first_failed || second_failed, &first, &second)
        };

        let _ = self.facts.set(HostFacts::read(&probe, &first));
        self.remember_shell(&probe, &first);

        probe
    }

    /// Notes the login shell for the next connection.
    fn remember_shell(&self, probe: &ShellProbe, answer: &[u8]) {
        let (user, key) = (&self.peer().user, self.first().key.as_deref());
        self.channels
            .server
            .learn(|server| server.shell_answered(user, key, probe, answer));
    }

    /// Returns the answer to [`POSIX_PROBE`], and true if the probe failed. Without the end of the
    /// facts if they take too long.
    ///
    /// # Errors
    /// Fails if the channel cannot be opened, or if no POSIX shell answers and the probe does not
    /// end within the limit.
    pub(in crate::ssh) async fn ask_posix_shell(
        self: &Arc<Self>,
    ) -> Result<(Vec<u8>, bool), SshError> {
        let (progress, mut so_far) = watch::channel(Vec::new());

        let shell_and_some_facts = async {
            let is_known = |answer: &Vec<u8>| ShellProbe::posix(answer).is_some();
            if so_far.wait_for(is_known).await.is_err() {
                return pending().await;
            }
            sleep(FACTS_LIMIT).await;

            so_far.borrow().clone()
        };

        tokio::select! {
            biased;
            whole = self.probe(POSIX_PROBE, PROBE_LIMIT, Some(progress)) => whole,
            answer = shell_and_some_facts => Ok((answer, false)),
        }
    }

    /// Asks for the login shell before anybody needs the answer, and keeps a channel ready, where
    /// the server bears that.
    pub(super) fn begin(self: &Arc<Self>) {
        if matches!(self.capacity(), None | Some(Capacity::OneCommand)) {
            self.probed.set();
            return self.channels.watch_for_an_early_end();
        }

        if self.expected_shell.is_some() {
            self.probed.set();
        }

        self.channels.prefetch_channel();
        tokio::spawn({
            let host = Arc::clone(self);
            async move {
                host.login_shell().await;
                host.probed.set();
            }
        });
    }

    /// Forgets the login shell that earlier connections found, because a command did not begin in
    /// that shell.
    pub(in crate::ssh) fn doubt_login_shell(&self) {
        let user = &self.peer().user;
        self.channels
            .server
            .learn(|server| server.forget_shells(user));
    }
}
