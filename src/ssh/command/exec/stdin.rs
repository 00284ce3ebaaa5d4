//! The task that writes a command's stdin.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use russh::{ChannelWriteHalf, client::Msg};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::sudo::SudoExchange;
use crate::{event::Event, framing::sudo::SudoEvent, ssh::command::spec::CommandSpec};

/// Longest wait for the start of the command's script while something waits to be sent. Startup
/// files get as long as for a persistent shell.
const BEGINS_WITHIN: Duration = Duration::from_secs(20);
/// Grace period, after the end of stdin, of a program in place of the login shell.
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// Task for writing a command's stdin: sudo's password first, then the settings, then the command's
/// own input. The task ends with the input, or when the script did not begin.
pub(super) struct StdinWriter {
    /// Command whose stdin is written.
    pub(super) spec: Arc<CommandSpec>,
    /// Exchange with sudo before the command begins; `None` for a command without sudo.
    pub(super) sudo: Option<SudoExchange>,
    /// Event to set once the command has begun, as far as can be known.
    pub(super) sent: Event,
    /// Event of the command's grant by the server, for which the input waits.
    pub(super) granted: Event,
    /// Event to set if the script does not begin in time.
    pub(super) not_begun: Event,
    /// Token to cancel after [`not_begun`](Self::not_begun), when the program in place of the shell
    /// has had time to end.
    pub(super) stop_reading: CancellationToken,
    /// Channel to write to.
    pub(super) write: Arc<ChannelWriteHalf<Msg>>,
    /// True if the end of stdin was sent already. Then there is no input.
    pub(super) has_ended: bool,
    /// True if all input waits until the script has begun. Before that, startup files or another
    /// program in place of the login shell would read the input, and perhaps run it.
    pub(super) waits_for_script: bool,
    /// Lines for the script to read before the command begins.
    pub(super) settings: Vec<u8>,
    /// True if the script prints a mark after reading the settings. All other input then waits for
    /// the mark.
    pub(super) says_ready: bool,
    /// Input after the command's first stdin; `None` if no more follows.
    pub(super) input: Option<mpsc::Receiver<Bytes>>,
    /// Replies of the terminal, which are written between the other input.
    pub(super) replies: mpsc::Receiver<Vec<u8>>,
}

impl StdinWriter {
    /// Writes all input, and then end of file.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<SudoEvent>) {
        // Without sudo, a command counts as begun once it is sent: it must not be sent again.
        if self.sudo.is_none() {
            self.sent.set();
        }

        // Nothing is sent to a script that has not announced itself: startup files would read it.
        if self.waits_for_script && !self.script_begins(&mut events).await {
            return;
        }

        // The password comes first, because sudo reads the same stdin as the command.
        if let Some(sudo) = self.sudo.take() {
            if !sudo.run(&mut events, &self.write, self.spec.pty).await {
                return;
            }

            self.sent.set();
        }

        let settings = std::mem::take(&mut self.settings);
        let stdin = self.typed(self.spec.stdin.clone().unwrap_or_default().into());
        if !settings.is_empty() || !stdin.is_empty() {
            self.granted.wait().await;
        }

        // A terminal is raw while the script reads the settings. Input that comes earlier than the
        // mark would not be echoed.
        if self.says_ready {
            if self.write.data_bytes(settings).await.is_err() {
                return;
            }

            while !matches!(events.recv().await, Some(SudoEvent::Ready) | None) {}
            self.write_input(stdin).await;
        } else {
            self.write_input([settings, stdin.to_vec()].concat().into())
                .await;
        }
    }

    /// Waits until the script has begun; returns false if nothing has begun in time. Then the end
    /// of stdin ends the program in place of the shell. A script that begins even later reads no
    /// settings and ends.
    async fn script_begins(&self, events: &mut mpsc::Receiver<SudoEvent>) -> bool {
        if let Ok(first) = timeout(BEGINS_WITHIN, events.recv()).await {
            return first.is_some();
        }

        // Recorded before end of file is sent, because the command may end at once and its result
        // depends on this.
        self.not_begun.set();
        if !self.spec.pty && self.write.eof().await.is_ok() {
            sleep(ENDS_WITHIN).await;
        }

        self.stop_reading.cancel();

        false
    }

    /// Returns input as it is typed. On the terminal of a shell channel, the key Enter ends a line:
    /// devices and menus do not take a line feed for that key.
    fn typed(&self, input: Bytes) -> Bytes {
        let has_terminal = !self.replies.is_closed();

        if self.spec.is_shell_channel() && has_terminal {
            with_enter_keys(&input)
        } else {
            input
        }
    }

    /// Writes the command's own input, mixed with the terminal's replies, and then end of file.
    async fn write_input(mut self, first: Bytes) {
        if !first.is_empty() && self.write.data_bytes(first).await.is_err() {
            return;
        }

        if let Some(mut input) = self.input.take() {
            while let Some(bytes) = tokio::select! {
                bytes = input.recv() => bytes.map(|bytes| self.typed(bytes)),
                Some(reply) = self.replies.recv() => Some(reply.into()),
            } {
                if self.write.data_bytes(bytes).await.is_err() {
                    return;
                }
            }
        }

        // The end of a terminal's input is a character (`VEOF`, termios(3)), not the end of the
        // channel's stream.
        if !self.spec.pty && !self.has_ended {
            let _ = self.write.eof().await;
        }
    }
}

/// Returns the text with a carriage return, which is the key Enter, for each end of a line.
fn with_enter_keys(text: &[u8]) -> Bytes {
    let mut before = None;
    let keys = text
        .iter()
        .filter_map(|&byte| match (before.replace(byte), byte) {
            (Some(b'\r'), b'\n') => None,
            (_, b'\n') => Some(b'\r'),
            _ => Some(byte),
        });

    keys.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_of_a_line_is_the_key_enter() {
        for (text, keys) in [
            ("", ""),
            ("show version\n", "show version\r"),
            ("a\r\nb\n\nc\r", "a\rb\r\rc\r"),
            ("\u{1b}[A\u{3}q", "\u{1b}[A\u{3}q"),
        ] {
            assert_eq!(with_enter_keys(text.as_bytes()), keys, "{text:?}");
        }
    }
}
