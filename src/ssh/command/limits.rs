//! When a running command is stopped, and what it is told until then.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::exit_status::Ending;
use crate::{
    framing::stop::{FirstSignal, Signal},
    ssh::{error::SshError, prompt::pausable_clock::PausableClock},
};

/// Signals that may wait to be sent to one command.
const QUEUE: usize = 8;

/// When a running command is stopped.
#[derive(Debug, Clone)]
pub struct StopConditions {
    /// How long it may run; `None` is without end.
    pub limit: Option<Duration>,
    /// Whether that stands still because a person is asked.
    pub pause: PausableClock,
    /// Stops it when the caller gives up.
    pub cancelled: CancellationToken,
    /// Stops it when its session is disconnected.
    pub closing: CancellationToken,
    /// Stops it, in a hurry, when the program ends.
    pub ending: CancellationToken,
    /// What it is told meanwhile.
    pub signals: Signals,
}

/// Signals for a command, as they come. Clones share them: each goes to one of them.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    queue: Option<Arc<Mutex<mpsc::Receiver<Signal>>>>,
    stop: CancellationToken,
}

/// Where signals for a command are put in.
#[derive(Debug)]
pub struct SignalSender {
    queue: mpsc::Sender<Signal>,
    stop: CancellationToken,
}

impl SignalSender {
    /// Sends a signal; `false` if too many wait already, or the command has ended.
    #[must_use]
    pub fn send(&self, signal: Signal) -> bool {
        if matches!(signal, Signal::Stop(_)) {
            self.stop.cancel();
        }
        self.queue.try_send(signal).is_ok()
    }
}

impl Signals {
    /// Signals, and where they are put in.
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

    /// The next one, if there ever is one.
    pub async fn next(&self) -> Signal {
        if let Some(queue) = &self.queue
            && let Some(signal) = queue.lock().await.recv().await
        {
            return signal;
        }
        std::future::pending().await
    }
}

/// Why a command is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ssh) enum StopReason {
    TimedOut,
    Cancelled,
    /// The program ends: there is little time for it.
    Ending,
    /// By a signal that it was sent.
    Asked(FirstSignal),
}

impl StopReason {
    /// How long each signal may take to work, in tenths of a second. A signal that was asked for may be heeded slowly.
    pub(in crate::ssh) fn grace_tenths(self) -> u32 {
        match self {
            Self::TimedOut | Self::Cancelled => 10,
            Self::Ending => 1,
            Self::Asked(_) => 30,
        }
    }

    /// The signal with which it begins.
    pub(in crate::ssh) fn first_signal(self) -> FirstSignal {
        if let Self::Asked(first_signal) = self {
            first_signal
        } else {
            FirstSignal::Int
        }
    }

    /// How a command ended that was stopped so, given how it ended as far as its server has told.
    pub(in crate::ssh) fn ending(self, told: Option<Ending>) -> Ending {
        match self {
            Self::TimedOut => Ending::TimedOut,
            Self::Asked(_) => told.unwrap_or(Ending::Cancelled),
            Self::Cancelled | Self::Ending => Ending::Cancelled,
        }
    }
}

impl StopConditions {
    /// Whether there is no sense in beginning any more.
    #[must_use]
    pub fn already_met(&self) -> bool {
        self.ends().iter().any(|token| token.is_cancelled())
    }

    /// Waits until there is no sense in beginning any more.
    pub async fn met(&self) {
        let [ending, closing, cancelled, asked] = self.ends();

        tokio::select! {
            () = ending.cancelled() => {}
            () = closing.cancelled() => {}
            () = cancelled.cancelled() => {}
            () = asked.cancelled() => {}
        }
    }

    fn ends(&self) -> [&CancellationToken; 4] {
        [
            &self.ending,
            &self.closing,
            &self.cancelled,
            &self.signals.stop,
        ]
    }

    /// Does what comes before a command is sent, unless it has to be stopped by then.
    ///
    /// # Errors
    /// Those of `work`; a limit that was reached; [`SshError::Cancelled`].
    pub(in crate::ssh) async fn before_sending<T>(
        &self,
        work: impl Future<Output = Result<T, SshError>>,
    ) -> Result<T, SshError> {
        tokio::select! {
            biased;
            result = work => result,
            () = self.signals.stop.cancelled() => Err(SshError::Cancelled),
            stop = self.wait(Duration::ZERO) => Err(match (stop, self.limit) {
                (StopReason::TimedOut, Some(after)) => SshError::NotSent { after },
                _ => SshError::Cancelled,
            }),
        }
    }

    /// Waits until the command has to be stopped, `spent` of its time being used already.
    pub(in crate::ssh) async fn wait(&self, spent: Duration) -> StopReason {
        let limit = async {
            match self.limit {
                Some(limit) => self.pause.sleep(limit.saturating_sub(spent)).await,
                None => std::future::pending().await,
            }
        };

        tokio::select! {
            biased;
            () = self.ending.cancelled() => StopReason::Ending,
            () = self.closing.cancelled() => StopReason::Cancelled,
            () = self.cancelled.cancelled() => StopReason::Cancelled,
            () = limit => StopReason::TimedOut,
        }
    }
}
