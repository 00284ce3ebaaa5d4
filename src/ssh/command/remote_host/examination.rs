//! The examination of a server that nobody knows: the login shell of the account, and the commands and
//! channels that the server takes over one connection.
//!
//! Some servers end a connection with its first command, or break at a second channel. So the
//! examination has a connection of its own, on which nothing can be lost. The connection of the
//! session stays as it is for the caller's command.

use std::{sync::Arc, time::Duration};

use russh::ChannelMsg;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{
    RemoteHost,
    login_shell::{FACTS_LIMIT, PROBE_LIMIT},
};
use crate::{
    framing::exec::{HostFacts, LoginShell, OTHER_PROBE, POSIX_PROBE, ShellProbe},
    ssh::{
        connect::{connection::Connection, open::WINDOW},
        error::SshError,
        known_servers::{Capacity, KnownServer},
        pool::SLOT_RELEASE_LAG,
    },
};

/// Time limit for the connection of an examination. A server that lets nobody log in twice may leave
/// the second log-in waiting for ever.
const DIAL_LIMIT: Duration = Duration::from_secs(10);
/// Longest answer to a probe, in bytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024;
/// Time within which a connection shows that it has outlived its first command.
const OUTLIVES_WITHIN: Duration = Duration::from_secs(2);
/// Command that does nothing in any shell which answered [`POSIX_PROBE`].
const NOTHING: &str = ":";

/// Result of an examination.
struct Examination {
    /// Login shell.
    probe: ShellProbe,
    /// Facts about the host; `None` without a POSIX shell.
    facts: Option<HostFacts>,
    /// Capacity of a connection; `None` if the examination did not show that.
    capacity: Option<Capacity>,
    /// Answer to [`POSIX_PROBE`].
    first: Answer,
}

/// Answer to a probe.
#[derive(Default)]
struct Answer {
    /// Output of the probe.
    stdout: Vec<u8>,
    /// True if the probe failed.
    failed: bool,
    /// True if the connection ended with the channel.
    ended: bool,
    /// True if the answer did not end within the limit.
    is_cut_off: bool,
}

impl RemoteHost {
    /// Examines the server, and keeps the result for later connections. Returns `None` if the server
    /// could not be examined without risk for the caller's command. `is_needed` takes the risk that
    /// the connection of the session ends before anything was sent to run there.
    pub(super) async fn examine(&self, is_needed: bool) -> Option<ShellProbe> {
        let server = &self.channels.server;

        if self.channels.may_ask_apart() && !server.get().is_unreachable_for_questions {
            match self.examine_apart().await {
                Ok(examination) => return Some(self.keep(examination)),
                Err(error) => {
                    tracing::info!(host = self.peer().host_name, %error, "the server is not examined");
                    server.learn(|server| server.is_unreachable_for_questions = true);
                }
            }
        }

        if !self.bears_questions(is_needed).await {
            return None;
        }

        let first = self.channels.first_shared();
        let mut examination = self.examine_over(&first).await.ok()?;
        // Whoever opens the next channel may be the user, so a second one is not tried here. And one
        // connection that ends proves nothing.
        if examination.capacity.take() == Some(Capacity::OneCommand) {
            server.learn(KnownServer::ended_early);
        }

        Some(self.keep(examination))
    }

    /// Returns true if questions over the first connection can do no harm: nothing runs there, and
    /// the connection has outlived a command or the caller needs the answer.
    async fn bears_questions(&self, is_needed: bool) -> bool {
        match self.channels.first_idle_after() {
            Some(0) => is_needed,
            Some(_) => self.answers(OUTLIVES_WITHIN).await && !self.first().has_ended(),
            None => false,
        }
    }

