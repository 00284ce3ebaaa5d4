//! Permits: the right to do work on the host of a session, which the [`gate`](super::gate) gives.
//!
//! Nothing reaches a [`RemoteHost`] without a [`Grant`], and no agent's work without the [`Permit`]
//! that holds this very work. Only the functions here make them.

use std::sync::{Arc, Weak};

use super::{
    LiveSession,
    gate::{Gate, Need},
    place::{Place, PlannedPlaces},
};
use crate::{
    forward::request::ForwardRequest,
    session::{
        approvals::CallAnswers,
        caller::Caller,
        error::SessionError,
        job::InputCheck,
        work::{ConfiguredForwarding, Connecting, JobInput, Work},
    },
    settings::{Operation, Settings},
    ssh::{
        command::remote_host::RemoteHost,
        connect::RouteCheck,
        error::{Audience, NotAllowed},
    },
};

/// Work that may be done on the host of a session.
///
/// Made by [`LiveSession::permit`], for the session that made it. What the settings say is looked at
/// again whenever the work takes a connection.
#[derive(Debug)]
pub struct Permit<W> {
    pub(super) work: Arc<W>,
    pub(super) grant: Grant,
}

/// Right to use the connection of a session, for one piece of work. Clones share the answers of the
/// user.
#[derive(Debug, Clone)]
pub(in crate::session) struct Grant {
    work: Arc<dyn Work>,
    answers: CallAnswers,
    /// True for what this program itself looks at, or ends. It goes over any connection there is.
    is_upkeep: bool,
}

impl<W: Work> Permit<W> {
    /// Returns the work.
    #[must_use]
    pub fn work(&self) -> &W {
        &self.work
    }

    fn new(work: Arc<W>, answers: CallAnswers) -> Self {
        Self {
            grant: Grant {
                work: Arc::clone(&work) as Arc<dyn Work>,
                answers,
                is_upkeep: false,
            },
            work,
        }
    }
}

impl Permit<ConfiguredForwarding> {
    /// Returns the permit for one of the forwards.
    pub(super) fn forward(&self, request: ForwardRequest) -> Permit<ForwardRequest> {
        Permit {
            work: Arc::new(request),
            grant: self.grant.clone(),
        }
    }
}

impl Grant {
    /// Returns the grant to look at detached jobs, to stop them and to remove what is left of them.
    /// It dials only where the settings let the agent connect.
    pub(in crate::session) fn upkeep(caller: &Caller) -> Self {
        Self {
            work: Arc::new(Connecting),
            answers: caller.answers.clone(),
            is_upkeep: true,
        }
    }
}

impl LiveSession {
    /// Returns the permit for a piece of work, after the user has agreed where the settings say
    /// `ask`. Without settings this costs nothing.
    ///
    /// # Errors
    /// [`SessionError::NotAllowed`]: the settings refuse, cannot be read, or want a yes that the
    /// user does not give; or the SSH configuration is unusable.
    pub async fn permit<W: Work>(
        &self,
        work: W,
        caller: &Caller,
    ) -> Result<Permit<W>, SessionError> {
        let permit = Permit::new(Arc::new(work), caller.answers.clone());
        caller.audit.session(self.name());

        let needs = self.needs(&permit.grant, caller).await?;
        self.ask(needs, &permit.grant, caller).await?;

        Ok(permit)
    }

    /// Returns the permit for work over this connection, which may be a new one.
    ///
    /// # Errors
    /// [`SessionError::NotAllowed`]
    pub(super) async fn permit_over<W: Work>(
        &self,
        host: &Arc<RemoteHost>,
        work: W,
        caller: &Caller,
    ) -> Result<Permit<W>, SessionError> {
        let permit = Permit::new(Arc::new(work), caller.answers.clone());
        self.check_at(host, &permit.grant, caller).await?;
        Ok(permit)
    }

    /// Asks the user at once about the same work in several sessions, so that a later
    /// [`permit`](Self::permit) of the call finds the answers. Says nothing of sessions where the
    /// work is refused, or needs no question.
    pub async fn ask_about_all<W: Work>(sessions: &[Arc<Self>], work: W, caller: &Caller) {
        let work = Arc::new(work);
        let mut needs = Vec::new();
        let mut gate = None;

        for session in sessions {
            let permit = Permit::new(Arc::clone(&work), caller.answers.clone());
            let found = session.needs(&permit.grant, caller).await;
            needs.extend(found.unwrap_or_default());
            gate = Some(session.gate());
        }

        // Each session reports for itself what came of it.
        if let (Some(gate), [_, _, ..]) = (gate, needs.as_slice()) {
            let _ = gate.ask(needs, &caller.answers, caller).await;
        }
    }

    /// Checks that a connected host may be used for the work of a grant.
    ///
    /// # Errors
    /// [`SessionError::NotAllowed`]
    pub(super) async fn check_at(
        &self,
        host: &Arc<RemoteHost>,
        grant: &Grant,
        caller: &Caller,
    ) -> Result<(), SessionError> {
        if grant.is_upkeep {
            return Ok(());
        }

        let needs = self.needs_at(host, grant, caller).await?;
        self.ask(needs, grant, caller).await
    }

