//! Records the stages on the way to a connection, for a user who wants to know why a host does or
//! does not connect. The connecting code itself records each stage, so the trace shows the real
//! events.
//!
//! With a recording trace nothing is changed: no host key is saved, no secret is asked for, and no
//! `known_hosts` file is updated.

use std::sync::{Arc, Mutex};

use crate::{foreign_text::ForeignText, lock::lock, ssh::error::SshError};

/// Stage on the way to a command on the host. The order of the variants is the order of the stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stage {
    /// Reading the configuration for the destination.
    #[default]
    Configuration,
    /// Connecting to the jump host, or starting the `ProxyCommand`.
    Proxy,
    /// Looking up the addresses of the host name.
    Addresses,
    /// Opening the TCP connection.
    Tcp,
    /// Receiving the server's identification (RFC 4253, section 4.2).
    Identification,
    /// Agreeing on algorithms and keys (RFC 4253, section 7).
    KeyExchange,
    /// Checking the host key.
    HostKey,
    /// Logging in (RFC 4252).
    Authentication,
    /// Opening a session channel (RFC 4254, section 6.1).
    Channel,
    /// Probing the login shell, which runs the commands of this account.
    LoginShell,
    /// Starting the persistent shell of `ssh_shell`.
    Bash,
    /// Opening the SFTP subsystem, which transfers files.
    Sftp,
    /// Counting the channels which a connection may have.
    Channels,
}

impl Stage {
    /// All stages, in order.
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

/// Outcome of one stage of connecting, as `doctor` reports each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageOutcome {
    /// The stage succeeded.
    Passed,
    /// The attempt ended at this stage, or something which a session needs is missing.
    Failed,
    /// The stage was not run, or gave no clear answer.
    Skipped,
}

/// Record of a completed stage, made by the connecting code or by the probes of `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stage to which the finding belongs.
    pub stage: Stage,
    /// Jump host as the configuration names it; `None` for the destination.
    pub hop: Option<ForeignText>,
    /// Outcome of the stage.
    pub outcome: StageOutcome,
    /// Outcome in words. Like the details, the text may hold a server's words.
    pub summary: ForeignText,
    /// Observations which led to the outcome, a line each.
    pub details: Vec<ForeignText>,
}

/// Recorder of findings, shared by all code which connects. The default records nothing and
/// evaluates no text. Clones share their findings.
#[derive(Debug, Clone, Default)]
pub(super) struct StageTrace(Option<Recording>);

/// Findings of a recording trace.
#[derive(Debug, Clone, Default)]
struct Recording {
    /// Jump host to which new findings belong; `None` for the destination.
    hop: Option<ForeignText>,
    /// Completed stages. A plain mutex, because the lock is held for an assignment only.
    found: Arc<Mutex<Vec<Finding>>>,
    /// Stage begun last, with the details so far.
    current: Arc<Mutex<(Stage, Vec<ForeignText>)>>,
}

impl StageTrace {
    /// Creates a trace which records findings.
    pub(super) fn recording() -> Self {
        Self(Some(Recording::default()))
    }

    /// Returns true if findings are recorded.
    pub(super) fn is_recording(&self) -> bool {
        self.0.is_some()
    }

    /// Returns a trace for a jump host. Its findings join the findings of this trace, but its
    /// current stage is separate.
    pub(super) fn of_hop(&self, hop: &str) -> Self {
        Self(self.0.as_ref().map(|recording| Recording {
            hop: Some(hop.into()),
            found: Arc::clone(&recording.found),
            ..Recording::default()
        }))
    }

    /// Begins a stage, to which the following details belong.
    pub(super) fn begin(&self, stage: Stage) {
        if let Some(recording) = &self.0 {
            *lock(&recording.current) = (stage, Vec::new());
        }
    }

    /// Records an observation about the current stage.
    pub(super) fn detail<T: Into<ForeignText>>(&self, text: impl FnOnce() -> T) {
        if let Some(recording) = &self.0 {
            let text = text().into();
            lock(&recording.current).1.push(text);
        }
    }

    /// Records the current stage as passed.
    pub(super) fn pass<T: Into<ForeignText>>(&self, summary: impl FnOnce() -> T) {
        self.record(StageOutcome::Passed, summary);
    }

    /// Records the outcome of the current stage, for stages without an [`SshError`].
    pub(super) fn finish(&self, outcome: StageOutcome, summary: String) {
        self.record(outcome, || summary);
    }

    /// Records the current stage as skipped.
    pub(super) fn skip<T: Into<ForeignText>>(&self, summary: impl FnOnce() -> T) {
        self.record(StageOutcome::Skipped, summary);
    }

    /// Records the current stage as failed. Errors of several lines become details.
    pub(super) fn fail(&self, error: &SshError) {
        // A summary is a single line, so texts of several lines become details.
        match error {
            SshError::Resolve { message, .. } => message
                .raw()
                .lines()
                .for_each(|line| self.detail(|| line.to_owned())),
            SshError::Authentication { attempts, .. } => self.detail_unless_noted(attempts),
            _ => {}
        }

        self.record(StageOutcome::Failed, || summary(error));
    }

    /// Removes and returns all findings so far.
    pub(super) fn take_findings(&self) -> Vec<Finding> {
        self.0
            .as_ref()
            .map(|recording| std::mem::take(&mut *lock(&recording.found)))
            .unwrap_or_default()
    }

    /// Adds a detail if the current stage has none yet.
    fn detail_unless_noted(&self, text: &str) {
        if self
            .0
            .as_ref()
            .is_some_and(|recording| lock(&recording.current).1.is_empty())
        {
            self.detail(|| text.to_owned());
        }
    }

    /// Completes the current stage with an outcome.
    fn record<T: Into<ForeignText>>(&self, outcome: StageOutcome, summary: impl FnOnce() -> T) {
        if let Some(recording) = &self.0 {
            let (stage, details) = std::mem::take(&mut *lock(&recording.current));
            let (hop, summary) = (recording.hop.clone(), summary().into());
            lock(&recording.found).push(Finding {
                stage,
                hop,
                outcome,
                summary,
                details,
            });
        }
    }
}

/// Describes an error in a single line, without the parts which the details repeat.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_belong_to_the_current_stage_and_hops_have_their_own() {
        let trace = StageTrace::recording();
        trace.begin(Stage::Proxy);
        let hop = trace.of_hop("near");
        hop.begin(Stage::Tcp);
        hop.detail(|| "tried".to_owned());
        hop.fail(&SshError::Cancelled);
        trace.detail(|| "runs".to_owned());
        trace.pass(|| "through near".to_owned());

        let found_in_order: Vec<_> = trace
            .take_findings()
            .into_iter()
            .map(|found| (found.stage, found.hop, found.outcome, found.details))
            .collect();

        let expected = [
            (
                Stage::Tcp,
                Some("near".into()),
                StageOutcome::Failed,
                vec!["tried".into()],
            ),
            (
                Stage::Proxy,
                None,
                StageOutcome::Passed,
                vec!["runs".into()],
            ),
        ];

        assert_eq!(found_in_order, expected);
    }

    #[test]
    fn what_nobody_wants_to_know_is_not_even_put_into_words() {
        let trace = StageTrace::default();
        trace.begin(Stage::Tcp);
        trace.detail(|| -> String { panic!("a detail") });
        trace.pass(|| -> String { panic!("a summary") });
        assert!(trace.take_findings().is_empty() && !trace.of_hop("h").is_recording());
    }
}
