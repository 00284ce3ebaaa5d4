//! Reading a command's environment from stdin, and the script too if it is long.

use super::{ExecScriptError, LoginShell, READY};
use crate::framing::sentinel::Sentinel;

/// Parts of the script which read the environment variables of a command from stdin, and the bytes to
/// send there. Sent in this way, the values never show in a list of processes.
pub(super) struct SettingsLoader {
    /// Script part before the announcement of the process id.
    pub(super) before: String,
    /// Script part after the announcement. The shell ends if stdin ends too early.
    pub(super) after: String,
    /// Settings to send on stdin.
    pub(super) settings: Vec<u8>,
}

/// Command to end csh, which would go on with the next line after `exit`.
const END_CSH: &str = "exec sh -c 'exit 1'";

impl LoginShell {
    /// Writes the script for setting the environment from stdin, which reads not a byte more. On a
    /// terminal nothing is echoed or interpreted meanwhile, and a mark afterwards says that the
    /// terminal is as before.
    pub(super) fn load(
        self,
        environment: &[(&str, &str)],
        announce: &Sentinel,
        terminal: bool,
    ) -> Result<SettingsLoader, ExecScriptError> {
        let mark = announce.as_str();
        let mut settings = Vec::new();
        let mut csh = String::new();

        // The values travel as statements of the shell that reads them, quoted so that no value can
        // become a command.
        for (name, value) in environment {
            match self {
                Self::Posix => self.export_in_a_line(&mut settings, name, value)?,
                Self::Fish => {
                    settings.extend_from_slice(format!("set -gx {name} ").as_bytes());
                    let mut quoted = Vec::new();
                    self.quote(&mut quoted, value)?;
                    settings.extend_from_slice(
                        String::from_utf8_lossy(&quoted)
                            .replace('\n', "'\\n'")
                            .as_bytes(),
                    );

                    settings.push(b'\n');
                }
                Self::Csh => {
                    // csh gets raw lines instead of statements: `dd` reads each by its length,
                    // which is part of the script.
                    settings.extend_from_slice(format!("{value}\n").as_bytes());

                    for (index, line) in value.split('\n').enumerate() {
                        let line = csh_line(line.len());

                        let read = match index {
                            0 => format!("setenv {name} \"{line}\"\n"),
                            _ => format!(
                                "set __mcp = \"{line}\"\nsetenv {name} \"${{{name}:q}}\\\n${{__mcp:q}}\"\n"
                            ),
                        };

                        csh.push_str(&read);
                    }
                }
                Self::Windows(_) | Self::Other => return Err(ExecScriptError::UnknownShell),
            }
        }

        // The end mark tells a complete input from one that was cut off, after which the command
        // must not run.
        let end_line = if self == Self::Fish && terminal {
            format!("set __mcp {mark}\n")
        } else {
            format!("{mark}\n")
        };

        settings.extend_from_slice(end_line.as_bytes());
        let count = settings.len();

        // Each shell reads line by line, or by an exact count, because the rest of stdin belongs to
        // the command.
        let read = match self {
            Self::Posix => format!(
                "while IFS= read -r __mcp || exit 1; [ \"x$__mcp\" != x{mark} ]; do eval \"$__mcp\"; done; \
                 unset __mcp __mcp_n; "
            ),
            // fish's own `read` would be a line editor on a terminal.
            Self::Fish if terminal => {
                format!(
                    "dd bs=1 count={count} 2>/dev/null | source; test \"$__mcp\" = {mark}; or exit 1; set -e __mcp\n"
                )
            }
            Self::Fish => format!(
                "while begin; read __mcp; or exit 1; test \"$__mcp\" != {mark}; end; eval $__mcp; end; set -e __mcp\n"
            ),
            Self::Csh => format!(
                "{csh}set __mcp = \"{}\"\nif (\"$__mcp\" != {mark}) {END_CSH}\nunset __mcp\n",
                csh_line(mark.len())
            ),
            Self::Windows(_) | Self::Other => String::new(),
        };

        if !terminal {
            return Ok(SettingsLoader {
                before: String::new(),
                after: read,
                settings,
            });
        }

        // Without a terminal from the server, nothing is echoed. A terminal that cannot be silenced
        // gets no settings.
        let (before, back) = match self {
            Self::Posix => (
                "__mcp_t=; if [ -t 0 ]; then __mcp_t=$(stty -g) && stty raw -echo || exit 1; fi; ",
                "[ -z \"$__mcp_t\" ] || stty \"$__mcp_t\"; unset __mcp_t; ",
            ),
            Self::Fish => (
                "set __mcp_t; if test -t 0; set __mcp_t (stty -g); and stty raw -echo; or exit 1; end\n",
                "test -z \"$__mcp_t\"; or stty $__mcp_t; set -e __mcp_t; ",
            ),
            Self::Csh => (
                "set __mcp_t = `sh -c 'test ! -t 0 || exec stty -g'`\n\
                 sh -c 'test ! -t 0 || exec stty raw -echo' || exec sh -c 'exit 1'\n",
                "sh -c 'test -z \"$0\" || exec stty \"$0\"' \"$__mcp_t\"\nunset __mcp_t\n",
            ),
            Self::Windows(_) | Self::Other => ("", ""),
        };

        // Printed after the terminal is restored, so that input sent on this mark is echoed as
        // usual.
        let print_ready = match self {
            Self::Csh => format!("sh -c 'printf \"\\036%s:{READY}\\036%s;\" {mark} {mark} >&2'\n"),
            Self::Posix => format!("printf '\\036%s:{READY}\\036%s;' {mark} {mark} >&2; "),
            _ => format!("printf '\\036%s:{READY}\\036%s;' {mark} {mark} >&2\n"),
        };

        Ok(SettingsLoader {
            before: before.to_owned(),
            after: format!("{read}{back}{print_ready}"),
            settings,
        })
    }

