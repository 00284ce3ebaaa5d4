//! The script around a command on a channel of its own. It prints the process id first, then sets
//! directory and environment, then runs the command as it is. All is written in the language of the
//! user's login shell, which runs it (RFC 4254 section 6.5).
//!
//! The command line is an argument of a process, which every user of the remote host can see. So
//! the environment's values come through stdin, as lines that the script reads before the command
//! begins. They are sent only when the process id has come: before that, startup files or another
//! program in place of this shell would read them.

mod facts;
mod loader;
mod probe;
pub mod windows;

pub use self::{
    facts::HostFacts,
    probe::{OTHER_PROBE, POSIX_PROBE, ShellProbe},
};
use serde::{Deserialize, Serialize};

use self::windows::WindowsShell;
use super::{quoting::quote, sentinel::Sentinel};

/// Family of the user's login shell, as far as needed for a few lines of script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoginShell {
    /// sh, bash, dash, ash, ksh, mksh, posh, yash or zsh.
    Posix,
    /// fish.
    Fish,
    /// csh or tcsh.
    Csh,
    /// cmd.exe or PowerShell on Windows.
    Windows(WindowsShell),
    /// Any other shell, such as elvish or a device's command line. Such a shell gets the command
    /// and nothing more.
    Other,
}

/// Longest script sent as the command line, in bytes. OpenSSH's server ends the connection at a
/// packet of 256 KiB, Linux takes no argument of 128 KiB, and Dropbear no command of 9000 bytes.
pub(super) const MAX_LINE_BYTES: usize = 8 * 1024;
/// Longest command line of any kind, in bytes: as much as Linux takes as a single argument. It is
/// the limit for shells that cannot be made to read a script from stdin.
pub(super) const MAX_ARGUMENT: usize = 128 * 1024 - 1;

/// Source of the stdin of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// No input: stdin ends at once.
    Empty,
    /// Some input, now or later.
    Follows,
    /// A terminal, which echoes what is typed.
    Terminal,
}

/// Script of a command, in the parts to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecScript {
    /// Command line of the exec request.
    pub line: Vec<u8>,
    /// Lines for the script to read from stdin before the command begins: the environment, and a
    /// script too long for the line. They must be sent after the process id has come and before the
    /// command's own stdin. Without them the command does not begin.
    pub settings: Vec<u8>,
    /// True if a second mark, holding [`READY`], reports the end of the settings, with the terminal
    /// as before.
    pub says_ready: bool,
    /// Part of the first line before the command. The command begins in the first line so that its
    /// line numbers are right. A shell that cannot read the line may quote all of it.
    pub preamble: Vec<u8>,
}

/// Beginning of the announcement of a process that should have a terminal and has none.
pub const NO_TERMINAL: &str = "no terminal ";

/// Content of the mark after the settings have been read.
pub const READY: &str = "ready";

/// Reason why a command cannot be written for a login shell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecScriptError {
    /// A text holds a NUL byte, which ends a string on the other side.
    #[error("{0} contains a NUL byte, which no shell accepts")]
    Nul(&'static str),
    /// The name of an environment variable is not `[A-Za-z_][A-Za-z0-9_]*`.
    #[error(
        "{0:?} is not a name for an environment variable (letters, digits and _, not beginning with a digit)"
    )]
    VariableName(String),
    /// The family of the login shell is not known.
    #[error(
        "the login shell is of an unknown kind, for which no directory or environment can be set"
    )]
    UnknownShell,
    /// The command is longer than the remote host takes as a single argument.
    #[error("the command has {0} bytes; this login shell takes at most {MAX_ARGUMENT}")]
    TooLong(usize),
    /// The command is longer than Windows takes as a command line.
    #[error(
        "with directory and environment the command has {units} characters; this login shell of Windows takes at most {most}"
    )]
    TooLongForWindows {
        /// Length, in UTF-16 units.
        units: usize,
        /// Longest command, in UTF-16 units.
        most: usize,
    },
    /// A text has several lines, and the login shell is cmd.exe.
    #[error("{0} has several lines, and cmd.exe runs only the first")]
    SeveralLines(&'static str),
    /// The host runs Windows, and the caller wants something that only a Unix host has.
    #[error("the host runs Windows, where {}", .0.words())]
    NotOnWindows(UnixOnly),
}

/// What only a Unix host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnixOnly {
    /// Commands as root.
    Sudo,
    /// Jobs that outlive the connection.
    Detach,
    /// Persistent shells.
    Shell,
}

