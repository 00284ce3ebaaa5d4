//! The command `mcp-ssh-sessions setup`, which adds this server to the AI clients of this user, and
//! takes it back.
//!
//! [`client_config`](crate::client_config) knows what to change. This part finds the clients, shows
//! the changes, makes them, and keeps what `--undo` needs.

mod apply;
pub mod error;
mod files;
mod footprint;
mod journal;
pub mod machine;
mod plan;
mod undo;

use std::io::{self, BufRead as _, IsTerminal as _, Write};

use self::{error::SetupError, journal::Journal, machine::UserMachine, plan::SetupStep};
use crate::{client_config::client::Client, foreign_text::escape_line};

/// What the user wants of `setup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupOptions {
    /// The clients to set up. Empty: all that are installed.
    pub clients: Vec<Client>,
    /// Make the changes without a question.
    pub yes: bool,
    /// Start the server with `--shared`.
    pub shared: bool,
    /// Add the hook, too.
    pub hook: bool,
}

impl SetupOptions {
    /// Returns true if this client is meant.
    fn includes(&self, client: Client) -> bool {
        self.clients.is_empty() || self.clients.contains(&client)
    }
}

/// Shows the changes, and makes them after a yes. Returns false if a client could not be set up.
///
/// The question is asked on the terminal. Without a terminal, the changes are only shown.
///
/// # Errors
/// The home directory is not known, or the output cannot be written.
pub async fn run(options: &SetupOptions, output: &mut dyn Write) -> Result<bool, SetupError> {
    let machine = UserMachine::of_this_user()?;
    let steps = plan::steps(&machine, options);
    for step in &steps {
        write!(output, "{step}")?;
    }

    let missing: Vec<&str> = Client::ALL
        .into_iter()
        .filter(|client| options.includes(*client) && !machine.has(*client))
        .map(Client::name)
        .collect();
    if !missing.is_empty() {
        writeln!(output, "Not found: {}", missing.join(", "))?;
    }

    let is_fine = !steps.iter().any(SetupStep::is_refused);
    if !steps.iter().any(SetupStep::is_change) {
        writeln!(output, "Nothing to change.")?;
        return Ok(is_fine);
    }

    if !options.yes && !io::stdin().is_terminal() {
        writeln!(
            output,
            "Nothing was changed, because there is no terminal to ask on. To make the changes, run it again with --yes."
        )?;
        return Ok(is_fine);
    }

    if !options.yes && !is_wanted(output)? {
        writeln!(output, "Nothing was changed.")?;
        return Ok(is_fine);
    }

    let mut journal = Journal::open()?;
    let mut is_done = is_fine;
    for step in steps.iter().filter(|step| step.is_change()) {
        match apply::apply(&machine, step, &mut journal).await {
            Ok(done) => writeln!(output, "{}: {}", step.client.name(), escape_line(done))?,
            Err(error) => {
                is_done = false;
                writeln!(
                    output,
                    "{}: {}",
                    step.client.name(),
                    escape_line(error.to_string())
                )?;
            }
        }
    }

    writeln!(
        output,
        "Restart the clients to use it. To take everything back: mcp-ssh-sessions setup --undo"
    )?;
    Ok(is_done)
}

/// Takes back what [`run`] has changed for these clients (empty: all). Returns false if something
/// could not be taken back.
///
/// # Errors
/// The record of the changes cannot be read, or the output cannot be written.
pub fn undo(clients: &[Client], output: &mut dyn Write) -> Result<bool, SetupError> {
    let mut journal = Journal::open()?;
    let wanted =
        |client: &str| clients.is_empty() || clients.iter().any(|wanted| wanted.id() == client);

    let mut is_done = true;
    let mut kept = Vec::new();
    let mut undone = 0;

    // The last change first: an earlier one describes the file as it was before the later one.
    for change in journal.take().into_iter().rev() {
        if !wanted(&change.client) {
            kept.push(change);
            continue;
        }

        let name = Client::from_id(&change.client).map_or("unknown client", Client::name);
        match undo::undo(&change) {
            Ok(done) => {
                undone += 1;
                writeln!(output, "{name}: {}", escape_line(done))?;
            }
            Err(error) => {
                is_done = false;
                kept.push(change);
                writeln!(output, "{name}: {}", escape_line(error.to_string()))?;
            }
        }
    }

    if undone == 0 && is_done {
        writeln!(output, "There is nothing to undo.")?;
    }

    kept.reverse();
    journal.replace(kept)?;
    Ok(is_done)
}

/// Asks for a yes on the terminal.
fn is_wanted(output: &mut dyn Write) -> io::Result<bool> {
    write!(output, "Make these changes? [y/N] ")?;
    output.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;

    Ok(matches!(
        answer.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}
