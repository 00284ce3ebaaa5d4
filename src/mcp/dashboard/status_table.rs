//! The activity of a daemon, as tables for people.

use std::time::Duration;

use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use crate::{foreign_text::escape_line, mcp::call::report};

/// Limit of the text of a command, in characters.
const MAX_COMMAND_CHARS: usize = 60;

/// Section of the output: key in the JSON, column heads, and the function for the cells of a row.
type StatusSection = (
    &'static str,
    &'static [&'static str],
    fn(&Value) -> Vec<String>,
);

/// Sections in the order in which they are shown.
const PARTS: [StatusSection; 6] = [
    ("sessions", &["SESSION", "STATE", "WHERE", "SINCE"], session),
    ("shells", &["SHELL", "SESSION", "STATE", "DIRECTORY"], shell),
    (
        "jobs",
        &["JOB", "SESSION", "STATE", "TIME", "OUTPUT", "COMMAND"],
        job,
    ),
    (
        "transfers",
        &["TRANSFER", "SESSION", "TIME", "MOVED", "FROM", "TO"],
        transfer,
    ),
    (
        "forwards",
        &["FORWARD", "SESSION", "STATE", "CONNECTIONS", "FROM", "TO"],
        forward,
    ),
    ("edits", &["EDITED", "SESSION", "LINES", "FILE"], edit),
];

/// Formats an activity as tables, with a blank line between them. Empty sections are left out,
/// except for the sessions.
pub(super) fn format(activity: &Value) -> String {
    let mut parts: Vec<String> = Vec::new();

    for (key, heads, cells) in PARTS {
        let rows: Vec<Vec<String>> = activity[key]
            .as_array()
            .into_iter()
            .flatten()
            .map(cells)
            .collect();

        // Only the sessions have a text when empty, which is all that a new user sees.
        if !rows.is_empty() {
            let heads = heads.iter().map(|head| (*head).to_owned()).collect();
            parts.push(aligned(&[vec![heads], rows].concat()));
        } else if key == "sessions" {
            parts.push("no sessions; an agent makes one with ssh_connect".to_owned());
        }
    }

    parts.extend(
        activity["notice"]
            .as_str()
            .map(|notice| format!("notice: {}", escape_line(notice.as_bytes()))),
    );

    parts.join("\n\n")
}

/// Returns the cells of a session.
fn session(session: &Value) -> Vec<String> {
    let default = if session["default"] == true {
        " (default)"
    } else {
        ""
    };

    let user = if text(&session["user"]).is_empty() {
        String::new()
    } else {
        text(&session["user"]) + "@"
    };

    let address = format!(
        "{user}{} port {}",
        text(&session["hostName"]),
        text(&session["port"])
    );

    // The last error matters only while the session is not connected.
    let since = if session["connectedAt"].is_string() {
        &session["connectedAt"]
    } else {
        &session["lastError"]
    };

    vec![
        text(&session["name"]) + default,
        text(&session["state"]),
        address,
        text(since),
    ]
}

/// Returns the cells of a shell.
fn shell(shell: &Value) -> Vec<String> {
    ["shell", "session", "state", "cwd"]
        .map(|key| text(&shell[key]))
        .into()
}

/// Returns the cells of a command.
fn job(job: &Value) -> Vec<String> {
    let shell = if job["shell"].is_string() {
        format!(" ({})", text(&job["shell"]))
    } else {
        String::new()
    };

    // The ending says more than the status, but exists only after the end.
    let state = if job["ending"].is_string() {
        &job["ending"]
    } else {
        &job["status"]
    };

    let output = job["stdoutBytes"]
        .as_u64()
        .unwrap_or_default()
        .saturating_add(job["stderrBytes"].as_u64().unwrap_or(0));

    let command = text(&job["command"]);
    let mut shown: String = command.chars().take(MAX_COMMAND_CHARS).collect();
    if shown.len() < command.len() {
        shown.push('…');
    }

    let session = text(&job["session"]) + &shell;

    vec![
        text(&job["job"]),
        session,
        text(state),
        elapsed(job),
        format!("{output} bytes"),
        shown,
    ]
}

/// Returns the cells of a transfer.
fn transfer(transfer: &Value) -> Vec<String> {
    let session = text(&transfer["session"]);
    let here = text(&transfer["localPath"]);
    let there = format!("{session}:{}", text(&transfer["remotePath"]));
    let direction = text(&transfer["direction"]);
    let (from, to) = if direction == "upload" {
        (here, there)
    } else {
        (there, here)
    };

    // The daemon sends 0 for a total that it does not know.
    let moved = match transfer["expected"].as_u64() {
        None | Some(0) => format!("{} bytes", text(&transfer["bytes"])),
        Some(expected) => format!("{} of {expected} bytes", text(&transfer["bytes"])),
    };

    vec![direction, session, elapsed(transfer), moved, from, to]
}

