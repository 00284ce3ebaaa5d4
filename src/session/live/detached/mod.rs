//! Detached jobs: started, found again, and followed while a call watches.

mod follower;
mod requests;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use self::follower::Follower;
use super::{Grant, LiveSession, Permit};
use crate::{
    foreign_text::escape_line,
    render::Style,
    session::{
        caller::Caller,
        detached::{Detached, DetachedJob, Feed, Following, JobId},
        error::SessionError,
        job::{Job, JobRunner, JobSpec, random_id},
        work::JobInput,
    },
    ssh::command::{
        detached::DetachedError, output::Output, remote_host::RemoteHost, spec::CommandSpec,
    },
};

impl LiveSession {
    /// Starts a detached job and returns the handle at once. The start goes on if the caller gives
    /// the call up.
    ///
    /// Failures to connect or start are reported as the end of the job.
    ///
    /// # Errors
    /// The system provides no random number for the id.
    pub fn exec_detached(
        self: &Arc<Self>,
        permit: Permit<CommandSpec>,
        caller: Caller,
    ) -> Result<Arc<Job>, SessionError> {
        // The id is fixed before the first attempt, so that a second attempt cannot start a second
        // job.
        let id = random_id().map_err(|error| self.ssh(error))?;
        let (job, runner, following) = self.job(&id, permit.work(), Duration::ZERO)?;
        let (session, output) = (Arc::clone(self), job.output.clone());

        tokio::spawn(async move {
            match session.begin(&id, &permit, &runner, caller).await {
                Ok(()) => {
                    runner.sent.set();
                    Follower::new(session, id, following, runner, &output, Duration::ZERO)
                        .run()
                        .await;
                }
                Err(error) => runner.finish(Err(error)),
            }
        });

        Ok(job)
    }

    /// Finds a detached job on the remote machine and returns a local handle.
    ///
    /// # Errors
    /// The remote machine cannot be queried.
    /// [`Refusal::Unknown`](crate::session::error::Refusal::Unknown) in [`SessionError::Detached`]
    /// means that the job does not exist.
    pub async fn find_detached(
        self: &Arc<Self>,
        id: &JobId,
        caller: &Caller,
    ) -> Result<Arc<Job>, SessionError> {
        let found = self
            .on_host(caller, |host| {
                let id = id.clone();
                async move { host.detached_state(&id).await }
            })
            .await?;

        let since = started(&found).elapsed().unwrap_or_default();
        let spec = CommandSpec {
            command: found.command.raw().to_owned(),
            takes_input: found.takes_input,
            ..CommandSpec::default()
        };
        let (job, runner, following) = self.job(id, &spec, since)?;
        // Nobody has to wait for the command to be sent: it runs already.
        runner.sent.set();

        tokio::spawn(
            Follower::new(
                Arc::clone(self),
                id.clone(),
                following,
                runner,
                &job.output,
                since,
            )
            .run(),
        );

        Ok(job)
    }

    /// Lists all detached jobs of this user on the remote machine.
    ///
    /// # Errors
    /// The remote machine cannot be queried or gives no valid answer.
    pub async fn list_detached(&self, caller: &Caller) -> Result<Vec<DetachedJob>, SessionError> {
        self.on_host(caller, |host| async move { host.list_detached().await })
            .await
    }

    /// Writes to the stdin of a detached job, in a single attempt.
    async fn feed_detached(
        &self,
        id: &JobId,
        input: &Feed,
        caller: &Caller,
    ) -> Result<(), SessionError> {
        let _running = self.running.token();
        let permit = self.permit(JobInput, caller).await?;
        // No second attempt: input whose answer was lost may have arrived.
        let host = self.host(&permit.grant, caller).await?;
        host.feed_detached(id, &input.bytes, input.closes, input.is_secret)
            .await
            .map_err(|error| self.detached(error))
    }

