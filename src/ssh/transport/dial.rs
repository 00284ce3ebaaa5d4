//! Opens the TCP connection to a host.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    time::{Instant, timeout, timeout_at},
};

use super::{dns::addresses, tcp::TcpTransport};
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

/// Connects to the host's addresses in turn, or to the address `only` if given. Respects
/// `HostName`, `Port`, `AddressFamily`, `BindAddress`, `BindInterface`, `ConnectTimeout` and
/// `ConnectionAttempts`.
///
/// # Errors
/// The host has no address, no address accepts, or none accepts before `deadline`.
pub(in crate::ssh) async fn dial(
    config: &EffectiveConfig,
    only: Option<SocketAddr>,
    deadline: Instant,
    trace: &StageTrace,
) -> Result<TcpTransport, SshError> {
    let (host, port) = (config.host_name.clone(), config.port);
    let started = Instant::now();
    // `ConnectTimeout` may end the attempt before the caller's deadline, but never after it.
    let deadline = config
        .connect_timeout
        .map_or(deadline, |limit| deadline.min(started + limit));

    let timed_out = || SshError::Timeout {
        stage: "connecting",
        after: deadline.saturating_duration_since(started),
    };

    trace.begin(Stage::Addresses);

    let found: Vec<SocketAddr> = match only {
        Some(address) => vec![address],
        None => timeout_at(deadline, addresses(&host, port))
            .await
            .map_err(|_| timed_out())?
            .map_err(|source| SshError::Lookup {
                host: host.clone(),
                source,
            })?
            .into_iter()
            .filter(|address| {
                let wanted = match config.address_family {
                    AddressFamily::Any => true,
                    AddressFamily::Inet => address.is_ipv4(),
                    AddressFamily::Inet6 => address.is_ipv6(),
                };

                if !wanted {
                    trace.detail(|| {
                        format!("{}: not of the wanted family (AddressFamily)", address.ip())
                    });
                }

                wanted
            })
            .collect(),
    };

    if !found.is_empty() {
        trace.pass(|| {
            found
                .iter()
                .map(|address| address.ip().to_string())
                .collect::<Vec<_>>()
                .join(", ")
        });

        trace.begin(Stage::Tcp);
    }

    // Reported only if no address was tried at all; otherwise the last failure is.
    let mut failure = io::Error::new(
        io::ErrorKind::NotFound,
        "no address of the wanted family (AddressFamily)",
    );

    for attempt in 0..config.connection_attempts.max(1) {
        if attempt > 0 {
            // `ConnectionAttempts` means one attempt per second (`ssh_config(5)`).
            timeout_at(deadline, tokio::time::sleep(Duration::from_secs(1)))
                .await
                .map_err(|_| timed_out())?;
        }

        for (index, address) in found.iter().enumerate() {
            // The last address gets all the remaining time, because nothing else would use it.
            let last = index + 1 == found.len();
            let limit = if last {
                deadline
            } else {
                deadline.min(Instant::now() + NEXT_ADDRESS_AFTER)
            };

            match timeout_at(limit, connect(*address, config)).await {
                Ok(Ok(stream)) => {
                    for other in found.iter().skip(index + 1) {
                        trace.detail(|| format!("{other}: not needed"));
                    }

                    trace.pass(|| format!("{address} accepts"));
                    return TcpTransport::new(stream).map_err(|source| SshError::Connect {
                        host,
                        port,
                        source,
                    });
                }
                Ok(Err(error)) => failure = error,
                Err(_) if last => {
                    trace.detail(|| format!("{address}: no answer"));
                    return Err(timed_out());
                }
                Err(_) => failure = io::ErrorKind::TimedOut.into(),
            }

            // Only a detail, because the stage goes on while other addresses remain.
            trace.detail(|| format!("{address}: {failure}"));
        }
    }

    Err(SshError::Connect {
        host,
        port,
        source: failure,
    })
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
    async fn no_address_of_the_wanted_family_is_said() {
        let config =
            EffectiveConfig::parse("hostname 127.0.0.1\nport 1\nuser u\naddressfamily inet6")
                .unwrap();

        let error = dial(
            &config,
            None,
            Instant::now() + NEXT_ADDRESS_AFTER,
            &StageTrace::default(),
        )
        .await
        .err()
        .unwrap()
        .to_string();

        assert!(error.contains("AddressFamily"), "{error}");
    }
}
