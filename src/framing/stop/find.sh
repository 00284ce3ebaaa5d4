# Which processes are the command's. `of` says which command; `left` sets `processes` to those of it that live, as far as
# descent, process groups and sessions show. sshd gives each command a session of its own (setsid(2)), which holds what job
# control has put in other groups.
#
# In `rows`, a process is pid/parent/group/session/start/state. A name may hold anything, but is in brackets, of which the
# last ends it.
of() {
  root=$1 groups=" $2 " spare=$3 keep=" $4 " age=$5 mine=" $1 "
}
rows() {
  rows=$(LC_ALL=C sed -n 's/^\([0-9]*\) (.*) \([A-Za-z]\) \([0-9]*\) \([0-9]*\) \([0-9]*\) \([-0-9]* \)\{15\}\([0-9]*\) .*/\1\/\3\/\4\/\5\/\7\/\2/p' /proc/[0-9]*/stat 2>/dev/null)
  [ -n "$rows" ] || rows=$(ps -A -o pid= -o ppid= -o pgid= -o stat= 2>/dev/null |
    sed 's/^ *\([0-9]*\)  *\([0-9]*\)  *\([0-9]*\)  *\([^ ]*\).*/\1\/\2\/\3\/-\/0\/\4/' 2>/dev/null)
}
fields() {
  IFS=/
  set -- $1
  unset IFS
  pid=$1 parent=$2 its_group=$3 session=$4 start=$5 state=$6
}
left() {
  more=y processes=
  while [ $more = y ]; do
    more=n
    for row in $rows; do
      pid=${row%%/*}
      case $keep$mine in *" $pid "*) continue;; esac
      fields "$row"
      case $mine in
        *" $parent "*) ;;
        *) case $groups in *" $its_group "* | *" $session "*) ;; *) continue;; esac;;
      esac
      mine="$mine$pid " more=y
    done
  done
  for row in $rows; do
    pid=${row%%/*}
    case $mine in *" $pid "*) ;; *) continue;; esac
    fields "$row"
    [ "$pid" = "$spare" ] && continue
    case $state in Z*|X*) ;; *) processes="$processes $pid";; esac
  done
}
