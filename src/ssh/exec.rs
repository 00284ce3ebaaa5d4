//! Runs one command on a channel of its own (RFC 4254 section 6.5).

mod drain;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use russh::{ChannelWriteHalf, Sig, client::Msg};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::drain::Drain;
use super::{
    bounds::{Bounds, Stop},
    error::SshError,
    exit_status::ExitStatus,
    output::{CommandOutput, Output},
    pool::{Need, Pool},
};
use crate::{
    framing::{
        decoder::StreamDecoder,
        exec::LoginShell,
        sentinel::Sentinel,
        stop::{Signal, Target},
    },
    readable::{COLUMNS, ROWS},
};

/// The terminal of a command that asks for one (RFC 4254 section 6.2).
const TERMINAL: &str = "xterm-256color";
/// How long a command that is to be stopped may take to tell its process id: its login shell may be slow to start.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(10);
/// How long the channel may stay open after the command was stopped.
const QUIET_AFTER_STOP: Duration = Duration::from_millis(500);

/// What is to be run, and within which bounds.
#[derive(Debug)]
pub struct ExecRequest<'a> {
    /// The command, for the user's login shell.
    pub command: &'a str,
    /// The directory to run it in; `None` is the home directory, as with `ssh`.
    pub directory: Option<&'a str>,
    /// Environment variables to add.
    pub environment: Vec<(&'a str, &'a str)>,
    /// What the command reads from stdin.
    pub stdin: Vec<u8>,
    /// What it reads after that, until this ends; without it, end of file follows.
    pub input: Option<mpsc::Receiver<Vec<u8>>>,
    /// Whether it has a terminal: then stdout and stderr are one stream, and no end of file follows.
    pub terminal: bool,
    /// Cancelled when the command has been sent.
    pub sent: CancellationToken,
    /// When and how it is stopped.
    pub bounds: Bounds,
    /// Where its output goes.
    pub output: Output,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// By itself.
    Exited(ExitStatus),
    /// It ran past its limit and was stopped.
    TimedOut,
    /// The caller gave up and it was stopped.
    Cancelled,
    /// The connection was lost; what became of the command is not known.
    ConnectionLost(Option<String>),
}

/// What came of a command.
#[derive(Debug)]
pub struct CommandResult {
    /// How it ended.
    pub ending: Ending,
    /// Whether it was stopped.
    pub stopped: bool,
    /// After a stop: whether its processes are gone, or `None` where that could not be found out.
    pub process_gone: Option<bool>,
    /// What it printed.
    pub output: CommandOutput,
    /// From the request to the end.
    pub duration: Duration,
    /// What the caller should know besides.
    pub notice: Option<String>,
}

