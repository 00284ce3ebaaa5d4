//! What the driver defines in a bash when it starts: the functions that begin and end each command.
//!
//! They are read before any command has run, so no alias is in them, and they are read-only. They keep what they need in
//! their arguments: a command can make any variable read-only, and a plain assignment to one gives up the whole line.
//! An assignment in arithmetic only fails.

use super::snapshot;

/// The functions, as a script for bash 3.2 and later.
///
/// - `exit` ends a command instead of the shell (not in bash's POSIX mode, where `exit` cannot be a function). Bash 3.2
///   has no `BASHPID`.
/// - `__mcp_s STATUS OPTIONS MODE` begins a command: takes back our words, and leaves `STATUS` in `$?`.
/// - `__mcp_t STATUS OPTIONS MODE NONCE [again]` ends it: prints the trailer. Its status is 0 only if that was done. With
///   `again`, `STATUS` is what the first attempt returned: nothing is done where it succeeded. All of a trailer is
///   written at once, and has therefore no line end in it: what a process in the background writes cannot come between.
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
  builtin eval '\builtin set -- "$1" "$2" "$3" "$4" "${__mcp_c-$(\builtin jobs -p)}" genuine'
  [[ -z ${__mcp_x-} && ${6-} = genuine ]] &&
  if [[ $PWD = *$'\n'* ]] && builtin printf -v __mcp_c %q "$PWD"; then
    builtin printf '\036%s:%s:%s:%s\036%s;' "$4" "$1" "${5//$'\n'/ }" "$__mcp_c" "$4" >&8
  else
    builtin printf '\036%s:%s:%s:%s\036%s;' "$4" "$1" "${5//$'\n'/ }" "$PWD" "$4" >&8
  fi && builtin printf '\036%s:\036%s;' "$4" "$4" >&9
  fi
}
__mcp_e() {
  if [[ $1 = 0 ]]; then ((1)); else ((${99999999?$'\036'$2:${__mcp_q-1}:!:$PWD$'\036'$2;})) 2>&8; fi
}
__mcp_f() {
  if [[ $1 = 0 ]]; then ((1)); else ((${99999999?$'\036'$2:$'\036'$2;})) 2>&9; fi
}
__mcp_z() {
  if [[ $1 != 0 ]]; then builtin exit 1; command exit 1; builtin kill -KILL "$$"; fi
}
readonly -f __mcp_s __mcp_t __mcp_e __mcp_f __mcp_z
trap '((${__mcp_r:-0} == 1)) || \builtin kill -INT "$$"' URG
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

/// The script that defines all of it, and what prints a snapshot.
pub(super) fn functions() -> String {
    FUNCTIONS.replace("@RECLAIM@", RECLAIM).replace("@WORDS@", WORDS) + &snapshot::function()
}
