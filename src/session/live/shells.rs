//! Commands in the persistent shells of a session.

use std::{sync::Arc, time::Duration};

use tokio::sync::Mutex as AsyncMutex;

use super::{LiveSession, Permit, ShellSlot};
use crate::{
    lock::lock,
    render::Style,
    session::{
        caller::Caller,
        error::SessionError,
        job::{FinishedJob, Job, JobRunner, JobSpec, ShellEnd},
        shell_name::ShellName,
        work::ShellCommand,
    },
    ssh::{
        command::{
            limits::{Signals, StopConditions},
            output::Output,
            remote_host::RemoteHost,
            shell::{
                KnownState, Shell, ShellRequest, ShellResult, ShellRunError, ShellTurn, ShellUser,
            },
            spec::CommandSpec,
        },
        error::SshError,
    },
};

/// Time limit for restoring the state of a lost shell in a new shell.
const RESTORE_LIMIT: Duration = Duration::from_secs(20);

impl LiveSession {
    /// Starts a command in the named shell and returns the job at once. The shell of another user is
    /// started through sudo.
    ///
    /// The shell is started if there is none. Commands in one shell run one after the other, in the
    /// order of their calls.
    ///
    /// # Errors
    /// The system provides no random number for the id.
    pub fn shell(
        self: &Arc<Self>,
        permit: Permit<ShellCommand>,
        caller: &Caller,
    ) -> Result<Arc<Job>, SessionError> {
        let ShellCommand { shell: name, spec } = permit.work();
        // A shell that runs needs no sudo.
        let spec = CommandSpec {
            sudo: name.user.is_some() && !self.has_shell(name),
            ..spec.clone()
        };

        let (job, runner) = Job::new(JobSpec {
            input_check: self.input_check(),
            session: self.name().to_owned(),
            shell: Some(name.clone()),
            command: &spec,
            since: Duration::ZERO,
            detached: None,
            output: Output::new(self.session_env.folder.clone(), Style::Plain, spec.share),
        })
        .map_err(|error| self.ssh(error))?;

        let (session, output, caller) = (Arc::clone(self), job.output.clone(), caller.clone());

        tokio::spawn(async move {
            let running = session.run_in_shell(&permit, &spec, &runner, caller, output);
            let end = Box::pin(running).await;
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

    /// Runs a command in the named shell when the turn of the command comes.
    async fn run_in_shell(
        &self,
        permit: &Permit<ShellCommand>,
        spec: &CommandSpec,
        runner: &JobRunner,
        caller: Caller,
        output: Output,
    ) -> Result<(ShellResult, Option<String>), SessionError> {
        let _running = self.running.token();
        let name = &permit.work().shell;
        let caller = Caller {
            cancelled: runner.stop.clone(),
            prompter: caller.prompter.pausing(runner.pause.clone()),
            ..caller
        };

        let slot = {
            let mut shells = lock(&self.shells);
            Arc::clone(shells.entry(name.clone()).or_default())
        };

        // One turn for both attempts: whoever takes the turn first, the shell or the cancellation,
        // wins.
        let turn = ShellTurn::new(runner.sent.clone());
        let mut tried_again = false;

        loop {
            let host = self.host(&permit.grant, &caller).await?;
            let conditions = self.conditions(spec.limit, &caller, &runner.signals);

            // No sudo is needed for the user of the log-in, and the host may lack sudo.
            let user = name
                .user
                .clone()
                .filter(|user| user.name() != host.peer().user)
                .map(|user| ShellUser::new(user, self.sudo_sources(&caller), spec));

            let ready = self.ready_shell(&slot, &host, user.as_ref(), &conditions);
            let (shell, notice) = match ready.await {
                Ok(ready) => ready,
                Err(SshError::Cancelled) if user.is_none() && turn.give_up() => {
                    return Ok((ShellResult::not_run(Vec::new()), None));
                }
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

    /// Returns true if the shell runs. False also while the shell is being started.
    fn has_shell(&self, name: &ShellName) -> bool {
        let slot = lock(&self.shells).get(name).cloned();
        slot.is_some_and(|slot| {
            let started = slot.try_lock().ok();
            started.is_some_and(|slot| {
                slot.shell
                    .as_ref()
                    .is_some_and(|(shell, _)| !shell.is_gone())
            })
        })
    }

    /// Returns the live shell of a slot, or starts a new shell with the state of the last. The shell
    /// belongs to `user`, or to the user of the log-in.
    ///
    /// If the state cannot be restored, the new shell is at least in the last directory. The text
    /// is a notice about a new shell, for the caller.
    async fn ready_shell(
        &self,
        slot: &AsyncMutex<ShellSlot>,
        host: &Arc<RemoteHost>,
        user: Option<&ShellUser>,
        conditions: &StopConditions,
    ) -> Result<(Shell, Option<String>), SshError> {
        // The slot is locked while another command starts the shell.
        let mut slot = tokio::select! {
            slot = slot.lock() => slot,
            () = conditions.met() => return Err(SshError::Cancelled),
        };

        // A shell on a retired connection is replaced, and its state moves to the new connection.
        if let Some((shell, over)) = &slot.shell
            && !shell.is_gone()
            && over.as_ptr() == Arc::as_ptr(host)
        {
            return Ok((shell.clone(), None));
        }

        let mut shell = host.start_shell(user.cloned(), conditions).await?;
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
                        shell = host.start_shell(user.cloned(), &conditions).await?;
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
