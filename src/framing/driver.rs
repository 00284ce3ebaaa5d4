//! The driver: the functions that begin and end each command in bash. A shell gets them when it
//! starts.
//!
//! They are read before any command has run, so no alias is in them, and they are read-only. They
//! keep what they need in their arguments: a command can make any variable read-only, and a plain
//! assignment to a read-only variable gives up the whole line. An assignment in arithmetic only
//! fails.

use super::{quoting::quote, snapshot};

/// Functions of the driver, as a script for bash 3.2 and later.
///
/// - `exit` ends a command instead of the shell (not in bash's POSIX mode, where `exit` cannot be a
///   function). Bash 3.2 has no `BASHPID`.
/// - `__mcp_v STATUS` returns `STATUS`.
/// - `__mcp_b STATUS EXITED` returns `STATUS`. But if `EXITED` is not empty and there is an EXIT
///   trap, it returns 1, and leaves in `__mcp_c` the command that runs the trap once, with `STATUS`
///   in `$?`.
/// - `__mcp_g STATUS` is the ERR trap of a command under `set -e`. It ends the command where bash
///   would end itself.
/// - `__mcp_s STATUS OPTIONS MODE` begins a command: it takes back our words, and leaves `STATUS`
///   in `$?`.
/// - `__mcp_t STATUS OPTIONS MODE NONCE [again]` ends a command by printing the trailer. It returns
///   0 only if that was done. With `again`, `STATUS` is the result of the first attempt, and
///   nothing is done if that succeeded. A trailer is written at once and has no line end in it, so
///   that the output of a process in the background cannot come between. If there are too few
///   descriptors for the next command's redirections, this is the last trailer; a subshell writes
///   it, which needs none. The children of the shell are those that the system lists, because
///   `jobs` does not know disowned ones.
/// - `__mcp_e STATUS NONCE` and `__mcp_f STATUS NONCE` print a trailer on stdout and stderr if
///   `STATUS` says that none was printed. They use an expansion that fails, because its message
///   needs no builtin. The words before it are bash's.
/// - `__mcp_z STATUS` ends the shell if `STATUS` says that no trailer was printed.
///
/// `OPTIONS` is `:$BASHOPTS:` (bash before 4.1 has none). `MODE` is not empty if `POSIXLY_CORRECT`
/// is set.
pub(super) const FUNCTIONS: &str = r#"
exit() {
  (builtin exit "$@") && ((1))
  builtin set -- "$?"
  [[ ${BASHPID-} = "$$" || ${BASHPID-}${BASH_SUBSHELL-} = 0 ]] || builtin exit "$1"
  ((__mcp_x=$1,1))
  builtin kill -INT "$$"
}
__mcp_v() {
  builtin return "$1"
}
__mcp_b() {
  builtin unset __mcp_c
  [[ -z $2 ]] || builtin set -- "$1" "$(builtin trap -p EXIT)"
  if [[ $2 = 'trap -- '* ]]; then
    builtin set -- "$1" "builtin eval ${2:8:${#2} - 13}" '||'
    [[ $1 != 0 ]] || builtin set -- "$1" "$2" '&&'
    builtin printf -v __mcp_c '\\builtin trap - EXIT; \\__mcp_v %s %s \\%s <&@P@0 >&@P@1 2>&@P@2' "$1" "$3" "$2"
    builtin return 1
  fi
  builtin return "$1"
}
__mcp_g() {
  if [[ $- = *e* && ( ${BASHPID-} = "$$" || ${BASHPID-}${BASH_SUBSHELL-} = 0 ) ]]; then
    ((__mcp_x=$1,1))
    builtin kill -INT "$$"
  fi
}
__mcp_s() {
  ((__mcp_r=0))
  @RECLAIM@
  builtin unset __mcp_q __mcp_x
  builtin return "$1"
}
__mcp_t() {
  if [[ $1${5-} = 0again ]]; then ((1)); else
  ((__mcp_r=1))
  [[ -n ${5-} ]] || ((__mcp_q=$1))
  @RECLAIM@
  builtin unset __mcp_x
  builtin unset __mcp_c
  builtin read -r __mcp_c </proc/$$/task/$$/children
  builtin eval '\builtin set -- "$1" "$2" "$3" "$4" "${__mcp_c-$(\builtin jobs -p)}" genuine "${5-}"'
  [[ -z ${__mcp_x-} && ${6-} = genuine ]] && for __mcp_v in; do ((1)); done <&@P@0 >&@P@1 2>&@P@2 &&
  if [[ $PWD = *$'\n'* ]] && builtin printf -v __mcp_c %q "$PWD"; then
    builtin printf '\036%s:%s:%s:%s\036%s;' "$4" "$1" "${5//$'\n'/ }" "$__mcp_c" "$4" >&@P@1
  else
    builtin printf '\036%s:%s:%s:%s\036%s;' "$4" "$1" "${5//$'\n'/ }" "$PWD" "$4" >&@P@1
  fi && builtin printf '\036%s:\036%s;' "$4" "$4" >&@P@2 ||
  if [[ ${7-} = again && ${6-} = genuine ]]; then
    (builtin printf '\036%s:%s:!:%s\036%s;' "$4" "${__mcp_q-1}" "$PWD" "$4") >&@P@1 &&
    (builtin printf '\036%s:\036%s;' "$4" "$4") >&@P@2
  else ((0)); fi
  fi
}
__mcp_e() {
  if [[ $1 = 0 ]]; then ((1)); else ((${99999999?$'\036'$2:${__mcp_q-1}:!:$PWD$'\036'$2;})) 2>&@P@1; fi
}
__mcp_f() {
  if [[ $1 = 0 ]]; then ((1)); else ((${99999999?$'\036'$2:$'\036'$2;})) 2>&@P@2; fi
}
__mcp_z() {
  if [[ $1 != 0 ]]; then builtin exit 1; command exit 1; builtin kill -KILL "$$"; fi
}
readonly -f __mcp_b __mcp_e __mcp_f __mcp_g __mcp_s __mcp_t __mcp_v __mcp_z
trap '((${__mcp_r:-0} == 1)) || \builtin kill -INT "$$"' URG
set +e
set +o history
set +H
"#;

