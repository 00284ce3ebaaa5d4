//! Opens the TCP connection.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    time::{Instant, timeout, timeout_at},
};

use super::{error::SshError, lookup::addresses, transport::Transport};
use crate::openssh::effective_config::{AddressFamily, EffectiveConfig};

/// How long one address may take while there are others to try. OpenSSH waits for the system's own limit of minutes.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_secs(5);

/// Connects to the host's addresses in turn, or to `only` this one (`HostName`, `Port`, `AddressFamily`, `BindAddress`,
/// `ConnectTimeout`, `ConnectionAttempts`).
///
/// # Errors
/// No address, none that accepts, or none before `deadline`.
pub(super) async fn dial(
    config: &EffectiveConfig,
    only: Option<SocketAddr>,
    deadline: Instant,
) -> Result<Transport, SshError> {
    let (host, port) = (config.host_name.clone(), config.port);
    let started = Instant::now();
    let deadline = config.connect_timeout.map_or(deadline, |limit| deadline.min(started + limit));
    let timed_out = || SshError::Timeout { stage: "connecting", after: deadline.saturating_duration_since(started) };
    let found: Vec<SocketAddr> = match only {
        Some(address) => vec![address],
        None => timeout_at(deadline, addresses(&host, port))
            .await
            .map_err(|_| timed_out())?
            .map_err(|source| SshError::Lookup { host: host.clone(), source })?
            .into_iter()
            .filter(|address| match config.address_family {
                AddressFamily::Any => true,
                AddressFamily::Inet => address.is_ipv4(),
                AddressFamily::Inet6 => address.is_ipv6(),
            })
            .collect(),
    };
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "no address of the wanted family (AddressFamily)");
    for attempt in 0..config.connection_attempts.max(1) {
        if attempt > 0 {
            // ConnectionAttempts, ssh_config(5): one try a second.
            timeout_at(deadline, tokio::time::sleep(Duration::from_secs(1))).await.map_err(|_| timed_out())?;
        }
        for (index, address) in found.iter().enumerate() {
            let last = index + 1 == found.len();
            let limit = if last { deadline } else { deadline.min(Instant::now() + NEXT_ADDRESS_AFTER) };
            match timeout_at(limit, connect(*address, config)).await {
                Ok(Ok(stream)) => {
                    return Transport::new(stream).map_err(|source| SshError::Connect { host, port, source });
                }
                Ok(Err(error)) => failure = error,
                Err(_) if last => return Err(timed_out()),
                Err(_) => failure = io::ErrorKind::TimedOut.into(),
            }
        }
    }
    Err(SshError::Connect { host, port, source: failure })
}

async fn connect(address: SocketAddr, config: &EffectiveConfig) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_keepalive(config.tcp_keep_alive)?;
    if let Some(local) = &config.bind_address {
        let local = timeout(NEXT_ADDRESS_AFTER, lookup_host((local.as_str(), 0)))
            .await?
            .map(|mut found| found.find(|local| local.is_ipv4() == address.is_ipv4()))?
            .ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, "BindAddress has no such address"))?;
        socket.bind(local)?;
    }
    socket.connect(address).await
}
