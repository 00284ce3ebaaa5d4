//! The handshake of SOCKS 4, 4a and 5 (RFC 1928) on the side of the proxy. Only CONNECT without
//! authentication is served, and names stay names.

use core::{
    net::{Ipv4Addr, Ipv6Addr},
    num::NonZeroU16,
    time::Duration,
};

use super::address::{HostPort, MAX_HOST_BYTES, parse_host};

/// Time limit that a proxy sets for a handshake.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);
/// Limit of the user id in a SOCKS 4 request, in bytes. The id is ignored.
const MAX_USER_ID_BYTES: usize = 255;
/// Method of SOCKS 5 without authentication.
const NO_AUTHENTICATION: u8 = 0;
/// Command to connect, in both versions.
const CONNECT: u8 = 1;

/// Handshake of one client. The caller pushes bytes in any pieces, and calls
/// [`next_event`](Self::next_event) after each piece. Ends with a request or an error.
#[derive(Debug, Default)]
pub struct SocksHandshake {
    /// Bytes that are not parsed yet.
    received: Vec<u8>,
    /// True once the method of SOCKS 5 is agreed on.
    has_method: bool,
}

/// Event of a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocksEvent {
    /// Bytes for the client, who sends the request after them.
    Send(Vec<u8>),
    /// Request of the client, which is answered by [`SocksVersion::reply`].
    Connect(SocksRequest),
}

/// Request to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocksRequest {
    /// Version of the request, for the reply.
    pub version: SocksVersion,
    /// Address to connect to.
    pub to: HostPort,
    /// Bytes that came after the request. The client meant them for the address.
    pub early: Vec<u8>,
}

/// Version of a SOCKS request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocksVersion {
    /// SOCKS 4 or 4a.
    Four,
    /// SOCKS 5.
    Five,
}

/// Outcome of a request, for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocksOutcome {
    /// The address is connected.
    Connected,
    /// The address could not be connected, for an unknown reason.
    Failed,
    /// The server forbids the connection.
    Forbidden,
    /// The host cannot be reached.
    Unreachable,
    /// The command is not CONNECT.
    UnknownCommand,
    /// The type of address is unknown.
    UnknownAddressType,
}

/// Reason why a handshake ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SocksError {
    /// The first byte is not a version of SOCKS.
    #[error("the client does not speak SOCKS")]
    NotSocks,
    /// The client insists on authentication.
    #[error("the SOCKS client insists on authentication")]
    Authentication,
    /// The command is not CONNECT.
    #[error("the SOCKS client wants another command than CONNECT")]
    Command(SocksVersion),
    /// The type of address is unknown.
    #[error("the SOCKS client uses an unknown type of address")]
    AddressType,
    /// The host or the port cannot be connected to, or a field is too long.
    #[error("the SOCKS client names an address that is not valid")]
    Address(SocksVersion),
}

impl SocksHandshake {
    /// Takes bytes of the client.
    pub fn push(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    /// Returns the next event, or `None` if the bytes so far do not suffice. After a request or an
    /// error the handshake is of no further use.
    ///
    /// The handshake holds at most 600 bytes before the end of the request, besides the piece that
    /// was pushed last.
    ///
    /// # Errors
    /// The bytes are not a handshake that is served. [`SocksError::reply`] is for the client.
    pub fn next_event(&mut self) -> Result<Option<SocksEvent>, SocksError> {
        match (self.received.first(), self.has_method) {
            (None, _) => Ok(None),
            (Some(4), false) => self.request(SocksVersion::Four),
            (Some(5), false) => self.method(),
            (Some(5), true) => self.request(SocksVersion::Five),
            _ => Err(SocksError::NotSocks),
        }
    }

    /// Reads the methods that the client offers, and agrees on none.
    fn method(&mut self) -> Result<Option<SocksEvent>, SocksError> {
        let mut fields = Fields(&self.received);
        let Some((_, methods)) = fields
            .byte()
            .and_then(|version| Some((version, fields.counted()?)))
        else {
            return Ok(None);
        };

        if !methods.contains(&NO_AUTHENTICATION) {
            return Err(SocksError::Authentication);
        }

        self.received = fields.0.to_vec();
        self.has_method = true;
        Ok(Some(SocksEvent::Send(vec![5, NO_AUTHENTICATION])))
    }

    /// Reads a request.
    fn request(&mut self, version: SocksVersion) -> Result<Option<SocksEvent>, SocksError> {
        let mut fields = Fields(&self.received);
        let read = match version {
            SocksVersion::Four => read_four(&mut fields),
            SocksVersion::Five => read_five(&mut fields),
        };

        Ok(read?.map(|to| {
            let early = fields.0.to_vec();
            SocksEvent::Connect(SocksRequest { version, to, early })
        }))
    }
}

impl SocksVersion {
    /// Returns the reply to a request. The bound address is left out, as OpenSSH does.
    #[must_use]
    pub fn reply(self, outcome: SocksOutcome) -> Vec<u8> {
        match self {
            Self::Four => {
                let granted = outcome == SocksOutcome::Connected;
                vec![0, if granted { 90 } else { 91 }, 0, 0, 0, 0, 0, 0]
            }
            Self::Five => {
                let code = match outcome {
                    SocksOutcome::Connected => 0,
                    SocksOutcome::Failed => 1,
                    SocksOutcome::Forbidden => 2,
                    SocksOutcome::Unreachable => 4,
                    SocksOutcome::UnknownCommand => 7,
                    SocksOutcome::UnknownAddressType => 8,
                };
                vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0]
            }
        }
    }
}

