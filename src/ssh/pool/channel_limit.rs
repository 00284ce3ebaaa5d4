//! The server's limit of channels on a connection (`MaxSessions`, `sshd_config(5)`), learned from
//! refusals.

use std::time::{Duration, Instant};

/// Time for which a limit counts that a single refusal has shown shortly after the end of a channel.
const REFUSAL_STANDS: Duration = Duration::from_secs(1);

/// Limit of channels on a connection of a server, as far as refusals have shown it.
#[derive(Debug, Default)]
pub(super) struct ChannelLimit {
    /// Most channels ever open at once over a connection.
    most: usize,
    /// True if [`most`](Self::most) is known to be the limit.
    is_proven: bool,
    /// Last refusal where other channels were open.
    refusal: Option<Refusal>,
}

/// Refused channel, while others were open.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    at: Instant,
    /// Most channels ever open at once until then.
    most: usize,
}

impl ChannelLimit {
    /// Creates the limit of a server that is known to take one channel at a time.
    pub(super) fn single() -> Self {
        Self {
            most: 1,
            is_proven: true,
            refusal: None,
        }
    }

    /// Returns the most channels ever open at once over a connection.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Returns the limit at this time; `None` until refusals have shown a limit.
    pub(super) fn at(&self, now: Instant) -> Option<usize> {
        let stands = |refusal: Refusal| now.duration_since(refusal.at) < REFUSAL_STANDS;
        (self.is_proven || self.refusal.is_some_and(stands)).then_some(self.most)
    }

    /// Returns true if a connection certainly takes one channel only.
    pub(super) fn is_surely_one(&self) -> bool {
        self.is_proven && self.most == 1
    }

    /// Notes that so many channels are open on a connection.
    pub(super) fn note_open(&mut self, channels: usize) {
        self.most = self.most.max(channels);
    }

    /// Notes a refused channel. `is_settled` says that no channel of the connection has just ended.
    ///
    /// Otherwise sshd may not have freed the slot of the ended channel yet. Such a refusal proves the
    /// limit only if it comes again, with as many channels, after the first one has lapsed. That is
    /// not enough for a limit of one channel, which is remembered beyond this log-in.
    pub(super) fn note_refusal(&mut self, is_settled: bool, now: Instant) {
        let most = self.most;
        let came_before = |earlier: Refusal| {
            earlier.most == most && now.duration_since(earlier.at) >= REFUSAL_STANDS
        };

        self.is_proven |= is_settled || (most > 1 && self.refusal.is_some_and(came_before));
        self.refusal = Some(Refusal { at: now, most });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Limit with so many channels open, refused at these seconds, each time just after the end of a
    /// channel.
    fn refused(channels: usize, start: Instant, seconds: &[u64]) -> ChannelLimit {
        let mut limit = ChannelLimit::default();
        limit.note_open(channels);
        for second in seconds {
            limit.note_refusal(false, start + Duration::from_secs(*second));
        }

        limit
    }

    #[test]
    fn a_doubtful_refusal_stands_until_it_comes_again() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);

        for (what, channels, refusals, expected) in [
            ("none", 10, &[][..], None),
            ("one, which has lapsed", 10, &[0], None),
            ("two at the same time", 10, &[0, 0], None),
            ("a second one later", 10, &[0, 3], Some(10)),
            ("never for a single channel", 1, &[0, 3, 6], None),
        ] {
            let limit = refused(channels, start, refusals);
            assert_eq!(limit.at(after(60)), expected, "{what}");
        }

        let limit = refused(10, start, &[0]);
        assert_eq!(limit.at(start), Some(10), "it stands for a moment");
    }

    #[test]
    fn more_channels_than_before_refute_a_doubtful_refusal() {
        let start = Instant::now();
        let mut limit = refused(9, start, &[0]);
        limit.note_open(10);
        limit.note_refusal(false, start + Duration::from_secs(3));

        assert_eq!(limit.at(start + Duration::from_secs(60)), None);
    }

    #[test]
    fn a_settled_refusal_proves_the_limit_at_once() {
        let start = Instant::now();
        let mut limit = ChannelLimit::default();
        limit.note_open(1);
        limit.note_refusal(true, start);

        assert!(limit.is_surely_one());
        assert_eq!(limit.at(start + Duration::from_secs(60)), Some(1));
    }
}
