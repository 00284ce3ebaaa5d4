//! Hints at the next step after an error of the SSH layer: the only table of such hints.

use super::{ExecScriptError, HostKeyError, Remedy, SshError, SudoRefusal};
use crate::{framing::exec::UnixOnly, openssh::banner::page};

/// Instruction about a proxy of the configuration that cannot be used.
const OTHER_PROXY: &str = "fix ProxyJump or ProxyCommand for this host in the SSH configuration";
/// Instruction about a forward of the configuration that is not open.
const OTHER_FORWARD: &str = "free that address, or change the forward in the SSH configuration";

/// Reader of a hint. The table has one text for all readers, except where they can do different
/// things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience<'a> {
    /// The agent, which calls the tools and passes on to the person what only the person may do.
    Agent,
    /// The person, who has a terminal.
    Person {
        /// Arguments for `ssh` in a shell which reach the destination.
        ssh: &'a str,
    },
}

impl Audience<'_> {
    /// Returns the arguments for `ssh`; a placeholder for the agent, who knows the destination.
    fn ssh(&self) -> &str {
        match self {
            Self::Agent => "HOST",
            Self::Person { ssh } => ssh,
        }
    }

    /// Returns an instruction that only the person may follow, in words for this reader.
    fn by_person(self, instruction: &str) -> String {
        match self {
            Self::Agent => format!("have the person {instruction}"),
            Self::Person { .. } => instruction.to_owned(),
        }
    }
}

