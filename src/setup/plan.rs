//! Decides what to change for each client, and shows it.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{SetupOptions, error::SetupError, files, journal::ConfigPart, machine::UserMachine};
use crate::{
    client_config::{
        ClientConfigError,
        client::Client,
        hook,
        launch::{Launch, SERVER_NAME},
        servers::{self, Presence},
        splice::Splice,
    },
    edit::diff,
    foreign_text::escape_line,
};

/// What is to be done about one part of one client's configuration.
#[derive(Debug)]
pub(super) struct SetupStep {
    pub(super) client: Client,
    pub(super) part: ConfigPart,
    pub(super) file: PathBuf,
    /// Content of the file as it was read. `None`: there is no file.
    pub(super) before: Option<String>,
    pub(super) action: SetupAction,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum SetupAction {
    /// Run the client's own command, which adds the server. If it does not, the file is changed as
    /// for [`SetupAction::Write`].
    Run {
        /// The client's program.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
        /// What is added.
        launch: Launch,
    },
    /// Replace the file by this text.
    Write {
        /// The new text.
        after: String,
        /// Command of the entry before, if the entry was there.
        previous: Option<Launch>,
        /// Name of the entry.
        name: String,
    },
    /// Nothing, because it is there already.
    Keep(String),
    /// Nothing, because something is in the way.
    Refuse(String),
}

impl SetupStep {
    /// Returns true if the step changes something.
    pub(super) fn is_change(&self) -> bool {
        matches!(
            self.action,
            SetupAction::Run { .. } | SetupAction::Write { .. }
        )
    }

    /// Returns true if the client cannot be set up.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.action, SetupAction::Refuse(_))
    }
}

/// Shows the step to the user. Text of the configuration moves no cursor.
impl fmt::Display for SetupStep {
    fn fmt(&self, output: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.client.name();
        let file = escape_line(self.file.to_string_lossy().as_bytes());

        match &self.action {
            SetupAction::Run {
                program, arguments, ..
            } => {
                let program = program.file_stem().unwrap_or_default().to_string_lossy();
                let line = Launch::new(&program, arguments.iter().map(String::as_str)).shell_line();
                writeln!(output, "{name}: runs {}", escape_line(line))?;
                writeln!(output, "    which changes {file}")
            }
            SetupAction::Write { after, .. } => {
                let verb = if self.before.is_some() {
                    "changes"
                } else {
                    "makes"
                };
                writeln!(output, "{name}: {verb} {file}")?;
                let before = self.before.as_deref().unwrap_or_default();
                for line in changed_lines(before, after) {
                    writeln!(output, "    {}", escape_line(line))?;
                }
                Ok(())
            }
            SetupAction::Keep(why) | SetupAction::Refuse(why) => {
                writeln!(output, "{name}: {}", escape_line(why))
            }
        }
    }
}

/// Returns what a change adds (`+`) and removes (`-`).
///
/// What stays is left out, as far as possible: it may hold keys of other services, and the output
/// may be kept in a log.
fn changed_lines(before: &str, after: &str) -> Vec<String> {
    let Splice { old, new, .. } = Splice::between(before, after);
    if old.is_empty() {
        let added = new.trim_start_matches([',', '\r', '\n']).trim_end();
        return added.lines().map(|line| format!("+{line}")).collect();
    }

    let diff = diff::unified(before.as_bytes(), after.as_bytes(), None);
    let is_changed = |line: &&str| line.starts_with(['+', '-']);
    let changed = diff.text.lines().filter(is_changed);
    changed.map(str::to_owned).collect()
}

/// Returns the steps for the clients that are there.
pub(super) fn steps(machine: &UserMachine, options: &SetupOptions) -> Vec<SetupStep> {
    Client::ALL
        .into_iter()
        .filter(|client| options.includes(*client) && machine.has(*client))
        .map(|client| Candidate {
            machine,
            client,
            shared: options.shared,
        })
        .flat_map(|candidate| {
            let hook = options.hook.then(|| candidate.hook_step()).flatten();
            std::iter::once(candidate.server_step()).chain(hook)
        })
        .collect()
}

/// Client that is there.
struct Candidate<'a> {
    machine: &'a UserMachine,
    client: Client,
    /// True if the server is to be started with `--shared`.
    shared: bool,
}

