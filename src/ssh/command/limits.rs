//! Conditions that stop a running command, and the signals sent to it until then.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::exit_status::Ending;
use crate::{
    framing::stop::{FirstSignal, Signal},
    ssh::{error::SshError, prompt::pausable_clock::PausableClock},
};

/// Capacity of the queue of signals for a command.
const QUEUE: usize = 8;

/// Conditions under which a command is stopped. The first condition to be met counts.
#[derive(Debug, Clone)]
pub struct StopConditions {
    /// Time limit of the command; `None` if there is no limit.
    pub limit: Option<Duration>,
    /// Clock for the limit, which stands still while the user is asked.
    pub pause: PausableClock,
    /// Token of the caller, cancelled when the caller gives up.
    pub cancelled: CancellationToken,
    /// Token of the session, cancelled when the session is disconnected.
    pub closing: CancellationToken,
    /// Token of the program, cancelled when the program ends; little time is left then.
    pub ending: CancellationToken,
    /// Signals to send to the running command.
    pub signals: Signals,
}

/// Receiving end of the signals for a command. Clones share a queue: each signal goes to a single
/// clone.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    queue: Option<Arc<Mutex<mpsc::Receiver<Signal>>>>,
    stop: CancellationToken,
}

/// Sending end of the signals for a command.
#[derive(Debug)]
pub struct SignalSender {
    queue: mpsc::Sender<Signal>,
    stop: CancellationToken,
}

impl SignalSender {
    /// Sends a signal. Returns false if the queue is full or the command has ended.
    #[must_use]
    pub fn send(&self, signal: Signal) -> bool {
        if matches!(signal, Signal::Stop(_)) {
            self.stop.cancel();
        }
        self.queue.try_send(signal).is_ok()
    }
}

impl Signals {
    /// Creates both ends of a queue of signals.
    #[must_use]
    pub fn new() -> (SignalSender, Self) {
        let (send, receive) = mpsc::channel(QUEUE);
        let stop = CancellationToken::new();
        (
            SignalSender {
                queue: send,
                stop: stop.clone(),
            },
            Self {
                queue: Some(Arc::new(Mutex::new(receive))),
                stop,
            },
        )
    }

    /// Waits for the next signal; for ever, if no signal will come.
    pub async fn next(&self) -> Signal {
        if let Some(queue) = &self.queue
            && let Some(signal) = queue.lock().await.recv().await
        {
            return signal;
        }
        std::future::pending().await
    }
}

/// Reason for stopping a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ssh) enum StopReason {
    /// The time limit was reached.
    TimedOut,
    /// The caller gave up, or the session was disconnected.
    Cancelled,
    /// The program ends, and little time is left.
    Ending,
    /// The user or agent sent a signal which stops commands.
    Signalled(FirstSignal),
}

impl StopReason {
    /// Returns the time for each signal to take effect, in tenths of a second. A signal sent on
    /// request may be heeded slowly.
    pub(in crate::ssh) fn grace_tenths(self) -> u32 {
        match self {
            Self::TimedOut | Self::Cancelled => 10,
            Self::Ending => 1,
            Self::Signalled(_) => 30,
        }
    }

    /// Returns the first signal to send.
    pub(in crate::ssh) fn first_signal(self) -> FirstSignal {
        if let Self::Signalled(first_signal) = self {
            first_signal
        } else {
            FirstSignal::Int
        }
    }

    /// Returns the end of a stopped command, given the end reported by the server.
    pub(in crate::ssh) fn ending(self, reported: Option<Ending>) -> Ending {
        match self {
            Self::TimedOut => Ending::TimedOut,
            Self::Signalled(_) => reported.unwrap_or(Ending::Cancelled),
            Self::Cancelled | Self::Ending => Ending::Cancelled,
        }
    }
}

impl StopConditions {
    /// Returns true if a command should not begin any more.
    #[must_use]
    pub fn already_met(&self) -> bool {
        self.tokens().iter().any(|token| token.is_cancelled())
    }

    /// Waits until a command should not begin any more.
    pub async fn met(&self) {
        let [ending, closing, cancelled, asked] = self.tokens();

        tokio::select! {
            () = ending.cancelled() => {}
            () = closing.cancelled() => {}
            () = cancelled.cancelled() => {}
            () = asked.cancelled() => {}
        }
    }

    /// Returns the tokens of the conditions. The time limit is left out, because it runs from the
    /// start of the command.
    fn tokens(&self) -> [&CancellationToken; 4] {
        [
            &self.ending,
            &self.closing,
            &self.cancelled,
            &self.signals.stop,
        ]
    }

    /// Runs the preparation of a command unless a condition is met first.
    ///
    /// # Errors
    /// Returns the errors of the preparation, [`SshError::NotSent`] if the time limit was reached, and
    /// [`SshError::Cancelled`].
    pub(in crate::ssh) async fn before_sending<T>(
        &self,
        preparation: impl Future<Output = Result<T, SshError>>,
    ) -> Result<T, SshError> {
        // `biased`: a preparation that is done counts, even if the command is to be stopped at the same
        // moment. A signal queued for the command would go to nobody, so it cancels here.
        tokio::select! {
            biased;
            result = preparation => result,
            () = self.signals.stop.cancelled() => Err(SshError::Cancelled),
            stop = self.wait(Duration::ZERO) => Err(match (stop, self.limit) {
                (StopReason::TimedOut, Some(after)) => SshError::NotSent { after },
                _ => SshError::Cancelled,
            }),
        }
    }

    /// Waits until a condition is met, when the command has used `spent` of the time limit.
    pub(in crate::ssh) async fn wait(&self, spent: Duration) -> StopReason {
        let limit = async {
            match self.limit {
                Some(limit) => self.pause.sleep(limit.saturating_sub(spent)).await,
                None => std::future::pending().await,
            }
        };

        // `biased`, with the end of the program first: that reason leaves the least time.
        tokio::select! {
            biased;
            () = self.ending.cancelled() => StopReason::Ending,
            () = self.closing.cancelled() => StopReason::Cancelled,
            () = self.cancelled.cancelled() => StopReason::Cancelled,
            () = limit => StopReason::TimedOut,
        }
    }
}
