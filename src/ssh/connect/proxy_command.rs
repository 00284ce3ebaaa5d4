//! Hosts that are reached through something else: `ProxyJump` and `ProxyCommand`.

use std::{
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, Join, join},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
    time::timeout,
};

use super::{connection::Connection, open::Opening};
use crate::{
    child,
    openssh::{
        destination::{Destination, DestinationError},
        effective_config::EffectiveConfig,
    },
    readable::breaks_a_line,
    ssh::{
        auth::Credentials,
        config::{expand::expand_command_option, resolve::Target},
        diagnose::trace::Findings,
        error::SshError,
    },
};

/// What a `ProxyCommand` prints and reads.
pub(in crate::ssh) type CommandStream = Join<ChildStdout, ChildStdin>;

/// Jump hosts may have jump hosts; a longer chain than this goes in a circle.
const MOST_HOPS: usize = 8;

/// How much of what a proxy command complains about is kept, in bytes.
const LONGEST_COMPLAINT: u64 = 4096;

/// How long a command that has failed may take to say why.
const COMPLAINT_LIMIT: Duration = Duration::from_millis(300);

/// A running `ProxyCommand`: its stdin and stdout are the connection. It is killed when dropped.
pub(in crate::ssh) struct ProxyCommand {
    pub(in crate::ssh) stream: CommandStream,
    pub(in crate::ssh) process: ProxyProcess,
}

/// The process of a [`ProxyCommand`] and what it says on stderr.
pub(in crate::ssh) struct ProxyProcess {
    #[cfg_attr(not(unix), expect(dead_code, reason = "it ends with this"))]
    child: Child,
    complaint: Arc<Mutex<String>>,
    listening: Option<JoinHandle<()>>,
}

impl ProxyProcess {
    /// What the command said on stderr, if it says so by now.
    pub(in crate::ssh) async fn complaint(mut self) -> String {
        if let Some(listening) = self.listening.take() {
            let _ = timeout(COMPLAINT_LIMIT, listening).await;
        }
        self.complaint.lock().unwrap_or_else(PoisonError::into_inner).trim().to_owned()
    }
}

/// `ssh` ends its proxy command by SIGHUP; here the commands of a pipeline get it too. What ignores that is killed.
#[cfg(unix)]
impl Drop for ProxyProcess {
    fn drop(&mut self) {
        use nix::{
            sys::signal::{Signal, killpg},
            unistd::Pid,
        };
        // Without an id it has ended, and another process may have its number.
        if let Some(group) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGHUP);
        }
    }
}

/// Starts a `ProxyCommand` as OpenSSH does: `exec` of it by the user's shell.
///
/// # Errors
/// `ProxyUseFdpass`, a token without a value, or a shell that cannot be run.
pub(in crate::ssh) fn start_command(
    template: &str,
    config: &EffectiveConfig,
    typed: &str,
    findings: &Findings,
) -> Result<ProxyCommand, SshError> {
    if config.proxy_use_fdpass {
        return Err(SshError::Unsupported { option: "ProxyUseFdpass", value: "yes".to_owned() });
    }
    let line = expand_command_option("ProxyCommand", template, config, typed)?;
    findings.detail(|| format!("runs: {line}"));
    let failed = |source| SshError::ProxyCommand { command: line.clone(), source };
    let mut child = shell(&line)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let no_pipe = || std::io::Error::other("it has no pipe");
    let stdin = child.stdin.take().ok_or_else(no_pipe).map_err(failed)?;
    let stdout = child.stdout.take().ok_or_else(no_pipe).map_err(failed)?;
    let complaint = Arc::new(Mutex::new(String::new()));
    let listening = child.stderr.take().map(|mut stderr| {
        let kept = Arc::clone(&complaint);
        tokio::spawn(async move {
            let mut bytes = [0; 1024];
            while let Ok(length @ 1..) = stderr.read(&mut bytes).await {
                let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default());
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if (kept.len() as u64) < LONGEST_COMPLAINT {
                    kept.extend(text.chars().filter(|letter| *letter == '\n' || !breaks_a_line(*letter)));
                }
            }
        })
    });
    Ok(ProxyCommand { stream: join(stdout, stdin), process: ProxyProcess { child, complaint, listening } })
}

