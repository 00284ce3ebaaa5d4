//! Clocks that stand still while the user is asked.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

/// Clock of a command, which stands still while the user is asked. The clock counts open questions,
/// so several can overlap. Clones share the count.
#[derive(Debug, Clone)]
pub struct PausableClock(Arc<watch::Sender<usize>>);

impl Default for PausableClock {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl PausableClock {
    /// Waits for `asking`, an answer of the user, with the clock standing still.
    pub async fn during<T>(&self, asking: impl Future<Output = T>) -> T {
        /// Counts down when the question ends or is given up.
        struct Open<'a>(&'a watch::Sender<usize>);

        impl Drop for Open<'_> {
            fn drop(&mut self) {
                self.0.send_modify(|open| *open -= 1);
            }
        }

        self.0.send_modify(|open| *open += 1);
        let _open = Open(&self.0);

        asking.await
    }

    /// Waits until `time` has passed without an open question.
    pub async fn sleep(&self, time: Duration) {
        let (mut open, mut left) = (self.0.subscribe(), time);
        loop {
            // Cannot fail: the sender lives as long as this clock.
            let _ = open.wait_for(|open| *open == 0).await;
            let since = Instant::now();
            tokio::select! {
                () = sleep(left) => return,
                _ = open.wait_for(|open| *open > 0) => left = left.saturating_sub(since.elapsed()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_stands_still_while_any_question_is_open() {
        let seconds = Duration::from_secs;
        for (questions, whole) in [
            (&[][..], 10),
            (&[(3, 100)], 110),
            (&[(2, 5), (3, 2)], 15),
            (&[(20, 5)], 10),
        ] {
            let (pause, started) = (PausableClock::default(), Instant::now());
            let asking = questions.iter().map(async |(at, takes)| {
                sleep(seconds(*at)).await;
                pause.during(sleep(seconds(*takes))).await;
            });

            tokio::select! {
                biased;
                () = pause.sleep(seconds(10)) => {}
                () = async { futures_util::future::join_all(asking).await; std::future::pending::<()>().await } => {}
            }

            assert_eq!(started.elapsed(), seconds(whole), "{questions:?}");
        }
    }
}
