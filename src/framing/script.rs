//! Scripts written to the shell: the start, and the lines around each command.
//!
//! The shell reads its script from the channel. It runs each command through `eval` with the
//! command's own stdin, so that no command can read the script. Between two commands the driver's
//! stderr is `/dev/null`, and the channel's streams are kept where [`ShellDescriptors`] says.

use super::{
    decoder::Trailer,
    driver,
    exec::LSTART,
    mentioned::Mentioned,
    quoting::quote,
    sentinel::Sentinel,
    shell_kind::{ShellDescriptors, ShellKind},
    stop::Process,
};

/// Command for starting the shell: bash if installed, else `sh`.
///
/// `-i` without a terminal gives no prompt, no startup files and no job control. It lets SIGINT and
/// a failed expansion abort a command without ending the shell.
pub const START_SHELL: &str = "if command -v bash >/dev/null 2>&1; then \
     exec bash --noprofile --norc --noediting -i; else exec sh -i; fi";

/// Writes the command line for starting the shell on an exec channel.
///
/// It is one line with whole pairs of single quotes and neither `!` nor a backslash. So sh, bash,
/// zsh, fish and csh as login shells all read it the same.
#[must_use]
pub fn launch() -> String {
    in_any_shell(START_SHELL)
}

/// Writes a line by which any login shell runs a script of `sh`. The script holds no single quote.
///
/// A restricted shell such as rbash knows no `exec` and no path, but may know `sh`.
pub(super) fn in_any_shell(script: &str) -> String {
    format!("exec /bin/sh -c '{script}'; sh -c '{script}'")
}

/// Trap by which a shell other than bash gives up a command on SIGURG. A trap runs as soon as a
/// child has ended in any way. bash has the same trap in [`driver`], because it heeds a SIGINT of
/// its own only if the last child died of SIGINT too. If a command removes the trap, SIGURG does
/// nothing. Between two commands, when `__mcp_r` is set, there is nothing to give up.
const GIVE_UP: &str = "\\command [ -n \"${__mcp_r-}\" ] || \\command kill -INT \"$$\"";

/// Line after which the next line of bash's script has the number 1. It is the command's first line
/// in `LINENO`, in the output of `caller` and in warnings. An assignment to `LINENO` lasts only if
/// its command is given up, and failing arithmetic gives it up, also under `set -e`.
const FIRST_LINE: &str = "\\: $((LINENO=0,1/0))";

/// Line for setting an ERR trap, which ends the command where an errexit would end bash. Both are
/// due at the same places, the trap first, if it is set for functions too. A command's own ERR trap
/// is left alone, and an errexit then ends bash.
const GUARD: &str = "[[ -n $(\\builtin trap -p ERR) ]] || { \\builtin trap '\\__mcp_g \"$?\"' ERR && \\builtin set -E; }\n";
/// Line for removing the trap of [`GUARD`], unless the command has set another.
const GUARD_OFF: &str = "[[ $(\\builtin trap -p ERR) != *__mcp_g* ]] || \\builtin trap - ERR\n";
/// Line for removing the option of [`GUARD`], unless a command may have wanted the option.
const ERRTRACE_OFF: &str = "\\builtin set +E || ((1))\n";

/// Line for running the command's EXIT trap after a call of `exit`. Otherwise the line leaves `$?`
/// unchanged.
const EXIT_TRAP: &str = "\\__mcp_b \"${__mcp_x-$?}\" \"${__mcp_x+y}\" || \\eval \"${__mcp_c-\\\\__mcp_v $?}\" && ((1))\n";

/// State of bash which the functions of [`driver`] need before any change.
const STATE: &str = "\":${BASHOPTS-}:\" \"${POSIXLY_CORRECT+y}\"";

/// Known traits of the shell for a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShellTraits {
    /// Kind of the shell.
    pub kind: ShellKind,
    /// Descriptors where the shell keeps the channel's streams.
    pub streams: ShellDescriptors,
    /// Features mentioned by the shell's commands, including the present command.
    pub mentioned: Mentioned,
}

/// Standard input of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameStdin<'a> {
    /// `/dev/null`.
    Null,
    /// These bytes, then end of file. A shell other than bash adds a line end if the last line
    /// lacks it.
    Bytes(&'a [u8]),
}

