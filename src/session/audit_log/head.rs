//! The head of the chain, in a log of the system that this user cannot rewrite.

use std::{io, path::Path};

#[cfg(unix)]
use crate::foreign_text::escape_line;
use crate::{audit::chain::Tail, settings::AuditHead};

/// Sends the head of the log at `path` to the log of the system. Waits for nobody.
///
/// # Errors
/// The log of the system does not take it.
#[cfg(unix)]
pub(super) fn send(to: AuditHead, path: &Path, tail: &Tail) -> io::Result<()> {
    match to {
        AuditHead::None => Ok(()),
        AuditHead::Journald => datagram(
            journal_entry(path, tail).as_bytes(),
            &["/run/systemd/journal/socket"],
        ),
        // The second is that of macOS.
        AuditHead::Syslog => datagram(
            syslog_message(path, tail).as_bytes(),
            &["/dev/log", "/var/run/syslog"],
        ),
    }
}

/// Fails: this system has neither.
#[cfg(not(unix))]
pub(super) fn send(to: AuditHead, _: &Path, _: &Tail) -> io::Result<()> {
    match to {
        AuditHead::None => Ok(()),
        AuditHead::Journald | AuditHead::Syslog => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Sends a datagram to the first of these sockets that is there.
#[cfg(unix)]
fn datagram(message: &[u8], sockets: &[&str]) -> io::Result<()> {
    use std::os::unix::net::UnixDatagram;

    let socket = UnixDatagram::unbound()?;
    // A log that is stuck must not stop the calls.
    socket.set_nonblocking(true)?;

    let mut sent = Err(io::ErrorKind::NotFound.into());
    for path in sockets {
        sent = socket.send_to(message, path).map(|_| ());
        if sent.is_ok() {
            break;
        }
    }

    sent
}

/// Returns the words of the message, in one line.
#[cfg(unix)]
fn words(path: &Path, tail: &Tail) -> String {
    let words = format!(
        "audit head {} line {} of {}",
        tail.head(),
        tail.n(),
        path.display()
    );
    escape_line(words)
}

/// Returns an entry in the native protocol of the journal (systemd's "Native Journal Protocol").
#[cfg(unix)]
fn journal_entry(path: &Path, tail: &Tail) -> String {
    format!(
        "MESSAGE={}\nPRIORITY=6\nSYSLOG_IDENTIFIER=mcp-ssh-sessions\nAUDIT_HEAD={}\nAUDIT_LINE={}\n",
        words(path, tail),
        tail.head(),
        tail.n()
    )
}

/// Returns a message in the form of RFC 3164 without the name of the host, which local logs add.
#[cfg(unix)]
fn syslog_message(path: &Path, tail: &Tail) -> String {
    /// Facility `authpriv` (10), severity `info` (6).
    const PRIORITY: u8 = 10 * 8 + 6;

    let now = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now());
    let time = now.format("%b %e %H:%M:%S");
    let process = std::process::id();

    format!(
        "<{PRIORITY}>{time} mcp-ssh-sessions[{process}]: {}",
        words(path, tail)
    )
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn a_head_is_one_entry_whatever_the_path() {
        let path = Path::new("/home/a\nAUDIT_HEAD=forged/\u{1b}[2J.jsonl");
        let tail = Tail::default();

        let entry = journal_entry(path, &tail);
        assert_eq!(entry.lines().count(), 5, "{entry}");
        assert!(entry.lines().all(|line| line.contains('=')), "{entry}");
        assert_eq!(entry.matches("\nAUDIT_HEAD=").count(), 1, "{entry}");

        let message = syslog_message(path, &tail);
        assert!(message.starts_with("<86>"), "{message}");
        assert!(!message.contains(['\n', '\u{1b}']), "{message}");
        assert!(message.contains(tail.head()), "{message}");
    }

    #[test]
    fn the_first_socket_that_is_there_gets_the_head() {
        let folder = tempfile::tempdir().unwrap();
        let [missing, here] = ["missing", "here"].map(|name| folder.path().join(name));
        let (missing, here) = (missing.to_str().unwrap(), here.to_str().unwrap());
        assert!(datagram(b"head", &[missing]).is_err());

        let log = UnixDatagram::bind(here).unwrap();
        datagram(b"head", &[missing, here]).unwrap();
        let mut bytes = [0; 16];
        let length = log.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"head");

        // A log that reads nothing blocks nobody.
        let full = (0..100_000).find_map(|_| datagram(b"head", &[here]).err());
        assert!(full.is_some());
    }
}
