//! Which shell a frame is written for, and where that keeps the channel's streams.

/// What the shell turned out to be, from the first frame's trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShellKind {
    /// GNU bash.
    Bash,
    /// Any other POSIX shell. After an error it throws away input that it has already read, so a frame's second line is
    /// sent only when the first has begun.
    Posix,
}

/// Where a shell keeps the channel's streams between two commands, so that a command can use the descriptors that people
/// and programs use.
///
/// What the redirections of a command's `eval` name is given back when it ends, so none of it is the command's own to
/// keep: 0, 1 and 2, and what is named here. What the shell sets aside meanwhile is in no command's way: dash and ksh name
/// no descriptor above 9, busybox moves it, and bash sets it aside above the descriptor that it copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShellDescriptors {
    /// bash: this number with a 0 behind it is `/dev/null`, with a 1 stdout, with a 2 stderr, with a 3 a command's stdin
    /// while that runs. All but the last are closed in every program that is run.
    Above(u32),
    /// Another shell that takes numbers of several digits: this one with a 1 behind it is stdout, with a 2 stderr.
    High(u32),
    /// A shell that takes one digit, as dash and ksh: 1 is stdout, and 7, which is the rarest in scripts, stderr.
    Digit,
}

impl ShellDescriptors {
    /// What the number in the first trailer says.
    #[must_use]
    pub fn from_number(kind: ShellKind, number: u32) -> Self {
        match (kind, number) {
            (ShellKind::Bash, prefix) => Self::Above(prefix),
            (ShellKind::Posix, 0) => Self::Digit,
            (ShellKind::Posix, prefix) => Self::High(prefix),
        }
    }

    /// The redirection that leads to the channel's stdout.
    pub(super) fn stdout(self) -> String {
        match self {
            Self::Above(prefix) | Self::High(prefix) => format!(">&{prefix}1"),
            Self::Digit => String::new(),
        }
    }

    /// The same for stderr.
    pub(super) fn stderr(self) -> String {
        match self {
            Self::Above(prefix) | Self::High(prefix) => format!(">&{prefix}2"),
            Self::Digit => ">&7".to_owned(),
        }
    }

    /// The redirections of a command but for its stdin, which follows.
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
