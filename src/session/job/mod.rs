//! A command that has been started: looked after by the call that started it, and by others once that has answered.

mod start;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

pub use self::start::{CommandInputs, CommandStdin, JobSpec};
use super::{
    caller::Caller,
    detached::{Detached, JobId},
    error::SessionError,
};
pub use crate::framing::stop::{FirstSignal, Signal};
use crate::{
    capture::Captured,
    ssh::{
        command::{
            exec::CommandResult,
            limits::{SignalSender, Signals},
            output::{CommandOutput, Output, StdoutPortion},
        },
        error::SshError,
        prompt::pausable_clock::PausableClock,
    },
};

/// A program that has written nothing for this long behind an unfinished line waits for input.
const QUIET: Duration = Duration::from_millis(1200);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How long a wait for a command lasts at least that sudo has not begun: a person can be asked only as long as there is
/// one.
const SUDO_BEGINS: Duration = Duration::from_secs(20);
/// Portions of input that may wait until the command reads them.
const INPUT_QUEUE: usize = 64;
/// The character that ends a terminal's input (`VEOF`, termios(3)); at the end of a portion it does so without a terminal.
const END_OF_INPUT: u8 = 0x04;

/// A command, running or ended.
#[derive(Debug)]
pub struct Job {
    /// Eight hexadecimal digits.
    pub id: String,
    /// The session in which it runs.
    pub session: String,
    /// The shell in which it runs; `None` on a channel of its own.
    pub shell: Option<String>,
    /// The command.
    pub command: String,
    /// When it was started.
    pub started: SystemTime,
    /// What it prints.
    pub output: Output,
    /// The command on the remote machine, if it lives there.
    pub detached: Option<Detached>,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Whether sudo runs it.
    pub sudo: bool,
    /// What else it was given.
    pub given: CommandInputs,
    begun: Instant,
    /// Open as long as the command may be given input.
    input: Mutex<Option<mpsc::Sender<Vec<u8>>>>,
    signals: SignalSender,
    stop: CancellationToken,
    sent: CancellationToken,
    /// Whether the person has had it stopped, on the page.
    stopped_by_user: AtomicBool,
    pause: PausableClock,
    end: watch::Receiver<Option<JobEnd>>,
    /// How much stood in complete lines when a caller was last told of a prompt, unless it was given input since.
    reported: AtomicU64,
}

/// How a job ended; shared by all who wait for it. An error: it was not run.
pub type JobEnd = Arc<Result<FinishedJob, SessionError>>;

/// A job that was run and has ended.
#[derive(Debug)]
pub struct FinishedJob {
    /// The command's result.
    pub command: CommandResult,
    /// What its shell adds.
    pub shell: Option<ShellEnd>,
}

/// What a shell adds to the end of a command.
#[derive(Debug)]
pub struct ShellEnd {
    /// The working directory afterwards, as the shell spells it.
    pub directory: Vec<u8>,
    /// What background processes printed since the command before.
    pub between: Captured,
    /// What became of the shell.
    pub notice: Option<String>,
}

/// The other end of a job, for whoever runs it.
#[derive(Debug)]
pub struct JobRunner {
    /// What it is given to read, if it may be.
    pub input: Option<mpsc::Receiver<Vec<u8>>>,
    /// What it is told.
    pub signals: Signals,
    /// Cancelled when it has to be stopped.
    pub stop: CancellationToken,
    /// To be cancelled when the command has been sent.
    pub sent: CancellationToken,
    /// What stops those who wait for it while a person is asked.
    pub pause: PausableClock,
    end: watch::Sender<Option<JobEnd>>,
}

/// How a wait for a job ended.
#[derive(Debug)]
pub enum WaitOutcome {
    /// The job has ended.
    Ended(JobEnd),
    /// It still runs.
    Running,
    /// The caller gave the wait up.
    GivenUp,
}

/// Why a job cannot be given input.
#[derive(Debug)]
pub enum InputRefused {
    /// Its stdin is not open, or not any more.
    Closed,
    /// It does not read what it was given before.
    Full,
    /// The remote machine, on which it lives, could not give it.
    Remote(SessionError),
}

/// A name that no other job is likely to have.
pub(super) fn random_id() -> Result<JobId, SshError> {
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(|error| SshError::Random(error.to_string()))?;
    Ok(JobId::from_random(random))
}

