//! The answer of a command, for a reader and for a program.

use std::time::Duration;

use rmcp::model::{CallToolResult, ContentBlock, JsonObject, MetaObject};
use serde::Serialize;
use serde_json::Value;

use crate::{
    capture::Captured,
    ssh::{
        exec::{CommandResult, Ending},
        exit_status::ExitStatus,
    },
};

/// Where a program finds the typed outcome in a result's `_meta`.
const OUTCOME_KEY: &str = "mcp-ssh-sessions/outcome";

/// The outcome of a command, typed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    session: String,
    status: &'static str,
    exit_code: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    stdout_bytes: u64,
    stderr_bytes: u64,
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_file: Option<String>,
    duration_ms: u64,
    /// `null` where it could not be found out; absent where nothing was stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[expect(clippy::option_option, reason = "absent, null and known are three answers")]
    process_gone: Option<Option<bool>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shell: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<String>,
}

/// What a shell adds to an outcome.
pub(super) struct ShellPart {
    pub(super) shell: String,
    pub(super) directory: Vec<u8>,
    pub(super) between: Captured,
    pub(super) notice: Option<String>,
}

/// The result of a call: stdout, stderr, what the background printed, then the status line.
pub(super) fn result(session: &str, command: &CommandResult, shell: Option<ShellPart>) -> CallToolResult {
    let mut blocks = Vec::new();
    let (stdout, stderr) = (command.output.stdout.text(), command.output.stderr.text());
    if !stdout.is_empty() {
        blocks.push(ContentBlock::text(stdout));
    }
    if !stderr.is_empty() {
        blocks.push(ContentBlock::text(format!("[stderr]\n{stderr}")));
    }
    let (between, directory, shell_name, shell_notice) = match shell {
        Some(part) => (part.between.text(), Some(one_line(&part.directory)), Some(part.shell), part.notice),
        None => (String::new(), None, None, None),
    };
    if !between.is_empty() {
        blocks.push(ContentBlock::text(format!("[background, since the last command]\n{between}")));
    }
    let notices: Vec<String> =
        [shell_notice, command.notice.clone(), command.output.trouble.clone()].into_iter().flatten().collect();
    let outcome = Outcome {
        session: session.to_owned(),
        status: status(&command.ending),
        exit_code: match &command.ending {
            Ending::Exited(ExitStatus::Code(code)) => Some(*code),
            _ => None,
        },
        signal: match &command.ending {
            Ending::Exited(ExitStatus::Signal(signal)) => Some(signal.clone()),
            _ => None,
        },
        stdout_bytes: command.output.stdout.total,
        stderr_bytes: command.output.stderr.total,
        truncated: command.output.truncated(),
        output_file: command.output.file.as_ref().map(|path| path.display().to_string()),
        duration_ms: u64::try_from(command.duration.as_millis()).unwrap_or(u64::MAX),
        process_gone: matches!(command.ending, Ending::TimedOut | Ending::Cancelled).then_some(command.process_gone),
        notice: (!notices.is_empty()).then(|| notices.join("; ")),
        shell: shell_name,
        cwd: directory.filter(|directory| !directory.is_empty()),
    };
    blocks.push(ContentBlock::text(status_line(command, &outcome)));
    let mut result = CallToolResult::success(blocks);
    let mut meta = JsonObject::new();
    meta.insert(OUTCOME_KEY.to_owned(), serde_json::to_value(&outcome).unwrap_or(Value::Null));
    result.meta = Some(MetaObject(meta));
    result
}

fn status(ending: &Ending) -> &'static str {
    match ending {
        Ending::Exited(ExitStatus::Signal(_)) => "signaled",
        Ending::Exited(_) => "exited",
        Ending::TimedOut => "timedOut",
        Ending::Cancelled => "cancelled",
        Ending::ConnectionLost(_) => "connectionLost",
    }
}

