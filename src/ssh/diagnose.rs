//! Finds out why a host does or does not connect. The diagnosis connects as a session does, records
//! every stage, tries the operations of a session, and leaves everything unchanged.
//!
//! The log-in is a real log-in, because nothing else shows whether the account lets anybody in. No
//! password is sent, nobody is asked, and the probes on the host print at most a line.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::config::target::Target;
use crate::{
    framing::exec::{ExecScriptError, LoginShell, ShellProbe},
    ssh::{
        auth::Credentials,
        command::limits::{Signals, StopConditions},
        command::remote_host::RemoteHost,
        connect::{connection::Connection, open::OpenConnection},
        error::SshError,
        known_servers::{Capacity, KnownServers},
        prompt::{pausable_clock::PausableClock, prompter::Prompter},
        trace::{Finding, Stage, StageOutcome, StageTrace},
        transfer::{self, TransferError},
        transport::deadline::Deadline,
    },
};

/// Time limit of a single probe on the host.
const PROBE_LIMIT: Duration = Duration::from_secs(10);
/// Number of channels tried at once, equal to the default of `MaxSessions` (`sshd_config(5)`).
const CHANNELS: usize = 10;
/// Number of refusals which are retried. The server may still count the closed channels of earlier
/// probes for a moment.
const DOUBTS: u32 = 5;
/// Pause before a refused channel is retried.
const PAUSE: Duration = Duration::from_millis(200);

/// Result of [`diagnose`].
#[derive(Debug)]
pub struct Diagnosis {
    /// Findings of all stages, jump hosts first.
    pub trace: Vec<Finding>,
    /// Error which prevents a connection; `None` if a session can connect.
    pub failure: Option<SshError>,
}

/// Connects to the target within `limit`, and tries the operations of a session. A refused session
/// channel counts as a failure too, because nothing could run.
pub async fn diagnose(target: &Target, credentials: &Credentials, limit: Duration) -> Diagnosis {
    let (trace, prompter, deadline) = (
        &StageTrace::recording(),
        &Prompter::default(),
        &Deadline::after(limit),
    );

    let opening = OpenConnection::to(target, credentials, prompter, deadline, trace);

    // No failure of the remaining probes is fatal: a session works without bash, SFTP or more
    // channels.
    let failure = match opening.run().await {
        Ok(connection) => {
            let host = RemoteHost::around(
                Arc::clone(&connection),
                target,
                credentials,
                limit,
                false,
                // An unknown server is examined: what it took earlier may not hold any more.
                &KnownServers::default(),
            );
            let tried = try_out(&host, &connection, trace).await;
            host.close().await;

            tried.err()
        }
        Err(error) => Some(error),
    };

    let mut trace = trace.take_findings();
    if failure.is_some() {
        trace.extend(not_reached(&trace));
    }

    Diagnosis { trace, failure }
}

/// Returns skipped findings for the stages after the failed stage of the destination.
fn not_reached(trace: &[Finding]) -> Vec<Finding> {
    // The findings of jump hosts come first and do not say how far the destination got.
    let failed = trace
        .iter()
        .rfind(|finding| finding.hop.is_none())
        .map_or(Stage::Configuration, |last| last.stage);

    let behind = Stage::ALL.into_iter().filter(|stage| match stage {
        // A host is reached either through a proxy or over TCP, so only the chosen way was not
        // reached.
        Stage::Proxy => false,
        Stage::Addresses | Stage::Tcp => failed < *stage && failed != Stage::Proxy,
        _ => failed < *stage,
    });

    behind
        .map(|stage| Finding {
            stage,
            hop: None,
            outcome: StageOutcome::Skipped,
            summary: "not reached".into(),
            details: Vec::new(),
        })
        .collect()
}

/// Probes each operation of a session as a separate stage.
///
/// # Errors
/// The server opens no session channel.
async fn try_out(
    host: &Arc<RemoteHost>,
    connection: &Connection,
    trace: &StageTrace,
) -> Result<(), SshError> {
    trace.begin(Stage::Channel);

    // Before anything else is tried: a connection that ends with its first channel is of no use for
    // two probes.
    let probe = host.login_shell().await;
    if takes_one_command(host) {
        trace.pass(|| {
            "the server takes one command over a connection, so each command has a connection of its own"
                .to_owned()
        });
        trace.begin(Stage::LoginShell);
        name_login_shell(probe, trace);
        try_rest(host, connection, trace).await;
        return Ok(());
    }

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

    // From here on a failure is only recorded, because a session can do without the rest.
    trace.begin(Stage::LoginShell);
    login_shell(host, trace).await;
    try_rest(host, connection, trace).await;

    Ok(())
}

/// Returns true if the server ends each connection with its first command.
fn takes_one_command(host: &RemoteHost) -> bool {
    host.capacity() == Some(Capacity::OneCommand)
}

