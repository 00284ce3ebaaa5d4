look || unknown
[ "$word" = running ] || fail ended
[ -p "$dir/stdin" ] || fail closed
# First all of it here: what is cut off on the way must not arrive in part.
part=$dir/feed.$$
trap 'rm -f "$part"' EXIT
problem=$(cat 2>&1 >"$part") || fail trouble "$problem"
[ "$(size "$part")" = "$bytes" ] || fail trouble 'the input arrived incomplete'
if [ "$bytes" -gt 0 ]; then
  cat <"$part" >"$dir/stdin" 2>/dev/null &
  cat=$! cat_born=$(born $!)
  {
    tenths=0
    while [ $tenths -lt "$patience" ]; do
      if sleep 0.1 2>/dev/null; then tenths=$((tenths + 1)); else sleep 1; tenths=$((tenths + 10)); fi
    done
    is_alive $cat "$cat_born" && kill -KILL $cat
  } >/dev/null 2>&1 &
  timer=$!
  wait $cat
  status=$?
  kill $timer
  [ $status -eq 0 ] || fail unread
fi 2>/dev/null
if [ "$close" = yes ]; then let_go; fi
say done
finish