impl UnixOnly {
    /// Returns the end of a sentence about Windows.
    fn words(self) -> &'static str {
        match self {
            Self::Sudo => "there is no sudo",
            Self::Detach => "nothing can look after a detached job",
            Self::Shell => "ssh_shell finds no bash",
        }
    }
}

impl LoginShell {
    /// Returns the family of the shell at this path, by the name.
    #[must_use]
    pub fn by_name(path: &str) -> Self {
        match path.rsplit('/').next().unwrap_or("") {
            "sh" | "bash" | "dash" | "ash" | "ksh" | "ksh93" | "mksh" | "lksh" | "posh"
            | "yash" | "zsh" | "busybox" => Self::Posix,
            "fish" => Self::Fish,
            "csh" | "tcsh" => Self::Csh,
            _ => Self::Other,
        }
    }

    /// Returns true if a script announces the process id before the command begins.
    #[must_use]
    pub fn announces_process(self) -> bool {
        matches!(self, Self::Posix | Self::Fish | Self::Csh)
    }

    /// Returns true if no other shell than one of `actual`'s family can have run a command of one line
    /// that was written for this family and has not announced itself: the actual shell ends at
    /// what comes before the command.
    ///
    /// csh goes on with the next line after an error, so there must be a single line, and the script
    /// for fish has several.
    #[must_use]
    pub fn ends_before_command(self, actual: Self) -> bool {
        matches!(
            (self, actual),
            (Self::Posix, Self::Fish | Self::Csh) | (Self::Fish, Self::Posix)
        )
    }

    /// Returns the shell of Windows; `None` for any other.
    #[must_use]
    pub fn windows(self) -> Option<WindowsShell> {
        if let Self::Windows(shell) = self {
            Some(shell)
        } else {
            None
        }
    }

    /// Writes the script for `command`, run in `directory` (`~` is the home directory) with
    /// `environment` added.
    ///
    /// The script first prints the shell's process id and start time on stderr, between the marks
    /// of `announce`. [`Process::parse`](super::stop::Process::parse) reads both.
    ///
    /// # Errors
    /// Fails for a NUL byte, for a bad variable name, for a directory or environment in an unknown
    /// shell, or for a command that is too long.
    pub fn script(
        self,
        command: &str,
        directory: Option<&str>,
        environment: &[(&str, &str)],
        announce: &Sentinel,
        input: Input,
    ) -> Result<ExecScript, ExecScriptError> {
        self.script_within(
            MAX_LINE_BYTES,
            command,
            directory,
            environment,
            announce,
            input,
        )
    }

    /// Writes the script with a limit of `longest` bytes for the command line. A longer script goes
    /// to stdin, where the shell can read it there.
    pub(super) fn script_within(
        self,
        longest: usize,
        command: &str,
        directory: Option<&str>,
        environment: &[(&str, &str)],
        announce: &Sentinel,
        input: Input,
    ) -> Result<ExecScript, ExecScriptError> {
        check(environment)?;
        if let Self::Windows(shell) = self {
            refuse_nul("the command", command)?;
            refuse_nul("the directory", directory.unwrap_or_default())?;
            return shell.script(command, directory, environment, announce);
        }

        let mut script = self.body(command, directory, &[])?;

        // An unknown shell may take a variable assignment for anything, so it gets the bare
        // command.
        if self == Self::Other {
            if !environment.is_empty() {
                return Err(ExecScriptError::UnknownShell);
            }
            return within_an_argument(ExecScript {
                line: script,
                ..ExecScript::default()
            });
        }

        // On a terminal, which would echo it, no script goes to stdin.
        let is_long = self == Self::Posix && input != Input::Terminal && script.len() > longest;
        // Input that follows needs settings too, even if they are only the end mark: stdin is held
        // back until the script has announced itself.
        let reads = is_long || !environment.is_empty() || input == Input::Follows;
        let says_ready = reads && input == Input::Terminal;

        let (mut line, mut settings) = (Vec::new(), Vec::new());

        // Some servers grant a terminal and give none.
        if self == Self::Posix && input == Input::Terminal {
            line = format!("[ -t 0 ] || __mcp_n='{NO_TERMINAL}'; ").into_bytes();
        }

        if reads {
            let loaded = self.load(environment, announce, says_ready)?;
            line.extend_from_slice(loaded.before.as_bytes());
            line.append(&mut self.announcement(announce));
            line.extend_from_slice(loaded.after.as_bytes());
            settings = loaded.settings;
        } else {
            line.append(&mut self.announcement(announce));
        }

        // The mark ends the script on stdin. The command's own input follows after it.
        if is_long {
            line.extend_from_slice(loader::script(announce).as_bytes());
            settings.append(&mut script);
            settings.extend_from_slice(format!("\n{}\n", announce.as_str()).as_bytes());
        }

        // The command stays the last part of the first line, so that the shell reports errors with
        // the command's own line numbers.
        line.append(&mut script);

        let before = line
            .strip_suffix(command.as_bytes())
            .filter(|_| self == Self::Posix);
        let preamble = before.unwrap_or_default().to_vec();

        within_an_argument(ExecScript {
            line,
            settings,
            says_ready,
            preamble,
        })
    }

