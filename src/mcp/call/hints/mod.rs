//! Hints at a parameter that would have helped, for commands and transfers that fail for a
//! recognisable reason. A successful command gets a hint only if an interactive program in the
//! command found no input.

mod interactive;
pub(in crate::mcp) mod ports;
mod secret;

use crate::{
    session::{
        error::SessionError,
        job::{CommandInputs, CommandStdin, Job, is_pager},
    },
    ssh::{
        command::{
            exec::CommandResult,
            exit_status::{Ending, ExitStatus},
        },
        transfer::{TransferError, TransferRequest},
    },
};

/// Number of searched lines at the end of the output. Earlier lines may be about something else.
const LAST_LINES: usize = 8;

/// Command with an exit code other than 0, as the rules see the command.
#[expect(
    clippy::struct_excessive_bools,
    reason = "what it was, as the table asks for it"
)]
struct Failed<'a> {
    /// Text of the command.
    command: &'a str,
    /// Directory, stdin and references to variables of the call.
    given: &'a CommandInputs,
    /// True if the command ran in a persistent shell.
    in_shell: bool,
    /// True if the command had a terminal.
    terminal: bool,
    /// True if this program ran the command with sudo.
    sudo: bool,
    /// True if the command was a detached job.
    detached: bool,
    /// Exit code.
    code: u32,
    /// Last lines of stderr, or of the terminal of the command.
    said: String,
}

/// Rule of the table: the condition, and the hint to give.
type HintRule = (fn(&Failed<'_>) -> bool, &'static str);

/// Rules for failed commands. The first rule whose condition holds gives the hint, so special rules
/// come before general ones.
const COMMANDS: &[HintRule] = &[
    (
        |failed| failed.is_missing_program() && failed.refers_to("PATH"),
        "values of env are literal, so PATH lost its own directories: put `export PATH=…:$PATH` into the command",
    ),
    (
        |failed| failed.has_unexpanded_value(),
        "values of env are literal: put `export NAME=…` into the command to have variables expanded",
    ),
    (
        |failed| failed.command.contains("\r\n") && !failed.said.is_empty(),
        "the command has CRLF line ends, which the shell takes as part of its words: send LF alone",
    ),
    (
        |failed| failed.has_literal_directory(),
        "cwd is taken as it is: only ~ stands for something, no variable and no pattern",
    ),
    (
        |failed| failed.is_missing_program() && failed.in_shell && !failed.sudo,
        "login startup files are not read: if it is installed, `. ~/.profile` in this shell may find it",
    ),
    (
        |failed| failed.is_missing_program() && !failed.sudo,
        "login startup files are not read: if it is installed, `bash -lc 'COMMAND'` may find it",
    ),
    (
        |failed| failed.wants_sudo_password() && failed.in_shell,
        "to give sudo its password, use sudo: true, without sudo in the command; it is a shell of its own",
    ),
    (
        |failed| failed.wants_sudo_password(),
        "to give sudo its password, use sudo: true, without sudo in the command",
    ),
    (
        |failed| failed.says(|line| line.starts_with("fatal: unrecognized command")),
        "this account runs the commands of git alone (git-shell); ssh_upload, ssh_download, ssh_read and ssh_edit may work",
    ),
    (
        |failed| failed.wants_terminal() && failed.in_shell,
        "it wants a terminal: ssh_exec with pty: true gives it one",
    ),
    (
        |failed| failed.wants_terminal(),
        "it wants a terminal: pty: true gives it one",
    ),
    (
        |failed| failed.reads_half_a_line(),
        "stdin has no newline at its end, without which `read` fails",
    ),
];

/// Returns the hint for an ended command, which names a helpful parameter. Returns `None` if no
/// rule applies.
pub(in crate::mcp) fn of_command(job: &Job, result: &CommandResult) -> Option<String> {
    let Ending::Exited(ExitStatus::Code(code)) = result.ending else {
        return None;
    };

    // A stopped command failed because of the stop, whatever its output says. The exit code of a
    // shell is that of its last command.
    if result.stopped || job.given.is_shell_channel {
        return None;
    }

    // A shell or interpreter with an empty stdin ends at once and reports success. The caller would
    // take that for work done.
    if code == 0 {
        let unattended = job.given.stdin == CommandStdin::Empty && !job.has_terminal();
        let silent = result.output.stdout.total == 0 && result.output.stderr.total == 0;
        return interactive::interactive_hint(&job.command, silent).filter(|_| unattended);
    }

    // A terminal has a single stream, which arrives as stdout.
    let text = if job.has_terminal() {
        &result.output.stdout
    } else {
        &result.output.stderr
    }
    .text();

    let failed = Failed {
        command: &job.command,
        given: &job.given,
        in_shell: job.shell.is_some(),
        terminal: job.has_terminal(),
        sudo: job.sudo,
        detached: job.detached.is_some(),
        code,
        said: last_lines(&text),
    };

    COMMANDS
        .iter()
        .find(|(applies, _)| applies(&failed))
        .map(|(_, hint)| (*hint).to_owned())
}

/// Returns the hint for input without an effect, which probably lacks a newline. `unfinished` is
/// the line at which the job waits now.
pub(in crate::mcp) fn of_input(
    input: &str,
    has_answered: bool,
    unfinished: &str,
) -> Option<&'static str> {
    // Control characters and escape sequences are keys, which programs read without Enter.
    let is_text = input.chars().last().is_some_and(|last| !last.is_control());
    // A terminal echoes what is typed, so the echo does not count as an answer.
    let only_echoed = unfinished.ends_with(input.trim_start());
    let is_key = input.starts_with('\u{1b}') || input.trim().is_empty();
    (is_text && !is_key && (!has_answered || only_echoed))
        .then_some("the input has no newline at its end: add \\n where the program waits for Enter")
}

