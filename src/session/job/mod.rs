//! Commands that run or have ended, as handles shared by several calls.
//!
//! The call that starts a command waits for the command first. When that call has answered, later
//! calls can wait for the same [`Job`].

mod input;
mod prompt;
mod runner;
mod start;

use std::{
    collections::BTreeSet,
    num::NonZeroU16,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

pub use self::{
    input::InputRefused,
    prompt::is_pager,
    runner::{FinishedJob, JobEnd, JobRunner, ShellEnd},
    start::{CommandInputs, CommandStdin, InputCheck, JobSpec},
};
use self::{
    input::{InputPortion, JobInput},
    prompt::{OutputState, PromptDetector, looks_like_prompt},
};
use super::{
    caller::Caller,
    detached::{Detached, Feed, JobId},
    error::SessionError,
    shell_name::ShellName,
};
pub use crate::framing::stop::{FirstSignal, Signal};
use crate::{
    event::Event,
    lock::lock,
    password::Password,
    random,
    ssh::{
        command::{
            limits::{SignalSender, Signals},
            output::{CommandOutput, Output, UnseenOutput, UnseenRequest},
        },
        error::SshError,
        prompt::{
            pausable_clock::PausableClock,
            prompter::{Prompter, SecretPrompt},
        },
    },
};

/// Interval at which a waiting call checks for a prompt.
const LOOK: Duration = Duration::from_millis(200);
/// Minimum length of a wait while sudo has not begun. The user can be asked for a password only
/// while a call waits.
const SUDO_BEGINS: Duration = Duration::from_secs(20);
/// Handle of a command, running or ended.
///
/// Created with a [`JobRunner`], which runs the command and reports its end. All calls that deal
/// with the command share the job. A job ends once, and keeps its result and output.
#[derive(Debug)]
pub struct Job {
    /// Id of the job: eight hexadecimal digits.
    pub id: String,
    /// Name of the session in which the command runs.
    pub session: String,
    /// Name of the shell in which the command runs. `None` if the command has a channel of its own.
    pub shell: Option<ShellName>,
    /// Text of the command.
    pub command: String,
    /// Time at which the command was started.
    pub started: SystemTime,
    /// Output of the command, growing while the command runs.
    pub output: Output,
    /// Handle of the detached job. `None` if the command ends with its channel.
    pub detached: Option<Detached>,
    /// True if sudo runs the command.
    pub sudo: bool,
    /// Other inputs of the command.
    pub given: CommandInputs,
    running_since: Instant,
    input: JobInput,
    input_check: InputCheck,
    signals: SignalSender,
    stop: CancellationToken,
    sent: Event,
    /// True if the user has stopped the command on the status page.
    stopped_by_user: AtomicBool,
    pause: PausableClock,
    end: watch::Receiver<Option<JobEnd>>,
    prompts: Mutex<PromptDetector>,
    /// Ports of the command that answers have named.
    named_ports: Mutex<BTreeSet<NonZeroU16>>,
}

/// Outcome of a wait for a job.
#[derive(Debug)]
pub enum WaitOutcome {
    /// The job has ended.
    Ended(JobEnd),
    /// The job still runs.
    Running,
    /// The caller gave up the wait.
    GivenUp,
}

/// Returns a random job id.
///
/// Eight hexadecimal digits make a collision with another job unlikely.
pub(super) fn random_id() -> Result<JobId, SshError> {
    let random = random::bytes().map_err(|error| SshError::Random(error.to_string()))?;
    Ok(JobId::from_random(random))
}

impl Job {
    /// Creates a job and the runner for the command.
    ///
    /// # Errors
    /// The system provides no random number for the id.
    pub fn new(start: JobSpec<'_>) -> Result<(Arc<Self>, JobRunner), SshError> {
        // A detached job already has its id: the remote machine knows the job by the same name.
        let id = if let Some(detached) = &start.detached {
            detached.id.clone()
        } else {
            random_id()?
        };

        let (now, clock) = (Instant::now(), SystemTime::now());
        let (job_input, input) = JobInput::new(start.command.takes_input);
        let (send_signal, signals) = Signals::new();
        let (stop, sent, pause) = (
            CancellationToken::new(),
            Event::new(),
            PausableClock::default(),
        );

        let (send_end, end) = watch::channel(None);

        let job = Self {
            id: id.as_str().to_owned(),
            session: start.session,
            shell: start.shell,
            command: start.command.title(),
            // A job that was found on the remote machine began before this process knew about the
            // job.
            started: clock.checked_sub(start.since).unwrap_or(clock),
            output: start.output,
            detached: start.detached,
            sudo: start.command.sudo,
            given: CommandInputs::new(start.command),
            running_since: now.checked_sub(start.since).unwrap_or(now),
            input: job_input,
            input_check: start.input_check,
            signals: send_signal,
            stop: stop.clone(),
            sent: sent.clone(),
            stopped_by_user: AtomicBool::new(false),
            pause: pause.clone(),
            end,
            prompts: Mutex::default(),
            named_ports: Mutex::default(),
        };

        Ok((
            Arc::new(job),
            JobRunner {
                input,
                signals,
                stop,
                sent,
                pause,
                end: send_end,
            },
        ))
    }

    /// Returns the final result, or `None` while the job runs.
    #[must_use]
    pub fn ended(&self) -> Option<JobEnd> {
        self.end.borrow().clone()
    }

    /// Returns true if the command has a terminal.
    #[must_use]
    pub fn has_terminal(&self) -> bool {
        self.output.is_from_terminal()
    }

    /// Returns the running time of the job, final once the job has ended.
    #[must_use]
    pub fn duration(&self) -> Duration {
        match self.ended().as_deref() {
            Some(Ok(finished)) => finished.command.duration,
            _ => self.running_since.elapsed(),
        }
    }

    /// Returns the unfinished line at which the job seems to wait for input.
    ///
    /// `None` if the job has ended, takes no input, or was not quiet for 1.2 seconds. A line that
    /// looks like a prompt counts after 0.3 seconds.
    #[must_use]
    pub fn prompt(&self) -> Option<String> {
        self.output
            .prompt()
            .filter(|_| lock(&self.prompts).is_at_prompt(&self.output_state()))
    }

    /// Waits until the job has ended or has been sent to the host.
    ///
    /// A sudo command also counts as running once sudo has had 20 seconds to begin.
    pub async fn sent(&self, given_up: &CancellationToken) -> WaitOutcome {
        tokio::select! {
            biased;
            end = self.end() => WaitOutcome::Ended(end),
            () = self.sent.wait() => WaitOutcome::Running,
            () = given_up.cancelled() => WaitOutcome::GivenUp,
            () = self.sudo_begins(), if self.sudo => WaitOutcome::Running,
        }
    }

    /// Returns true if the command has been sent to the host. A shell command is sent when its turn
    /// comes.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.sent.is_set()
    }

    /// Waits until the job ends or seems to wait for input, at most for `patience`.
    ///
    /// Time during which the user is asked does not count. With `answered`, the wait also ends when
    /// the job is quiet after more than that many bytes of output. The same prompt ends only one
    /// wait.
    pub async fn wait(
        &self,
        patience: Duration,
        answered: Option<u64>,
        given_up: &CancellationToken,
    ) -> WaitOutcome {
        // A sudo command is waited for longer, because the user can be asked for a password only
        // meanwhile.
        let patience = async { tokio::join!(self.pause.sleep(patience), self.sudo_begins()) };
        tokio::pin!(patience);

        loop {
            let is_open = self.input.is_open();
            // The end comes first, so that a job which ends at the last moment is not reported as
            // running.
            tokio::select! {
                biased;
                end = self.end() => return WaitOutcome::Ended(end),
                () = given_up.cancelled() => return WaitOutcome::GivenUp,
                _ = &mut patience => break,
                () = sleep(LOOK), if is_open || answered.is_some() => {
                    if lock(&self.prompts).ends_wait(&self.output_state(), answered) {
                        break;
                    }
                }
            }
        }

        // The caller learns of this prompt now; the next wait must not end at the same line.
        lock(&self.prompts).report(&self.output_state());

        WaitOutcome::Running
    }

    /// Stops the command and waits until the job has ended.
    pub async fn stop(&self) -> JobEnd {
        self.stop.cancel();
        self.end().await
    }

    /// Stops the command unless already sent to the host.
    ///
    /// Returns `None` if the command was sent before, and goes on.
    pub async fn stop_unless_sent(&self) -> Option<JobEnd> {
        self.stop.cancel();
        tokio::select! {
            biased;
            () = self.sent.wait() => None,
            end = self.end() => Some(end),
        }
    }

    /// Records the user's wish to end the command.
    pub fn mark_stopped_by_user(&self) {
        self.stopped_by_user.store(true, Ordering::Relaxed);
    }

    /// Returns true if the user wants the command to end.
    #[must_use]
    pub fn was_stopped_by_user(&self) -> bool {
        self.stopped_by_user.load(Ordering::Relaxed)
    }

    /// Stops the command for the user, also on the remote machine, and waits until the job has
    /// ended.
    ///
    /// # Errors
    /// The command is a detached job, and its remote machine cannot be reached.
    pub async fn stop_for_user(&self) -> Result<(), SessionError> {
        if let Some(detached) = &self.detached {
            // The signal is sent by the follower, which needs a connection and works only while
            // somebody watches.
            detached.connect(&Caller::default()).await?;
            let _watching = detached.watch();
            self.mark_stopped_by_user();
            if self.signal(Signal::Stop(FirstSignal::Int)) {
                self.end().await;
            }
        } else {
            self.mark_stopped_by_user();
            self.stop().await;
        }

        Ok(())
    }

    /// Writes `text` to the stdin of the command.
    ///
    /// Without a terminal, U+0004 at the end of `text` closes stdin.
    ///
    /// # Errors
    /// The command takes no input, or no more at the moment.
    pub async fn send_input(&self, text: &str, caller: &Caller) -> Result<(), InputRefused> {
        if !self.accepts_input() {
            return Err(InputRefused::Closed);
        }

        self.deliver(
            InputPortion::parse(text, self.has_terminal()),
            false,
            caller,
        )
        .await
    }

    /// Writes a secret to the stdin of the command, as a line. The secret is hidden in the output
    /// from now on.
    ///
    /// # Errors
    /// The command takes no input, or no more at the moment.
    pub async fn send_secret(
        &self,
        secret: &Password,
        caller: &Caller,
    ) -> Result<(), InputRefused> {
        if !self.accepts_input() {
            return Err(InputRefused::Closed);
        }

        self.output.hide(secret.clone());

        // The key Enter is a carriage return, which a terminal turns into a line feed.
        let end = if self.has_terminal() { b'\r' } else { b'\n' };
        let line = InputPortion {
            bytes: secret.line(end),
            closes: false,
        };

        self.deliver(line, true, caller).await
    }

    /// Asks the user for a secret that the command wants. `None` if the user does not answer, the
    /// command ends first, or the caller gives up. The command's time stands still meanwhile.
    pub async fn ask(
        &self,
        prompt: SecretPrompt,
        prompter: Prompter,
        given_up: &CancellationToken,
    ) -> Option<Password> {
        let prompter = prompter.pausing(self.pause.clone());

        tokio::select! {
            biased;
            _ = self.end() => None,
            () = given_up.cancelled() => None,
            answers = prompter.ask(prompt) => answers?.pop(),
        }
    }

    /// Passes input on to the command, here or on the remote machine.
    async fn deliver(
        &self,
        portion: InputPortion,
        is_secret: bool,
        caller: &Caller,
    ) -> Result<(), InputRefused> {
        self.check_input(caller)
            .await
            .map_err(InputRefused::Remote)?;
        let InputPortion { mut bytes, closes } = portion;

        // The remote machine has the input of a detached job then, so the queue needs only its end.
        if let Some(detached) = &self.detached {
            let input = Feed {
                bytes: std::mem::take(&mut bytes),
                closes,
                is_secret,
            };

            detached
                .feed(input, caller)
                .await
                .map_err(InputRefused::Remote)?;
        }

        lock(&self.prompts).input_sent(self.output.total());
        self.output.input_sent();

        self.input.send(&InputPortion { bytes, closes })
    }

    /// Sends a signal to the command. Returns false if the job has ended or too many signals wait.
    #[must_use]
    pub fn signal(&self, signal: Signal) -> bool {
        self.ended().is_none() && self.signals.send(signal)
    }

    /// Checks that the settings still let the agent act on the command. Stopping it, and reading its
    /// output, need no such check.
    ///
    /// # Errors
    /// [`SessionError::NotAllowed`]
    pub async fn check_input(&self, caller: &Caller) -> Result<(), SessionError> {
        self.input_check.run(caller).await
    }

    /// Returns the output so far, or all output once the job has ended.
    #[must_use]
    pub fn output(&self) -> CommandOutput {
        match self.ended().as_deref() {
            Some(Ok(finished)) => finished.command.output.clone(),
            _ => self.output.so_far(),
        }
    }

    /// Returns the output that a reader has not been shown.
    #[must_use]
    pub fn unseen(&self, request: UnseenRequest) -> UnseenOutput {
        let unseen = self.output.unseen(request);

        match self.ended().as_deref() {
            // Only the result has what came in another way, such as the trouble with a file.
            Some(Ok(finished)) if !request.is_running && unseen.is_from_start() => UnseenOutput {
                output: finished.command.output.clone(),
                ..unseen
            },
            _ => unseen,
        }
    }

    /// Waits until sudo has begun the command, at most 20 seconds. Returns at once for other
    /// commands.
    async fn sudo_begins(&self) {
        if self.sudo {
            tokio::select! {
                () = self.sent.wait() => {}
                () = self.pause.sleep(SUDO_BEGINS) => {}
            }
        }
    }

    /// Returns true when called for the first time with this port. An answer names each port once.
    #[must_use]
    pub fn names_port(&self, port: NonZeroU16) -> bool {
        lock(&self.named_ports).insert(port)
    }

    async fn end(&self) -> JobEnd {
        let mut end = self.end.clone();
        let ended = end.wait_for(Option::is_some).await.map(|end| end.clone());
        match ended {
            Ok(Some(end)) => end,
            // The runner was dropped without a result.
            _ => Arc::new(Err(SessionError::Cancelled)),
        }
    }

    /// Returns true while the job runs and its stdin is open.
    #[must_use]
    pub fn accepts_input(&self) -> bool {
        self.input.is_open() && self.ended().is_none()
    }

    fn output_state(&self) -> OutputState {
        let line = self.output.prompt();

        OutputState {
            quiet: self.output.quiet(),
            total: self.output.total(),
            lines: self.output.lines(),
            is_line_unfinished: line.is_some(),
            is_line_typical: line.as_deref().is_some_and(looks_like_prompt),
            accepts_input: self.accepts_input(),
        }
    }
}
