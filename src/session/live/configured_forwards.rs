//! Forwards of the SSH configuration, which a session opens when it connects.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use super::{
    LiveSession, Permit,
    forwards::{ForwardError, Forwards},
};
use crate::{
    forward::{listen::ListenAddress, request::ForwardRequest, state::ForwardDirection},
    lock::lock,
    openssh::forwardings::{ForwardAddresses, Forwardings},
    session::{caller::Caller, causes::with_causes, work::ConfiguredForwarding},
    ssh::{
        command::remote_host::RemoteHost,
        error::SshError,
        forward::{listener::ForwardListenError, stale_socket::remove_stale_socket},
    },
};

/// State of a session's configured forwards.
#[derive(Debug)]
pub(super) struct ConfiguredForwards {
    /// True if the next connection opens the forwards. Later connections of the session open none,
    /// so that a forward which was closed stays closed.
    due: AtomicBool,
    /// Notices that no answer has had yet. Locked for an assignment only.
    notices: Mutex<Vec<String>>,
}

impl Default for ConfiguredForwards {
    fn default() -> Self {
        Self {
            due: AtomicBool::new(true),
            notices: Mutex::default(),
        }
    }
}

impl ConfiguredForwards {
    /// Sets whether the next connection opens the forwards.
    pub(super) fn set_due(&self, due: bool) {
        self.due.store(due, Ordering::Relaxed);
    }

    /// Takes the notices for an answer.
    pub(super) fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.notices))
    }

    /// Opens the forwards over a new connection, if they are due.
    ///
    /// # Errors
    /// A forward is not open, and the configuration says `ExitOnForwardFailure yes`. Then none of
    /// them stays open.
    pub(super) async fn open_if_due(
        &self,
        forwards: &Arc<Forwards>,
        session: &Arc<LiveSession>,
        host: &Arc<RemoteHost>,
        caller: &Caller,
    ) -> Result<(), SshError> {
        if self.due.load(Ordering::Relaxed) {
            let notices = open(forwards, session, host, caller).await?;
            *lock(&self.notices) = notices;
            self.set_due(false);
        }

        Ok(())
    }
}

/// Opens the forwards of the host's configuration. Returns notices about those that are not open,
/// or are not as configured.
///
/// # Errors
/// A forward is not open, and the configuration says `ExitOnForwardFailure yes`. Then none of them
/// stays open.
async fn open(
    forwards: &Arc<Forwards>,
    session: &Arc<LiveSession>,
    host: &Arc<RemoteHost>,
    caller: &Caller,
) -> Result<Vec<String>, SshError> {
    let forwardings = &host.first().forwardings;
    let options = || forwardings.forwards.iter().map(|it| it.option.clone());
    let Some(first) = options().next() else {
        return Ok(Vec::new());
    };

    let work = ConfiguredForwarding {
        options: options().collect(),
    };
    let permit = match session.permit_over(host, work, caller).await {
        Ok(permit) => permit,
        Err(reason) if forwardings.exit_on_failure => {
            let (option, reason) = (first, with_causes(&reason));
            return Err(SshError::ConfiguredForward { option, reason });
        }
        Err(reason) => {
            let options: Vec<_> = options().collect();
            return Ok(vec![format!(
                "{}: {}",
                options.join(", "),
                with_causes(&reason)
            )]);
        }
    };

    let mut notices: Vec<String> = forwardings.loopback_notice().into_iter().collect();
    let mut opened = Opened {
        forwards,
        ids: Vec::new(),
    };

    for forwarding in &forwardings.forwards {
        let result = match &forwarding.addresses {
            Ok(addresses) => {
                open_one(&mut opened, session, host, addresses, forwardings, &permit).await
            }
            Err(error) => Err(error.to_string()),
        };

        if let Err(reason) = result {
            let option = forwarding.option.clone();
            if forwardings.exit_on_failure {
                opened.close().await;
                return Err(SshError::ConfiguredForward { option, reason });
            }
            notices.push(format!("{option}: {reason}"));
        }
    }

    opened.ids.clear();
    Ok(notices)
}

/// Forwards opened so far. Dropping the value closes them, as when the caller is cancelled.
struct Opened<'a> {
    forwards: &'a Arc<Forwards>,
    ids: Vec<u64>,
}

impl Opened<'_> {
    /// Closes the forwards, and waits until nobody listens any more.
    async fn close(&mut self) {
        for id in std::mem::take(&mut self.ids) {
            self.forwards.close(id).await;
        }
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        for id in &self.ids {
            self.forwards.end(*id);
        }
    }
}

/// Opens a forward. The error is the reason for the person.
async fn open_one(
    opened: &mut Opened<'_>,
    session: &Arc<LiveSession>,
    host: &Arc<RemoteHost>,
    addresses: &ForwardAddresses,
    forwardings: &Forwardings,
    permit: &Permit<ConfiguredForwarding>,
) -> Result<(), String> {
    let ForwardAddresses {
        direction,
        listen,
        to,
        ..
    } = addresses.clone();

    if let (true, ForwardDirection::Local, Some(ListenAddress::Socket(path))) =
        (forwardings.unlink, direction, &listen)
    {
        remove_stale_socket(path).await;
    }

    let request = ForwardRequest {
        to,
        listen: listen.clone(),
        direction,
    };

    match opened
        .forwards
        .open(session, host, permit.forward(request), None)
        .await
    {
        Ok((forward, is_new)) => {
            opened.ids.extend(is_new.then(|| forward.state().id));
            Ok(())
        }
        Err(error) => Err(taken_by_ours(opened.forwards, &error, listen.as_ref())
            .unwrap_or_else(|| error.to_string())),
    }
}

/// Names the forward of this process that has taken the address. `None` if another program has.
fn taken_by_ours(
    forwards: &Forwards,
    error: &ForwardError,
    listen: Option<&ListenAddress>,
) -> Option<String> {
    let ForwardError::Listen(ForwardListenError::PortTaken(_) | ForwardListenError::PathTaken(_)) =
        error
    else {
        return None;
    };

    let taken = forwards.list().into_iter().find(|forward| {
        forward.direction == ForwardDirection::Local && Some(&forward.listen) == listen
    })?;

    Some(format!(
        "open already as f{} of session {}",
        taken.id, taken.session
    ))
}
