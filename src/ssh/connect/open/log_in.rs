//! Logs in, while banners are shown to the user.

use std::{pin::pin, time::Duration};

use russh::client;
use tokio::time::sleep;

use super::OpenConnection;
use crate::{
    event::Event,
    foreign_text::ForeignText,
    openssh::effective_config::EffectiveConfig,
    ssh::{
        auth::{self, Credentials, LoggedIn},
        error::SshError,
        transport::handler::{ClientHandler, ConnectionFacts},
    },
};

/// Extra time for a log-in whose banner sends the user to a web page.
const AT_A_PAGE: Duration = Duration::from_secs(300);

impl OpenConnection<'_> {
    /// Logs in and returns the server's banner, if any (`SSH_MSG_USERAUTH_BANNER`, RFC 4252,
    /// section 5.4).
    pub(super) async fn log_in(
        &self,
        handle: &mut client::Handle<ClientHandler>,
        config: &EffectiveConfig,
        credentials: &Credentials,
        facts: &ConnectionFacts,
    ) -> Result<(LoggedIn, Option<ForeignText>), SshError> {
        let (deadline, trace) = (self.deadline, self.trace);
        // The guard marks the log-in as ended even if this future is dropped, so no banner is shown
        // later.
        let ended = SetOnDrop(&facts.login_ended);

        let login = auth::authenticate(
            handle,
            config,
            self.destination(),
            credentials,
            self.prompter,
            deadline,
            facts,
        );

        // Boxed, because the future holds a state for each method, which would enlarge every
        // caller's future.
        let login = Box::pin(self.or_wait_for_page(login, facts));
        let login = deadline.limit("authentication", login).await.flatten();
        drop(ended);

        let banner = facts.banner();
        if let Some(words) = &banner {
            trace.detail(|| format!("the server says: {words}"));
        }

        // A recording trace has the banner as a detail already, so the error need not repeat it.
        match (login, &banner) {
            (Err(source), Some(words)) if !trace.is_recording() => Err(SshError::Greeted {
                words: words.clone(),
                source: Box::new(source),
            }),
            (login, _) => Ok((login?, banner)),
        }
    }

    /// Waits for the log-in. After the banner has named a web page, up to five minutes of the wait
    /// do not count against the deadline.
    async fn or_wait_for_page<T>(
        &self,
        login: impl Future<Output = T>,
        facts: &ConnectionFacts,
    ) -> T {
        let mut login = pin!(login);

        // Both clocks stand still: the deadline of this attempt, and the clock of the caller's
        // command.
        let at_the_page = async {
            facts.page.notified().await;
            self.deadline
                .while_asking(self.prompter.pause().during(sleep(AT_A_PAGE)))
                .await;
        };

        tokio::select! {
            // A finished log-in wins over a page that was named in the same moment.
            biased;
            done = &mut login => return done,
            () = at_the_page => {}
        }

        login.await
    }
}

/// Guard which sets the event when dropped.
struct SetOnDrop<'a>(&'a Event);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.set();
    }
}
