//! What is written for a command on a channel of its own: its process id first, then directory and environment, then
//! the command as it is, all in the language of the user's login shell, which is what runs it (RFC 4254 section 6.5).

use super::{script::quote, sentinel::Sentinel};

/// The family of the user's login shell, as far as it matters for a few lines of script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginShell {
    /// sh, bash, dash, ash, ksh, zsh.
    Posix,
    /// fish.
    Fish,
    /// csh and tcsh.
    Csh,
    /// Anything else, such as a restricted shell, a device's command line or cmd.exe: gets the command and nothing more.
    Other,
}

/// The command that asks which shell it is: every Unix shell prints `mcp-ssh-sessions:/path/of/shell:`.
///
/// No colon may follow the variable: csh would read a modifier.
pub const PROBE: &str = "echo \"mcp-ssh-sessions:$SHELL;\"";

/// A longer script, in bytes, is not sent as the command line: OpenSSH's server ends the connection at a packet of 256
/// KiB, Linux takes no argument of 128 KiB, and Dropbear no command of 9000 bytes.
pub(super) const LONGEST_LINE: usize = 8 * 1024;
/// The same for a shell that we cannot make read the rest from stdin: what Linux takes as one argument.
pub(super) const LONGEST_ARGUMENT: usize = 128 * 1024 - 1;

/// What is sent for a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecScript {
    /// The command line of the exec request.
    pub line: Vec<u8>,
    /// What stdin begins with, before the command's own: a script that is too long for the line.
    pub stdin: Vec<u8>,
}

/// What cannot be written for a login shell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecScriptError {
    /// A NUL byte ends a string on the other side.
    #[error("{0} holds a NUL byte, which no shell can take")]
    Nul(&'static str),
    /// An environment variable's name is `[A-Za-z_][A-Za-z0-9_]*`.
    #[error("{0:?} is not a name for an environment variable (letters, digits and _, not beginning with a digit)")]
    VariableName(String),
    /// The login shell is of no family that we know.
    #[error("the login shell is not one in which a directory or environment could be set")]
    UnknownShell,
    /// More than the remote host takes as one argument.
    #[error("the command has {0} bytes; this login shell takes at most {LONGEST_ARGUMENT}")]
    TooLong(usize),
}

impl LoginShell {
    /// Reads the answer to [`PROBE`], which startup files may have surrounded with other output.
    #[must_use]
    pub fn from_probe(answer: &[u8]) -> Self {
        let answer = String::from_utf8_lossy(answer);
        let path = answer.split("mcp-ssh-sessions:").nth(1).and_then(|rest| rest.split(';').next()).unwrap_or("");
        match path.rsplit('/').next().unwrap_or("") {
            "sh" | "bash" | "dash" | "ash" | "ksh" | "ksh93" | "mksh" | "zsh" | "busybox" => Self::Posix,
            "fish" => Self::Fish,
            "csh" | "tcsh" => Self::Csh,
            _ => Self::Other,
        }
    }

    /// The script for `command`, run in `directory` (`~` means home) with `environment` added.
    ///
    /// Its first act is to print the shell's process id, between the marks of `announce`, on stderr. On a terminal, which
    /// would echo it, no script goes to stdin.
    ///
    /// # Errors
    /// A NUL byte, a bad variable name, a directory or environment for a shell we know nothing about, or a command that
    /// is too long.
    pub fn script(
        self,
        command: &str,
        directory: Option<&str>,
        environment: &[(&str, &str)],
        announce: &Sentinel,
        terminal: bool,
    ) -> Result<ExecScript, ExecScriptError> {
        let longest = if terminal { usize::MAX } else { LONGEST_LINE };
        self.script_within(longest, command, directory, environment, announce)
    }

