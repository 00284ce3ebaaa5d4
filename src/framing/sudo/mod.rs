//! Commands as root, through `sudo(8)`: the script, and the events until the command begins.
//!
//! sudo reads a password from stdin (`-S`), and the command then reads its own input from the same
//! stdin. So nothing is sent unasked. sudo's prompt (`-p`) is a mark that asks for a password, and
//! the process id that the command's shell prints first says that sudo has started the command. A
//! sudo that wants no password never gets one, because the command would read it.

mod event;
mod user;

pub use self::{
    event::{SudoEvent, SudoListener},
    user::SudoUser,
};
use super::{
    exec::{
        ExecScript, ExecScriptError, Input, LoginShell, MAX_ARGUMENT, MAX_LINE_BYTES, UnixOnly,
    },
    sentinel::Sentinel,
};

/// Character in a prompt's mark before the name of the account whose password is wanted.
const PROMPT: char = '?';

impl LoginShell {
    /// Writes the script for `command` as root, run by the same shell as in
    /// [`script`](Self::script). The directory is the same too (`~` is the home of the log-in's
    /// user, not of root), and `environment` is added to what sudo leaves. `program` is the shell;
    /// without it, `$SHELL` is.
    ///
    /// Two process ids are printed on stderr: sudo's, and then that of the shell that runs the
    /// command. The shell reads [`ExecScript::settings`]. sudo logs its arguments, so they hold
    /// nothing of the environment.
    ///
    /// # Errors
    /// Fails as [`script`](Self::script) does, and for every command if the login shell is unknown.
    pub fn sudo_script(
        self,
        program: Option<&str>,
        command: &str,
        directory: Option<&str>,
        environment: &[(&str, &str)],
        mark: &Sentinel,
        input: Input,
    ) -> Result<ExecScript, ExecScriptError> {
        if self.windows().is_some() {
            return Err(ExecScriptError::NotOnWindows(UnixOnly::Sudo));
        }

        // sudo stays in the directory where it is started, and root has another home. So the shell
        // outside changes to the home directory.
        let (from_home, directory) = match directory {
            Some("~") => (true, None),
            Some(directory) if directory.starts_with("~/") => {
                (true, Some(format!(".{}", directory.get(1..).unwrap_or(""))))
            }
            other => (false, other.map(str::to_owned)),
        };

        let inside = |longest| {
            self.script_within(
                longest,
                command,
                directory.as_deref(),
                environment,
                mark,
                input,
            )
        };

        // Quoting for the outer shell makes the script longer, perhaps too long for a line. Then
        // the script goes to stdin.
        let mut script = inside(MAX_LINE_BYTES)?;
        let mut line = self.with_sudo(program, &script.line, from_home, mark)?;
        if line.len() > MAX_LINE_BYTES {
            script = inside(0)?;
            line = self.with_sudo(program, &script.line, from_home, mark)?;
        }

        if line.len() > MAX_ARGUMENT {
            return Err(ExecScriptError::TooLong(line.len()));
        }

        Ok(ExecScript { line, ..script })
    }

    /// Writes the command line for running the script `inside` through sudo.
    fn with_sudo(
        self,
        program: Option<&str>,
        inside: &[u8],
        from_home: bool,
        mark: &Sentinel,
    ) -> Result<Vec<u8>, ExecScriptError> {
        let mut line = self.announcement(mark);
        if from_home {
            self.change_directory(&mut line, "~")?;
        }

        // exec takes the program, and no function or alias of this name.
        line.extend_from_slice(format!("exec sudo -S -p '{}' -- ", prompt(mark)).as_bytes());

        match program {
            Some(program) => self.quote(&mut line, program)?,
            None => line.extend_from_slice(b"\"$SHELL\""),
        }

        line.extend_from_slice(b" -c ");
        self.quote(&mut line, &String::from_utf8_lossy(inside))?;

        Ok(line)
    }
}

/// Writes the command line for running a script from stdin as root, in any login shell.
#[must_use]
pub fn root_shell(mark: &Sentinel) -> String {
    let (prompt, announcement) = (prompt(mark), started_mark(mark));
    format!("exec sudo -S -p '{prompt}' -- /bin/sh -c '{announcement}; exec /bin/sh'")
}

/// Writes the command line for running `program`, a command of `sh`, as another user, in any login
/// shell. The program runs in the home directory of that user, or in `/` if the directory cannot be
/// entered. It holds neither single quotes nor `!` nor a line end.
///
/// A sudo that takes the user for another is not obeyed: the program does not run.
#[must_use]
pub fn shell_as(user: &SudoUser, mark: &Sentinel, program: &str) -> String {
    let (prompt, announcement) = (prompt(mark), started_mark(mark));
    format!(
        "exec sudo -S -p '{prompt}' -u '{user}' -- /bin/sh -c '[ \"$(id -u)\" = \"$(id -u \"$1\")\" ] || \
         {{ echo \"the shell belongs to $(id -un)\" >&2; exit 1; }}; cd 2>/dev/null || cd /; \
         {announcement}; {program}' sh '{user}'"
    )
}

/// Writes the command line for running a script from stdin as another user, in any login shell,
/// where sudo wants no password.
#[must_use]
pub fn shell_without_password(user: Option<&SudoUser>) -> String {
    let option = user.map(|user| format!("-u '{user}' ")).unwrap_or_default();
    format!("exec sudo -n {option}-- /bin/sh")
}

