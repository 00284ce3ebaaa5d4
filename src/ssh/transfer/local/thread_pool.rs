//! Threads for blocking work: small files and directories of this machine.

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

/// Upper limit of threads per transfer. A disk may be slow, and serve several threads at once.
const MAX_THREADS: usize = 8;
/// Number of waiting tasks at which the next thread is used. Waking a thread costs more than a
/// small file.
const ENOUGH: usize = 4;

/// Work for a thread, which delivers its own result.
type ThreadTask = Box<dyn FnOnce() + Send>;

/// Threads which each run tasks in order, started when needed. The threads end when this value is
/// dropped.
#[derive(Debug, Default)]
pub(in crate::ssh::transfer) struct Threads([OnceLock<Thread>; MAX_THREADS]);

/// Thread with a queue of tasks. The thread ends when the queue is dropped.
#[derive(Debug)]
struct Thread {
    /// Queue of the thread.
    works: UnboundedSender<ThreadTask>,
    /// Number of queued and running tasks.
    waiting: Arc<AtomicUsize>,
}

impl Threads {
    /// Runs `work` on a thread and returns the result. Work whose caller has given up before it
    /// starts is skipped. Returns `None` if `work` panicked.
    pub(in crate::ssh::transfer) async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        // A thread with a short queue counts as idle: starting or waking another would cost more.
        let waits = |thread: &OnceLock<Thread>| {
            thread
                .get()
                .map_or(0, |thread| thread.waiting.load(Ordering::Relaxed))
                .saturating_sub(ENOUGH - 1)
        };

        // Equally loaded threads are used in order, so that few threads do all of a light load.
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
                let _ = give.send(task());
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
            while let Some(task) = given.blocking_recv() {
                task();
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
        let (threads, started, go_on) = (
            Threads::default(),
            Arc::new(Barrier::new(2)),
            Arc::new(Barrier::new(2)),
        );

        let done = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&done);
        let (has_begun, goes_on) = (Arc::clone(&started), Arc::clone(&go_on));
        let mut first = Box::pin(threads.run(move || (has_begun.wait(), goes_on.wait())));
        let mut second = Box::pin(threads.run(move || count.fetch_add(1, Ordering::Relaxed)));
        assert!(futures_util::poll!(&mut first).is_pending());
        started.wait();
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(second);
        go_on.wait();
        first.await.unwrap();
        threads.run(|| ()).await.unwrap();
        assert_eq!(done.load(Ordering::Relaxed), 0);
    }
}
