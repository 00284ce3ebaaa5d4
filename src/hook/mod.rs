//! The command `mcp-ssh-sessions hook`: a hook of Claude Code and Codex that knows the settings.
//!
//! The client runs it before each call of a tool, with a description of the call on standard input.
//! The answer lets a call go without a question, has the client ask the user, or denies it. The
//! server decides about its own tools once more and knows more names of a host, so an answer that
//! is too lenient here opens nothing.

mod answer;
mod call;
mod hosts;
mod judge;
mod plain_ssh;
mod shell_words;

use std::{
    io::{self, Read},
    path::PathBuf,
    sync::Arc,
};

use self::{
    answer::{Wish, answer},
    call::{CalledTool, HookCall},
    hosts::Hosts,
    judge::Judge,
    plain_ssh::{PlainSsh, plain_ssh},
};
use crate::{
    mcp::{Touch, touches},
    session::{causes::with_causes, settings_file::SettingsFile},
};

/// Limit of the description of a call, in bytes (64 MiB). A client describes whole files that it
/// writes.
const MAX_INPUT_BYTES: u64 = 64 * 1024 * 1024;

/// What the hook gives to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookOutput {
    /// Nothing. The client decides as it does without a hook.
    Nothing,
    /// One line of JSON for standard output.
    Answer(String),
    /// Reason for standard error. With exit status 2 the client does not make the call.
    Blocked(String),
}

/// Files that say what a call does and what is allowed.
#[derive(Debug)]
pub struct HookFiles {
    /// Settings file.
    pub settings: SettingsFile,
    /// SSH configuration (`ssh -F`); `None` stands for the usual files.
    pub ssh_config: Option<PathBuf>,
    /// File of saved sessions.
    pub store: Option<PathBuf>,
}

/// Answers to one call, which the client describes in `input`.
///
/// Without a settings file the answer is [`HookOutput::Nothing`], whatever the client describes. With
/// one, a description that cannot be read blocks the call.
pub fn run(input: impl Read, files: &HookFiles) -> HookOutput {
    // Read to its end in any case: the client may mind a closed pipe.
    let text = read_all(input);

    let settings = match files.settings.current() {
        Ok(None) => return HookOutput::Nothing,
        Ok(Some(settings)) => Ok(settings),
        Err(error) => Err(with_causes(&error)),
    };

    let call = match text
        .map_err(|error| error.to_string())
        .and_then(|text| HookCall::parse(&text).map_err(|error| error.to_string()))
    {
        Ok(Some(call)) => call,
        Ok(None) => return HookOutput::Nothing,
        Err(problem) => return HookOutput::Blocked(format!("{problem}; nothing is done")),
    };

    let works = works(&call.tool);
    if works.is_empty() {
        return HookOutput::Nothing;
    }

    let wish = match settings {
        Err(problem) => Some(Wish::Deny(problem)),
        Ok(settings) => {
            let judge = Judge {
                hosts: Hosts::new(
                    Arc::clone(&settings),
                    files.ssh_config.clone(),
                    files.store.clone(),
                ),
                settings,
            };

            Wish::strictest(works.iter().map(|work| judge.wish(work)))
        }
    };

    wish.and_then(|wish| answer(&call, wish))
        .map_or(HookOutput::Nothing, HookOutput::Answer)
}

fn read_all(input: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let read = input.take(MAX_INPUT_BYTES + 1).read_to_end(&mut text)?;

    if u64::try_from(read).is_ok_and(|read| read > MAX_INPUT_BYTES) {
        return Err(io::Error::other("the client's description is too long"));
    }

    Ok(text)
}

/// Work on a host, by a tool of the server or by a program of this machine.
enum Work {
    Tool(Touch),
    Plain(PlainSsh),
}

/// Returns the work of a call. A tool of another server does none, and neither does a command line
/// without a program that speaks SSH.
fn works(tool: &CalledTool) -> Vec<Work> {
    match tool {
        CalledTool::Mcp { name, arguments } => {
            let touches = touches(name, arguments.clone());
            touches.into_iter().map(Work::Tool).collect()
        }
        CalledTool::Shell(line) => plain_ssh(line).into_iter().map(Work::Plain).collect(),
    }
}
