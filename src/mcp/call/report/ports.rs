//! Ports at which a command says that it listens, with the call that reaches them from this machine.

use core::{fmt, num::NonZeroU16};

use super::{CommandReport, CommandState};
use crate::{
    capture::Captured,
    forward::{
        address::ConnectAddress,
        state::{ForwardDirection, ForwardState},
    },
    mcp::call::{Call, hints::ports},
    session::job::{FinishedJob, Job},
    ssh::command::exit_status::{Ending, ExitStatus},
};

/// Part of a status line about a port. `Display` writes `port 5173: ssh_forward(to: 5173)`, or where
/// the port is reached already.
#[derive(Debug, Clone)]
pub(super) struct PortHint {
    port: NonZeroU16,
    /// Listener and id of the forward that leads to the port; `None` if there is none.
    forward: Option<String>,
    /// Further arguments of the call.
    session: String,
}

impl PortHint {
    /// Leaves it to the reader to name the session, because several have this hint in common.
    pub(super) fn leave_session_open(&mut self) {
        ", session".clone_into(&mut self.session);
    }
}

/// Equal hints differ in the session at most.
impl PartialEq for PortHint {
    fn eq(&self, other: &Self) -> bool {
        (self.port, &self.forward) == (other.port, &other.forward)
    }
}

impl fmt::Display for PortHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            port,
            forward,
            session,
        } = self;

        match forward {
            Some(forward) => write!(f, "port {port}: {forward}"),
            None => write!(f, "port {port}: ssh_forward(to: {port}{session})"),
        }
    }
}

impl CommandReport<'_> {
    /// Returns the report with the ports at which the command says, in this answer, that it listens.
    /// Ports that an earlier answer has named are left out.
    pub(super) fn with_ports(self, call: &Call, job: &Job) -> Self {
        let goes_on = match &self.state {
            CommandState::Running { .. } => true,
            CommandState::Queued { .. } => false,
            // A command that has ended listens no more, but what it left in the background may.
            CommandState::Ended(finished) => {
                has_succeeded(finished) && ports::starts_background(&job.command)
            }
        };

        let output = &self.unseen.output;
        let streams = [&output.stdout, &output.stderr];
        let texts = streams
            .into_iter()
            .filter(|_| goes_on)
            .chain(self.between())
            .map(Captured::text);

        let listening =
            ports::listening_ports(texts.collect::<Vec<_>>().iter().map(String::as_str));

        // The answer to a cancelled call does not arrive, so the next one names the port.
        if listening.is_empty() || call.caller.cancelled.is_cancelled() {
            return self;
        }

        let forwards = call.registry.forwards.list();
        let session = if call.registry.is_default_here(&job.session) {
            String::new()
        } else {
            format!(", session: {:?}", job.session)
        };

        let new = listening.into_iter().filter(|port| job.names_port(*port));
        let ports = new.map(|port| PortHint {
            port,
            forward: forwards
                .iter()
                .find(|forward| leads_to(forward, &job.session, port))
                .map(listener),
            session: session.clone(),
        });

        Self {
            ports: ports.collect(),
            ..self
        }
    }
}

/// Returns true if a command ended by itself with the exit code 0.
fn has_succeeded(finished: &FinishedJob) -> bool {
    let command = &finished.command;
    !command.stopped && matches!(command.ending, Ending::Exited(ExitStatus::Code(0)))
}

/// Returns true for a forward from this machine to a port of the session's host itself.
fn leads_to(forward: &ForwardState, session: &str, port: NonZeroU16) -> bool {
    let is_there = match &forward.to {
        ConnectAddress::Port(to) => *to == port,
        ConnectAddress::Host(to) => {
            to.port == port && ["localhost", "127.0.0.1", "::1"].contains(&to.host.as_str())
        }
        ConnectAddress::Socket(_) | ConnectAddress::Socks => false,
    };

    is_there && forward.direction == ForwardDirection::Local && forward.session.raw() == session
}

/// Returns the listener of a forward and its id, as in `http://127.0.0.1:5173 (f1)`.
fn listener(forward: &ForwardState) -> String {
    let listen = forward.url().unwrap_or_else(|| forward.listen.to_string());
    format!("{listen} (f{})", forward.id)
}
