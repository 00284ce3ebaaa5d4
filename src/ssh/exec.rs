//! Runs one command on a channel of its own (RFC 4254 section 6.5).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig, client::Msg};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    error::SshError,
    exit_status::ExitStatus,
    output::{CommandOutput, Output, OutputFolder},
    pool::{Need, Pool},
};
use crate::framing::{
    decoder::{Progress, StreamDecoder},
    exec::LoginShell,
    sentinel::Sentinel,
    stop::{self, Target},
};

/// After the exit status, output may still be on its way; without any for this long, a process in the background holds
/// the channel open, and the command is over.
const QUIET_AFTER_EXIT: Duration = Duration::from_secs(1);
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
    /// What the command reads from stdin; nothing means end of file at once.
    pub stdin: Vec<u8>,
    /// When and how it is stopped.
    pub bounds: Bounds,
    /// Where output goes that is too long for a result.
    pub folder: OutputFolder,
}

/// When a running command is stopped.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// How long it may run; `None` is without end.
    pub limit: Option<Duration>,
    /// Stops it when the caller gives up.
    pub cancelled: CancellationToken,
    /// Stops it when its session is disconnected.
    pub closing: CancellationToken,
    /// Stops it, in a hurry, when the program ends.
    pub ending: CancellationToken,
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
    /// After a stop: whether its processes are gone, or `None` where that could not be found out.
    pub process_gone: Option<bool>,
    /// What it printed.
    pub output: CommandOutput,
    /// From the request to the end.
    pub duration: Duration,
    /// What the caller should know besides.
    pub notice: Option<String>,
}

/// Why a command is stopped, and how much time there is for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    TimedOut,
    Cancelled,
    Ending,
}

impl Stop {
    /// How long each signal may take to work, in tenths of a second.
    pub(super) fn grace_tenths(self) -> u32 {
        if self == Self::Ending { 1 } else { 10 }
    }

    pub(super) fn ending(self) -> Ending {
        if self == Self::TimedOut { Ending::TimedOut } else { Ending::Cancelled }
    }
}

impl Bounds {
    /// Whether there is no sense in beginning any more.
    pub(super) fn are_over(&self) -> bool {
        self.ending.is_cancelled() || self.closing.is_cancelled() || self.cancelled.is_cancelled()
    }

    /// Does what comes before a command is sent, unless it has to be stopped by then.
    ///
    /// # Errors
    /// Those of `work`; a limit that was reached; [`SshError::Cancelled`].
    pub(super) async fn before_sending<T>(
        &self,
        work: impl Future<Output = Result<T, SshError>>,
    ) -> Result<T, SshError> {
        tokio::select! {
            biased;
            result = work => result,
            stop = self.reached(Duration::ZERO) => Err(match (stop, self.limit) {
                (Stop::TimedOut, Some(after)) => SshError::NotSent { after },
                _ => SshError::Cancelled,
            }),
        }
    }

