//! The request for a snapshot, as it is written to the shell.
//!
//! The state is printed by a process of its own, which belongs to nobody. The shell waits only
//! until that process has been split off, so a command that comes meanwhile is run at once. Neither
//! `$!` nor `jobs` nor `wait` knows of the process. Whatever it changes in order to print is
//! changed there and not in the shell.

use super::MAX_SNAPSHOT_BYTES;
use crate::framing::{
    quoting::quote,
    sentinel::Sentinel,
    shell_kind::{ShellDescriptors, ShellKind},
};

/// Size of a piece of state, in bytes. With its marks a piece is shorter than what any system
/// writes to a pipe at once (POSIX: 512 bytes at least, Linux and macOS: 4096; and C libraries
/// write after 1024).
const PIECE: usize = 800;

/// Function defined at the start of bash: `__mcp_w MARKS ID $SHELLOPTS $BASHOPTS "$(trap -p)"
/// "$@"`.
///
/// The text is collected first, in sections that begin with RS, the snapshot's id and a letter.
/// `printf %q` then makes it one line of ASCII, because bash writes after each line end. Bash
/// before 4.4 does not report its traps in a subshell, and bash 3 prints all its functions with its
/// variables.
pub(in crate::framing) const FUNCTION: &str = r#"
__mcp_w() {
  builtin trap - DEBUG RETURN ERR
  builtin set +e +u +k +C +a
  __mcp_v=$(
    builtin printf '\036%s o\n%s\n%s\n' "$2" "$3" "$4"
    builtin set +o
    builtin shopt -p
    builtin printf '\036%s u\n' "$2"
    builtin umask
    builtin printf '\036%s v\n' "$2"
    if ((BASH_VERSINFO[0] > 3)); then builtin declare -p; else
      __mcp_n=$(builtin compgen -v)
      while [[ -n $__mcp_n ]]; do
        __mcp_l=${__mcp_n%%$'\n'*}
        __mcp_n=${__mcp_n:${#__mcp_l}+1}
        builtin declare -p "$__mcp_l"
      done
    fi
    builtin printf '\036%s a\n' "$2"
    builtin alias -p
    if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)); then
      builtin printf '\036%s t\n%s\n' "$2" "$5"
    fi
    __mcp_n=$(builtin declare -F)
    builtin printf '\036%s F\n%s\n' "$2" "$__mcp_n"
    while [[ -n $__mcp_n ]]; do
      __mcp_l=${__mcp_n%%$'\n'*}
      __mcp_n=${__mcp_n:${#__mcp_l}+1}
      [[ $__mcp_l = *\ __mcp_* ]] || { builtin printf '\036%s f\n' "$2"; builtin declare -f -- "${__mcp_l##* }"; }
    done
    __mcp_n=("${DIRSTACK[@]}")
    while ((${#__mcp_n[@]} > 1)); do
      builtin printf '\036%s d\n%s\n' "$2" "${__mcp_n[${#__mcp_n[@]} - 1]}"
      builtin unset "__mcp_n[${#__mcp_n[@]} - 1]"
    done
    if (($# > 5)); then
      builtin printf '\036%s p\nset --' "$2"
      builtin printf ' %q' "${@:6}"
    fi
    builtin printf '\n'
  )
  builtin declare LC_ALL=C
  __mcp_i=0 __mcp_o=0
  if ((${#__mcp_v} > @LONGEST@)); then
    builtin printf '\036%s:%s:0:big:\036%s;' "$1" "$2" "$1"
    builtin exit
  fi
  builtin printf -v __mcp_v %q "$__mcp_v"
  __mcp_l=${#__mcp_v}
  while ((__mcp_o < __mcp_l)); do
    # In two steps: each takes as long as what it is cut from.
    __mcp_n=${__mcp_v:__mcp_o:40 * @PIECE@}
    __mcp_o=$((__mcp_o + 40 * @PIECE@))
    while [[ -n $__mcp_n ]]; do
      __mcp_p=${__mcp_n:0:@PIECE@}
      __mcp_n=${__mcp_n:@PIECE@}
      builtin printf '\036%s:%s:%s:%s:%s\036%s;' "$1" "$2" "$__mcp_i" "${#__mcp_p}" "$__mcp_p" "$1"
      __mcp_i=$((__mcp_i + 1))
    done
  done
  builtin printf '\036%s:%s:%s:end:%s\036%s;' "$1" "$2" "$__mcp_i" "$__mcp_l" "$1"
}
readonly -f __mcp_w
"#;

/// Script for printing the state of a shell other than bash. Such a shell has no way to cut a
/// string, so each line is a piece. Lines have no end of their own there.
const SCRIPT: &str = r#"
__mcp_m=@MARKS@ __mcp_d=@ID@ __mcp_o=$-
set +x; set +v; set +e; set +u; set +C; set +a; set +f
unset -f printf read set umask export readonly alias unalias break
LC_ALL=C
{
  printf '\036%s o\n%s\n' "$__mcp_d" "$__mcp_o"
  printf '\036%s u\n' "$__mcp_d"; umask
  printf '\036%s v\n' "$__mcp_d"; printf '%s\n' "$__mcp_v"
  printf '\036%s x\n' "$__mcp_d"; export -p
  printf '\036%s r\n' "$__mcp_d"; readonly -p
  printf '\036%s a\n%s\n' "$__mcp_d" "$__mcp_a"
} | {
  __mcp_i=0 __mcp_n=0
  while IFS= read -r __mcp_l; do
    __mcp_n=$((__mcp_n + ${#__mcp_l} + 1))
    if [ "$__mcp_n" -gt @LONGEST@ ]; then
      printf '\036%s:%s:%s:big:\036%s;' "$__mcp_m" "$__mcp_d" "$__mcp_i" "$__mcp_m"
      exit
    fi
    printf '\036%s:%s:%s:%s:%s\n\036%s;' "$__mcp_m" "$__mcp_d" "$__mcp_i" $((${#__mcp_l} + 1)) "$__mcp_l" "$__mcp_m"
    __mcp_i=$((__mcp_i + 1))
  done
  printf '\036%s:%s:%s:end:%s\036%s;' "$__mcp_m" "$__mcp_d" "$__mcp_i" "$__mcp_n" "$__mcp_m"
}
"#;

/// Writes the request for a snapshot of this shell.
pub(super) fn request(
    kind: ShellKind,
    streams: ShellDescriptors,
    marks: &Sentinel,
    id: &Sentinel,
) -> Vec<u8> {
    let (marks, id, out) = (marks.as_str(), id.as_str(), streams.stdout());
    match kind {
        ShellKind::Bash => {
            // Tracing could write the values into a file, so it is switched off before they are
            // touched. The traps are read here, because inside the function some would not be
            // listed.
            format!(
                "( ( __mcp_o=$SHELLOPTS; \\builtin set +x +v; \\__mcp_w {marks} {id} \"$__mcp_o\" \"${{BASHOPTS-}}\" \
                 \"$(\\builtin trap -p)\" \"$@\" ) {out} </dev/null & )\n"
            )
            .into_bytes()
        }
        ShellKind::Posix => {
            let script = SCRIPT
                .replace("@MARKS@", marks)
                .replace("@ID@", id)
                .replace("@LONGEST@", &MAX_SNAPSHOT_BYTES.to_string());

            // The aliases are taken away before the rest is read.
            let mut line =
                b"( ( __mcp_v=$(\\command set); __mcp_a=$(\\command alias); \\command unalias -a; \\command eval "
                    .to_vec();
            quote(&mut line, script.as_bytes());
            line.extend_from_slice(format!(" ) {out} </dev/null & )\n").as_bytes());

            line
        }
    }
}

/// Returns [`FUNCTION`] with the numbers filled in.
pub(in crate::framing) fn function() -> String {
    FUNCTION
        .replace("@LONGEST@", &MAX_SNAPSHOT_BYTES.to_string())
        .replace("@PIECE@", &PIECE.to_string())
}
