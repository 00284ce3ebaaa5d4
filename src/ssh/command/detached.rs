//! Commands that outlive this connection and this process, on the remote machine
//! ([`crate::framing::detached`]).

use std::{sync::Arc, time::Duration};

use super::{
    exec::random_sentinel,
    limits::StopReason,
    output::{CommandOutput, Output, OutputWriter},
    remote_host::RemoteHost,
    script::RemoteScript,
    spec::CommandSpec,
};
use crate::{
    framing::{
        detached::{
            self, DetachedStart, FeedOptions, MAX_PORTION_BYTES,
            answer::{self, DetachedJob, DetachedState, JobId, Refusal},
        },
        exec::{ExecScriptError, LoginShell},
        sentinel::Sentinel,
        stop::{Signal, StopReport, StopTarget},
        stream::{PerStream, Stream},
    },
    ssh::{error::SshError, pool::Priority},
};

/// Time limit of a script for looking at files, without the time for which the script waits.
const LIMIT: Duration = Duration::from_secs(60);
/// Longest wait until a job reads input, in tenths of a second. Longer is an error.
const FED_WITHIN: u32 = 50;
/// Longest single wait for a job. Callers make longer waits of several.
pub const MAX_WAIT: Duration = Duration::from_secs(300);
/// Room in an answer for anything besides output, in bytes.
const MAX_FIELDS_BYTES: usize = 512 * 1024;

/// Error of an operation on a detached job.
#[derive(Debug, thiserror::Error)]
pub enum DetachedError {
    /// The connection failed; the operation may have been done.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// The remote machine refused the operation.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl From<ExecScriptError> for DetachedError {
    fn from(error: ExecScriptError) -> Self {
        Self::Ssh(error.into())
    }
}

/// Result of stopping a job by signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopOutcome {
    /// True if the job's processes are gone; `None` if nothing could be found out.
    pub gone: Option<bool>,
}

/// Local copy of a job's output, filled by [`RemoteHost::fetch_detached`]. The copy knows how many
/// bytes of each stream have arrived.
#[derive(Debug)]
pub struct Mirror {
    writer: OutputWriter,
    /// Number of bytes that have arrived.
    fetched: PerStream<u64>,
}

impl Mirror {
    /// Creates an empty copy for an output with no other writer.
    #[must_use]
    pub fn new(output: &Output) -> Self {
        Self {
            writer: output.writer(),
            fetched: PerStream::default(),
        }
    }

    /// Returns true if the copy has all output reported by `job`.
    #[must_use]
    pub fn has_all_of(&self, job: &DetachedJob) -> bool {
        self.fetched.stdout >= job.stdout && self.fetched.stderr >= job.stderr
    }

    /// Ends the copy and returns the output.
    pub async fn finish(self) -> CommandOutput {
        self.writer.finish().await
    }
}