    /// Writes only the script, without the announcement of the process id.
    ///
    /// # Errors
    /// Fails as [`script`](Self::script) does, but not for the length.
    pub fn body(
        self,
        command: &str,
        directory: Option<&str>,
        environment: &[(&str, &str)],
    ) -> Result<Vec<u8>, ExecScriptError> {
        refuse_nul("the command", command)?;
        let mut script = Vec::new();
        if let Some(directory) = directory {
            refuse_nul("the directory", directory)?;
            self.change_directory(&mut script, directory)?;
        }

        check(environment)?;
        for (name, value) in environment {
            self.set_variable(&mut script, name, value)?;
        }

        script.extend_from_slice(command.as_bytes());

        Ok(script)
    }

    /// Writes the commands for printing the process id and start time. They start another process
    /// only where there is no `/proc`.
    pub(super) fn announcement(self, announce: &Sentinel) -> Vec<u8> {
        let mark = announce.as_str();

        match self {
            // A restricted shell opens no file for writing, not even /dev/null.
            Self::Posix => format!(
                "if [ -r /proc/$$/stat ]; then read -r __mcp </proc/$$/stat; read -r __mcp_u </proc/uptime; \
                 __mcp=\"$__mcp $__mcp_u\"; else __mcp=$(set -- $({LSTART} $$ 2>&1); \
                 IFS=_; echo \"began_$*\"); fi; printf '\\036%s:%s %s\\036%s;' {mark} \"${{__mcp_n-}}$$\" \"$__mcp\" {mark} >&2; \
                 unset __mcp __mcp_u __mcp_n; "
            ),
            Self::Fish => format!(
                "if test -r /proc/$fish_pid/stat; read __mcp </proc/$fish_pid/stat; read __mcp_u </proc/uptime; \
                 set __mcp \"$__mcp $__mcp_u\"; else; set __mcp began_(string join _ \
                 (string split -n ' ' (env {LSTART} $fish_pid))); end; \
                 printf '\\036%s:%s %s\\036%s;' {mark} $fish_pid \"$__mcp\" {mark} >&2; set -e __mcp __mcp_u\n"
            ),
            // csh cannot redirect stderr alone; a child that names its parent can.
            Self::Csh => format!(
                "sh -c 'if [ -r /proc/$PPID/stat ]; then read -r line </proc/$PPID/stat; \
                 read -r up </proc/uptime; line=\"$line $up\"; else set -- `{LSTART} $PPID \
                 2>&1`; line=`IFS=_; echo \"began_$*\"`; fi; \
                 printf \"\\036%s:%s %s\\036%s;\" {mark} $PPID \"$line\" {mark} >&2'\n"
            ),
            Self::Windows(_) | Self::Other => String::new(),
        }
        .into_bytes()
    }

    /// Appends a change of the directory, which ends the script on failure.
    pub(super) fn change_directory(
        self,
        script: &mut Vec<u8>,
        directory: &str,
    ) -> Result<(), ExecScriptError> {
        let (home, rest) = match directory.strip_prefix('~') {
            Some("") => (true, ""),
            Some(rest) if rest.starts_with('/') => (true, rest),
            _ => (false, directory),
        };

        // A name that begins with `-` would be read as an option.
        let mut target = Vec::new();
        if home {
            target.extend_from_slice(b"\"$HOME\"");
        } else if rest.starts_with('-') {
            target.extend_from_slice(b"./");
        }

        self.quote(&mut target, rest)?;

        let (before, after) = match self {
            Self::Fish => ("cd ", "; or exit 1\n"),
            // csh goes on with the next line after its own cd has failed, and even after exit; not
            // after exec.
            Self::Csh => ("sh -c 'cd \"$0\"' ", " || exec sh -c 'exit 1'\ncd "),
            Self::Posix | Self::Windows(_) | Self::Other => ("cd ", " || exit 1; "),
        };

        script.extend_from_slice(&[before.as_bytes(), &target, after.as_bytes()].concat());

        if self == Self::Csh {
            script.extend_from_slice(&target);
            script.push(b'\n');
        }

        Ok(())
    }

