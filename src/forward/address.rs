//! The end of a forward to which connections lead.

use core::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU16,
};

use crate::foreign_text::escape_line;

/// Limit of a host name, in bytes. SOCKS 5 has room for as many (RFC 1928), and a DNS name has 253
/// at most.
pub const MAX_HOST_BYTES: usize = 255;
/// Limit of a socket path on a host, in bytes. No system has a longer `sun_path` (`unix(7)`).
const MAX_REMOTE_PATH_BYTES: usize = 107;

/// Address to which the connections of a forward lead, as the far side sees the address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ConnectAddress {
    /// TCP port of the far side itself, on loopback.
    Port(NonZeroU16),
    /// TCP port of any host that the far side reaches.
    Host(HostPort),
    /// Absolute path of a Unix socket.
    Socket(String),
    /// Any address, named by each connection in a SOCKS handshake.
    Socks,
}

/// TCP port of a host. The host is a name or an IP address without brackets, and is never resolved
/// on this side.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Name or address of the host.
    pub host: String,
    /// TCP port.
    pub port: NonZeroU16,
}

/// Reason why a text is not an address to connect to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The text is empty.
    #[error("the address is empty")]
    Empty,
    /// The text has none of the known forms.
    #[error("{0:?} is not an address")]
    Form(String),
    /// The port is not a number from 1 to 65535.
    #[error("{0:?} is not a port; a port is a number from 1 to 65535")]
    Port(String),
    /// The host is empty, too long, or holds a character that no host name has.
    #[error("{0:?} is not a host name or an IP address")]
    Host(String),
    /// An IPv6 address has no brackets, so the port cannot be told from the address.
    #[error("{0:?} has no brackets around the IPv6 address")]
    Brackets(String),
    /// The socket path is too long for any system.
    #[error("the socket path has {0} bytes; the limit is {MAX_REMOTE_PATH_BYTES}")]
    LongPath(usize),
    /// The socket path holds a NUL byte.
    #[error("the socket path holds a NUL byte")]
    Nul,
}

impl ConnectAddress {
    /// Parses the parameter `to`.
    ///
    /// # Errors
    /// The text has none of the forms, or a part of the text is not valid.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();

        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if text.eq_ignore_ascii_case("socks") {
            return Ok(Self::Socks);
        }
        if text.starts_with('/') {
            return parse_socket(text);
        }
        if is_number(text) {
            return parse_port(text).map(Self::Port);
        }

        let (host, port) = split_host(text)?;
        Ok(Self::Host(HostPort {
            host: parse_host(host)?.to_owned(),
            port: parse_port(port)?,
        }))
    }

    /// Returns the TCP port, if there is a single one. A listener uses the same number by default.
    #[must_use]
    pub fn port(&self) -> Option<NonZeroU16> {
        match self {
            Self::Port(port) | Self::Host(HostPort { port, .. }) => Some(*port),
            Self::Socket(_) | Self::Socks => None,
        }
    }
}

impl fmt::Display for ConnectAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "127.0.0.1:{port}"),
            Self::Host(address) => address.fmt(f),
            Self::Socket(path) => f.write_str(&escape_line(path)),
            Self::Socks => f.write_str("socks"),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = escape_line(&self.host);
        if host.contains(':') {
            write!(f, "[{host}]:{}", self.port)
        } else {
            write!(f, "{host}:{}", self.port)
        }
    }
}

/// Checks a host name or an IP address without brackets, and returns the same text.
///
/// # Errors
/// The text is empty, too long, or holds a character that no host name has.
pub fn parse_host(host: &str) -> Result<&str, AddressError> {
    // A colon belongs to an IPv6 address, which may have a zone such as `%eth0`.
    let is_address = |host: &str| {
        let (address, zone) = host.split_once('%').unwrap_or((host, "0"));
        address.parse::<Ipv6Addr>().is_ok() && zone.chars().all(is_in_name) && !zone.is_empty()
    };
    let is_name = |host: &str| !host.starts_with('-') && host.chars().all(is_in_name);

    if !host.is_empty() && host.len() <= MAX_HOST_BYTES && (is_name(host) || is_address(host)) {
        Ok(host)
    } else {
        Err(AddressError::Host(host.to_owned()))
    }
}

/// Returns true for the names of this side's loopback: 127.0.0.1, `::1` and `localhost`.
pub(crate) fn is_loopback(host: &str) -> bool {
    ["127.0.0.1", "::1"].contains(&host) || host.eq_ignore_ascii_case("localhost")
}

/// Parses a TCP port. 0 stands for no port.
///
/// # Errors
/// The text is not a number from 1 to 65535.
pub fn parse_port(text: &str) -> Result<NonZeroU16, AddressError> {
    let number = Some(text).filter(|text| is_number(text));
    number
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| AddressError::Port(text.to_owned()))
}

/// Splits `host:port` or `[address]:port`.
pub(super) fn split_host(text: &str) -> Result<(&str, &str), AddressError> {
    let form = || AddressError::Form(text.to_owned());

    if let Some(inside) = text.strip_prefix('[') {
        let (host, port) = inside.split_once("]:").ok_or_else(form)?;
        return if host.contains(':') {
            Ok((host, port))
        } else {
            Err(AddressError::Host(host.to_owned()))
        };
    }

    let (host, port) = text.rsplit_once(':').ok_or_else(form)?;
    if text.parse::<IpAddr>().is_ok() || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) {
        return Err(AddressError::Brackets(text.to_owned()));
    }

    Ok((host, port))
}

