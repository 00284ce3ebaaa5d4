//! What the audit log gets of a call: of its arguments before, and of its answer after.
//!
//! Commands and paths are recorded as they are. Of what goes into a file or a program only the size
//! is recorded, and of passwords nothing. Neither is any output.

use rmcp::model::{CallToolResult, ContentBlock, JsonObject};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::{download, session::RESULT_KEY, upload};
use crate::{
    audit::record::{CommandRecord, Outcome, without_password},
    foreign_text::escape_line,
    mcp::call::{
        Call, params,
        report::{OUTCOME_KEY, OUTCOMES_KEY},
        tool_error::ToolError,
    },
    session::audit_log::{AskedCall, AuditError, EndedCall},
};

/// Parameters that are recorded as they are.
const AS_THEY_ARE: [&str; 20] = [
    "ask",
    "close",
    "command",
    "cwd",
    "direction",
    "exclude",
    "glob",
    "hosts",
    "job",
    "keyPath",
    "listen",
    "localPath",
    "path",
    "pattern",
    "remotePath",
    "shell",
    "signal",
    "to",
    "user",
    "sessions",
];

/// Parameters that are recorded without the password that some write into a destination.
const DESTINATIONS: [&str; 3] = ["host", "name", "session"];

/// Numbers, and parameters that are true or false. Any other text in them may be anything.
const NUMBERS: [&str; 17] = [
    "background",
    "context",
    "detach",
    "dryRun",
    "filesOnly",
    "forget",
    "fresh",
    "ignoreCase",
    "limit",
    "offset",
    "port",
    "pty",
    "replaceAll",
    "skipUnchanged",
    "sudo",
    "timeoutMs",
    "waitMs",
];

/// Limit of the name and version of a client, in bytes.
const MAX_CLIENT: usize = 200;

/// Parameters of which the size is recorded, in bytes. Of `env` the names are recorded as well, and
/// of `patch` the paths.
const SIZE_ONLY: [&str; 7] = [
    "content", "env", "input", "newText", "oldText", "patch", "stdin",
];

/// Lines of a patch that name a file.
const PATCHED: [&str; 4] = [
    "*** Add File:",
    "*** Delete File:",
    "*** Update File:",
    "*** Move to:",
];

/// Returns what a call of `tool` asks for. Its parameters are those of `schema`.
pub(super) fn asked(tool: &str, schema: &JsonObject, call: &Call) -> AskedCall {
    let process = std::process::id();
    let mut arguments = Map::new();

    for (given_name, value) in call.arguments.iter().flatten() {
        let name = params::canonical_name(tool, given_name, schema);
        arguments.extend(recorded(&name, value));
    }

    AskedCall {
        client: call
            .client
            .clone()
            .map(|client| client.cut(MAX_CLIENT).raw().to_owned()),
        conversation: format!("{process}-{}", call.caller.reader),
        tool: tool.to_owned(),
        arguments,
    }
}

/// Returns what is recorded of an argument. A parameter that is listed nowhere is not recorded.
fn recorded(name: &str, value: &Value) -> Vec<(String, Value)> {
    let size = || {
        let bytes = value
            .as_str()
            .map_or_else(|| value.to_string().len(), str::len);
        (format!("{name}Bytes"), json!(bytes))
    };

    let as_it_is = || vec![(name.to_owned(), value.clone())];

    match value {
        Value::Null => Vec::new(),
        Value::String(text) if DESTINATIONS.contains(&name) => {
            vec![(name.to_owned(), without_password(text).into())]
        }
        Value::String(_) if AS_THEY_ARE.contains(&name) => as_it_is(),
        Value::Array(list) if AS_THEY_ARE.contains(&name) && list.iter().all(Value::is_string) => {
            as_it_is()
        }
        Value::Number(_) | Value::Bool(_) if NUMBERS.contains(&name) => as_it_is(),
        Value::String(text) if NUMBERS.contains(&name) && is_number(text) => as_it_is(),
        // Names only: values are often secrets.
        Value::Object(variables) if name == "env" => {
            let names: Vec<&String> = variables.keys().collect();
            vec![("env".to_owned(), json!(names))]
        }
        Value::String(patch) if name == "patch" => {
            vec![size(), ("paths".to_owned(), json!(patched(patch)))]
        }
        _ if !is_listed(name) => Vec::new(),
        // Contents, and values of a wrong type.
        _ => vec![size()],
    }
}

/// Returns true if the text is a number, or says true or false.
fn is_number(text: &str) -> bool {
    matches!(text, "true" | "false") || text.parse::<f64>().is_ok()
}

/// Returns true if it is known what the parameter holds.
fn is_listed(name: &str) -> bool {
    let lists = [&AS_THEY_ARE[..], &DESTINATIONS, &NUMBERS, &SIZE_ONLY];
    lists.iter().any(|list| list.contains(&name))
}

/// Returns the paths that a patch names.
fn patched(patch: &str) -> Vec<&str> {
    let lines = patch.lines();
    lines
        .filter_map(|line| PATCHED.iter().find_map(|begin| line.strip_prefix(begin)))
        .map(str::trim)
        .collect()
}

/// Returns what came of a call of `tool`.
pub(super) fn ended(
    tool: &str,
    answer: &Result<CallToolResult, ToolError>,
    cancelled: &CancellationToken,
) -> EndedCall {
    let facts = |key| {
        let meta = answer.as_ref().ok()?.meta.as_ref()?;
        meta.0.get(key)
    };

    let outcomes = facts(OUTCOMES_KEY).and_then(Value::as_array);
    let outcomes = outcomes.into_iter().flatten().chain(facts(OUTCOME_KEY));
    let result = facts(RESULT_KEY);
    let number = |key: &str| result?.get(key)?.as_u64();

    let (outcome, error) = match answer {
        Ok(result) if result.is_error == Some(true) => (Outcome::Error, Some("not run")),
        Ok(_) => (Outcome::Ok, None),
        Err(error) => (Outcome::Error, Some(error.kind)),
    };

    EndedCall {
        outcome,
        error,
        cancelled: cancelled.is_cancelled(),
        commands: outcomes.filter_map(command).collect(),
        files: edited(result),
        // Other tools count files that they have only looked at.
        moved: number("files").filter(|_| matches!(tool, upload::NAME | download::NAME)),
        bytes: number("bytes"),
    }
}