/// Returns the notice about a prompt for a secret or of a pager; `None` for other prompts. `can_ask`
/// is true if the user can be asked for secrets.
pub(in crate::mcp) fn of_prompt(prompt: &str, can_ask: bool) -> Option<&'static str> {
    if is_pager(prompt) {
        return Some("a page ends: input \" \" shows the next, \"q\" ends the output");
    }

    secret::asks_for_secret(prompt).then_some(if can_ask {
        "waits for a secret: ssh_job(job, ask) lets the person type it"
    } else {
        "waits for a secret, which this client cannot ask the person for"
    })
}

/// Returns the hint for a wrong path, if the form of the path shows the mistake. Returns `None` for
/// other errors.
pub(in crate::mcp) fn of_transfer(
    error: &SessionError,
    request: &TransferRequest,
    is_upload: bool,
) -> Option<&'static str> {
    let SessionError::Transfer {
        source,
        runs_commands,
        ..
    } = error
    else {
        return None;
    };

    // The beginnings below are this program's own words for status codes of SFTP. The words of
    // servers differ.
    let (is_remote, is_missing, is_forbidden) = match &**source {
        TransferError::Remote { message, .. } => (
            true,
            message.starts_with("no such file"),
            message.starts_with("permission denied"),
        ),
        TransferError::Local { source, .. } => {
            let kind = source.kind();
            (
                false,
                kind == std::io::ErrorKind::NotFound,
                kind == std::io::ErrorKind::PermissionDenied,
            )
        }
        TransferError::Path(reason) => (
            reason.ends_with("on the remote host"),
            reason.contains("no directory"),
            false,
        ),
        _ => return None,
    };

    let path = if is_remote {
        &request.remote
    } else {
        &request.local
    };

    // A missing source cannot be created by the caller, a missing directory of the target can.
    let is_target = is_remote == is_upload;

    // A variable or pattern in a path explains a missing file better than the side does, so these
    // rules come first.
    match (is_missing, is_forbidden) {
        (true, _) if path.contains('$') => {
            Some("paths are taken as they are: write ~/ for the home directory, no variable")
        }
        (true, _) if path.contains(['*', '?', '[']) => Some(
            "paths are taken as they are, without patterns: name a directory, and leave out what is not wanted with exclude",
        ),
        (true, _) if is_target && is_remote => {
            Some("make its directory first, with ssh_exec and `mkdir -p`")
        }
        (true, _) if is_target => Some("make its directory on this machine first"),
        (_, true) if is_target && is_remote => Some(as_root(
            *runs_commands,
            "what belongs to root is written by ssh_exec with sudo: true, the content as stdin and `tee PATH >/dev/null`",
        )),
        (_, true) if is_remote => Some(as_root(
            *runs_commands,
            "what only root may read is read by ssh_exec with sudo: true and `cat PATH`",
        )),
        _ => None,
    }
}

