//! The calls of a log: beginnings and ends, put together.

use std::collections::HashMap;

use serde::Serialize;

use super::record::{BeginRecord, EndRecord, Event, PartRecord, Record};

/// A call as the log has it. One of the two is always there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoggedCall {
    /// Time of the first line of the call.
    pub time: String,
    /// `None` if that line could not be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begin: Option<BeginRecord>,
    /// `None` if the call has no end: it still runs, or was interrupted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<EndRecord>,
    /// Number of lines that could not be written before those of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
}

/// Which calls are wanted. Without any condition, all are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Name of the session, or the host as it was asked for or as it is called, in any case.
    pub host: Option<String>,
    /// Name of the tool, with or without `ssh_`.
    pub tool: Option<String>,
    /// First time that is wanted, in UTC (RFC 3339).
    pub since: Option<String>,
    /// First time that is not wanted any more, in UTC (RFC 3339).
    pub until: Option<String>,
}

/// Calls of a log, put together from its lines.
#[derive(Debug, Default)]
pub struct Calls {
    calls: Vec<LoggedCall>,
    /// Places of the calls by their ids.
    places: HashMap<String, usize>,
}

impl Calls {
    /// Enters the lines of the next file. Lines that are not records are left out.
    pub fn add(&mut self, text: &[u8]) {
        for line in text.split(|byte| *byte == b'\n') {
            if let Ok(record) = serde_json::from_slice(line) {
                self.enter(record);
            }
        }
    }

    /// Returns the calls in the order of their first lines.
    #[must_use]
    pub fn finish(self) -> Vec<LoggedCall> {
        self.calls
    }

    fn enter(&mut self, record: Record) {
        let id = record.event.call().to_owned();
        let place = *self.places.entry(id).or_insert(self.calls.len());

        if place == self.calls.len() {
            self.calls.push(LoggedCall {
                time: record.time,
                begin: None,
                end: None,
                lost: None,
            });
        }

        let Some(call) = self.calls.get_mut(place) else {
            return;
        };

        if record.lost > 0 {
            call.lost = Some(call.lost.unwrap_or_default() + record.lost);
        }

        match record.event {
            Event::Begin(begin) => call.begin = Some(begin),
            Event::End(end) => call.end = Some(end),
        }
    }
}

impl LoggedCall {
    /// Returns the name of the tool.
    #[must_use]
    pub fn tool(&self) -> &str {
        match (&self.begin, &self.end) {
            (Some(begin), _) => &begin.tool,
            (None, Some(end)) => &end.tool,
            (None, None) => "",
        }
    }

    /// Returns what each session had to do with the call.
    #[must_use]
    pub fn parts(&self) -> &[PartRecord] {
        self.end.as_ref().map_or(&[], |end| &end.parts)
    }

    /// Returns the sessions and hosts that the call names, also where it did not get so far.
    fn asked(&self) -> impl Iterator<Item = &str> {
        const NAMES: [&str; 4] = ["session", "sessions", "host", "name"];

        let arguments = self.begin.iter().map(|begin| &begin.arguments);
        let values = arguments.flat_map(|all| NAMES.iter().filter_map(|name| all.get(*name)));

        values.flat_map(|value| {
            let list = value.as_array().into_iter().flatten();
            list.chain(std::iter::once(value))
                .filter_map(|it| it.as_str())
        })
    }
}

impl Filter {
    /// Returns true if the call is wanted.
    #[must_use]
    pub fn matches(&self, call: &LoggedCall) -> bool {
        let has_host = |host: &String| {
            let parts = call.parts().iter();
            let reached = parts.flat_map(|part| {
                let hosts = part.hosts.iter();
                let hosts = hosts.flat_map(|host| [host.asked.as_str(), &host.host_name]);
                hosts.chain(part.session.as_deref())
            });

            reached
                .chain(call.asked())
                .any(|name| name.eq_ignore_ascii_case(host))
        };

        let has_tool = |tool: &String| {
            call.tool() == tool || call.tool().strip_prefix("ssh_") == Some(tool.as_str())
        };

        // Times of one form in one zone are in the order of their texts.
        self.host.as_ref().is_none_or(has_host)
            && self.tool.as_ref().is_none_or(has_tool)
            && self.since.as_ref().is_none_or(|since| call.time >= *since)
            && self.until.as_ref().is_none_or(|until| call.time < *until)
    }
}
