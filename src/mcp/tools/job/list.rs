//! The list of jobs: those of this process, and detached jobs on the remote hosts.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::future::join_all;
use rmcp::model::CallToolResult;
use serde::Serialize;

use crate::{
    foreign_text::escape_line,
    mcp::{
        call::{Call, report, tool_error::ToolError},
        tools::session::text_and_facts,
    },
    session::{
        causes::with_causes,
        detached::{DetachedJob, DetachedState},
        error::SessionError,
        job::Job,
        live::started,
    },
};

/// Number of characters of a command in the list.
const LISTED: usize = 120;

/// Entry of the job list, as programs read the list. The same type serves jobs of this process and
/// detached jobs that only a remote host knows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::mcp) struct JobResult {
    /// Name of the job, for `ssh_job`.
    pub(in crate::mcp) job: String,
    /// Name of the session in which the job runs.
    pub(in crate::mcp) session: String,
    /// Name of the shell; `None` for a separate channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::mcp) shell: Option<String>,
    /// Beginning of the command, escaped.
    pub(in crate::mcp) command: String,
    /// State in a word, such as `running` or `exited`.
    pub(in crate::mcp) status: &'static str,
    /// True if the command lives on the remote host and survives this process.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::mcp) detached: bool,
    /// Time of the start (RFC 3339, UTC).
    pub(in crate::mcp) started_at: String,
    /// Time from start to end, or to now, in milliseconds.
    pub(in crate::mcp) duration_ms: u64,
    /// Bytes written to stdout so far.
    pub(in crate::mcp) stdout_bytes: u64,
    /// Bytes written to stderr so far.
    pub(in crate::mcp) stderr_bytes: u64,
}

#[derive(Debug, Serialize)]
struct JobList {
    jobs: Vec<JobResult>,
    /// Reasons why some hosts could not be asked for detached jobs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notices: Vec<String>,
}

/// Lists the jobs of `session`, or of all sessions: the answer of `ssh_job` without a job.
///
/// # Errors
/// The session is unknown and this process has no jobs of it, or the list cannot be written as
/// JSON.
pub(super) async fn call(call: &Call, session: Option<&str>) -> Result<CallToolResult, ToolError> {
    let here = call.registry.jobs.list(session);
    // A forgotten session is unknown to the registry, but its jobs of this process can still be
    // listed.
    let (sessions, notice) = match call.registry.to_ask(session, &call.caller).await {
        Err(SessionError::Unknown { .. } | SessionError::UnknownHost { .. })
            if !here.is_empty() =>
        {
            (Vec::new(), None)
        }
        // The host of a forgotten session may be down.
        Err(error @ SessionError::Ssh { .. }) if !here.is_empty() => (
            Vec::new(),
            Some(format!(
                "detached jobs are not listed: {}",
                with_causes(&error)
            )),
        ),
        sessions => sessions?,
    };

    let there = join_all(
        sessions
            .iter()
            .map(|session| session.list_detached(&call.caller)),
    )
    .await;

    let mut remote: Vec<(String, DetachedJob)> = Vec::new();
    let mut notices: Vec<String> = notice.into_iter().collect();

    // Without a session, no host was asked. An empty list would then suggest that no detached jobs
    // exist.
    if session.is_none() && sessions.is_empty() && !call.registry.names().await.is_empty() {
        notices.push(
            "to list detached jobs, name a session: none is connected, and none is the default"
                .to_owned(),
        );
    }

    // A host that does not answer must not hide the jobs of the others.
    for (session, jobs) in sessions.iter().zip(there) {
        match jobs {
            Ok(jobs) => remote.extend(
                jobs.into_iter()
                    .map(|job| (session.saved.name.to_string(), job)),
            ),
            Err(error) => notices.push(format!(
                "detached jobs are not listed: {}",
                with_causes(&error)
            )),
        }
    }

    // Several sessions may lead to the same host, which then lists its jobs more than once.
    let mut seen = BTreeSet::new();
    remote.retain(|(_, job)| seen.insert(job.id.as_str().to_owned()));
    let mut jobs: Vec<JobResult> = Vec::new();

    // Both sides know a detached job that this process has used. It is listed once.
    for job in &here {
        let there = remote
            .iter()
            .position(|(_, there)| job.detached.is_some() && there.id.as_str() == job.id);
        let there = there.map(|index| remote.swap_remove(index).1);

        // While nobody waits for a detached job, this process does not follow it. The host knows
        // better.
        jobs.push(match there.filter(|_| job.ended().is_none()) {
            Some(there) => of_there(&job.session, &there),
            None => JobResult::from(&**job),
        });
    }

    jobs.extend(remote.iter().map(|(session, job)| of_there(session, job)));
    jobs.sort_by(|one, other| one.started_at.cmp(&other.started_at));

    answer(&JobList { jobs, notices })
}

