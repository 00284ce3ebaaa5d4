//! What the driver defines in a bash when it starts: the functions that begin and end each command.
//!
//! They are read before any command has run, so no alias is in them, and they are read-only. They keep what they need in
//! their arguments: a command can make any variable read-only, and a plain assignment to one gives up the whole line.
//! An assignment in arithmetic only fails.

use super::{quoting::quote, snapshot};

/// The functions, as a script for bash 3.2 and later.
///
/// - `exit` ends a command instead of the shell (not in bash's POSIX mode, where `exit` cannot be a function). Bash 3.2
///   has no `BASHPID`.
/// - `__mcp_b STATUS EXITED` returns `STATUS`; but if `EXITED` is not empty and there is an EXIT trap, 1, and leaves in
///   `__mcp_c` what runs it once, with `STATUS` in `$?`, which is `__mcp_v`'s business.
/// - `__mcp_g STATUS` is the ERR trap of a command under `set -e`: it ends the command, where bash would end itself.
/// - `__mcp_s STATUS OPTIONS MODE` begins a command: takes back our words, and leaves `STATUS` in `$?`.
/// - `__mcp_t STATUS OPTIONS MODE NONCE [again]` ends it: prints the trailer. Its status is 0 only if that was done. With
///   `again`, `STATUS` is what the first attempt returned: nothing is done where it succeeded. All of a trailer is
///   written at once, and has therefore no line end in it: what a process in the background writes cannot come between.
///   If the next command's redirections would fail, because there are too few descriptors, it is the last trailer: a
///   subshell writes it, which needs none.
///   The children of the shell are those that the system lists, because `jobs` does not know what was disowned.
/// - `__mcp_e STATUS NONCE` and `__mcp_f STATUS NONCE` print a trailer for stdout and stderr if `STATUS` says that none was
///   printed, by means of an expansion that fails: its message needs no builtin. The words before it are bash's.
/// - `__mcp_z STATUS` ends the shell if `STATUS` says that no trailer was printed.
///
/// `OPTIONS` is `:$BASHOPTS:` (bash before 4.1 has none), `MODE` is not empty if `POSIXLY_CORRECT` is set.
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

/// Takes back the words that the driver needs, should a command have defined functions of these names or switched the
/// builtins off.
///
/// The assignment switches bash to its POSIX mode, in which the special builtin `unset` cannot be a function. Afterwards
/// the mode is as it was, and so are the options that the mode switches on. `jobs`, `printf` and the like need no
/// `unset -f`: they are called through `builtin`.
const RECLAIM: &str = r"((${POSIXLY_CORRECT+0}${POSIXLY_CORRECT-POSIXLY_CORRECT=1}))
  \unset -f unset eval builtin command
  \builtin enable @WORDS@ || \command enable @WORDS@ || \enable @WORDS@
  [[ -n $3 ]] || builtin unset POSIXLY_CORRECT
  [[ $2 = :: || $2 = *:expand_aliases:* ]] || builtin shopt -u expand_aliases
  [[ $2 = *:inherit_errexit:* ]] || builtin shopt -u inherit_errexit";

/// The builtins that the driver calls.
const WORDS: &str = "builtin command enable eval exit jobs kill printf read return set shopt unset";

/// Has the first parameter, which is [`MOVE`] and the functions, put the streams where [`Streams::Above`](super::shell_kind::ShellDescriptors::Above) says, and chooses the
/// numbers.
///
/// 230 to 239 are below what every system lets a process open (256 on macOS, 1024 on Linux), and clear of 255, which bash
/// uses itself, of 200, which the manual page of flock has, and of what `{name}` in a redirection takes, from 10 up. Where
/// no more than 255 may be opened, it is 20 to 29.
///
/// What bash sets aside for a redirection is closed in every program that is run, and so is a copy of that: the only way to
/// have such a descriptor. It is set aside in the first free place above the descriptor that is copied, which is 4.
const PLACE: &str = r#"
__mcp_p=23
[[ $(ulimit -Sn) = unlimited || $(ulimit -Sn) -ge 256 ]] || ulimit -Sn 256 || __mcp_p=2
eval "${1//@P@/$__mcp_p}"
"#;

/// Moves the streams there.
const MOVE: &str = r"
exec @P@0>&- @P@1>&- @P@2>&- @P@3>&- @P@4>&1 @P@5>&- @P@6>&-
{ exec @P@1>&@P@5; } >&@P@4
{ exec @P@2>&@P@5; } 2>&@P@4
exec 1<>/dev/null 2>&1
{ exec @P@0>&@P@5; } >&@P@4
exec @P@4>&-
__mcp_o='>&@P@1' __mcp_e='>&@P@2'
";

/// The script that makes a bash ready: the streams, the functions, and what prints a snapshot.
pub(super) fn start() -> String {
    let functions = FUNCTIONS
        .replace("@RECLAIM@", RECLAIM)
        .replace("@WORDS@", WORDS)
        + &snapshot::function();
    let mut script = b"set -- ".to_vec();
    quote(&mut script, (MOVE.to_owned() + &functions).as_bytes());
    String::from_utf8_lossy(&script).into_owned() + PLACE + "set --\n"
}
