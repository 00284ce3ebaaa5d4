//! Errors of tool calls that could not be carried out: the failure, and a hint at the next step.

use rmcp::model::{CallToolResult, ContentBlock};

use crate::{
    openssh::{banner::page, destination::DestinationError},
    render::escape_line,
    session::{
        causes::with_causes,
        error::{Refusal, SessionError},
    },
    ssh::{
        error::{ExecScriptError, HostKeyError, Remedy, SshError, SudoRefusal},
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
    /// Advice for the model about the next step.
    pub(in crate::mcp) hint: String,
}

impl ToolError {
    /// Creates an error. Escapes both texts, which may quote servers and file names.
    pub(in crate::mcp) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        let [message, hint] =
            [message.into(), hint.into()].map(|text| escape_line(text.as_bytes()));
        Self { message, hint }
    }

    /// Returns the error as a failed tool result.
    pub(in crate::mcp) fn into_result(self) -> CallToolResult {
        CallToolResult::error(vec![ContentBlock::text(self.text())])
    }

    /// Returns the message and the hint as two lines.
    pub(in crate::mcp) fn text(&self) -> String {
        format!("{}\nhint: {}", self.message, self.hint)
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
                "connect to the host alone, then run the command with ssh_exec".to_owned()
            }
            SessionError::Destination(_) => {
                "host is a host name, an address, an alias of ~/.ssh/config, user@host or user@host:port".to_owned()
            }
            SessionError::Name(_) => "choose another name".to_owned(),
            SessionError::Store(_) => "see to that file, or start mcp-ssh-sessions with --store FILE".to_owned(),
            SessionError::Ssh { source, .. } => hint_for_ssh(source),
            SessionError::Transfer { source, .. } => match &**source {
                TransferError::Ssh(source) => hint_for_ssh(source),
                source => of_transfer(source).to_owned(),
            },
            SessionError::Detached { source, .. } => of_detached(source).to_owned(),
            SessionError::Unknown { .. } => "call ssh_sessions for the list, or ssh_connect to make it".to_owned(),
            SessionError::NoDefault { .. } => {
                "name one with the parameter session, call ssh_set_default, or make one with ssh_connect".to_owned()
            }
            // Passwords are never saved, so a session of an earlier process has to be given its
            // password again.
            SessionError::NeedsPassword(name) => {
                format!("call ssh_connect with name {name:?}, the same host and the password")
            }
            SessionError::Cancelled => "call again if it is still wanted".to_owned(),
        };

        // The causes name the failed stage and the words of the system or the server.
        Self::new(with_causes(error), hint)
    }
}

