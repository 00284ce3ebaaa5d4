//! What the settings say about the work of a call.

use std::sync::Arc;

use super::{
    Work,
    answer::Wish,
    hosts::{Candidates, Hosts, KnownHost},
    plain_ssh::PlainSsh,
};
use crate::{
    foreign_text::escape_line,
    mcp::{Touch, TouchedHost},
    openssh::destination::Destination,
    settings::{HostNames, Operation, OtherName, Reason, SectionName, Settings, Verdict, decide},
};

/// Settings, and the files that say which host is meant.
pub(super) struct Judge {
    pub(super) settings: Arc<Settings>,
    pub(super) hosts: Hosts,
}

impl Judge {
    /// Returns what the settings want for a piece of work.
    pub(super) fn wish(&self, work: &Work) -> Wish {
        match work {
            Work::Tool(touch) => self.of_tool(touch),
            Work::Plain(plain) => self.of_plain(plain),
        }
    }

    fn of_tool(&self, touch: &Touch) -> Wish {
        let Candidates { hosts, is_complete } = self.hosts.candidates(&touch.host);
        let wishes: Vec<Wish> = hosts
            .iter()
            .map(|host| self.of_host(host, touch.operation))
            .chain((!is_complete).then(|| self.of_unknown(touch.operation)))
            .collect();

        // One of them is meant, so what holds for all of them is certain.
        let is_one_of = matches!(touch.host, TouchedHost::Default);
        let is_certain = wishes.iter().all(|wish| wish.is_like(wishes.first()));
        let strictest = Wish::strictest(wishes).unwrap_or(Wish::Allow);

        match strictest {
            Wish::Ask(reason) | Wish::Deny(reason) if is_one_of && !is_certain => {
                Wish::Doubt(format!("the default session may be this one: {reason}"))
            }
            // The rules of a host say nothing about files of this machine, and the client may. Where
            // the settings name the folders, the server asks about all others.
            Wish::Allow if touch.moves_local_files && self.settings.local().roots.is_empty() => {
                Wish::Leave
            }
            wish => wish,
        }
    }

    /// Returns what the settings want for a program of this machine. It runs what it likes on its
    /// host, and the server does not see it.
    fn of_plain(&self, plain: &PlainSsh) -> Wish {
        let operations = [
            Some(Operation::Connect),
            Some(Operation::Run),
            plain.forwards.then_some(Operation::Forward),
        ];

        let known = plain
            .hosts
            .iter()
            .map(|host| match Destination::parse(host) {
                Ok(destination) => {
                    let host = self.hosts.host(destination, None);
                    let wishes = operations.into_iter().flatten();
                    Wish::strictest(wishes.map(|operation| self.of_host(&host, operation)))
                        .unwrap_or(Wish::Allow)
                }
                // The program refuses it.
                Err(_) => Wish::Allow,
            });

        let unknown = (!plain.is_certain).then(|| self.of_unknown(Operation::Run));
        let strictest = Wish::strictest(known.chain(unknown)).unwrap_or(Wish::Allow);

        strictest.map(|reason| {
            let program = plain.program;
            format!("plain {program} goes around the tools of mcp-ssh-sessions; {reason}")
        })
    }

    /// Returns what the settings want for work on a host, its jump hosts included.
    fn of_host(&self, host: &KnownHost, operation: Operation) -> Wish {
        // A connection that is open already is not asked about. It must still be one that may be
        // there.
        let at_jump_host = match operation {
            Operation::Connect => Operation::Connect,
            _ => Operation::Read,
        };

        let jump_hosts = host.jump_hosts.iter();
        let jump_hosts = jump_hosts.map(|jump_host| self.of_host(jump_host, at_jump_host));
        let own = self.of_names(&host.names, &host.others, operation);

        Wish::strictest(jump_hosts.chain([own])).unwrap_or(Wish::Allow)
    }

    /// Returns what the settings want for a host of these names, which may have others besides.
    fn of_names(&self, names: &HostNames, others: &[OtherName], operation: Operation) -> Wish {
        let verdict = decide(operation, &self.settings.rules(names));
        let mut sections = others
            .iter()
            .filter_map(|other| Some((other, self.settings.rules_of_other(other)?)));

        match &verdict {
            // A section for another name may be more lenient than `[default]`. One for an alias that
            // nobody asked for opens nothing.
            Verdict::Refuse(reason)
                if reason.by == Some(SectionName::Default)
                    && sections.any(|(other, _)| !matches!(other, OtherName::Alias(_))) =>
            {
                Wish::Doubt(shown(names, reason))
            }
            Verdict::Allow => {
                let stricter = sections.find_map(|(_, rules)| match decide(operation, &rules) {
                    Verdict::Allow => None,
                    Verdict::Ask(reason) | Verdict::Refuse(reason) => Some(reason),
                });

                stricter.map_or(Wish::Allow, |reason| {
                    let section = reason.by.as_ref().map(ToString::to_string);
                    let section = section.unwrap_or_default();
                    Wish::Doubt(line(&format!(
                        "{} may be a host of {section}, which has {} = \"{}\"",
                        names.asked(),
                        reason.setting,
                        reason.value
                    )))
                })
            }
            _ => wish(names, verdict),
        }
    }

    /// Returns what the settings want for work on a host of which nothing is known.
    fn of_unknown(&self, operation: Operation) -> Wish {
        // A name that no section matches but one for every host.
        let nobody = HostNames::new("?");
        let is_free = |verdict| matches!(verdict, Verdict::Allow);
        let any = self.settings.rules_of_other(&OtherName::Any);

        if is_free(decide(operation, &self.settings.rules(&nobody)))
            && any.is_none_or(|rules| is_free(decide(operation, &rules)))
        {
            return Wish::Allow;
        }

        Wish::Doubt("it is not known which host this is, and some have rules".to_owned())
    }
}

/// Returns the wish of a verdict on the host of these names.
fn wish(names: &HostNames, verdict: Verdict) -> Wish {
    match verdict {
        Verdict::Allow => Wish::Allow,
        Verdict::Ask(reason) => Wish::Ask(shown(names, &reason)),
        Verdict::Refuse(reason) => {
            // The agent reads this.
            let way_on = if reason.value == "read" {
                "use ssh_read, ssh_search or ssh_download, or ask the person"
            } else {
                "ask the person"
            };

            Wish::Deny(format!("{}; {way_on}", shown(names, &reason)))
        }
    }
}

/// Returns a reason in a line that names the host.
fn shown(names: &HostNames, reason: &Reason) -> String {
    line(&format!("{}: {reason}", names.asked()))
}

fn line(text: &str) -> String {
    escape_line(text.as_bytes())
}
