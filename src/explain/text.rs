//! The explanation as text, for people.

use std::fmt::Write as _;

use super::{Content, Explanation, WORK};
use crate::{
    foreign_text::{ForeignText, escape_line},
    session::host_names::RouteRules,
    settings::{
        AuditSettings, Held, HostNames, HostRules, NameKind, SectionName, Settings, Verdict,
    },
};

impl Explanation {
    /// Formats the explanation, without a final end of line.
    #[must_use]
    pub fn text(&self) -> String {
        let file = match &self.file {
            Some(path) => ForeignText::from(path.to_string_lossy().as_bytes()).to_string(),
            None => "none, because this user has no configuration directory".to_owned(),
        };

        match &self.content {
            Content::Unusable(error) => {
                format!("{}\n  next: correct {file}", escape_line(error.to_string()))
            }
            Content::Usable {
                is_there,
                settings,
                names,
            } => {
                let rules = &names.rules(settings);
                let remark = if *is_there || self.file.is_none() {
                    ""
                } else {
                    " (there is no such file, so everything is allowed)"
                };

                let mut text = format!("settings file: {file}{remark}\n");
                let _ = writeln!(
                    text,
                    "names of {}: {}",
                    ForeignText::from(&self.host),
                    list(&names.host)
                );
                for (jump, (_, rules)) in names.jumps.iter().zip(&rules.jumps) {
                    let _ = writeln!(text, "jump host: {}", list(jump));
                    write_held(
                        &mut text,
                        "    connect",
                        rules.connect.value.as_str(),
                        &rules.connect,
                    );
                    write_held(
                        &mut text,
                        "    access",
                        rules.access.value.as_str(),
                        &rules.access,
                    );
                }

                text.push('\n');
                write_rules(&mut text, &rules.host);
                text.push('\n');
                write_work(&mut text, rules);
                text.push('\n');
                write_rest(&mut text, settings);

                text.trim_end().to_owned()
            }
        }
    }
}

/// Returns the names of a host in a line.
fn list(names: &HostNames) -> String {
    let mut shown: Vec<String> = names
        .iter()
        .map(|name| {
            let kind = match name.kind {
                NameKind::Asked => "as given",
                NameKind::HostName => "HostName",
                NameKind::Address => "address",
                NameKind::Alias => "alias of the same place",
            };
            format!("{} ({kind})", ForeignText::from(&name.text))
        })
        .collect();

    if names.may_have_other_addresses() {
        shown.push("perhaps other addresses".to_owned());
    }

    shown.join(", ")
}

/// Writes each setting, and who says so.
fn write_rules(text: &mut String, rules: &HostRules) {
    write_held(
        text,
        "connect",
        rules.connect.value.as_str(),
        &rules.connect,
    );
    write_held(text, "access", rules.access.value.as_str(), &rules.access);
    write_held(text, "run", rules.run.value.as_str(), &rules.run);
    write_held(text, "sudo", rules.sudo.value.as_str(), &rules.sudo);
    write_held(
        text,
        "forward",
        rules.forward.value.as_str(),
        &rules.forward,
    );
}

fn write_held<T>(text: &mut String, setting: &str, value: &str, held: &Held<T>) {
    let matched = held.matched.as_deref().map(ForeignText::from);
    let by = match (&held.by, matched) {
        (Some(by @ SectionName::Host(_)), Some(name)) => format!("{by}, which matches {name}"),
        (Some(by), Some(name)) => format!("{by}, because no other section names {name}"),
        (Some(by), None) => by.to_string(),
        (None, _) => "no section says otherwise".to_owned(),
    };

    let _ = writeln!(text, "{setting} = \"{value}\": {by}");
}

/// Writes what happens to each kind of work.
fn write_work(text: &mut String, rules: &RouteRules) {
    for (operation, work, tools) in WORK {
        let (verdict, jump) = rules.decide(operation);
        let jump = jump.map_or_else(String::new, |jump| {
            format!(" at the jump host {}", ForeignText::from(jump))
        });

        let outcome = match verdict {
            Verdict::Allow => "goes".to_owned(),
            Verdict::Ask(reason) => format!("asks the person: {reason}{jump}"),
            Verdict::Refuse(reason) => format!("is refused: {reason}{jump}"),
        };

        let _ = writeln!(text, "{work} ({}) {outcome}", tools.join(", "));
    }
}

/// Writes the settings that are not about hosts.
fn write_rest(text: &mut String, settings: &Settings) {
    let roots = &settings.local().roots;
    let roots = if roots.is_empty() {
        "not set".to_owned()
    } else {
        let roots = roots.iter().map(|root| ForeignText::from(root).to_string());
        roots.collect::<Vec<_>>().join(", ")
    };
    let _ = writeln!(text, "local roots: {roots}");

    let audit = settings.audit().map_or_else(
        || "off".to_owned(),
        |AuditSettings {
             file,
             required,
             head,
             max_mib,
         }| {
            let file = file.as_deref().unwrap_or("the usual file");
            format!(
                "{}, required = {required}, head = \"{}\", max_mib = {max_mib}",
                ForeignText::from(file),
                head.as_str()
            )
        },
    );
    let _ = writeln!(text, "audit: {audit}");
}