/// Commands for taking back the words of the driver, in case a command has defined functions of
/// these names or disabled the builtins.
///
/// The assignment switches bash to its POSIX mode, in which the special builtin `unset` cannot be a
/// function. Afterwards the mode is as before, and so are the options that the mode switches on.
/// `jobs`, `printf` and the like need no `unset -f`: they are called through `builtin`.
const RECLAIM: &str = r"((${POSIXLY_CORRECT+0}${POSIXLY_CORRECT-POSIXLY_CORRECT=1}))
  \unset -f unset eval builtin command
  \builtin enable @WORDS@ || \command enable @WORDS@ || \enable @WORDS@
  [[ -n $3 ]] || builtin unset POSIXLY_CORRECT
  [[ $2 = :: || $2 = *:expand_aliases:* ]] || builtin shopt -u expand_aliases
  [[ $2 = *:inherit_errexit:* ]] || builtin shopt -u inherit_errexit";

/// Builtins called by the driver.
const WORDS: &str = "builtin command enable eval exit jobs kill printf read return set shopt unset";

/// Script for choosing the descriptors and moving the streams there. Its first parameter is
/// [`MOVE`] with the functions, and
/// [`ShellDescriptors::Above`](super::shell_kind::ShellDescriptors::Above) describes the result.
///
/// 230 to 239 are below the number of files that every system lets a process open (256 on macOS,
/// 1024 on Linux). They avoid 255, which bash uses itself, 200, which is in the manual page of
/// flock, and the numbers from 10 up, which `{name}` in a redirection takes. Where no more than 255
/// files may be open, the numbers are 20 to 29.
///
/// A descriptor that bash sets aside for a redirection is closed in every program that is run, and
/// so is a copy of it. There is no other way to have such a descriptor. It is set aside in the
/// first free place above the descriptor that is copied, which is 4.
const PLACE: &str = r#"
__mcp_p=23
[[ $(ulimit -Sn) = unlimited || $(ulimit -Sn) -ge 256 ]] || ulimit -Sn 256 || __mcp_p=2
eval "${1//@P@/$__mcp_p}"
"#;

/// Redirections for moving the streams to the chosen descriptors.
const MOVE: &str = r"
exec @P@0>&- @P@1>&- @P@2>&- @P@3>&- @P@4>&1 @P@5>&- @P@6>&-
{ exec @P@1>&@P@5; } >&@P@4
{ exec @P@2>&@P@5; } 2>&@P@4
exec 1<>/dev/null 2>&1
{ exec @P@0>&@P@5; } >&@P@4
exec @P@4>&-
__mcp_o='>&@P@1' __mcp_e='>&@P@2'
";

/// Writes the script for making a bash ready: streams, functions, and the function for printing a
/// snapshot.
pub(super) fn start() -> String {
    let functions = FUNCTIONS
        .replace("@RECLAIM@", RECLAIM)
        .replace("@WORDS@", WORDS)
        + &snapshot::function();
    let mut script = b"set -- ".to_vec();
    quote(&mut script, (MOVE.to_owned() + &functions).as_bytes());
    String::from_utf8_lossy(&script).into_owned() + PLACE + "set --\n"
}
