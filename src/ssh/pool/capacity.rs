//! What a connection to the server takes, as far as that is known.

use std::time::Instant;

use super::{Capacity, ChannelPool, PoolState};

impl ChannelPool {
    /// Returns the capacity of a connection to the server; `None` if not known.
    pub(in crate::ssh) fn capacity(&self) -> Option<Capacity> {
        self.server.capacity().or(self.first.usual_capacity())
    }

    /// Returns true if the connection ends with its first channel.
    pub(super) fn takes_one_command(&self) -> bool {
        self.capacity() == Some(Capacity::OneCommand)
    }

    /// Returns the limit of channels on a connection; `None` if no limit is known.
    pub(super) fn limit(&self, state: &PoolState) -> Option<usize> {
        match self.capacity() {
            Some(Capacity::OneCommand | Capacity::OneChannel) => Some(1),
            Some(Capacity::ManyChannels) | None => state.limit.at(Instant::now()),
        }
    }

    /// Learns that the server takes one channel over a connection.
    pub(super) fn takes_one_channel(&self) {
        self.server.learn(|server| {
            if server.capacity != Some(Capacity::OneCommand) {
                server.capacity = Some(Capacity::OneChannel);
            }
        });
    }
}
