//! Opens the TCP connection to a host.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    time::{sleep, timeout},
};

use super::{deadline::Deadline, dns::addresses, tcp::TcpTransport};
use crate::{
    openssh::effective_config::{AddressFamily, EffectiveConfig},
    ssh::{
        error::SshError,
        trace::{Stage, StageTrace},
    },
};

/// Time limit of an address while there are others to try. OpenSSH waits for the limit of the
/// operating system, which is minutes.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_secs(5);

/// Name of the stage in an error.
const STAGE: &str = "connecting";
/// Pause between two attempts of `ConnectionAttempts` (`ssh_config(5)`).
const ATTEMPT_PAUSE: Duration = Duration::from_secs(1);

/// Connects to the host's addresses in turn, or to the address `only` if given. Respects
/// `HostName`, `Port`, `AddressFamily`, `BindAddress`, `BindInterface` and `ConnectionAttempts`.
/// The caller's `deadline` respects `ConnectTimeout`.
///
/// # Errors
/// The host has no address, no address accepts, or none accepts before `deadline`.
pub(in crate::ssh) async fn dial(
    config: &EffectiveConfig,
    only: Option<SocketAddr>,
    deadline: &Deadline,
    trace: &StageTrace,
) -> Result<TcpTransport, SshError> {
    trace.begin(Stage::Addresses);

    let addresses = match only {
        Some(address) => vec![address],
        None => resolve_addresses(config, deadline, trace).await?,
    };

    trace.pass(|| {
        let ips: Vec<String> = addresses
            .iter()
            .map(|address| address.ip().to_string())
            .collect();
        ips.join(", ")
    });
    trace.begin(Stage::Tcp);

    // Another attempt may help only if an address has refused.
    for _ in 1..config.connection_attempts {
        match try_addresses(&addresses, config, deadline, trace).await {
            Err(SshError::Connect { .. }) => {
                deadline.limit(STAGE, sleep(ATTEMPT_PAUSE)).await?;
            }
            result => return result,
        }
    }

    try_addresses(&addresses, config, deadline, trace).await
}

/// Looks up the addresses of the host, and returns those of the configured family.
///
/// # Errors
/// The host has no address of this family, or the lookup takes too long.
async fn resolve_addresses(
    config: &EffectiveConfig,
    deadline: &Deadline,
    trace: &StageTrace,
) -> Result<Vec<SocketAddr>, SshError> {
    let lookup = addresses(&config.host_name, config.port);
    let found = deadline
        .limit(STAGE, lookup)
        .await?
        .map_err(|source| SshError::Lookup {
            host: config.host_name.clone(),
            source,
        })?;

    let is_wanted = |address: &SocketAddr| match config.address_family {
        AddressFamily::Any => true,
        AddressFamily::Inet => address.is_ipv4(),
        AddressFamily::Inet6 => address.is_ipv6(),
    };

    let (wanted, others): (Vec<_>, Vec<_>) = found.into_iter().partition(is_wanted);
    for other in others {
        trace.detail(|| format!("{}: not of the wanted family (AddressFamily)", other.ip()));
    }

    if wanted.is_empty() {
        let message = "no address of the wanted family (AddressFamily)";
        return Err(connect_error(
            config,
            io::Error::new(io::ErrorKind::NotFound, message),
        ));
    }

    Ok(wanted)
}

/// Tries each address once, in order, and returns the first connection.
///
/// # Errors
/// [`SshError::Connect`] with the failure of the last address, or [`SshError::Timeout`] if the last
/// address does not answer in time.
async fn try_addresses(
    addresses: &[SocketAddr],
    config: &EffectiveConfig,
    deadline: &Deadline,
    trace: &StageTrace,
) -> Result<TcpTransport, SshError> {
    let mut failure = io::ErrorKind::NotFound.into();
    let mut rest = addresses;

    while let [address, others @ ..] = rest {
        rest = others;

        // The last address gets all the remaining time, because nothing else would use it.
        let limit = (!others.is_empty()).then_some(NEXT_ADDRESS_AFTER);
        let connecting = connect(*address, config);

        failure = match deadline.within(limit).limit(STAGE, connecting).await {
            Ok(Ok(stream)) => {
                for other in others {
                    trace.detail(|| format!("{other}: not needed"));
                }

                trace.pass(|| format!("{address} accepts"));
                return TcpTransport::new(stream).map_err(|source| connect_error(config, source));
            }
            Ok(Err(error)) => error,
            Err(error) if others.is_empty() => {
                trace.detail(|| format!("{address}: no answer"));
                return Err(error);
            }
            Err(_) => io::ErrorKind::TimedOut.into(),
        };

        // Only a detail, because the stage goes on while other addresses remain.
        trace.detail(|| format!("{address}: {failure}"));
    }

    Err(connect_error(config, failure))
}

/// Creates the error for a host which cannot be reached.
fn connect_error(config: &EffectiveConfig, source: io::Error) -> SshError {
    SshError::Connect {
        host: config.host_name.clone(),
        port: config.port,
        source,
    }
}

/// Opens a TCP connection to an address, with the options of the configuration.
async fn connect(address: SocketAddr, config: &EffectiveConfig) -> io::Result<TcpStream> {
    socket(address, config).await?.connect(address).await
}