/// Returns `hint`, which proposes to do something as root, unless the account runs no commands and
/// thus no sudo.
pub(in crate::mcp) fn as_root(runs_commands: bool, hint: &'static str) -> &'static str {
    if runs_commands {
        hint
    } else {
        "connect as a user who may do that: this account runs no commands, so sudo is of no use"
    }
}

impl Failed<'_> {
    /// Returns true if a shell or a launcher such as `env` did not find a program. POSIX reserves
    /// code 127 for this.
    fn is_missing_program(&self) -> bool {
        self.code == 127
            && self
                .said
                .lines()
                .any(|line| missing_program(line).is_some())
    }

    /// Returns true if the value of this variable in `env` contains a reference to the variable
    /// itself, as in `$PATH:/opt/bin`.
    fn refers_to(&self, variable: &str) -> bool {
        self.given.references.iter().any(|(name, reference)| {
            name == variable && reference.trim_matches(['$', '{', '}']) == variable
        })
    }

    /// Returns true if the output quotes an unexpanded reference from a value of `env`.
    fn has_unexpanded_value(&self) -> bool {
        self.given
            .references
            .iter()
            .any(|(_, reference)| self.said.contains(reference.as_str()))
    }

    /// Returns true if the output quotes a `cwd` with an unexpanded variable or pattern.
    fn has_literal_directory(&self) -> bool {
        self.given.directory.as_ref().is_some_and(|directory| {
            directory.contains(['$', '*', '?', '[']) && self.said.contains(directory.as_str())
        })
    }

    /// Returns true if a sudo inside the command failed for want of a password.
    fn wants_sudo_password(&self) -> bool {
        const SAYS: [&str; 5] = [
            "a password is required",
            "a terminal is required to read the password",
            "a terminal is required to authenticate",
            "no tty present and no askpass program",
            "interactive authentication is required",
        ];

        // Commands that this program runs with sudo have a password prompt of their own. Detached
        // jobs cannot be given a password.
        !self.sudo
            && !self.detached
            && self.says(|line| {
                line.starts_with("sudo") && SAYS.iter().any(|says| line.contains(says))
            })
    }

    /// Returns true if a program in the command complained about a missing terminal.
    fn wants_terminal(&self) -> bool {
        const SAYS: [&str; 17] = [
            "not a tty",
            "is not a terminal",
            "isn't a terminal",
            "not a terminal",
            "must be run from a terminal",
            "must be connected to a terminal",
            "must have a tty",
            "requires a terminal",
            "requires a tty",
            "requires an interactive terminal",
            "no tty present",
            "failed tty get",
            "term environment variable not set",
            "error opening terminal",
            "inappropriate ioctl for device",
            "/dev/tty: no such device or address",
            "can't open /dev/tty",
        ];

        // Start-up files and ssh print these warnings, after which the command goes on.
        const WARNINGS: [&str; 6] = [
            "mesg:",
            "stty:",
            "stdin: is not a tty",
            "terminal process group",
            "pseudo-terminal will not be allocated",
            "unable to use a tty",
        ];

        let is_warning = |line: &str| WARNINGS.iter().any(|warning| line.contains(warning));

        // A detached job cannot have a terminal, so the hint would not help.
        !self.terminal
            && !self.detached
            && self.says(|line| !is_warning(line) && SAYS.iter().any(|says| line.contains(says)))
    }

    /// Returns true if `read` in the command probably failed because the last line of stdin has no
    /// newline.
    fn reads_half_a_line(&self) -> bool {
        let reads = self
            .command
            .split(|letter: char| !letter.is_alphanumeric())
            .any(|word| word == "read");

        // `read` returns 1 at the end of input and prints nothing, even though it has set the
        // variable.
        self.given.stdin == CommandStdin::Text { ends_line: false }
            && self.code == 1
            && self.said.is_empty()
            && reads
    }

    /// Returns true if a line of the output, in lower case, satisfies `what`.
    fn says(&self, what: impl Fn(&str) -> bool) -> bool {
        self.said.lines().any(|line| what(&line.to_lowercase()))
    }
}