    /// Appends the assignment of an environment variable.
    fn set_variable(
        self,
        script: &mut Vec<u8>,
        name: &str,
        value: &str,
    ) -> Result<(), ExecScriptError> {
        let before = match self {
            Self::Posix => format!("export {name}="),
            Self::Fish => format!("set -gx {name} "),
            Self::Csh => format!("setenv {name} "),
            Self::Windows(_) | Self::Other => return Err(ExecScriptError::UnknownShell),
        };

        script.extend_from_slice(before.as_bytes());
        self.quote(script, value)?;
        script.extend_from_slice(if self == Self::Posix { b"; " } else { b"\n" });

        Ok(())
    }

    /// Appends the text as a quoted word.
    pub(super) fn quote(self, script: &mut Vec<u8>, text: &str) -> Result<(), ExecScriptError> {
        match self {
            Self::Posix => quote(script, text.as_bytes()),
            // fish knows both escapes inside single quotes; csh expands `!` and ends at a newline
            // even there.
            Self::Fish => {
                let escaped = text.replace('\\', "\\\\").replace('\'', "\\'");
                script.extend_from_slice(format!("'{escaped}'").as_bytes());
            }
            Self::Csh => {
                let escaped = text
                    .replace('\'', "'\\''")
                    .replace('!', "\\!")
                    .replace('\n', "\\\n");
                script.extend_from_slice(format!("'{escaped}'").as_bytes());
            }
            Self::Windows(_) | Self::Other => return Err(ExecScriptError::UnknownShell),
        }

        Ok(())
    }
}

/// Command for printing the start time of a process, whose id follows.
pub(super) const LSTART: &str = "LC_ALL=C TZ=UTC ps -o lstart= -p";

/// Refuses a command line longer than the remote host takes.
fn within_an_argument(script: ExecScript) -> Result<ExecScript, ExecScriptError> {
    if script.line.len() > MAX_ARGUMENT {
        return Err(ExecScriptError::TooLong(script.line.len()));
    }
    Ok(script)
}

/// Refuses values with a NUL byte and bad variable names.
fn check(environment: &[(&str, &str)]) -> Result<(), ExecScriptError> {
    for (name, value) in environment {
        refuse_nul("the environment", value)?;
        if !is_variable_name(name) {
            return Err(ExecScriptError::VariableName((*name).to_owned()));
        }
    }
    Ok(())
}

/// Refuses a text with a NUL byte. `what` names the text in the error.
fn refuse_nul(what: &'static str, text: &str) -> Result<(), ExecScriptError> {
    if text.contains('\0') {
        Err(ExecScriptError::Nul(what))
    } else {
        Ok(())
    }
}