    /// Writes an assignment in a single line, because each line is read and run by itself.
    fn export_in_a_line(
        self,
        settings: &mut Vec<u8>,
        name: &str,
        value: &str,
    ) -> Result<(), ExecScriptError> {
        // The newline comes from a variable. A command substitution strips newlines at its end, so
        // `_` protects this one.
        if value.contains('\n') {
            settings.extend_from_slice(b"__mcp_n=$(printf '\\n_') && __mcp_n=${__mcp_n%_}\n");
        }

        settings.extend_from_slice(format!("export {name}=").as_bytes());

        for (index, line) in value.split('\n').enumerate() {
            if index > 0 {
                settings.extend_from_slice(b"\"$__mcp_n\"");
            }
            self.quote(settings, line)?;
        }

        settings.push(b'\n');

        Ok(())
    }
}

/// Writes a command substitution for reading a line of `bytes` bytes in csh. csh's own `$<` takes
/// more than a line if it meets bytes that are no text.
fn csh_line(bytes: usize) -> String {
    format!("`sh -c 'exec dd bs=1 count={} 2>/dev/null'`", bytes + 1)
}

/// Writes the line for reading a script from stdin, up to the mark, and running the script if
/// complete.
pub(super) fn script(announce: &Sentinel) -> String {
    let mark = announce.as_str();
    // `read` takes not a byte more than its line from a pipe, so the command's own stdin is left
    // alone.
    format!(
        "__mcp=$(while IFS= read -r __mcp; do [ \"x$__mcp\" = x{mark} ] && exit 0; printf '%s\\n' \"$__mcp\"; done; exit 1) || \
         exit 1; eval \"unset __mcp; $__mcp\""
    )
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::{
        io::Write as _,
        path::Path,
        process::{Command, Stdio},
    };

    use super::*;
    use crate::framing::{
        decoder::{DecodeStep, StreamDecoder},
        exec::Input,
        stop::Process,
    };

    /// Lists the shells of this machine, each with the words for running a command.
    fn shells() -> Vec<(LoginShell, Vec<String>)> {
        let names = [
            (
                LoginShell::Posix,
                "sh bash dash ksh mksh lksh posh yash zsh busybox",
            ),
            (LoginShell::Fish, "fish"),
            (LoginShell::Csh, "tcsh"),
        ];

        let each = names
            .iter()
            .flat_map(|(family, names)| names.split(' ').map(move |name| (*family, name)));

        let there = each.filter_map(|(family, name)| {
            let path = ["/bin", "/usr/bin"]
                .map(|folder| format!("{folder}/{name}"))
                .into_iter()
                .find(|path| Path::new(path).exists())?;

            let applet = (name == "busybox").then(|| "sh".to_owned());
            Some((family, [path].into_iter().chain(applet).collect()))
        });

        there.collect()
    }

    fn mark() -> Sentinel {
        Sentinel::from_random([7; 16])
    }

    /// Runs a command with these bytes on stdin. Returns stdout, stderr, the announced process and
    /// the real one.
    fn run(
        words: &[String],
        line: &[u8],
        stdin: &[u8],
    ) -> (String, String, Option<Process>, Process) {
        let home = tempfile::tempdir().unwrap();

        let mut child = Command::new(&words[0])
            .env("HOME", home.path())
            .args(&words[1..])
            .args(["-c", std::str::from_utf8(line).unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();

        let process = Process::now(child.id());
        child.stdin.take().unwrap().write_all(stdin).unwrap();
        let output = child.wait_with_output().unwrap();
        let mut stderr = Vec::new();

        let announced = match StreamDecoder::new(&mark()).push(&output.stderr, &mut stderr) {
            DecodeStep::Complete { trailer, rest } => {
                stderr.extend(rest);
                Process::parse(std::str::from_utf8(&trailer).unwrap())
            }
            DecodeStep::More | DecodeStep::Broken => None,
        };

        let [stdout, stderr] =
            [output.stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (stdout, stderr, announced, process)
    }

    #[test]
    fn every_shell_reports_its_process_and_takes_only_its_settings() {
        let value = "it's \"q\" $HOME `id` !x \\ %s\n\n two é日🚀 \n end\\";
        for (family, words) in shells() {
            let environment = [("EMPTY", ""), ("V", value), ("W", " a  b ")];
            let command = "sh -c 'printf \"%s|\" \"$EMPTY\" \"$V\" \"$W\"; cat'";
            let script = family
                .script(command, Some("/"), &environment, &mark(), Input::Follows)
                .unwrap();
            let stdin = [script.settings.as_slice(), b"own\nno newline"].concat();
            let (stdout, stderr, announced, process) = run(&words, &script.line, &stdin);
            assert_eq!(
                (stdout, stderr),
                (format!("|{value}| a  b |own\nno newline"), String::new()),
                "{words:?}"
            );

            assert_eq!(
                announced.map(|process| process.word()),
                Some(process.word()),
                "{words:?}"
            );
        }
    }

    #[test]
    fn no_shell_runs_a_command_whose_settings_are_not_whole() {
        for (family, words) in shells() {
            let long = format!("echo it-ran; {}", ": ".repeat(9000));
            for command in ["echo it-ran", &long] {
                let script = family
                    .script(command, None, &[("V", "v")], &mark(), Input::Follows)
                    .unwrap();
                let settings = &script.settings;

                for cut in [0, 3, settings.len() / 2, settings.len() - 2] {
                    let (stdout, _, announced, process) =
                        run(&words, &script.line, &settings[..cut]);
                    assert!(!stdout.contains("it-ran"), "{words:?} {cut}: {stdout}");
                    assert_eq!(announced.unwrap().word(), process.word(), "{words:?} {cut}");
                }

                assert_eq!(
                    run(&words, &script.line, settings).0,
                    "it-ran\n",
                    "{words:?}"
                );
            }
        }
    }

    #[test]
    fn a_process_is_told_by_ps_where_there_is_no_proc() {
        for (family, words) in shells() {
            let line = family.announcement(&mark());
            let line = String::from_utf8(line)
                .unwrap()
                .replace("-r /proc/", "-r /no/such/");
            let (_, stderr, announced, process) = run(&words, line.as_bytes(), b"");
            assert_eq!(stderr, "", "{words:?}");
            let announced = announced.unwrap();
            assert_eq!(announced.pid(), process.pid());
            assert!(
                announced.word().contains("/began_"),
                "{words:?} {announced:?}"
            );
        }
    }
}