    /// Waits until the command has to be stopped, `spent` of its time being used already.
    pub(super) async fn reached(&self, spent: Duration) -> Stop {
        let limit = async {
            match self.limit {
                Some(limit) => sleep(limit.saturating_sub(spent)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.ending.cancelled() => Stop::Ending,
            () = self.closing.cancelled() => Stop::Cancelled,
            () = self.cancelled.cancelled() => Stop::Cancelled,
            () = limit => Stop::TimedOut,
        }
    }
}

impl Pool {
    /// Runs a command and waits for its end.
    ///
    /// # Errors
    /// Only what happened before the command was sent. From then on, also a lost connection is a result: the command
    /// may have run and must not be sent again.
    pub async fn exec(self: &Arc<Self>, request: ExecRequest<'_>) -> Result<CommandResult, SshError> {
        let started = Instant::now();
        let announce = random_sentinel()?;
        let prepare = async {
            let shell = self.login_shell().await;
            let script = shell.script(request.command, request.directory, &request.environment, &announce)?;
            Ok::<_, SshError>((shell, script))
        };
        let (shell, script) = request.bounds.before_sending(prepare).await?;
        let (channel, place) = request.bounds.before_sending(self.open_channel(Need::Work)).await?;
        let (read, write) = channel.split();
        if place.connection().command(&write, script.line).await.is_err() {
            return Err(place.connection().lost());
        }
        let write = Arc::new(write);
        let feeding = feed(Arc::clone(&write), [script.stdin, request.stdin].concat());
        let (tell_pid, pid) = oneshot::channel();
        let announces = shell != LoginShell::Other;
        let stop_reading = CancellationToken::new();
        let drain = Drain {
            read,
            output: Output::new(request.folder),
            announce: announces.then(|| StreamDecoder::new(&announce)),
            tell_pid: announces.then_some(tell_pid),
            stop: stop_reading.clone(),
        };
        // A task of its own from the first moment on: an unread channel blocks the whole connection.
        let mut drained = tokio::spawn(drain.run());
        let mut process_gone = None;
        let stopped = tokio::select! {
            biased;
            done = &mut drained => Err(done),
            stop = request.bounds.reached(started.elapsed()) => Ok(stop),
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
                // A server that reports the end of what it was told to kill is evidence enough.
                process_gone = process_gone.or(status.filter(|status| *status != ExitStatus::Unreported).map(|_| true));
                stop.ending()
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
        pid: oneshot::Receiver<u32>,
        write: &ChannelWriteHalf<Msg>,
    ) -> Option<bool> {
        // A command that has just been sent may not have told its process id yet.
        let patience = if stop == Stop::Ending { Duration::from_millis(300) } else { ANNOUNCED_WITHIN };
        if let Ok(Ok(pid)) = timeout(patience, pid).await
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

    /// Runs the stop script; `None` where it could not be run.
    pub(super) async fn stop_processes(self: &Arc<Self>, target: Target<'_>, stop: Stop) -> Option<bool> {
        let grace = stop.grace_tenths();
        // The answer may have to wait behind megabytes of the command's own output.
        let limit = Duration::from_millis(u64::from(grace) * 300 + if stop == Stop::Ending { 400 } else { 30_000 });
        let answer = self.ask("exec /bin/sh", stop::script(target, grace), limit).await.ok()?;
        let answer = String::from_utf8_lossy(&answer);
        if answer.contains(stop::GONE) { Some(true) } else { answer.contains(stop::ALIVE).then_some(false) }
    }
}

/// Sends stdin and its end from a task of its own: a command that does not read must not block its own output.
fn feed(write: Arc<ChannelWriteHalf<Msg>>, stdin: Vec<u8>) -> JoinHandle<()> {
    tokio::spawn(async move {
        if !stdin.is_empty() && write.data_bytes(stdin).await.is_err() {
            return;
        }
        let _ = write.eof().await;
    })
}

/// A sentinel from the system's random numbers.
pub(super) fn random_sentinel() -> Result<Sentinel, SshError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| SshError::Random(error.to_string()))?;
    Ok(Sentinel::from_random(bytes))
}

/// The task that reads a command's channel.
struct Drain {
    read: ChannelReadHalf,
    output: Output,
    announce: Option<StreamDecoder>,
    tell_pid: Option<oneshot::Sender<u32>>,
    stop: CancellationToken,
}

struct Drained {
    output: CommandOutput,
    /// `None`: the channel ended without being closed, so the connection is lost.
    status: Option<ExitStatus>,
    notice: Option<String>,
}

impl Drain {
    async fn run(mut self) -> Drained {
        let (mut status, mut notice, mut closed) = (None, None, false);
        loop {
            let quiet = async {
                match status {
                    Some(_) => sleep(QUIET_AFTER_EXIT).await,
                    None => std::future::pending().await,
                }
            };
            let message = tokio::select! {
                biased;
                message = self.read.wait() => message,
                () = self.stop.cancelled() => { closed = true; break }
                () = quiet => {
                    notice = Some("a process in the background still holds the output open; what it prints from now on is lost".to_owned());
                    break;
                }
            };
            match message {
                Some(ChannelMsg::Data { data }) => self.output.push_stdout(&data).await,
                Some(ChannelMsg::ExtendedData { data, .. }) => self.stderr(&data).await,
                Some(ChannelMsg::ExitStatus { exit_status }) => status = Some(ExitStatus::Code(exit_status)),
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                    status = Some(ExitStatus::from_signal(&signal_name));
                }
                Some(ChannelMsg::Close) => {
                    closed = true;
                    break;
                }
                Some(_) => {}
                None => break,
            }
        }
        if let Some(mut decoder) = self.announce.take() {
            let mut rest = Vec::new();
            decoder.finish(&mut rest);
            self.output.push_stderr(&rest).await;
        }
        let status = status.or(closed.then_some(ExitStatus::Unreported));
        Drained { output: self.output.finish().await, status, notice }
    }

    /// Cuts the process id out of the beginning of stderr.
    async fn stderr(&mut self, bytes: &[u8]) {
        let Some(decoder) = &mut self.announce else { return self.output.push_stderr(bytes).await };
        let mut output = Vec::new();
        if let Progress::Complete { trailer, rest } = decoder.push(bytes, &mut output) {
            let pid = std::str::from_utf8(&trailer).ok().and_then(|text| text.parse().ok());
            if let (Some(pid), Some(tell)) = (pid, self.tell_pid.take()) {
                let _ = tell.send(pid);
            }
            output.extend(rest);
            self.announce = None;
        }
        self.output.push_stderr(&output).await;
    }
}
