//! What runs over a session's connection: commands and shells.

use std::{sync::Arc, time::Duration};

use tokio::sync::Mutex as DialSlot;

use super::{LiveSession, ShellSlot, lock};
use crate::{
    render::Style,
    session::{
        caller::Caller,
        error::SessionError,
        job::{CommandInputs, FinishedJob, Job, JobRunner, JobSpec, ShellEnd},
    },
    ssh::{
        command::{
            exec::{CommandResult, ExecRequest},
            exit_status::Ending,
            limits::{Signals, StopConditions},
            output::Output,
            shell::{KnownState, Shell, ShellRequest, ShellResult, ShellRunError, ShellTurn},
            sudo::SudoRequest,
        },
        error::SshError,
        pool::Pool,
        prompt::prompter::Prompter,
    },
};

/// How long it may take to give a new shell the state of the one before.
const RESTORE_LIMIT: Duration = Duration::from_secs(20);

/// A command for [`LiveSession::exec`].
#[derive(Debug, Clone)]
pub struct ExecCall {
    /// The command.
    pub command: String,
    /// The directory to run it in.
    pub directory: Option<String>,
    /// Environment variables to add.
    pub environment: Vec<(String, String)>,
    /// Its stdin, which ends with this, or else is empty or open.
    pub stdin: Option<Vec<u8>>,
    /// Whether it may be given input while it runs, if it has no stdin.
    pub takes_input: bool,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Whether it runs as root.
    pub sudo: bool,
    /// How long it may run.
    pub limit: Option<Duration>,
    /// How many commands share one answer.
    pub share: usize,
    /// Who may be asked for a secret.
    pub prompter: Prompter,
}

/// A command for [`LiveSession::shell`].
#[derive(Debug)]
pub struct ShellCall {
    /// The command.
    pub command: String,
    /// Its stdin.
    pub stdin: Option<Vec<u8>>,
    /// How long it may run.
    pub limit: Option<Duration>,
    /// Who may be asked for a secret.
    pub prompter: Prompter,
}

impl ExecCall {
    /// What it is given besides its text; its stdin stays open for more if `is_open`.
    pub(super) fn given(&self, is_open: bool) -> CommandInputs {
        CommandInputs::new(
            self.stdin.as_deref(),
            is_open,
            self.directory.as_deref(),
            &self.environment,
        )
    }
}

impl LiveSession {
    /// Starts a command on a channel of its own.
    ///
    /// # Errors
    /// The system gives no random number.
    pub fn exec(self: &Arc<Self>, call: ExecCall) -> Result<Arc<Job>, SessionError> {
        let style = if call.terminal {
            Style::Terminal
        } else {
            Style::Plain
        };

        let (job, mut work) = Job::new(JobSpec {
            session: self.name().to_owned(),
            shell: None,
            command: call.command.clone(),
            terminal: call.terminal,
            takes_input: call.terminal || (call.takes_input && call.stdin.is_none()),
            sudo: call.sudo,
            given: call.given(call.terminal || (call.takes_input && call.stdin.is_none())),
            since: Duration::ZERO,
            detached: None,
            output: Output::new(self.session_env.folder.clone(), style, call.share),
        })
        .map_err(|error| self.ssh(error))?;

        let (session, output) = (Arc::clone(self), job.output.clone());

        tokio::spawn(async move {
            let end = session.run_exec(&call, &mut work, output).await;
            work.finish(end.map(|command| FinishedJob {
                command,
                shell: None,
            }));
        });

        Ok(job)
    }

