//! Commands over a session's connection: on channels of their own and in persistent shells.

use std::{sync::Arc, time::Duration};

use tokio::sync::Mutex as AsyncMutex;

use super::{LiveSession, ShellSlot};
use crate::{
    foreign_text::escape_line,
    lock::lock,
    render::Style,
    session::{
        caller::Caller,
        error::SessionError,
        job::{FinishedJob, Job, JobRunner, JobSpec, ShellEnd},
    },
    ssh::{
        command::{
            exec::{CommandResult, ExecContext},
            exit_status::Ending,
            limits::{Signals, StopConditions},
            output::Output,
            remote_host::RemoteHost,
            shell::{KnownState, Shell, ShellRequest, ShellResult, ShellRunError, ShellTurn},
            spec::CommandSpec,
            sudo::SudoSources,
        },
        error::SshError,
        prompt::prompter::Prompter,
    },
};

/// Time limit for restoring the state of a lost shell in a new shell.
const RESTORE_LIMIT: Duration = Duration::from_secs(20);

impl LiveSession {
    /// Starts a command on a separate channel and returns the job at once. The command goes on if
    /// the caller gives the call up.
    ///
    /// Failures to connect are reported as the end of the job.
    ///
    /// # Errors
    /// The system provides no random number for the id.
    pub fn exec(
        self: &Arc<Self>,
        spec: CommandSpec,
        caller: Caller,
    ) -> Result<Arc<Job>, SessionError> {
        let style = if spec.pty {
            Style::Terminal
        } else {
            Style::Plain
        };

        let (job, mut runner) = Job::new(JobSpec {
            session: self.name().to_owned(),
            shell: None,
            command: &spec,
            since: Duration::ZERO,
            detached: None,
            output: Output::new(self.session_env.folder.clone(), style, spec.share),
        })
        .map_err(|error| self.ssh(error))?;

        let (session, output) = (Arc::clone(self), job.output.clone());

        // A task of its own, because the command may outlive the call that started it.
        tokio::spawn(async move {
            let end = session
                .run_exec(&Arc::new(spec), &mut runner, caller, output)
                .await;
            runner.finish(end.map(|command| FinishedJob {
                command,
                shell: None,
            }));
        });

        Ok(job)
    }

    /// Starts a command in the named shell and returns the job at once.
    ///
    /// The shell is started if there is none. Commands in one shell run one after the other, in the
    /// order of their calls.
    ///
    /// # Errors
    /// The system provides no random number for the id.
    pub fn shell(
        self: &Arc<Self>,
        name: &str,
        spec: CommandSpec,
        prompter: Prompter,
    ) -> Result<Arc<Job>, SessionError> {
        let (job, runner) = Job::new(JobSpec {
            session: self.name().to_owned(),
            shell: Some(name.to_owned()),
            command: &spec,
            since: Duration::ZERO,
            detached: None,
            output: Output::new(self.session_env.folder.clone(), Style::Plain, spec.share),
        })
        .map_err(|error| self.ssh(error))?;

        let (session, name, output) = (Arc::clone(self), name.to_owned(), job.output.clone());

        tokio::spawn(async move {
            let end = session
                .run_in_shell(&name, &spec, &runner, prompter, output)
                .await;
            runner.finish(end.map(|(result, notice)| FinishedJob {
                command: result.command,
                shell: Some(ShellEnd {
                    directory: result.directory,
                    between: result.between,
                    notice,
                }),
            }));
        });

        Ok(job)
    }

    /// Runs a command on a channel of its own, trying twice if the connection was dead.
    async fn run_exec(
        &self,
        spec: &Arc<CommandSpec>,
        runner: &mut JobRunner,
        caller: Caller,
        output: Output,
    ) -> Result<CommandResult, SessionError> {
        // `close` waits for the holders of these tokens before it closes the connection.
        let _running = self.running.token();
        let caller = Caller {
            cancelled: runner.stop.clone(),
            prompter: caller.prompter.pausing(runner.pause.clone()),
            ..caller
        };

        let mut context = ExecContext {
            input: runner.input.take(),
            output,
            sudo: None,
            sent: runner.sent.clone(),
            conditions: self.conditions(spec.limit, &caller, &runner.signals),
        };

        let mut tried_again = false;

        loop {
            let host = self.host(&caller).await?;
            // Taken after `host`, which renews a closing token that an earlier disconnect cancelled.
            context.conditions = self.conditions(spec.limit, &caller, &runner.signals);

            // No sudo is needed for a log-in as root, and the host may lack sudo.
            context.sudo =
                (spec.sudo && host.peer().user != "root").then(|| self.sudo_sources(&caller));

            match host.exec(spec, &mut context).await {
                Ok(result) => {
                    self.note_end(&result.ending);
                    return Ok(result);
                }
                // An error means that nothing was sent, and a dead connection is noticed only when
                // used.
                Err(error) if !tried_again && self.drop_dead(&host, &error).await => {
                    tried_again = true;
                }
                Err(error) => return Err(self.ssh(error)),
            }
        }
    }

