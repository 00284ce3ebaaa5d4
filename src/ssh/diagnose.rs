//! Finds out why a host does or does not connect: connects as a session does, notes every stage, tries what a session
//! needs, and leaves all as it was.
//!
//! What a key can prove is proved: the log-in is a real one, because only that shows whether the account lets anybody in.
//! No password is sent, nobody is asked, and what runs on the host prints a line or nothing.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::config::target::Target;
use crate::{
    framing::exec::{LoginShell, POSIX_PROBE},
    ssh::{
        auth::Credentials,
        command::limits::{Signals, StopConditions},
        connect::{connection::Connection, open::OpenConnection},
        error::SshError,
        pool::Pool,
        prompt::{pausable_clock::PausableClock, prompter::Prompter},
        trace::{Finding, Stage, StageOutcome, StageTrace},
        transfer::{self, TransferError},
        transport::deadline::Deadline,
    },
};

/// How long one probe on the host may take.
const PROBE_LIMIT: Duration = Duration::from_secs(10);
/// How many channels are tried at once: the default of `MaxSessions` (`sshd_config(5)`).
const CHANNELS: usize = 10;
/// The channels of the probes may count on the server for a moment after they were closed: so many times, so far apart, a
/// refusal is not believed.
const DOUBTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// What was found out.
#[derive(Debug)]
pub struct Diagnosis {
    /// The stages that were gone through, jump hosts first.
    pub trace: Vec<Finding>,
    /// Why it does not connect.
    pub failure: Option<SshError>,
}

/// Connects to the target within `limit`, and sees what a session could do there. A channel that the server refuses is a
/// failure too: nothing could be run.
pub async fn diagnose(target: &Target, credentials: &Credentials, limit: Duration) -> Diagnosis {
    let (trace, prompter, deadline) = (
        &StageTrace::recording(),
        &Prompter::default(),
        &Deadline::after(limit),
    );

    let opening = OpenConnection {
        target,
        credentials,
        prompter,
        deadline,
        depth: 0,
        via: None,
        same_host_as: None,
        trace,
    };

    let failure = match opening.run().await {
        Ok(connection) => {
            let pool = Pool::around(Arc::clone(&connection), target, credentials, limit, false);
            let tried = try_out(&pool, &connection, trace).await;
            pool.close().await;

            tried.err()
        }
        Err(error) => Some(error),
    };

    let mut trace = trace.take();
    if failure.is_some() {
        trace.extend(not_reached(&trace));
    }

    Diagnosis { trace, failure }
}

/// The stages behind the one at which the destination failed.
fn not_reached(trace: &[Finding]) -> Vec<Finding> {
    let failed = trace
        .iter()
        .rfind(|finding| finding.hop.is_none())
        .map_or(Stage::Configuration, |last| last.stage);

    let behind = Stage::ALL.into_iter().filter(|stage| match stage {
        // Through something else, or straight: never both.
        Stage::Proxy => false,
        Stage::Addresses | Stage::Tcp => failed < *stage && failed != Stage::Proxy,
        _ => failed < *stage,
    });

    behind
        .map(|stage| Finding {
            stage,
            hop: None,
            outcome: StageOutcome::Skipped,
            summary: "not reached".to_owned(),
            details: Vec::new(),
        })
        .collect()
}

async fn try_out(
    pool: &Arc<Pool>,
    connection: &Connection,
    trace: &StageTrace,
) -> Result<(), SshError> {
    trace.begin(Stage::Channel);

    match connection.open_channel().await {
        Ok(channel) => {
            trace.pass(|| "the server opens one".to_owned());
            let _ = channel.close().await;
        }
        Err(error) => {
            trace.fail(&error);
            return Err(error);
        }
    }

    trace.begin(Stage::LoginShell);
    login_shell(pool, trace).await;
    trace.begin(Stage::Bash);
    persistent_shell(pool, trace).await;
    trace.begin(Stage::Sftp);

    match timeout(PROBE_LIMIT, transfer::try_out(pool)).await {
        Ok(Ok(())) => trace.pass(|| "files can be moved".to_owned()),
        Ok(Err(TransferError::NoSftp)) => {
            trace.finish(StageOutcome::Failed, "the server has no SFTP".to_owned());
        }
        Ok(Err(error)) => trace.finish(StageOutcome::Failed, error.to_string()),
        Err(_) => trace.finish(
            StageOutcome::Failed,
            format!("no answer within {PROBE_LIMIT:?}"),
        ),
    }

    trace.begin(Stage::Channels);
    channels(connection, trace).await;

    Ok(())
}

async fn login_shell(pool: &Arc<Pool>, trace: &StageTrace) {
    let answer = match pool.ask(POSIX_PROBE, String::new(), PROBE_LIMIT).await {
        Ok(answer) => answer,
        Err(error) => return trace.fail(&error),
    };

    let text = String::from_utf8_lossy(&answer);
    let noise = text
        .split("mcp-ssh-sessions:")
        .next()
        .unwrap_or_default()
        .len();

    let probe = pool.login_shell().await;

    if probe.shell == LoginShell::Other {
        let said = text.lines().next().unwrap_or_default();
        trace.detail(|| {
            if said.is_empty() {
                "it says nothing".to_owned()
            } else {
                format!("it says: {said}")
            }
        });

        return trace.skip(|| {
            "it is no Unix shell that is known, or one that runs only certain commands: it gets commands as they are"
                .to_owned()
        });
    }

    if noise > 0 {
        trace.detail(|| {
            format!("startup files of the account print {noise} bytes before each command")
        });
    }

    trace.pass(|| probe.program.unwrap_or_else(|| "a POSIX shell".to_owned()));
}

async fn persistent_shell(pool: &Arc<Pool>, trace: &StageTrace) {
    match pool.start_shell(&unbounded()).await {
        Ok(shell) if shell.is_bash() => trace.pass(|| "bash starts and answers".to_owned()),
        Ok(_) => trace.pass(|| "there is no bash, but sh starts and answers".to_owned()),
        Err(error) => trace.fail(&error),
    }
}

/// Opens channels that are not used, and closes them.
async fn channels(connection: &Connection, trace: &StageTrace) {
    if connection.is_single_channel() {
        return trace
            .skip(|| "one at a time over a connection, for this kind of server".to_owned());
    }

    let (mut open, mut doubts) = (Vec::new(), DOUBTS);

    while open.len() < CHANNELS {
        match connection.open_channel().await {
            Ok(channel) => open.push(channel),
            Err(SshError::ChannelRefused(_)) if doubts > 0 => {
                doubts -= 1;
                sleep(PAUSE).await;
            }
            Err(SshError::ChannelRefused(_)) => break,
            Err(error) => return trace.finish(StageOutcome::Skipped, error.to_string()),
        }
    }

    let count = open.len();
    for channel in open {
        let _ = channel.close().await;
    }

    trace.pass(|| match count {
        CHANNELS => format!("{CHANNELS} at once over a connection, or more"),
        _ => format!("{count} at once over a connection (MaxSessions); further connections are opened for more"),
    });
}

/// Nobody stops a probe but its limit.
fn unbounded() -> StopConditions {
    let never = CancellationToken::new();
    StopConditions {
        limit: Some(PROBE_LIMIT),
        pause: PausableClock::default(),
        cancelled: never.clone(),
        closing: never.clone(),
        ending: never,
        signals: Signals::default(),
    }
}