/// Returns the advice for a failure of the SSH layer, in the order of the stages of a connection.
fn hint_for_ssh(error: &SshError) -> String {
    match error {
        // Without `ssh -G`, only a part of the ssh_config language can be read.
        SshError::ResolveRun(_) | SshError::ConfigFile { .. } => {
            "install the OpenSSH client (Debian: apt-get install openssh-client)".into()
        }
        SshError::Resolve { .. } | SshError::Config { .. } | SshError::Token { .. } => {
            "run `ssh -G HOST` in a terminal and mend ~/.ssh/config".into()
        }
        // Ignoring an option of this kind would lead to another host, so the session is refused
        // instead.
        SshError::Unsupported { .. } => {
            "name a host that can be reached directly, or drop the option for this host".into()
        }
        // Some servers hold a log-in until the user has opened a page. Trying again at once would
        // not help.
        SshError::Greeted { words, source } if matches!(**source, SshError::Timeout { .. }) && page(words).is_some() => {
            "have the person open the page that the server names, if they expect it; then call again".into()
        }
        SshError::Jump { source, .. } | SshError::Greeted { source, .. } => hint_for_ssh(source),
        // More log-ins may lock the account, so the hint advises against another call.
        SshError::ClosedAtOnce { .. } => {
            "do not call again before the server's log was looked at: the account may be locked, expired or logged in too \
             often, or its home or shell missing; `ssh HOST` in a terminal shows what a person is told"
                .into()
        }
        SshError::Hop { .. } | SshError::ProxyCommand { .. } => {
            "mend ProxyJump or ProxyCommand for this host in ~/.ssh/config".into()
        }
        SshError::Forward { .. } => "check that the host can be reached from the jump host".into(),
        SshError::Lookup { .. } => "check the spelling of host, or the HostName in ~/.ssh/config".into(),
        SshError::Connect { .. } => "check host and port, and that an SSH server is running there".into(),
        // The command was not run, so a second call cannot run it twice.
        SshError::NotSent { .. } => "the link may be dead: call ssh_reconnect, or give more time with timeoutMs".into(),
        SshError::Timeout { .. } => "check that the host can be reached, or give more time with timeoutMs".into(),
        SshError::NoCommonAlgorithm { .. } | SshError::UnsupportedAlgorithms { .. } => {
            "allow an algorithm for this host in ~/.ssh/config that both sides have".into()
        }
        // An overloaded sshd drops connections before the log-in, which looks like a server of
        // another protocol.
        SshError::Handshake { .. } => {
            "check that host and port are those of an SSH server; if they are, the link was cut or the server is busy \
             (MaxStartups, LoginGraceTime): try again"
                .into()
        }
        SshError::HostKey(error) => of_host_key(error),
        SshError::Authentication { remedy, remaining, .. } => of_log_in(*remedy, remaining),
        SshError::KeyFile { passphrase: true, .. } => {
            "give the right passphrase to ssh_connect, or add the key to ssh-agent with ssh-add".into()
        }
        SshError::KeyFile { .. } => "keyPath must name a private key file".into(),
        // `MaxSessions 0` or a restricted account: no connection can have a channel, so waiting
        // does not help.
        SshError::ChannelRefused(_) => {
            "the server lets this account run nothing (MaxSessions in its sshd_config); ask whoever runs it".into()
        }
        SshError::NoRoom { .. } => "wait for a running command or end it, then call again".into(),
        SshError::Lost(_) => "call again: the session reconnects by itself".into(),
        SshError::Script(_) => "write the byte with printf or put it into a file with ssh_upload".into(),
        SshError::ExecScript(ExecScriptError::Nul("the command")) => {
            "write the byte with printf or put it into a file with ssh_upload".into()
        }
        SshError::ExecScript(ExecScriptError::TooLong(_)) => {
            "use ssh_shell, which takes commands of any length, or put it into a file with ssh_upload".into()
        }
        SshError::ExecScript(_) => "mend the parameters cwd and env, or put cd and export into the command".into(),
        SshError::ExecRefused => "it may be for files alone: use ssh_upload and ssh_download".into(),
        // ssh_upload runs no shell, so it can replace a start-up file that breaks every shell.
        SshError::NotBegun { .. } => {
            "mend the command if a syntax error is named; else have ~/.bashrc, ~/.zshenv or the like leave shells without a \
             terminal alone, such as with `[ -t 0 ] || return` at its beginning; ssh_upload can replace the file"
                .into()
        }
        SshError::Sudo { refusal: SudoRefusal::Unanswered, .. } => {
            "the person is asked where the client can show a page (url elicitation) or SSH_ASKPASS is set; a password that was \
             given to ssh_connect is used, too"
                .into()
        }
        // A host with a changed key gets no password, because another machine may have taken its
        // place.
        SshError::Sudo { refusal: SudoRefusal::ChangedHostKey, .. } => {
            "find out why the key has changed, and mend known_hosts; then connect again".into()
        }
        SshError::Sudo { refusal: SudoRefusal::Missing, .. } => "install sudo there, or connect as root".into(),
        SshError::Sudo { refusal: SudoRefusal::Refused, .. } => {
            "the account must be allowed to run its shell (sudo -l lists its rules): for a rule that allows one command, run \
             `sudo -n COMMAND` without the parameter sudo; where sudo wants a terminal, add pty"
                .into()
        }
        SshError::ShellStart(words) => {
            of_words(words).unwrap_or("the account may be restricted; ssh_exec may still work").into()
        }
        SshError::Random(_) | SshError::Cancelled => "call again".into(),
    }
}

/// Returns the advice after a log-in in which no method was accepted. `remaining` lists the methods
/// that the server would still take, comma-separated.
fn of_log_in(remedy: Remedy, remaining: &str) -> String {
    match remedy {
        Remedy::Passphrase => "give the passphrase to ssh_connect, or add the key to ssh-agent with ssh-add".into(),
        Remedy::FewerKeys => {
            "the server takes only so many keys (MaxAuthTries): name the right one with keyPath, or with IdentityFile and \
             IdentitiesOnly yes in ~/.ssh/config"
                .into()
        }
        Remedy::NewPassword => {
            "log in with `ssh HOST` in a terminal and change the password if it asks for that; if the server is only slow, \
             give ssh_connect a longer timeoutMs"
                .into()
        }
        // A lost link says nothing about the credentials, so other credentials would be the wrong
        // advice.
        Remedy::Again => {
            "the connection ended during the log-in, before anything was refused: try again; if it ends each time, the \
             server's log says why"
                .into()
        }
        _ if remaining.is_empty() => {
            "check user, keyPath and password; `ssh HOST` in a terminal shows whether it works at all".into()
        }
        Remedy::Credentials => format!("the server accepts: {remaining}; give user, keyPath or password to ssh_connect accordingly"),
    }
}

