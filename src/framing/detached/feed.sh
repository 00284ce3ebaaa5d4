look || unknown
[ "$word" = running ] || fail ended
[ -p "$dir/stdin" ] || fail closed
# First all of it here: what is cut off on the way must not arrive in part.
if [ "$secret" = yes ]; then
  # A secret stays in this shell: it is in no file, and in no argument where printf is a builtin.
  case $(command -v printf) in /*) fail trouble 'the shell of the remote machine has no printf of its own' ;; esac
  IFS= read -r line || fail trouble 'the input arrived incomplete'
  pour() { printf '%s\n' "$line"; }
else
  part=$dir/feed.$$
  trap 'rm -f "$part"' EXIT
  problem=$(take "$bytes" 2>&1 >"$part") || fail trouble "$problem"
  [ "$(size "$part")" = "$bytes" ] || fail trouble 'the input arrived incomplete'
  pour() { exec cat <"$part"; }
fi
if [ "$bytes" -gt 0 ]; then
  pour >"$dir/stdin" 2>/dev/null &
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
