//! The end of a forward at which connections come in.

use core::{fmt, num::NonZeroU16};

use super::address::{AddressError, is_loopback, is_number, parse_port, split_host};
use crate::foreign_text::escape_line;

/// Limit of a socket path on this machine, in bytes. `sun_path` has room for 108 or 104 bytes, one
/// of which is the final NUL (`unix(7)`, `unix(4)`).
pub const MAX_SOCKET_PATH_BYTES: usize = if cfg!(any(target_os = "linux", target_os = "android")) {
    107
} else {
    103
};

/// Address at which a forward listens. A port is on loopback only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// TCP port on loopback.
    Port(NonZeroU16),
    /// Absolute path of a Unix socket, which is created with mode 0600.
    Socket(String),
}

/// Reason why a forward cannot listen at an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenAddressError {
    /// The text is neither a port nor an absolute path.
    #[error("{0:?} is not a port or an absolute socket path")]
    Form(String),
    /// The port is not a number from 1 to 65535.
    #[error("{0:?} is not a port; a port is a number from 1 to 65535")]
    Port(String),
    /// The address is not on loopback.
    #[error("a forward listens on loopback only, never on {0:?}")]
    NotLoopback(String),
    /// The socket path is too long for the system.
    #[error("the socket path has {0} bytes; the system's limit is {MAX_SOCKET_PATH_BYTES}")]
    LongPath(usize),
    /// The socket path holds a NUL byte or ends with `/`.
    #[error("{0:?} is not the path of a socket")]
    Path(String),
}

impl ListenAddress {
    /// Parses the parameter `listen`. The caller has expanded a leading `~`.
    ///
    /// # Errors
    /// The text has none of the forms, names another address than loopback, or is a path that is
    /// too long.
    pub fn parse(text: &str) -> Result<Self, ListenAddressError> {
        let text = text.trim();
        let form = || ListenAddressError::Form(text.to_owned());

        if text.starts_with('/') {
            return parse_socket(text);
        }
        if is_number(text) {
            return port(text);
        }

        let (host, number) = match split_host(text) {
            Ok(parts) => parts,
            Err(AddressError::Host(host)) => return Err(ListenAddressError::NotLoopback(host)),
            Err(_) => return Err(form()),
        };
        match host {
            host if is_loopback(host) => port(number),
            _ if is_number(number) => Err(ListenAddressError::NotLoopback(host.to_owned())),
            _ => Err(form()),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "127.0.0.1:{port}"),
            Self::Socket(path) => f.write_str(&escape_line(path)),
        }
    }
}

/// Parses a port to listen at.
fn port(text: &str) -> Result<ListenAddress, ListenAddressError> {
    parse_port(text)
        .map(ListenAddress::Port)
        .map_err(|_| ListenAddressError::Port(text.to_owned()))
}

/// Parses the path of a socket to create.
fn parse_socket(path: &str) -> Result<ListenAddress, ListenAddressError> {
    if path.contains('\0') || path.ends_with('/') {
        return Err(ListenAddressError::Path(path.to_owned()));
    }
    if path.len() > MAX_SOCKET_PATH_BYTES {
        return Err(ListenAddressError::LongPath(path.len()));
    }

    Ok(ListenAddress::Socket(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_socket_paths_are_read_and_shown() {
        let port = |port| ListenAddress::Port(NonZeroU16::new(port).unwrap());
        for (text, address, shown) in [
            ("8080", port(8080), "127.0.0.1:8080"),
            (" 22 ", port(22), "127.0.0.1:22"),
            ("127.0.0.1:8080", port(8080), "127.0.0.1:8080"),
            ("LocalHost:8080", port(8080), "127.0.0.1:8080"),
            ("[::1]:8080", port(8080), "127.0.0.1:8080"),
            (
                "/tmp/pg",
                ListenAddress::Socket("/tmp/pg".to_owned()),
                "/tmp/pg",
            ),
        ] {
            assert_eq!(ListenAddress::parse(text).as_ref(), Ok(&address), "{text}");
            assert_eq!(address.to_string(), shown, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let owned = str::to_owned;
        for (text, error) in [
            ("", ListenAddressError::Form(owned(""))),
            ("web", ListenAddressError::Form(owned("web"))),
            ("tmp/socket", ListenAddressError::Form(owned("tmp/socket"))),
            ("::1", ListenAddressError::Form(owned("::1"))),
            ("web:http", ListenAddressError::Form(owned("web:http"))),
            ("0", ListenAddressError::Port(owned("0"))),
            ("70000", ListenAddressError::Port(owned("70000"))),
            ("localhost:0", ListenAddressError::Port(owned("0"))),
            (
                "0.0.0.0:80",
                ListenAddressError::NotLoopback(owned("0.0.0.0")),
            ),
            ("[::]:80", ListenAddressError::NotLoopback(owned("::"))),
            ("*:80", ListenAddressError::NotLoopback(owned("*"))),
            (":80", ListenAddressError::NotLoopback(owned(""))),
            ("[web]:80", ListenAddressError::NotLoopback(owned("web"))),
            ("/tmp/", ListenAddressError::Path(owned("/tmp/"))),
            ("/tmp/\0", ListenAddressError::Path(owned("/tmp/\0"))),
        ] {
            assert_eq!(ListenAddress::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_path_fits_up_to_the_limit_of_the_system() {
        let fits = format!("/{}", "a".repeat(MAX_SOCKET_PATH_BYTES - 1));
        assert!(ListenAddress::parse(&fits).is_ok());
        assert_eq!(
            ListenAddress::parse(&format!("{fits}a")),
            Err(ListenAddressError::LongPath(MAX_SOCKET_PATH_BYTES + 1))
        );
    }
}
