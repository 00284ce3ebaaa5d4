# supervisor.sh MODE DIR SHELL TEXT UMASK HOST LIMIT: runs the command and stays until the command has ended.
mode=$1 dir=$2 shell=$3 text=$4 mask=$5 host=$6 limit=$7
is_own "$dir" || exit
case $mode in
job-of-*)
  # The command's own process, as soon as it is known: exec keeps its id.
  supervisor=${mode#job-of-}
  if [ -p "$dir/stdin" ]; then
    exec <"$dir/stdin"
  elif [ -f "$dir/input" ]; then
    exec <"$dir/input"
    rm -f "$dir/input"
  fi
  echo "$$ $(born $$) $supervisor $(born "$supervisor") $(date +%s) $host" >"$dir/process.new" || exit
  mv "$dir/process.new" "$dir/process" || exit
  exec >"$dir/out" 2>"$dir/err"
  umask "$mask"
  unset SHLVL OLDPWD
  exec "$shell" -c "$text"
  ;;
$$ | fork)
  # There is no setsid, or it has made no new process.
  set -m 2>/dev/null
  /bin/sh "$0" keep "$dir" "$shell" "$text" "$mask" "$host" "$limit" &
  exit
  ;;
esac
# Signals with a trap, unlike ignored ones, have their usual effect in the command.
trap : HUP INT QUIT
exec 2>"$dir/how"
# A missing directory says that nothing has begun.
give_up() {
  rm -rf "$dir"
  exit
}
holder=
# Ends the process that keeps the FIFO open, if it is still that one.
let_go() {
  [ -n "$holder_born" ] && [ "$(born "$holder")" = "$holder_born" ] && kill "$holder"
}
if [ -p "$dir/stdin" ]; then
  # To open one end of a FIFO alone waits for the other. A process that only sleeps keeps it open for later writers.
  exec 3<>"$dir/stdin"
  holder=$(sleep 2147483647 3<&- 4>"$dir/stdin" >/dev/null & echo $!)
  holder_born=$(born "$holder")
  if ! echo "$holder $holder_born" >"$dir/holder"; then
    let_go
    give_up
  fi
  exec 3<&-
fi
timer=
if [ "$limit" -gt 0 ]; then
  (
    trap 'kill $nap; exit' TERM
    sleep "$limit" &
    nap=$!
    wait $nap
    trap '' TERM
    # Hours may have gone by.
    is_own "$dir" && process=$(cat "$dir/process") && set -- $process && root=$1/$2 && : >"$dir/late" &&
      . "$dir/stop.sh" >"$dir/late"
  ) 2>/dev/null &
  timer=$!
fi
setsid=$(command -v setsid)
# Without redirections: with some, dash says that the child died of a signal on the child's stderr.
$setsid /bin/sh "$0" "job-of-$$" "$dir" "$shell" "$text" "$mask" "$host"
status=$?
if [ -n "$holder" ] && [ -p "$dir/stdin" ]; then let_go; fi
if [ -n "$timer" ]; then
  # After the time limit, it is stopping what is left.
  kill "$timer" 2>/dev/null
  wait "$timer" 2>/dev/null
fi
[ -f "$dir/process" ] || give_up
result="exited $status"
# The shell says on its own stderr that a child died of a signal, except of SIGINT and SIGPIPE: there it is believed
# where the signal was sent by us.
if [ -f "$dir/late" ]; then
  case $(cat "$dir/late") in *:gone | *:gone*:strays) result='timedOut gone' ;; *) result='timedOut alive' ;; esac
elif [ $status -gt 128 ] && name=$(kill -l $((status - 128)) 2>/dev/null); then
  case " $(cat "$dir/asked" 2>/dev/null) " in
  *" $name "*) result="signaled $name" ;;
  *) [ -s "$dir/how" ] && result="signaled $name" ;;
  esac
fi
# In place: there may be no room left on the disk.
printf '%-63s\n' "$result $(date +%s)" 1<>"$dir/status"
rm -f "$dir/script" "$dir/stdin"
