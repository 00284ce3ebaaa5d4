//! The gate: what the settings allow on the host of a session, and the question to the user where
//! they say `ask`.
//!
//! Nothing reaches a [`RemoteHost`] without a [`Grant`], and no agent's work without the [`Permit`]
//! that holds this very work. Only the functions here make them.

use std::sync::{Arc, Weak};

use super::{
    LiveSession,
    place::{Place, PlannedPlaces},
};
use crate::{
    audit::record::Allowed,
    forward::request::ForwardRequest,
    session::{
        approvals::{ApprovalKey, Approvals, CallAnswers},
        caller::Caller,
        error::SessionError,
        job::InputCheck,
        settings_file::SettingsFile,
        work::{ConfiguredForwarding, Connecting, JobInput, Work},
    },
    settings::{HostNames, Operation, Reason, Settings, Verdict, decide},
    ssh::{
        command::{output::ReaderId, remote_host::RemoteHost},
        connect::RouteCheck,
        error::{Audience, NotAllowed},
        prompt::prompter::{ActDescription, Approval, ApprovalAnswer, ApprovalHost},
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

/// What a check needs to know besides the host and the work.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    /// Name of the session.
    session: String,
    settings: Arc<SettingsFile>,
    approvals: Arc<Approvals>,
}

/// Answer of the user that is needed for an operation on a host.
struct Need {
    /// Name of the session that needs it.
    session: String,
    keys: Vec<ApprovalKey>,
    host: ApprovalHost,
    act: ActDescription,
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

        if let Some(host) = self.connected_host() {
            self.check_at(&host, &permit.grant, caller).await?;
        } else {
            let needs = self.needs_before_dial(&permit.grant, caller).await?;
            self.ask(needs, &permit.grant, caller).await?;
        }

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
            let found = match session.connected_host() {
                Some(host) => session.needs_at(&host, &permit.grant, caller).await,
                None => session.needs_before_dial(&permit.grant, caller).await,
            };
            needs.extend(found.unwrap_or_default());
            gate = Some(session.gate());
        }

        let grant = Permit::new(work, caller.answers.clone()).grant;
        // Each session reports for itself what came of it.
        if let (Some(gate), [_, _, ..]) = (gate, needs.as_slice()) {
            let _ = gate.ask(needs, &grant, caller).await;
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
                gate.ask(need.into_iter().collect(), &grant, &caller).await
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
        let asked = gate.ask(needs, grant, caller).await;
        asked.map_err(|error| self.not_allowed(error))
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

impl Gate {
    /// Returns the settings; `None` without a settings file.
    fn settings(&self) -> Result<Option<Arc<Settings>>, NotAllowed> {
        self.settings.current().map_err(|error| NotAllowed {
            message: error.to_string(),
            hint: "have the person fix that file: until then nothing reaches a host".to_owned(),
        })
    }

    /// Returns the path of the settings file.
    fn file(&self) -> String {
        let path = self.settings.path();
        path.map_or_else(String::new, |path| path.display().to_string())
    }

    /// Returns the answer that is needed for these operations, together. `None` if the settings
    /// allow them.
    fn need(
        &self,
        settings: &Settings,
        operations: &[Operation],
        place: &Place,
        work: &dyn Work,
    ) -> Result<Option<Need>, NotAllowed> {
        let rules = settings.rules(&place.names);
        let (mut keys, mut reasons) = (Vec::new(), Vec::<String>::new());

        for operation in operations {
            match decide(*operation, &rules) {
                Verdict::Allow => {}
                Verdict::Refuse(reason) => {
                    return Err(self.refusal(*operation, &reason, &place.name));
                }
                Verdict::Ask(_)
                    if *operation != Operation::Connect && work.is_allowed_already() => {}
                Verdict::Ask(reason) => {
                    keys.push(place.key(*operation, work));
                    reasons.push(reason.to_string());
                }
            }
        }

        reasons.dedup();
        Ok((!keys.is_empty()).then(|| Need {
            session: self.session.clone(),
            keys,
            host: ApprovalHost {
                name: place.name.as_str().into(),
                account: place.account().into(),
                reason: reasons.join("; "),
            },
            act: work.describe(),
        }))
    }

    /// Checks that the jump hosts of a connection may still be used. Nobody is asked: the connection
    /// is there.
    fn check_jumps(&self, settings: &Settings, jumps: &[HostNames]) -> Result<(), NotAllowed> {
        for jump in jumps {
            let decided = decide(Operation::Connect, &settings.rules(jump));
            if let Verdict::Refuse(reason) = decided {
                let host = format!("the jump host {}", jump.asked());
                return Err(self.refusal(Operation::Connect, &reason, &host));
            }
        }

        Ok(())
    }

    /// Asks the user for these answers, in one question, unless they are known.
    ///
    /// # Errors
    /// The user says no, does not answer, or cannot be asked.
    async fn ask(
        &self,
        needs: Vec<Need>,
        grant: &Grant,
        caller: &Caller,
    ) -> Result<(), NotAllowed> {
        if needs.is_empty() {
            let audit = caller.audit.part(&self.session);
            audit.allowed(Allowed::Settings);
            return Ok(());
        }

        // Locked until the answer is there: a second question of the call may be about the same.
        let mut answers = grant.answers.0.lock().await;
        let reader = caller.reader;

        let mut open: Vec<Need> = Vec::new();
        for need in needs {
            // Several hosts may have the same jump host.
            if open.iter().any(|other| other.keys == need.keys) {
                continue;
            }

            let is_new = |key: &&ApprovalKey| !self.approvals.is_remembered(reader, **key);
            if !need.keys.iter().any(|key| is_new(&key)) {
                let audit = caller.audit.part(&need.session);
                audit.allowed(Allowed::PersonForConversation);
            }

            let mut known = need.keys.iter().filter(is_new).map(|key| answers.get(key));

            match known.find(|answer| *answer != Some(&Some(ApprovalAnswer::Once))) {
                None => {}
                Some(None) => open.push(need),
                Some(Some(answer)) => return Err(refusal_by(*answer, &need)),
            }
        }
        let Some(first) = open.first() else {
            return Ok(());
        };

        if !caller.prompter.can_ask_choices() {
            return Err(self.nobody_to_ask(first));
        }

        let approval = Approval {
            act: first.act.clone(),
            hosts: open.iter().map(|need| need.host.clone()).collect(),
            may_last: reader != ReaderId::SHARED,
        };
        let asking = self.approvals.ask(&caller.prompter, approval);
        let answer = tokio::select! {
            answer = asking => answer,
            () = caller.cancelled.cancelled() => None,
        };
        let is_yes = matches!(
            answer,
            Some(ApprovalAnswer::Once | ApprovalAnswer::Conversation)
        );

        for key in open.iter().flat_map(|need| &need.keys) {
            // A yes for the conversation holds for the call as well, whatever is forgotten.
            let kept = if is_yes {
                Some(ApprovalAnswer::Once)
            } else {
                answer
            };
            answers.insert(*key, kept);
            if answer == Some(ApprovalAnswer::Conversation) {
                self.approvals.remember(reader, *key);
            }
        }

        if !is_yes {
            return Err(refusal_by(answer, first));
        }

        let how = match answer {
            Some(ApprovalAnswer::Conversation) => Allowed::PersonForConversation,
            _ => Allowed::PersonOnce,
        };
        for need in &open {
            caller.audit.part(&need.session).allowed(how);
        }

        Ok(())
    }

    /// Returns the refusal by a setting.
    fn refusal(&self, operation: Operation, reason: &Reason, host: &str) -> NotAllowed {
        let what = match operation {
            Operation::Connect => "connecting",
            Operation::Read => "reading",
            Operation::Run => "running commands and changing files",
            Operation::Sudo => "sudo",
            Operation::Forward => "forwarding ports",
        };
        let hint = match (reason.setting, reason.value) {
            ("access", "read") => {
                "look with ssh_read, ssh_search or ssh_download; only the person can allow more, in that file"
            }
            _ => "do something else, or ask the person: only they can allow it, in that file",
        };

        NotAllowed {
            message: format!(
                "the settings do not allow {what} on {host}: {reason} of {}",
                self.file()
            ),
            hint: hint.to_owned(),
        }
    }

    /// Returns the refusal where the user would have to be asked, but cannot be.
    fn nobody_to_ask(&self, need: &Need) -> NotAllowed {
        NotAllowed {
            message: format!(
                "the person has to agree first ({} of {}), and cannot be asked here",
                need.host.reason,
                self.file()
            ),
            hint: "have them do it themselves, use a client that shows forms (elicitation), or ask them to change that setting"
                .to_owned(),
        }
    }
}

/// Returns the refusal by an answer that is no yes; `None` is no answer.
fn refusal_by(answer: Option<ApprovalAnswer>, need: &Need) -> NotAllowed {
    if answer.is_none() {
        return unanswered(need);
    }

    NotAllowed {
        message: format!(
            "the person refused to let you {} on {}",
            need.act.doing, need.host.name
        ),
        hint: "do something else, or ask them how to go on".to_owned(),
    }
}

/// Returns the refusal for a question without an answer.
fn unanswered(need: &Need) -> NotAllowed {
    NotAllowed {
        message: format!(
            "the person was asked whether you may {} on {}, and did not answer in time",
            need.act.doing, need.host.name
        ),
        hint: "ask them to answer the question, then call again".to_owned(),
    }
}