    /// Removes the files of a job from the remote machine. A failure is only logged.
    async fn remove_detached(&self, id: &JobId) {
        // Nobody waits for this; it ends with the program, and not with a call.
        let caller = Caller {
            cancelled: self.session_env.ending.clone(),
            ..Caller::default()
        };

        let _running = self.running.token();
        let remove = |host: Arc<RemoteHost>| {
            let id = id.clone();
            async move { host.remove_detached(&id).await }
        };

        if let Err(error) = self.on_host(&caller, remove).await {
            let error = escape_line(error.to_string());
            tracing::warn!(
                session = self.name(),
                job = id.as_str(),
                error,
                "not removed on the remote machine"
            );
        }
    }

    /// Creates the local handle of a job and the counterparts, and starts the task for requests.
    fn job(
        self: &Arc<Self>,
        id: &JobId,
        spec: &CommandSpec,
        since: Duration,
    ) -> Result<(Arc<Job>, JobRunner, Following), SessionError> {
        let (detached, requests, following) = Detached::new(id.clone(), self.name().to_owned());

        let (job, runner) = Job::new(JobSpec {
            input_check: self.input_check(),
            session: self.name().to_owned(),
            shell: None,
            command: spec,
            output: Output::new(self.session_env.folder.clone(), Style::Plain, spec.share),
            since,
            detached: Some(detached),
        })
        .map_err(|error| self.ssh(error))?;

        tokio::spawn(requests::answer(Arc::clone(self), id.clone(), requests));

        Ok((job, runner, following))
    }

    /// Starts the command on the remote machine, trying twice if the connection was dead.
    ///
    /// A second attempt is safe because a job id starts only one command.
    async fn begin(
        &self,
        id: &JobId,
        permit: &Permit<CommandSpec>,
        runner: &JobRunner,
        caller: Caller,
    ) -> Result<(), SessionError> {
        let caller = Caller {
            cancelled: runner.stop.clone(),
            ..caller
        };

        let _running = self.running.token();
        let mut tried_again = false;

        loop {
            let host = self.host(&permit.grant, &caller).await?;
            match host.start_detached(id, permit.work(), tried_again).await {
                Err(DetachedError::Ssh(error))
                    if !tried_again && self.drop_dead(&host, &error).await =>
                {
                    tried_again = true;
                }
                result => return result.map_err(|error| self.detached(error)),
            }
        }
    }

    /// Runs an idempotent operation on the host, and a second time if the first connection was dead.
    async fn on_host<T, F>(
        &self,
        caller: &Caller,
        operation: impl Fn(Arc<RemoteHost>) -> F,
    ) -> Result<T, SessionError>
    where
        F: Future<Output = Result<T, DetachedError>>,
    {
        let _running = self.running.token();
        let mut tried_again = false;
        loop {
            let host = self.host(&Grant::upkeep(caller), caller).await?;
            // The operation itself takes no cancellation, so its future is dropped instead.
            let done = tokio::select! {
                done = operation(Arc::clone(&host)) => done,
                () = caller.cancelled.cancelled() => return Err(SessionError::Cancelled),
            };

            match done {
                Err(DetachedError::Ssh(error))
                    if !tried_again && self.drop_dead(&host, &error).await =>
                {
                    tried_again = true;
                }
                done => return done.map_err(|error| self.detached(error)),
            }
        }
    }

    /// Converts an error, dropping a dead connection first.
    async fn failed(&self, host: &Arc<RemoteHost>, error: DetachedError) -> SessionError {
        if let DetachedError::Ssh(error) = &error {
            self.drop_dead(host, error).await;
        }
        self.detached(error)
    }

    /// Converts the error of a script into an error of this session.
    fn detached(&self, error: DetachedError) -> SessionError {
        match error {
            DetachedError::Ssh(error) => self.ssh(error),
            DetachedError::Refused(source) => SessionError::Detached {
                session: self.name().to_owned(),
                source,
            },
        }
    }
}

/// Returns the start time of a job, by the remote clock.
#[must_use]
pub fn started(job: &DetachedJob) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(job.started.min(u64::from(u32::MAX)))
}