impl SshError {
    /// Returns a hint at the next step: one instruction on a single line, unless the error quotes
    /// line breaks.
    #[must_use]
    pub fn hint(&self, audience: Audience<'_>) -> String {
        let ssh = audience.ssh();

        // In the order of the stages of a connection.
        match self {
            Self::NotAllowed(not_allowed) => not_allowed.hint.clone(),
            // Without `ssh -G`, only a part of the ssh_config language can be read.
            Self::ResolveRun(_) | Self::ConfigFile { .. } => {
                "install the OpenSSH client (Debian: apt-get install openssh-client)".into()
            }
            Self::Resolve { .. } | Self::Config { .. } | Self::Token { .. } => {
                format!("fix the SSH configuration; run `ssh -G {ssh}` in a terminal to check it")
            }
            // Ignoring an option of this kind would lead to another host, so the session is refused
            // instead.
            Self::Unsupported { .. } => "remove the option for this host from the SSH \
                 configuration, or name a host that can be reached directly"
                .into(),
            Self::Hop { .. } | Self::ProxyCommand { .. } => OTHER_PROXY.into(),
            Self::Jump { source, hop } => {
                let hint = match &**source {
                    // Of what a tool is given, only the passphrase applies to a jump host.
                    Self::Authentication {
                        remedy: Remedy::Credentials,
                        ..
                    } => "name a user and a key that it accepts (User, IdentityFile in the SSH \
                         configuration), or have a key put into authorized_keys there"
                        .into(),
                    source => source.hint(audience),
                };
                format!("for the jump host {hop}: {hint}")
            }
            Self::Forward { .. } => "check that the jump host can reach this host and may forward \
                 (AllowTcpForwarding in its sshd_config)"
                .into(),
            Self::ConfiguredForward { .. } => audience.by_person(OTHER_FORWARD),
            Self::Lookup { .. } => {
                "check the spelling of the host, or its HostName in the SSH configuration".into()
            }
            Self::Connect { .. } => "check host and port, that an SSH server runs there, and that \
                 no firewall is in the way"
                .into(),
            // A timeout does not tell which part of the way drops packets.
            Self::Timeout { .. } => {
                let next = match audience {
                    Audience::Agent => "or give more time with timeoutMs",
                    Audience::Person { .. } => "then try again",
                };
                format!("check that the host is up and no firewall or VPN is in the way, {next}")
            }
            // Some servers hold a log-in until the user has opened a page. Trying again at once
            // would not help.
            Self::Greeted { words, source }
                if matches!(**source, Self::Timeout { .. }) && page(words.raw()).is_some() =>
            {
                let page = audience.by_person("open the page that the server names, if expected");
                format!("{page}; then try again")
            }
            Self::Greeted { source, .. } => source.hint(audience),
            // An overloaded sshd drops connections before the log-in, which looks like a server of
            // another protocol.
            Self::Handshake { .. } => "check that host and port are those of an SSH server; if \
                 they are, try again: the link was cut or the server is busy (MaxStartups, \
                 PerSourcePenalties, LoginGraceTime)"
                .into(),
            Self::NoCommonAlgorithm { .. }
            | Self::UnsupportedAlgorithms { .. }
            | Self::HostKeySignature => audience.by_person(&self.algorithm_remedy()),
            Self::HostKey(error) => host_key_hint(error, audience),
            Self::KeyFile {
                path,
                passphrase: true,
                ..
            } => format!(
                "run `ssh-add {}` in a terminal, or give ssh_connect the right passphrase",
                path.display()
            ),
            Self::KeyFile { .. } => "name another private key file, or fix this one".into(),
            Self::Authentication {
                remedy, remaining, ..
            } => log_in_hint(*remedy, remaining, audience),
            // More log-ins may lock the account, so the agent is advised against another call.
            Self::ClosedAtOnce { .. } => {
                let look = audience.by_person(&format!(
                    "run `ssh {ssh}` in a terminal and read the server's log: the account may be \
                     locked, expired or logged in too often, or its home or shell missing"
                ));
                match audience {
                    Audience::Agent => format!("do not call again yet; {look}"),
                    Audience::Person { .. } => look,
                }
            }
            Self::Lost(_) => match audience {
                Audience::Agent => "call again: the session reconnects by itself".into(),
                Audience::Person { .. } => {
                    format!("try again; run `ssh -v {ssh}` to see whether OpenSSH connects")
                }
            },
            // `MaxSessions 0` or a restricted account: no connection can have a channel, so waiting
            // does not help.
            Self::ChannelRefused(_) => "ask whoever runs the server: it lets this account run \
                 nothing (MaxSessions in its sshd_config)"
                .into(),
            Self::Random(_) | Self::Cancelled | Self::OtherShell => "try again".into(),
            Self::NoRoom { .. }
            | Self::NotSent { .. }
            | Self::SecondChannel
            | Self::Script(_)
            | Self::ExecScript(_)
            | Self::ExecRefused
            | Self::ShellRefused
            | Self::NotBegun { .. }
            | Self::Sudo { .. }
            | Self::ShellStart(_) => self.command_hint(),
        }
    }