impl JobRunner {
    /// Tells all who wait how it ended.
    pub fn finish(self, end: Result<FinishedJob, SessionError>) {
        self.end.send_replace(Some(Arc::new(end)));
    }
}

impl Job {
    /// A job, and its other end.
    ///
    /// # Errors
    /// The system gives no random number for its name.
    pub fn new(start: JobSpec) -> Result<(Arc<Self>, JobRunner), SshError> {
        let id = if let Some(detached) = &start.detached {
            detached.id.clone()
        } else {
            random_id()?
        };

        let (now, clock) = (Instant::now(), SystemTime::now());
        let (send_input, take_input) = mpsc::channel(INPUT_QUEUE);
        let (send_signal, signals) = Signals::new();
        let (stop, sent, pause) = (
            CancellationToken::new(),
            CancellationToken::new(),
            PausableClock::default(),
        );

        let (send_end, end) = watch::channel(None);

        let job = Self {
            id: id.as_str().to_owned(),
            session: start.session,
            shell: start.shell,
            command: start.command,
            started: clock.checked_sub(start.since).unwrap_or(clock),
            output: start.output,
            detached: start.detached,
            terminal: start.terminal,
            sudo: start.sudo,
            given: start.given,
            begun: now.checked_sub(start.since).unwrap_or(now),
            input: Mutex::new(start.takes_input.then_some(send_input)),
            signals: send_signal,
            stop: stop.clone(),
            sent: sent.clone(),
            stopped_by_user: AtomicBool::new(false),
            pause: pause.clone(),
            end,
            reported: AtomicU64::new(u64::MAX),
        };

        let input = start.takes_input.then_some(take_input);

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

    /// How it ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<JobEnd> {
        self.end.borrow().clone()
    }

    /// How long it has been running, or was.
    #[must_use]
    pub fn duration(&self) -> Duration {
        match self.ended().as_deref() {
            Some(Ok(finished)) => finished.command.duration,
            _ => self.begun.elapsed(),
        }
    }

    /// The line at which it waits for input, as it seems.
    #[must_use]
    pub fn prompt(&self) -> Option<String> {
        let waits =
            self.output.quiet() >= QUIET && self.lock_input().is_some() && self.ended().is_none();
        self.output.prompt().filter(|_| waits)
    }

    /// Waits until it has ended, or been sent to its host.
    pub async fn sent(&self, given_up: &CancellationToken) -> WaitOutcome {
        tokio::select! {
            biased;
            end = self.end() => WaitOutcome::Ended(end),
            () = self.sent.cancelled() => WaitOutcome::Running,
            () = given_up.cancelled() => WaitOutcome::GivenUp,
            () = self.sudo_begins(), if self.sudo => WaitOutcome::Running,
        }
    }