    /// Keeps the result of an examination.
    fn keep(&self, examination: Examination) -> ShellProbe {
        let Examination {
            probe,
            facts,
            capacity,
            ..
        } = examination;
        if let Some(facts) = facts {
            let _ = self.facts.set(facts);
        }

        let user = self.peer().user.clone();
        self.channels.server.learn(|server| {
            server.capacity = capacity.or(server.capacity);
            // Where commands do no harm, each connection asks anew: shells change.
            if matches!(server.capacity, None | Some(Capacity::OneCommand)) {
                server.login_shells.insert(user, probe.clone());
            }
        });

        probe
    }

    /// Examines the server over a connection of its own.
    async fn examine_apart(&self) -> Result<Examination, SshError> {
        let connection = self.dial_to_ask().await?;
        let examined = async {
            let mut examination = self.examine_over(&connection).await?;

            match examination.capacity {
                Some(Capacity::OneChannel) => {
                    examination.capacity = capacity_for_channels(&connection).await;
                }
                Some(Capacity::OneCommand) => self.confirm_end(&mut examination).await?,
                _ => {}
            }

            Ok(examination)
        };

        let examined = examined.await;
        connection.close().await;

        examined
    }

    /// Finds out if another connection ends with its first command too: the network may have ended
    /// the one before. Asks the question that was left.
    async fn confirm_end(&self, examination: &mut Examination) -> Result<(), SshError> {
        let another = self.dial_to_ask().await?;
        let asked = async {
            let question = examination.next_question();
            let answer = ask(&another, question).await?;
            let goes_on = !answer.ended && ask_again(&another, question).await?.is_some();
            Ok::<_, SshError>((answer, goes_on))
        };

        let asked = asked.await;
        another.close().await;
        let (answer, goes_on) = asked?;

        examination.read_second(&answer);
        if goes_on {
            examination.capacity = Some(Capacity::OneChannel);
        }

        Ok(())
    }

    /// Finds out the login shell, and if the connection takes more than one command. The second
    /// question is left if the connection takes one.
    ///
    /// # Errors
    /// The server does not answer, or the connection ended before that.
    async fn examine_over(&self, connection: &Connection) -> Result<Examination, SshError> {
        let first = match ask(connection, POSIX_PROBE).await {
            // A server that runs no commands for this account shows nothing else.
            Err(SshError::ExecRefused) => {
                return Ok(Examination {
                    probe: ShellProbe::refusing(),
                    facts: None,
                    capacity: None,
                    first: Answer::default(),
                });
            }
            first => first?,
        };

        let posix = ShellProbe::posix(&first.stdout);
        let facts = posix
            .as_ref()
            .map(|posix| HostFacts::read(posix, &first.stdout));
        let mut examination = Examination {
            probe: posix.unwrap_or_else(ShellProbe::unknown),
            facts,
            capacity: None,
            first,
        };

        if examination.first.ended {
            examination.capacity = Some(Capacity::OneCommand);
        } else if examination.is_posix() && examination.first.is_cut_off {
            // The first question still runs.
        } else if let Some(second) = ask_again(connection, examination.next_question()).await? {
            examination.capacity = Some(Capacity::OneChannel);
            examination.read_second(&second);
        } else {
            examination.capacity = Some(Capacity::OneCommand);
        }

        Ok(examination)
    }

    /// Dials a connection on which nothing can be lost.
    async fn dial_to_ask(&self) -> Result<Arc<Connection>, SshError> {
        timeout(DIAL_LIMIT, self.channels.dial_apart(WINDOW))
            .await
            .map_err(|_| SshError::Timeout {
                stage: "a second log-in",
                after: DIAL_LIMIT,
            })?
    }
}

impl Examination {
    /// Returns true if a POSIX shell answered the first question.
    fn is_posix(&self) -> bool {
        self.probe.shell == LoginShell::Posix
    }

    /// Returns the question after [`POSIX_PROBE`]. Only a shell of another family is asked again.
    fn next_question(&self) -> &'static str {
        if self.is_posix() {
            NOTHING
        } else {
            OTHER_PROBE
        }
    }

    /// Reads the answer to [`next_question`](Self::next_question).
    fn read_second(&mut self, second: &Answer) {
        if !self.is_posix() {
            let failed = self.first.failed || second.failed;
            self.probe = ShellProbe::other(failed, &self.first.stdout, &second.stdout);
        }
    }
}

