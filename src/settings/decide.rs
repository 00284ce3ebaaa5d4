//! The decision about one piece of work on a host.

use std::fmt;

use super::{
    rules::{Held, HostRules, SectionName},
    values::{Access, Rule, Word},
};
use crate::foreign_text::ForeignText;

/// Kind of work on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Connecting to it, also as a jump host.
    Connect,
    /// Looking at files and sessions without a command of the agent's.
    Read,
    /// Running a command, or writing files.
    Run,
    /// Any of this through sudo. Reading is no exception: sudo runs as root.
    Sudo,
    /// Forwarding a port.
    Forward,
}

/// What is to be done with a piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes.
    Allow,
    /// The person is asked.
    Ask(Reason),
    /// It is refused.
    Refuse(Reason),
}

/// The setting that decided. The `Display` form is the setting and its section, as in
/// `access = "read" in [host."prod-*"], which matches prod-web`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Key, such as `access`.
    pub setting: &'static str,
    /// Value, such as `read`.
    pub value: &'static str,
    /// Section that has the value.
    pub by: Option<SectionName>,
    /// Name of the host that the section matches.
    pub matched: Option<String>,
}

impl Reason {
    fn new<T: Word>(setting: &'static str, held: &Held<T>) -> Self {
        Self {
            setting,
            value: held.value.word(),
            by: held.by.clone(),
            matched: held.matched.clone(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = \"{}\"", self.setting, self.value)?;

        let Some(by) = &self.by else { return Ok(()) };
        write!(f, " in {by}")?;

        let matched = self.matched.as_deref().map(ForeignText::from);
        match (by, matched) {
            (SectionName::Host(_), Some(name)) => write!(f, ", which matches {name}"),
            (SectionName::Default, Some(name)) => {
                write!(f, ", because no other section names {name}")
            }
            (_, None) => Ok(()),
        }
    }
}

/// Decides about a piece of work on a host with these rules.
///
/// `access` and `connect` stand above the others: a host that must not be reached does nothing, and
/// a host that may only be read runs nothing, whatever the other settings say.
#[must_use]
pub fn decide(operation: Operation, rules: &HostRules) -> Verdict {
    let is_reading = matches!(operation, Operation::Connect | Operation::Read);
    let is_closed = match rules.access.value {
        Access::Full => false,
        Access::Read => !is_reading,
        Access::Never => true,
    };

    if is_closed {
        return Verdict::Refuse(Reason::new("access", &rules.access));
    }

    if rules.connect.value == Rule::Never {
        return Verdict::Refuse(Reason::new("connect", &rules.connect));
    }

    match operation {
        Operation::Connect => by_rule("connect", &rules.connect),
        Operation::Read => Verdict::Allow,
        // Both have to agree.
        Operation::Sudo if rules.sudo.value >= rules.run.value => by_rule("sudo", &rules.sudo),
        Operation::Run | Operation::Sudo => by_rule("run", &rules.run),
        Operation::Forward => by_rule("forward", &rules.forward),
    }
}

fn by_rule(setting: &'static str, held: &Held<Rule>) -> Verdict {
    match held.value {
        Rule::Allow => Verdict::Allow,
        Rule::Ask => Verdict::Ask(Reason::new(setting, held)),
        Rule::Never => Verdict::Refuse(Reason::new(setting, held)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HostNames, Settings};
    use super::*;

    /// The verdicts about connect, read, run, sudo and forward, in this order: `+` goes, `?setting`
    /// asks, `-setting` refuses.
    fn verdicts(rules: &HostRules) -> String {
        let shown = |operation| match decide(operation, rules) {
            Verdict::Allow => "+".to_owned(),
            Verdict::Ask(reason) => format!("?{}", reason.setting),
            Verdict::Refuse(reason) => format!("-{}", reason.setting),
        };

        [
            Operation::Connect,
            Operation::Read,
            Operation::Run,
            Operation::Sudo,
            Operation::Forward,
        ]
        .map(shown)
        .join(" ")
    }

    #[test]
    fn each_setting_decides_about_its_work() {
        const CLOSED: &str = "-access -access -access -access -access";
        const READ: &str = "+ + -access -access -access";

        for (section, expected) in [
            ("", "+ + + + +"),
            ("connect='allow'", "+ + + + +"),
            ("connect='ask'", "?connect + + + +"),
            (
                "connect='never'",
                "-connect -connect -connect -connect -connect",
            ),
            ("access='full'", "+ + + + +"),
            ("access='read'", READ),
            ("access='never'", CLOSED),
            ("run='allow'", "+ + + + +"),
            ("run='ask'", "+ + ?run ?run +"),
            ("run='never'", "+ + -run -run +"),
            ("sudo='allow'", "+ + + + +"),
            ("sudo='ask'", "+ + + ?sudo +"),
            ("sudo='never'", "+ + + -sudo +"),
            ("forward='ask'", "+ + + + ?forward"),
            ("forward='never'", "+ + + + -forward"),
            // `access` stands above what is said of single kinds of work.
            ("access='read'\nrun='allow'", READ),
            ("access='read'\nrun='ask'\nsudo='ask'\nforward='ask'", READ),
            (
                "access='read'\nrun='never'\nsudo='never'\nforward='never'",
                READ,
            ),
            (
                "access='read'\nconnect='ask'",
                "?connect + -access -access -access",
            ),
            (
                "access='read'\nconnect='never'",
                "-connect -connect -access -access -access",
            ),
            ("access='never'\nconnect='allow'\nrun='allow'", CLOSED),
            ("access='never'\nconnect='ask'", CLOSED),
            // sudo needs both.
            ("run='ask'\nsudo='ask'", "+ + ?run ?sudo +"),
            ("run='ask'\nsudo='never'", "+ + ?run -sudo +"),
            ("run='never'\nsudo='ask'", "+ + -run -run +"),
            ("run='never'\nsudo='allow'", "+ + -run -run +"),
            ("run='ask'\nsudo='allow'", "+ + ?run ?run +"),
            // A forward is no command.
            ("run='never'\nforward='allow'", "+ + -run -run +"),
            (
                "connect='ask'\nrun='ask'\nforward='ask'",
                "?connect + ?run ?run ?forward",
            ),
        ] {
            let settings = Settings::parse(&format!("[host.web]\n{section}")).unwrap();
            assert_eq!(
                verdicts(&settings.rules(&HostNames::new("web"))),
                expected,
                "{section}"
            );

            // The same, said for all hosts.
            let settings = Settings::parse(&format!("[default]\n{section}")).unwrap();
            assert_eq!(
                verdicts(&settings.rules(&HostNames::new("web"))),
                expected,
                "{section}"
            );
        }

        assert_eq!(verdicts(&HostRules::default()), "+ + + + +");
    }

    #[test]
    fn a_reason_says_who_decided() {
        for (text, expected) in [
            (
                "[host.\"prod-*\"]\naccess='read'",
                "access = \"read\" in [host.\"prod-*\"], which matches prod-web",
            ),
            (
                "[default]\naccess='read'",
                "access = \"read\" in [default], because no other section names prod-web",
            ),
        ] {
            let settings = Settings::parse(text).unwrap();
            let rules = settings.rules(&HostNames::new("PROD-web"));
            let Verdict::Refuse(reason) = decide(Operation::Run, &rules) else {
                panic!("{text}");
            };
            assert_eq!(reason.to_string(), expected);
        }
    }
}
