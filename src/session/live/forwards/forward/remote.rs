//! The side of a remote forward: connections at the host that lead to this machine.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{sync::watch, time::sleep};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{Shared, ended};
use crate::{
    foreign_text::ForeignText,
    forward::{
        address::ConnectAddress, listen::ListenAddress, refusal::ListenRefusal, state::ForwardWay,
    },
    lock::lock,
    session::{
        caller::Caller,
        causes::with_causes,
        error::SessionError,
        live::{FIRST_PAUSE, Grant, LiveSession, MAX_PAUSE, longer},
    },
    ssh::{
        command::remote_host::RemoteHost,
        connect::connection::Connection,
        forward::{
            local_address,
            relay::{RelayEnd, relay},
            remote::{IncomingConnection, RemoteListenError, RemoteListener},
        },
    },
};

/// Hosts of the session's connections, the latest of which counts.
type Connected = watch::Receiver<Weak<RemoteHost>>;

/// Accepts connections at the host until the forward ends. Over a new connection of the session, the
/// host is asked to listen again.
pub(super) async fn accept(
    shared: &Arc<Shared>,
    listener: RemoteListener,
    work: &TaskTrackerToken,
) {
    let mut connected = shared.connected.subscribe();
    let address = listener.address().clone();
    let (mut next, mut pause) = (Some(listener), FIRST_PAUSE);

    while let Some(listener) = next {
        let began = Instant::now();
        if !accept_over(shared, listener, &mut connected, work).await {
            return;
        }

        // A server that ends each connection soon must not see a log-in after the other.
        if began.elapsed() > MAX_PAUSE {
            pause = FIRST_PAUSE;
        }
        next = listen_again(shared, &address, &mut connected, pause).await;
        pause = longer(pause);
    }
}

/// Accepts connections over one connection of the session. Returns false if the forward has ended.
async fn accept_over(
    shared: &Arc<Shared>,
    mut listener: RemoteListener,
    connected: &mut Connected,
    work: &TaskTrackerToken,
) -> bool {
    let connection = listener.connection();

    loop {
        let incoming = tokio::select! {
            incoming = listener.accept() => incoming,
            () = other_connection(&connection, connected) => {
                close(shared, listener).await;
                connected.mark_changed();
                return true;
            }
            () = ended(shared) => {
                close(shared, listener).await;
                return false;
            }
        };
        let Some(incoming) = incoming else {
            return true;
        };

        let (shared, work) = (Arc::clone(shared), work.clone());
        tokio::spawn(async move {
            let _work = work;
            shared.count_begin();
            let ended = pass_on(&shared, incoming).await;
            shared.count_end(ended);
        });
    }
}

/// Has the host stop listening, and removes the file of its socket.
async fn close(shared: &Shared, listener: RemoteListener) {
    let address = listener.address().clone();
    listener.close().await;

    let host = shared.connected.borrow().upgrade();
    if let (ListenAddress::Socket(path), Some(host)) = (address, host) {
        host.remove_socket(&path).await;
    }
}

/// Waits until the session is connected over another connection.
async fn other_connection(connection: &Connection, connected: &mut Connected) {
    loop {
        let host = connected.borrow_and_update().upgrade();
        if host.is_some_and(|host| !std::ptr::eq(host.first(), connection)) {
            return;
        }
        if connected.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Reason why the host does not listen again.
enum NotAgain {
    /// The session is not connected.
    Session(SessionError),
    /// The host refuses.
    Refused(ListenRefusal),
    /// The new connection was lost as well.
    Lost,
}

/// Connects the session if need be and has the host listen again, as often as that may help. The
/// first pause is the given one; a connection that somebody else makes ends any pause. Returns `None`
/// if the forward has ended.
async fn listen_again(
    shared: &Arc<Shared>,
    address: &ListenAddress,
    connected: &mut Connected,
    mut pause: Duration,
) -> Option<RemoteListener> {
    let caller = Caller {
        cancelled: shared.closing.clone(),
        is_unattended: true,
        ..Caller::default()
    };
    shared.set_listening(ForwardWay::Reconnecting);
    let mut goes_on = true;

    loop {
        tokio::select! {
            () = sleep(pause), if goes_on => pause = longer(pause),
            _ = connected.changed() => pause = FIRST_PAUSE,
            () = ended(shared) => return None,
        }

        let session = shared.session.upgrade()?;
        let listening = tokio::select! {
            biased;
            () = ended(shared) => return None,
            listening = listen(&session, &shared.grant, address, &caller) => listening,
        };
        // A session that is only held by this task could never end.
        drop(session);
        // The connection that this attempt has made must not start another attempt.
        connected.mark_unchanged();

        let (way, may_pass) = match listening {
            Ok(listener) => {
                shared.set_listening(ForwardWay::Open);
                return Some(listener);
            }
            Err(NotAgain::Session(error)) if !error.may_pass() => {
                let reason = ForeignText::from(with_causes(&error));
                (ForwardWay::Disconnected(reason), false)
            }
            Err(NotAgain::Session(_) | NotAgain::Lost) => (ForwardWay::Reconnecting, true),
            // The server may not have noticed yet that the old connection is gone.
            Err(NotAgain::Refused(refusal)) => {
                let reason = ForeignText::from(refusal.to_string());
                (ForwardWay::NotListening(reason), true)
            }
        };
        shared.set_listening(way);
        goes_on = may_pass;
    }
}

/// Asks the host of the session to listen, over a connection that is made if there is none.
async fn listen(
    session: &LiveSession,
    grant: &Grant,
    address: &ListenAddress,
    caller: &Caller,
) -> Result<RemoteListener, NotAgain> {
    let host = session
        .host(grant, caller)
        .await
        .map_err(NotAgain::Session)?;
    let mut listening = host.listen(address).await;

    // The file is left from the lost connection.
    if let (Err(RemoteListenError::Refused(_)), ListenAddress::Socket(path)) = (&listening, address)
    {
        host.remove_socket(path).await;
        listening = host.listen(address).await;
    }

    match listening {
        Ok(listener) => Ok(listener),
        Err(RemoteListenError::Refused(refusal)) => Err(NotAgain::Refused(refusal)),
        Err(RemoteListenError::Lost(_)) => Err(NotAgain::Lost),
    }
}

/// Connects to this machine and passes the bytes on. Returns `None` if nothing was reached here.
async fn pass_on(shared: &Shared, incoming: IncomingConnection) -> Option<RelayEnd> {
    let closing = &shared.closing;

    let (channel, local, _place) = if shared.to == ConnectAddress::Socks {
        let (channel, place) = incoming.accept().await;
        let (channel, local) = channel.connect_by_socks(closing).await?;
        (channel, local, place)
    } else {
        let connected = tokio::select! {
            biased;
            () = closing.cancelled() => return None,
            connected = local_address::connect(&shared.to) => connected,
        };

        shared.note_refusal(connected.as_ref().err());
        let Ok(local) = connected else {
            incoming.refuse().await;
            return None;
        };
        let (channel, place) = incoming.accept().await;
        (channel, local, place)
    };

    Some(relay(local, channel, Bytes::new(), &shared.bytes, closing).await)
}

impl Shared {
    /// Records the state of the listener at the host.
    fn set_listening(&self, way: ForwardWay) {
        *lock(&self.listening) = way;
    }
}
