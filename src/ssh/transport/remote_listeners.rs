//! Addresses at which the server listens for this machine, and the channels of the connections there.

use std::{
    collections::{HashMap, hash_map::Entry},
    num::NonZeroU16,
    sync::{Arc, Mutex},
};

use russh::{
    Channel, ChannelOpenFailure,
    client::{ChannelOpenHandle, Msg},
};
use tokio::sync::{
    OwnedSemaphorePermit, Semaphore,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use crate::{
    forward::{MAX_CONNECTIONS, listen::ListenAddress},
    lock::lock,
};

/// Names of loopback by which a server may call the address of a connection.
const LOOPBACK_NAMES: [&str; 3] = ["127.0.0.1", "localhost", "::1"];

/// Addresses at which the server of one connection may report connections. Clones share the
/// addresses.
#[derive(Debug, Clone, Default)]
pub(in crate::ssh) struct RemoteListeners(Arc<Mutex<HashMap<ListenAddress, Entrance>>>);

/// Channel that the server wants to open for a connection.
pub(in crate::ssh) struct QueuedChannel {
    pub(in crate::ssh) channel: Channel<Msg>,
    pub(in crate::ssh) reply: ChannelOpenHandle,
    /// Place among the connections of the listener.
    pub(in crate::ssh) place: OwnedSemaphorePermit,
}

/// Way of new connections to their listener.
#[derive(Debug)]
struct Entrance {
    queue: UnboundedSender<QueuedChannel>,
    /// Permits for connections at the same time.
    places: Arc<Semaphore>,
}

/// Outcome for a channel that the server wants to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ssh) enum Admission {
    /// The listener decides.
    Passed,
    /// The listener has too many connections, and the channel was refused.
    Full,
    /// There is no such listener, and the channel was refused.
    Unknown,
}

impl RemoteListeners {
    /// Passes on a channel for a connection to a port of the host. `host` is the server's name for
    /// the address of the listener.
    pub(in crate::ssh) async fn admit_tcp(
        &self,
        host: &str,
        port: u32,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
    ) -> Admission {
        let port = u16::try_from(port).ok().and_then(NonZeroU16::new);
        match port.filter(|_| LOOPBACK_NAMES.contains(&host)) {
            Some(port) => self.admit(&ListenAddress::Port(port), channel, reply).await,
            None => Admission::Unknown,
        }
    }

    /// Passes on a channel for a connection to a socket of the host.
    pub(in crate::ssh) async fn admit_socket(
        &self,
        path: &str,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
    ) -> Admission {
        let address = ListenAddress::Socket(path.to_owned());
        self.admit(&address, channel, reply).await
    }

    /// Passes on a channel to the listener at this address. Never waits for anybody, because russh
    /// reads nothing meanwhile.
    async fn admit(
        &self,
        address: &ListenAddress,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
    ) -> Admission {
        let place = match lock(&self.0).get(address) {
            Some(entrance) => Arc::clone(&entrance.places)
                .try_acquire_owned()
                .ok()
                .map(|place| (entrance.queue.clone(), place)),
            None => return Admission::Unknown,
        };
        let Some((queue, place)) = place else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Admission::Full;
        };

        // A listener that has just been closed refuses by dropping the channel.
        let _ = queue.send(QueuedChannel {
            channel,
            reply,
            place,
        });

        Admission::Passed
    }

    /// Adds a listener; `None` if there is one at this address.
    pub(in crate::ssh) fn add(
        &self,
        address: &ListenAddress,
    ) -> Option<UnboundedReceiver<QueuedChannel>> {
        let (queue, queued) = unbounded_channel();
        match lock(&self.0).entry(address.clone()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(entry) => {
                entry.insert(Entrance {
                    queue,
                    places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
                });
                Some(queued)
            }
        }
    }

    /// Removes the listener at this address.
    pub(in crate::ssh) fn remove(&self, address: &ListenAddress) {
        lock(&self.0).remove(address);
    }
}

impl std::fmt::Debug for QueuedChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueuedChannel").finish_non_exhaustive()
    }
}
