//! What is found out on the way to a connection, stage by stage, for a person who wants to know why a host does or does
//! not connect. The code that connects notes it as it goes, so that what is told is what happens.
//!
//! Where findings are wanted nothing is changed: no host key is saved, nothing typed is asked for, and no `known_hosts`
//! file is brought up to date.

use std::sync::{Arc, Mutex, PoisonError};

use crate::ssh::error::SshError;

/// A part of the way to a command on the host, in the order of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stage {
    /// What the configuration says of the destination.
    #[default]
    Configuration,
    /// The jump host, or the `ProxyCommand`.
    Proxy,
    /// The addresses of the name.
    Addresses,
    /// The TCP connection.
    Tcp,
    /// What the server says it is (RFC 4253, section 4.2).
    Identification,
    /// The algorithms (RFC 4253, section 7).
    KeyExchange,
    /// Whether the host key is to be trusted.
    HostKey,
    /// The log-in (RFC 4252).
    Authentication,
    /// A session channel (RFC 4254, section 6.1).
    Channel,
    /// The shell that runs the commands of this user.
    LoginShell,
    /// The persistent shell of `ssh_shell`.
    Bash,
    /// The subsystem that moves files.
    Sftp,
    /// How many channels a connection may have.
    Channels,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Self; 13] = [
        Self::Configuration,
        Self::Proxy,
        Self::Addresses,
        Self::Tcp,
        Self::Identification,
        Self::KeyExchange,
        Self::HostKey,
        Self::Authentication,
        Self::Channel,
        Self::LoginShell,
        Self::Bash,
        Self::Sftp,
        Self::Channels,
    ];
}

/// How a stage went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageOutcome {
    /// As it should.
    Passed,
    /// It ends here, or something that is needed is missing.
    Failed,
    /// It was not gone through, or could not be told.
    Skipped,
}

/// What was found out at one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub stage: Stage,
    /// The jump host that it is about, as the configuration names it; `None` for the destination.
    pub hop: Option<String>,
    /// How it went.
    pub outcome: StageOutcome,
    /// That in a line. It may hold a server's words, as may the details: neither is fit for a terminal as it is.
    pub summary: String,
    /// What led to it, a line each.
    pub details: Vec<String>,
}

/// Where findings are noted; the default notes nothing and costs nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct StageTrace(Option<Notes>);

#[derive(Debug, Clone, Default)]
struct Notes {
    hop: Option<String>,
    /// Plain mutexes: held for an assignment only.
    found: Arc<Mutex<Vec<Finding>>>,
    current: Arc<Mutex<(Stage, Vec<String>)>>,
}

impl StageTrace {
    /// Findings that are noted.
    pub(super) fn recording() -> Self {
        Self(Some(Notes::default()))
    }

    /// Whether anybody wants to know.
    pub(super) fn is_recording(&self) -> bool {
        self.0.is_some()
    }

    /// The same notes, about this jump host.
    pub(super) fn of_hop(&self, hop: &str) -> Self {
        Self(self.0.as_ref().map(|notes| Notes {
            hop: Some(hop.to_owned()),
            found: Arc::clone(&notes.found),
            ..Notes::default()
        }))
    }

    /// Begins a stage, to which the next details belong.
    pub(super) fn begin(&self, stage: Stage) {
        if let Some(notes) = &self.0 {
            *lock(&notes.current) = (stage, Vec::new());
        }
    }

    /// Notes what leads to the outcome of the stage.
    pub(super) fn detail(&self, text: impl FnOnce() -> String) {
        if let Some(notes) = &self.0 {
            let text = text();
            lock(&notes.current).1.push(text);
        }
    }

    /// Notes that the stage went well.
    pub(super) fn pass(&self, summary: impl FnOnce() -> String) {
        self.record(StageOutcome::Passed, summary);
    }

    /// Notes how the stage went, where no error tells it.
    pub(super) fn finish(&self, outcome: StageOutcome, summary: String) {
        self.record(outcome, || summary);
    }

    /// Notes that the stage could not be gone through, and need not.
    pub(super) fn skip(&self, summary: impl FnOnce() -> String) {
        self.record(StageOutcome::Skipped, summary);
    }

    /// Notes that the stage failed. What the error says in several lines is told in the details.
    pub(super) fn fail(&self, error: &SshError) {
        match error {
            SshError::Resolve { message, .. } => message
                .lines()
                .for_each(|line| self.detail(|| line.to_owned())),
            SshError::Authentication { attempts, .. } => self.detail_unless_noted(attempts),
            _ => {}
        }

        self.record(StageOutcome::Failed, || summary(error));
    }

    /// All that was noted so far.
    pub(super) fn take(&self) -> Vec<Finding> {
        self.0
            .as_ref()
            .map(|notes| std::mem::take(&mut *lock(&notes.found)))
            .unwrap_or_default()
    }

    fn detail_unless_noted(&self, text: &str) {
        if self
            .0
            .as_ref()
            .is_some_and(|notes| lock(&notes.current).1.is_empty())
        {
            self.detail(|| text.to_owned());
        }
    }

    fn record(&self, outcome: StageOutcome, summary: impl FnOnce() -> String) {
        if let Some(notes) = &self.0 {
            let (stage, details) = std::mem::take(&mut *lock(&notes.current));
            let (hop, summary) = (notes.hop.clone(), summary());
            lock(&notes.found).push(Finding {
                stage,
                hop,
                outcome,
                summary,
                details,
            });
        }
    }
}

/// An error in a line: what the details tell is left out.
fn summary(error: &SshError) -> String {
    match error {
        SshError::Resolve { .. } => "ssh refuses it".to_owned(),
        SshError::Authentication {
            user, remaining, ..
        } if remaining.is_empty() => {
            format!("permission denied for {user}")
        }
        SshError::Authentication {
            user, remaining, ..
        } => {
            format!("permission denied for {user}; the server would take: {remaining}")
        }
        SshError::Greeted { source, .. } => summary(source),
        SshError::Jump { hop, source } => {
            format!("through the jump host {hop}: {}", summary(source))
        }
        _ => error.to_string(),
    }
}

/// What poisoned one of these has failed already; the notes are whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_belong_to_the_stage_that_is_begun_and_hops_have_stages_of_their_own() {
        let trace = StageTrace::recording();
        trace.begin(Stage::Proxy);
        let hop = trace.of_hop("near");
        hop.begin(Stage::Tcp);
        hop.detail(|| "tried".to_owned());
        hop.fail(&SshError::Cancelled);
        trace.detail(|| "runs".to_owned());
        trace.pass(|| "through near".to_owned());

        let told: Vec<_> = trace
            .take()
            .into_iter()
            .map(|found| {
                (
                    found.stage,
                    found.hop,
                    found.outcome,
                    found.details.join(","),
                )
            })
            .collect();

        let expected = [
            (
                Stage::Tcp,
                Some("near".to_owned()),
                StageOutcome::Failed,
                "tried".to_owned(),
            ),
            (Stage::Proxy, None, StageOutcome::Passed, "runs".to_owned()),
        ];

        assert_eq!(told, expected);
    }

    #[test]
    fn what_nobody_wants_to_know_is_not_even_put_into_words() {
        let trace = StageTrace::default();
        trace.begin(Stage::Tcp);
        trace.detail(|| panic!("a detail"));
        trace.pass(|| panic!("a summary"));
        assert!(trace.take().is_empty() && !trace.of_hop("h").is_recording());
    }
}