/// Reason why a command cannot be written as a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// The command holds a NUL byte, which neither a shell's command nor a variable can hold.
    #[error("a NUL byte cannot be part of a shell command")]
    NulInCommand,
    /// The stdin holds a NUL byte, which the here-document of a shell other than bash cannot hold.
    #[error("a NUL byte cannot be part of stdin for this shell, which is not bash")]
    NulInStdin,
}

/// Writes the lines for making a fresh shell ready. They keep the streams aside, switch off prompts
/// and history, and make `exit` end a command instead of the shell. Then they print a trailer for
/// [`started`], whose only job is the number for [`ShellDescriptors::from_number`].
#[must_use]
pub fn start(sentinel: &Sentinel) -> Vec<u8> {
    let mut lines = format!(
        "PS1= PS2= PS4='+ '; unset PROMPT_COMMAND HISTFILE ENV; __mcp_s() {{ return \"$1\"; }}; trap '{GIVE_UP}' URG; \
         if [ -n \"$BASH_VERSION\" ]; then eval "
    )
    .into_bytes();

    // The driver is quoted as a whole: another shell must be able to read this line, although it
    // could not parse the functions.
    quote(&mut lines, driver::start().as_bytes());

    // The start time goes into the trailer, because the system may give the process id to another
    // process later.
    lines.extend_from_slice(
        format!(
            "; {PLACE}fi\nif [ -r /proc/$$/stat ]; then IFS= read -r __mcp_b </proc/$$/stat; else \
             __mcp_b=$(set -- $({LSTART} $$); IFS=_; echo \"began_$*\"); fi; \
             eval \"command printf '\\036%s:%s:%s:%s:%s\\036%s;' {0} $$ $__mcp_p '${{BASH_VERSION:+bash}}' \\\"\\$__mcp_b\\\" {0} \
             $__mcp_o; command printf '\\036%s:\\036%s;' {0} {0} $__mcp_e\"; unset __mcp_b __mcp_p __mcp_o __mcp_e\n",
            sentinel.as_str()
        )
        .as_bytes(),
    );

    lines
}

/// Branch of the start script for a shell other than bash, which looks for a place for the streams.
/// A number of several digits is tried in a subshell, which ends if the number is taken for the
/// name of a program or is too high. Most shells print their prompts on stderr, but busybox prints
/// on stdout.
const PLACE: &str = "elif (eval 'exec 239>&2') || (eval 'exec 29>&2'); then __mcp_p=23; (eval 'exec 239>&2') || __mcp_p=2; \
    eval \"exec ${__mcp_p}1>&1 ${__mcp_p}2>&2 >/dev/null 2>&1\"; __mcp_o=\">&${__mcp_p}1\" __mcp_e=\">&${__mcp_p}2\"; \
    else exec 7>&2 2>/dev/null; __mcp_p=0 __mcp_o= __mcp_e='>&7'; ";

/// Reads the trailer after [`start`]: the status is the shell's process id, and the directory names
/// the kind of shell and the start time. `None` if there is no start time.
#[must_use]
pub fn started(trailer: &Trailer) -> Option<(ShellKind, Process)> {
    let text = String::from_utf8_lossy(&trailer.directory);
    let (name, born) = text.split_once(':')?;
    let kind = if name == "bash" {
        ShellKind::Bash
    } else {
        ShellKind::Posix
    };

    Some((kind, Process::parse(&format!("{} {born}", trailer.status))?))
}

