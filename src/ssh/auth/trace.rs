//! Describes a log-in in the trace, method by method.

use super::{Login, candidate::Candidate};

impl Login<'_> {
    /// Records the methods which the server accepts, the attempts with their results, and the keys
    /// which were not offered.
    pub(super) fn explain(&self, logged_in: bool) {
        let trace = &self.facts.trace;
        if !trace.is_recording() {
            return;
        }

        let allowed = self.log.allowed_names();
        if !allowed.is_empty() {
            trace.detail(|| format!("the server takes {}", allowed.join(", ")));
        }

        for attempt in &self.log.failed {
            trace.detail(|| attempt.clone());
        }

        for key in &self.keys.accepted {
            trace.detail(|| format!("publickey {key}: accepted"));
        }

        // Without a list from the server, any method may have been acceptable.
        let publickey = allowed.is_empty() || allowed.contains(&"publickey");

        for candidate in self.keys.identities.untried() {
            let name = described(candidate);
            if self.keys.accepted.contains(&name) {
                continue;
            }

            trace.detail(|| match (logged_in, publickey) {
                (true, _) => format!("publickey {name}: not needed"),
                (false, true) => format!("publickey {name}: not shown any more"),
                (false, false) => {
                    format!("publickey {name}: not shown, because the server takes no keys")
                }
            });
        }

        if logged_in {
            return;
        }

        // A diagnosis sends no password, so these methods remain possible. The user should know
        // about them.
        let config = self.config;

        for (method, enabled, option) in [
            (
                "password",
                config.password_authentication,
                "PasswordAuthentication",
            ),
            (
                "keyboard-interactive",
                config.kbd_interactive_authentication,
                "KbdInteractiveAuthentication",
            ),
        ] {
            if allowed.contains(&method) {
                trace.detail(|| {
                    let off = format!("because of {option} no");
                    let why = if enabled {
                        "because nothing secret is sent to find this out"
                    } else {
                        &off
                    };

                    format!("{method}: not tried, {why}")
                });
            }
        }
    }
}

/// Describes a candidate. A key whose file must be decrypted first has only a name.
fn described(candidate: &Candidate) -> String {
    match &candidate.offer {
        Some(offer) => candidate.description(offer),
        None => candidate.name.to_string(),
    }
}