    /// Returns the hint for a command that was not run, or was cut off. Only tools run commands, so
    /// the reader is the agent.
    fn command_hint(&self) -> String {
        let hint = match self {
            Self::NoRoom { .. } => "wait for a running command or end it, then call again",
            // The command was not run, so a second call cannot run it twice.
            Self::NotSent { .. } => {
                "call ssh_reconnect, because the link may be dead, or give more time with timeoutMs"
            }
            Self::SecondChannel => "check what the command has done so far, then run it again",
            Self::Script(_) | Self::ExecScript(ExecScriptError::Nul("the command")) => {
                "write the byte with printf, or put it into a file with ssh_upload"
            }
            Self::ExecScript(ExecScriptError::TooLong(_)) => {
                "use ssh_shell, which takes commands of any length, or put the command into a file \
                 with ssh_upload"
            }
            Self::ExecScript(
                ExecScriptError::SeveralLines("the command")
                | ExecScriptError::TooLongForWindows { .. },
            ) => {
                "write the lines to a .ps1 or .cmd file with ssh_edit and run the file, or join them with &"
            }
            Self::ExecScript(ExecScriptError::NotOnWindows(wanted)) => match wanted {
                UnixOnly::Sudo => {
                    "leave out sudo: an administrator's commands have all rights already; otherwise \
                     connect as an administrator"
                }
                UnixOnly::Detach => {
                    "use background: true, which lasts as long as the connection, or `schtasks /create`"
                }
                UnixOnly::Shell => {
                    "use ssh_exec, with cwd and env; `powershell -Command \"…\"` runs PowerShell there"
                }
            },
            Self::ExecScript(_) => {
                "fix the parameters cwd and env, or put cd and export into the command"
            }
            // A device or a menu has no commands, only a dialogue.
            Self::ExecRefused => {
                "of a device or a menu, open the shell: ssh_exec with pty: true and command \"\", then \
                 ssh_job with input; of an account for files only, use ssh_upload and ssh_download"
            }
            Self::ShellRefused => {
                "run a command with ssh_exec; of an account for files only, use ssh_upload and \
                 ssh_download"
            }
            // ssh_upload runs no shell, so it can replace a start-up file that breaks every shell.
            Self::NotBegun { .. } => {
                "fix the command if a syntax error is named; if the host has a menu, open it with \
                 pty: true and command \"\"; otherwise put `[ -t 0 ] || return` at the beginning of \
                 ~/.bashrc, ~/.zshenv or the like; ssh_upload can replace the file"
            }
            Self::Sudo { refusal, said } => sudo_hint(*refusal, said.raw()),
            Self::ShellStart(words) => words_hint(words)
                .unwrap_or("use ssh_exec, which may still work: the account may be restricted"),
            _ => "call again",
        };

        hint.into()
    }
}

/// Returns the hint for words of a server in place of the expected protocol. Returns `None` if the
/// words are not known.
#[must_use]
pub fn words_hint(words: &str) -> Option<&'static str> {
    const NEW_PASSWORD: &str = "have the person run `ssh HOST` in a terminal and change the \
        password, then connect again";

    // Words of cloud images, of expired passwords, and of nologin. A row applies if the server said
    // all its parts.
    const HINTS: [(&[&str], &str); 7] = [
        (
            &["as the user"],
            "connect again as the user that the server names: ssh_connect with user",
        ),
        (&["password", "expired"], NEW_PASSWORD),
        (&["change", "your password"], NEW_PASSWORD),
        (&["password change required"], NEW_PASSWORD),
        (
            &["sftp", "only"],
            "use ssh_upload and ssh_download: the account is for file transfers only",
        ),
        (
            &["account", "not available"],
            "connect as another user: nobody may log in with this account (nologin)",
        ),
        (
            &["not ready after"],
            "change the startup file of the account so that it waits or asks only in a terminal \
             (`[ -t 0 ]`)",
        ),
    ];

    let words = words.to_lowercase();
    HINTS
        .iter()
        .find(|(parts, _)| parts.iter().all(|part| words.contains(part)))
        .map(|(_, hint)| *hint)
}

/// Returns the hint for a refused host key. The person has to decide about the key, never the
/// agent.
fn host_key_hint(error: &HostKeyError, audience: Audience<'_>) -> String {
    let ssh = audience.ssh();

    match error {
        HostKeyError::Unknown { destination, .. } => {
            let accept = audience.by_person(&format!(
                "run `ssh {destination}` once in a terminal, compare the fingerprint with one \
                 from whoever runs the host, and answer yes"
            ));
            format!("{accept}; then try again")
        }
        // A changed key may be an attack, so the reason comes before the command that removes the
        // old key.
        HostKeyError::Changed { host, file, .. } => audience.by_person(&format!(
            "find out why; only if the host was really reinstalled, run `ssh-keygen -R '{host}' \
             -f '{file}'`, then `ssh {ssh}` once"
        )),
        HostKeyError::Revoked { .. } => {
            let ask = audience.by_person("ask whoever revoked the key");
            format!("do not connect; {ask}")
        }
        HostKeyError::Unreadable { .. } => "fix that file or its permissions".into(),
        HostKeyError::Unusable(_) => format!(
            "compare the key that `ssh -v {ssh}` shows with HostKeyAlgorithms and RequiredRSASize \
             in the SSH configuration"
        ),
    }
}

