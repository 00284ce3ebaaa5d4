//! The state of a forward, for lists and answers.

use core::fmt;

use super::{address::ConnectAddress, listen::ListenAddress};
use crate::foreign_text::ForeignText;

/// State of a forward at one moment. `Display` writes one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardState {
    /// Number of the forward, unique in the process. Shown as `f1`.
    pub id: u64,
    /// Name of the session to which the forward belongs.
    pub session: ForeignText,
    /// Side that listens.
    pub direction: ForwardDirection,
    /// Address at which the listener is, never port 0.
    pub listen: ListenAddress,
    /// Address to which connections lead.
    pub to: ConnectAddress,
    /// True if the other end speaks HTTP, so that the listener is shown as a URL.
    pub is_http: bool,
    /// State of the way to the other end.
    pub way: ForwardWay,
    /// Connections and bytes so far.
    pub counts: ForwardCounts,
}

/// Side that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardDirection {
    /// This machine listens, and the host connects.
    Local,
    /// The host listens, and this machine connects.
    Remote,
}

/// State of the way from the listener to the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardWay {
    /// New connections are passed on.
    Open,
    /// The link is down. New connections to this machine wait for the next link, and the host does
    /// not listen.
    Reconnecting,
    /// The other end refused the latest connection, for this reason.
    Refused(ForeignText),
    /// The host refuses to listen, for this reason, and is asked again.
    NotListening(ForeignText),
    /// The session cannot be connected in the background, for this reason. The next call that
    /// connects it makes the host listen.
    Disconnected(ForeignText),
}

/// Connections and bytes of a forward since the listener opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForwardCounts {
    /// Connections that are open now.
    pub open: usize,
    /// Connections that were accepted: from processes of this user, or at the host.
    pub accepted: u64,
    /// Connections that did not reach the far side, because it refused or there was no link.
    pub failed: u64,
    /// Connections that were passed on and ended early, because the link was lost or a side reset
    /// the connection.
    pub reset: u64,
    /// Connections of other users, or of processes that had gone before they could be recognised.
    /// They were reset before any byte was passed on.
    pub strangers: u64,
    /// Bytes passed on towards the address `to`.
    pub bytes_to: u64,
    /// Bytes passed on from the address `to`.
    pub bytes_from: u64,
}

impl ForwardState {
    /// Returns the address of the listener as a URL if it is known what the other end speaks.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        let scheme = match (&self.to, &self.listen) {
            (ConnectAddress::Socks, ListenAddress::Port(_)) => "socks5h",
            (_, ListenAddress::Port(_)) if self.is_http => "http",
            _ => return None,
        };

        Some(format!("{scheme}://{}", self.listen))
    }
}

impl ForwardWay {
    /// Returns this state in words, for a forward with this direction, without the reason.
    #[must_use]
    pub fn phrase(&self, direction: ForwardDirection) -> &'static str {
        match (self, direction) {
            (Self::Open, _) => "open",
            (Self::Reconnecting, _) => "reconnecting",
            (Self::Refused(_), ForwardDirection::Local) => "far end refuses",
            (Self::Refused(_), ForwardDirection::Remote) => "this machine refuses",
            (Self::NotListening(_), _) => "host refuses",
            (Self::Disconnected(_), _) => "not connected",
        }
    }

    /// Returns why connections are not passed on, if that is known.
    #[must_use]
    pub fn reason(&self) -> Option<&ForeignText> {
        match self {
            Self::Refused(reason) | Self::NotListening(reason) | Self::Disconnected(reason) => {
                Some(reason)
            }
            Self::Open | Self::Reconnecting => None,
        }
    }
}

impl fmt::Display for ForwardState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, session) = (self.id, &self.session);
        let listen = self.url().unwrap_or_else(|| self.listen.to_string());

        match (self.direction, &self.to) {
            (ForwardDirection::Local, ConnectAddress::Socks) => {
                write!(f, "f{id} · {listen} → {session}")?;
            }
            (ForwardDirection::Local, to) => {
                write!(f, "f{id} · {listen} → {session} {to}")?;
            }
            (ForwardDirection::Remote, ConnectAddress::Socks) => {
                write!(f, "f{id} · {session} {listen} → this machine")?;
            }
            (ForwardDirection::Remote, to) => {
                write!(f, "f{id} · {session} {listen} → this machine {to}")?;
            }
        }

        if self.way != ForwardWay::Open {
            write!(f, " · {}", self.way.phrase(self.direction))?;
        }
        if let Some(reason) = self.way.reason().filter(|reason| !reason.is_empty()) {
            write!(f, ": {reason}")?;
        }

        self.counts.fmt(f)?;

        let (to, from) = (self.counts.bytes_to, self.counts.bytes_from);
        let (outwards, inwards) = match self.direction {
            ForwardDirection::Local => (to, from),
            ForwardDirection::Remote => (from, to),
        };
        if outwards + inwards > 0 {
            let [outwards, inwards] = [outwards, inwards].map(amount);
            write!(f, " · {outwards} out, {inwards} in")?;
        }

        Ok(())
    }
}