/// Creates a socket with the options of the configuration, bound if an option demands it.
async fn socket(address: SocketAddr, config: &EffectiveConfig) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };

    socket.set_keepalive(config.tcp_keep_alive)?;

    if let Some(class) = config.ip_qos {
        // As in `ssh`, a failure to mark packets does not prevent the connection.
        let _ = if address.is_ipv4() {
            socket.set_tos_v4(class.into())
        } else {
            mark_v6(&socket, class.into())
        };
    }

    // As in `ssh`, `BindAddress` takes precedence over `BindInterface`.
    if let Some(local) = &config.bind_address {
        // The name of `BindAddress` may have addresses of both families, of which only one can be
        // bound.
        let local = timeout(NEXT_ADDRESS_AFTER, lookup_host((local.as_str(), 0)))
            .await?
            .map(|mut found| found.find(|local| local.is_ipv4() == address.is_ipv4()))?
            .ok_or_else(|| not_available("BindAddress has no such address"))?;
        socket.bind(local)?;
    } else if let Some(interface) = &config.bind_interface {
        let local = interface_address(interface, address.is_ipv4())?.ok_or_else(|| {
            not_available(format!("BindInterface: {interface} has no such address"))
        })?;
        socket.bind(local)?;
    }

    Ok(socket)
}

/// Creates the error for a local address which does not exist.
fn not_available(message: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::AddrNotAvailable, message)
}

/// Sets the traffic class of an IPv6 socket.
#[cfg(unix)]
fn mark_v6(socket: &TcpSocket, class: u32) -> io::Result<()> {
    socket.set_tclass_v6(class)
}

/// Does nothing, since the traffic class cannot be set here.
#[cfg(not(unix))]
fn mark_v6(_socket: &TcpSocket, _class: u32) -> io::Result<()> {
    Ok(())
}

/// Returns an address of the interface. As in `ssh`, addresses reachable from other machines are
/// preferred.
#[cfg(unix)]
fn interface_address(interface: &str, v4: bool) -> io::Result<Option<SocketAddr>> {
    use std::net::IpAddr;

    use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};

    let up = getifaddrs()?.filter(|entry| {
        entry.interface_name == interface && entry.flags.contains(InterfaceFlags::IFF_UP)
    });

    let addresses = up.filter_map(|entry| entry.address).filter_map(|address| {
        if v4 {
            address
                .as_sockaddr_in()
                .map(|address| SocketAddr::from((address.ip(), 0)))
        } else {
            address
                .as_sockaddr_in6()
                .map(|address| SocketAddr::V6((*address).into()))
        }
    });

    Ok(addresses.min_by_key(|address| match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
    }))
}

/// Fails, because `BindInterface` is supported on Unix only.
#[cfg(not(unix))]
fn interface_address(_interface: &str, _v4: bool) -> io::Result<Option<SocketAddr>> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "BindInterface is not supported on this system",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(lines: &str) -> EffectiveConfig {
        EffectiveConfig::parse(&format!("hostname h\nuser u\n{lines}")).unwrap()
    }

    #[tokio::test]
    async fn the_socket_has_the_options_of_the_configuration() {
        let address = "127.0.0.1:1".parse().unwrap();
        for (lines, keepalive, class) in [
            ("", true, 0),
            ("tcpkeepalive no\nipqos lowdelay throughput", false, 0x08),
            ("tcpkeepalive yes\nipqos ef cs1", true, 0x20),
            ("ipqos none none", true, 0),
        ] {
            let socket = socket(address, &config(lines)).await.unwrap();
            assert_eq!(
                (socket.keepalive().unwrap(), socket.tos_v4().unwrap()),
                (keepalive, class),
                "{lines}"
            );
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_local_address_is_the_one_that_is_configured() {
        let loopback = if cfg!(target_os = "linux") {
            "lo"
        } else {
            "lo0"
        };

        let address = "127.0.0.1:1".parse().unwrap();
        for (lines, expected) in [
            ("bindaddress 127.0.0.1".to_owned(), Ok("127.0.0.1")),
            (format!("bindinterface {loopback}"), Ok("127.0.0.1")),
            (
                "bindinterface no-such-interface".to_owned(),
                Err("no-such-interface has no such address"),
            ),
            (
                "bindaddress ::1".to_owned(),
                Err("BindAddress has no such address"),
            ),
        ] {
            let bound = socket(address, &config(&lines))
                .await
                .and_then(|socket| socket.local_addr());
            match expected {
                Ok(ip) => assert_eq!(bound.unwrap().ip().to_string(), ip, "{lines}"),
                Err(part) => assert!(bound.unwrap_err().to_string().contains(part), "{lines}"),
            }
        }
    }

    #[tokio::test]
    async fn a_missing_address_of_the_wanted_family_is_reported() {
        let config =
            EffectiveConfig::parse("hostname 127.0.0.1\nport 1\nuser u\naddressfamily inet6")
                .unwrap();

        let error = dial(
            &config,
            None,
            &Deadline::after(NEXT_ADDRESS_AFTER),
            &StageTrace::default(),
        )
        .await
        .err()
        .unwrap()
        .to_string();

        assert!(error.contains("AddressFamily"), "{error}");
    }
}
