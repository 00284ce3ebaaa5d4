//! Calls as a person reads them, a line each.

use serde_json::Value;

use super::{
    calls::LoggedCall,
    record::{BeginRecord, CommandRecord, EndRecord, Outcome, PartRecord},
};
use crate::foreign_text::escape_line;

/// Arguments that are shown first and without their names, in this order.
const MAIN: [&str; 6] = ["command", "host", "path", "localPath", "remotePath", "job"];
/// Arguments that are shown elsewhere in the line.
const ELSEWHERE: [&str; 2] = ["session", "sessions"];

impl LoggedCall {
    /// Returns the call in one line, in which nothing moves the cursor of a terminal.
    #[must_use]
    pub fn line(&self) -> String {
        let mut words = vec![self.time.clone()];

        if let Some(begin) = &self.begin {
            let client = begin.client.as_deref().unwrap_or("an unnamed client");
            words.push(format!("{client} ({})", begin.conversation));
        }

        words.push(self.tool().to_owned());
        match &self.begin {
            Some(begin) => words.extend(asked(begin)),
            None => words.push("(no beginning recorded)".to_owned()),
        }

        words.push("→".to_owned());
        words.push(match &self.end {
            Some(end) => came_of_it(end),
            None => "no end recorded".to_owned(),
        });

        if let Some(lost) = self.lost {
            let lines = if lost == 1 { "line" } else { "lines" };
            words.push(format!("[{lost} {lines} before could not be written]"));
        }

        escape_line(words.join(" "))
    }
}

/// Returns what was asked for: the sessions, the command or path, and the other arguments.
fn asked(begin: &BeginRecord) -> Vec<String> {
    let sessions = ELSEWHERE
        .iter()
        .filter_map(|name| begin.arguments.get(*name));
    let sessions: Vec<String> = sessions.map(|value| format!("{}:", shown(value))).collect();

    let main = MAIN.iter().filter_map(|name| begin.arguments.get(*name));
    let others = begin.arguments.iter().filter(|(name, _)| {
        let name = name.as_str();
        !MAIN.contains(&name) && !ELSEWHERE.contains(&name)
    });
    let others: Vec<String> = others
        .map(|(name, value)| format!("{name}={}", shown(value)))
        .collect();

    let mut words = sessions;
    words.extend(main.map(shown));
    if !others.is_empty() {
        words.push(format!("({})", others.join(", ")));
    }

    words
}

/// Returns a value as text: lists without brackets, all else as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(shown).collect::<Vec<_>>().join(","),
        value => value.to_string(),
    }
}

/// Returns how the call ended, and on which hosts.
fn came_of_it(end: &EndRecord) -> String {
    let mut words = Vec::new();

    if end.outcome == Outcome::Error {
        words.push(format!(
            "error: {}",
            end.error.as_deref().unwrap_or("unknown")
        ));
    }

    if end.cancelled {
        words.push("cancelled by the client".to_owned());
    }

    words.extend(
        end.parts
            .iter()
            .map(of_part)
            .filter(|part| !part.is_empty()),
    );

    if !end.files.is_empty() {
        words.push(format!("changed {}", end.files.join(", ")));
    }

    words.extend(end.moved.map(|files| format!("{files} files")));
    words.extend(end.bytes.map(|bytes| format!("{bytes} bytes")));
    if words.is_empty() {
        words.push("ok".to_owned());
    }

    format!("{} in {} ms", words.join("; "), end.ms)
}

/// Returns what one session had to do with the call, such as `exit 0, 12 bytes on web (deploy@
/// 10.0.0.5:22), allowed by settings`.
fn of_part(part: &PartRecord) -> String {
    let mut words = Vec::new();

    words.extend(part.command.as_ref().map(of_command));
    if part.failed {
        words.push("not run".to_owned());
    }

    words.extend(part.session.as_ref().map(|session| format!("on {session}")));

    let hosts = part.hosts.iter().map(|host| {
        let address = if host.host_name.contains(':') {
            format!("[{}]:{}", host.host_name, host.port)
        } else {
            format!("{}:{}", host.host_name, host.port)
        };
        let asked = if host.asked == host.host_name {
            String::new()
        } else {
            format!(" as {}", host.asked)
        };
        format!("({}@{address}{asked})", host.user)
    });
    words.extend(hosts);

    let allowed: Vec<&str> = part.allowed.iter().map(|how| how.words()).collect();
    if !allowed.is_empty() {
        words.push(format!("allowed by {}", allowed.join(" and ")));
    }

    words.join(" ")
}

fn of_command(command: &CommandRecord) -> String {
    let end = match (&command.exit, &command.signal) {
        (Some(exit), _) => format!("exit {exit}"),
        (None, Some(signal)) => format!("killed by {signal}"),
        (None, None) => command.status.clone(),
    };

    let job = command.job.iter().map(|job| format!(", job {job}"));
    let job: String = job.collect();

    format!("{end}, {} bytes{job}", command.output)
}
