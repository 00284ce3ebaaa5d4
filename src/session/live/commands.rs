//! Commands over a session's connection, on channels of their own.

use std::{sync::Arc, time::Duration};

use super::{LiveSession, Permit};
use crate::{
    foreign_text::escape_line,
    lock::lock,
    render::Style,
    session::{
        caller::Caller,
        error::SessionError,
        job::{FinishedJob, Job, JobRunner, JobSpec},
    },
    ssh::{
        command::{
            exec::{CommandResult, ExecContext},
            exit_status::Ending,
            limits::{Signals, StopConditions},
            output::Output,
            spec::CommandSpec,
            sudo::SudoSources,
        },
        error::SshError,
    },
};

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
        permit: Permit<CommandSpec>,
        caller: Caller,
    ) -> Result<Arc<Job>, SessionError> {
        let spec = permit.work();
        let style = if spec.pty {
            Style::Terminal
        } else {
            Style::Plain
        };

        let (job, mut runner) = Job::new(JobSpec {
            input_check: self.input_check(),
            session: self.name().to_owned(),
            shell: None,
            command: spec,
            since: Duration::ZERO,
            detached: None,
            output: Output::new(self.session_env.folder.clone(), style, spec.share),
        })
        .map_err(|error| self.ssh(error))?;

        let (session, output) = (Arc::clone(self), job.output.clone());

        // A task of its own, because the command may outlive the call that started it.
        tokio::spawn(async move {
            let end = session.run_exec(&permit, &mut runner, caller, output).await;
            runner.finish(end.map(|command| FinishedJob {
                command,
                shell: None,
            }));
        });

        Ok(job)
    }

    /// Runs a command on a channel of its own, trying twice if the connection was dead.
    async fn run_exec(
        &self,
        permit: &Permit<CommandSpec>,
        runner: &mut JobRunner,
        caller: Caller,
        output: Output,
    ) -> Result<CommandResult, SessionError> {
        let spec = &permit.work;
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
            let host = self.host(&permit.grant, &caller).await?;
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
    pub(super) fn note_end(&self, ending: &Ending) {
        if let Ending::ConnectionLost(reason) = ending {
            let text = escape_line(SshError::Lost(reason.clone()).to_string());
            tracing::warn!(session = self.name(), reason = text, "cut off in a command");

            lock(&self.last).error = Some(text);
        }
    }
}
