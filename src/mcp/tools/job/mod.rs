//! The tool `ssh_job`: waits for a job, reads its output, gives it input or sends it a signal.

mod list;
mod signal;

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Effects,
    command::{DEFAULT_WAIT, remove_remote_files_once_reported},
};
use crate::{
    mcp::call::{Call, hints, params::WaitParam, report::CommandReport, tool_error::ToolError},
    session::{
        causes::with_causes,
        detached::{JobId, Subscription},
        error::{Refusal, SessionError},
        job::{InputRefused, Job, Signal, WaitOutcome},
    },
};

pub(in crate::mcp) use self::list::JobResult;

pub(super) const NAME: &str = "ssh_job";

/// Time in which the host of a detached job has to report the job's state. This minimum holds even
/// if `waitMs` is shorter.
const LOOK_WITHIN: Duration = Duration::from_secs(20);
/// Time limit of the wait for an answer to input, if the call gives no `waitMs`.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Time limit of the wait for output after a signal, if the call gives no `waitMs`. Applies to
/// signals that do not stop a command, after which the command may print nothing.
const EFFECT_WAIT: Duration = Duration::from_secs(3);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct JobParams {
    /// Default: list the jobs
    job: Option<String>,
    /// Only jobs of this session
    session: Option<String>,
    /// Wait this long for its end; default 45000, with offset 0
    wait_ms: Option<WaitParam>,
    /// Read stdout from this byte on
    offset: Option<u64>,
    /// Text for its stdin; keys as control characters, such as \u0003 or \u001b[A
    input: Option<String>,
    /// INT, TERM, KILL stop it, escalating; others are sent once
    signal: Option<String>,
}

