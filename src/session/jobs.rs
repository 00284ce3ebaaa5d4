//! The jobs of a process: commands that outlive the calls that started them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::job::Job;

/// How many jobs that have ended are remembered.
const MOST_ENDED: usize = 50;

/// The jobs, in the order of their start.
#[derive(Debug, Default)]
pub struct Jobs(Mutex<VecDeque<Arc<Job>>>);

impl Jobs {
    /// Keeps a job for later calls.
    pub fn keep(&self, job: Arc<Job>) {
        let mut jobs = self.lock();
        if !jobs.iter().any(|kept| Arc::ptr_eq(kept, &job)) {
            jobs.push_back(job);
        }
        let mut surplus = jobs.iter().filter(|job| job.ended().is_some()).count().saturating_sub(MOST_ENDED);
        jobs.retain(|job| {
            let goes = surplus > 0 && job.ended().is_some();
            surplus -= usize::from(goes);
            !goes
        });
    }

    /// The job of this name.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<Job>> {
        self.lock().iter().find(|job| job.id == id).cloned()
    }

    /// All jobs, of all sessions or of one.
    #[must_use]
    pub fn list(&self, session: Option<&str>) -> Vec<Arc<Job>> {
        let jobs = self.lock();
        jobs.iter().filter(|job| session.is_none_or(|session| job.session == session)).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Job>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
