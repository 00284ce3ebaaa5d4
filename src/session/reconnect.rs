//! What to do when a call needs a connection. Pure: a table over what is known of the session.

/// What is known of a session's connection and of the secrets in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the table has these four columns"
)]
pub struct SessionSituation {
    /// There is a connection and it has not ended.
    pub alive: bool,
    /// The log-in needed a password that the caller gave.
    pub needs_password: bool,
    /// That password is still in memory.
    pub has_password: bool,
    /// The program is ending.
    pub ending: bool,
}

/// The decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconnect {
    /// Use the connection that is there.
    Reuse,
    /// Connect with what is known.
    Redial,
    /// Only the person can connect it again, with the password.
    NeedsPassword,
    /// No connection may be opened any more.
    Refuse,
}

/// Decides.
#[must_use]
pub fn decide(situation: SessionSituation) -> Reconnect {
    match situation {
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
