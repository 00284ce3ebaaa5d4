//! Commands that live on the remote machine, past this connection and this process ([`crate::framing::detached`]).

use std::{sync::Arc, time::Duration};

use super::{
    exec::random_sentinel,
    limits::StopReason,
    output::{CommandOutput, Output, OutputWriter},
    script::RemoteScript,
};
use crate::{
    framing::{
        detached::{
            self, DetachedStart, LAUNCH, MAX_PORTION_BYTES, OutputStreamName,
            answer::{self, DetachedJob, DetachedState, JobId, Refusal},
        },
        exec::{ExecScriptError, LoginShell},
        sentinel::Sentinel,
        stop::{Signal, StopReport, StopTarget},
    },
    ssh::{
        error::SshError,
        pool::{Pool, Priority},
    },
};

/// How long a script may take that only looks at files, besides what it waits for.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a job may take to read its input, in tenths of a second, before that is an error.
const FED_WITHIN: u32 = 50;
/// The longest single wait. Longer ones are made of several.
pub const MAX_WAIT: Duration = Duration::from_secs(300);
/// What an answer may have beside the output in it, in bytes.
const BESIDE: usize = 512 * 1024;

/// A command to be started on the remote machine.
#[derive(Debug, Clone, Copy)]
pub struct DetachedRequest<'a> {
    /// The job's name.
    pub id: &'a JobId,
    /// The command, for the user's login shell.
    pub command: &'a str,
    /// The directory to run it in; `None` is the home directory.
    pub directory: Option<&'a str>,
    /// Environment variables to add.
    pub environment: &'a [(&'a str, &'a str)],
    /// All that it reads from stdin; `None` keeps stdin open.
    pub stdin: Option<&'a [u8]>,
    /// How long it may run, to the next full second; `None` is without end.
    pub limit: Option<Duration>,
    /// Whether an earlier attempt may have started it.
    pub again: bool,
}

/// What went wrong with a job on the remote machine.
#[derive(Debug, thiserror::Error)]
pub enum DetachedError {
    /// On the way there. What was to be done may have been done.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// There.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl From<ExecScriptError> for DetachedError {
    fn from(error: ExecScriptError) -> Self {
        Self::Ssh(error.into())
    }
}

/// What came of signals that were to stop a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopOutcome {
    /// Whether its processes are gone, or `None` where that could not be found out.
    pub gone: Option<bool>,
}

/// A job's output as it is fetched.
#[derive(Debug)]
pub struct Mirror {
    writer: OutputWriter,
    stdout: u64,
    stderr: u64,
}

impl Mirror {
    /// One that has nothing yet, for an output that nobody else writes.
    #[must_use]
    pub fn new(output: &Output) -> Self {
        Self {
            writer: output.writer(),
            stdout: 0,
            stderr: 0,
        }
    }

    /// Whether it has all that there was.
    #[must_use]
    pub fn has_all_of(&self, job: &DetachedJob) -> bool {
        self.stdout >= job.stdout && self.stderr >= job.stderr
    }

    /// Ends the output.
    pub async fn finish(self) -> CommandOutput {
        self.writer.finish().await
    }
}