/// Returns the advice for words of a server in place of the expected protocol. Returns `None` if
/// the words are not known.
fn of_words(words: &str) -> Option<&'static str> {
    // Words of cloud images, of expired passwords, and of nologin. A row applies if the server said
    // all its parts.
    const HINTS: [(&[&str], &str); 7] = [
        (
            &["as the user"],
            "connect again as the user that the server names: ssh_connect with user",
        ),
        (
            &["password", "expired"],
            "the password has to be changed first: have the person run `ssh HOST` in a terminal, then connect again",
        ),
        (
            &["change", "your password"],
            "the password has to be changed first: have the person run `ssh HOST` in a terminal, then connect again",
        ),
        (
            &["password change required"],
            "the password has to be changed first: have the person run `ssh HOST` in a terminal, then connect again",
        ),
        (
            &["sftp", "only"],
            "the account is for file transfers alone: use ssh_upload and ssh_download",
        ),
        (
            &["account", "not available"],
            "nobody may log in with this account (nologin): connect as another user",
        ),
        (
            &["not ready after"],
            "a startup file of the account waits for something, or asks it: have it do so in terminals alone (`[ -t 0 ]`)",
        ),
    ];

    let words = words.to_lowercase();
    HINTS
        .iter()
        .find(|(parts, _)| parts.iter().all(|part| words.contains(part)))
        .map(|(_, hint)| *hint)
}

/// Returns the advice after a request about a detached job was refused on the remote host.
fn of_detached(error: &Refusal) -> &'static str {
    match error {
        Refusal::Unknown => "call ssh_job without job for the list",
        Refusal::Ended => "read its output with ssh_job, without input",
        Refusal::Running => "wait for its end, or stop it with the parameter signal",
        Refusal::Closed => "start a command with detach and without stdin to feed it later",
        Refusal::Unread => "wait until it reads, or stop it with the parameter signal",
        Refusal::Trouble(_) => {
            "see to that on the remote machine (room on its disk, permissions of the home directory), or leave out detach"
        }
        Refusal::Garbled(_) => "see with ssh_exec whether /bin/sh works there, or leave out detach",
    }
}

/// Returns the advice after a host key was not accepted. The user has to decide about the key,
/// never the model.
fn of_host_key(error: &HostKeyError) -> String {
    match error {
        HostKeyError::Unknown { destination, .. } => format!(
            "have the person run `ssh {destination}` once in a terminal, compare the fingerprint and answer yes; then call again"
        ),
        HostKeyError::Changed { host, file, .. } => format!(
            "have the person find out why; if the host was really reinstalled: `ssh-keygen -R '{host}' -f '{file}'`, then \
             `ssh HOST` once"
        ),
        HostKeyError::Revoked { .. } => "do not connect; the person who revoked the key knows why".into(),
        HostKeyError::Unreadable { .. } => "mend that file or its permissions".into(),
        HostKeyError::Unusable(_) => {
            "see with `ssh -v` what the server shows; HostKeyAlgorithms and RequiredRSASize say what is allowed".into()
        }
    }
}

/// Returns the advice after a failed transfer.
fn of_transfer(error: &TransferError) -> &'static str {
    match error {
        TransferError::NoSftp => "enable `Subsystem sftp` on the server, or move the content with ssh_exec and stdin",
        TransferError::Start(words) => of_words(words).unwrap_or(
            "see that no startup file of the account prints anything, or move the content with ssh_exec and stdin",
        ),
        TransferError::Local { .. } => "check localPath, its permissions and the free space; no file was changed",
        TransferError::Remote { .. } => "check remotePath, its permissions and the free space; no file was changed",
        // The server cannot rename files, so the failed upload has already overwritten the old
        // file.
        TransferError::InPlace { .. } => {
            "call again: the file on the remote host is not whole until an upload succeeds"
        }
        TransferError::Aside { .. } => "see to the directory's permissions, rename the old file back, then call again",
        TransferError::Directory(_) | TransferError::NotADirectory(_) => "give another target, or remove what is there",
        TransferError::Exclude(_) => "patterns are those of gitignore, relative to the directory that is copied",
        // Entries that arrived need not be sent again.
        TransferError::Incomplete { .. } => {
            "see to those entries, then call again; with skipUnchanged: true only what is missing is copied"
        }
        TransferError::Tree(_) => "copy the directories in it one by one, or leave some out with exclude",
        TransferError::Ended { .. } => "call again; for a tree, skipUnchanged: true copies only what is missing",
        TransferError::NotAFile(_) => "name a regular file; ssh_exec with cat reads other things",
        TransferError::Path(_) => "write the path of the file itself",
        TransferError::Length { .. } | TransferError::Differs(_) => "call again when nothing writes to the file",
        // The user has said no. A hint at another way to move the same file would work around that
        // decision.
        TransferError::Guarded { refused: true, .. } => "do something else, or ask them how to go on",
        TransferError::Guarded { is_read: true, .. } => {
            "only the person can send it: in a client that shows forms (elicitation) they are asked; else they copy it \
             themselves, such as with scp"
        }
        TransferError::Guarded { .. } => {
            "download to another place and have the person move it; in a client that shows forms (elicitation) they are \
             asked"
        }
        TransferError::Cancelled | TransferError::Ssh(_) => "call again if it is still wanted",
    }
}
