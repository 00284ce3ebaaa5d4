//! The explanation as JSON, for programs.

use serde::Serialize;

use super::{Content, Explanation, WORK};
use crate::{
    foreign_text::json_for_a_terminal,
    session::host_names::{HostOnRoute, RouteRules},
    settings::{Held, HostNames, HostRules, NameKind, Settings, Verdict},
};

/// JSON form of an explanation. Field names are part of the interface to programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonExplanation<'a> {
    host: &'a str,
    /// Path of the settings file, and whether it is there.
    file: Option<String>,
    is_there: bool,
    /// Why the file cannot be used. The fields below are then absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(flatten)]
    usable: Option<JsonUsable<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonUsable<'a> {
    names: Vec<JsonName<'a>>,
    may_have_other_addresses: bool,
    jump_hosts: Vec<JsonJump<'a>>,
    settings: JsonRules<'a>,
    work: Vec<JsonWork>,
    local_roots: &'a [String],
    audit: Option<JsonAudit<'a>>,
}

#[derive(Serialize)]
struct JsonName<'a> {
    name: &'a str,
    kind: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonJump<'a> {
    names: Vec<JsonName<'a>>,
    may_have_other_addresses: bool,
    connect: JsonHeld<'a>,
    access: JsonHeld<'a>,
}

#[derive(Serialize)]
struct JsonRules<'a> {
    connect: JsonHeld<'a>,
    access: JsonHeld<'a>,
    run: JsonHeld<'a>,
    sudo: JsonHeld<'a>,
    forward: JsonHeld<'a>,
}

/// A value; the section that has it and the name that it matches are null if no section says so.
#[derive(Serialize)]
struct JsonHeld<'a> {
    value: &'static str,
    section: Option<String>,
    matched: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonWork {
    work: &'static str,
    tools: &'static [&'static str],
    /// `allow`, `ask` or `refuse`.
    verdict: &'static str,
    reason: Option<String>,
    /// Jump host whose rules decide; null for the host itself.
    jump_host: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonAudit<'a> {
    file: Option<&'a str>,
    required: bool,
    head: &'static str,
    max_mib: u64,
}

impl Explanation {
    /// Formats the explanation as a JSON object on several lines, safe to print on a terminal.
    ///
    /// # Errors
    /// No failure is known: the explanation consists of text.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        let (is_there, error, usable) = match &self.content {
            Content::Unusable(error) => (true, Some(error.to_string()), None),
            Content::Usable {
                is_there,
                settings,
                names,
            } => (*is_there, None, Some((settings, names))),
        };

        // What holds is lent to the JSON, so it has to live as long.
        let usable = usable.map(|(settings, names)| (settings, names, names.rules(settings)));
        let usable = usable
            .as_ref()
            .map(|(settings, names, rules)| usable_json(settings, names, rules));

        let explanation = JsonExplanation {
            host: &self.host,
            file: self.file.as_ref().map(|path| path.display().to_string()),
            is_there,
            error,
            usable,
        };

        serde_json::to_string_pretty(&explanation).map(|json| json_for_a_terminal(&json))
    }
}

fn usable_json<'a>(
    settings: &'a Settings,
    names: &'a HostOnRoute,
    rules: &'a RouteRules,
) -> JsonUsable<'a> {
    let jumps = names.jumps.iter().zip(&rules.jumps);

    JsonUsable {
        names: list(&names.host),
        may_have_other_addresses: names.host.may_have_other_addresses(),
        jump_hosts: jumps
            .map(|(names, (_, rules))| jump(names, rules))
            .collect(),
        settings: all_held(&rules.host),
        work: work(rules),
        local_roots: &settings.local().roots,
        audit: audit(settings),
    }
}

fn list(names: &HostNames) -> Vec<JsonName<'_>> {
    names
        .iter()
        .map(|name| JsonName {
            name: &name.text,
            kind: match name.kind {
                NameKind::Asked => "asked",
                NameKind::HostName => "hostName",
                NameKind::Address => "address",
                NameKind::Alias => "alias",
            },
        })
        .collect()
}

fn jump<'a>(names: &'a HostNames, rules: &'a HostRules) -> JsonJump<'a> {
    JsonJump {
        names: list(names),
        may_have_other_addresses: names.may_have_other_addresses(),
        connect: held(rules.connect.value.as_str(), &rules.connect),
        access: held(rules.access.value.as_str(), &rules.access),
    }
}

fn all_held(rules: &HostRules) -> JsonRules<'_> {
    JsonRules {
        connect: held(rules.connect.value.as_str(), &rules.connect),
        access: held(rules.access.value.as_str(), &rules.access),
        run: held(rules.run.value.as_str(), &rules.run),
        sudo: held(rules.sudo.value.as_str(), &rules.sudo),
        forward: held(rules.forward.value.as_str(), &rules.forward),
    }
}

fn held<'a, T>(value: &'static str, held: &'a Held<T>) -> JsonHeld<'a> {
    JsonHeld {
        value,
        section: held.by.as_ref().map(ToString::to_string),
        matched: held.matched.as_deref(),
    }
}

fn work(rules: &RouteRules) -> Vec<JsonWork> {
    let each = WORK.into_iter().map(|(operation, work, tools)| {
        let (verdict, jump) = rules.decide(operation);
        let (verdict, reason) = match verdict {
            Verdict::Allow => ("allow", None),
            Verdict::Ask(reason) => ("ask", Some(reason.to_string())),
            Verdict::Refuse(reason) => ("refuse", Some(reason.to_string())),
        };

        JsonWork {
            work,
            tools,
            verdict,
            reason,
            jump_host: jump.map(str::to_owned),
        }
    });

    each.collect()
}

fn audit(settings: &Settings) -> Option<JsonAudit<'_>> {
    settings.audit().map(|audit| JsonAudit {
        file: audit.file.as_deref(),
        required: audit.required,
        head: audit.head.as_str(),
        max_mib: audit.max_mib,
    })
}
