//! Stdin of a running command, fed by later calls.

use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{lock::lock, session::error::SessionError};

/// Capacity of the input queue, in portions. A full queue means that the command does not read.
const INPUT_QUEUE: usize = 64;
/// End-of-input character of terminals (`VEOF`, termios(3)). At the end of a portion, this
/// character closes stdin of a command without a terminal.
const END_OF_INPUT: u8 = 0x04;

/// Reason why a job was not given input.
#[derive(Debug)]
pub enum InputRefused {
    /// The stdin of the job is closed, or was never open.
    Closed,
    /// The job does not read its earlier input, and the queue is full.
    Full,
    /// The remote machine could not deliver the input to a detached job, or the settings do not
    /// allow it any more.
    Remote(SessionError),
}

/// Portion of input, as a caller gives it to a job.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InputPortion {
    /// Bytes for stdin.
    pub(super) bytes: Bytes,
    /// True if stdin ends after these bytes.
    pub(super) closes: bool,
}

/// Sending end of a job's stdin. The task that runs the command owns the receiving end.
#[derive(Debug)]
pub(super) struct JobInput {
    /// Queue of input for the command; `None` once stdin is closed.
    queue: Mutex<Option<mpsc::Sender<Bytes>>>,
}

impl InputPortion {
    /// Reads the text of a caller.
    ///
    /// Without a terminal, U+0004 at the end closes stdin. A terminal gets the character itself.
    pub(super) fn parse(text: &str, terminal: bool) -> Self {
        let bytes = text.as_bytes();
        match bytes.strip_suffix(&[END_OF_INPUT]) {
            Some(bytes) if !terminal => Self {
                bytes: Bytes::copy_from_slice(bytes),
                closes: true,
            },
            _ => Self {
                bytes: Bytes::copy_from_slice(bytes),
                closes: false,
            },
        }
    }
}

impl JobInput {
    /// Creates an open input with the receiving end, or a closed input.
    pub(super) fn new(is_open: bool) -> (Self, Option<mpsc::Receiver<Bytes>>) {
        let (sender, receiver) = if is_open {
            let (sender, receiver) = mpsc::channel(INPUT_QUEUE);
            (Some(sender), Some(receiver))
        } else {
            (None, None)
        };

        let queue = Mutex::new(sender);

        (Self { queue }, receiver)
    }

    /// Returns true until stdin is closed.
    pub(super) fn is_open(&self) -> bool {
        self.lock().is_some()
    }

    /// Queues input for the command, and closes stdin after the last portion.
    pub(super) fn send(&self, portion: &InputPortion) -> Result<(), InputRefused> {
        let mut queue = self.lock();
        let open = queue.as_ref().ok_or(InputRefused::Closed)?;

        if !portion.bytes.is_empty() {
            open.try_send(portion.bytes.clone())
                .map_err(|error| match error {
                    mpsc::error::TrySendError::Full(_) => InputRefused::Full,
                    mpsc::error::TrySendError::Closed(_) => InputRefused::Closed,
                })?;
        }

        if portion.closes {
            *queue = None;
        }

        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<mpsc::Sender<Bytes>>> {
        lock(&self.queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_last_end_of_input_closes_stdin_without_a_terminal() {
        for (text, terminal, bytes, closes) in [
            ("a\n", false, "a\n", false),
            ("a\u{4}", false, "a", true),
            ("\u{4}", false, "", true),
            ("a\u{4}b", false, "a\u{4}b", false),
            ("a\u{4}", true, "a\u{4}", false),
        ] {
            assert_eq!(
                InputPortion::parse(text, terminal),
                InputPortion {
                    bytes: Bytes::from(bytes),
                    closes
                },
                "{text:?} {terminal}"
            );
        }
    }

    #[test]
    fn input_is_refused_once_stdin_is_closed_or_the_queue_is_full() {
        let send = |input: &JobInput, text| input.send(&InputPortion::parse(text, false));

        let (closed, none) = JobInput::new(false);
        assert!(none.is_none() && !closed.is_open());
        assert!(matches!(send(&closed, "x"), Err(InputRefused::Closed)));

        let (input, receiver) = JobInput::new(true);
        let mut receiver = receiver.unwrap();
        send(&input, "x\u{4}").unwrap();
        assert_eq!(receiver.try_recv().unwrap(), "x");
        assert!(matches!(send(&input, "y"), Err(InputRefused::Closed)));

        let (full, receiver) = JobInput::new(true);
        for _ in 0..INPUT_QUEUE {
            send(&full, "x").unwrap();
        }
        assert!(matches!(send(&full, "x"), Err(InputRefused::Full)));
        drop(receiver);
        assert!(matches!(send(&full, "x"), Err(InputRefused::Closed)));
    }
}
