//! Words for the end and the duration of a command.

use std::time::Duration;

use crate::{
    foreign_text::escape_line,
    ssh::command::{
        exec::CommandResult,
        exit_status::{Ending, ExitStatus},
    },
};

/// Returns the word for an ending in typed results.
pub(in crate::mcp) fn status(ending: &Ending) -> &'static str {
    match ending {
        Ending::Exited(ExitStatus::Signal(_)) => "signaled",
        Ending::Exited(_) => "exited",
        Ending::TimedOut => "timedOut",
        Ending::Cancelled => "cancelled",
        Ending::ConnectionLost(_) => "connectionLost",
    }
}

/// Describes the end of a command for a reader.
pub(in crate::mcp) fn how_it_ended(command: &CommandResult) -> String {
    // Processes that survive a stop may hold locks or ports, so the answer says so in capitals.
    let gone = match command.process_gone {
        Some(true) => "its processes are gone",
        Some(false) => "SOME OF ITS PROCESSES ARE STILL RUNNING",
        None => "whether its processes are gone is not known",
    };

    let ending = match &command.ending {
        Ending::Exited(ExitStatus::Code(code)) => format!("exit {code}"),
        Ending::Exited(ExitStatus::Signal(signal)) => format!("killed by {signal}"),
        Ending::Exited(ExitStatus::Unreported) => "ended without an exit status".to_owned(),
        Ending::TimedOut => return format!("timed out and was stopped, {gone}"),
        Ending::Cancelled => return format!("cancelled and was stopped, {gone}"),
        Ending::ConnectionLost(reason) => {
            let reason = reason
                .as_deref()
                .map(|reason| format!(" ({})", escape_line(reason.as_bytes())))
                .unwrap_or_default();
            return format!(
                "connection lost{reason}; the command may have run, it was not run again"
            );
        }
    };

    // A stopped command may still exit by itself, with a code of its own choice.
    if command.stopped {
        format!("{ending}, was stopped, {gone}")
    } else {
        ending
    }
}

/// Formats a duration for a human reader, as in `12 ms`, `1.5 s` or `2 min 5 s`.
pub(in crate::mcp) fn duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => format!("{:.1} s", duration.as_secs_f64()),
        _ => format!(
            "{} min {} s",
            milliseconds / 60_000,
            milliseconds / 1_000 % 60
        ),
    }
}

/// Formats a running time for a human reader, as in `45 s`.
pub(super) fn whole_seconds(running: Duration) -> String {
    match running.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        _ => duration(running),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        for (milliseconds, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_500, "1.5 s"),
            (125_000, "2 min 5 s"),
        ] {
            assert_eq!(duration(Duration::from_millis(milliseconds)), text);
        }
    }
}
