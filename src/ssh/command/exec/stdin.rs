//! The task that gives a command what it reads.

use std::{sync::Arc, time::Duration};

use russh::{ChannelWriteHalf, client::Msg};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    framing::sudo::SudoEvent,
    ssh::command::sudo::{SudoOutcome, SudoResponder},
};

/// How long startup files may take until the command's script begins, where something waits to be sent to it: as long as
/// for a persistent shell.
const BEGINS_WITHIN: Duration = Duration::from_secs(20);
/// How long what stands in the place of the shell may take to end when its stdin has ended.
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// What gives a command what it reads: sudo its password first, if it is run by sudo.
pub(super) struct StdinWriter {
    pub(super) answering: Option<SudoResponder>,
    /// How it went with sudo.
    pub(super) answered: watch::Sender<Option<SudoOutcome>>,
    /// To be cancelled when the command has begun, as far as that is known.
    pub(super) sent: CancellationToken,
    /// To be cancelled where it does not begin.
    pub(super) abandoned: CancellationToken,
    /// To be cancelled when it has had the time to end of itself then.
    pub(super) given_up: CancellationToken,
    pub(super) write: Arc<ChannelWriteHalf<Msg>>,
    /// Whether all that follows is held back until the script has begun: before that, startup files or a shell in the
    /// place of the login shell would read it, and perhaps run it.
    pub(super) holds: bool,
    /// What the script reads before the command begins.
    pub(super) settings: Vec<u8>,
    /// Whether it says when it has done so, and the rest is to wait for that.
    pub(super) says_ready: bool,
    /// The command's own.
    pub(super) stdin: Vec<u8>,
    /// What follows.
    pub(super) input: Option<mpsc::Receiver<Vec<u8>>>,
    /// What its terminal answers, in between.
    pub(super) replies: mpsc::Receiver<Vec<u8>>,
    pub(super) terminal: bool,
}

impl StdinWriter {
    /// Gives all of it, and its end.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<SudoEvent>) {
        if self.answering.is_none() {
            self.sent.cancel();
        }

        if self.holds && !self.begins(&mut events).await {
            return;
        }

        if let Some(answering) = self.answering.take() {
            let answered = answering.run(&mut events, &self.write).await;
            let through = matches!(answered, SudoOutcome::Authenticated(_));
            self.answered.send_replace(Some(answered));
            if !through {
                return;
            }

            self.sent.cancel();
        }

        let (settings, stdin) = (
            std::mem::take(&mut self.settings),
            std::mem::take(&mut self.stdin),
        );

        if self.says_ready {
            if self.write.data_bytes(settings).await.is_err() {
                return;
            }

            while !matches!(events.recv().await, Some(SudoEvent::Ready) | None) {}
            self.give(stdin).await;
        } else {
            self.give([settings, stdin].concat()).await;
        }
    }

    /// Waits until the script has begun. Where it does not, the end of stdin ends what stands in its place; should it begin
    /// even later, it reads no settings and ends.
    async fn begins(&self, events: &mut mpsc::Receiver<SudoEvent>) -> bool {
        if let Ok(begun) = timeout(BEGINS_WITHIN, events.recv()).await {
            return begun.is_some();
        }

        self.abandoned.cancel();
        if !self.terminal && self.write.eof().await.is_ok() {
            sleep(ENDS_WITHIN).await;
        }

        self.given_up.cancel();

        false
    }

    async fn give(mut self, stdin: Vec<u8>) {
        if !stdin.is_empty() && self.write.data_bytes(stdin).await.is_err() {
            return;
        }

        if let Some(mut input) = self.input.take() {
            while let Some(bytes) = tokio::select! {
                bytes = input.recv() => bytes,
                Some(reply) = self.replies.recv() => Some(reply),
            } {
                if self.write.data_bytes(bytes).await.is_err() {
                    return;
                }
            }
        }

        // The end of a terminal's input is a character (`VEOF`, termios(3)), not the end of the channel's.
        if !self.terminal {
            let _ = self.write.eof().await;
        }
    }
}
