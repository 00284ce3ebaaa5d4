//! The task that reads a command's channel.

use std::time::Duration;

use russh::{ChannelMsg, ChannelReadHalf};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    framing::{
        decoder::{Progress, StreamDecoder},
        stop::Target,
        sudo::{Heard, SudoListener},
    },
    ssh::{
        exit_status::ExitStatus,
        output::{CommandOutput, OutputWriter},
    },
};

/// After the exit status, output may still be on its way; without any for this long, a process in the background holds
/// the channel open, and the command is over.
const QUIET_AFTER_EXIT: Duration = Duration::from_secs(1);

/// What reads a command's channel.
pub(super) struct Drain {
    pub(super) read: ChannelReadHalf,
    pub(super) output: OutputWriter,
    /// Finds the process id, as long as the command has not told it.
    pub(super) announce: Option<Announce>,
    /// Where it goes.
    pub(super) target: watch::Sender<Option<Target<'static>>>,
    /// What the terminal answers goes here.
    pub(super) replies: mpsc::Sender<Vec<u8>>,
    /// Whether a terminal was asked for: then there is one stream.
    pub(super) terminal: bool,
    pub(super) stop: CancellationToken,
}

/// How a command tells its process id.
pub(super) enum Announce {
    /// The login shell tells its own.
    Shell(StreamDecoder),
    /// First sudo's is told, and the shell's when that is through. Whoever answers sudo hears of both.
    Sudo(SudoListener, mpsc::Sender<Heard>),
}

/// What it has found.
pub(super) struct Drained {
    pub(super) output: CommandOutput,
    /// `None`: the channel ended without being closed, so the connection is lost.
    pub(super) status: Option<ExitStatus>,
    pub(super) notice: Option<String>,
    /// What a sudo has said that did not get through.
    pub(super) refusal: Option<String>,
}

impl Drain {
    /// Reads to the end.
    pub(super) async fn run(mut self) -> Drained {
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
                Some(ChannelMsg::Data { data }) => self.take(&data, false).await,
                Some(ChannelMsg::ExtendedData { data, .. }) => self.take(&data, true).await,
                // The terminal is the only thing that is asked for with a reply.
                Some(ChannelMsg::Failure) => {
                    self.terminal = false;
                    notice = Some("the server gave the command no terminal".to_owned());
                }
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
        let (mut rest, mut refusal) = (Vec::new(), None);
        match self.announce.take() {
            Some(Announce::Shell(mut decoder)) => decoder.finish(&mut rest),
            Some(Announce::Sudo(listener, _)) => refusal = listener.finish(&mut rest),
            None => {}
        }
        self.push(&rest, !self.terminal).await;
        let status = status.or(closed.then_some(ExitStatus::Unreported));
        Drained { output: self.output.finish().await, status, notice, refusal }
    }

    /// Takes output, and cuts the process id out of the beginning of the stream on which it is told.
    async fn take(&mut self, bytes: &[u8], is_stderr: bool) {
        let Some(announce) = self.announce.as_mut().filter(|_| is_stderr != self.terminal) else {
            return self.push(bytes, is_stderr).await;
        };
        let mut output = Vec::new();
        let told = match announce {
            Announce::Shell(decoder) => match decoder.push(bytes, &mut output) {
                Progress::Complete { trailer, rest } => {
                    let pid = std::str::from_utf8(&trailer).ok().and_then(|text| text.parse().ok());
                    self.target.send_replace(pid.map(|pid| Target::Exec { pid }));
                    output.extend(rest);
                    true
                }
                Progress::More | Progress::Broken => false,
            },
            Announce::Sudo(listener, answering) => {
                for heard in listener.push(bytes, &mut output) {
                    self.target.send_modify(|target| *target = heard.target(*target));
                    // Only a sudo that asks without end leaves no room, and then the answers have ended.
                    let _ = answering.try_send(heard);
                }
                listener.is_through()
            }
        };
        if told {
            self.announce = None;
        }
        self.push(&output, is_stderr).await;
    }

    async fn push(&mut self, bytes: &[u8], is_stderr: bool) {
        if is_stderr {
            return self.output.push_stderr(bytes).await;
        }
        self.output.push_stdout(bytes).await;
        let replies = self.output.replies();
        if self.terminal && !replies.is_empty() {
            // A program that asks and does not read goes without.
            let _ = self.replies.try_send(replies);
        }
    }
}
