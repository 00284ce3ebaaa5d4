//! The rules of the settings file for a place, and the question to the user where they say `ask`.

use std::sync::Arc;

use super::place::Place;
use crate::{
    audit::record::Allowed,
    session::{
        approvals::{ApprovalKey, Approvals, CallAnswers},
        caller::Caller,
        settings_file::SettingsFile,
        work::Work,
    },
    settings::{HostNames, Operation, Reason, Settings, Verdict, decide},
    ssh::{
        command::output::ReaderId,
        error::NotAllowed,
        prompt::prompter::{ActDescription, Approval, ApprovalAnswer, ApprovalHost},
    },
};

/// What a check needs to know besides the host and the work.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    /// Name of the session.
    pub(super) session: String,
    pub(super) settings: Arc<SettingsFile>,
    pub(super) approvals: Arc<Approvals>,
}

/// Answer of the user that is needed for an operation on a host.
pub(super) struct Need {
    /// Name of the session that needs it.
    session: String,
    keys: Vec<ApprovalKey>,
    host: ApprovalHost,
    act: ActDescription,
}

impl Gate {
    /// Returns the settings; `None` without a settings file.
    pub(super) fn settings(&self) -> Result<Option<Arc<Settings>>, NotAllowed> {
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
    pub(super) fn need(
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
    pub(super) fn check_jumps(
        &self,
        settings: &Settings,
        jumps: &[HostNames],
    ) -> Result<(), NotAllowed> {
        for jump in jumps {
            let decided = decide(Operation::Connect, &settings.rules(jump));
            if let Verdict::Refuse(reason) = decided {
                let host = format!("the jump host {}", jump.asked());
                return Err(self.refusal(Operation::Connect, &reason, &host));
            }
        }

        Ok(())
    }

    /// Asks the user for these answers, in one question, unless they are known. `answers` are those
    /// that the call has had.
    ///
    /// # Errors
    /// The user says no, does not answer, or cannot be asked.
    pub(super) async fn ask(
        &self,
        needs: Vec<Need>,
        answers: &CallAnswers,
        caller: &Caller,
    ) -> Result<(), NotAllowed> {
        if needs.is_empty() {
            let audit = caller.audit.part(&self.session);
            audit.allowed(Allowed::Settings);
            return Ok(());
        }

        // Locked until the answer is there: a second question of the call may be about the same.
        let mut answers = answers.0.lock().await;
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
            "the question whether you may {} on {} was answered with no",
            need.act.doing, need.host.name
        ),
        hint: "do something else, or ask the person how to go on".to_owned(),
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
