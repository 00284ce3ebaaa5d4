//! One call for a job: its state is fetched, input or a signal is sent, the call waits and reports.

use std::{sync::Arc, time::Duration};

use rmcp::model::CallToolResult;

use super::{
    JobParams,
    input::{self, AskOutcome, refused_input},
    signal,
};
use crate::{
    mcp::{
        call::{Call, hints, params::WaitParam, report::CommandReport, tool_error::ToolError},
        tools::command::{DEFAULT_WAIT, remove_remote_files_once_reported},
    },
    session::{
        causes::with_causes,
        detached::Subscription,
        job::{Job, JobEnd, Signal, WaitOutcome},
    },
};

/// Time in which the host of a detached job has to report the job's state. This minimum holds even
/// if `waitMs` is shorter.
const MIN_QUERY_LIMIT: Duration = Duration::from_secs(20);
/// Time limit of the wait for an answer to input, if the call gives no `waitMs`.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Time limit of the wait for output after a signal, if the call gives no `waitMs`. Applies to
/// signals that do not stop a command, after which the command may print nothing.
const EFFECT_WAIT: Duration = Duration::from_secs(3);

/// Action of a call on one job, read before anything is sent. A wrong signal therefore leaves
/// nothing half done.
#[derive(Debug, Default)]
pub(super) struct JobAction {
    input: Option<String>,
    /// The agent's words about a secret that the user types.
    ask: Option<String>,
    signal: Option<Signal>,
    wait: Option<Duration>,
    offset: Option<u64>,
    /// Notice about a host that became a session in this call.
    of_session: Option<String>,
}

/// Job after the action was sent.
struct Sent<'a> {
    job: &'a Arc<Job>,
    /// Registration with a detached job, which is queried meanwhile. `None` for other jobs.
    subscription: Option<Subscription<'a>>,
    /// Amount of output before the input or signal, in bytes.
    output_before: u64,
    /// Reason why nothing was sent although the user was asked.
    unsent: Option<&'static str>,
}

impl JobAction {
    /// Reads the action from the parameters. `of_session` is a notice about the session, for the
    /// report.
    ///
    /// # Errors
    /// The signal is unknown, or the parameters do not go together.
    pub(super) fn parse(params: JobParams, of_session: Option<String>) -> Result<Self, ToolError> {
        if params.ask.is_some() && (params.input.is_some() || params.signal.is_some()) {
            return Err(ToolError::new(
                "ssh_job: ask goes with neither input nor signal",
                "ask first, and send the rest in a later call",
            ));
        }

        Ok(Self {
            ask: params.ask,
            signal: params.signal.as_deref().map(signal::read).transpose()?,
            input: params.input,
            wait: params.wait_ms.map(WaitParam::duration),
            offset: params.offset,
            of_session,
        })
    }

    /// Carries the action out and reports on the job.
    ///
    /// # Errors
    /// The host cannot be queried, the job takes no input or signal, or its output cannot be read.
    pub(super) async fn run(
        self,
        call: &Call,
        job: &Arc<Job>,
    ) -> Result<CallToolResult, ToolError> {
        call.watched.watch_output(&job.output);
        let subscription = self.catch_up(call, job).await?;
        let sent = self.send(call, job, subscription).await?;
        let end = self.wait(call, &sent).await;

        self.report(call, &sent, end.as_ref()).await
    }