/// Returns the error of a call that was not carried out because it could not be recorded.
pub(super) fn unrecorded(error: &AuditError) -> ToolError {
    ToolError::new(
        format!("{error}, and without its record no call goes on"),
        "ask the person to fix that, such as by making room on the disk; `required` in the section [audit] of the \
         settings says so",
    )
}

/// Adds to an answer that the end of the call could not be recorded, which the settings require.
pub(super) fn with_end(
    mut answer: Result<CallToolResult, ToolError>,
    ended: Result<(), AuditError>,
) -> Result<CallToolResult, ToolError> {
    if let (Ok(result), Err(error)) = (&mut answer, ended) {
        let notice = escape_line(format!("[the end of this call is not recorded: {error}]"));
        result.content.push(ContentBlock::text(notice));
    }

    answer
}

/// Returns the session of a typed outcome, and its command; `None` for one that was not run.
fn command(outcome: &Value) -> Option<(String, Option<CommandRecord>)> {
    let text = |key: &str| Some(outcome.get(key)?.as_str()?.to_owned());
    let number = |key: &str| outcome.get(key)?.as_u64();
    let session = text("session")?;

    let Some(status) = text("status") else {
        return Some((session, None));
    };

    let exit = number("exitCode").and_then(|exit| u32::try_from(exit).ok());
    let output = number("stdoutBytes").unwrap_or_default();

    let command = CommandRecord {
        status,
        exit,
        signal: text("signal"),
        output: output + number("stderrBytes").unwrap_or_default(),
        job: text("job"),
    };

    Some((session, Some(command)))
}

/// Returns the paths of the files that an edit changed.
fn edited(result: Option<&Value>) -> Vec<String> {
    let result = result.filter(|result| result.get("dryRun") != Some(&Value::Bool(true)));
    let files = result.and_then(|result| result.get("files")?.as_array());

    files
        .into_iter()
        .flatten()
        .filter_map(|file| Some(file.get("path")?.as_str()?.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parameters of which nothing is recorded.
    const NOTHING: [&str; 2] = ["password", "passphrase"];

    #[test]
    fn it_is_decided_for_every_parameter_what_is_recorded() {
        for tool in super::super::CATALOGUE.iter() {
            let properties = tool.input_schema["properties"].as_object().unwrap();

            for name in properties.keys().map(String::as_str) {
                let lists = [
                    &AS_THEY_ARE[..],
                    &DESTINATIONS,
                    &NUMBERS,
                    &SIZE_ONLY,
                    &NOTHING,
                ];
                let holds = lists.iter().filter(|list| list.contains(&name)).count();
                assert_eq!(holds, 1, "{} {name}", tool.name);
            }
        }
    }

    #[test]
    fn secrets_and_contents_are_not_recorded() {
        for (name, value, expected) in [
            ("password", json!("s3cret"), json!({})),
            ("passphrase", json!("s3cret"), json!({})),
            ("unheard", json!("s3cret"), json!({})),
            ("stdin", json!("s3cret"), json!({"stdinBytes": 6})),
            ("content", json!("s3cret"), json!({"contentBytes": 6})),
            (
                "command",
                json!({"s3cret": "s3cret"}),
                json!({"commandBytes": 19}),
            ),
            ("env", json!({"TOKEN": "s3cret"}), json!({"env": ["TOKEN"]})),
            (
                "env",
                json!("{\"TOKEN\": \"s3cret\"}"),
                json!({"envBytes": 19}),
            ),
            (
                "patch",
                json!("*** Begin Patch\n*** Update File: /etc/a\n-s3cret\n+x\n*** End Patch"),
                json!({"patchBytes": 64, "paths": ["/etc/a"]}),
            ),
            (
                "host",
                json!("deploy:s3cret@web"),
                json!({"host": "deploy:…@web"}),
            ),
            (
                "host",
                json!("ssh://deploy:s3cr@et@web:22"),
                json!({"host": "ssh://deploy:…@web:22"}),
            ),
            (
                "host",
                json!("deploy@[::1]:22"),
                json!({"host": "deploy@[::1]:22"}),
            ),
            ("host", json!("web"), json!({"host": "web"})),
            (
                "command",
                json!("mysql -ps3cret"),
                json!({"command": "mysql -ps3cret"}),
            ),
            (
                "sessions",
                json!(["a", "b*"]),
                json!({"sessions": ["a", "b*"]}),
            ),
            ("sudo", json!(true), json!({"sudo": true})),
            (
                "session",
                json!("deploy:s3cret@web"),
                json!({"session": "deploy:…@web"}),
            ),
            ("timeoutMs", json!("s3cret"), json!({"timeoutMsBytes": 6})),
            ("timeoutMs", json!("500"), json!({"timeoutMs": "500"})),
            ("offset", json!(-5), json!({"offset": -5})),
            (
                "sessions",
                json!(["a", {"b": "s3cret"}]),
                json!({"sessionsBytes": 20}),
            ),
            ("path", Value::Null, json!({})),
        ] {
            let recorded: Map<String, Value> = recorded(name, &value).into_iter().collect();
            assert_eq!(Value::Object(recorded), expected, "{name} {value}");
        }
    }
}