/// Returns the name of the program from an error line of a shell or launcher, as in `bash: node:
/// command not found`. Returns `None` if the line says something else.
///
/// A path is not returned: a login shell would not find the file either.
fn missing_program(line: &str) -> Option<&str> {
    let line = line.trim();

    // fish and zsh put the name after the message, while other shells put it before.
    let name = if let Some((_, name)) = line
        .split_once("nknown command: ")
        .or_else(|| line.split_once("command not found: "))
    {
        name
    } else if let Some(before) = line.strip_suffix(": No such file or directory") {
        // A shell also prints this for a missing file. Only launchers print it for a program
        // without a path.
        let starts = ["failed to run command ", "env: "];
        starts
            .iter()
            .find_map(|start| before.split_once(start))
            .map(|(_, name)| name)?
    } else {
        let line = line
            .strip_suffix(" [No such file or directory]")
            .unwrap_or(line);

        let ends = [
            ": command not found",
            ": inaccessible or not found",
            ": not found",
        ];

        let before = ends.iter().find_map(|end| line.strip_suffix(end))?;
        before.rsplit_once(": ").map_or(before, |(_, name)| name)
    };

    // GNU programs quote names, with typographic quotes in UTF-8 locales.
    let name = name.trim_matches(['\'', '"', '`', '‘', '’']);
    let is_name = !name.is_empty() && !name.contains(['/', '\\', '$', ' ', '\r']);
    is_name.then_some(name)
}

