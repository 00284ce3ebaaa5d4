//! Whom the server lets in, and after which proofs.

use std::future::pending;
use std::sync::Arc;

use russh::keys::PublicKey;
use russh::server::{Auth, Response};
use russh::{MethodKind, MethodSet};

use super::{Server, lock};

/// The log-in of one connection.
pub(super) struct LogIn {
    server: Arc<Server>,
    steps_done: usize,
    /// The round of `keyboard-interactive` that is to be answered.
    round: usize,
}

impl LogIn {
    pub(super) fn new(server: &Arc<Server>) -> Self {
        Self {
            server: Arc::clone(server),
            steps_done: 0,
            round: 0,
        }
    }

    /// What may come next.
    pub(super) fn methods(&self) -> MethodSet {
        let settings = &self.server.settings;
        let mut methods = MethodSet::empty();
        if let Some(next) = settings.steps.get(self.steps_done) {
            methods.push(*next);
            return methods;
        }

        if !settings.authorized_keys.is_empty() || settings.password.is_none() {
            methods.push(MethodKind::PublicKey);
        }

        if settings.password.is_some() {
            methods.push(MethodKind::Password);
        }

        if !settings.rounds.is_empty() {
            methods.push(MethodKind::KeyboardInteractive);
        }

        methods
    }

    pub(super) async fn none(&mut self) -> Auth {
        self.record_attempt("none");
        let settings = &self.server.settings;
        if let Some(told) = &settings.no_proof_after {
            told.notified().await;
            return Auth::Accept;
        }

        if settings.no_proof {
            return Auth::Accept;
        }

        self.answer(MethodKind::None, false)
    }

    pub(super) async fn password(&mut self, user: &str, password: &str) -> Auth {
        self.record_attempt("password");
        let settings = &self.server.settings;
        if settings.silent_password {
            pending::<()>().await;
        }
        let right = user == settings.user && settings.password.as_deref() == Some(password);
        self.answer(MethodKind::Password, right)
    }

    pub(super) fn offer(&mut self, user: &str, key: &PublicKey) -> Auth {
        self.record_attempt("offer");
        if self.authorized(user, key) && self.methods().contains(&MethodKind::PublicKey) {
            return Auth::Accept;
        }
        self.answer(MethodKind::PublicKey, false)
    }

    pub(super) fn key(&mut self, user: &str, key: &PublicKey) -> Auth {
        self.record_attempt("publickey");
        self.answer(MethodKind::PublicKey, self.authorized(user, key))
    }

    pub(super) fn keyboard_interactive(
        &mut self,
        user: &str,
        response: Option<Response<'_>>,
    ) -> Auth {
        let server = Arc::clone(&self.server);
        let rounds = &server.settings.rounds;

        if let Some(answers) = response {
            let answers: Vec<_> = answers.collect();
            let expected = rounds
                .get(self.round)
                .into_iter()
                .flatten()
                .map(|(_, _, answer)| answer.as_bytes());

            if user != server.settings.user || !answers.iter().map(AsRef::as_ref).eq(expected) {
                return self.answer(MethodKind::KeyboardInteractive, false);
            }

            self.round += 1;
        } else {
            self.record_attempt("keyboard-interactive");
            self.round = 0;
        }

        let Some(round) = rounds.get(self.round) else {
            return self.answer(MethodKind::KeyboardInteractive, !rounds.is_empty());
        };

        Auth::Partial {
            name: "Two steps".into(),
            instructions: "Have your token ready.".into(),
            prompts: round
                .iter()
                .map(|(prompt, echo, _)| ((*prompt).into(), *echo))
                .collect(),
        }
    }

    /// The answer to a proof; a right one may be but a step.
    fn answer(&mut self, method: MethodKind, right: bool) -> Auth {
        let right = right && self.methods().contains(&method);
        if right {
            self.steps_done += 1;
        }

        if right && self.steps_done >= self.server.settings.steps.len() {
            return Auth::Accept;
        }

        Auth::Reject {
            proceed_with_methods: Some(self.methods()),
            partial_success: right,
        }
    }

    fn authorized(&self, user: &str, key: &PublicKey) -> bool {
        let settings = &self.server.settings;
        user == settings.user
            && settings
                .authorized_keys
                .iter()
                .any(|known| known.key_data() == key.key_data())
    }

    fn record_attempt(&self, method: &'static str) {
        lock(&self.server.attempts).push(method);
    }
}
