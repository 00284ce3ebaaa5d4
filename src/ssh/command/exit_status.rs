//! How a remote process ended (RFC 4254 section 6.10).

use russh::Sig;

/// The end of a remote process, as its server reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this status.
    Code(u32),
    /// It was killed by this signal: its name without `SIG`, such as `TERM`.
    Signal(String),
    /// The server closed the channel and reported neither.
    Unreported,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// By itself.
    Exited(ExitStatus),
    /// It ran past its limit and was stopped.
    TimedOut,
    /// The caller gave up and it was stopped.
    Cancelled,
    /// The connection was lost; what became of the command is not known.
    ConnectionLost(Option<String>),
}

impl ExitStatus {
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