/// Probes what a session can do without. A failure is only recorded.
async fn try_rest(host: &Arc<RemoteHost>, connection: &Connection, trace: &StageTrace) {
    trace.begin(Stage::Bash);
    persistent_shell(host, trace).await;
    trace.begin(Stage::Sftp);

    match timeout(PROBE_LIMIT, transfer::try_out(host)).await {
        Ok(Ok(abilities)) => {
            for limit in abilities.limits() {
                trace.detail(|| limit.to_owned());
            }
            let outcome = if abilities.is_of_use() {
                StageOutcome::Passed
            } else {
                StageOutcome::Failed
            };
            trace.finish(outcome, abilities.summary().to_owned());
        }
        Ok(Err(TransferError::NoSftp)) => without_sftp(host, "the server has no SFTP", trace).await,
        Ok(Err(error)) => without_sftp(host, &error.to_string(), trace).await,
        Err(_) => trace.finish(
            StageOutcome::Failed,
            format!("no answer within {PROBE_LIMIT:?}"),
        ),
    }

    trace.begin(Stage::Channels);
    match host.capacity() {
        Some(Capacity::OneCommand) => {
            trace.skip(|| "one over a connection, which ends with it".to_owned());
        }
        // A session gives each channel a connection of its own here, so the count is of no use.
        Some(Capacity::OneChannel) => trace.skip(|| {
            "one at a time over a connection; further connections are opened for more".to_owned()
        }),
        _ => channels(connection, trace).await,
    }
}

/// Records why there is no SFTP, and if the host's shell moves files instead.
async fn without_sftp(host: &Arc<RemoteHost>, reason: &str, trace: &StageTrace) {
    let by_shell = timeout(PROBE_LIMIT, transfer::is_by_shell(host)).await;

    if by_shell.unwrap_or(false) {
        trace.skip(|| format!("{reason}; files are moved by /bin/sh instead"));
    } else {
        trace.finish(StageOutcome::Failed, reason.to_owned());
    }
}

/// Probes the login shell, and records the program and the output of startup files.
async fn login_shell(host: &Arc<RemoteHost>, trace: &StageTrace) {
    // A shell of Windows has no startup files of which a probe for Unix shells could tell.
    if host.is_windows() {
        let probe = host.login_shell().await;
        if probe.shell.windows().is_some() {
            let os = host.facts().and_then(|facts| facts.os);
            trace.detail(|| format!("the host runs {}", os.unwrap_or_else(|| "Windows".into())));
            return name_login_shell(probe, trace);
        }
    }

    let answer = match host.ask_posix_shell().await {
        Ok((answer, _)) => answer,
        Err(error) => return trace.fail(&error),
    };

    let text = String::from_utf8_lossy(&answer);
    // Output before the mark comes from startup files, which run before each command.
    let unexpected = text
        .split("mcp-ssh-sessions:")
        .next()
        .unwrap_or_default()
        .len();

    let probe = host.login_shell().await;

    if probe.shell == LoginShell::Other {
        let said = text.lines().next().unwrap_or_default();
        trace.detail(|| {
            if said.is_empty() {
                "it says nothing".to_owned()
            } else {
                format!("it says: {said}")
            }
        });

        return name_login_shell(probe, trace);
    }

    if unexpected > 0 {
        trace.detail(|| {
            format!("startup files of the account print {unexpected} bytes before each command")
        });
    }

    name_login_shell(probe, trace);
}

/// Records the login shell.
fn name_login_shell(probe: ShellProbe, trace: &StageTrace) {
    if probe.shell == LoginShell::Other {
        return trace.skip(|| {
            "the login shell is not a known Unix shell, or runs only certain commands; commands are sent unchanged"
                .to_owned()
        });
    }

    trace.pass(|| probe.program.unwrap_or_else(|| "a POSIX shell".to_owned()));
}

/// Starts the persistent shell of a session, and records the kind of shell.
async fn persistent_shell(host: &Arc<RemoteHost>, trace: &StageTrace) {
    match host.start_shell(None, &unbounded()).await {
        Err(SshError::ExecScript(ExecScriptError::NotOnWindows(_))) => {
            trace.skip(|| "Windows has no bash or sh; ssh_exec runs commands".to_owned());
        }
        Ok(shell) if shell.is_bash() => trace.pass(|| "bash starts and answers".to_owned()),
        Ok(_) => trace.pass(|| "there is no bash, but sh starts and answers".to_owned()),
        Err(error) => trace.fail(&error),
    }
}

/// Counts the channels which are open at once, up to `CHANNELS`. All are closed unused.
async fn channels(connection: &Connection, trace: &StageTrace) {
    // A closed channel may count against `MaxSessions` for a moment, so refusals are retried first.
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

/// Returns conditions under which only the time limit stops a probe.
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