/// Returns the hint after a log-in in which no method was accepted. `remaining` lists the methods
/// that the server would still take, comma-separated.
fn log_in_hint(remedy: Remedy, remaining: &str, audience: Audience<'_>) -> String {
    let ssh = audience.ssh();

    match remedy {
        // `ssh-add` asks for the passphrase itself, so no other program sees it.
        Remedy::Passphrase => "run `ssh-add` on the key that the server would accept, or give its \
             passphrase to ssh_connect"
            .into(),
        Remedy::FewerKeys => "name the right key, because the server takes only so many \
             (MaxAuthTries): keyPath of ssh_connect, or IdentityFile and IdentitiesOnly yes for \
             this host in the SSH configuration"
            .into(),
        Remedy::NewPassword => {
            let change = audience.by_person(&format!(
                "run `ssh {ssh}` in a terminal and change the password if the server asks for that"
            ));
            format!("{change}; if the server is only slow, give ssh_connect a longer timeoutMs")
        }
        // A lost link says nothing about the credentials, so other credentials would be the wrong
        // advice.
        Remedy::Again => "try again: the connection ended before anything was refused; if it ends \
             each time, read the server's log"
            .into(),
        Remedy::Credentials => match audience {
            Audience::Agent => credentials_to_give(remaining),
            Audience::Person { ssh } => credentials_to_set_up(remaining, ssh),
        },
    }
}

/// Returns the hint at the credentials that the agent can give to `ssh_connect`.
fn credentials_to_give(remaining: &str) -> String {
    if remaining.is_empty() {
        return "check user, keyPath and password, and have the person try `ssh HOST` in a terminal"
            .into();
    }

    format!("give ssh_connect a fitting user, keyPath or password; the server accepts: {remaining}")
}

/// Returns the hint at the credentials that the person can set up.
fn credentials_to_set_up(remaining: &str, ssh: &str) -> String {
    // A password helps only if the server would still take one.
    let takes_password = remaining
        .split(',')
        .any(|method| matches!(method, "password" | "keyboard-interactive"));

    if takes_password {
        return format!(
            "connect with a password (ssh_connect takes one, or asks for it), or have a key \
             accepted: `ssh-copy-id {ssh}`"
        );
    }

    "have one of your keys put into authorized_keys there, or name another user or key (User, \
     IdentityFile)"
        .into()
}