/// Writes the first lines of a frame: the command itself, run by `eval`.
///
/// `previous_status` is the `$?` at the beginning of the command (0–255). With `go`, an empty
/// trailer of that sentinel is printed on stdout first, as a sign that the line is being run. The
/// features mentioned decide if an errexit is made to end the command instead of bash.
///
/// # Errors
/// Fails for a NUL byte in the command, or in the stdin of a shell other than bash.
pub fn command(
    known: ShellTraits,
    command: &[u8],
    stdin: FrameStdin<'_>,
    previous_status: u8,
    go: Option<&Sentinel>,
    delimiter: &Sentinel,
) -> Result<Vec<u8>, ScriptError> {
    let ShellTraits {
        kind,
        streams,
        mentioned,
    } = known;

    // A NUL byte would cut the command off, and the rest would be missing without an error.
    if command.contains(&0) {
        return Err(ScriptError::NulInCommand);
    }

    let mut line = Vec::with_capacity(command.len() + 512);

    if let Some(go) = go {
        let out = streams.stdout();

        line.extend_from_slice(
            format!(
                "\\command printf '\\036%s:\\036%s;' {0} {0} {out}; ",
                go.as_str()
            )
            .as_bytes(),
        );
    }

    // Only where needed: the guard would cost every other frame a millisecond.
    if mentioned.options && kind == ShellKind::Bash {
        line.extend_from_slice(GUARD.as_bytes());
    }

    let begin = match kind {
        // After `&&` and `||` a status that is not 0 does not end a shell with `set -e`, but the
        // command itself can. The word before the command makes bash take the line's number before
        // it reads the command, however long.
        ShellKind::Bash => {
            let then = if previous_status == 0 { "&&" } else { "||" };
            format!("{FIRST_LINE}\n\\__mcp_s {previous_status} {STATE} {then} \\eval -- ")
        }
        ShellKind::Posix => format!("\\command unset __mcp_r; __mcp_s {previous_status}; \\eval "),
    };

    line.extend_from_slice(begin.as_bytes());
    quote(&mut line, command);
    let around = streams.of_a_command();

    // bash reads stdin from a process substitution, which can pass NUL bytes. The here-document of
    // other shells cannot.
    match (streams, stdin) {
        (ShellDescriptors::Above(prefix), FrameStdin::Null | FrameStdin::Bytes(b"")) => {
            line.extend_from_slice(format!(" <&{prefix}0 {around}\n").as_bytes());
        }
        (ShellDescriptors::Above(prefix), FrameStdin::Bytes(bytes)) => {
            line.extend_from_slice(format!(" {prefix}3< <(\\command printf %b ").as_bytes());
            quote(&mut line, &printf_escapes(bytes));
            line.extend_from_slice(format!(") <&{prefix}3 {around}\n").as_bytes());
        }
        (_, FrameStdin::Null | FrameStdin::Bytes(b"")) => {
            line.extend_from_slice(format!(" {around} </dev/null\n").as_bytes());
        }
        (_, FrameStdin::Bytes(bytes)) => {
            if bytes.contains(&0) {
                return Err(ScriptError::NulInStdin);
            }

            let end = delimiter.as_str();
            line.extend_from_slice(format!(" {around} <<'{end}'\n").as_bytes());
            line.extend_from_slice(bytes);
            if !bytes.ends_with(b"\n") {
                line.push(b'\n');
            }

            line.extend_from_slice(format!("{end}\n").as_bytes());
        }
    }

    Ok(line)
}

/// Writes the last lines of a frame: status, background jobs and directory on stdout, the bare mark
/// on stderr.
///
/// They stand apart from the command, so that an aborted command still reports. In bash more lines
/// follow, for the case that the first could not print. They try the same again, then print a
/// trailer that needs no builtin (see [`Trailer::crippled`](super::decoder::Trailer::crippled)),
/// then end the shell.
#[must_use]
pub fn trailer(known: ShellTraits, sentinel: &Sentinel) -> Vec<u8> {
    let ShellTraits {
        kind,
        streams,
        mentioned,
    } = known;

    let nonce = sentinel.as_str();

    match kind {
        ShellKind::Bash => format!(
            "{}\\__mcp_t \"${{__mcp_x-$?}}\" {STATE} {nonce} && ((1))\n\\__mcp_t \"$?\" {STATE} {nonce} again && ((1))\n\
             \\__mcp_e \"$?\" {nonce} && ((1))\n\\__mcp_f \"$?\" {nonce} && ((1))\n\\__mcp_z \"$?\" && ((1))\n{}{}",
            if mentioned.traps { EXIT_TRAP } else { "" },
            if mentioned.options { GUARD_OFF } else { "" },
            if mentioned.options && !mentioned.errtrace { ERRTRACE_OFF } else { "" },
        )
        .into_bytes(),
        ShellKind::Posix => {
            // `command` may be a function by now, so it is taken back first. The `eval` makes all
            // of it a single line.
            let mut line = b"\\eval ".to_vec();
            quote(
                &mut line,
                format!("\\unset -f command; {CHILDREN}\\command printf '\\036%s:%s:%s:%s\\036%s;' {nonce} ")
                    .as_bytes(),
            );

            // Outside of the quotes, so that `$?` is expanded before anything in the `eval` changes
            // it.
            line.extend_from_slice(b"\"$?\"");

            let rest = format!(
                " \"${{__mcp_c-$(\\command jobs -p)}}\" \"$PWD\" {nonce} {}; \
                 \\command printf '\\036%s:\\036%s;' {nonce} {nonce} {}; __mcp_r=1",
                streams.stdout(),
                streams.stderr()
            );

            quote(&mut line, rest.as_bytes());
            line.push(b'\n');

            line
        }
    }
}