    /// The same with the script on stdin, where the shell can read it there, if it has more than `longest` bytes.
    pub(super) fn script_within(
        self,
        longest: usize,
        command: &str,
        directory: Option<&str>,
        environment: &[(&str, &str)],
        announce: &Sentinel,
    ) -> Result<ExecScript, ExecScriptError> {
        let mut script = self.body(command, directory, environment)?;
        let mut line = self.announcement(announce);
        if self == Self::Posix && script.len() > longest {
            let mark = announce.as_str();
            // `read` takes not a byte more than its line from a pipe: the rest is the command's own stdin.
            let load = format!(
                "eval \"$(while IFS= read -r line && [ \"x$line\" != x{mark} ]; do printf '%s\\n' \"$line\"; done)\""
            );
            line.extend_from_slice(load.as_bytes());
            script.extend_from_slice(format!("\n{mark}\n").as_bytes());
            return Ok(ExecScript { line, stdin: script });
        }
        line.append(&mut script);
        if line.len() > LONGEST_ARGUMENT {
            return Err(ExecScriptError::TooLong(line.len()));
        }
        Ok(ExecScript { line, stdin: Vec::new() })
    }

    /// The script alone, without the process id before it.
    ///
    /// # Errors
    /// As [`script`](Self::script), but for the length.
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
        for (name, value) in environment {
            refuse_nul("the environment", value)?;
            if !is_variable_name(name) {
                return Err(ExecScriptError::VariableName((*name).to_owned()));
            }
            self.set_variable(&mut script, name, value)?;
        }
        script.extend_from_slice(command.as_bytes());
        Ok(script)
    }

    pub(super) fn announcement(self, announce: &Sentinel) -> Vec<u8> {
        let mark = announce.as_str();
        match self {
            Self::Posix => format!("printf '\\036%s:%s\\036%s;' {mark} \"$$\" {mark} >&2\n"),
            Self::Fish => format!("printf '\\036%s:%s\\036%s;' {mark} $fish_pid {mark} >&2\n"),
            // csh cannot redirect stderr alone; a child that names its parent can.
            Self::Csh => format!("sh -c 'printf \"\\036%s:%s\\036%s;\" {mark} $PPID {mark} >&2'\n"),
            Self::Other => String::new(),
        }
        .into_bytes()
    }

    pub(super) fn change_directory(self, script: &mut Vec<u8>, directory: &str) -> Result<(), ExecScriptError> {
        let (home, rest) = match directory.strip_prefix('~') {
            Some("") => (true, ""),
            Some(rest) if rest.starts_with('/') => (true, rest),
            _ => (false, directory),
        };
        let mut place = Vec::new();
        if home {
            place.extend_from_slice(b"\"$HOME\"");
        } else if rest.starts_with('-') {
            place.extend_from_slice(b"./");
        }
        self.quote(&mut place, rest)?;
        let (before, after) = match self {
            Self::Fish => ("cd ", "; or exit 1\n"),
            // csh goes on with the next line after its own cd has failed, and even after exit; not after exec.
            Self::Csh => ("sh -c 'cd \"$0\"' ", " || exec sh -c 'exit 1'\ncd "),
            Self::Posix | Self::Other => ("cd ", " || exit 1\n"),
        };
        script.extend_from_slice(&[before.as_bytes(), &place, after.as_bytes()].concat());
        if self == Self::Csh {
            script.extend_from_slice(&place);
            script.push(b'\n');
        }
        Ok(())
    }

    fn set_variable(self, script: &mut Vec<u8>, name: &str, value: &str) -> Result<(), ExecScriptError> {
        let before = match self {
            Self::Posix => format!("export {name}="),
            Self::Fish => format!("set -gx {name} "),
            Self::Csh => format!("setenv {name} "),
            Self::Other => return Err(ExecScriptError::UnknownShell),
        };
        script.extend_from_slice(before.as_bytes());
        self.quote(script, value)?;
        script.push(b'\n');
        Ok(())
    }

    pub(super) fn quote(self, script: &mut Vec<u8>, text: &str) -> Result<(), ExecScriptError> {
        match self {
            Self::Posix => quote(script, text.as_bytes()),
            Self::Fish => {
                let escaped = text.replace('\\', "\\\\").replace('\'', "\\'");
                script.extend_from_slice(format!("'{escaped}'").as_bytes());
            }
            Self::Csh => {
                let escaped = text.replace('\'', "'\\''").replace('!', "\\!").replace('\n', "\\\n");
                script.extend_from_slice(format!("'{escaped}'").as_bytes());
            }
            Self::Other => return Err(ExecScriptError::UnknownShell),
        }
        Ok(())
    }
}

fn refuse_nul(what: &'static str, text: &str) -> Result<(), ExecScriptError> {
    if text.contains('\0') { Err(ExecScriptError::Nul(what)) } else { Ok(()) }
}

