//! Signals as people and programs name them.

use crate::{mcp::call::tool_error::ToolError, session::job::Signal};

/// Other names of signals. The numbers are those that POSIX fixes for kill(1); all others differ
/// between systems.
const OTHERS: [(&str, &[&str]); 8] = [
    ("INT", &["2", "CTRL-C", "^C", "C-C", "INTERRUPT", "\u{3}"]),
    ("QUIT", &["3", "CTRL-\\", "^\\", "C-\\", "\u{1c}"]),
    ("TSTP", &["CTRL-Z", "^Z", "C-Z", "\u{1a}"]),
    ("HUP", &["1"]),
    ("ABRT", &["6"]),
    ("KILL", &["9"]),
    ("ALRM", &["14"]),
    ("TERM", &["15", "TERMINATE"]),
];

/// Reads a signal by name, number or key, as in `TERM`, `SIGTERM`, `-TERM`, `15` or `Ctrl+C`.
///
/// # Errors
/// No signal of this name can be sent.
pub(super) fn read(text: &str) -> Result<Signal, ToolError> {
    // Agents spell the same key as `Ctrl+C`, `ctrl-c` or `CTRL_C`.
    let word = text
        .trim_matches(' ')
        .to_ascii_uppercase()
        .replace(['+', '_'], "-");

    // Agents also give the whole command line, as in `kill -9`.
    let word = word.strip_prefix("KILL -").unwrap_or(&word);
    let word = word.strip_prefix('-').unwrap_or(word);
    let other = OTHERS
        .iter()
        .find(|(_, others)| others.contains(&word))
        .map(|(name, _)| *name);

    // Ctrl-D looks like the key of a signal, but a terminal takes it as the end of input.
    Signal::parse(other.unwrap_or(word)).ok_or_else(|| {
        let hint = if matches!(word, "CTRL-D" | "^D" | "C-D" | "\u{4}") {
            "the end of input is not a signal: send the input \\u0004".to_owned()
        } else {
            format!("signals: {}", Signal::names())
        };
        ToolError::new(format!("ssh_job: {text:?} is not a signal"), hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::job::FirstSignal::{Int, Kill, Term};

    #[test]
    fn signals_are_understood_as_people_name_them() {
        use Signal::{Once, Stop};

        for (text, signal) in [
            ("INT", Stop(Int)),
            ("SIGINT", Stop(Int)),
            ("ctrl-c", Stop(Int)),
            ("Ctrl+C", Stop(Int)),
            ("^C", Stop(Int)),
            ("\u{3}", Stop(Int)),
            ("2", Stop(Int)),
            ("9", Stop(Kill)),
            ("-9", Stop(Kill)),
            ("kill -9", Stop(Kill)),
            ("-SIGKILL", Stop(Kill)),
            ("15", Stop(Term)),
            ("sigterm", Stop(Term)),
            ("1", Once("HUP")),
            ("ctrl-z", Once("TSTP")),
            ("ctrl-\\", Once("QUIT")),
            ("usr1", Once("USR1")),
        ] {
            assert_eq!(read(text), Ok(signal), "{text:?}");
        }

        for (text, part) in [
            ("BOOM", "signals: INT"),
            ("10", "signals: INT"),
            ("0", "signals"),
            ("ctrl-d", "u0004"),
        ] {
            assert!(read(text).unwrap_err().hint.contains(part), "{text}");
        }
    }
}