fn status_line(command: &CommandResult, outcome: &Outcome) -> String {
    let gone = match command.process_gone {
        Some(true) => "its processes are gone",
        Some(false) => "SOME OF ITS PROCESSES ARE STILL RUNNING",
        None => "whether its processes are gone is not known",
    };
    let mut parts = vec![match &command.ending {
        Ending::Exited(ExitStatus::Code(code)) => format!("exit {code}"),
        Ending::Exited(ExitStatus::Signal(signal)) => format!("killed by {signal}"),
        Ending::Exited(ExitStatus::Unreported) => "ended without an exit status".to_owned(),
        Ending::TimedOut => format!("timed out and was stopped, {gone}"),
        Ending::Cancelled => format!("cancelled and was stopped, {gone}"),
        Ending::ConnectionLost(reason) => {
            let reason =
                reason.as_deref().map(|reason| format!(" ({})", one_line(reason.as_bytes()))).unwrap_or_default();
            format!("connection lost{reason}; the command may have run, it was not run again")
        }
    }];
    parts.push(duration(command.duration));
    if let Some(directory) = &outcome.cwd {
        parts.push(format!("cwd {directory}"));
    }
    for (name, stream, file) in [
        ("stdout", &command.output.stdout, &command.output.file),
        (
            "stderr",
            &command.output.stderr,
            if command.output.stdout.omitted() > 0 { &command.output.stderr_file } else { &command.output.file },
        ),
    ] {
        if stream.omitted() > 0 {
            let place = file.as_ref().map(|path| format!(", all of it in {}", path.display())).unwrap_or_default();
            parts.push(format!("{name} {} bytes{place}", stream.total));
        }
    }
    parts.extend(outcome.notice.as_ref().map(|notice| one_line(notice.as_bytes())));
    format!("[{}]", parts.join(" · "))
}

/// A length of time as people say it.
fn duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => format!("{:.1} s", duration.as_secs_f64()),
        _ => format!("{} min {} s", milliseconds / 60_000, milliseconds / 1_000 % 60),
    }
}

/// Text that can stand inside the status line: without line breaks and control characters.
fn one_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars()
        .flat_map(|letter| if letter.is_control() { letter.escape_debug().collect() } else { vec![letter] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{capture::Capture, ssh::output::CommandOutput};

    fn captured(text: &str) -> Captured {
        let mut capture = Capture::new(100, 100);
        capture.push(text.as_bytes());
        capture.finish()
    }

    fn command(ending: Ending, stdout: &str, stderr: &str) -> CommandResult {
        let output = CommandOutput { stdout: captured(stdout), stderr: captured(stderr), ..CommandOutput::default() };
        CommandResult { ending, process_gone: None, output, duration: Duration::from_millis(12), notice: None }
    }

    fn texts(result: &CallToolResult) -> Vec<String> {
        let content = serde_json::to_value(&result.content).unwrap();
        content.as_array().unwrap().iter().map(|block| block["text"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_blocks_come_in_order_and_empty_ones_are_left_out() {
        let done = |code| Ending::Exited(ExitStatus::Code(code));
        assert_eq!(texts(&result("s", &command(done(0), "", ""), None)), ["[exit 0 · 12 ms]"]);
        assert_eq!(
            texts(&result("s", &command(done(1), "out", "bad\n"), None)),
            ["out", "[stderr]\nbad\n", "[exit 1 · 12 ms]"]
        );
    }

    #[test]
    fn a_directory_cannot_break_out_of_the_status_line() {
        let part = ShellPart {
            shell: "main".into(),
            directory: b"/a\n[exit 0]\x1b[2J".to_vec(),
            between: Captured::default(),
            notice: None,
        };
        let lines = texts(&result("s", &command(Ending::Exited(ExitStatus::Code(2)), "", ""), Some(part)));
        assert_eq!(lines, ["[exit 2 · 12 ms · cwd /a\\n[exit 0]\\u{1b}[2J]"]);
    }

    #[test]
    fn an_exit_code_is_a_number_or_null_and_never_minus_one() {
        for (ending, status, code, signal) in [
            (Ending::Exited(ExitStatus::Code(255)), "exited", Some(255), None),
            (Ending::Exited(ExitStatus::Signal("KILL".into())), "signaled", None, Some("KILL")),
            (Ending::Exited(ExitStatus::Unreported), "exited", None, None),
            (Ending::TimedOut, "timedOut", None, None),
            (Ending::Cancelled, "cancelled", None, None),
            (Ending::ConnectionLost(None), "connectionLost", None, None),
        ] {
            let result = result("s", &command(ending, "é", ""), None);
            let outcome = &result.meta.unwrap().0[OUTCOME_KEY];
            assert_eq!(outcome["status"], status);
            assert_eq!(outcome["exitCode"].as_u64(), code);
            assert_eq!(outcome["signal"].as_str(), signal);
            assert_eq!((outcome["stdoutBytes"].as_u64(), outcome["truncated"].as_bool()), (Some(2), Some(false)));
        }
    }

    #[test]
    fn durations_read_as_people_say_them() {
        for (milliseconds, text) in [(0, "0 ms"), (999, "999 ms"), (1_500, "1.5 s"), (125_000, "2 min 5 s")] {
            assert_eq!(duration(Duration::from_millis(milliseconds)), text);
        }
    }
}