fn is_variable_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|later| later.is_ascii_alphanumeric() || later == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(
        shell: LoginShell,
        directory: Option<&str>,
        environment: &[(&str, &str)],
    ) -> Result<String, ExecScriptError> {
        let script = shell.script("echo hi", directory, environment, &Sentinel::from_random([0; 16]), false)?;
        assert_eq!(script.stdin, b"");
        let script = String::from_utf8(script.line).unwrap();
        Ok(script
            .split_once(";' ")
            .or_else(|| script.split_once(";\" "))
            .map_or(script.clone(), |(_, rest)| rest.to_owned()))
    }

    #[test]
    fn the_login_shell_is_known_by_the_last_part_of_its_path() {
        for (answer, shell) in [
            ("mcp-ssh-sessions:/bin/bash;\n", LoginShell::Posix),
            ("Welcome!\nmcp-ssh-sessions:/usr/bin/fish;\nbye", LoginShell::Fish),
            ("mcp-ssh-sessions:/bin/tcsh;", LoginShell::Csh),
            ("mcp-ssh-sessions:/bin/rbash;", LoginShell::Other),
            ("\"mcp-ssh-sessions:$SHELL;\"", LoginShell::Other),
            ("", LoginShell::Other),
        ] {
            assert_eq!(LoginShell::from_probe(answer.as_bytes()), shell, "{answer:?}");
        }
    }

    #[test]
    fn each_family_gets_directory_and_environment_in_its_own_words() {
        let mark = "0".repeat(32);
        for (shell, expected) in [
            (LoginShell::Posix, format!("{mark} \"$$\" {mark} >&2\ncd '/a b' || exit 1\nexport V='it'\\''s'\necho hi")),
            (
                LoginShell::Fish,
                format!("{mark} $fish_pid {mark} >&2\ncd '/a b'; or exit 1\nset -gx V 'it\\'s'\necho hi"),
            ),
            (
                LoginShell::Csh,
                format!(
                    "{mark} $PPID {mark} >&2'\nsh -c 'cd \"$0\"' '/a b' || exec sh -c 'exit 1'\ncd '/a b'\nsetenv V 'it'\\''s'\necho hi"
                ),
            ),
        ] {
            assert_eq!(script(shell, Some("/a b"), &[("V", "it's")]).unwrap(), expected);
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
            assert!(script(LoginShell::Posix, Some(directory), &[]).unwrap().contains(line), "{directory}");
        }
    }

    #[test]
    fn an_unknown_shell_gets_the_bare_command_or_a_refusal() {
        assert_eq!(script(LoginShell::Other, None, &[]).unwrap(), "echo hi");
        assert_eq!(script(LoginShell::Other, Some("/"), &[]), Err(ExecScriptError::UnknownShell));
        assert_eq!(script(LoginShell::Other, None, &[("A", "b")]), Err(ExecScriptError::UnknownShell));
    }

    #[test]
    fn names_and_bytes_that_would_change_the_script_are_refused() {
        for name in ["", "1A", "A=B", "A B", "A;rm", "É"] {
            assert!(
                matches!(script(LoginShell::Posix, None, &[(name, "v")]), Err(ExecScriptError::VariableName(_))),
                "{name}"
            );
        }
        assert_eq!(script(LoginShell::Posix, None, &[("A", "\0")]), Err(ExecScriptError::Nul("the environment")));
    }

    #[test]
    fn a_long_script_goes_to_stdin_where_the_shell_can_read_it() {
        let mark = Sentinel::from_random([7; 16]);
        let long = "x".repeat(LONGEST_LINE);
        let script = LoginShell::Posix.script(&long, Some("/"), &[], &mark, false).unwrap();
        assert!(script.line.len() < 512);
        assert_eq!(script.stdin, format!("cd '/' || exit 1\n{long}\n{}\n", mark.as_str()).into_bytes());
        let longer = "x".repeat(LONGEST_ARGUMENT + 1);
        for shell in [LoginShell::Fish, LoginShell::Csh, LoginShell::Other] {
            assert!(matches!(shell.script(&long, None, &[], &mark, false), Ok(script) if script.stdin.is_empty()));
            assert!(matches!(shell.script(&longer, None, &[], &mark, false), Err(ExecScriptError::TooLong(_))));
        }
    }
}
