//! Errors of tool calls that could not be carried out: the failure, and a hint at the next step.

use rmcp::model::{CallToolResult, ContentBlock};

use crate::{
    foreign_text::escape_line,
    openssh::destination::DestinationError,
    session::{
        causes::with_causes,
        error::{Refusal, SessionError},
    },
    ssh::{
        error::{Audience, words_hint},
        transfer::TransferError,
    },
};

/// Failure of a tool call, as a message and a hint. Each is escaped to a single line, whatever
/// names it contains.
///
/// The error becomes a failed tool result, which the model reads. A JSON-RPC error might never
/// reach the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mcp) struct ToolError {
    /// Description of the failure.
    pub(in crate::mcp) message: String,
    /// Lines below the message that show details.
    details: Vec<String>,
    /// Advice for the model about the next step.
    pub(in crate::mcp) hint: String,
    /// Kind of the failure, for the audit log.
    pub(in crate::mcp) kind: &'static str,
}

impl ToolError {
    /// Creates an error. Escapes both texts, which may quote servers and file names.
    pub(in crate::mcp) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        let [message, hint] =
            [message.into(), hint.into()].map(|text| escape_line(text.as_bytes()));
        Self {
            message,
            details: Vec::new(),
            hint,
            kind: "request",
        }
    }

    /// Adds lines below the message. Escapes each of them.
    pub(in crate::mcp) fn with_details<'a>(
        mut self,
        lines: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let lines = lines.into_iter().map(|line| escape_line(line.as_bytes()));
        self.details.extend(lines);
        self
    }

    /// Returns the error as a failed tool result.
    pub(in crate::mcp) fn into_result(self) -> CallToolResult {
        CallToolResult::error(vec![ContentBlock::text(self.text())])
    }

    /// Returns the message, the details and the hint, each on lines of its own.
    pub(in crate::mcp) fn text(&self) -> String {
        let hint = format!("hint: {}", self.hint);
        let lines = std::iter::once(&self.message)
            .chain(&self.details)
            .chain([&hint]);

        lines.map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

impl From<SessionError> for ToolError {
    fn from(error: SessionError) -> Self {
        Self::from(&error)
    }
}

impl From<&SessionError> for ToolError {
    fn from(error: &SessionError) -> Self {
        // Every error has a hint, because the model decides by the answer whether to try again.
        let hint = match error {
            SessionError::Destination(DestinationError::Option(_)) => {
                "put the option into ~/.ssh/config for this host; -p, -l and -i are understood".to_owned()
            }
            SessionError::Destination(DestinationError::Command(_)) => {
                "connect to the host without a command, then run the command with ssh_exec".to_owned()
            }
            SessionError::Destination(_) => {
                "give host as a host name, an address, an alias of ~/.ssh/config, user@host or user@host:port".to_owned()
            }
            SessionError::Name(_) => "choose another name".to_owned(),
            SessionError::Store(_) => "fix that file, or start mcp-ssh-sessions with --store FILE".to_owned(),
            SessionError::Ssh { source, .. } => source.hint(Audience::Agent),
            SessionError::Transfer { source, .. } => match &**source {
                TransferError::Ssh(source) => source.hint(Audience::Agent),
                source => of_transfer(source).to_owned(),
            },
            SessionError::Detached { source, .. } => of_detached(source).to_owned(),
            SessionError::NoMatch { .. } => "call ssh_sessions for the list".to_owned(),
            SessionError::Unknown { name, .. } => {
                format!("call ssh_sessions for the list, or ssh_connect with host {name:?}")
            }
            SessionError::UnknownHost { name, .. } => format!("call ssh_connect with host {name:?}"),
            SessionError::NoDefault { hosts, .. } if !hosts.is_empty() => {
                "name one with the parameter session, or connect another with ssh_connect".to_owned()
            }
            SessionError::NoDefault { .. } => {
                "name one with the parameter session, call ssh_set_default, or make one with ssh_connect".to_owned()
            }
            // Passwords are never saved, so a session of an earlier process has to be given its
            // password again.
            SessionError::NeedsPassword(name) => {
                format!("call ssh_connect with name {name:?}, the same host and the password")
            }
            SessionError::NotAllowed { refusal, .. } => refusal.hint.clone(),
            SessionError::Cancelled => "call again if it is still wanted".to_owned(),
        };

        // The causes name the failed stage and the words of the system or the server.
        Self {
            kind: error.kind(),
            ..Self::new(with_causes(error), hint)
        }
    }
}

/// Returns the advice after a request about a detached job was refused on the remote host.
fn of_detached(error: &Refusal) -> &'static str {
    match error {
        Refusal::Unknown => "call ssh_job without job for the list",
        Refusal::Ended => "read its output with ssh_job, without input",
        Refusal::Running => "wait for its end, or stop it with the parameter signal",
        Refusal::Closed => "start a command with detach and without stdin to feed it later",
        Refusal::Unread => "wait until it reads, or stop it with the parameter signal",
        Refusal::Failed(_) => {
            "fix that on the remote host (room on its disk, permissions of the home directory), or leave out detach"
        }
        Refusal::NoShell(_) => {
            "move and change files with ssh_upload, ssh_download, ssh_read and ssh_edit, or connect as a user who may run commands"
        }
        Refusal::Garbled(_) => "check with ssh_exec that /bin/sh works there, or leave out detach",
    }
}

