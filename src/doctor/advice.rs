//! Advice for users whose host does not connect.

use crate::ssh::{
    config::target::Target,
    error::{HostKeyError, Remedy, SshError},
};

/// Returns the next step for a user, given the error of a connection attempt.
pub(super) fn advice_for(error: &SshError, target: &Target) -> String {
    let ssh = target.arguments();
    match error {
        SshError::Jump { source, hop } => {
            format!("it is the jump host {hop} that fails: {}", on_hop(source, hop, target))
        }
        // Without `ssh`, only a file that needs no `ssh` to decide its `Match` lines can be read.
        SshError::ResolveRun(_) | SshError::ConfigFile { .. } => "install the OpenSSH client".to_owned(),
        SshError::Resolve { .. } | SshError::Config { .. } | SshError::Token { .. } | SshError::Unsupported { .. } => {
            format!("mend the SSH configuration; `ssh -G {ssh}` shows what it comes to")
        }
        SshError::Hop { .. } | SshError::ProxyCommand { .. } => {
            "mend ProxyJump or ProxyCommand for this host in the SSH configuration".to_owned()
        }
        SshError::Forward { .. } => {
            "see whether the jump host reaches this host, and may forward (AllowTcpForwarding in its sshd_config)".to_owned()
        }
        SshError::Lookup { .. } => "check the spelling of the host, or its HostName in the SSH configuration".to_owned(),
        SshError::Connect { .. } => {
            "check host and port, that an SSH server runs there, and that no firewall is in the way".to_owned()
        }
        // A timeout does not tell which part of the way drops packets.
        SshError::Timeout { .. } => {
            "see whether the host is up, and whether a firewall or a VPN is in the way; try again".to_owned()
        }
        // OpenSSH closes connections above these limits before the handshake.
        SshError::Handshake { .. } => {
            "check that host and port are those of an SSH server, and that it takes more connections (MaxStartups, \
             PerSourcePenalties)"
                .to_owned()
        }
        SshError::NoCommonAlgorithm { .. } | SshError::UnsupportedAlgorithms { .. } => {
            "allow an algorithm that both sides have: Ciphers, KexAlgorithms, MACs or HostKeyAlgorithms for this host in the \
             SSH configuration, or in the server's"
                .to_owned()
        }
        SshError::HostKey(error) => on_host_key(error),
        SshError::Authentication { remedy, remaining, .. } => on_log_in(*remedy, remaining, &ssh),
        // `ssh-add` asks for the passphrase itself, so no other program sees it.
        SshError::KeyFile { path, passphrase: true, .. } => {
            format!("run `ssh-add {}`, or give its passphrase to ssh_connect", path.display())
        }
        SshError::KeyFile { .. } => "name another key file, or mend this one".to_owned(),
        SshError::ChannelRefused(_) => {
            "ask whoever runs the server: it lets this account run nothing (MaxSessions in its sshd_config)".to_owned()
        }
        _ => format!("try again; `ssh -v {ssh}` shows how OpenSSH fares"),
    }
}

/// Returns the next step for a failure at a jump host.
fn on_hop(error: &SshError, hop: &str, target: &Target) -> String {
    match error {
        SshError::Authentication {
            remedy, remaining, ..
        } => on_log_in(*remedy, remaining, hop),
        _ => advice_for(error, target),
    }
}

/// Returns the next step for a refused host key.
fn on_host_key(error: &HostKeyError) -> String {
    match error {
        // `doctor` asks nobody, so it cannot decide whether the key is to be trusted.
        HostKeyError::Unknown { destination, .. } => format!(
            "run `ssh {destination}` once in a terminal, compare the fingerprint with one from whoever runs the host, and \
             answer yes"
        ),
        // A changed key may be an attack, so the reason comes before the command that removes the
        // old key.
        HostKeyError::Changed { host, file, .. } => format!(
            "find out why; only if the host was really reinstalled: `ssh-keygen -R '{host}' -f '{file}'`, then connect once \
             with ssh"
        ),
        HostKeyError::Revoked { .. } => "do not connect; ask whoever revoked the key".to_owned(),
        HostKeyError::Unreadable { .. } => "mend that file or its permissions".to_owned(),
        HostKeyError::Unusable(_) => {
            "see HostKeyAlgorithms and RequiredRSASize in the SSH configuration".to_owned()
        }
    }
}

/// Returns the next step for a failed log-in, depending on the methods which the server still
/// offers.
fn on_log_in(remedy: Remedy, remaining: &str, ssh: &str) -> String {
    // A password helps only if the server would still take one.
    let asks = ["password", "keyboard-interactive"]
        .iter()
        .any(|method| remaining.split(',').any(|takes| takes == *method));

    match remedy {
        Remedy::Passphrase => "run `ssh-add` on the key that the server would accept, or give its passphrase to \
                               ssh_connect"
            .to_owned(),
        Remedy::FewerKeys => "name the right key: IdentityFile and IdentitiesOnly yes for this host in the SSH \
                              configuration"
            .to_owned(),
        Remedy::NewPassword => format!("run `ssh {ssh}` in a terminal and change the password if it asks for that"),
        Remedy::Again => {
            "try again: the connection ended before anything was refused; if it ends each time, the server's log says why"
                .to_owned()
        }
        Remedy::Credentials if asks => format!(
            "connect with a password (ssh_connect takes one, or asks for it), or have a key accepted: `ssh-copy-id {ssh}`"
        ),
        Remedy::Credentials => {
            "have one of your keys put into authorized_keys there, or name another user or key (User, IdentityFile)"
                .to_owned()
        }
    }
}
