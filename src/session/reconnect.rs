//! The decision to reuse, open or refuse a connection. Pure: a table over the state of a session.

/// State of a session on which the decision depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the table has these four columns"
)]
pub struct SessionSituation {
    /// True if the session has a connection which has not ended.
    pub alive: bool,
    /// True if the log-in needed a password from the caller.
    pub needs_password: bool,
    /// True if the password is still in memory or can be asked for.
    pub has_password: bool,
    /// True if the program is ending.
    pub ending: bool,
}

/// Action to take when a call needs a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconnect {
    /// Use the existing connection.
    Reuse,
    /// Open a connection with the known settings and secrets.
    Redial,
    /// Fail, because only the user can connect this session again, with the password.
    NeedsPassword,
    /// Fail, because the program opens no more connections.
    Refuse,
}

/// Decides whether a call reuses the connection, dials or fails.
#[must_use]
pub fn decide(situation: SessionSituation) -> Reconnect {
    match situation {
        // First: no command may begin once the program stops those that run.
        SessionSituation { ending: true, .. } => Reconnect::Refuse,
        SessionSituation { alive: true, .. } => Reconnect::Reuse,
        SessionSituation {
            needs_password: true,
            has_password: false,
            ..
        } => Reconnect::NeedsPassword,
        _ => Reconnect::Redial,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_situation_has_its_decision() {
        use Reconnect::{NeedsPassword, Redial, Refuse, Reuse};

        for (alive, needs_password, has_password, ending, expected) in [
            (true, false, false, false, Reuse),
            (true, true, false, false, Reuse),
            (true, true, true, false, Reuse),
            (false, false, false, false, Redial),
            (false, false, true, false, Redial),
            (false, true, true, false, Redial),
            (false, true, false, false, NeedsPassword),
            (true, false, false, true, Refuse),
            (false, true, false, true, Refuse),
        ] {
            assert_eq!(
                decide(SessionSituation {
                    alive,
                    needs_password,
                    has_password,
                    ending
                }),
                expected
            );
        }
    }
}
