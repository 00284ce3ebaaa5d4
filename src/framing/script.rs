//! What is written to the shell: how it is started, and the script around one command.
//!
//! The shell reads its script from the channel and runs each command through `eval` with the command's own stdin, so
//! that nothing a command does can eat the script. The driver's own stdout and stderr are `/dev/null`; file descriptors
//! 8 and 9 keep the channel's two streams (single digits, because dash cannot redirect higher ones).

use super::{driver, sentinel::Sentinel};

/// The command that starts the shell on an exec channel: bash where there is one, else `sh`.
///
/// One line with a single pair of single quotes and neither `!` nor a backslash, so that sh, bash, zsh, fish and csh as
/// login shells all read it the same. `-i` without a terminal gives no prompt, no startup files and no job control,
/// but lets SIGINT and a failed expansion abort a command without ending the shell.
pub const LAUNCH: &str = "exec /bin/sh -c 'if command -v bash >/dev/null 2>&1; then \
     exec bash --noprofile --norc --noediting -i; else exec sh -i; fi'";

/// Makes a shell that is not bash give up its command on SIGURG: a trap runs as soon as a child has ended, in whatever
/// way, whereas bash, for which [`driver`] has the same, heeds a SIGINT of its own only if the last child died of one too.
/// Where the trap is taken away, SIGURG does nothing. Between two commands, when `__mcp_r` is set, there is nothing to give
/// up.
const GIVE_UP: &str = "\\command [ -n \"${__mcp_r-}\" ] || \\command kill -INT \"$$\"";

/// What [`driver`]'s functions want to know of bash's state before they change it.
const STATE: &str = "\":${BASHOPTS-}:\" \"${POSIXLY_CORRECT+y}\"";

/// What the shell turned out to be, from the first frame's trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShellKind {
    /// GNU bash.
    Bash,
    /// Any other POSIX shell. After an error it throws away input that it has already read, so a frame's second line is
    /// sent only when the first has begun.
    Posix,
}

/// What a command reads from its standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin<'a> {
    /// `/dev/null`.
    Null,
    /// These bytes, then end of file. A shell that is not bash ends the last line where it has no end.
    Bytes(&'a [u8]),
}

/// Why a command cannot be written as a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// Neither a shell's command nor a shell's variable can hold a NUL byte.
    #[error("a NUL byte cannot be part of a shell command")]
    NulInCommand,
    /// The same for the stdin of a shell that is not bash, which reads it from a here-document.
    #[error("a NUL byte cannot be part of stdin for this shell, which is not bash")]
    NulInStdin,
}

/// The lines that make a fresh shell ready: streams kept aside, prompts and history off, `exit` made to end a command
/// instead of the shell, then a trailer whose status is the shell's process id and whose directory is its version.
#[must_use]
pub fn start(sentinel: &Sentinel) -> Vec<u8> {
    let mut lines = format!(
        "exec 8>&1 9>&2 >/dev/null 2>&1; PS1= PS2= PS4='+ '; unset PROMPT_COMMAND HISTFILE ENV; \
         __mcp_s() {{ return \"$1\"; }}; trap '{GIVE_UP}' URG; if [ -n \"$BASH_VERSION\" ]; then eval "
    )
    .into_bytes();
    quote(&mut lines, driver::functions().as_bytes());
    lines.extend_from_slice(
        format!(
            "; fi\ncommand printf '\\036%s:%s::%s\\036%s;' {0} \"$$\" \"${{BASH_VERSION:+bash}}\" {0} >&8; \
             command printf '\\036%s:\\036%s;' {0} {0} >&9\n",
            sentinel.as_str()
        )
        .as_bytes(),
    );
    lines
}

/// The first line (or lines) of a frame: the command itself, run by `eval`.
///
/// `previous_status` is what `$?` shall be when the command starts (0–255). With `go`, that sentinel's empty trailer
/// is printed on stdout first: the sign that the line is being run.
///
/// # Errors
/// A NUL byte in the command, or in the stdin of a shell that is not bash.
pub fn command(
    kind: ShellKind,
    command: &[u8],
    stdin: Stdin<'_>,
    previous_status: u8,
    go: Option<&Sentinel>,
    delimiter: &Sentinel,
) -> Result<Vec<u8>, ScriptError> {
    if command.contains(&0) {
        return Err(ScriptError::NulInCommand);
    }
    let mut line = Vec::with_capacity(command.len() + 512);
    if let Some(go) = go {
        line.extend_from_slice(format!("\\command printf '\\036%s:\\036%s;' {0} {0} >&8; ", go.as_str()).as_bytes());
    }
    let begin = match kind {
        // Behind `&&` and `||` a status that is not 0 does not end a shell with `set -e`; the command behind them can.
        ShellKind::Bash => {
            format!("\\__mcp_s {previous_status} {STATE} {} \\eval ", if previous_status == 0 { "&&" } else { "||" })
        }
        ShellKind::Posix => format!("\\command unset __mcp_r; __mcp_s {previous_status}; \\eval "),
    };
    line.extend_from_slice(begin.as_bytes());
    quote(&mut line, command);
    match (kind, stdin) {
        (_, Stdin::Null | Stdin::Bytes(b"")) => line.extend_from_slice(b" </dev/null >&8 2>&9 8>&- 9>&-\n"),
        (ShellKind::Bash, Stdin::Bytes(bytes)) => {
            line.extend_from_slice(b" < <(\\command printf %b ");
            quote(&mut line, &printf_escapes(bytes));
            line.extend_from_slice(b") >&8 2>&9 8>&- 9>&-\n");
        }
        (ShellKind::Posix, Stdin::Bytes(bytes)) => {
            if bytes.contains(&0) {
                return Err(ScriptError::NulInStdin);
            }
            let end = delimiter.as_str();
            line.extend_from_slice(format!(" <<'{end}' >&8 2>&9 8>&- 9>&-\n").as_bytes());
            line.extend_from_slice(bytes);
            if !bytes.ends_with(b"\n") {
                line.push(b'\n');
            }
            line.extend_from_slice(format!("{end}\n").as_bytes());
        }
    }
    Ok(line)
}