/// Returns the hint after sudo did not run a command.
fn sudo_hint(refusal: SudoRefusal, said: &str) -> &'static str {
    let is_other_program = ["usage:", "Usage:", "unknown option", "invalid option"]
        .iter()
        .any(|words| said.contains(words));

    match refusal {
        SudoRefusal::Unanswered => {
            "pass password to ssh_connect, or set SSH_ASKPASS or use a client with URL elicitation, \
             so that the person can type it"
        }
        // A host with a changed key gets no password, because another machine may have taken its
        // place.
        SudoRefusal::ChangedHostKey => {
            "have the person find out why the key has changed and fix known_hosts; then connect \
             again"
        }
        SudoRefusal::Missing => "install sudo there, or connect as root or the user that you need",
        SudoRefusal::Refused if said.contains("unknown user") => {
            "name an account that the host has; `getent passwd` lists them"
        }
        // doas and the like ask on a terminal only.
        SudoRefusal::Refused if is_other_program => {
            "the host's sudo takes no password over stdin, as doas and su do not: run it with ssh_exec \
             and pty: true, and answer its prompt with ssh_job"
        }
        SudoRefusal::Refused => {
            "check with sudo -l that the account may run its shell, or /bin/sh for ssh_shell; for a rule that allows one \
             command, run `sudo -n COMMAND` without the parameter sudo; where sudo wants a \
             terminal, use ssh_exec with pty: true"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc, time::Duration};

    use super::*;

    const PERSON: Audience<'_> = Audience::Person { ssh: "-p 2222 box" };

    fn timeout() -> SshError {
        SshError::Timeout {
            stage: "the log-in",
            after: Duration::from_secs(1),
        }
    }

    fn denied(remedy: Remedy, remaining: &str) -> SshError {
        SshError::Authentication {
            user: "me".to_owned(),
            host: "box".to_owned(),
            attempts: "publickey".to_owned(),
            remaining: remaining.to_owned(),
            remedy,
        }
    }

    fn greeted(words: &str) -> SshError {
        SshError::Greeted {
            words: words.into(),
            source: Box::new(timeout()),
        }
    }

    #[test]
    fn readers_who_can_do_the_same_read_the_same() {
        for error in [
            SshError::ResolveRun(io::ErrorKind::NotFound.into()),
            SshError::Connect {
                host: "box".to_owned(),
                port: 22,
                source: io::ErrorKind::ConnectionRefused.into(),
            },
            SshError::Handshake {
                host: "box".to_owned(),
                message: String::new(),
            },
            SshError::HostKey(HostKeyError::Unreadable {
                file: "known_hosts".to_owned(),
                message: String::new(),
            }),
            denied(Remedy::Passphrase, "publickey"),
            denied(Remedy::FewerKeys, ""),
            denied(Remedy::Again, ""),
            SshError::ChannelRefused(String::new()),
            SshError::NoRoom {
                source: Arc::new(timeout()),
            },
        ] {
            assert_eq!(error.hint(Audience::Agent), error.hint(PERSON), "{error}");
        }
    }

    #[test]
    fn a_hint_tells_its_reader_only_what_this_reader_can_do() {
        let unknown = SshError::HostKey(HostKeyError::Unknown {
            host: "box".to_owned(),
            destination: "box".to_owned(),
            key_type: "ssh-ed25519".to_owned(),
            fingerprint: "SHA256:x".to_owned(),
            policy: "ask".into(),
        });

        for (error, agent, person) in [
            (unknown, "have the person run `ssh box`", "run `ssh box`"),
            (
                SshError::ClosedAtOnce { reason: None },
                "do not call again yet; have the person run `ssh HOST`",
                "run `ssh -p 2222 box`",
            ),
            (
                greeted("open https://example.com/device"),
                "have the person open the page",
                "open the page",
            ),
            (
                greeted("Welcome"),
                "check that the host",
                "check that the host",
            ),
            (
                denied(Remedy::Credentials, "publickey,password"),
                "give ssh_connect a fitting user",
                "connect with a password",
            ),
            (
                denied(Remedy::Credentials, "publickey"),
                "give ssh_connect a fitting user",
                "have one of your keys",
            ),
            (
                SshError::Lost(None),
                "call again",
                "try again; run `ssh -v -p 2222 box`",
            ),
        ] {
            for (audience, beginning) in [(Audience::Agent, agent), (PERSON, person)] {
                let hint = error.hint(audience);
                assert!(hint.starts_with(beginning), "{audience:?}: {hint}");
            }

            let hint = error.hint(PERSON);
            for word in ["the person", "HOST", "timeoutMs"] {
                assert!(!hint.contains(word), "{word}: {hint}");
            }
        }
    }

    #[test]
    fn the_credentials_of_a_tool_are_not_suggested_for_a_jump_host() {
        let error = SshError::Jump {
            hop: "near".to_owned(),
            source: Box::new(denied(Remedy::Credentials, "publickey,password")),
        };

        for audience in [Audience::Agent, PERSON] {
            let hint = error.hint(audience);
            assert!(
                hint.starts_with("for the jump host near: name a user"),
                "{hint}"
            );
            assert!(!hint.contains("ssh_connect"), "{hint}");
        }
    }
}
