mask=$(umask); umask 077
this_host=$(uname -n | tr -cd 'A-Za-z0-9._-'); this_host=${this_host:-localhost}
say() { printf '\036%s:%s\n' "$mark" "$*"; }
# The end of stdin is awaited, because libssh's example server drops what is printed just before the end of the script.
finish() { printf '\036%s;' "$mark"; cat >/dev/null; exit; }
fail() { say "error $1"; printf %s "${2-}"; finish; }
case ${XDG_STATE_HOME-} in /*) jobs=$XDG_STATE_HOME ;; *) jobs=${HOME-}/.local/state ;; esac
case $jobs in /.local/state) fail trouble 'HOME is not set' ;; esac
state=$jobs
jobs=$jobs/mcp-ssh-sessions/jobs
dir=$jobs/$id
# Nothing is believed of what others can put there. The folder above may be open to a group, which systems make for each
# account, but to others only where they can exchange nothing in it.
distrust() { fail trouble "$1 can be changed by other accounts: chown it to the account, chmod go-w it, or move it away"; }
trust() {
  set -- "${jobs%/jobs}" "$jobs"
  for each in "$@"; do
    if [ -e "$each" ] || [ -h "$each" ]; then is_own "$each" || distrust "$each"; fi
  done
  [ -e "$jobs" ] || return
  set -f; set -- "$state" $(LC_ALL=C ls -lnd "$state/." 2>/dev/null); set +f
  case ${2-} in d???????-* | d????????[tT]*) ;; *) distrust "$1" ;; esac
}
trust
is_number() { case $1 in '' | *[!0-9]* | ??????????????????*) return 1 ;; esac; }
is_alive() { is_number "$1" && [ -n "$2" ] && [ "$(born "$1")" = "$2" ]; }
# A regular file's first bytes: the job may have put anything in the place of its files.
first() { [ -f "$1" ] && dd bs="$2" count=1 <"$1" 2>/dev/null; }
# Passes so many bytes of stdin on. Does not wait for the end of stdin if `head` can count, because some servers never
# pass that end on.
take() {
  [ "$1" -gt 0 ] || return 0
  case $(echo ab | head -c 1 2>/dev/null) in a) head -c "$1" ;; *) cat ;; esac
}
size() {
  [ -f "$1" ] && [ ! -h "$1" ] && set -- $(ls -lnd "$1" 2>/dev/null)
  is_number "${5-}" && echo "$5" || echo 0
}
ended() {
  set -f; set -- $(first "$dir/status" 64); set +f
  word=lost value=- at=0
  is_number "${3-}" || return
  case $1 in
  exited) is_number "$2" || return ;;
  timedOut) case $2 in gone | alive) ;; *) return ;; esac ;;
  signaled) case $2 in '' | *[!A-Z0-9+-]*) return ;; esac ;;
  *) return ;;
  esac
  word=$1 value=$2 at=$3
}
# Finds out what the job in $dir is doing; fails where no command has begun there.
look() {
  word=lost
  if [ -d "$dir" ] || [ -h "$dir" ]; then is_own "$dir" || return 1; else return 1; fi
  set -f; set -- $(first "$dir/process" 400); set +f
  pid=${1-} born=${2-} supervisor=${3-} started=${5-} host=${6-}
  is_number "$pid" && is_number "$started" && [ -n "$host" ] || return 1
  ended
  [ "$word" = lost ] || return 0
  if [ "$host" != "$this_host" ]; then
    word=elsewhere value=$host
  elif is_alive "$supervisor" "$4"; then
    word=running
  else
    # The supervisor may have ended between the two looks, and its last act is to write the status.
    ended
    if [ "$word" = lost ] && is_alive "$pid" "$2"; then word=running; fi
  fi
}
unknown() {
  [ ! -e "$dir" ] || is_own "$dir" || distrust "$dir"
  fail unknown
}
row() {
  if [ -p "$dir/stdin" ]; then input=open; else input=none; fi
  say "job ${dir##*/} $word $value $pid $born $started $at $(size "$dir/out") $(size "$dir/err") $input"
  first "$dir/command" 200
}
# Removes the job in $dir, and the process that keeps its FIFO open, if the supervisor has not ended it.
discard() {
  let_go
  rm -rf "$dir"
}
# Closes the job's stdin.
let_go() {
  set -f; set -- $(first "$dir/holder" 100); set +f
  rm -f "$dir/stdin"
  if is_alive "${1-}" "${2-}"; then kill "$1"; fi
}
# Removes what ended more than a week ago.
sweep() {
  old=$(find "$jobs" -name status -mtime +6 2>/dev/null)
  [ -n "$old" ] || return
  for dir in "$jobs"/[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]; do
    case $old in *"/${dir##*/}/status"*) ;; *) continue ;; esac
    is_own "$dir" || continue
    look
    case $word in running | elsewhere) ;; *) discard ;; esac
  done
  dir=$jobs/$id
}
