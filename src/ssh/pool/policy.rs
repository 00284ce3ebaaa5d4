//! Decisions of a pool: the connection for a channel, when to dial, and when to close. Pure
//! functions.

use std::time::{Duration, Instant};

/// Most connections of a pool. With OpenSSH's default `MaxSessions` of 10 that makes 1280 channels.
pub(super) const MAX_CONNECTIONS: usize = 128;
/// Time after which an idle connection other than the first is closed. The next burst of calls
/// often comes soon.
pub(super) const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// Priority of a channel, which decides how much room is left to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ssh) enum Priority {
    /// A command, a shell or a transfer.
    Work,
    /// An additional channel for work which can do without. Granted only if more work would still
    /// have room.
    Opportunistic,
    /// A script for stopping work, or for finding out how. The last free slot of a pool is kept for
    /// such scripts, so that work which takes every slot can still be stopped.
    Control,
}

/// Channels on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    /// Number of channels open or being opened.
    pub(super) used: usize,
    /// True if the server has refused a channel, and no channel of the pool has been closed since.
    pub(super) full: bool,
}

/// Facts about the pool as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PoolLoad {
    /// Most channels on a connection of this server; `None` until a refusal has shown the limit.
    pub(super) limit: Option<usize>,
    /// True if a further connection may be dialled now.
    pub(super) may_dial: bool,
    /// True if the last free slot is kept for scripts.
    pub(super) keeps_one: bool,
}

/// Decision on which connection of a host opens the next channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// Open the channel over the connection with this index.
    Use(usize),
    /// Dial a further connection, and decide again then.
    Dial,
    /// Decide again after the next change.
    Wait,
}

/// Decides where to open a channel. Earlier connections come first, so that later ones become idle.
pub(super) fn choose(
    loads: impl Iterator<Item = Load> + Clone,
    priority: Priority,
    situation: PoolLoad,
) -> Choice {
    let PoolLoad {
        limit,
        may_dial,
        keeps_one,
    } = situation;

    // Without a known limit there is room for any number: the limit shows in a refusal.
    let room = |load: Load| match limit {
        _ if load.full => 0,
        Some(limit) => limit.saturating_sub(load.used),
        None => usize::MAX,
    };

    // Where a connection may have a single channel only, nothing can be kept free. `Opportunistic`
    // leaves a slot for a script and another for work.
    let reserved = match priority {
        Priority::Work if keeps_one && limit.is_some_and(|limit| limit > 1) => 1,
        Priority::Opportunistic => 2,
        _ => 0,
    };

    let free = loads.clone().map(room).fold(0, usize::saturating_add);

    // Nobody dials for an opportunistic channel here: the log-in would cost more than the channel
    // saves.
    match loads.clone().position(|load| room(load) > 0) {
        Some(index) if free > reserved => Choice::Use(index),
        _ if may_dial && priority != Priority::Opportunistic && loads.count() < MAX_CONNECTIONS => {
            Choice::Dial
        }
        _ => Choice::Wait,
    }
}

/// Returns the time of the next look at a connection idle since `idle_since`; `None` to close the
/// connection now. Without `idle_since` the connection is in use.
pub(super) fn look_again(idle_since: Option<Instant>, now: Instant) -> Option<Instant> {
    let goes = idle_since.unwrap_or(now) + IDLE_LIMIT;
    (goes > now).then_some(goes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::too_many_lines, reason = "it is a table")]
    fn every_situation_has_its_choice() {
        use Choice::{Dial, Use, Wait};
        use Priority::{Control, Opportunistic, Work};

        let load = |used: i32| Load {
            used: usize::try_from(used.abs()).unwrap(),
            full: used < 0,
        };

        for (what, loads, limit, priority, may_dial, keeps_one, expected) in [
            (
                "nothing is known yet",
                &[500][..],
                None,
                Work,
                true,
                true,
                Use(0),
            ),
            (
                "room on the first",
                &[3],
                Some(10),
                Work,
                true,
                true,
                Use(0),
            ),
            (
                "room on both: the earlier one",
                &[8, 0],
                Some(10),
                Work,
                true,
                true,
                Use(0),
            ),
            (
                "the first is at its limit",
                &[10, 3],
                Some(10),
                Work,
                true,
                true,
                Use(1),
            ),
            (
                "over it, by what has ended there meanwhile",
                &[12, 3],
                Some(10),
                Work,
                true,
                true,
                Use(1),
            ),
            (
                "the first has refused",
                &[-4, 3],
                Some(10),
                Work,
                true,
                true,
                Use(1),
            ),
            (
                "refused before a limit is known",
                &[-4],
                None,
                Work,
                true,
                true,
                Dial,
            ),
            (
                "all at their limit",
                &[10, 10],
                Some(10),
                Work,
                true,
                true,
                Dial,
            ),
            (
                "all at their limit while one is dialled",
                &[10, 10],
                Some(10),
                Work,
                false,
                true,
                Wait,
            ),
            (
                "the last place is kept",
                &[10, 9],
                Some(10),
                Work,
                true,
                true,
                Dial,
            ),
            (
                "the last place is kept while one is dialled",
                &[10, 9],
                Some(10),
                Work,
                false,
                true,
                Wait,
            ),
            (
                "the last place is for scripts",
                &[10, 9],
                Some(10),
                Control,
                true,
                true,
                Use(1),
            ),
            (
                "no place is kept",
                &[10, 9],
                Some(10),
                Work,
                false,
                false,
                Use(1),
            ),
            (
                "one channel each: there is none to keep",
                &[0],
                Some(1),
                Work,
                true,
                true,
                Use(0),
            ),
            (
                "one channel each, taken",
                &[1],
                Some(1),
                Work,
                true,
                true,
                Dial,
            ),
            (
                "nothing is known, so it is tried",
                &[5],
                None,
                Opportunistic,
                true,
                true,
                Use(0),
            ),
            (
                "room for more work besides",
                &[7],
                Some(10),
                Opportunistic,
                true,
                true,
                Use(0),
            ),
            (
                "room on the second connection",
                &[10, 6],
                Some(10),
                Opportunistic,
                true,
                true,
                Use(1),
            ),
            (
                "only two places left",
                &[8],
                Some(10),
                Opportunistic,
                true,
                true,
                Wait,
            ),
            (
                "no place for a script",
                &[10],
                Some(10),
                Control,
                true,
                true,
                Dial,
            ),
            (
                "as many connections as may be",
                &[10; MAX_CONNECTIONS],
                Some(10),
                Work,
                true,
                true,
                Wait,
            ),
            (
                "one fewer",
                &[10; MAX_CONNECTIONS - 1],
                Some(10),
                Work,
                true,
                true,
                Dial,
            ),
        ] {
            let loads = loads.iter().map(|used| load(*used));
            assert_eq!(
                choose(
                    loads,
                    priority,
                    PoolLoad {
                        limit,
                        may_dial,
                        keeps_one
                    }
                ),
                expected,
                "{what}"
            );
        }
    }

    #[test]
    fn a_connection_goes_when_it_has_been_idle_for_long_enough() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for (what, idle_since, now, expected) in [
            ("it is used", None, 100, Some(160)),
            ("just idle", Some(100), 100, Some(160)),
            ("idle for a while", Some(100), 159, Some(160)),
            ("idle for long enough", Some(100), 160, None),
            ("and longer", Some(100), 500, None),
        ] {
            assert_eq!(
                look_again(idle_since.map(at), at(now)),
                expected.map(at),
                "{what}"
            );
        }
    }
}
