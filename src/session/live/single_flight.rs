//! One attempt at a time, shared by all callers.

use std::time::Instant;

use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};

/// Value that many callers need and that only one of them makes at a time.
///
/// Callers take [turns](Self::turn). A turn that finds no value makes an attempt, for which the
/// others wait. They share its value, or its error instead of a second attempt that would likely
/// fail in the same way.
#[derive(Debug)]
pub(super) struct SingleFlight<T, E>(AsyncMutex<Flight<T, E>>);

/// Turn of one caller. Other callers wait until the turn is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a, T, E> {
    /// Time at which the caller began to wait.
    waiting_since: Instant,
    flight: AsyncMutexGuard<'a, Flight<T, E>>,
}

/// Value, and the outcome of the last attempt.
#[derive(Debug)]
struct Flight<T, E> {
    value: Option<T>,
    /// Error of the last attempt; `None` if there was no attempt or it succeeded.
    error: Option<E>,
    /// End of the last attempt.
    last_attempt: Option<Instant>,
}

impl<T, E> Default for SingleFlight<T, E> {
    fn default() -> Self {
        Self(AsyncMutex::new(Flight {
            value: None,
            error: None,
            last_attempt: None,
        }))
    }
}

impl<T: Clone, E: Clone> SingleFlight<T, E> {
    /// Waits for the turn of the caller.
    pub(super) async fn turn(&self) -> Turn<'_, T, E> {
        Turn {
            waiting_since: Instant::now(),
            flight: self.0.lock().await,
        }
    }
}

impl<T: Clone, E: Clone> Turn<'_, T, E> {
    /// Returns the current value, or `None` if an attempt is needed.
    pub(super) fn value(&self) -> Option<T> {
        self.flight.value.clone()
    }

    /// Takes the current value if the condition holds.
    pub(super) fn take_if(&mut self, condition: impl FnOnce(&T) -> bool) -> Option<T> {
        self.flight.value.take_if(|value| condition(value))
    }

    /// Returns the error of an attempt that failed while the caller was waiting.
    pub(super) fn shared_error(&self) -> Option<E> {
        self.flight
            .error
            .clone()
            .filter(|_| self.last_attempt() > Some(self.waiting_since))
    }

    /// Returns the end of the last attempt, or `None` if there was no attempt.
    pub(super) fn last_attempt(&self) -> Option<Instant> {
        self.flight.last_attempt
    }

    /// Records the outcome of an attempt, and ends the turn. A failure leaves the value as it was.
    pub(super) fn finish(mut self, outcome: &Result<T, E>) {
        match outcome {
            Ok(value) => {
                self.flight.value = Some(value.clone());
                self.flight.error = None;
            }
            Err(error) => self.flight.error = Some(error.clone()),
        }

        self.flight.last_attempt = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Duration};

    use futures_util::future::join_all;
    use tokio::time::{sleep, timeout};

    use super::*;

    type Flights = SingleFlight<u32, &'static str>;

    /// Returns the shared value, or makes an attempt with this outcome.
    async fn get(
        flights: &Flights,
        attempts: &Cell<u32>,
        outcome: Result<u32, &'static str>,
    ) -> Result<u32, &'static str> {
        let turn = flights.turn().await;
        if let Some(value) = turn.value() {
            return Ok(value);
        }
        if let Some(error) = turn.shared_error() {
            return Err(error);
        }

        attempts.set(attempts.get() + 1);
        sleep(Duration::from_millis(5)).await;
        turn.finish(&outcome);

        outcome
    }

    #[tokio::test]
    async fn concurrent_callers_share_one_attempt() {
        for outcome in [Ok(7), Err("refused")] {
            let (flights, attempts) = (Flights::default(), Cell::new(0));
            let calls = (0..4).map(|_| get(&flights, &attempts, outcome));
            assert_eq!(join_all(calls).await, [outcome; 4]);
            assert_eq!(attempts.get(), 1, "{outcome:?}");
        }
    }

    #[tokio::test]
    async fn a_later_caller_tries_again_after_a_failure() {
        let (flights, attempts) = (Flights::default(), Cell::new(0));
        assert_eq!(
            get(&flights, &attempts, Err("refused")).await,
            Err("refused")
        );
        assert!(flights.turn().await.last_attempt().is_some());
        assert_eq!(get(&flights, &attempts, Ok(7)).await, Ok(7));
        assert_eq!(get(&flights, &attempts, Ok(8)).await, Ok(7));
        assert_eq!(attempts.get(), 2);
    }

    #[tokio::test]
    async fn a_cancelled_attempt_lets_the_next_caller_try() {
        let (flights, attempts) = (Flights::default(), Cell::new(0));
        let cancelled = timeout(Duration::ZERO, get(&flights, &attempts, Ok(7))).await;
        assert!(cancelled.is_err());
        assert_eq!(get(&flights, &attempts, Ok(8)).await, Ok(8));
        assert_eq!(attempts.get(), 2);
    }

    #[tokio::test]
    async fn a_failure_leaves_the_value() {
        let flights = Flights::default();
        flights.turn().await.finish(&Ok(7));
        flights.turn().await.finish(&Err("refused"));

        let mut turn = flights.turn().await;
        assert_eq!(turn.take_if(|value| *value == 8), None);
        assert_eq!(turn.take_if(|value| *value == 7), Some(7));
        assert_eq!(turn.value(), None);
    }
}
