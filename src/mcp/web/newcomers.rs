//! Connections which have not shown the token yet. Their number is limited, so that they do not
//! keep admitted clients out.

use crate::lock::lock;
use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard},
};

use tokio_util::sync::CancellationToken;

/// Limit of newcomers at the same time. A client shows the token with its first bytes, so clients
/// with the token are newcomers only for a moment.
const MAX_NEWCOMERS: usize = 128;
/// Limit of newcomers from the same address.
const MAX_OF_ONE_ADDRESS: usize = 32;

/// Connections which have not shown the token yet. If there are too many, the oldest has to leave,
/// so there is always room for one more.
#[derive(Debug, Default)]
pub(in crate::mcp) struct Newcomers {
    /// Newcomers in the order of their arrival.
    waiting: Mutex<VecDeque<WaitingNewcomer>>,
}

/// Newcomer in the queue.
#[derive(Debug)]
struct WaitingNewcomer {
    /// Address of the peer, as counted. `None` for a Unix socket or a pipe.
    from: Option<IpAddr>,
    /// Token which is cancelled when the newcomer has to leave, and which identifies the newcomer.
    leave: Arc<CancellationToken>,
}

/// Permit of an accepted connection that has not authenticated a request. The number of permits is
/// limited, and dropping one frees it.
#[derive(Debug)]
pub(in crate::mcp) struct Newcomer {
    all: Arc<Newcomers>,
    leave: Arc<CancellationToken>,
}

impl Newcomers {
    /// Adds a newcomer from this address; `None` for a Unix socket or a pipe. If there are too many
    /// newcomers, the oldest has to leave.
    pub(in crate::mcp) fn enter(self: &Arc<Self>, from: Option<IpAddr>) -> Newcomer {
        let (from, leave) = (from.map(network), Arc::new(CancellationToken::new()));
        let mut waiting = self.waiting();
        let of_the_same = waiting.iter().filter(|each| each.from == from).count();
        // An address with too many newcomers loses its own oldest, and so cannot push others out.
        let leaves = if of_the_same >= MAX_OF_ONE_ADDRESS {
            waiting.iter().position(|each| each.from == from)
        } else {
            (waiting.len() >= MAX_NEWCOMERS).then_some(0)
        };

        if let Some(oldest) = leaves.and_then(|index| waiting.remove(index)) {
            oldest.leave.cancel();
        }

        waiting.push_back(WaitingNewcomer {
            from,
            leave: Arc::clone(&leave),
        });

        drop(waiting);

        Newcomer {
            all: Arc::clone(self),
            leave,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<WaitingNewcomer>> {
        lock(&self.waiting)
    }
}

impl Newcomer {
    /// Gives the place up for a connection which has shown the token and so may stay.
    pub(in crate::mcp) fn stay(&self) {
        self.all
            .waiting()
            .retain(|each| !Arc::ptr_eq(&each.leave, &self.leave));
    }

    /// Returns the token which is cancelled when the connection has to leave.
    pub(in crate::mcp) fn leave(&self) -> CancellationToken {
        CancellationToken::clone(&self.leave)
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        self.stay();
    }
}

/// Returns the address under which a newcomer is counted. A machine has a whole IPv6 network of 64
/// bits (RFC 4291, section 2.5.4), so the network counts.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    fn have_to_leave(newcomers: &[Newcomer]) -> Vec<usize> {
        let leaving = |index: &usize| newcomers[*index].leave().is_cancelled();
        (0..newcomers.len()).filter(leaving).collect()
    }

    #[test]
    fn the_oldest_of_an_address_that_has_too_many_leaves_first() {
        let all = Arc::new(Newcomers::default());
        let other = all.enter(Some(from("192.0.2.1")));
        let many: Vec<Newcomer> = (0..MAX_OF_ONE_ADDRESS + 3)
            .map(|_| all.enter(Some(from("127.0.0.1"))))
            .collect();
        assert_eq!(have_to_leave(&many), [0, 1, 2]);
        assert!(!other.leave().is_cancelled());
    }

    #[test]
    fn the_oldest_of_many_leaves_and_an_ipv6_network_counts_once() {
        let all = Arc::new(Newcomers::default());
        let many: Vec<Newcomer> = (0..=MAX_NEWCOMERS)
            .map(|number| all.enter(Some(from(&format!("192.0.2.{}", number % 250)))))
            .collect();
        assert_eq!(have_to_leave(&many), [0]);
        drop(many);
        let many: Vec<Newcomer> = (0..=MAX_OF_ONE_ADDRESS)
            .map(|number| all.enter(Some(from(&format!("2001:db8::{number:x}")))))
            .collect();
        assert_eq!(have_to_leave(&many), [0]);
        let sockets: Vec<Newcomer> = (0..=MAX_OF_ONE_ADDRESS).map(|_| all.enter(None)).collect();
        assert_eq!(have_to_leave(&sockets), [0]);
    }

    #[test]
    fn who_has_shown_the_token_or_has_left_makes_room() {
        let all = Arc::new(Newcomers::default());
        let stays = all.enter(None);
        stays.stay();
        let many: Vec<Newcomer> = (0..MAX_OF_ONE_ADDRESS).map(|_| all.enter(None)).collect();
        assert!(!stays.leave().is_cancelled() && have_to_leave(&many).is_empty());
        drop(many);
        assert!(all.waiting().is_empty());
    }
}