#[cfg(not(windows))]
fn shell(line: &str) -> Command {
    let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into());
    let mut command = child::command(shell);
    command.args(["-c", &format!("exec {line}")]);
    // A group of its own, so that all of it can be ended, and so that Ctrl-C in a terminal ends us and not the connection.
    command.process_group(0);
    command
}

/// `cmd` takes what is between the outer quotes as it stands, while `args` would escape the quotes in it for a C program.
#[cfg(windows)]
fn shell(line: &str) -> Command {
    let mut command = child::command("cmd");
    command.raw_arg(format!("/D /S /C \"{line}\""));
    command
}

/// Connects to the last of the comma-separated hops of a `ProxyJump`, through those before it. Each is resolved,
/// verified and authenticated by its own configuration.
///
/// # Errors
/// A hop that cannot be meant, or the failure to connect to one, by its name.
pub(in crate::ssh) async fn connect_hops(hops: &str, opening: &Opening<'_>) -> Result<Arc<Connection>, SshError> {
    let in_hop = |source| SshError::Jump { hop: hops.to_owned(), source: Box::new(source) };
    if opening.depth >= MOST_HOPS {
        return Err(SshError::Unsupported {
            option: "ProxyJump",
            value: format!("{hops} (more than {MOST_HOPS} hops)"),
        });
    }
    let (via, last) = hops.rsplit_once(',').map_or((None, hops), |(before, last)| (Some(before), last));
    let target = &Target {
        config_file: opening.target.config_file.clone(),
        ..parse_hop(last).map_err(|source| SshError::Hop { hop: last.to_owned(), source })?
    };
    // Only the passphrase can serve for a hop too: password and key were given for the destination. What was typed knows
    // for whom.
    let credentials =
        &Credentials { key_path: None, password: None, needs_proof: false, ..opening.credentials.clone() };
    let findings = &opening.findings.of_hop(last);
    let hop = Opening { target, credentials, depth: opening.depth + 1, via, beside: None, findings, ..*opening };
    Box::pin(hop.run()).await.map_err(in_hop)
}

/// Reads `[user@]host[:port]` or `ssh://[user@]host[:port]`, with IPv6 addresses in brackets.
pub(in crate::ssh) fn parse_hop(hop: &str) -> Result<Target, DestinationError> {
    let rest = hop.trim().trim_start_matches("ssh://").trim_end_matches('/');
    let (user, host) = rest.rsplit_once('@').map_or((None, rest), |(user, host)| (Some(user), host));
    let (host, port) = match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (host, None),
        },
        _ => (host, None),
    };
    let destination = Destination::parse(host.trim_start_matches('[').trim_end_matches(']'))?;
    let user = user.map(|user| crate::openssh::destination::parse_user(user).map(str::to_owned)).transpose()?;
    Ok(Target { destination, user, port, config_file: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_has_a_host_and_perhaps_a_user_and_a_port() {
        for (hop, host, user, port) in [
            ("h", "h", None, None),
            ("u@h", "h", Some("u"), None),
            ("u@h:2222", "h", Some("u"), Some(2222)),
            ("a@b@h", "h", Some("a@b"), None),
            ("ssh://u@h:22", "h", Some("u"), Some(22)),
            ("[::1]:22", "::1", None, Some(22)),
            ("u@[fe80::1]", "fe80::1", Some("u"), None),
            ("::1", "::1", None, None),
        ] {
            let target = parse_hop(hop).unwrap();
            assert_eq!((target.destination.as_str(), target.user.as_deref(), target.port), (host, user, port), "{hop}");
        }
        assert!(parse_hop("-oProxyCommand=x").is_err() && parse_hop("").is_err() && parse_hop("u@").is_err());
    }
}