impl fmt::Display for ForwardCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.accepted > 0 {
            let (open, accepted) = (self.open, self.accepted);
            write!(f, " · {open} of {accepted} connections open")?;
        }
        if self.failed > 0 {
            write!(f, " · {} failed", self.failed)?;
        }
        if self.reset > 0 {
            write!(f, " · {} reset", self.reset)?;
        }
        if self.strangers > 0 {
            write!(f, " · {} of other or unknown users refused", self.strangers)?;
        }
        Ok(())
    }
}

/// Writes a number of bytes with a unit, rounded down.
fn amount(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.into_iter().find(|(size, _)| bytes >= *size);

    match unit {
        Some((size, unit)) => format!("{}.{} {unit}", bytes / size, bytes % size * 10 / size),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(listen: &str, to: &str) -> ForwardState {
        ForwardState {
            id: 1,
            session: "web".into(),
            direction: ForwardDirection::Local,
            listen: ListenAddress::parse(listen).unwrap(),
            to: ConnectAddress::parse(to).unwrap(),
            is_http: false,
            way: ForwardWay::Open,
            counts: ForwardCounts::default(),
        }
    }

    #[test]
    fn a_state_is_one_line() {
        let page = ForwardState {
            is_http: true,
            ..state("5173", "5173")
        };
        let remote = ForwardState {
            direction: ForwardDirection::Remote,
            ..state("8080", "3000")
        };
        let counts = ForwardCounts {
            open: 2,
            accepted: 14,
            failed: 4,
            reset: 1,
            strangers: 3,
            bytes_to: 1023,
            bytes_from: 12_897_484,
        };

        let ways = [
            (
                ForwardWay::Refused("no\nway".into()),
                "this machine refuses: no\\nway",
            ),
            (
                ForwardWay::NotListening("taken".into()),
                "host refuses: taken",
            ),
            (
                ForwardWay::Disconnected("denied".into()),
                "not connected: denied",
            ),
        ];
        for (way, ends) in ways {
            let state = ForwardState {
                way,
                ..remote.clone()
            };
            let line = format!("f1 · web 127.0.0.1:8080 → this machine 127.0.0.1:3000 · {ends}");
            assert_eq!(state.to_string(), line);
        }

        let lent = ForwardState {
            counts: ForwardCounts {
                bytes_to: 1,
                bytes_from: 2048,
                ..ForwardCounts::default()
            },
            ..remote.clone()
        };
        let line = lent.to_string();
        assert!(line.ends_with(" · 2.0 KiB out, 1 B in"), "{line}");

        for (state, line) in [
            (
                page.clone(),
                "f1 · http://127.0.0.1:5173 → web 127.0.0.1:5173",
            ),
            (
                state("5433", "db:5432"),
                "f1 · 127.0.0.1:5433 → web db:5432",
            ),
            (state("/tmp/pg", "/run/pg"), "f1 · /tmp/pg → web /run/pg"),
            (
                state("1080", "socks"),
                "f1 · socks5h://127.0.0.1:1080 → web",
            ),
            (
                remote,
                "f1 · web 127.0.0.1:8080 → this machine 127.0.0.1:3000",
            ),
            (
                ForwardState {
                    way: ForwardWay::Reconnecting,
                    ..page.clone()
                },
                "f1 · http://127.0.0.1:5173 → web 127.0.0.1:5173 · reconnecting",
            ),
            (
                ForwardState {
                    way: ForwardWay::Refused("no\nway".into()),
                    ..state("1", "2")
                },
                "f1 · 127.0.0.1:1 → web 127.0.0.1:2 · far end refuses: no\\nway",
            ),
            (
                ForwardState {
                    counts,
                    ..state("1", "2")
                },
                "f1 · 127.0.0.1:1 → web 127.0.0.1:2 · 2 of 14 connections open · 4 failed · 1 reset · 3 of other or unknown users refused · 1023 B out, 12.2 MiB in",
            ),
        ] {
            assert_eq!(state.to_string(), line);
        }
    }
}