impl RemoteHost {
    /// Starts a job with this name. The command is running when this returns. `again` is true if an
    /// earlier attempt may have started the job.
    ///
    /// # Errors
    /// [`Refusal`] means that the command does not run and has left nothing behind. A lost
    /// connection leaves open if the command runs. Trying again is safe, because a name begins no
    /// second job.
    pub async fn start_detached(
        self: &Arc<Self>,
        id: &JobId,
        spec: &CommandSpec,
        again: bool,
    ) -> Result<(), DetachedError> {
        let probe = self.login_shell().await;
        let shell = probe.shell;
        let mark = random_sentinel()?;

        let start = DetachedStart {
            id,
            shell,
            program: probe.program.as_deref(),
            command: &spec.command,
            directory: spec.cwd.as_deref(),
            environment: &spec.env(),
            stdin: spec.stdin.as_deref(),
            // Rounded up to a full second.
            limit: spec.limit.map_or(0, |limit| {
                u64::try_from(limit.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
            }),
            again,
        };

        let answer = self
            .detached(detached::start(start, &mark)?, &mark, LIMIT)
            .await?;

        answer::done(&answer, &mark).map_err(|refusal| match refusal {
            Refusal::Garbled(said) if shell == LoginShell::Other => Refusal::NoShell(said).into(),
            other => other.into(),
        })
    }

    /// Lists all jobs of this user on the remote machine. Jobs that ended more than a week ago are
    /// removed.
    ///
    /// # Errors
    /// Fails if the connection is lost or the answer cannot be read.
    pub async fn list_detached(self: &Arc<Self>) -> Result<Vec<DetachedJob>, DetachedError> {
        // No job is detached there.
        if self.is_windows() && self.login_shell().await.shell.windows().is_some() {
            return Ok(Vec::new());
        }

        let mark = random_sentinel()?;
        let answer = self.detached(detached::list(&mark), &mark, LIMIT).await?;
        Ok(answer::jobs(&answer, &mark)?)
    }

    /// Returns the present state of a job.
    ///
    /// # Errors
    /// Fails if the connection is lost, there is no such job, or the answer cannot be read.
    pub async fn detached_state(
        self: &Arc<Self>,
        id: &JobId,
    ) -> Result<DetachedJob, DetachedError> {
        self.wait(id, Duration::ZERO, None).await
    }

    /// Waits for a job's end or for new output, at most for `patience` and [`MAX_WAIT`]. New output
    /// is any that the mirror does not have.
    ///
    /// # Errors
    /// Fails if the connection is lost, there is no such job, or the answer cannot be read.
    pub async fn wait_for_detached(
        self: &Arc<Self>,
        id: &JobId,
        patience: Duration,
        mirror: &Mirror,
    ) -> Result<DetachedJob, DetachedError> {
        self.wait(
            id,
            patience.min(MAX_WAIT),
            Some((mirror.fetched.stdout, mirror.fetched.stderr)),
        )
        .await
    }

    /// Waits for a job's end or for output beyond these offsets of stdout and stderr.
    async fn wait(
        self: &Arc<Self>,
        id: &JobId,
        patience: Duration,
        fetched: Option<(u64, u64)>,
    ) -> Result<DetachedJob, DetachedError> {
        let mark = random_sentinel()?;
        let script = detached::wait(id, patience.as_secs(), fetched, &mark);
        let answer = self.detached(script, &mark, patience + LIMIT).await?;
        Ok(answer::job(&answer, id, &mark)?)
    }

    /// Fetches output missing from the mirror, at most [`MAX_PORTION_BYTES`] of each stream.
    ///
    /// # Errors
    /// Fails if the connection is lost, there is no such job, or a file or the answer cannot be
    /// read. The mirror keeps everything fetched before.
    pub async fn fetch_detached(
        self: &Arc<Self>,
        job: &DetachedJob,
        mirror: &mut Mirror,
    ) -> Result<(), DetachedError> {
        for (stream, total) in [(Stream::Stdout, job.stdout), (Stream::Stderr, job.stderr)] {
            let offset = *mirror.fetched.get(stream);
            if total > offset {
                let bytes = self
                    .read_detached(&job.id, stream, offset, total - offset)
                    .await?;
                mirror.writer.push(stream, &bytes).await;

                // The offset moves only with bytes that have arrived, so after a lost connection
                // the next call goes on where this one stopped.
                *mirror.fetched.get_mut(stream) += bytes.len() as u64;
            }
        }

        Ok(())
    }

    /// Reads a part of a job's output, which is never empty.
    async fn read_detached(
        self: &Arc<Self>,
        id: &JobId,
        stream: Stream,
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

        // The job reported these bytes, and a job's output only grows. An empty answer means that
        // somebody has changed the files.
        match answer::portion(&answer, offset, count, &mark)? {
            [] => Err(Refusal::Failed("the job's output is shorter than it was".into()).into()),
            bytes => Ok(bytes.to_vec()),
        }
    }

    /// Sends input to a job's stdin, and closes stdin afterwards if `close` is true. A secret line
    /// is kept out of files.
    ///
    /// # Errors
    /// Fails if the connection is lost, there is no such job, stdin is closed, or the job does not
    /// read within five seconds.
    pub async fn feed_detached(
        self: &Arc<Self>,
        id: &JobId,
        input: &[u8],
        close: bool,
        is_secret: bool,
    ) -> Result<(), DetachedError> {
        let mark = random_sentinel()?;
        let how = FeedOptions {
            close,
            is_secret,
            patience_tenths: FED_WITHIN,
        };
        let answer = self
            .detached(detached::feed(id, input, &how, &mark), &mark, LIMIT)
            .await?;

        Ok(answer::done(&answer, &mark)?)
    }

    /// Sends a signal to a running job. Returns `None` if the signal is not meant to stop the job,
    /// or if the job does not run.
    ///
    /// # Errors
    /// Fails if the connection is lost, there is no such job, or the answer cannot be read.
    pub async fn signal_detached(
        self: &Arc<Self>,
        id: &JobId,
        signal: Signal,
    ) -> Result<Option<StopOutcome>, DetachedError> {
        let name = match signal {
            Signal::Stop(first_signal) => first_signal.name(),
            Signal::Once(name) => name,
        };

        // Recorded before the signal is sent: without the record the supervisor cannot tell every
        // death by a signal from an exit status above 128.
        let mark = random_sentinel()?;
        let answer = self
            .detached(detached::record_signal(id, name, &mark), &mark, LIMIT)
            .await?;
        let job = answer::job(&answer, id, &mark)?;
        if job.state != DetachedState::Running {
            return Ok(None);
        }

        // The supervisor makes sure that its job ends with the command's process, so the process is
        // all that has to be signalled.
        let target = StopTarget::Exec {
            process: job.process,
            lived: Duration::ZERO,
        };

        match signal {
            Signal::Stop(first_signal) => {
                let report = self
                    .stop_processes(&target, None, StopReason::Signalled(first_signal))
                    .await;
                Ok(Some(StopOutcome {
                    gone: report.and_then(StopReport::gone),
                }))
            }
            Signal::Once(name) => {
                self.signal_processes(&target, None, name).await;
                Ok(None)
            }
        }
    }

    /// Removes the files of an ended job from the remote machine.
    ///
    /// # Errors
    /// Fails if the connection is lost, there is no such job, the job still runs, or the directory
    /// cannot be removed.
    pub async fn remove_detached(self: &Arc<Self>, id: &JobId) -> Result<(), DetachedError> {
        let mark = random_sentinel()?;
        let answer = self
            .detached(detached::remove(id, &mark), &mark, LIMIT)
            .await?;
        Ok(answer::done(&answer, &mark)?)
    }

    /// Runs a script for detached jobs and returns the answer up to the closing mark.
    async fn detached(
        self: &Arc<Self>,
        stdin: Vec<u8>,
        mark: &Sentinel,
        limit: Duration,
    ) -> Result<Vec<u8>, SshError> {
        self.run_script(RemoteScript {
            command: detached::launch(),
            stdin,
            priority: Priority::Work,
            answer_end: mark.closing(),
            max_answer_bytes: usize::try_from(MAX_PORTION_BYTES).unwrap_or(usize::MAX)
                + MAX_FIELDS_BYTES,
            limit,
            progress: None,
        })
        .await
    }
}