    /// Brings a detached job up to date, and keeps it so while the subscription lives.
    async fn catch_up<'a>(
        &self,
        call: &Call,
        job: &'a Job,
    ) -> Result<Option<Subscription<'a>>, ToolError> {
        let Some(detached) = job.detached.as_ref().filter(|_| job.ended().is_none()) else {
            return Ok(None);
        };

        // Only a call can ask the user for a password, so the call connects before the follower of
        // the job does.
        detached.connect(&call.caller).await?;
        let subscription = detached.watch();

        subscription
            .up_to_date(self.wait.unwrap_or(DEFAULT_WAIT).max(MIN_QUERY_LIMIT))
            .await
            .map_err(|error| ToolError::from(&*error))?;

        Ok(Some(subscription))
    }

    /// Sends the input and the signal.
    async fn send<'a>(
        &self,
        call: &Call,
        job: &'a Arc<Job>,
        subscription: Option<Subscription<'a>>,
    ) -> Result<Sent<'a>, ToolError> {
        // Counted after the catch-up, or older output of a detached job would pass for an answer to
        // the input.
        let (mut output_before, mut unsent) = (job.output.total(), None);

        if let Some(input) = &self.input {
            job.send_input(input, &call.caller)
                .await
                .map_err(|refused| refused_input(job, refused))?;
        }

        if let Some(words) = &self.ask {
            match input::ask_for_secret(call, job, words).await? {
                AskOutcome::Sent {
                    output_before: before,
                } => output_before = before,
                AskOutcome::Unsent(reason) => unsent = Some(reason),
            }
        }

        // A command can be stopped whatever the settings say now.
        if let Some(Signal::Once(_)) = self.signal {
            job.check_input(&call.caller).await?;
        }
        if let Some(signal) = self.signal
            && !job.signal(signal)
            && job.ended().is_none()
        {
            return Err(ToolError::new(
                "the job does not take the signal: others wait already",
                "wait, then try again",
            ));
        }

        Ok(Sent {
            job,
            subscription,
            output_before,
            unsent,
        })
    }

    /// Waits for the end of the job or for the effect of the action. Returns the end, if reached.
    async fn wait(&self, call: &Call, sent: &Sent<'_>) -> Option<JobEnd> {
        let answered = self.awaits_answer().then_some(sent.output_before);
        // After a refusal there is no answer to wait for.
        let patience = match sent.unsent {
            Some(_) => Duration::ZERO,
            None => self.patience(sent.job),
        };
        let waiting = sent.job.wait(patience, answered, &call.caller.cancelled);

        // A detached job whose host is not queried any more would keep the call waiting in vain.
        let given_up = async {
            match &sent.subscription {
                Some(subscription) => subscription.given_up().await,
                None => std::future::pending().await,
            }
        };

        // Biased, so that an end that has arrived is reported even if the host is lost at the same
        // time.
        let outcome = tokio::select! {
            biased;
            outcome = waiting => outcome,
            () = given_up => WaitOutcome::GivenUp,
        };

        // Only the wait is given up here. The job belongs to another call or to none, and goes on.
        match outcome {
            WaitOutcome::Ended(end) => Some(end),
            WaitOutcome::Running | WaitOutcome::GivenUp => None,
        }
    }

    async fn report(
        &self,
        call: &Call,
        sent: &Sent<'_>,
        end: Option<&JobEnd>,
    ) -> Result<CallToolResult, ToolError> {
        let job = sent.job;
        let request = call.unseen_request(end.is_none());

        // Read last, so that the news contain everything that came during the wait.
        let unseen = match self.offset {
            None => job.unseen(request),
            Some(offset) => job
                .output
                .unseen_from(offset, request)
                .await
                .map_err(|error| {
                    ToolError::new(
                        format!("the output of job {} cannot be read: {error}", job.id),
                        "read it without offset",
                    )
                })?,
        };

        let mut report = CommandReport::for_job(call, job, end, unseen)?;

        if let Some(unsent) = sent.unsent {
            report.notice = Some(unsent.to_owned());
        } else if end.is_none()
            && let Some(notice) = self.notice(sent)
        {
            report.notice = Some(notice);
        }

        let result = report.with_notice(self.of_session.clone()).result();
        // The end is in the answer now, so the host need not keep the job any longer.
        remove_remote_files_once_reported(job, end);

        Ok(result)
    }

    /// Returns the notice about a job that still runs.
    fn notice(&self, sent: &Sent<'_>) -> Option<String> {
        // A lost link does not end a detached job. Without this notice the caller could take old
        // output for new.
        let trouble = sent.subscription.as_ref().and_then(Subscription::trouble);
        if let Some(error) = trouble {
            return Some(format!(
                "it lives on, but cannot be asked about now: {}",
                with_causes(&*error)
            ));
        }

        // A program that waits for the rest of a line looks like one that hangs, so the notice
        // explains the cause.
        let has_answered = sent.job.output.total() > sent.output_before;
        let prompt = sent.job.output.prompt().unwrap_or_default();

        hints::of_input(self.input.as_deref()?, has_answered, &prompt).map(str::to_owned)
    }

    /// Returns true if the signal stops the command. The end is then what the caller waits for.
    fn stops(&self) -> bool {
        matches!(self.signal, Some(Signal::Stop(_)))
    }

    /// Returns true if output ends the wait. A last message of a stopped program does not.
    fn awaits_answer(&self) -> bool {
        self.acts() && !self.stops()
    }

    /// Returns the time limit of the wait. A reader who goes through long output is answered as
    /// soon as there is as much as an answer holds.
    fn patience(&self, job: &Job) -> Duration {
        match self.offset {
            Some(offset) if !self.acts() && job.output.fills_answer_from(offset) => Duration::ZERO,
            _ => self.wait.unwrap_or_else(|| self.default_wait()),
        }
    }

    /// Returns the time limit of the wait if the call gives no `waitMs`.
    fn default_wait(&self) -> Duration {
        if self.stops() {
            DEFAULT_WAIT
        } else if self.input.is_some() || self.ask.is_some() {
            ANSWER_WAIT
        } else if self.signal.is_some() {
            EFFECT_WAIT
        } else {
            DEFAULT_WAIT
        }
    }

    /// Returns true if the call does something to the job.
    fn acts(&self) -> bool {
        self.input.is_some() || self.ask.is_some() || self.signal.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::job::FirstSignal;

    #[test]
    fn the_wait_follows_from_the_action() {
        let stop = Some(Signal::Stop(FirstSignal::Int));
        let once = Some(Signal::Once("HUP"));
        for (input, signal, offset, patience, awaits_answer) in [
            (None, None, None, DEFAULT_WAIT, false),
            (None, None, Some(0), DEFAULT_WAIT, false),
            (Some("y\n"), None, Some(0), ANSWER_WAIT, true),
            (None, once, Some(0), EFFECT_WAIT, true),
            (Some("y\n"), once, None, ANSWER_WAIT, true),
            (None, stop, Some(0), DEFAULT_WAIT, false),
            (Some("y\n"), stop, None, DEFAULT_WAIT, false),
        ] {
            let action = JobAction {
                input: input.map(str::to_owned),
                ask: None,
                signal,
                offset,
                ..JobAction::default()
            };
            assert_eq!(
                (action.default_wait(), action.awaits_answer()),
                (patience, awaits_answer),
                "{action:?}"
            );
        }
    }
}