    /// Whether it has been sent to its host. A command of a shell is sent when its turn has come.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.sent.is_cancelled()
    }

    /// Waits for its end, at most for `patience`, in which the time of a person who is asked does not count, or until it
    /// seems to wait for input. With `answered`, also until it has written more than that many bytes and is quiet again.
    ///
    /// A line that no one answers, and after which no other is begun, is no prompt: a caller is told of it once.
    pub async fn wait(
        &self,
        patience: Duration,
        answered: Option<u64>,
        given_up: &CancellationToken,
    ) -> WaitOutcome {
        let patience = async { tokio::join!(self.pause.sleep(patience), self.sudo_begins()) };
        tokio::pin!(patience);

        loop {
            let open = self.lock_input().is_some();
            tokio::select! {
                biased;
                end = self.end() => return WaitOutcome::Ended(end),
                () = given_up.cancelled() => return WaitOutcome::GivenUp,
                _ = &mut patience => break,
                () = sleep(LOOK), if open || answered.is_some() => {
                    let written = answered.is_some_and(|before| self.output.total() > before);
                    let news = self.reported.load(Ordering::Relaxed) != self.output.lines();
                    if (written && self.output.quiet() >= QUIET) || (news && self.prompt().is_some()) {
                        break;
                    }
                }
            }
        }

        if self.prompt().is_some() {
            self.reported.store(self.output.lines(), Ordering::Relaxed);
        }

        WaitOutcome::Running
    }

    /// Stops it, and waits for its end.
    pub async fn stop(&self) -> JobEnd {
        self.stop.cancel();
        self.end().await
    }

    /// Keeps it from beginning. `None`: it has begun, and goes on.
    pub async fn stop_unless_sent(&self) -> Option<JobEnd> {
        self.stop.cancel();
        tokio::select! {
            biased;
            () = self.sent.cancelled() => None,
            end = self.end() => Some(end),
        }
    }

    /// Notes that it ends because the person wants that.
    pub fn note_stopped_by_user(&self) {
        self.stopped_by_user.store(true, Ordering::Relaxed);
    }

    /// Whether the person wants it to end.
    #[must_use]
    pub fn was_stopped_by_user(&self) -> bool {
        self.stopped_by_user.load(Ordering::Relaxed)
    }

    /// Stops it because the person wants that, wherever it lives, and waits for its end.
    ///
    /// # Errors
    /// It lives on a remote machine that cannot be reached.
    pub async fn stop_for_user(&self) -> Result<(), SessionError> {
        if let Some(detached) = &self.detached {
            detached.connect(&Caller::default()).await?;
            let _watching = detached.watch();
            self.note_stopped_by_user();
            if self.signal(Signal::Stop(FirstSignal::Int)) {
                self.end().await;
            }
        } else {
            self.note_stopped_by_user();
            self.stop().await;
        }

        Ok(())
    }

    /// Gives it something to read. Without a terminal, U+0004 at the end closes its stdin.
    ///
    /// # Errors
    /// It takes no input, or no more.
    pub async fn send_input(&self, text: &str, caller: &Caller) -> Result<(), InputRefused> {
        let bytes = text.as_bytes();
        let last = bytes
            .strip_suffix(&[END_OF_INPUT])
            .filter(|_| !self.terminal);
        let bytes = last.unwrap_or(bytes);
        let is_open = self.lock_input().is_some() && self.ended().is_none();

        if let Some(detached) = self.detached.as_ref().filter(|_| is_open) {
            detached
                .feed(bytes, last.is_some(), caller)
                .await
                .map_err(InputRefused::Remote)?;
        }

        let mut input = self.lock_input();
        let open = input
            .as_ref()
            .filter(|_| is_open)
            .ok_or(InputRefused::Closed)?;

        self.reported.store(u64::MAX, Ordering::Relaxed);
        self.output.fed();

        if !bytes.is_empty() && self.detached.is_none() {
            open.try_send(bytes.to_vec()).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => InputRefused::Full,
                mpsc::error::TrySendError::Closed(_) => InputRefused::Closed,
            })?;
        }

        if last.is_some() {
            *input = None;
        }

        Ok(())
    }

    /// Sends it a signal; `false` if it has ended, or does not take any more of them.
    #[must_use]
    pub fn signal(&self, signal: Signal) -> bool {
        self.ended().is_none() && self.signals.send(signal)
    }

    /// What it has printed so far, or in all.
    #[must_use]
    pub fn printed(&self) -> CommandOutput {
        match self.ended().as_deref() {
            Some(Ok(finished)) => finished.command.output.clone(),
            _ => self.output.so_far(),
        }
    }

    /// A part of its stdout, in bytes.
    ///
    /// # Errors
    /// The file in which it is kept cannot be read.
    pub async fn read(&self, offset: u64) -> std::io::Result<StdoutPortion> {
        self.output.read(offset, self.ended().is_none()).await
    }

    /// Waits until sudo has begun it, if sudo is to, and that does not take too long.
    async fn sudo_begins(&self) {
        if self.sudo {
            tokio::select! {
                () = self.sent.cancelled() => {}
                () = self.pause.sleep(SUDO_BEGINS) => {}
            }
        }
    }

    async fn end(&self) -> JobEnd {
        let mut end = self.end.clone();
        let ended = end.wait_for(Option::is_some).await.map(|end| end.clone());
        match ended {
            Ok(Some(end)) => end,
            // Whoever ran it is gone without a word.
            _ => Arc::new(Err(SessionError::Cancelled)),
        }
    }

    fn lock_input(&self) -> MutexGuard<'_, Option<mpsc::Sender<Vec<u8>>>> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