/// Words for reading the shell's children into `__mcp_c`, if the system lists children. `jobs` does
/// not know disowned ones. After `||` nothing is lost under `set -e`.
const CHILDREN: &str = "\\command unset __mcp_c || \\command :; \
     \\command read -r __mcp_c </proc/$$/task/$$/children || \\command :; ";

/// Writes the `cd` to the last directory of an earlier shell.
#[must_use]
pub fn change_directory(directory: &[u8]) -> Vec<u8> {
    let mut line = b"cd -- ".to_vec();
    quote(&mut line, directory);
    line
}

/// Returns the text for `printf %b` to turn back into these bytes, NUL included.
fn printf_escapes(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len() + 16);
    // All four digits are written, so that a digit after them does not count as part of the escape.
    for &byte in bytes {
        match byte {
            0 => text.extend_from_slice(b"\\0000"),
            b'\\' => text.extend_from_slice(b"\\\\"),
            _ => text.push(byte),
        }
    }

    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentinel() -> Sentinel {
        Sentinel::from_random([0x11; 16])
    }

    fn known(kind: ShellKind, streams: ShellDescriptors) -> ShellTraits {
        ShellTraits {
            kind,
            streams,
            mentioned: Mentioned::default(),
        }
    }

    #[test]
    fn the_launch_line_reads_the_same_in_every_login_shell() {
        assert_eq!(launch().matches('\'').count(), 4);
        assert!(!launch().contains(['!', '\\', '\n']));
    }

    #[test]
    fn a_command_is_one_quoted_word_of_an_eval_with_its_descriptors() {
        let line = |kind, streams| {
            let line = command(
                known(kind, streams),
                b"echo 'a'",
                FrameStdin::Null,
                7,
                None,
                &sentinel(),
            )
            .unwrap();

            String::from_utf8(line).unwrap()
        };

        let posix = "\\command unset __mcp_r; __mcp_s 7; \\eval 'echo '\\''a'\\''' ";
        assert_eq!(
            line(ShellKind::Posix, ShellDescriptors::Digit),
            format!("{posix}2>&7 7>&- <&1 >&0 </dev/null\n")
        );

        let high = line(ShellKind::Posix, ShellDescriptors::High(23));
        assert_eq!(
            high,
            format!("{posix}>&231 2>&232 231>&- 232>&- </dev/null\n")
        );

        let bash = line(ShellKind::Bash, ShellDescriptors::Above(23));
        assert!(
            bash.ends_with(" || \\eval -- 'echo '\\''a'\\''' <&230 >&231 2>&232\n"),
            "{bash}"
        );
    }

    #[test]
    fn stdin_survives_printf_byte_by_byte() {
        assert_eq!(printf_escapes(b"a\\n\x007'"), b"a\\\\n\\00007'");
    }

    #[test]
    fn what_a_shell_cannot_hold_is_refused() {
        let refused = |kind, text: &[u8], stdin| {
            command(
                known(kind, ShellDescriptors::Digit),
                text,
                stdin,
                0,
                None,
                &sentinel(),
            )
            .unwrap_err()
        };

        assert_eq!(
            refused(ShellKind::Bash, b"a\0b", FrameStdin::Null),
            ScriptError::NulInCommand
        );

        assert_eq!(
            refused(ShellKind::Posix, b"a", FrameStdin::Bytes(b"\0")),
            ScriptError::NulInStdin
        );

        let bash = command(
            known(ShellKind::Bash, ShellDescriptors::Above(2)),
            b"a",
            FrameStdin::Bytes(b"\0"),
            0,
            None,
            &sentinel(),
        );

        assert!(bash.is_ok());
    }

    #[test]
    fn the_trailer_of_a_shell_that_throws_input_away_is_one_line() {
        let text = String::from_utf8(trailer(
            known(ShellKind::Posix, ShellDescriptors::Digit),
            &sentinel(),
        ))
        .unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        assert!(text.contains(">&7"));
    }
}
