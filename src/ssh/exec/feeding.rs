//! The task that gives a command what it reads.

use std::sync::Arc;

use russh::{ChannelWriteHalf, client::Msg};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    framing::sudo::Heard,
    ssh::sudo::{Answered, Answering},
};

/// What gives a command what it reads: sudo its password first, if it is run by sudo.
pub(super) struct Feeding {
    pub(super) answering: Option<Answering>,
    /// How it went with sudo.
    pub(super) answered: watch::Sender<Option<Answered>>,
    /// To be cancelled when the command has begun, as far as that is known.
    pub(super) sent: CancellationToken,
    pub(super) write: Arc<ChannelWriteHalf<Msg>>,
    pub(super) stdin: Vec<u8>,
    /// What follows.
    pub(super) input: Option<mpsc::Receiver<Vec<u8>>>,
    /// What its terminal answers, in between.
    pub(super) replies: mpsc::Receiver<Vec<u8>>,
    pub(super) terminal: bool,
}

impl Feeding {
    /// Gives all of it, and its end.
    pub(super) async fn run(mut self, heard: mpsc::Receiver<Heard>) {
        if let Some(answering) = self.answering {
            let answered = answering.run(heard, &self.write).await;
            let through = matches!(answered, Answered::Through(_));
            self.answered.send_replace(Some(answered));
            if !through {
                return;
            }
        }
        self.sent.cancel();
        if !self.stdin.is_empty() && self.write.data_bytes(self.stdin).await.is_err() {
            return;
        }
        if let Some(mut input) = self.input {
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