impl Candidate<'_> {
    /// Makes a step of what `decide` says about the content of a file.
    fn step(
        &self,
        part: ConfigPart,
        file: PathBuf,
        decide: impl FnOnce(&Path, &str) -> Result<SetupAction, SetupError>,
    ) -> SetupStep {
        let mut before = None;
        let decided = files::read(&file).and_then(|content| {
            before = content;
            let action = decide(&file, before.as_deref().unwrap_or_default())?;
            if matches!(action, SetupAction::Run { .. } | SetupAction::Write { .. }) {
                files::changeable(&file)?;
            }
            Ok(action)
        });

        SetupStep {
            client: self.client,
            part,
            file,
            before,
            action: decided.unwrap_or_else(|error| SetupAction::Refuse(error.to_string())),
        }
    }

    /// Decides about the MCP server.
    fn server_step(&self) -> SetupStep {
        let file = self.machine.folders.servers_file(self.client);

        self.step(ConfigPart::Server, file, |file, text| {
            let action = match servers::presence(self.client, text) {
                Ok(Presence::Absent) => self.add_server(file, text),
                Ok(Presence::Ours { name, launch }) => self.update_server(text, name, launch),
                Ok(Presence::Taken) => Ok(SetupAction::Refuse(format!(
                    "another server has the name {SERVER_NAME} already and is left as it is; rename or remove it, then run setup again"
                ))),
                Err(error) => Err(error),
            };
            action.map_err(SetupError::config(file))
        })
    }

    /// Adds the server, by the client's own command if there is one.
    fn add_server(&self, file: &Path, text: &str) -> Result<SetupAction, ClientConfigError> {
        let launch = self.launch(self.shared);

        // Some clients would put a file in the place of a link.
        let own = self.machine.program_of(self.client);
        let own = own.filter(|_| !file.is_symlink());
        if let Some((program, arguments)) = own.zip(launch.add_arguments(self.client)) {
            return Ok(SetupAction::Run {
                program,
                arguments,
                launch,
            });
        }

        Ok(SetupAction::Write {
            after: servers::add(self.client, text, &launch)?,
            previous: None,
            name: SERVER_NAME.to_owned(),
        })
    }

    /// Adds what an entry of our server lacks. Arguments that the user has added stay, unless the
    /// program itself is gone.
    fn update_server(
        &self,
        text: &str,
        name: String,
        launch: Launch,
    ) -> Result<SetupAction, ClientConfigError> {
        let has_shared = launch.has("--shared");
        let updated = if self.machine.find_command(&launch.command).is_none() {
            self.launch(self.shared || has_shared)
        } else if self.shared && !has_shared {
            launch.clone().with("--shared")
        } else {
            return Ok(SetupAction::Keep(format!("has it already, as {name}")));
        };

        Ok(SetupAction::Write {
            after: servers::set_launch(self.client, text, &name, &updated)?,
            previous: Some(launch),
            name,
        })
    }

    /// Returns the command by which this client has to start the server.
    fn launch(&self, shared: bool) -> Launch {
        let launch = self.machine.launch(self.client);
        if shared {
            launch.with("--shared")
        } else {
            launch
        }
    }

    /// Decides about the hook. `None`: the client has no hooks that this program answers, or will
    /// not have our server.
    fn hook_step(&self) -> Option<SetupStep> {
        let file = self.machine.folders.hooks_file(self.client)?;
        let servers = files::read(&self.machine.folders.servers_file(self.client));
        let servers = servers.ok()?.unwrap_or_default();
        let server = match servers::presence(self.client, &servers).ok()? {
            Presence::Absent => SERVER_NAME.to_owned(),
            Presence::Ours { name, .. } => name,
            Presence::Taken => return None,
        };

        let step = self.step(ConfigPart::Hook, file, |file, text| {
            self.decide_hook(text, &servers, &server)
                .map_err(SetupError::config(file))
        });
        Some(step)
    }

    /// Adds the hook where it is missing. A hook that the user has written stays, unless its program
    /// is gone.
    fn decide_hook(
        &self,
        hooks: &str,
        servers: &str,
        server: &str,
    ) -> Result<SetupAction, ClientConfigError> {
        let is_in_other_file = self.client == Client::Codex && hook::is_in_codex_config(servers)?;
        let works = hook::find(self.client, hooks)?
            .is_some_and(|command| self.machine.find_command(hook::program(&command)).is_some());
        if is_in_other_file || works {
            return Ok(SetupAction::Keep("has the hook already".to_owned()));
        }

        let own = self.machine.own_program();
        let command = hook::command(&own.to_string_lossy());

        Ok(SetupAction::Write {
            after: hook::add(self.client, hooks, &command, server)?,
            previous: None,
            name: "hook".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_an_entry_are_not_shown() {
        let launch = Launch::new("npx", ["mcp-ssh-sessions"]);
        for before in [
            r#"{"mcpServers":{"x":{"env":{"KEY":"secret"}}}}"#,
            "{\n  \"mcpServers\": {\n    \"x\": {\"env\": {\"KEY\": \"secret\"}}\n  }\n}\n",
        ] {
            let after = servers::add(Client::Cursor, before, &launch).unwrap();
            let shown = changed_lines(before, &after).join("\n");
            assert!(!shown.contains("secret"), "{shown}");
            assert!(
                shown.starts_with('+') && shown.contains("\"ssh\": {"),
                "{shown}"
            );
        }
    }

    #[test]
    fn an_update_shows_the_line_before_and_after() {
        let before = "{\n  \"args\": [\"a\"]\n}\n";
        let after = "{\n  \"args\": [\"b\"]\n}\n";
        assert_eq!(
            changed_lines(before, after),
            ["-  \"args\": [\"a\"]", "+  \"args\": [\"b\"]"]
        );
    }
}
