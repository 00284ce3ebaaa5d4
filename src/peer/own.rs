//! The listeners of this program, which stay closed to connections that come from elsewhere.
//!
//! A connection from this process counts as this user's, whoever has caused it. So a connection that
//! a host has caused must never reach a listener which trusts this user.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Mutex,
};

use crate::lock::lock;

/// TCP port of the daemon in the documentation. It may be served by another process of this program.
pub(crate) const DOCUMENTED_PORT: u16 = 7722;

/// TCP ports at which this process listens for its own clients.
static PORTS: Mutex<Vec<u16>> = Mutex::new(Vec::new());

/// Port that counts as this program's own until the value is dropped.
#[derive(Debug)]
pub(crate) struct OwnPort(u16);

impl OwnPort {
    /// Notes a port at which this process listens for its own clients.
    pub(crate) fn new(port: u16) -> Self {
        lock(&PORTS).push(port);
        Self(port)
    }
}

impl Drop for OwnPort {
    fn drop(&mut self) {
        let mut ports = lock(&PORTS);
        if let Some(at) = ports.iter().position(|port| *port == self.0) {
            ports.swap_remove(at);
        }
    }
}

/// Returns true if this program may listen at a port of this machine.
pub(crate) fn is_own_port(port: u16) -> bool {
    port == DOCUMENTED_PORT || lock(&PORTS).contains(&port)
}

/// Returns true if this program may listen at the address.
pub(crate) fn is_own_address(address: SocketAddr) -> bool {
    is_own_port(address.port()) && is_of_this_machine(address.ip().to_canonical())
}

/// Returns true if a connection to the address stays on this machine.
fn is_of_this_machine(ip: IpAddr) -> bool {
    #[cfg(unix)]
    let is_local = super::is_address_of_this_machine(ip);
    // Any address could be this machine's where that cannot be asked.
    #[cfg(not(unix))]
    let is_local = true;

    ip.is_loopback() || ip.is_unspecified() || is_local
}

/// Returns true if a process of this program holds the other end of a Unix socket.
#[cfg(unix)]
pub(crate) fn is_own_program(stream: &tokio::net::UnixStream) -> bool {
    let Some(pid) = stream.peer_cred().ok().and_then(|peer| peer.pid()) else {
        return false;
    };
    if u32::try_from(pid) == Ok(std::process::id()) {
        return true;
    }

    // Linux tells which program a process runs, also when the file has been replaced since.
    let name = |process: &str| {
        let program = std::fs::read_link(format!("/proc/{process}/exe")).ok()?;
        let name = program.file_name()?.to_string_lossy().into_owned();
        Some(name.trim_end_matches(" (deleted)").to_owned())
    };
    let own = name("self");
    own.is_some() && name(&pid.to_string()) == own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_port_is_known_on_this_machine_only() {
        let port = OwnPort::new(1);
        for (address, expected) in [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("0.0.0.0:1", true),
            ("[::1]:1", true),
            ("[::]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("127.0.0.1:7722", true),
            ("127.0.0.1:2", false),
            #[cfg(unix)]
            ("192.0.2.1:1", false),
        ] {
            assert_eq!(
                is_own_address(address.parse().unwrap()),
                expected,
                "{address}"
            );
        }

        drop(port);
        assert!(!is_own_address("127.0.0.1:1".parse().unwrap()));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_socket_of_this_process_is_its_own() {
        let (one, _other) = tokio::net::UnixStream::pair().unwrap();
        assert!(is_own_program(&one));
    }
}
