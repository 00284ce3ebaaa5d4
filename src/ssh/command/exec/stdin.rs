//! The task that writes a command's stdin.

use std::{sync::Arc, time::Duration};

use russh::{ChannelWriteHalf, client::Msg};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    event::Event,
    framing::sudo::SudoEvent,
    ssh::command::sudo::{SudoOutcome, SudoResponder},
};

/// Longest wait for the start of the command's script while something waits to be sent. Startup
/// files get as long as for a persistent shell.
const BEGINS_WITHIN: Duration = Duration::from_secs(20);
/// Grace period, after the end of stdin, of a program in place of the login shell.
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// Task for writing a command's stdin: sudo's password first, then the settings, then the command's
/// own input. The task ends with the input, or when the script did not begin.
pub(super) struct StdinWriter {
    /// Answers for sudo; `None` for a command without sudo.
    pub(super) answering: Option<SudoResponder>,
    /// Outcome of the exchange with sudo, for [`CommandControl`](super::control::CommandControl).
    pub(super) answered: watch::Sender<Option<SudoOutcome>>,
    /// Event to set once the command has begun, as far as can be known.
    pub(super) sent: Event,
    /// Token to cancel if the script does not begin in time.
    pub(super) abandoned: CancellationToken,
    /// Token to cancel after [`abandoned`](Self::abandoned), when the program in place of the shell
    /// has had time to end.
    pub(super) given_up: CancellationToken,
    /// Channel to write to.
    pub(super) write: Arc<ChannelWriteHalf<Msg>>,
    /// True if all input waits until the script has begun. Before that, startup files or another
    /// program in place of the login shell would read the input, and perhaps run it.
    pub(super) holds: bool,
    /// Lines for the script to read before the command begins.
    pub(super) settings: Vec<u8>,
    /// True if the script prints a mark after reading the settings. All other input then waits for
    /// the mark.
    pub(super) says_ready: bool,
    /// First bytes of the command's own input.
    pub(super) stdin: Vec<u8>,
    /// Further input; `None` ends the input after [`stdin`](Self::stdin).
    pub(super) input: Option<mpsc::Receiver<Vec<u8>>>,
    /// Replies of the terminal, which are written between the other input.
    pub(super) replies: mpsc::Receiver<Vec<u8>>,
    /// True if the command has a terminal.
    pub(super) terminal: bool,
}

impl StdinWriter {
    /// Writes all input, and then end of file.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<SudoEvent>) {
        // Without sudo, a command counts as begun once it is sent: it must not be sent again.
        if self.answering.is_none() {
            self.sent.set();
        }

        // Nothing is sent to a script that has not announced itself: startup files would read it.
        if self.holds && !self.begins(&mut events).await {
            return;
        }

        // The password comes first, because sudo reads the same stdin as the command.
        if let Some(answering) = self.answering.take() {
            let answered = answering.run(&mut events, &self.write).await;
            let through = matches!(answered, SudoOutcome::Authenticated(_));
            self.answered.send_replace(Some(answered));
            if !through {
                return;
            }

            self.sent.set();
        }

        let (settings, stdin) = (
            std::mem::take(&mut self.settings),
            std::mem::take(&mut self.stdin),
        );

        // A terminal is raw while the script reads the settings. Input that comes earlier than the
        // mark would not be echoed.
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

    /// Waits until the script has begun; returns false if nothing has begun in time. Then the end
    /// of stdin ends the program in place of the shell. A script that begins even later reads no
    /// settings and ends.
    async fn begins(&self, events: &mut mpsc::Receiver<SudoEvent>) -> bool {
        if let Ok(begun) = timeout(BEGINS_WITHIN, events.recv()).await {
            return begun.is_some();
        }

        // Recorded before end of file is sent, because the command may end at once and its result
        // depends on this.
        self.abandoned.cancel();
        if !self.terminal && self.write.eof().await.is_ok() {
            sleep(ENDS_WITHIN).await;
        }

        self.given_up.cancel();

        false
    }

    /// Writes the command's own input, mixed with the terminal's replies, and then end of file.
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

        // The end of a terminal's input is a character (`VEOF`, termios(3)), not the end of the
        // channel's stream.
        if !self.terminal {
            let _ = self.write.eof().await;
        }
    }
}
