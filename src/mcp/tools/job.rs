//! `ssh_job`

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Effects, command::DEFAULT_WAIT, session::both};
use crate::{
    framing::stop::Signal,
    mcp::{
        outcome::{self, Report},
        params::Wait,
        server::Call,
        tool_error::ToolError,
    },
    session::job::{InputRefused, Job, Waited},
};

pub(super) const NAME: &str = "ssh_job";

/// How long the answer to input is waited for when nothing else is said.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// A command is listed with this many characters.
const LISTED: usize = 120;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct JobParams {
    /// Default: list the jobs
    job: Option<String>,
    /// Only jobs of this session
    session: Option<String>,
    /// Wait this long for its end; default 45000, with offset 0
    wait_ms: Option<Wait>,
    /// Read stdout from this byte on
    offset: Option<u64>,
    /// Text for its stdin; keys as control characters, such as \u0003 or \u001b[A
    input: Option<String>,
    /// INT, TERM or KILL stop it, escalating; others, such as HUP or USR1, are sent once
    signal: Option<String>,
}

// A job in a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct JobResult {
    job: String,
    session: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    shell: Option<String>,
    command: String,
    status: &'static str,
    started_at: String,
    duration_ms: u64,
    stdout_bytes: u64,
    stderr_bytes: u64,
}

#[derive(Debug, Serialize)]
struct JobList {
    jobs: Vec<JobResult>,
}

pub(super) fn tool() -> Tool {
    super::describe::<JobParams>(
        NAME,
        "Look after a running command",
        "Wait for a job (a command that is still running), read its output, give it input, or signal it. Without job: \
         list the jobs.",
        Effects { read_only: false, destructive: true, idempotent: false, open_world: true },
    )
}

pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let params: JobParams = super::arguments(NAME, &mut call)?;
    let Some(id) = &params.job else {
        if params.input.is_some() || params.signal.is_some() || params.offset.is_some() {
            return Err(ToolError::new("ssh_job: which job?", "give the parameter job; ssh_job alone lists them"));
        }
        return list(&call.registry.jobs.list(params.session.as_deref()));
    };
    let job = call.registry.jobs.find(id).filter(|job| params.session.as_ref().is_none_or(|name| *name == job.session));
    let Some(job) = job else {
        return Err(ToolError::new(format!("there is no job {id:?}"), "call ssh_job without job for the list"));
    };
    act(&call, &params, &job).await
}

async fn act(call: &Call, params: &JobParams, job: &Arc<Job>) -> Result<CallToolResult, ToolError> {
    call.watched.watch(&job.output);
    let signal = params.signal.as_deref().map(|name| {
        Signal::parse(name).ok_or_else(|| {
            ToolError::new(format!("ssh_job: {name:?} is not a signal"), format!("signals: {}", Signal::names()))
        })
    });
    let signal = signal.transpose()?;
    let before = job.output.total();
    if let Some(input) = &params.input {
        job.give(input).map_err(|refused| refused_input(job, refused))?;
    }
    if let Some(signal) = signal
        && !job.signal(signal)
        && job.ended().is_none()
    {
        return Err(ToolError::new("the job does not take the signal: others wait already", "wait, then try again"));
    }
    let stops = matches!(signal, Some(Signal::Stop(_)));
    let patience = match params.wait_ms {
        Some(wait) => wait.duration(),
        None if params.input.is_some() => ANSWER_WAIT,
        None if (signal.is_some() && !stops) || params.offset.is_some() => Duration::ZERO,
        None => DEFAULT_WAIT,
    };
    let answered = (params.input.is_some() && !stops).then_some(before);
    let end = match job.wait(patience, answered, &call.caller.cancelled).await {
        Waited::Ended(end) => Some(end),
        // The wait is given up, not the job.
        Waited::Running | Waited::GivenUp => None,
    };
    let mut report = Report::of(job, end.as_ref(), true)?;
    if let Some(offset) = params.offset {
        let portion = job.read(offset).await.map_err(|error| {
            ToolError::new(format!("the output of job {} cannot be read: {error}", job.id), "read it without offset")
        })?;
        report.portion = Some(portion);
    }
    Ok(report.result())
}

fn refused_input(job: &Job, refused: InputRefused) -> ToolError {
    match refused {
        InputRefused::Full => ToolError::new(
            format!("job {} does not read its input", job.id),
            "wait until it does, or stop it with the parameter signal",
        ),
        InputRefused::Closed if job.ended().is_some() => {
            ToolError::new(format!("job {} has ended", job.id), "read its output with ssh_job, without input")
        }
        InputRefused::Closed => ToolError::new(
            format!("the stdin of job {} is closed", job.id),
            "start the command with ssh_exec and pty or background, and without stdin, to feed it later",
        ),
    }
}

fn list(jobs: &[Arc<Job>]) -> Result<CallToolResult, ToolError> {
    let jobs: Vec<JobResult> = jobs.iter().map(|job| listed(job)).collect();
    let lines = jobs.iter().map(|job| {
        let shell = job.shell.as_ref().map(|shell| format!(" (shell {shell})")).unwrap_or_default();
        let (status, duration) = (job.status, outcome::duration(Duration::from_millis(job.duration_ms)));
        format!("{}: {status}, {}{shell}, since {}, {duration}: {}", job.job, job.session, job.started_at, job.command)
    });
    let text = if jobs.is_empty() { "no jobs".to_owned() } else { lines.collect::<Vec<_>>().join("\n") };
    both(text, &JobList { jobs })
}

fn listed(job: &Job) -> JobResult {
    let printed = job.printed();
    let command: String = job.command.chars().take(LISTED).collect();
    JobResult {
        job: job.id.clone(),
        session: job.session.clone(),
        shell: job.shell.clone(),
        command: outcome::one_line(command.as_bytes()),
        status: match job.ended().as_deref() {
            None => "running",
            Some(Ok(finished)) => outcome::status(&finished.command.ending),
            Some(Err(_)) => "failed",
        },
        started_at: DateTime::<Utc>::from(job.started).to_rfc3339_opts(SecondsFormat::Secs, true),
        duration_ms: u64::try_from(job.duration().as_millis()).unwrap_or(u64::MAX),
        stdout_bytes: printed.stdout.total,
        stderr_bytes: printed.stderr.total,
    }
}
