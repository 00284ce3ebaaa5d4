//! What reads a command's environment, and its script if that is long, from stdin.

use super::{ExecScriptError, LoginShell, READY};
use crate::framing::sentinel::Sentinel;

/// What is around the announcement, and what is read.
pub(super) struct SettingsLoader {
    /// Comes before the announcement.
    pub(super) before: String,
    /// Comes after it. The shell ends where stdin does too early.
    pub(super) after: String,
    /// What is read.
    pub(super) settings: Vec<u8>,
}

/// Ends csh, which would go on with the next line after its own `exit`.
const END_CSH: &str = "exec sh -c 'exit 1'";

impl LoginShell {
    /// What sets the environment from stdin, and takes not a byte more than that. On a terminal nothing is echoed or
    /// looked at meanwhile, and afterwards a mark says that the terminal is what it was.
    pub(super) fn load(
        self,
        environment: &[(&str, &str)],
        announce: &Sentinel,
        terminal: bool,
    ) -> Result<SettingsLoader, ExecScriptError> {
        let mark = announce.as_str();
        let mut settings = Vec::new();
        let mut csh = String::new();

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
                Self::Other => return Err(ExecScriptError::UnknownShell),
            }
        }

        let end = if self == Self::Fish && terminal {
            format!("set __mcp {mark}\n")
        } else {
            format!("{mark}\n")
        };

        settings.extend_from_slice(end.as_bytes());
        let count = settings.len();

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
            Self::Other => String::new(),
        };

        if !terminal {
            return Ok(SettingsLoader {
                before: String::new(),
                after: read,
                settings,
            });
        }

        // Where the server gave no terminal, nothing is echoed. Where there is one that cannot be silenced, nothing is read.
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
            Self::Other => ("", ""),
        };

        let ready = match self {
            Self::Csh => format!("sh -c 'printf \"\\036%s:{READY}\\036%s;\" {mark} {mark} >&2'\n"),
            Self::Posix => format!("printf '\\036%s:{READY}\\036%s;' {mark} {mark} >&2; "),
            _ => format!("printf '\\036%s:{READY}\\036%s;' {mark} {mark} >&2\n"),
        };

        Ok(SettingsLoader {
            before: before.to_owned(),
            after: format!("{read}{back}{ready}"),
            settings,
        })
    }

    /// A value may have several lines, and what reads it takes one.
    fn export_in_a_line(
        self,
        settings: &mut Vec<u8>,
        name: &str,
        value: &str,
    ) -> Result<(), ExecScriptError> {
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

/// Reads a line of so many bytes in csh, whose own `$<` takes more than a line where it meets bytes that are no text.
fn csh_line(bytes: usize) -> String {
    format!("`sh -c 'exec dd bs=1 count={} 2>/dev/null'`", bytes + 1)
}

/// Reads a script from stdin, up to the mark, and runs it if it is whole.
pub(super) fn script(announce: &Sentinel) -> String {
    let mark = announce.as_str();
    // `read` takes not a byte more than its line from a pipe: the rest is the command's own stdin.
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

    /// The shells of this machine, each with the words that run a command in it.
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

    /// What a command prints on stdout, with these bytes on stdin, and the process that it announces on stderr.
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
    fn every_shell_tells_its_process_takes_its_settings_and_leaves_the_rest() {
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