impl SocksError {
    /// Returns the last bytes for the client; empty if the client does not speak SOCKS.
    #[must_use]
    pub fn reply(self) -> Vec<u8> {
        match self {
            Self::NotSocks => Vec::new(),
            Self::Authentication => vec![5, 0xff],
            Self::Command(version) => version.reply(SocksOutcome::UnknownCommand),
            Self::AddressType => SocksVersion::Five.reply(SocksOutcome::UnknownAddressType),
            Self::Address(version) => version.reply(SocksOutcome::Failed),
        }
    }
}

/// Reads a request of version 4 or 4a; `None` if bytes are missing.
fn read_four(fields: &mut Fields) -> Result<Option<HostPort>, SocksError> {
    let invalid = SocksError::Address(SocksVersion::Four);
    let Some([_, command]) = fields.array() else {
        return Ok(None);
    };
    if command != CONNECT {
        return Err(SocksError::Command(SocksVersion::Four));
    }

    let Some((port, address)) = fields
        .array()
        .and_then(|port| Some((port, fields.array()?)))
    else {
        return Ok(None);
    };
    let Some(_user) = fields
        .terminated(MAX_USER_ID_BYTES)
        .map_err(|TooLong| invalid)?
    else {
        return Ok(None);
    };

    // 4a: such an address says that a name follows.
    let host = match address {
        [0, 0, 0, last] if last != 0 => {
            match fields
                .terminated(MAX_HOST_BYTES)
                .map_err(|TooLong| invalid)?
            {
                Some(name) => name.to_vec(),
                None => return Ok(None),
            }
        }
        address => Ipv4Addr::from(address).to_string().into_bytes(),
    };

    host_port(host, port).map(Some).ok_or(invalid)
}

/// Reads a request of version 5; `None` if bytes are missing.
fn read_five(fields: &mut Fields) -> Result<Option<HostPort>, SocksError> {
    let Some([_, command]) = fields.array() else {
        return Ok(None);
    };
    if command != CONNECT {
        return Err(SocksError::Command(SocksVersion::Five));
    }

    let Some([_reserved, address_type]) = fields.array() else {
        return Ok(None);
    };
    let host = match address_type {
        1 => fields
            .array::<4>()
            .map(|four| Ipv4Addr::from(four).to_string().into_bytes()),
        3 => fields.counted().map(<[u8]>::to_vec),
        4 => fields
            .array::<16>()
            .map(|six| Ipv6Addr::from(six).to_string().into_bytes()),
        _ => return Err(SocksError::AddressType),
    };
    let Some((host, port)) = host.and_then(|host| Some((host, fields.array()?))) else {
        return Ok(None);
    };

    host_port(host, port)
        .map(Some)
        .ok_or(SocksError::Address(SocksVersion::Five))
}

/// Returns the address; `None` if the host or the port is not valid.
fn host_port(host: Vec<u8>, port: [u8; 2]) -> Option<HostPort> {
    let host = String::from_utf8(host).ok()?;
    parse_host(&host).ok()?;

    Some(HostPort {
        host,
        port: NonZeroU16::new(u16::from_be_bytes(port))?,
    })
}

/// Bytes that are still to be read, field by field. A field that is not complete is `None`.
struct Fields<'a>(&'a [u8]);

/// A text has not ended within its limit.
struct TooLong;

impl<'a> Fields<'a> {
    /// Reads a number of one byte.
    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    /// Reads a fixed number of bytes.
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    /// Reads bytes after their number.
    fn counted(&mut self) -> Option<&'a [u8]> {
        let (count, rest) = self.0.split_first()?;
        let (bytes, rest) = rest.split_at_checked(usize::from(*count))?;
        self.0 = rest;
        Some(bytes)
    }

    /// Reads a text up to a NUL byte.
    fn terminated(&mut self, max_bytes: usize) -> Result<Option<&'a [u8]>, TooLong> {
        match memchr::memchr(0, self.0) {
            Some(end) if end <= max_bytes => {
                let (text, rest) = self.0.split_at_checked(end).unwrap_or_default();
                self.0 = rest.get(1..).unwrap_or_default();
                Ok(Some(text))
            }
            None if self.0.len() <= max_bytes => Ok(None),
            _ => Err(TooLong),
        }
    }
}

#[cfg(test)]
mod tests;
