//! What a command line says up to the cursor, and what can follow.

use std::ffi::OsString;

use clap::{Arg, Command};

/// Command line up to the word at the cursor.
#[derive(Debug)]
pub(super) struct TypedLine<'a> {
    /// Command of the line: the innermost subcommand that was named.
    pub(super) command: &'a Command,
    /// Option before the cursor, whose value follows.
    open: Option<&'a Arg>,
    /// Number of arguments of the command that are complete.
    arguments: usize,
    /// True after `--`: no option and no subcommand follows.
    is_escaped: bool,
    /// Options with their values.
    given: Vec<(&'a Arg, String)>,
}

/// What can stand at the cursor.
#[derive(Debug)]
pub(super) enum ExpectedWord<'a> {
    /// Value of an option. `prefix` is what stands before the value in the same word.
    Value { option: &'a Arg, prefix: &'a str },
    /// Name of an option.
    Option,
    /// Argument, if the command takes one more; and subcommands.
    Argument {
        argument: Option<&'a Arg>,
        commands: bool,
    },
}

impl<'a> TypedLine<'a> {
    /// Reads the words before the cursor, without the name of the program.
    pub(super) fn read(program: &'a Command, before: &[OsString]) -> Self {
        let mut line = Self {
            command: program,
            open: None,
            arguments: 0,
            is_escaped: false,
            given: Vec::new(),
        };

        for word in before {
            line.add(&word.to_string_lossy());
        }

        line
    }

    /// Returns the value of an option of this line. The last one counts.
    pub(super) fn value(&self, id: &str) -> Option<&str> {
        let found = self.given.iter().rfind(|(option, _)| option.get_id() == id);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns what can stand in place of the word at the cursor.
    pub(super) fn expected(&self, word: &'a str) -> ExpectedWord<'a> {
        if let Some(option) = self.open {
            return ExpectedWord::Value { option, prefix: "" };
        }

        if word.starts_with('-') && !self.is_escaped {
            let value = word.split_once('=');
            let option = value.and_then(|(name, _)| self.option(name));

            return match (option, value) {
                (Some(option), Some((_, value))) => ExpectedWord::Value {
                    option,
                    prefix: word.strip_suffix(value).unwrap_or(word),
                },
                _ => ExpectedWord::Option,
            };
        }

        ExpectedWord::Argument {
            argument: self.command.get_positionals().nth(self.arguments),
            commands: self.arguments == 0 && !self.is_escaped,
        }
    }

    /// Adds a complete word.
    fn add(&mut self, word: &str) {
        if let Some(option) = self.open.take() {
            self.given.push((option, word.to_owned()));
            return;
        }

        if self.is_escaped {
            self.arguments += 1;
            return;
        }

        if word == "--" {
            self.is_escaped = true;
            return;
        }

        if word.starts_with('-') {
            match word.split_once('=') {
                Some((name, value)) => {
                    let option = self.option(name);
                    self.given.extend(option.map(|one| (one, value.to_owned())));
                }
                None => self.open = self.option(word),
            }
            return;
        }

        match self.command.find_subcommand(word) {
            Some(command) if self.arguments == 0 => self.command = command,
            _ => self.arguments += 1,
        }
    }

    /// Returns the option of this name, such as `--store`, if it takes a value.
    fn option(&self, name: &str) -> Option<&'a Arg> {
        let name = name.strip_prefix("--")?;
        self.command
            .get_arguments()
            .find(|option| option.get_long() == Some(name) && option.get_action().takes_values())
    }
}