/// Returns the advice after a failed transfer.
fn of_transfer(error: &TransferError) -> &'static str {
    match error {
        TransferError::NoSftp | TransferError::NoShell(_) => "enable `Subsystem sftp` on the server, or move the content with ssh_exec and stdin",
        TransferError::Start(words) => words_hint(words).unwrap_or(
            "check that no startup file of the account prints anything, or move the content with ssh_exec and stdin",
        ),
        TransferError::ReadOnly => "write with ssh_exec if the account runs commands; otherwise ask the person for an account that may write",
        TransferError::Local { .. } => "check localPath, its permissions and the free space; no file was changed",
        TransferError::Remote { .. } => "check remotePath, its permissions and the free space; no file was changed",
        // The server cannot rename files, so the failed upload has already overwritten the old
        // file.
        TransferError::InPlace { .. } => {
            "call again: the file on the remote host is not whole until an upload succeeds"
        }
        TransferError::Aside { .. } => "fix the directory's permissions, rename the old file back, then call again",
        TransferError::Origin { source, .. } => of_transfer(source),
        TransferError::Itself(_) => "give another target",
        TransferError::Directory(_) | TransferError::NotADirectory(_) => "give another target, or remove what is there",
        TransferError::Exclude(_) => "write the patterns as in gitignore, relative to the directory that is copied",
        // Entries that arrived need not be sent again.
        TransferError::Incomplete { .. } => {
            "fix those entries, then call again with skipUnchanged: true, which copies only what is missing"
        }
        TransferError::Tree(_) => "copy the directories in it one by one, or leave some out with exclude",
        TransferError::Ended { .. } => "call again; for a tree, skipUnchanged: true copies only what is missing",
        TransferError::Edit(_) => "read the file with ssh_read, then call again",
        TransferError::NotAFile(_) => "name a regular file; ssh_exec with cat reads other things",
        TransferError::Path(_) => "write the path of the file itself",
        TransferError::Length { .. } | TransferError::Differs(_) => "call again when nothing writes to the file",
        // The user has said no. A hint at another way to move the same file would work around that
        // decision.
        TransferError::Guarded { refused: true, .. } => "do something else, or ask them how to go on",
        TransferError::Guarded { is_read: true, .. } => {
            "use a client that shows forms (elicitation), in which the person is asked, or have them copy it themselves, \
             such as with scp"
        }
        TransferError::Guarded { .. } => {
            "download to another place and have the person move it, or use a client that shows forms (elicitation), in \
             which they are asked"
        }
        TransferError::Cancelled | TransferError::Ssh(_) => "call again if it is still wanted",
    }
}
