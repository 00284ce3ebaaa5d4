//! How a remote process ended (RFC 4254 section 6.10).

use russh::Sig;

/// End of a remote process, as reported by the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitStatus {
    /// The process exited with this status.
    Code(u32),
    /// The process was killed by this signal, named without `SIG`, such as `TERM`.
    Signal(String),
    /// The server closed the channel and reported neither a status nor a signal.
    Unreported,
}

/// End of a command, from the caller's point of view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The command ended by itself.
    Exited(ExitStatus),
    /// The command ran past the time limit and was stopped.
    TimedOut,
    /// The command was stopped because the caller gave up.
    Cancelled,
    /// The connection was lost, for this reason if known. The command may have ended or may still
    /// run.
    ConnectionLost(Option<String>),
}

impl ExitStatus {
    /// Takes the signal of an `exit-signal` message.
    pub(in crate::ssh) fn from_signal(signal: &Sig) -> Self {
        let name = match signal {
            Sig::ABRT => "ABRT",
            Sig::ALRM => "ALRM",
            Sig::FPE => "FPE",
            Sig::HUP => "HUP",
            Sig::ILL => "ILL",
            Sig::INT => "INT",
            Sig::KILL => "KILL",
            Sig::PIPE => "PIPE",
            Sig::QUIT => "QUIT",
            Sig::SEGV => "SEGV",
            Sig::TERM => "TERM",
            Sig::USR1 => "USR1",
            // The name is the server's own text: only harmless characters are kept, and not many.
            Sig::Custom(name) => {
                return Self::Signal(
                    name.chars()
                        .filter(char::is_ascii_graphic)
                        .take(32)
                        .collect(),
                );
            }
        };

        Self::Signal(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_keeps_its_name_and_a_hostile_name_is_tamed() {
        assert_eq!(
            ExitStatus::from_signal(&Sig::TERM),
            ExitStatus::Signal("TERM".into())
        );

        let hostile = Sig::Custom("US\u{1b}[2JR2\n".repeat(99));
        let ExitStatus::Signal(name) = ExitStatus::from_signal(&hostile) else {
            panic!("not a signal")
        };

        assert!(
            name.len() <= 32 && !name.contains(['\u{1b}', '\n']),
            "{name:?}"
        );
    }
}
