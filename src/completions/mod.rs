//! Completion of command lines in the shells of users.
//!
//! The scripts are in the folder `completions`. A script runs the hidden command `complete` with
//! the words of the line, and offers what [`complete`] prints. So a script knows no options, and
//! quotes names in the way of its shell.

mod hosts;
mod line;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{Arg, Command, CommandFactory as _, ValueHint};

use self::{
    hosts::hosts,
    line::{ExpectedWord, TypedLine},
};
use crate::{
    cli::{CompletedShell, Options},
    foreign_text::escape_line,
};

/// Returns the script that completes command lines in this shell.
#[must_use]
pub fn script(shell: CompletedShell) -> &'static str {
    match shell {
        CompletedShell::Bash => include_str!("../../completions/mcp-ssh-sessions.bash"),
        CompletedShell::Elvish => include_str!("../../completions/mcp-ssh-sessions.elv"),
        CompletedShell::Fish => include_str!("../../completions/mcp-ssh-sessions.fish"),
        CompletedShell::PowerShell => include_str!("../../completions/_mcp-ssh-sessions.ps1"),
        CompletedShell::Zsh => include_str!("../../completions/_mcp-ssh-sessions"),
    }
}

/// Something that can stand at the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Completion {
    value: String,
    /// Empty if there is nothing to say.
    description: String,
}

impl Completion {
    fn new(value: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            description: description.into(),
        }
    }
}

/// What a shell offers at the cursor.
enum CompletionOffer {
    /// Names of local files, which the shell lists itself.
    Files,
    Words(Vec<Completion>),
}

/// Returns what can stand in place of `word`, after the words `before` it. The name of the program
/// is not among these.
///
/// The first line of the answer is `files` if the shell is to offer names of local files. Otherwise
/// it is `words`, and each further line is a candidate: its text, or its text, a tab and a
/// description. Candidates need not begin with `word`; the shell compares them. `options` names the
/// files that the line does not name. No host is contacted and no program is run.
#[must_use]
pub fn complete(word: &str, before: &[OsString], options: &Options) -> String {
    let mut program = Options::command();
    program.build();

    let line = TypedLine::read(&program, before);
    let offer = match line.expected(word) {
        ExpectedWord::Value { option, prefix } => match values(option, word, &line, options) {
            CompletionOffer::Words(words) => CompletionOffer::Words(prefixed(words, prefix)),
            CompletionOffer::Files => CompletionOffer::Files,
        },
        ExpectedWord::Option => CompletionOffer::Words(names_of_options(line.command)),
        ExpectedWord::Argument { argument, commands } => {
            let mut offer = argument.map_or(CompletionOffer::Words(Vec::new()), |argument| {
                values(argument, word, &line, options)
            });

            if commands && let CompletionOffer::Words(words) = &mut offer {
                words.extend(names_of_commands(line.command));
            }

            match offer {
                CompletionOffer::Words(words) if words.is_empty() => {
                    CompletionOffer::Words(names_of_options(line.command))
                }
                offer => offer,
            }
        }
    };

    text(&offer)
}

/// Returns the values of an option or argument.
fn values(argument: &Arg, word: &str, line: &TypedLine, options: &Options) -> CompletionOffer {
    match argument.get_value_hint() {
        ValueHint::Hostname => {
            let named = |name, or: Option<PathBuf>| line.value(name).map(PathBuf::from).or(or);
            let config = named("ssh_config", options.ssh_config.clone());
            let store = named("store", options.store_path());

            CompletionOffer::Words(hosts(word, config.as_deref().map(Path::as_ref), store))
        }
        ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath => CompletionOffer::Files,
        _ => {
            let values = argument.get_possible_values().into_iter();
            let shown = values.filter(|value| !value.is_hide_set());
            let words = shown.map(|value| {
                let help = value.get_help().map(ToString::to_string);
                Completion::new(value.get_name(), help.unwrap_or_default())
            });

            CompletionOffer::Words(words.collect())
        }
    }
}

/// Returns the options of a command.
fn names_of_options(command: &Command) -> Vec<Completion> {
    let shown = command
        .get_arguments()
        .filter(|option| !option.is_hide_set());

    shown
        .filter_map(|option| {
            let help = option.get_help().map(ToString::to_string);
            let name = format!("--{}", option.get_long()?);
            Some(Completion::new(name, help.unwrap_or_default()))
        })
        .collect()
}

/// Returns the commands below a command.
fn names_of_commands(command: &Command) -> Vec<Completion> {
    let shown = command.get_subcommands().filter(|one| !one.is_hide_set());

    shown
        .map(|one| {
            let about = one.get_about().map(ToString::to_string);
            Completion::new(one.get_name(), about.unwrap_or_default())
        })
        .collect()
}

/// Puts the text in front of an option's value, such as `--log=`, before each candidate.
fn prefixed(words: Vec<Completion>, prefix: &str) -> Vec<Completion> {
    let words = words.into_iter();
    words
        .map(|word| Completion::new(format!("{prefix}{}", word.value), word.description))
        .collect()
}

/// Returns the answer for a script.
fn text(offer: &CompletionOffer) -> String {
    let CompletionOffer::Words(words) = offer else {
        return "files\n".to_owned();
    };

    let mut lines = "words\n".to_owned();
    for Completion { value, description } in words {
        lines.push_str(value);

        if !description.is_empty() {
            lines.push('\t');
            lines.push_str(&escape_line(description));
        }

        lines.push('\n');
    }

    lines
}
