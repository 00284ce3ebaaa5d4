//! Work that a call wants done on a host, as the settings and the user see it.

use std::fmt;

use super::shell_name::ShellName;
use crate::{
    forward::{request::ForwardRequest, state::ForwardDirection},
    settings::Operation,
    ssh::{command::spec::CommandSpec, prompt::prompter::ActDescription, transfer::EditAction},
};

/// Work that a call wants done on a host.
///
/// An answer of the user for a whole conversation holds for work with the same
/// [`identity`](Self::identity) only.
pub trait Work: fmt::Debug + Send + Sync + 'static {
    /// Returns the kind of work, which the settings know.
    fn operation(&self) -> Operation;

    /// Describes the work to the user.
    fn describe(&self) -> ActDescription;

    /// Returns everything by which the work differs from other work of its kind.
    fn identity(&self) -> String {
        format!("{self:?}")
    }

    /// Returns true if the user has allowed the work before, so that `ask` counts as `allow`.
    fn is_allowed_already(&self) -> bool {
        false
    }
}

/// Connecting, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connecting;

/// Command in a persistent shell.
#[derive(Debug, Clone)]
pub struct ShellCommand {
    /// Shell, which may belong to another user.
    pub shell: ShellName,
    /// The command.
    pub spec: CommandSpec,
}

/// Reading or searching a file or directory, or fetching it.
#[derive(Debug, Clone)]
pub struct RemoteRead {
    /// Path on the host, as typed.
    pub path: String,
    /// True if root reads, through sudo.
    pub sudo: bool,
}

/// Writing a file or directory in a transfer.
#[derive(Debug, Clone)]
pub struct RemoteWrite {
    /// Path on the host, as typed.
    pub path: String,
    /// Origin of the content, in words.
    pub from: String,
}

/// Edit of files.
#[derive(Debug, Clone)]
pub struct Edit {
    /// The change, with paths as typed.
    pub action: EditAction,
    /// True if nothing is written.
    pub dry_run: bool,
    /// True if root edits, through sudo.
    pub sudo: bool,
    /// Text of the patch; `None` for another change.
    pub patch: Option<String>,
}

/// Forwards of the SSH configuration, which a session opens when it connects.
#[derive(Debug, Clone)]
pub struct ConfiguredForwarding {
    /// Options with the listening addresses, as in `LocalForward 8080`.
    pub options: Vec<String>,
}

/// Input or a signal for a command that runs. The user was asked when the command started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobInput;

impl Work for Connecting {
    fn operation(&self) -> Operation {
        Operation::Connect
    }

    fn describe(&self) -> ActDescription {
        ActDescription::new("connect")
    }
}

impl Work for CommandSpec {
    fn operation(&self) -> Operation {
        run_or_sudo(self.sudo)
    }

    fn identity(&self) -> String {
        // Neither changes what the command does.
        let same = Self {
            limit: None,
            share: 0,
            ..self.clone()
        };
        format!("{same:?}")
    }

    fn describe(&self) -> ActDescription {
        let doing = match (self.is_shell_channel(), self.sudo) {
            (true, _) => "open a shell, and type there what it likes",
            (false, true) => "run this command as root (sudo)",
            (false, false) => "run this command",
        };

        let act = ActDescription::new(doing);
        let act = match &self.cwd {
            Some(directory) => act.with("In the directory", directory),
            None => act,
        };
        let act = act
            .with_environment(&self.env)
            .with_stdin(self.stdin.as_deref());

        // The agent is not asked again for what it types later.
        let act = if self.takes_input {
            act.with("It may read more", "what the agent types while it runs")
        } else {
            act
        };

        act.with_text(&self.command)
    }
}

impl Work for ShellCommand {
    fn operation(&self) -> Operation {
        run_or_sudo(self.shell.user.is_some())
    }

    fn identity(&self) -> String {
        format!("{:?} {}", self.shell, self.spec.identity())
    }

    fn describe(&self) -> ActDescription {
        let doing = match &self.shell.user {
            Some(user) => format!("run this command as {} (sudo)", user.name()),
            None => "run this command".to_owned(),
        };

        ActDescription::new(doing)
            .with("In the persistent shell", self.shell.to_string())
            .with_stdin(self.spec.stdin.as_deref())
            .with_text(&self.spec.command)
    }
}

impl Work for RemoteRead {
    fn operation(&self) -> Operation {
        if self.sudo {
            Operation::Sudo
        } else {
            Operation::Read
        }
    }

    fn describe(&self) -> ActDescription {
        let as_root = if self.sudo { " as root (sudo)" } else { "" };
        ActDescription::new(format!("read this{as_root}")).with("Path", &self.path)
    }
}

impl Work for RemoteWrite {
    fn operation(&self) -> Operation {
        Operation::Run
    }

    fn describe(&self) -> ActDescription {
        ActDescription::new("write to this path, in place of what is there")
            .with("Path", &self.path)
            .with("From", &self.from)
    }
}

impl Work for Edit {
    fn operation(&self) -> Operation {
        run_or_sudo(self.sudo)
    }

    fn describe(&self) -> ActDescription {
        let as_root = if self.sudo { " as root (sudo)" } else { "" };
        let what = match (&self.action, self.dry_run) {
            (EditAction::Content { .. }, false) => "write this content to a file",
            (EditAction::Replace { .. } | EditAction::Patch(_), false) => "edit files",
            (_, true) => "try an edit of files, without writing,",
        };

        let mut act = ActDescription::new(format!("{what}{as_root}"));
        for path in self.action.paths() {
            act = act.with("Path", path);
        }

        match &self.action {
            EditAction::Content { content, .. } => act.with_text(content),
            EditAction::Replace { old, new, all, .. } => {
                let every = if *all { "Every text" } else { "The text" };
                act.with(every, old).with_text(new)
            }
            EditAction::Patch(_) => act.with_text(self.patch.as_deref().unwrap_or_default()),
        }
    }
}

impl Work for ForwardRequest {
    fn operation(&self) -> Operation {
        Operation::Forward
    }

    fn describe(&self) -> ActDescription {
        let (doing, to) = match self.direction {
            ForwardDirection::Local => (
                "forward a port of this machine to the other side",
                "To, as that host reaches it",
            ),
            ForwardDirection::Remote => (
                "forward a port of that host to this machine",
                "To, on this machine",
            ),
        };

        let act = ActDescription::new(doing).with(to, self.to.to_string());
        match &self.listen {
            Some(listen) => act.with("Listening at", listen.to_string()),
            None => act,
        }
    }
}

impl Work for ConfiguredForwarding {
    fn operation(&self) -> Operation {
        Operation::Forward
    }

    fn describe(&self) -> ActDescription {
        let act = ActDescription::new("open the forwards of the SSH configuration");
        self.options
            .iter()
            .fold(act, |act, option| act.with("Option", option))
    }
}

impl Work for JobInput {
    fn operation(&self) -> Operation {
        Operation::Run
    }

    fn describe(&self) -> ActDescription {
        ActDescription::new("send input or a signal to a command that runs")
    }

    fn is_allowed_already(&self) -> bool {
        true
    }
}

fn run_or_sudo(sudo: bool) -> Operation {
    if sudo {
        Operation::Sudo
    } else {
        Operation::Run
    }
}
