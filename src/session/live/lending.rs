//! Addresses of this machine that the user lends to the host of a session.

use std::path::Path;

use super::LiveSession;
use crate::{
    foreign_text::ForeignText,
    forward::address::ConnectAddress,
    lock::lock,
    session::caller::Caller,
    ssh::{
        command::remote_host::RemoteHost, connect::connection::Peer, forward::local_address,
        prompt::prompter::LentAddress,
    },
};

/// Names of sockets by which the containers of a machine are controlled.
const CONTAINER_SOCKETS: [&str; 4] = ["docker.sock", "podman.sock", "containerd.sock", "crio.sock"];

/// Reason why a host may not reach an address of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LendError {
    /// This program itself listens there, and would obey the host as its user.
    #[error("mcp-ssh-sessions itself listens there, which is never lent to a host")]
    Own,
    /// The user refused.
    #[error("the user refused to let the host reach this machine")]
    Refused,
    /// Nobody can be asked, or nobody has answered.
    #[error("the user, who has to allow it, cannot be asked")]
    NobodyToAsk,
}

impl LiveSession {
    /// Asks the user if the host may reach an address of this machine, once per address. The user is
    /// asked anew if the session is made anew or leads to another host.
    ///
    /// # Errors
    /// The user refuses or cannot be asked, or this program itself listens there.
    pub async fn lend(
        &self,
        host: &RemoteHost,
        to: &ConnectAddress,
        caller: &Caller,
    ) -> Result<(), LendError> {
        if local_address::is_own(to).await {
            return Err(LendError::Own);
        }

        let peer = host.peer();
        let lent = (peer.identity(), to.clone());
        if lock(&self.lent).contains(&lent) {
            return Ok(());
        }

        let question = LentAddress {
            account: format!("{}@{}", peer.user, peer.host_name),
            address: ForeignText::from(in_words(to)),
            risk: risk(to),
        };

        // Only a yes is remembered, so the user can change a refusal with the next call.
        match caller.prompter.lends(question).await {
            Some(true) => {
                lock(&self.lent).insert(lent);
                Ok(())
            }
            Some(false) => Err(LendError::Refused),
            None => Err(LendError::NobodyToAsk),
        }
    }

    /// Ends the remote forwards if the session leads to another host than before, as after a change
    /// of the SSH configuration: the user allowed them for that one.
    pub(super) fn end_forwards_of_other_host(&self, peer: &Peer) {
        let before = lock(&self.last).peer.as_ref().map(Peer::identity);
        if before.is_some_and(|before| before != peer.identity()) {
            self.session_env.forwards.end_remote(self);
        }
    }
}

/// Describes an address to the user.
fn in_words(to: &ConnectAddress) -> String {
    match to {
        ConnectAddress::Port(_) | ConnectAddress::Socket(_) => to.to_string(),
        ConnectAddress::Host(_) => format!("{to}, as this machine reaches it"),
        ConnectAddress::Socks => {
            "everything that this machine reaches: its own ports and its networks".to_owned()
        }
    }
}

/// Returns a warning about an address with more power than its name tells.
fn risk(to: &ConnectAddress) -> Option<&'static str> {
    let ConnectAddress::Socket(path) = to else {
        return None;
    };

    let path = Path::new(path).canonicalize().unwrap_or(path.into());
    let agent = std::env::var_os("SSH_AUTH_SOCK").map(|agent| Path::new(&agent).canonicalize());
    let name = path.file_name().and_then(|name| name.to_str());

    if agent.is_some_and(|agent| agent.is_ok_and(|agent| agent == path)) {
        Some("It is the authentication agent: with it, others can log in with your keys.")
    } else if name.is_some_and(|name| CONTAINER_SOCKETS.contains(&name)) {
        Some("It controls the containers of this machine, and with them the machine.")
    } else {
        None
    }
}