    /// Returns the check of the hosts on the way, for a dial.
    pub(super) fn route_check(&self, grant: &Grant, caller: &Caller) -> RouteCheck {
        let (gate, grant, caller) = (self.gate(), grant.clone(), caller.clone());
        let (session, limit) = (self.name().to_owned(), self.limit);
        let config_file = self.session_env.config_file.clone();

        RouteCheck::new(move |host, is_jump_host| {
            let (gate, grant, caller) = (gate.clone(), grant.clone(), caller.clone());
            let (session, config_file) = (session.clone(), config_file.clone());

            Box::pin(async move {
                let Some(settings) = gate.settings()? else {
                    return Ok(());
                };

                let session = (!is_jump_host).then_some(session.as_str());
                let file = config_file.as_deref();
                let place = Place::on_route(&host, session, file, &settings, limit).await;
                let place = place.map_err(|error| NotAllowed {
                    message: format!(
                        "what the settings say of {} is not clear: {error}",
                        host.asked
                    ),
                    hint: error.hint(Audience::Agent),
                })?;

                let need = gate.need(&settings, &[Operation::Connect], &place, &Connecting)?;
                gate.ask(need.into_iter().collect(), &grant.answers, &caller)
                    .await
            })
        })
    }

    /// Returns the check before a command of this session gets input from a later call. Nobody is
    /// asked: the user has allowed the command.
    pub(super) fn input_check(&self) -> InputCheck {
        let session = Weak::clone(&self.this);
        InputCheck::new(move |caller| {
            let session = session.upgrade();
            Box::pin(async move {
                match session {
                    Some(session) => session.permit(JobInput, &caller).await.map(drop),
                    // The commands of a session end with it.
                    None => Ok(()),
                }
            })
        })
    }

    /// Wraps a refusal.
    pub(super) fn not_allowed(&self, refusal: NotAllowed) -> SessionError {
        SessionError::NotAllowed {
            session: self.name().to_owned(),
            refusal: Box::new(refusal),
        }
    }

    /// Returns the settings; `None` without a settings file.
    ///
    /// # Errors
    /// [`SessionError::NotAllowed`]: the file cannot be used.
    pub(super) fn settings(&self) -> Result<Option<Arc<Settings>>, SessionError> {
        let settings = self.gate().settings();
        settings.map_err(|error| self.not_allowed(error))
    }

    fn gate(&self) -> Gate {
        Gate {
            session: self.name().to_owned(),
            settings: Arc::clone(&self.session_env.settings),
            approvals: Arc::clone(&self.session_env.approvals),
        }
    }

    /// Asks the user for these answers, unless they are known.
    async fn ask(
        &self,
        needs: Vec<Need>,
        grant: &Grant,
        caller: &Caller,
    ) -> Result<(), SessionError> {
        let gate = self.gate();
        let asked = gate.ask(needs, &grant.answers, caller).await;
        asked.map_err(|error| self.not_allowed(error))
    }

    /// Returns the answers that are needed for this work: over the connection, or else for a dial.
    async fn needs(&self, grant: &Grant, caller: &Caller) -> Result<Vec<Need>, SessionError> {
        match self.connected_host() {
            Some(host) => self.needs_at(&host, grant, caller).await,
            None => self.needs_before_dial(grant, caller).await,
        }
    }

    /// Returns the answers that are needed before the session is dialled for this work, those for
    /// the jump hosts included.
    async fn needs_before_dial(
        &self,
        grant: &Grant,
        caller: &Caller,
    ) -> Result<Vec<Need>, SessionError> {
        let Some(settings) = self.settings()? else {
            return Ok(Vec::new());
        };

        let PlannedPlaces { destination, jumps } = self.planned_places(&settings).await?;
        destination.record(&self.saved.host, &caller.audit);
        let operations = [Operation::Connect, grant.work.operation()];
        let own = (&destination, operations.as_slice());
        let jumps = jumps
            .iter()
            .map(|jump| (jump, [Operation::Connect].as_slice()));

        let gate = self.gate();
        let needs = std::iter::once(own)
            .chain(jumps)
            .map(|(place, operations)| gate.need(&settings, operations, place, &*grant.work));
        let needs: Result<Vec<_>, _> = needs.filter_map(Result::transpose).collect();

        needs.map_err(|error| self.not_allowed(error))
    }

    /// Returns the answers that are needed for this work over an open connection.
    async fn needs_at(
        &self,
        host: &Arc<RemoteHost>,
        grant: &Grant,
        caller: &Caller,
    ) -> Result<Vec<Need>, SessionError> {
        let Some(settings) = self.settings()? else {
            return Ok(Vec::new());
        };

        let (place, names) = self.place_of(host, &settings).await?;
        place.record(&self.saved.host, &caller.audit);
        let gate = self.gate();
        let operation = grant.work.operation();

        let checked = gate.check_jumps(&settings, &names.jumps);
        let need = checked.and_then(|()| gate.need(&settings, &[operation], &place, &*grant.work));
        let need = need.map_err(|error| self.not_allowed(error))?;

        // The connection is there: nobody is asked whether it may be made.
        let need = need.filter(|_| operation != Operation::Connect);
        Ok(need.into_iter().collect())
    }
}