pub(super) fn tool() -> Tool {
    super::describe::<JobParams>(
        NAME,
        "Look after a running command",
        "Wait for a job (a running command), read its output, give it input, or signal it. Without job: \
         list the jobs, also detached ones from before.",
        Effects {
            read_only: false,
            destructive: true,
            idempotent: false,
            open_world: true,
        },
    )
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
        if params.input.is_some() || params.signal.is_some() || params.offset.is_some() {
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
    let job = match job {
        Some(job) => job,
        None => find(&call, id, params.session.as_deref()).await?,
    };

    act(&call, &params, &job).await
}

/// Searches the remote hosts for a detached job, and keeps the job for later calls. Another process
/// may have started the job, perhaps one that has ended.
///
/// # Errors
/// No host knows the job, or none could be asked.
async fn find(call: &Call, id: &str, session: Option<&str>) -> Result<Arc<Job>, ToolError> {
    let mut trouble = String::new();

    // Names of another form cannot belong to a job, so no host is asked about these.
    if let Some(id) = JobId::parse(id) {
        let sessions = call.registry.to_ask(session).await?;
        let asked = sessions
            .iter()
            .map(|session| session.find_detached(&id, &call.caller));

        // A host without the job is the usual case. Other failures are reported, because the job
        // may be on that host.
        for found in join_all(asked).await {
            match found {
                Ok(job) => {
                    call.registry.jobs.retain(&job);
                    return Ok(job);
                }
                Err(SessionError::Detached {
                    source: Refusal::Unknown,
                    ..
                }) => {}
                Err(error) => trouble = format!("{trouble}; {}", with_causes(&error)),
            }
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

/// Carries out a call for a job: brings a detached job up to date, sends input or a signal, waits,
/// and reports.
///
/// # Errors
/// The host cannot be asked, or the job takes no input or signal, or its output cannot be read.
async fn act(call: &Call, params: &JobParams, job: &Arc<Job>) -> Result<CallToolResult, ToolError> {
    // The signal is read before anything is sent: a wrong name must not leave half of the call
    // done.
    call.watched.watch(&job.output);
    let signal = params.signal.as_deref().map(signal::read).transpose()?;

    // Only a call can ask the user for a password, so the call connects before the follower of the
    // job does.
    let watching = match &job.detached {
        Some(detached) if job.ended().is_none() => {
            detached.connect(&call.caller).await?;
            let watching = detached.watch();

            watching
                .up_to_date(
                    params
                        .wait_ms
                        .map_or(DEFAULT_WAIT, WaitParam::duration)
                        .max(LOOK_WITHIN),
                )
                .await
                .map_err(|error| ToolError::from(&*error))?;

            Some(watching)
        }
        _ => None,
    };

    // Counted after the catch-up, or older output of a detached job would pass for an answer to the
    // input.
    let before = job.output.total();

    if let Some(input) = &params.input {
        job.send_input(input, &call.caller)
            .await
            .map_err(|refused| refused_input(job, refused))?;
    }

    if let Some(signal) = signal
        && !job.signal(signal)
        && job.ended().is_none()
    {
        return Err(ToolError::new(
            "the job does not take the signal: others wait already",
            "wait, then try again",
        ));
    }

    let stops = matches!(signal, Some(Signal::Stop(_)));

    let patience = match params.wait_ms {
        Some(wait) => wait.duration(),
        None if stops => DEFAULT_WAIT,
        None if params.input.is_some() => ANSWER_WAIT,
        None if signal.is_some() => EFFECT_WAIT,
        None if params.offset.is_some() => Duration::ZERO,
        None => DEFAULT_WAIT,
    };

    // After a stopping signal the end is what counts. A last message of the program does not end
    // the wait.
    let answered = ((params.input.is_some() || signal.is_some()) && !stops).then_some(before);

    // A detached job whose host is not asked any more would keep the call waiting in vain.
    let given_up = async {
        match &watching {
            Some(watching) => watching.given_up().await,
            None => std::future::pending().await,
        }
    };

    // Biased, so that an end that has arrived is reported even if the host is lost at the same
    // time.
    let waited = tokio::select! {
        biased;
        waited = job.wait(patience, answered, &call.caller.cancelled) => waited,
        () = given_up => WaitOutcome::GivenUp,
    };

    // Only the wait is given up here. The job belongs to another call or to none, and goes on.
    let end = match waited {
        WaitOutcome::Ended(end) => Some(end),
        WaitOutcome::Running | WaitOutcome::GivenUp => None,
    };

    let mut report = CommandReport::of(&call.registry, job, end.as_ref(), true)?;

    // A program that waits for the rest of a line looks like one that hangs, so the notice explains
    // the cause.
    if let (Some(input), None) = (&params.input, &end) {
        let has_answered = job.output.total() > before;
        let hint = hints::of_input(
            input,
            has_answered,
            &job.output.prompt().unwrap_or_default(),
        );

        report.notice = hint.map(str::to_owned);
    }

    // A lost link does not end a detached job. Without this notice the caller could take old output
    // for new.
    let trouble = watching
        .as_ref()
        .filter(|_| end.is_none())
        .and_then(Subscription::trouble);

    if let Some(error) = trouble {
        report.notice = Some(format!(
            "it lives on, but cannot be asked about now: {}",
            with_causes(&*error)
        ));
    }

    // Read last, so that the portion contains everything that came during the wait.
    if let Some(offset) = params.offset {
        let portion = job.read(offset).await.map_err(|error| {
            ToolError::new(
                format!("the output of job {} cannot be read: {error}", job.id),
                "read it without offset",
            )
        })?;
        report.portion = Some(portion);
    }

    // The end is in the answer now, so the host need not keep the job any longer.
    let result = report.result();
    remove_remote_files_once_reported(job, end.as_ref());

    Ok(result)
}

/// Returns the error for input refused by a job.
fn refused_input(job: &Job, refused: InputRefused) -> ToolError {
    match refused {
        InputRefused::Remote(error) => error.into(),
        InputRefused::Full => ToolError::new(
            format!("job {} does not read its input", job.id),
            "wait until it does, or stop it with the parameter signal",
        ),
        InputRefused::Closed if job.ended().is_some() => ToolError::new(
            format!("job {} has ended", job.id),
            "read its output with ssh_job, without input",
        ),
        InputRefused::Closed => ToolError::new(
            format!("the stdin of job {} is closed", job.id),
            "start the command with ssh_exec and pty or background, and without stdin, to feed it later",
        ),
    }
}