/// Returns the last [`LAST_LINES`] lines, without counting blank lines.
fn last_lines(text: &str) -> String {
    let mut lines: Vec<&str> = text
        .lines()
        .rev()
        .filter(|line| !line.trim().is_empty())
        .take(LAST_LINES)
        .collect();

    lines.reverse();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::command::spec::CommandSpec;

    fn hint(code: u32, said: &str, change: impl FnOnce(&mut Failed<'_>)) -> &'static str {
        let given = CommandInputs::default();

        let mut failed = Failed {
            command: "c",
            given: &given,
            in_shell: false,
            terminal: false,
            sudo: false,
            detached: false,
            code,
            said: last_lines(said),
        };

        change(&mut failed);

        COMMANDS
            .iter()
            .find(|(applies, _)| applies(&failed))
            .map_or("", |(_, hint)| hint)
    }

    #[test]
    fn a_missing_program_is_recognised_in_the_words_of_every_shell() {
        for (line, name) in [
            ("bash: line 1: node: command not found", Some("node")),
            ("bash: node: command not found", Some("node")),
            ("-bash: node: command not found", Some("node")),
            ("sh: 1: node: not found", Some("node")),
            ("ksh: node: not found", Some("node")),
            (
                "ksh[1]: node: not found [No such file or directory]",
                Some("node"),
            ),
            ("mksh: node: inaccessible or not found", Some("node")),
            ("zsh:1: command not found: node", Some("node")),
            ("fish: Unknown command: node", Some("node")),
            ("node: Command not found.", None),
            ("env: 'node': No such file or directory", Some("node")),
            (
                "/usr/bin/env: ‘node’: No such file or directory",
                Some("node"),
            ),
            (
                "timeout: failed to run command ‘node’: No such file or directory",
                Some("node"),
            ),
            ("bash: line 1: ./run.sh: No such file or directory", None),
            ("bash: line 1: /opt/x: not found", None),
            ("ls: cannot access 'x': No such file or directory", None),
            ("bash: line 1: $'node\\r': command not found", None),
            ("package foo is not installed", None),
        ] {
            assert_eq!(missing_program(line), name, "{line}");
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "it is a table")]
    fn the_failure_shows_its_cure() {
        let bash = "bash: line 1: node: command not found\n";

        for (code, said, part) in [
            (127, bash, "bash -lc"),
            (1, bash, ""),
            (127, "something else", ""),
            (127, "", ""),
            (
                1,
                "sudo: a terminal is required to read the password; either …\nsudo: a password is required",
                "use sudo: true",
            ),
            (
                1,
                "sudo: no tty present and no askpass program specified",
                "use sudo: true",
            ),
            (
                1,
                "sudo: interactive authentication is required",
                "use sudo: true",
            ),
            (1, "a password is required", ""),
            (
                1,
                "sudo: sorry, you must have a tty to run sudo",
                "pty: true",
            ),
            (1, "the input device is not a TTY", "pty: true"),
            (1, "open terminal failed: not a terminal", "pty: true"),
            (1, "Must be connected to a terminal.", "pty: true"),
            (1, "su: must be run from a terminal", "pty: true"),
            (1, "top: failed tty get", "pty: true"),
            (1, "TERM environment variable not set.", "pty: true"),
            (
                2,
                "gpg: signing failed: Inappropriate ioctl for device",
                "pty: true",
            ),
            (
                1,
                "mesg: ttyname failed: Inappropriate ioctl for device\nreal trouble",
                "",
            ),
            (
                1,
                "stty: 'standard input': Inappropriate ioctl for device",
                "",
            ),
            (
                255,
                "Pseudo-terminal will not be allocated because stdin is not a terminal.\nHost key verification failed.",
                "",
            ),
            (
                2,
                "bash: cannot set terminal process group (-1): Inappropriate ioctl for device\nbash: no job control in this shell",
                "",
            ),
        ] {
            let hint = hint(code, said, |_| {});
            assert!(
                if part.is_empty() {
                    hint.is_empty()
                } else {
                    hint.contains(part)
                },
                "{code} {said}: {hint}"
            );
        }

        assert!(hint(127, bash, |failed| failed.in_shell = true).contains(". ~/.profile"));
        assert!(hint(127, bash, |failed| failed.command = "a\r\nb").contains("CRLF"));
        assert_eq!(hint(1, "", |failed| failed.command = "a\r\nb"), "");
        assert_eq!(hint(1, "not a tty", |failed| failed.terminal = true), "");

        let given = CommandInputs::new(&CommandSpec {
            cwd: Some("$HOME/x".into()),
            env: vec![
                ("PATH".into(), "$PATH:/x".into()),
                ("A".into(), "${B}".into()),
            ],
            ..CommandSpec::default()
        });

        let with = |code, said: &str| {
            let failed = Failed {
                given: &given,
                command: "c",
                in_shell: false,
                terminal: false,
                sudo: false,
                detached: false,
                code,
                said: said.to_owned(),
            };

            COMMANDS
                .iter()
                .find(|(applies, _)| applies(&failed))
                .map_or("", |(_, hint)| *hint)
        };

        assert!(with(127, bash).contains("PATH lost"));
        assert!(with(1, "ls: ${B}/y: No such file").contains("values of env"));
        assert!(with(1, "cd: $HOME/x: No such file or directory").contains("cwd is taken"));
        assert_eq!(with(1, "other"), "");
        let given = CommandInputs::new(&CommandSpec {
            stdin: Some(b"yes".to_vec()),
            ..CommandSpec::default()
        });

        let failed = Failed {
            given: &given,
            command: "read x && echo $x",
            in_shell: false,
            terminal: false,
            sudo: false,
            detached: false,
            code: 1,
            said: String::new(),
        };

        assert!(failed.reads_half_a_line());
    }

    #[test]
    fn input_without_its_newline_is_said_where_nothing_came_of_it() {
        for (input, answered, unfinished, said) in [
            ("yes", false, "Go on?", true),
            ("yes", true, "Go on? yes", true),
            ("yes", true, "Really?", false),
            ("yes\n", false, "Go on?", false),
            ("\u{3}", false, "", false),
            ("\u{1b}[A", false, "", false),
            ("q", true, "", false),
        ] {
            assert_eq!(
                of_input(input, answered, unfinished).is_some(),
                said,
                "{input:?}"
            );
        }
    }
}