/// Returns true for a name accepted by every shell.
fn is_variable_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|later| later.is_ascii_alphanumeric() || later == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(shell: LoginShell, directory: Option<&str>) -> Result<String, ExecScriptError> {
        let mark = Sentinel::from_random([0; 16]);
        let script = shell.script("echo hi", directory, &[], &mark, Input::Empty)?;
        assert_eq!(
            (script.settings.as_slice(), script.says_ready),
            (&b""[..], false)
        );

        let announced = String::from_utf8(shell.announcement(&mark)).unwrap();

        Ok(String::from_utf8(script.line)
            .unwrap()
            .strip_prefix(&announced)
            .unwrap()
            .to_owned())
    }

    #[test]
    fn each_family_gets_directory_and_environment_in_its_own_words() {
        for (shell, in_line, body) in [
            (
                LoginShell::Posix,
                "cd '/a b' || exit 1; ",
                "cd '/a b' || exit 1; export V='it'\\''s'; ",
            ),
            (
                LoginShell::Fish,
                "cd '/a b'; or exit 1\n",
                "cd '/a b'; or exit 1\nset -gx V 'it\\'s'\n",
            ),
            (
                LoginShell::Csh,
                "sh -c 'cd \"$0\"' '/a b' || exec sh -c 'exit 1'\ncd '/a b'\n",
                "sh -c 'cd \"$0\"' '/a b' || exec sh -c 'exit 1'\ncd '/a b'\nsetenv V 'it'\\''s'\n",
            ),
        ] {
            assert_eq!(
                script(shell, Some("/a b")).unwrap(),
                format!("{in_line}echo hi")
            );

            let file = shell
                .body("echo hi", Some("/a b"), &[("V", "it's")])
                .unwrap();
            assert_eq!(String::from_utf8(file).unwrap(), format!("{body}echo hi"));
        }
    }

    #[test]
    fn no_value_of_a_variable_is_in_a_line() {
        let mark = Sentinel::from_random([7; 16]);
        for shell in [LoginShell::Posix, LoginShell::Fish, LoginShell::Csh] {
            for input in [Input::Empty, Input::Follows, Input::Terminal] {
                let environment = [("A", "secret"), ("B", "first\nsecret")];
                for script in [
                    shell
                        .script("true", Some("/"), &environment, &mark, input)
                        .unwrap(),
                    shell
                        .sudo_script(None, "true", Some("~"), &environment, &mark, input)
                        .unwrap(),
                ] {
                    let (line, settings) = (
                        String::from_utf8(script.line),
                        String::from_utf8(script.settings),
                    );

                    assert!(!line.unwrap().contains("secret"), "{shell:?} {input:?}");
                    assert_eq!(
                        settings.unwrap().matches("secret").count(),
                        2,
                        "{shell:?} {input:?}"
                    );

                    assert_eq!(script.says_ready, input == Input::Terminal);
                }
            }
        }
    }

    #[test]
    fn a_tilde_is_home_and_a_dash_is_no_option() {
        for (directory, line) in [
            ("~", "cd \"$HOME\"'' || exit 1"),
            ("~/x y", "cd \"$HOME\"'/x y' || exit 1"),
            ("~other", "cd '~other' || exit 1"),
            ("-x", "cd ./'-x' || exit 1"),
        ] {
            assert!(
                script(LoginShell::Posix, Some(directory))
                    .unwrap()
                    .contains(line),
                "{directory}"
            );
        }
    }

    #[test]
    fn an_unknown_shell_gets_the_bare_command_or_a_refusal() {
        assert_eq!(script(LoginShell::Other, None).unwrap(), "echo hi");
        assert_eq!(
            script(LoginShell::Other, Some("/")),
            Err(ExecScriptError::UnknownShell)
        );

        let mark = Sentinel::from_random([7; 16]);
        let refused = LoginShell::Other.script("echo hi", None, &[("A", "b")], &mark, Input::Empty);
        assert_eq!(refused, Err(ExecScriptError::UnknownShell));
    }

    #[test]
    fn names_and_bytes_that_would_change_the_script_are_refused() {
        let mark = Sentinel::from_random([7; 16]);
        let with = |name, value| {
            LoginShell::Posix.script("true", None, &[(name, value)], &mark, Input::Empty)
        };

        for name in ["", "1A", "A=B", "A B", "A;rm", "É"] {
            assert!(
                matches!(with(name, "v"), Err(ExecScriptError::VariableName(_))),
                "{name}"
            );
        }

        assert_eq!(
            with("A", "\0"),
            Err(ExecScriptError::Nul("the environment"))
        );
    }

    #[test]
    fn a_long_script_goes_to_stdin_where_the_shell_can_read_it() {
        let mark = Sentinel::from_random([7; 16]);
        let long = "x".repeat(MAX_LINE_BYTES);
        let script = LoginShell::Posix
            .script(&long, Some("/"), &[], &mark, Input::Empty)
            .unwrap();
        assert!(script.line.len() < 1024);
        let mark_line = mark.as_str();
        assert_eq!(
            script.settings,
            format!("{mark_line}\ncd '/' || exit 1; {long}\n{mark_line}\n").into_bytes()
        );

        let longer = "x".repeat(MAX_ARGUMENT + 1);

        for shell in [LoginShell::Fish, LoginShell::Csh, LoginShell::Other] {
            let script = shell.script(&long, None, &[], &mark, Input::Empty);
            assert!(matches!(script, Ok(script) if script.settings.is_empty()));
            let refused = shell.script(&longer, None, &[], &mark, Input::Empty);
            assert!(matches!(refused, Err(ExecScriptError::TooLong(_))));
        }
    }
}
