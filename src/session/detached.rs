//! What this process keeps of a command that lives on the remote machine: it is asked about while somebody wants to know.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

use super::{caller::Caller, error::SessionError, live::LiveSession};
use crate::framing::detached::answer::JobId;

/// How long what a job has written so far may take to be fetched before a call goes on without all of it.
const CATCHING_UP: Duration = Duration::from_secs(10);

/// A command on the remote machine.
#[derive(Debug)]
pub struct Detached {
    /// Its name there and here.
    pub id: JobId,
    pub(super) session: Arc<LiveSession>,
    /// How many calls want to know about it.
    pub(super) watchers: watch::Sender<usize>,
    pub(super) news: watch::Sender<News>,
    /// Whether there is something left to remove on the remote machine once its end has been told.
    pub(super) leaves: AtomicBool,
}

/// How much this process knows.
#[derive(Debug, Clone)]
pub(super) enum News {
    /// What it knew when somebody asked last.
    Old,
    /// More than that: output is being fetched.
    Behind,
    /// All there is.
    Fresh,
    /// Not all, for this reason.
    Trouble {
        error: Arc<SessionError>,
        /// Whether it is being tried again.
        goes_on: bool,
    },
}

/// Somebody who wants to know about a detached command, until this is dropped.
#[derive(Debug)]
pub struct Watching<'a>(&'a Detached);

impl Detached {
    pub(super) fn new(id: JobId, session: Arc<LiveSession>) -> Self {
        Self {
            id,
            session,
            watchers: watch::Sender::new(0),
            news: watch::Sender::new(News::Old),
            leaves: AtomicBool::new(false),
        }
    }

    /// Has the remote machine asked from now on, as long as the answer is held.
    pub fn watch(&self) -> Watching<'_> {
        self.watchers.send_modify(|watchers| {
            if *watchers == 0 {
                self.news.send_replace(News::Old);
            }
            *watchers += 1;
        });
        Watching(self)
    }

    /// Makes sure that the remote machine can be asked.
    ///
    /// # Errors
    /// It cannot be connected to.
    pub async fn connect(&self, caller: &Caller) -> Result<(), SessionError> {
        self.session.connection(caller).await.map(drop)
    }

    /// Gives it something to read, and with `close` ends its stdin.
    ///
    /// # Errors
    /// It could not be given it; a part may have arrived.
    pub async fn feed(&self, input: &[u8], close: bool, caller: &Caller) -> Result<(), SessionError> {
        self.session.feed_detached(&self.id, input, close, caller).await
    }

    /// Removes what is left of it on the remote machine, once, in the background: its end has been told, and its output
    /// is here.
    pub fn clear_away(self: &Arc<Self>) {
        if self.leaves.swap(false, Ordering::Relaxed) {
            let job = Arc::clone(self);
            tokio::spawn(async move { job.session.remove_detached(&job.id).await });
        }
    }
}

impl Watching<'_> {
    /// Waits until all is known that the remote machine knows, over another connection if need be.
    ///
    /// # Errors
    /// Why that cannot be had, or not within `patience`.
    pub async fn up_to_date(&self, patience: Duration) -> Result<(), Arc<SessionError>> {
        let is_final = |news: &News| matches!(news, News::Fresh | News::Trouble { goes_on: false, .. });
        let mut news = self.0.news.subscribe();
        let asked = news.wait_for(|news| is_final(news) || matches!(news, News::Behind));
        if timeout(patience, asked).await.is_ok() {
            // A job may write faster than can be fetched.
            let _ = timeout(CATCHING_UP, news.wait_for(is_final)).await;
        }
        match &*self.0.news.borrow() {
            News::Fresh | News::Behind => Ok(()),
            News::Trouble { error, .. } => Err(Arc::clone(error)),
            News::Old => Err(Arc::new(self.0.session.no_answer(patience))),
        }
    }

    /// Waits until the remote machine is not asked any more, for a reason that trying again does not mend.
    pub async fn given_up(&self) {
        let mut news = self.0.news.subscribe();
        if news.wait_for(|news| matches!(news, News::Trouble { goes_on: false, .. })).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Why not all is known.
    #[must_use]
    pub fn trouble(&self) -> Option<Arc<SessionError>> {
        match &*self.0.news.borrow() {
            News::Trouble { error, .. } => Some(Arc::clone(error)),
            _ => None,
        }
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.watchers.send_modify(|watchers| *watchers -= 1);
    }
}