/// Writes the command by which a shell says that sudo has started it.
fn started_mark(mark: &Sentinel) -> String {
    let mark = mark.as_str();
    format!("printf \"\\036%s:%s\\036%s;\" {mark} \"$$\" {mark} >&2")
}

/// Writes the prompt for sudo. `%p` stands for the account whose password sudo wants: the user's,
/// or with `rootpw` or `targetpw` another account's.
fn prompt(mark: &Sentinel) -> String {
    let (opening, closing) = (mark.opening(), mark.closing());
    format!(
        "{}{}%p{}",
        String::from_utf8_lossy(&opening),
        PROMPT,
        String::from_utf8_lossy(&closing)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::script::START_SHELL;

    const DIGITS: &str = "07070707070707070707070707070707";

    fn mark() -> Sentinel {
        Sentinel::from_random([7; 16])
    }

    fn marked(text: &str) -> String {
        format!("\u{1e}{DIGITS}:{text}\u{1e}{DIGITS};")
    }

    fn line(shell: LoginShell, directory: Option<&str>) -> String {
        let script = shell
            .sudo_script(None, "echo it's", directory, &[], &mark(), Input::Empty)
            .unwrap();
        assert_eq!(script.settings, b"");
        String::from_utf8(script.line).unwrap()
    }

    #[test]
    fn each_family_hands_the_whole_script_to_the_same_shell_inside() {
        let sudo = format!("exec sudo -S -p '{}' -- \"$SHELL\" -c ", marked("?%p"));
        for (shell, outside, inside) in [
            (LoginShell::Posix, "; ", "; echo it'\\''s'"),
            (LoginShell::Fish, "\n", "\necho it\\'s'"),
            (LoginShell::Csh, "\n", "\\\necho it'\\''s'"),
        ] {
            let line = line(shell, None);
            let (before, after) = line.split_once(&sudo).unwrap();
            assert!(
                before.contains(DIGITS) && before.ends_with(outside),
                "{before}"
            );

            assert!(after.contains(DIGITS) && after.ends_with(inside), "{after}");
        }
    }

    #[test]
    fn home_is_the_home_of_who_logs_in() {
        for (directory, outside, inside) in [
            ("~", "; cd \"$HOME\"'' || exit 1; ", ""),
            (
                "~/x",
                "; cd \"$HOME\"'' || exit 1; ",
                "cd '\\''./x'\\'' || exit 1; ",
            ),
            ("/x", "; ", "cd '\\''/x'\\'' || exit 1; "),
            ("x", "; ", "cd '\\''x'\\'' || exit 1; "),
        ] {
            let line = line(LoginShell::Posix, Some(directory));
            let (before, after) = line.split_once("exec sudo").unwrap();
            assert!(
                before.ends_with(&format!("unset __mcp __mcp_u __mcp_n{outside}")),
                "{directory}: {before}"
            );

            assert!(
                after.ends_with(&format!(
                    "unset __mcp __mcp_u __mcp_n; {inside}echo it'\\''s'"
                )),
                "{directory}: {after}"
            );
        }
    }

    #[test]
    fn a_shell_of_another_user_reads_the_same_in_every_login_shell() {
        let user = SudoUser::parse("www-data").unwrap();
        let line = shell_as(&user, &mark(), START_SHELL);
        assert!(line.starts_with(&format!(
            "exec sudo -S -p '{}' -u 'www-data' -- /bin/sh -c '",
            marked("?%p")
        )));

        // Three texts in quotes, and the last word.
        assert_eq!(line.matches('\'').count(), 8);
        assert!(!line.contains(['!', '\n']));
        assert!(line.ends_with("fi' sh 'www-data'"), "{line}");

        assert_eq!(
            shell_without_password(Some(&user)),
            "exec sudo -n -u 'www-data' -- /bin/sh"
        );
        assert_eq!(shell_without_password(None), "exec sudo -n -- /bin/sh");
    }

    #[test]
    fn a_command_that_is_long_or_long_once_quoted_goes_to_stdin() {
        for command in [
            "x".repeat(MAX_LINE_BYTES + 1),
            "'".repeat(MAX_LINE_BYTES / 2),
        ] {
            let script = LoginShell::Posix
                .sudo_script(None, &command, None, &[], &mark(), Input::Empty)
                .unwrap();
            assert!(script.line.len() < 2048);
            assert_eq!(
                script.settings,
                format!("{DIGITS}\n{command}\n{DIGITS}\n").into_bytes()
            );

            let script = LoginShell::Fish
                .sudo_script(None, &command, None, &[], &mark(), Input::Empty)
                .unwrap();
            assert!(script.settings.is_empty());
        }

        let longest = "x".repeat(MAX_ARGUMENT);
        assert!(matches!(
            LoginShell::Fish.sudo_script(None, &longest, None, &[], &mark(), Input::Empty),
            Err(ExecScriptError::TooLong(_))
        ));

        assert_eq!(
            LoginShell::Other.sudo_script(None, "id", None, &[], &mark(), Input::Empty),
            Err(ExecScriptError::UnknownShell)
        );
    }
}