/// The last lines of a frame: status, background jobs and directory on stdout, the bare mark on stderr.
///
/// They stand apart from the command, so that one that was aborted by SIGINT still reports. In bash four more lines
/// follow, for when the first could not: the same again, then a trailer that needs no builtin (see
/// [`Trailer::crippled`](super::decoder::Trailer::crippled)), then the end of the shell.
#[must_use]
pub fn trailer(kind: ShellKind, sentinel: &Sentinel) -> Vec<u8> {
    let nonce = sentinel.as_str();
    match kind {
        ShellKind::Bash => format!(
            "\\__mcp_t \"${{__mcp_x-$?}}\" {STATE} {nonce} && ((1))\n\\__mcp_t \"$?\" {STATE} {nonce} again && ((1))\n\
             \\__mcp_e \"$?\" {nonce} && ((1))\n\\__mcp_f \"$?\" {nonce} && ((1))\n\\__mcp_z \"$?\" && ((1))\n"
        )
        .into_bytes(),
        ShellKind::Posix => {
            let mut line = b"\\eval ".to_vec();
            quote(
                &mut line,
                format!("\\unset -f command; {CHILDREN}\\command printf '\\036%s:%s:%s:%s\\036%s;' {nonce} ")
                    .as_bytes(),
            );
            line.extend_from_slice(b"\"$?\"");
            let rest = format!(
                " \"${{__mcp_c-$(\\command jobs -p)}}\" \"$PWD\" {nonce} >&8; \
                 \\command printf '\\036%s:\\036%s;' {nonce} {nonce} >&9; __mcp_r=1"
            );
            quote(&mut line, rest.as_bytes());
            line.push(b'\n');
            line
        }
    }
}

/// Reads the shell's children into `__mcp_c`, where the system lists them: `jobs` does not know those that were disowned.
/// (Behind `||` nothing is lost under `set -e`.)
const CHILDREN: &str = "\\command unset __mcp_c || \\command :; \
     \\command read -r __mcp_c </proc/$$/task/$$/children || \\command :; ";

/// `cd` to where the last shell of this name was, for one that had to be started anew.
#[must_use]
pub fn change_directory(directory: &[u8]) -> Vec<u8> {
    let mut line = b"cd -- ".to_vec();
    quote(&mut line, directory);
    line
}

/// Single quotes, in which a POSIX shell leaves every byte but the quote itself alone.
pub fn quote(line: &mut Vec<u8>, text: &[u8]) {
    line.push(b'\'');
    for &byte in text {
        if byte == b'\'' {
            line.extend_from_slice(b"'\\''");
        } else {
            line.push(byte);
        }
    }
    line.push(b'\'');
}

/// What `printf %b` turns back into these bytes, NUL among them.
fn printf_escapes(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len() + 16);
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

    #[test]
    fn the_launch_line_reads_the_same_in_every_login_shell() {
        assert_eq!(LAUNCH.matches('\'').count(), 2);
        assert!(!LAUNCH.contains(['!', '\\', '\n']));
    }

    #[test]
    fn a_command_is_one_quoted_word_of_an_eval() {
        let line = command(ShellKind::Posix, b"echo 'a'", Stdin::Null, 7, None, &sentinel()).unwrap();
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "\\command unset __mcp_r; __mcp_s 7; \\eval 'echo '\\''a'\\''' </dev/null >&8 2>&9 8>&- 9>&-\n"
        );
    }

    #[test]
    fn stdin_survives_printf_byte_by_byte() {
        assert_eq!(printf_escapes(b"a\\n\x007'"), b"a\\\\n\\00007'");
    }

    #[test]
    fn what_a_shell_cannot_hold_is_refused() {
        let refused = |kind, text: &[u8], stdin| command(kind, text, stdin, 0, None, &sentinel()).unwrap_err();
        assert_eq!(refused(ShellKind::Bash, b"a\0b", Stdin::Null), ScriptError::NulInCommand);
        assert_eq!(refused(ShellKind::Posix, b"a", Stdin::Bytes(b"\0")), ScriptError::NulInStdin);
        assert!(command(ShellKind::Bash, b"a", Stdin::Bytes(b"\0"), 0, None, &sentinel()).is_ok());
    }

    #[test]
    fn the_trailer_of_a_shell_that_throws_input_away_is_one_line() {
        let text = String::from_utf8(trailer(ShellKind::Posix, &sentinel())).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        assert!(text.contains(">&8") && text.contains(">&9"));
    }
}
