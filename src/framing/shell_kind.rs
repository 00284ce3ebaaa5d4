//! The kind of shell that a frame is written for, and the descriptors where the shell keeps the
//! channel's streams.

/// Kind of a shell, as read from the first frame's trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShellKind {
    /// GNU bash.
    Bash,
    /// Any other POSIX shell. After an error it throws away input that it has already read. So the
    /// second line of a frame is sent only when the first has begun.
    Posix,
}

/// Descriptors where a shell keeps the channel's streams between two commands. A command is then
/// free to use the descriptors that people and programs use.
///
/// The descriptors named in the redirections of a command's `eval` are given back when it ends, so
/// a command cannot keep changes to them: these are 0, 1, 2 and the ones named here. The
/// descriptors that the shell sets aside meanwhile are in no command's way. dash and ksh name no
/// descriptor above 9, busybox moves it, and bash sets it aside above the descriptor that it
/// copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShellDescriptors {
    /// bash, with the leading digits of the numbers. With 0 appended it is `/dev/null`, with 1
    /// stdout, with 2 stderr, and with 3 a command's stdin while the command runs. All but the last
    /// are closed in every program that is run.
    Above(u32),
    /// Another shell which takes numbers of several digits. With 1 appended the number is stdout,
    /// with 2 stderr.
    High(u32),
    /// A shell which takes a single digit, such as dash or ksh. stdout is 1, and stderr is 7, the
    /// rarest number in scripts.
    Digit,
}

impl ShellDescriptors {
    /// Reads the number in the first trailer.
    #[must_use]
    pub fn from_number(kind: ShellKind, number: u32) -> Self {
        match (kind, number) {
            (ShellKind::Bash, prefix) => Self::Above(prefix),
            (ShellKind::Posix, 0) => Self::Digit,
            (ShellKind::Posix, prefix) => Self::High(prefix),
        }
    }

    /// Returns the redirection to the channel's stdout.
    pub(super) fn stdout(self) -> String {
        match self {
            Self::Above(prefix) | Self::High(prefix) => format!(">&{prefix}1"),
            Self::Digit => String::new(),
        }
    }

    /// Returns the redirection to the channel's stderr.
    pub(super) fn stderr(self) -> String {
        match self {
            Self::Above(prefix) | Self::High(prefix) => format!(">&{prefix}2"),
            Self::Digit => ">&7".to_owned(),
        }
    }

    /// Returns the redirections of a command without stdin, which the caller appends.
    pub(super) fn of_a_command(self) -> String {
        match self {
            // Copies, in this order, so that bash sets aside what was there above them.
            Self::Above(prefix) => format!(">&{prefix}1 2>&{prefix}2"),
            Self::High(prefix) => format!(">&{prefix}1 2>&{prefix}2 {prefix}1>&- {prefix}2>&-"),
            // By way of 0, so that the shell sets 1 aside, too.
            Self::Digit => "2>&7 7>&- <&1 >&0".to_owned(),
        }
    }
}
