//! The tool `ssh_job`: waits for a job, reads its output, gives it input or sends it a signal.

mod action;
mod input;
mod list;
mod signal;

use std::sync::Arc;

use futures_util::future::join_all;
use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::Deserialize;

use self::action::JobAction;
use super::Effect;
use crate::{
    mcp::call::{Call, params::WaitParam, tool_error::ToolError},
    session::{
        causes::with_causes,
        detached::JobId,
        error::{Refusal, SessionError},
        job::Job,
    },
};

pub(in crate::mcp) use self::list::JobResult;

pub(super) const NAME: &str = "ssh_job";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct JobParams {
    job: Option<String>,
    session: Option<String>,
    /// Default 45000
    wait_ms: Option<WaitParam>,
    /// Stdout from this byte; default: what is new
    offset: Option<u64>,
    /// For its stdin; keys as \u0003, \u001b[A
    input: Option<String>,
    /// Have the person type a secret for its stdin; your words
    ask: Option<String>,
    /// INT, TERM, KILL (each escalates), HUP, …
    signal: Option<String>,
}

pub(super) fn tool() -> Tool {
    let tool = super::describe::<JobParams>(
        NAME,
        "Wait for, read, feed or signal a running remote command (job): shows what came since the last answer. Without \
         job: list them, detached ones too.",
        Effect::Destructive,
    );
    super::found_by(tool, "check status of a long running remote command")
}

/// Lists the jobs, or carries out a call for a job.
///
/// # Errors
/// The arguments are wrong, the job is unknown, or the host cannot be asked.
pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let params: JobParams = super::arguments(NAME, &mut call)?;

    // A call with input or a signal but without a job is a mistake, and must not end as a mere
    // list.
    let Some(id) = &params.job else {
        if params.input.is_some()
            || params.ask.is_some()
            || params.signal.is_some()
            || params.offset.is_some()
        {
            return Err(ToolError::new(
                "ssh_job: which job?",
                "give the parameter job; ssh_job alone lists them",
            ));
        }
        return list::call(&call, params.session.as_deref()).await;
    };

    // A job name of another session is probably a mistake, so it counts as unknown.
    let job = call.registry.jobs.find(id).filter(|job| {
        params
            .session
            .as_ref()
            .is_none_or(|name| *name == job.session)
    });

    // A job that this process does not know may be detached and started by another process.
    let (job, notice) = match job {
        Some(job) => (job, None),
        None => find(&call, id, params.session.as_deref()).await?,
    };

    if let Ok(session) = call.registry.lookup(Some(&job.session)).await {
        session.say_last_host(&call.caller);
    }

    JobAction::parse(params, notice)?.run(&call, &job).await
}

/// Searches the remote hosts for a detached job, and keeps the job for later calls. Another process
/// may have started the job, perhaps one that has ended. The text is the notice about a host that
/// became a session.
///
/// # Errors
/// No host knows the job, or none could be asked.
async fn find(
    call: &Call,
    id: &str,
    session: Option<&str>,
) -> Result<(Arc<Job>, Option<String>), ToolError> {
    let mut trouble = String::new();

    // Names of another form cannot belong to a job, so no host is asked about these.
    if let Some(id) = JobId::parse(id) {
        let (sessions, notice) = call.registry.to_ask(session, &call.caller).await?;
        let lookups = sessions
            .iter()
            .map(|session| session.find_detached(&id, &call.caller));

        // A host without the job is the usual case. Other failures are reported, because the job
        // may be on that host.
        for found in join_all(lookups).await {
            match found {
                Ok(job) => {
                    call.registry.jobs.retain(&job);
                    return Ok((job, notice));
                }
                Err(SessionError::Detached {
                    source: Refusal::Unknown,
                    ..
                }) => {}
                Err(error) => trouble = format!("{trouble}; {}", with_causes(&error)),
            }
        }

        if let (Some(notice), Some(session)) = (notice, session) {
            trouble = format!("{trouble}; session {session}: {notice}");
        }
    }

    let hint = if session.is_some() {
        "call ssh_job without job for the list"
    } else {
        "call ssh_job without job for the list; name its session if it is a detached job on another machine"
    };

    Err(ToolError::new(
        format!("there is no job {id:?}{trouble}"),
        hint,
    ))
}