    /// Runs a command in the named shell when the turn of the command comes.
    async fn run_in_shell(
        &self,
        name: &str,
        spec: &CommandSpec,
        runner: &JobRunner,
        prompter: Prompter,
        output: Output,
    ) -> Result<(ShellResult, Option<String>), SessionError> {
        let _running = self.running.token();
        let caller = Caller {
            cancelled: runner.stop.clone(),
            prompter: prompter.pausing(runner.pause.clone()),
            ..Caller::default()
        };

        let slot = {
            let mut shells = lock(&self.shells);
            Arc::clone(shells.entry(name.to_owned()).or_default())
        };

        // One turn for both attempts: whoever takes the turn first, the shell or the cancellation,
        // wins.
        let turn = ShellTurn::new(runner.sent.clone());
        let mut tried_again = false;

        loop {
            let host = self.host(&caller).await?;
            let conditions = self.conditions(spec.limit, &caller, &runner.signals);

            let (shell, notice) = match self.ready_shell(&slot, &host, &conditions).await {
                Ok(ready) => ready,
                Err(error) if !tried_again && self.drop_dead(&host, &error).await => {
                    tried_again = true;
                    continue;
                }
                Err(error) => return Err(self.ssh(error)),
            };

            let request = ShellRequest {
                command: spec.command.clone().into_bytes(),
                stdin: spec.stdin.clone(),
                conditions: conditions.clone(),
                output: output.clone(),
                turn: turn.clone(),
            };

            let run = shell.run(request);
            tokio::pin!(run);

            let ran = tokio::select! {
                biased;
                ran = &mut run => ran,
                // A cancelled command need not wait for those before it in the shell.
                () = conditions.met() => {
                    if turn.give_up() {
                        return Ok((ShellResult::not_run(Vec::new()), notice));
                    }
                    run.await
                }
            };

            match ran {
                Ok(result) => {
                    let mut slot = slot.lock().await;
                    // A command that was not run reports no directory.
                    if !result.directory.is_empty() {
                        slot.directory.clone_from(&result.directory);
                    }

                    self.note_end(&result.command.ending);
                    return Ok((result, notice));
                }
                // The shell had ended before the command was sent, so a second attempt cannot run
                // the command twice.
                Err(ShellRunError::Gone) if !tried_again => tried_again = true,
                Err(ShellRunError::Script(error)) => return Err(self.ssh(SshError::from(error))),
                Err(ShellRunError::Gone | ShellRunError::Lost) => {
                    return Err(self.ssh(host.lost()));
                }
            }
        }
    }

    /// Returns the live shell of a slot, or starts a new shell with the state of the last.
    ///
    /// If the state cannot be restored, the new shell is at least in the last directory. The text
    /// is a notice about a new shell, for the caller.
    async fn ready_shell(
        &self,
        slot: &AsyncMutex<ShellSlot>,
        host: &Arc<RemoteHost>,
        conditions: &StopConditions,
    ) -> Result<(Shell, Option<String>), SshError> {
        let mut slot = slot.lock().await;

        // A shell on a retired connection is replaced, and its state moves to the new connection.
        if let Some((shell, over)) = &slot.shell
            && !shell.is_gone()
            && over.as_ptr() == Arc::as_ptr(host)
        {
            return Ok((shell.clone(), None));
        }

        let mut shell = host.start_shell(conditions).await?;
        let mut notice = None;

        if slot.ran_before {
            let known_state = slot
                .shell
                .as_ref()
                .map(|(before, _)| before.known_state())
                .unwrap_or_default();

            // Restoring has its own limit, and signals are meant for the command that follows.
            let conditions = StopConditions {
                limit: Some(RESTORE_LIMIT),
                signals: Signals::default(),
                ..conditions.clone()
            };

            let output = || Output::new(self.session_env.folder.clone(), Style::Plain, 1);

            notice = match shell
                .restore(&known_state, &slot.directory, conditions.clone(), output())
                .await
            {
                Ok(notice) => Some(notice),
                Err(_) if host.is_closed() => return Err(host.lost()),
                Err(_) if conditions.already_met() => return Err(SshError::Cancelled),
                Err(failed) => {
                    if known_state.snapshot.is_some() {
                        // The shell may hold half of the state, which is worse than none.
                        shell = host.start_shell(&conditions).await?;
                    }

                    let moved = shell.enter(&slot.directory, conditions, output()).await;
                    Some(new_shell(moved, &known_state, &failed))
                }
            };
        }

        slot.ran_before = true;
        slot.shell = Some((shell.clone(), Arc::downgrade(host)));

        Ok((shell, notice))
    }

    /// Collects the conditions for stopping a command of this session.
    pub(super) fn conditions(
        &self,
        limit: Option<Duration>,
        caller: &Caller,
        signals: &Signals,
    ) -> StopConditions {
        StopConditions {
            limit,
            pause: caller.prompter.pause().clone(),
            signals: signals.clone(),
            cancelled: caller.cancelled.clone(),
            closing: lock(&self.closing).clone(),
            ending: self.session_env.ending.clone(),
        }
    }

    /// Collects the sources of sudo's password: memory, the caller, or the user.
    pub(super) fn sudo_sources(&self, caller: &Caller) -> SudoSources {
        // A given password is known to be the account's only if the log-in used a password.
        let given = self
            .used_password()
            .then(|| lock(&self.credentials).given_password().cloned())
            .flatten();

        SudoSources {
            memory: lock(&self.sudo).clone(),
            given,
            prompter: caller
                .prompter
                .clone()
                .or_askpass(self.session_env.askpass.clone()),
        }
    }

    /// Logs a connection loss in a command and records the reason for listings.
    fn note_end(&self, ending: &Ending) {
        if let Ending::ConnectionLost(reason) = ending {
            let text = escape_line(SshError::Lost(reason.clone()).to_string());
            tracing::warn!(session = self.name(), reason = text, "cut off in a command");

            lock(&self.last).error = Some(text);
        }
    }
}

/// Formats the notice about a new shell without the state of the last shell.
fn new_shell(moved: bool, known_state: &KnownState, failed: &ShellRunError) -> String {
    let in_directory = if moved { " in the same directory" } else { "" };
    let why = match failed {
        _ if known_state.too_large => "; they take more than a mebibyte, which is not kept",
        _ if known_state.snapshot.is_some() => "; they could not be restored in time",
        _ => "",
    };

    format!(
        "this is a new shell{in_directory}; variables, functions and background jobs of the one before are gone{why}"
    )
}