/// Returns the cells of a forward.
fn forward(forward: &Value) -> Vec<String> {
    let session = text(&forward["session"]);
    let listen = if forward["url"].is_string() {
        &forward["url"]
    } else {
        &forward["listen"]
    };

    let (listen, to) = (text(listen), text(&forward["to"]));
    let (from, to) = if forward["direction"] == "local" {
        (listen, format!("{session} {to}"))
    } else {
        (format!("{session} {listen}"), format!("this machine {to}"))
    };

    let state = if forward["reason"].is_string() {
        format!("{}: {}", text(&forward["state"]), text(&forward["reason"]))
    } else {
        text(&forward["state"])
    };

    let connections = format!(
        "{} of {} open",
        text(&forward["open"]),
        text(&forward["accepted"])
    );

    vec![text(&forward["id"]), session, state, connections, from, to]
}

/// Returns the cells of an edit.
fn edit(edit: &Value) -> Vec<String> {
    let lines = format!("+{} −{}", text(&edit["added"]), text(&edit["removed"]));
    vec![
        text(&edit["editedAt"]),
        text(&edit["session"]),
        lines,
        text(&edit["path"]),
    ]
}

/// Returns the duration of a command or transfer, in words.
fn elapsed(job: &Value) -> String {
    report::duration(Duration::from_millis(
        job["durationMs"].as_u64().unwrap_or_default(),
    ))
}

/// Formats a value as a single line, with the control characters of remote machines escaped.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => escape_line(text.as_bytes()),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Aligns the cells in columns, each as wide as its widest cell. Nothing is added after the last
/// cell of a line.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);

    // The width on the screen counts, since some characters take two columns.
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.width())
                .max()
                .unwrap_or_default()
        })
        .collect();

    let lines = rows.iter().map(|row| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| cell.clone() + &" ".repeat(width - cell.width()));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });

    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_part_is_a_table_of_its_own_and_empty_ones_are_left_out() {
        assert_eq!(
            format(&json!({"sessions": []})),
            "no sessions; an agent makes one with ssh_connect"
        );

        let session = json!({"name": "box", "state": "connected", "hostName": "10.0.0.1", "port": 22, "user": "me",
            "default": true, "connectedAt": "2026-11-22T08:00:00Z"});
        let saved = json!({"name": "漢", "state": "saved", "hostName": "b", "port": 2222, "user": "", "default": false});
        let job = json!({"job": "0123abcd", "session": "box", "shell": "main", "command": "sleep 9\nrm x", "status": "running",
            "durationMs": 1500, "stdoutBytes": 10, "stderrBytes": 2});
        let moved = json!({"session": "box", "direction": "download", "localPath": "a", "remotePath": "/b", "durationMs": 5,
            "bytes": 7, "expected": 10});
        let edited = json!({"number": 1, "session": "box", "path": "/etc/a\nb", "editedAt": "2026-11-29T08:00:00Z",
            "added": 1, "removed": 2, "diff": "-x\n"});
        let page = json!({"id": "f1", "session": "box", "direction": "local", "listen": "127.0.0.1:8080",
            "url": "http://127.0.0.1:8080", "to": "127.0.0.1:80", "state": "open", "open": 1, "accepted": 3});
        let lent = json!({"id": "f2", "session": "box", "direction": "remote", "listen": "127.0.0.1:5432",
            "to": "127.0.0.1:5432", "state": "refused", "reason": "no\nway", "open": 0, "accepted": 0});
        let activity = json!({"sessions": [session, saved], "shells": [], "jobs": [job], "transfers": [moved],
            "forwards": [page, lent], "edits": [edited]});

        let expected = "\
SESSION        STATE      WHERE             SINCE
box (default)  connected  me@10.0.0.1 port 22  2026-11-22T08:00:00Z
漢             saved      b port 2222

JOB       SESSION     STATE    TIME   OUTPUT    COMMAND
0123abcd  box (main)  running  1.5 s  12 bytes  sleep 9\\nrm x

TRANSFER  SESSION  TIME  MOVED           FROM    TO
download  box      5 ms  7 of 10 bytes  box:/b  a

FORWARD  SESSION  STATE             CONNECTIONS  FROM                   TO
f1       box      open              1 of 3 open  http://127.0.0.1:8080  box 127.0.0.1:80
f2       box      refused: no\\nway  0 of 0 open  box 127.0.0.1:5432     this machine 127.0.0.1:5432

EDITED                SESSION  LINES  FILE
2026-11-29T08:00:00Z  box      +1 −2  /etc/a\\nb";

        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&format(&activity)), squeezed(expected));
        let starts: Vec<usize> = format(&activity)
            .lines()
            .take(3)
            .map(|line| line.split("  ").next().unwrap_or_default().width())
            .collect();

        assert_eq!(starts, [7, 13, 2], "the columns are parted by two spaces");
    }
}
