//! The decision for a connection whose local program takes bytes more slowly than the far side
//! sends them.

use core::time::Duration;

/// Limit of the bytes that wait for a local program, for each connection.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;
/// Limit of the bytes that wait in all connections of the process together.
const MAX_WAITING_BYTES_IN_ALL: usize = 256 * 1024 * 1024;
/// Bytes that may wait before a connection throttles the far side. As many arrive in the time in
/// which a link of 40 ms starts to flow again.
const THROTTLED_FROM_BYTES: usize = 4 * 1024 * 1024;
/// Bytes that may wait in each connection even if all together exceed their limit.
pub const ALWAYS_ALLOWED_BYTES: usize = 256 * 1024;
/// Time for which others wait for a local program that takes nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// State of the bytes that wait for a local program.
#[derive(Debug, Clone, Copy)]
pub struct Waiting {
    /// Bytes of this connection.
    pub bytes: usize,
    /// Bytes of all connections of the process.
    pub in_all: usize,
    /// Connections that would be throttled together with this one.
    pub company: Company,
    /// True while this connection throttles the far side.
    pub throttles: bool,
    /// True while bytes from the local program wait for the far side's leave, which is not read
    /// while the far side is throttled.
    pub upload_waits: bool,
    /// Time since the local program last took bytes.
    pub unread_for: Duration,
}

/// Work that shares the SSH connection of a forwarded connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Company {
    /// Commands, which must never wait.
    Commands,
    /// Other forwarded connections.
    Forwards,
    /// Nothing.
    Alone,
}

/// Treatment of the far side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Everything is read.
    Free,
    /// The SSH connection is not read, so that the network makes the far side wait.
    Throttled,
    /// The connection is reset.
    Reset,
}

/// Decides on a connection whenever bytes have come or gone, and from time to time.
#[must_use]
pub fn decide(waiting: Waiting) -> Flow {
    // Once throttled, the far side waits until half has gone.
    let exceeds = |bytes, limit| bytes > if waiting.throttles { limit / 2 } else { limit };
    let is_full = exceeds(waiting.bytes, MAX_WAITING_BYTES)
        || (waiting.bytes > ALWAYS_ALLOWED_BYTES
            && exceeds(waiting.in_all, MAX_WAITING_BYTES_IN_ALL));

    match waiting.company {
        Company::Commands if is_full => Flow::Reset,
        Company::Forwards if is_full && waiting.unread_for >= PATIENCE => Flow::Reset,
        Company::Forwards | Company::Alone if is_full => Flow::Throttled,
        Company::Alone if exceeds(waiting.bytes, THROTTLED_FROM_BYTES) && !waiting.upload_waits => {
            Flow::Throttled
        }
        Company::Commands | Company::Forwards | Company::Alone => Flow::Free,
    }
}

#[cfg(test)]
mod tests {
    use super::{Company::*, Flow::*, *};

    const MIB: usize = 1024 * 1024;

    #[test]
    fn the_far_side_waits_where_nobody_else_has_to() {
        let free = |company, bytes| Waiting {
            bytes,
            in_all: bytes,
            company,
            throttles: false,
            upload_waits: false,
            unread_for: Duration::ZERO,
        };
        let throttled = |company, bytes| Waiting {
            throttles: true,
            ..free(company, bytes)
        };
        let uploading = |waiting| Waiting {
            upload_waits: true,
            ..waiting
        };
        let unread = |waiting, seconds| Waiting {
            unread_for: Duration::from_secs(seconds),
            ..waiting
        };
        let with_others = |waiting, in_all| Waiting { in_all, ..waiting };

        for (what, waiting, expected) in [
            ("commands, little", free(Commands, 64 * MIB), Free),
            ("commands, too much", free(Commands, 64 * MIB + 1), Reset),
            (
                "commands, much in all",
                with_others(free(Commands, MIB), 257 * MIB),
                Reset,
            ),
            (
                "commands, others have much",
                with_others(free(Commands, MIB / 4), 257 * MIB),
                Free,
            ),
            ("alone, little", free(Alone, 4 * MIB), Free),
            ("alone, more", free(Alone, 4 * MIB + 1), Throttled),
            ("alone, half gone", throttled(Alone, 2 * MIB), Free),
            (
                "alone, less than half gone",
                throttled(Alone, 2 * MIB + 1),
                Throttled,
            ),
            (
                "alone, never read",
                unread(throttled(Alone, 4 * MIB), 86400),
                Throttled,
            ),
            ("alone, upload", uploading(throttled(Alone, 32 * MIB)), Free),
            (
                "alone, upload, too much",
                uploading(throttled(Alone, 65 * MIB)),
                Throttled,
            ),
            (
                "alone, much in all",
                with_others(free(Alone, MIB), 257 * MIB),
                Throttled,
            ),
            ("shared, little", free(Forwards, 64 * MIB), Free),
            ("shared, too much", free(Forwards, 64 * MIB + 1), Throttled),
            ("shared, half gone", throttled(Forwards, 32 * MIB), Free),
            (
                "shared, not read for a moment",
                unread(throttled(Forwards, 64 * MIB), 29),
                Throttled,
            ),
            (
                "shared, not read",
                unread(throttled(Forwards, 64 * MIB), 30),
                Reset,
            ),
            (
                "shared, little, not read",
                unread(free(Forwards, MIB), 86400),
                Free,
            ),
        ] {
            assert_eq!(decide(waiting), expected, "{what}");
        }
    }
}
