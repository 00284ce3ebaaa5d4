# Finds the processes of a command. `select_command` says which command is meant. `find_processes` sets `processes` to those
# of the command that live, as far as descent, process groups and sessions show. sshd gives each command a session of its own
# (setsid(2)), which holds what job control has put in other groups.
#
# In `rows`, a process is pid/parent/group/session/start/state. A name may hold anything, but is in brackets, of which the
# last ends it. A number alone names no process, since it is given to another one later: pid/start does.
select_command() {
  key=$1 root=$2 lived=$3 groups=" $4 " spare=$5 keep=" $6 " age=$7 mine=" $2 " confirmed=' '
  last_seen=
  case ${root#*/} in *[!0-9]*) ;; *) last_seen=$((${root#*/} + lived)) ;; esac
}
rows() {
  rows=$(LC_ALL=C sed -n 's/^\([0-9]*\) (.*) \([A-Za-z]\) \([0-9]*\) \([0-9]*\) \([0-9]*\) \([-0-9]* \)\{15\}\([0-9]*\) .*/\1\/\3\/\4\/\5\/\7\/\2/p' /proc/[0-9]*/stat 2>/dev/null)
  [ -n "$rows" ] || rows=$({ LC_ALL=C TZ=UTC ps -A -o pid= -o ppid= -o pgid= -o stat= -o lstart= |
    sed 's/^ *\([0-9]*\)  *\([0-9]*\)  *\([0-9]*\)  *\([^ ]*\)  *\(.*[^ ]\) *$/\1\/\2\/\3\/-\/began \5\/\4/' |
    tr -s ' ' _; } 2>/dev/null)
  [ -z "$rows" ] || rows="$newline$rows"
}
newline='
'
# The fields of the process of this id, if there is one.
row_of() {
  case $rows in *"$newline$1/"*) ;; *) return 1;; esac
  row=${rows#*"$newline$1/"}
  fields "$1/${row%%"$newline"*}"
}
fields() {
  IFS=/
  set -- $1
  unset IFS
  pid=$1 parent=$2 its_group=$3 session=$4 start=$5 state=$6
}
# Whether the process pid/start is still the one that has this id, and `state` if so.
is_still() {
  line= state=
  if [ -r /proc/self/stat ]; then
    { read -r line <"/proc/${1%%/*}/stat"; } 2>/dev/null
    set -- "$1" ${line##*") "}
    state=${2-}
    [ "${21-}" = "${1#*/}" ]
  else
    set -- "$1" $(LC_ALL=C TZ=UTC ps -o stat= -o lstart= -p "${1%%/*}" 2>/dev/null)
    state=${2-}
    [ "began_${3-}_${4-}_${5-}_${6-}_${7-}" = "${1#*/}" ]
  fi
}
# Sends a signal to those of `processes` that are still what they were, to all at once: a process that gets the signal later
# has time to start another.
send_signal() {
  same=
  for each in $processes; do
    is_still "$each" && same="$same ${each%%/*}"
  done
  [ -z "$same" ] || kill "-$1" $same 2>/dev/null
}
find_processes() {
  more=y processes= doubted= here=' ' ours=' '
  for each in $mine; do
    row_of "${each%%/*}" && [ "$pid/$start" = "$each" ] && here="$here$pid "
  done
  for each in $groups; do
    is_ours "$each" && ours="$ours${each%%/*} "
  done
  while [ $more = y ]; do
    more=n
    for row in $rows; do
      pid=${row%%/*}
      case $keep$here in *" $pid "*) continue;; esac
      fields "$row"
      case $here in
        *" $parent "*) ;;
        *) case $ours in *" $its_group "* | *" $session "*) ;; *) continue;; esac;;
      esac
      here="$here$pid " mine="$mine$pid/$start " more=y
    done
  done
  for row in $rows; do
    pid=${row%%/*}
    case $here in *" $pid "*) ;; *) continue;; esac
    fields "$row"
    [ "$pid/$start" = "$spare" ] && continue
    case $state in Z*|X*) ;; *) processes="$processes $pid/$start";; esac
  done
}
# Whether the group or session that this process leads is the command's: as long as the process is there. Its number goes to
# no other while the group has members, so it is too where one of them was the command's or began while the leader lived, and
# stays so for the seconds of this script. `doubted` if nothing shows whose it is.
is_ours() {
  group=${1%%/*}
  if row_of "$group"; then
    [ "$pid/$start" = "$1" ] || return
    confirmed="$confirmed$group "
    return
  fi
  case $confirmed in *" $group "*) return 0;; esac
  for row in $rows; do
    case $row in */"$group"/*) ;; *) continue;; esac
    fields "$row"
    case " $its_group $session " in *" $group "*) ;; *) continue;; esac
    if case $mine in *" $pid/$start "*) ;; *) [ -n "$last_seen" ] && [ "$start" -le "$last_seen" ];; esac; then
      confirmed="$confirmed$group "
      return 0
    fi
    case $state in Z*|X*) ;; *) doubted=y;; esac
  done
  return 1
}