    /// Starts a command in the shell of this name, which is started if there is none. It waits for those before it.
    ///
    /// # Errors
    /// The system gives no random number.
    pub fn shell(self: &Arc<Self>, name: &str, call: ShellCall) -> Result<Arc<Job>, SessionError> {
        let (job, work) = Job::new(JobSpec {
            session: self.name().to_owned(),
            shell: Some(name.to_owned()),
            command: call.command.clone(),
            terminal: false,
            takes_input: false,
            sudo: false,
            given: CommandInputs::new(call.stdin.as_deref(), false, None, &[]),
            since: Duration::ZERO,
            detached: None,
            output: Output::new(self.session_env.folder.clone(), Style::Plain, 1),
        })
        .map_err(|error| self.ssh(error))?;

        let (session, name, output) = (Arc::clone(self), name.to_owned(), job.output.clone());

        tokio::spawn(async move {
            let end = session.run_in_shell(&name, call, &work, output).await;
            work.finish(end.map(|(result, notice)| FinishedJob {
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

    async fn run_exec(
        &self,
        call: &ExecCall,
        work: &mut JobRunner,
        output: Output,
    ) -> Result<CommandResult, SessionError> {
        let _running = self.running.token();
        let prompter = call.prompter.clone().pausing(work.pause.clone());
        let caller = Caller {
            cancelled: work.stop.clone(),
            prompter,
        };

        let mut request = ExecRequest {
            command: &call.command,
            directory: call.directory.as_deref(),
            environment: call
                .environment
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect(),
            stdin: call.stdin.clone().unwrap_or_default(),
            input: work.input.take(),
            terminal: call.terminal,
            sudo: None,
            sent: work.sent.clone(),
            conditions: self.conditions(call.limit, &caller, &work.signals),
            output,
        };

        let mut tried_again = false;

        loop {
            let connection = self.connection(&caller).await?;
            request.conditions = self.conditions(call.limit, &caller, &work.signals);

            // Who logs in as root needs none.
            request.sudo =
                (call.sudo && connection.peer().user != "root").then(|| self.sudo_request(&caller));

            match connection.exec(&mut request).await {
                Ok(result) => {
                    self.note_end(&result.ending);
                    return Ok(result);
                }
                // Nothing was sent yet: the connection had died unnoticed.
                Err(error) if !tried_again && self.drop_dead(&connection, &error).await => {
                    tried_again = true;
                }
                Err(error) => return Err(self.ssh(error)),
            }
        }
    }

    async fn run_in_shell(
        &self,
        name: &str,
        call: ShellCall,
        work: &JobRunner,
        output: Output,
    ) -> Result<(ShellResult, Option<String>), SessionError> {
        let _running = self.running.token();
        let caller = Caller {
            cancelled: work.stop.clone(),
            prompter: call.prompter.pausing(work.pause.clone()),
        };

        let slot = {
            let mut shells = lock(&self.shells);
            Arc::clone(shells.entry(name.to_owned()).or_default())
        };

        let turn = ShellTurn::new(work.sent.clone());
        let mut tried_again = false;

        loop {
            let connection = self.connection(&caller).await?;
            let conditions = self.conditions(call.limit, &caller, &work.signals);

            let (shell, notice) = match self.ready_shell(&slot, &connection, &conditions).await {
                Ok(ready) => ready,
                Err(error) if !tried_again && self.drop_dead(&connection, &error).await => {
                    tried_again = true;
                    continue;
                }
                Err(error) => return Err(self.ssh(error)),
            };

            let request = ShellRequest {
                command: call.command.clone().into_bytes(),
                stdin: call.stdin.clone(),
                conditions: conditions.clone(),
                output: output.clone(),
                turn: turn.clone(),
            };

            let run = shell.run(request);
            tokio::pin!(run);

            let ran = tokio::select! {
                biased;
                ran = &mut run => ran,
                // Whoever waits for a turn that is not wanted any more need not wait for the commands before it.
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
                    if !result.directory.is_empty() {
                        slot.directory.clone_from(&result.directory);
                    }

                    self.note_end(&result.command.ending);
                    return Ok((result, notice));
                }
                Err(ShellRunError::Gone) if !tried_again => tried_again = true,
                Err(ShellRunError::Script(error)) => return Err(self.ssh(SshError::from(error))),
                Err(ShellRunError::Gone | ShellRunError::Lost) => {
                    return Err(self.ssh(connection.lost()));
                }
            }
        }
    }

    /// The live shell of a slot, or a new one: with the state of the last, or at least in its directory.
    async fn ready_shell(
        &self,
        slot: &DialSlot<ShellSlot>,
        connection: &Arc<Pool>,
        conditions: &StopConditions,
    ) -> Result<(Shell, Option<String>), SshError> {
        let mut slot = slot.lock().await;

        if let Some((shell, over)) = &slot.shell
            && !shell.is_gone()
            && over.as_ptr() == Arc::as_ptr(connection)
        {
            return Ok((shell.clone(), None));
        }

        let mut shell = connection.start_shell(conditions).await?;
        let mut notice = None;

        if slot.ran_before {
            let kept = slot
                .shell
                .as_ref()
                .map(|(before, _)| before.kept())
                .unwrap_or_default();

            let conditions = StopConditions {
                limit: Some(RESTORE_LIMIT),
                signals: Signals::default(),
                ..conditions.clone()
            };

            let output = || Output::new(self.session_env.folder.clone(), Style::Plain, 1);

            notice = match shell
                .restore(&kept, &slot.directory, conditions.clone(), output())
                .await
            {
                Ok(notice) => Some(notice),
                Err(_) if connection.is_closed() => return Err(connection.lost()),
                Err(_) if conditions.already_met() => return Err(SshError::Cancelled),
                Err(failed) => {
                    if kept.snapshot.is_some() {
                        // Half of a state is worse than none.
                        shell = connection.start_shell(&conditions).await?;
                    }

                    let moved = shell.enter(&slot.directory, conditions, output()).await;
                    Some(new_shell(moved, &kept, &failed))
                }
            };
        }

        slot.ran_before = true;
        slot.shell = Some((shell.clone(), Arc::downgrade(connection)));

        Ok((shell, notice))
    }

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

    fn sudo_request(&self, caller: &Caller) -> SudoRequest {
        let given = self
            .used_password()
            .then(|| lock(&self.credentials).given_password().cloned())
            .flatten();

        SudoRequest {
            memory: lock(&self.sudo).clone(),
            given,
            prompter: caller
                .prompter
                .clone()
                .or_askpass(self.session_env.askpass.clone()),
        }
    }

    fn note_end(&self, ending: &Ending) {
        if let Ending::ConnectionLost(reason) = ending {
            let text = SshError::Lost(reason.clone()).to_string();
            tracing::warn!(
                session = self.name(),
                reason = text.escape_debug().to_string(),
                "cut off in a command"
            );

            lock(&self.last).error = Some(text);
        }
    }
}

/// What the caller is told of a new shell that has at most the directory of the one before.
fn new_shell(moved: bool, kept: &KnownState, failed: &ShellRunError) -> String {
    let place = if moved { " in the same directory" } else { "" };
    let why = match failed {
        _ if kept.too_large => "; they take more than a mebibyte, which is not kept",
        _ if kept.snapshot.is_some() => "; they could not be restored in time",
        _ => "",
    };

    format!(
        "this is a new shell{place}; variables, functions and background jobs of the one before are gone{why}"
    )
}
