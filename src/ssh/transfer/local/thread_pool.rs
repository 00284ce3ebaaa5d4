//! Threads for what may block: small files and directories of this machine.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    sync::{
        mpsc::{UnboundedSender, unbounded_channel},
        oneshot,
    },
    task::spawn_blocking,
};

/// Threads of one transfer, at most: a disk may take its time.
const MAX_THREADS: usize = 8;
/// What waits for a thread before the next one is given something: to wake one costs more than a small file does.
const ENOUGH: usize = 4;

type ThreadTask = Box<dyn FnOnce() + Send>;

/// Threads that do one thing after the other. They end with this.
#[derive(Debug, Default)]
pub(in crate::ssh::transfer) struct Threads([OnceLock<Thread>; MAX_THREADS]);

#[derive(Debug)]
struct Thread {
    works: UnboundedSender<ThreadTask>,
    /// How many were given to it and are not done.
    waiting: Arc<AtomicUsize>,
}

impl Threads {
    /// Does it on one of them, or not at all if nobody waits for it any more when its turn comes. `None`: it has panicked.
    pub(in crate::ssh::transfer) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let waits = |thread: &OnceLock<Thread>| {
            thread
                .get()
                .map_or(0, |thread| thread.waiting.load(Ordering::Relaxed))
                .saturating_sub(ENOUGH - 1)
        };

        // Of those with little to do the first.
        let Thread { works, waiting } = self
            .0
            .iter()
            .min_by_key(|thread| waits(thread))?
            .get_or_init(Thread::start);

        let (give, done) = oneshot::channel();
        waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Arc::clone(waiting);

        let _ = works.send(Box::new(move || {
            if !give.is_closed() {
                let _ = give.send(work());
            }
            waiting.fetch_sub(1, Ordering::Relaxed);
        }));

        done.await.ok()
    }
}

impl Thread {
    fn start() -> Self {
        let (works, mut given) = unbounded_channel::<ThreadTask>();
        spawn_blocking(move || {
            while let Some(work) = given.blocking_recv() {
                work();
            }
        });

        Self {
            works,
            waiting: Arc::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn all_threads_are_used_where_much_waits() {
        let (threads, all) = (Threads::default(), Arc::new(Barrier::new(MAX_THREADS)));

        // The first on each thread waits for all the others.
        let works = (0..ENOUGH * MAX_THREADS).map(|number| {
            let all = Arc::clone(&all);
            threads.run(move || number % ENOUGH == 0 && all.wait().is_leader())
        });

        assert_eq!(
            join_all(works)
                .await
                .into_iter()
                .flatten()
                .filter(|leads| *leads)
                .count(),
            1
        );
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_done() {
        let (threads, begun, go_on) = (
            Threads::default(),
            Arc::new(Barrier::new(2)),
            Arc::new(Barrier::new(2)),
        );

        let done = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&done);
        let (has_begun, goes_on) = (Arc::clone(&begun), Arc::clone(&go_on));
        let mut first = Box::pin(threads.run(move || (has_begun.wait(), goes_on.wait())));
        let mut second = Box::pin(threads.run(move || count.fetch_add(1, Ordering::Relaxed)));
        assert!(futures_util::poll!(&mut first).is_pending());
        begun.wait();
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(second);
        go_on.wait();
        first.await.unwrap();
        threads.run(|| ()).await.unwrap();
        assert_eq!(done.load(Ordering::Relaxed), 0);
    }
}
