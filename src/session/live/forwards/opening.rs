//! Opening a forward that the agent asks for.

use std::sync::Arc;

use super::{
    ForwardError,
    forward::{Forward, ProbeError, probe},
};
use crate::{
    forward::{probe::FarEnd, request::ForwardRequest, state::ForwardDirection},
    session::{
        caller::Caller,
        error::SessionError,
        live::{LendError, LiveSession, Permit},
    },
};

/// Forward that is open, and what the first look at its other end has found.
#[derive(Debug)]
pub struct OpenedForward {
    /// The forward.
    pub forward: Arc<Forward>,
    /// True for a new forward, false for one that was open already.
    pub is_new: bool,
    /// What answers at the other end.
    pub probed: Result<FarEnd, ProbeError>,
}

/// Reason why a forward that the agent asks for is not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenForwardError {
    /// The session is not connected, or the settings do not allow the forward.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The user does not lend the address of this machine.
    #[error(transparent)]
    Lend(#[from] LendError),
    /// The forward cannot listen.
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

impl LiveSession {
    /// Connects the session, opens the forward of the permit, and looks at the other end once.
    ///
    /// # Errors
    /// The session cannot be connected, the user or the settings do not permit the forward, or it
    /// cannot listen.
    pub async fn open_forward(
        self: &Arc<Self>,
        permit: Permit<ForwardRequest>,
        caller: &Caller,
    ) -> Result<OpenedForward, OpenForwardError> {
        let host = self.host(&permit.grant, caller).await?;
        let request = permit.work();

        if request.direction == ForwardDirection::Remote {
            self.lend(&host, &request.to, caller).await?;
        }

        // Before there is a listener: where the host is this very machine, the listener would
        // answer.
        let probed = probe(&host, request).await;

        let guard = self.guard(caller)?;
        let forwards = Arc::clone(&self.session_env.forwards);
        let (forward, is_new) = forwards.open(self, &host, permit, Some(&guard)).await?;
        forward.note(&probed);

        Ok(OpenedForward {
            forward,
            is_new,
            probed,
        })
    }
}