impl Pool {
    /// Starts a job: its command runs when this returns.
    ///
    /// # Errors
    /// [`Refusal`]: it does not run and has left nothing behind. A lost connection leaves open whether it runs; to try
    /// again is safe, since a name begins no second job.
    pub async fn start_detached(
        self: &Arc<Self>,
        request: DetachedRequest<'_>,
    ) -> Result<(), DetachedError> {
        let probe = self.login_shell().await;
        let (shell, program) = (probe.shell, probe.program.as_deref());

        let DetachedRequest {
            id,
            command,
            directory,
            environment,
            stdin,
            again,
            ..
        } = request;

        let limit = request.limit.map_or(0, |limit| {
            u64::try_from(limit.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
        });
        let mark = random_sentinel()?;

        let start = DetachedStart {
            id,
            shell,
            program,
            command,
            directory,
            environment,
            stdin,
            limit,
            again,
        };

        let answer = self
            .detached(detached::start(start, &mark)?, &mark, LIMIT)
            .await?;

        answer::done(&answer, &mark).map_err(|refusal| match refusal {
            Refusal::Garbled(said) if shell == LoginShell::Other => Refusal::Trouble(format!(
                "the login shell does not run /bin/sh, which a command that outlives the connection needs; it said: {said}"
            ))
            .into(),
            other => other.into(),
        })
    }

    /// All jobs of this user on the remote machine. Those that ended more than a week ago are removed.
    ///
    /// # Errors
    /// On the way, or no answer.
    pub async fn list_detached(self: &Arc<Self>) -> Result<Vec<DetachedJob>, DetachedError> {
        let mark = random_sentinel()?;
        let answer = self.detached(detached::list(&mark), &mark, LIMIT).await?;
        Ok(answer::jobs(&answer, &mark)?)
    }

    /// A look at a job as it is.
    ///
    /// # Errors
    /// On the way, no such job, or no answer.
    pub async fn look_at_detached(
        self: &Arc<Self>,
        id: &JobId,
    ) -> Result<DetachedJob, DetachedError> {
        self.wait(id, Duration::ZERO, None).await
    }

    /// Waits up to `patience` (at most [`MAX_WAIT`]) for a job's end, or until there is more output than the mirror
    /// has.
    ///
    /// # Errors
    /// On the way, no such job, or no answer.
    pub async fn wait_for_detached(
        self: &Arc<Self>,
        id: &JobId,
        patience: Duration,
        mirror: &Mirror,
    ) -> Result<DetachedJob, DetachedError> {
        self.wait(
            id,
            patience.min(MAX_WAIT),
            Some((mirror.stdout, mirror.stderr)),
        )
        .await
    }

    async fn wait(
        self: &Arc<Self>,
        id: &JobId,
        patience: Duration,
        beyond: Option<(u64, u64)>,
    ) -> Result<DetachedJob, DetachedError> {
        let mark = random_sentinel()?;
        let question = detached::wait(id, patience.as_secs(), beyond, &mark);
        let answer = self.detached(question, &mark, patience + LIMIT).await?;
        Ok(answer::job(&answer, id, &mark)?)
    }

    /// Fetches what the mirror does not have yet, at most [`MAX_PORTION_BYTES`] of each stream.
    ///
    /// # Errors
    /// On the way, no such job, no answer, or its files cannot be read. The mirror has what was fetched before.
    pub async fn fetch_detached(
        self: &Arc<Self>,
        job: &DetachedJob,
        mirror: &mut Mirror,
    ) -> Result<(), DetachedError> {
        if job.stdout > mirror.stdout {
            let count = job.stdout - mirror.stdout;
            let bytes = self
                .read_detached(&job.id, OutputStreamName::Stdout, mirror.stdout, count)
                .await?;
            mirror.writer.push_stdout(&bytes).await;
            mirror.stdout += bytes.len() as u64;
        }

        if job.stderr > mirror.stderr {
            let count = job.stderr - mirror.stderr;
            let bytes = self
                .read_detached(&job.id, OutputStreamName::Stderr, mirror.stderr, count)
                .await?;
            mirror.writer.push_stderr(&bytes).await;
            mirror.stderr += bytes.len() as u64;
        }

        Ok(())
    }

    async fn read_detached(
        self: &Arc<Self>,
        id: &JobId,
        stream: OutputStreamName,
        offset: u64,
        count: u64,
    ) -> Result<Vec<u8>, DetachedError> {
        let mark = random_sentinel()?;
        let answer = self
            .detached(
                detached::read(id, stream, offset, count, &mark),
                &mark,
                LIMIT,
            )
            .await?;

        match answer::portion(&answer, offset, count, &mark)? {
            [] => {
                Err(Refusal::Trouble("the job's output is shorter than it was".to_owned()).into())
            }
            bytes => Ok(bytes.to_vec()),
        }
    }

    /// Gives a job something to read, and with `close` ends its stdin after that.
    ///
    /// # Errors
    /// On the way, no such job, it takes no input, or it does not read within five seconds.
    pub async fn feed_detached(
        self: &Arc<Self>,
        id: &JobId,
        input: &[u8],
        close: bool,
    ) -> Result<(), DetachedError> {
        let mark = random_sentinel()?;
        let answer = self
            .detached(
                detached::feed(id, input, close, FED_WITHIN, &mark),
                &mark,
                LIMIT,
            )
            .await?;

        Ok(answer::done(&answer, &mark)?)
    }

    /// Sends a job a signal, if it runs. Only one that stops it has an answer.
    ///
    /// # Errors
    /// On the way, no such job, or no answer.
    pub async fn signal_detached(
        self: &Arc<Self>,
        id: &JobId,
        signal: Signal,
    ) -> Result<Option<StopOutcome>, DetachedError> {
        let name = match signal {
            Signal::Stop(first_signal) => first_signal.name(),
            Signal::Once(name) => name,
        };

        let mark = random_sentinel()?;
        let answer = self
            .detached(detached::note_signal(id, name, &mark), &mark, LIMIT)
            .await?;
        let job = answer::job(&answer, id, &mark)?;
        if job.state != DetachedState::Running {
            return Ok(None);
        }

        // Its keeper sees to it that it has ended when its process has.
        let target = StopTarget::Exec {
            process: job.process,
            lived: Duration::ZERO,
        };

        match signal {
            Signal::Stop(first_signal) => {
                let found = self
                    .stop_processes(&target, None, StopReason::Asked(first_signal))
                    .await;
                Ok(Some(StopOutcome {
                    gone: found.and_then(StopReport::gone),
                }))
            }
            Signal::Once(name) => {
                self.signal_processes(&target, None, name).await;
                Ok(None)
            }
        }
    }

    /// Removes what a job that has ended has left on the remote machine.
    ///
    /// # Errors
    /// On the way, no such job, it still runs, or the directory cannot be removed.
    pub async fn remove_detached(self: &Arc<Self>, id: &JobId) -> Result<(), DetachedError> {
        let mark = random_sentinel()?;
        let answer = self
            .detached(detached::remove(id, &mark), &mark, LIMIT)
            .await?;
        Ok(answer::done(&answer, &mark)?)
    }

    async fn detached(
        self: &Arc<Self>,
        stdin: Vec<u8>,
        mark: &Sentinel,
        limit: Duration,
    ) -> Result<Vec<u8>, SshError> {
        self.run_script(RemoteScript {
            command: LAUNCH.to_owned(),
            stdin,
            need: Priority::Work,
            end: mark.closing(),
            longest: usize::try_from(MAX_PORTION_BYTES).unwrap_or(usize::MAX) + BESIDE,
            limit,
        })
        .await
    }
}