/// Returns true if the text has digits only.
pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Parses the absolute path of a socket on the far side.
fn parse_socket(path: &str) -> Result<ConnectAddress, AddressError> {
    if path.contains('\0') {
        return Err(AddressError::Nul);
    }
    if path.len() > MAX_REMOTE_PATH_BYTES {
        return Err(AddressError::LongPath(path.len()));
    }

    Ok(ConnectAddress::Socket(path.to_owned()))
}

/// Returns true for a character of a host name. Names in other scripts are left to the far side.
fn is_in_name(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '-' | '.' | '_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn host(host: &str, port: u16) -> ConnectAddress {
        ConnectAddress::Host(HostPort {
            host: host.to_owned(),
            port: NonZeroU16::new(port).unwrap(),
        })
    }

    #[test]
    fn each_form_is_read_and_shown() {
        let port = |port| ConnectAddress::Port(NonZeroU16::new(port).unwrap());
        for (text, address, shown) in [
            ("5432", port(5432), "127.0.0.1:5432"),
            (" 1 ", port(1), "127.0.0.1:1"),
            ("65535", port(65535), "127.0.0.1:65535"),
            ("080", port(80), "127.0.0.1:80"),
            ("db:5432", host("db", 5432), "db:5432"),
            ("10.0.0.7:80", host("10.0.0.7", 80), "10.0.0.7:80"),
            (
                "my_db.corp.example.:80",
                host("my_db.corp.example.", 80),
                "my_db.corp.example.:80",
            ),
            (
                "bücher.example:80",
                host("bücher.example", 80),
                "bücher.example:80",
            ),
            ("[::1]:5432", host("::1", 5432), "[::1]:5432"),
            (
                "[fe80::1%eth0]:22",
                host("fe80::1%eth0", 22),
                "[fe80::1%eth0]:22",
            ),
            (
                "/run/pg/.s.PGSQL.5432",
                ConnectAddress::Socket("/run/pg/.s.PGSQL.5432".to_owned()),
                "/run/pg/.s.PGSQL.5432",
            ),
            ("/a:1", ConnectAddress::Socket("/a:1".to_owned()), "/a:1"),
            (
                "/a\x1bb",
                ConnectAddress::Socket("/a\x1bb".to_owned()),
                "/a\\u{1b}b",
            ),
            ("socks", ConnectAddress::Socks, "socks"),
            ("SOCKS", ConnectAddress::Socks, "socks"),
        ] {
            let parsed = ConnectAddress::parse(text);
            assert_eq!(parsed.as_ref(), Ok(&address), "{text}");
            assert_eq!(address.to_string(), shown, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_the_part_at_fault() {
        let owned = str::to_owned;
        for (text, error) in [
            ("", AddressError::Empty),
            (" \n", AddressError::Empty),
            ("0", AddressError::Port(owned("0"))),
            ("65536", AddressError::Port(owned("65536"))),
            (
                "99999999999999999999",
                AddressError::Port(owned("99999999999999999999")),
            ),
            ("-1", AddressError::Form(owned("-1"))),
            ("web", AddressError::Form(owned("web"))),
            ("./socket", AddressError::Form(owned("./socket"))),
            ("~/socket", AddressError::Form(owned("~/socket"))),
            ("web:", AddressError::Port(owned(""))),
            ("web:http", AddressError::Port(owned("http"))),
            ("web:+80", AddressError::Port(owned("+80"))),
            ("web:0", AddressError::Port(owned("0"))),
            (":80", AddressError::Host(owned(""))),
            ("*:80", AddressError::Host(owned("*"))),
            ("-web:80", AddressError::Host(owned("-web"))),
            ("a b:80", AddressError::Host(owned("a b"))),
            ("a:80:90", AddressError::Host(owned("a:80"))),
            ("http://a:80", AddressError::Host(owned("http://a"))),
            ("::1", AddressError::Brackets(owned("::1"))),
            (
                "fe80::1:5432",
                AddressError::Brackets(owned("fe80::1:5432")),
            ),
            ("[::1]", AddressError::Form(owned("[::1]"))),
            ("[web]:80", AddressError::Host(owned("web"))),
            ("[::g]:80", AddressError::Host(owned("::g"))),
            ("[::1%]:80", AddressError::Host(owned("::1%"))),
            ("/a\0b", AddressError::Nul),
        ] {
            assert_eq!(ConnectAddress::parse(text), Err(error), "{text:?}");
        }

        let long = format!("/{}", "a".repeat(MAX_REMOTE_PATH_BYTES));
        assert_eq!(
            ConnectAddress::parse(&long),
            Err(AddressError::LongPath(108))
        );
        let long = "a".repeat(MAX_HOST_BYTES + 1);
        assert_eq!(
            ConnectAddress::parse(&format!("{long}:1")),
            Err(AddressError::Host(long))
        );
    }

    proptest! {
        #[test]
        fn an_address_is_read_again_as_it_is_shown(text in "\\PC{0,40}|[a-z:.0-9\\[\\]/]{0,20}") {
            if let Ok(address) = ConnectAddress::parse(&text) {
                let shown = address.to_string();
                let again = ConnectAddress::parse(&shown).unwrap();
                prop_assert_eq!(again.to_string(), shown);
            }
        }
    }
}