/// Returns the list as text and as JSON, with a line for each job.
///
/// # Errors
/// The list cannot be written as JSON.
fn answer(list: &JobList) -> Result<CallToolResult, ToolError> {
    let lines = list.jobs.iter().map(|job| {
        let shell = job
            .shell
            .as_ref()
            .map(|shell| format!(" (shell {shell})"))
            .unwrap_or_default();

        let (status, duration) = (
            job.status,
            report::duration(Duration::from_millis(job.duration_ms)),
        );

        let detached = if job.detached { ", detached" } else { "" };

        let JobResult {
            job,
            session,
            command,
            started_at,
            ..
        } = job;

        let line = format!(
            "{job}: {status}, {session}{shell}{detached}, since {started_at}, {duration}: {command}"
        );
        escape_line(line.as_bytes())
    });

    let mut lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        lines.push("no jobs".to_owned());
    }

    // Notices may quote a server, so each is escaped to stay in one line.
    lines.extend(
        list.notices
            .iter()
            .map(|notice| escape_line(notice.as_bytes())),
    );

    text_and_facts(lines.join("\n"), list)
}

impl From<&Job> for JobResult {
    fn from(job: &Job) -> Self {
        let output = job.output();
        Self {
            job: job.id.clone(),
            session: job.session.clone(),
            shell: job.shell.as_ref().map(ToString::to_string),
            command: first_part(&job.command),
            status: match job.ended().as_deref() {
                None if job.shell.is_some() && !job.is_sent() => "queued",
                None => "running",
                Some(Ok(finished)) => report::status(&finished.command.ending),
                Some(Err(_)) => "failed",
            },
            detached: job.detached.is_some(),
            started_at: time(job.started),
            duration_ms: u64::try_from(job.duration().as_millis()).unwrap_or(u64::MAX),
            stdout_bytes: output.stdout.total,
            stderr_bytes: output.stderr.total,
        }
    }
}

/// Converts the state of a detached job, as reported by the host, to an entry of the list.
fn of_there(session: &str, job: &DetachedJob) -> JobResult {
    let (status, ended) = match &job.state {
        DetachedState::Running => ("running", None),
        DetachedState::Exited { ended, .. } => ("exited", Some(*ended)),
        DetachedState::Signaled { ended, .. } => ("signaled", Some(*ended)),
        DetachedState::TimedOut { ended, .. } => ("timedOut", Some(*ended)),
        DetachedState::Lost => ("lost", Some(job.started)),
        DetachedState::Elsewhere(_) => ("elsewhere", None),
    };

    // The clock of the host gives start and end of an ended job, so the difference holds even if
    // that clock is wrong.
    let duration = match ended {
        Some(ended) => Duration::from_secs(ended.saturating_sub(job.started)),
        None => started(job).elapsed().unwrap_or_default(),
    };

    JobResult {
        job: job.id.as_str().to_owned(),
        session: session.to_owned(),
        shell: None,
        command: first_part(job.command.raw()),
        status,
        detached: true,
        started_at: time(started(job)),
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        stdout_bytes: job.stdout,
        stderr_bytes: job.stderr,
    }
}

/// Returns the beginning of a command, escaped to stay in a single line.
fn first_part(command: &str) -> String {
    let command: String = command.chars().take(LISTED).collect();
    escape_line(command.as_bytes())
}

/// Formats a time as RFC 3339 in UTC, to the second.
fn time(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Secs, true)
}
