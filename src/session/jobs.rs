//! Registry of the commands this process started lately.
//!
//! Every command is tracked for the status page. Those that outlive their call are retained as
//! jobs, which later calls can look up.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

use super::job::Job;
use crate::lock::lock;

/// Maximum number of ended jobs to remember.
const MAX_ENDED: usize = 50;
/// Maximum number of ended commands to remember besides jobs. Only the status page shows them.
const MAX_SEEN: usize = 20;

/// Recent commands of a process, in the order of their start.
///
/// Running commands are never dropped. Of the ended ones, the latest 50 jobs and 20 other commands
/// are remembered.
#[derive(Debug, Default)]
pub struct Jobs(Mutex<VecDeque<TrackedJob>>);

/// Job in the list of the jobs of this process.
#[derive(Debug)]
struct TrackedJob {
    job: Arc<Job>,
    /// True if later calls can look up the command.
    retained: bool,
}

impl Jobs {
    /// Adds a newly started command, for the status page.
    pub fn track(&self, job: &Arc<Job>) {
        self.insert(job, false);
    }

    /// Makes a command available to later calls, and adds the command if missing.
    pub fn retain(&self, job: &Arc<Job>) {
        self.insert(job, true);
    }

    /// Returns the retained job with this id, or `None` if there is none.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<Job>> {
        self.lock()
            .iter()
            .find(|entry| entry.retained && entry.job.id == id)
            .map(|entry| Arc::clone(&entry.job))
    }

    /// Returns all retained jobs, or only the jobs of `session`, in the order of start.
    #[must_use]
    pub fn list(&self, session: Option<&str>) -> Vec<Arc<Job>> {
        let entries = self.lock();
        let retained = entries
            .iter()
            .filter(|entry| entry.retained)
            .map(|entry| &entry.job);

        retained
            .filter(|job| session.is_none_or(|session| job.session == session))
            .cloned()
            .collect()
    }

    /// Returns the running command of the shell for which `job` is waiting.
    ///
    /// The returned command is retained, so that a later call can stop it. `None` means that
    /// nothing else runs in this shell.
    #[must_use]
    pub fn ahead_of(&self, job: &Job) -> Option<Arc<Job>> {
        let mut entries = self.lock();

        let ahead = entries.iter_mut().find(|entry| {
            let other = &entry.job;
            other.shell.is_some()
                // Shells of two sessions may have the same name.
                && (&other.session, &other.shell) == (&job.session, &job.shell)
                && other.is_sent()
                && other.ended().is_none()
        })?;

        ahead.retained = true;

        Some(Arc::clone(&ahead.job))
    }

    /// Returns the number of running commands, without detached jobs, which outlive this process.
    #[must_use]
    pub fn running(&self) -> usize {
        self.lock()
            .iter()
            .map(|entry| &entry.job)
            .filter(|job| job.detached.is_none() && job.ended().is_none())
            .count()
    }

    /// Returns all running and lately ended commands, in the order of start.
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
            // A retained job stays retained when tracking follows.
            Some(entry) => entry.retained |= retain,
            None => entries.push_back(TrackedJob {
                job: Arc::clone(job),
                retained: retain,
            }),
        }

        // Two separate limits: short commands must not push out jobs whose result nobody has read
        // yet.
        for (retained, most) in [(true, MAX_ENDED), (false, MAX_SEEN)] {
            let is_over =
                |entry: &TrackedJob| entry.retained == retained && entry.job.ended().is_some();
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
        lock(&self.0)
    }
}
