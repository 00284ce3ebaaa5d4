//! The first look at the other end of a forward: is anybody there, and is it a web server?
//!
//! A server that speaks first (SSH, SMTP, FTP) is only listened to. A silent one is asked
//! for its headers, as any browser would, and only where that disturbs nothing: see [`may_ask`].

use crate::foreign_text::ForeignText;

/// Request that any web server answers, and that changes nothing there (RFC 9110, section 9.3.2).
/// Other servers end the connection, or answer with an error.
pub const REQUEST: &[u8] = b"HEAD / HTTP/1.0\r\n\r\n";
/// Length of a banner in an answer, in bytes.
const MAX_BANNER_BYTES: usize = 80;

/// Ports from 1024 on at which something other than a web server is usual. A request there would
/// leave an error in the log of a database, or come out of a printer.
const OTHER_SERVICES: [u16; 42] = [
    1433, 1434, 1521, 1883, 2049, 2181, 2379, 2380, 3306, 3389, 4222, 4369, 5432, 5433, 5671, 5672,
    5900, 5901, 6379, 6380, 6432, 6443, 7000, 7687, 8443, 8883, 9042, 9092, 9093, 9100, 9300, 9443,
    11211, 20000, 26257, 26379, 27017, 27018, 27019, 33060, 44818, 50000,
];
/// Ports below 1024 at which a web server without TLS is usual.
const WEB_BELOW_1024: [u16; 4] = [80, 81, 591, 631];

/// Result of the first look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FarEnd {
    /// The server spoke first. This is the beginning of what it said.
    Banner(ForeignText),
    /// The server speaks HTTP.
    Http,
    /// The server accepted the connection and said nothing that is known.
    Silent,
}

/// Returns true if a silent server at this port may be asked whether it speaks HTTP.
#[must_use]
pub fn may_ask(port: u16) -> bool {
    if port < 1024 {
        WEB_BELOW_1024.contains(&port)
    } else {
        !OTHER_SERVICES.contains(&port)
    }
}

/// Returns true if this is the beginning of an answer over HTTP.
#[must_use]
pub fn is_http(answer: &[u8]) -> bool {
    answer.starts_with(b"HTTP/")
}

/// Returns the beginning of what a server said first.
#[must_use]
pub fn banner(said: &[u8]) -> ForeignText {
    let beginning = said.get(..MAX_BANNER_BYTES).unwrap_or(said);
    ForeignText::from(beginning.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_a_web_server_is_asked() {
        for port in [80, 3000, 5173, 8000, 8080, 8888, 9090, 41_231] {
            assert!(may_ask(port), "{port}");
        }
        for port in [21, 25, 102, 443, 502, 3306, 5432, 6379, 9100, 11211, 27017] {
            assert!(!may_ask(port), "{port}");
        }
    }

    #[test]
    fn a_banner_is_short_and_escaped() {
        for (said, shown) in [
            (&b"SSH-2.0-OpenSSH_9.6\r\n"[..], "SSH-2.0-OpenSSH_9.6"),
            (b"J\0\0\0\n8.0.36\0", "J\\0\\0\\0\\n8.0.36\\0"),
            (b"\x1b[2J220 mail", "\\u{1b}[2J220 mail"),
            (&[b'a'; 1000], &"a".repeat(MAX_BANNER_BYTES)),
        ] {
            assert_eq!(banner(said).to_string(), shown);
        }
    }

    #[test]
    fn an_answer_over_http_is_known_by_its_beginning() {
        assert!(is_http(b"HTTP/1.1 404 Not Found\r\n"));
        assert!(!is_http(b"-ERR unknown command 'HEAD'\r\n"));
        assert!(!is_http(b""));
    }
}