impl Pool {
    /// Runs a command and waits for its end.
    ///
    /// # Errors
    /// Only what happened before the command was sent. From then on, also a lost connection is a result: the command
    /// may have run and must not be sent again.
    pub async fn exec(self: &Arc<Self>, request: &mut ExecRequest<'_>) -> Result<CommandResult, SshError> {
        let started = Instant::now();
        let announce = random_sentinel()?;
        let prepare = async {
            let shell = self.login_shell().await;
            let (directory, environment) = (request.directory, &request.environment);
            let script = shell.script(request.command, directory, environment, &announce, request.terminal)?;
            Ok::<_, SshError>((shell, script))
        };
        let (shell, script) = request.bounds.before_sending(prepare).await?;
        let (channel, place) = request.bounds.before_sending(self.open_channel(Need::Work)).await?;
        let (read, write) = channel.split();
        let send = async {
            if request.terminal {
                write.request_pty(true, TERMINAL, COLUMNS.into(), ROWS.into(), 0, 0, &[]).await?;
            }
            place.connection().command(&write, script.line).await
        };
        if send.await.is_err() {
            return Err(place.connection().lost());
        }
        request.sent.cancel();
        let write = Arc::new(write);
        let stdin = [script.stdin, std::mem::take(&mut request.stdin)].concat();
        let feeding = feed(Arc::clone(&write), stdin, request.input.take(), request.terminal);
        let (tell_pid, pid) = watch::channel(None);
        let stop_reading = CancellationToken::new();
        let drain = Drain {
            read,
            output: request.output.writer(),
            announce: (shell != LoginShell::Other).then(|| StreamDecoder::new(&announce)),
            pid: tell_pid,
            terminal: request.terminal,
            stop: stop_reading.clone(),
        };
        // A task of its own from the first moment on: an unread channel blocks the whole connection.
        let mut drained = tokio::spawn(drain.run());
        let mut process_gone = None;
        let reached = request.bounds.reached(started.elapsed());
        tokio::pin!(reached);
        let stopped = loop {
            tokio::select! {
                biased;
                done = &mut drained => break Err(done),
                stop = &mut reached => break Ok(stop),
                signal = request.bounds.signals.next() => match signal {
                    Signal::Stop(rung) => break Ok(Stop::Asked(rung)),
                    Signal::Once(name) => self.signal_exec(name, &pid, &write).await,
                }
            }
        };
        let (done, stopped) = match stopped {
            Err(done) => (done, None),
            Ok(stop) => {
                process_gone = self.stop_exec(stop, pid, &write).await;
                let end = timeout(QUIET_AFTER_STOP, &mut drained).await;
                stop_reading.cancel();
                let done = match end {
                    Ok(done) => done,
                    Err(_) => drained.await,
                };
                (done, Some(stop))
            }
        };
        // What the command did not read would wait for a window that never comes.
        feeding.abort();
        let _ = write.close().await;
        let drained = done.map_err(|error| SshError::Lost(Some(error.to_string())))?;
        let ending = match (stopped, drained.status) {
            (Some(stop), status) => {
                let told = status.filter(|status| *status != ExitStatus::Unreported);
                // A server that reports the end of what it was told to kill is evidence enough.
                process_gone = process_gone.or(told.as_ref().map(|_| true));
                stop.ending(told.map(Ending::Exited))
            }
            (None, Some(status)) => Ending::Exited(status),
            (None, None) => {
                // russh ends the channels just before it tells why.
                tokio::task::yield_now().await;
                Ending::ConnectionLost(place.connection().reason())
            }
        };
        Ok(CommandResult {
            ending,
            stopped: stopped.is_some(),
            process_gone,
            output: drained.output,
            duration: started.elapsed(),
            notice: drained.notice,
        })
    }

    /// Ends a command's processes: by its process id through a second channel, else by signal requests.
    async fn stop_exec(
        self: &Arc<Self>,
        stop: Stop,
        mut pid: watch::Receiver<Option<u32>>,
        write: &ChannelWriteHalf<Msg>,
    ) -> Option<bool> {
        // A command that has just been sent may not have told its process id yet.
        let patience = if stop == Stop::Ending { Duration::from_millis(300) } else { ANNOUNCED_WITHIN };
        let pid = timeout(patience, pid.wait_for(Option::is_some)).await;
        if let Ok(Ok(pid)) = pid.map(|told| told.map(|pid| *pid))
            && let Some(pid) = pid
            && let Some(gone) = self.stop_processes(Target::Exec { pid }, stop).await
        {
            return Some(gone);
        }
        for signal in [Sig::INT, Sig::TERM, Sig::KILL] {
            let _ = write.signal(signal).await;
            sleep(Duration::from_millis(u64::from(stop.grace_tenths()) * 30)).await;
        }
        None
    }

    /// Sends one signal, in the same two ways.
    async fn signal_exec(
        self: &Arc<Self>,
        name: &'static str,
        pid: &watch::Receiver<Option<u32>>,
        write: &ChannelWriteHalf<Msg>,
    ) {
        let known = *pid.borrow();
        match known {
            Some(pid) => self.signal_processes(Target::Exec { pid }, name).await,
            None => drop(write.signal(Sig::Custom(name.to_owned())).await),
        }
    }
}

/// Sends stdin and its end from a task of its own: a command that does not read must not block its own output.
fn feed(
    write: Arc<ChannelWriteHalf<Msg>>,
    stdin: Vec<u8>,
    input: Option<mpsc::Receiver<Vec<u8>>>,
    terminal: bool,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        if !stdin.is_empty() && write.data_bytes(stdin).await.is_err() {
            return;
        }
        if let Some(mut input) = input {
            while let Some(bytes) = input.recv().await {
                if write.data_bytes(bytes).await.is_err() {
                    return;
                }
            }
        }
        // The end of a terminal's input is a character (`VEOF`, termios(3)), not the end of the channel's.
        if !terminal {
            let _ = write.eof().await;
        }
    })
}

/// A sentinel from the system's random numbers.
pub(super) fn random_sentinel() -> Result<Sentinel, SshError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| SshError::Random(error.to_string()))?;
    Ok(Sentinel::from_random(bytes))
}