/// Finds out if a connection takes two channels at once; `None` if that is not clear.
async fn capacity_for_channels(connection: &Connection) -> Option<Capacity> {
    let both = async { tokio::join!(connection.open_channel(), connection.open_channel()) };
    let capacity = match timeout(PROBE_LIMIT, both).await.ok()? {
        (Ok(_), Ok(_)) => Capacity::ManyChannels,
        (Err(SshError::ChannelRefused(_)), _) | (_, Err(SshError::ChannelRefused(_))) => {
            Capacity::OneChannel
        }
        _ if connection.ends_now().await => Capacity::OneChannel,
        _ => return None,
    };

    Some(capacity)
}

/// Runs another probe over a connection that has had one. Returns `None` if the server takes a single
/// command over a connection, or the network ended the connection.
///
/// # Errors
/// The server does not answer.
async fn ask_again(connection: &Connection, probe: &str) -> Result<Option<Answer>, SshError> {
    let mut answer = ask(connection, probe).await;
    if let Err(SshError::ChannelRefused(_)) = answer {
        // The first channel may not be free yet.
        sleep(SLOT_RELEASE_LAG).await;
        answer = ask(connection, probe).await;
    }

    match answer {
        Ok(answer) => Ok(Some(answer)),
        // The first command was taken, so it is not the account that may run none.
        Err(SshError::ChannelRefused(_) | SshError::ExecRefused) => Ok(None),
        Err(_) if connection.ends_now().await => Ok(None),
        Err(error) => Err(error),
    }
}

/// Runs a probe over a connection, and reads the answer. An answer that does not end within the
/// limit is cut off there.
///
/// # Errors
/// The server opens no channel or refuses the command, or nothing came before the connection ended or
/// the limit passed.
async fn ask(connection: &Connection, probe: &str) -> Result<Answer, SshError> {
    let mut deadline = Instant::now() + PROBE_LIMIT;
    let timed_out = || SshError::Timeout {
        stage: "the question for the login shell",
        after: PROBE_LIMIT,
    };

    let opened = timeout_at(deadline, connection.open_channel()).await;
    let (mut read, write) = opened.map_err(|_| timed_out())??.split();
    connection.command(&write, probe).await?;
    // The server may have ended the connection by now, which shows when the answer is read.
    let _ = write.eof().await;

    let mut answer = Answer::default();
    let mut is_accepted = false;

    loop {
        match timeout_at(deadline, read.wait()).await {
            Ok(Some(ChannelMsg::Data { data })) if answer.stdout.len() < MAX_ANSWER_BYTES => {
                let was_known = ShellProbe::posix(&answer.stdout).is_some();
                answer.stdout.extend_from_slice(&data);
                if !was_known && ShellProbe::posix(&answer.stdout).is_some() {
                    deadline = deadline.min(Instant::now() + FACTS_LIMIT);
                }
            }
            Ok(Some(ChannelMsg::Success)) => is_accepted = true,
            Ok(Some(ChannelMsg::Failure)) => return Err(SshError::ExecRefused),
            Ok(Some(ChannelMsg::ExitStatus { exit_status })) => answer.failed = exit_status != 0,
            Ok(Some(ChannelMsg::ExitSignal { .. })) => answer.failed = true,
            Ok(Some(ChannelMsg::Close)) => break,
            Ok(Some(_)) => {}
            Ok(None) => {
                answer.ended = true;
                break;
            }
            Err(_) if answer.stdout.is_empty() => return Err(timed_out()),
            Err(_) => {
                answer.is_cut_off = true;
                break;
            }
        }
    }

    let _ = write.close().await;
    if answer.ended && !is_accepted && answer.stdout.is_empty() {
        return Err(connection.lost());
    }

    Ok(answer)
}
