//! The commands of a process that were started lately, and among them the jobs: those that outlive the calls that started
//! them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::job::Job;

/// How many jobs that have ended are remembered.
const MAX_ENDED: usize = 50;
/// The same of commands that ended before their calls did, for whoever looks on.
const MAX_SEEN: usize = 20;

/// The commands, in the order of their start.
#[derive(Debug, Default)]
pub struct Jobs(Mutex<VecDeque<TrackedJob>>);

#[derive(Debug)]
struct TrackedJob {
    job: Arc<Job>,
    /// Whether later calls can ask for it.
    kept: bool,
}

impl Jobs {
    /// Remembers a command that has just been started, for whoever looks on.
    pub fn track(&self, job: &Arc<Job>) {
        self.insert(job, false);
    }

    /// Keeps a job for later calls.
    pub fn retain(&self, job: &Arc<Job>) {
        self.insert(job, true);
    }

    /// The job of this name.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<Job>> {
        self.lock()
            .iter()
            .find(|entry| entry.kept && entry.job.id == id)
            .map(|entry| Arc::clone(&entry.job))
    }

    /// All jobs, of all sessions or of one.
    #[must_use]
    pub fn list(&self, session: Option<&str>) -> Vec<Arc<Job>> {
        let entries = self.lock();
        let kept = entries
            .iter()
            .filter(|entry| entry.kept)
            .map(|entry| &entry.job);

        kept.filter(|job| session.is_none_or(|session| job.session == session))
            .cloned()
            .collect()
    }

    /// The command that runs in the shell in which this one waits for its turn. Later calls can ask for it, so that it can be
    /// stopped.
    #[must_use]
    pub fn ahead_of(&self, job: &Job) -> Option<Arc<Job>> {
        let mut entries = self.lock();

        let ahead = entries.iter_mut().find(|entry| {
            let other = &entry.job;
            other.shell.is_some()
                && (&other.session, &other.shell) == (&job.session, &job.shell)
                && other.is_sent()
                && other.ended().is_none()
        })?;

        ahead.kept = true;

        Some(Arc::clone(&ahead.job))
    }

    /// How many run that end with this process.
    #[must_use]
    pub fn running(&self) -> usize {
        self.lock()
            .iter()
            .map(|entry| &entry.job)
            .filter(|job| job.detached.is_none() && job.ended().is_none())
            .count()
    }

    /// All commands that run, whatever waits for them, and those that have ended lately.
    #[must_use]
    pub fn recent(&self) -> Vec<Arc<Job>> {
        self.lock()
            .iter()
            .map(|entry| Arc::clone(&entry.job))
            .collect()
    }

    fn insert(&self, job: &Arc<Job>, retain: bool) {
        let mut entries = self.lock();
        match entries
            .iter_mut()
            .find(|entry| Arc::ptr_eq(&entry.job, job))
        {
            Some(entry) => entry.kept |= retain,
            None => entries.push_back(TrackedJob {
                job: Arc::clone(job),
                kept: retain,
            }),
        }

        for (kept, most) in [(true, MAX_ENDED), (false, MAX_SEEN)] {
            let is_over = |entry: &TrackedJob| entry.kept == kept && entry.job.ended().is_some();
            let mut surplus = entries
                .iter()
                .filter(|entry| is_over(entry))
                .count()
                .saturating_sub(most);

            entries.retain(|entry| {
                let goes = surplus > 0 && is_over(entry);
                surplus -= usize::from(goes);
                !goes
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<TrackedJob>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
