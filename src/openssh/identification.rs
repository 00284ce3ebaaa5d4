//! Unencrypted beginning of a server's data: lines of text, the identification (RFC 4253, section
//! 4.2), and the offered algorithms (section 7.1).

use super::wire::WireReader;
use crate::foreign_text::ForeignText;

/// `SSH_MSG_KEXINIT`.
const KEXINIT: u8 = 20;
/// Number of random bytes before the lists of a `SSH_MSG_KEXINIT`.
const COOKIE: usize = 16;

/// First words of a server, complete or cut off. `doctor` explains a failed handshake with this.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionExchange {
    /// Lines before the identification, or all lines if the identification is missing.
    pub lines: Vec<ForeignText>,
    /// Identification such as `SSH-2.0-OpenSSH_9.9`, or `None` if not received.
    pub identification: Option<ForeignText>,
    /// Algorithms offered by the server, or `None` if not received.
    pub offers: Option<Offers>,
}

/// Algorithms which a server offers, as comma-separated lists, best first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offers {
    /// Methods of key exchange.
    pub key_exchange: ForeignText,
    /// Host key algorithms, with which the server authenticates.
    pub host_key: ForeignText,
    /// Ciphers from the client to the server.
    pub cipher: ForeignText,
    /// Message authentication codes from the client to the server.
    pub mac: ForeignText,
}

impl VersionExchange {
    /// Parses the beginning of a server's data, which may end anywhere.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let (mut exchange, mut rest) = (Self::default(), bytes);
        while !rest.is_empty() {
            // The last line may be cut off, and is worth showing all the same.
            let line_feed = rest.iter().position(|byte| *byte == b'\n');

            let (line, after) = match line_feed {
                Some(at) => (
                    rest.get(..at).unwrap_or_default(),
                    rest.get(at + 1..).unwrap_or_default(),
                ),
                None => (rest, &[][..]),
            };

            let line = ForeignText::from(line.strip_suffix(b"\r").unwrap_or(line));

            // The packet of algorithms follows at once; nothing after the identification is text.
            if line.raw().starts_with("SSH-") {
                exchange.identification = Some(line);
                exchange.offers = offers(after);
                return exchange;
            }

            exchange.lines.push(line);
            rest = after;
        }

        exchange
    }
}

/// Parses the lists of a `SSH_MSG_KEXINIT` packet.
fn offers(packet: &[u8]) -> Option<Offers> {
    // The packet is not encrypted yet: length, length of the padding, then the type.
    let mut reader = WireReader::new(packet);
    let (_length, _padding) = (reader.u32()?, reader.u8()?);
    if reader.u8()? != KEXINIT {
        return None;
    }

    for _ in 0..COOKIE {
        reader.u8()?;
    }

    let mut list = || Some(ForeignText::from(reader.string()?));

    // The lists for the other direction (server to client) are the same in practice.
    let (key_exchange, host_key, cipher, _) = (list()?, list()?, list()?, list()?);

    Some(Offers {
        key_exchange,
        host_key,
        cipher,
        mac: list()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openssh::wire::string;

    #[test]
    fn a_server_says_who_it_is_and_what_it_has() {
        let lists: Vec<u8> = ["k1,k2", "h", "c", "c2", "m"]
            .iter()
            .flat_map(|list| string(list.as_bytes()))
            .collect();

        let packet = [&[0, 0, 0, 99, 4, KEXINIT][..], &[7; COOKIE], &lists].concat();
        let whole = [b"hello\r\n\xff\nSSH-2.0-x y\r\n".as_slice(), &packet].concat();

        let offers = Offers {
            key_exchange: "k1,k2".into(),
            host_key: "h".into(),
            cipher: "c".into(),
            mac: "m".into(),
        };

        let exchange = VersionExchange::read(&whole);
        assert_eq!(exchange.lines, ["hello", "\u{fffd}"].map(ForeignText::from));
        assert_eq!(
            (exchange.identification, exchange.offers),
            (Some("SSH-2.0-x y".into()), Some(offers))
        );

        for cut in 0..whole.len() {
            let _ = VersionExchange::read(&whole[..cut]);
        }
    }

    #[test]
    fn what_is_not_ssh_is_lines_alone() {
        for (bytes, lines) in [
            (&b""[..], vec![]),
            (
                b"HTTP/1.1 400 Bad Request\r\n\r\n",
                vec!["HTTP/1.1 400 Bad Request", ""],
            ),
        ] {
            let exchange = VersionExchange::read(bytes);
            assert_eq!(
                (exchange.lines, exchange.identification),
                (lines.into_iter().map(ForeignText::from).collect(), None)
            );
        }

        assert_eq!(
            VersionExchange::read(b"SSH-2.0-cut").identification,
            Some("SSH-2.0-cut".into())
        );

        assert_eq!(
            VersionExchange::read(b"SSH-2.0-x\n\0\0\0\x05\x01\x15").offers,
            None
        );
    }
}
