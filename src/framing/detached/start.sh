mkdir -p "$jobs" 2>/dev/null && trust && sweep
if [ "$again" = yes ] && [ -d "$dir" ]; then
  # Its answer to the first time was lost, or is still being given.
  tries=0
  until look || [ $tries -ge 20 ]; do
    sleep 0.5 2>/dev/null || sleep 1
    tries=$((tries + 1))
  done
  look || fail trouble "$dir is there, and nothing runs in it"
  say done
  finish
fi
problem=$({ mkdir -p "$jobs" && mkdir "$dir"; } 2>&1) || fail trouble "$problem"
undo() {
  rm -rf "$dir"
  fail trouble "${1-}"
}
# The status has its place on the disk from the beginning.
problem=$({
  printf '%-63s\n' running >"$dir/status" && printf %s "$shown" >"$dir/command" && : >"$dir/out" && : >"$dir/err" &&
    : >"$dir/how" && printf %s "$supervisor_script" >"$dir/supervisor.sh" &&
    printf %s "$stop_script" >"$dir/stop.sh" && take $((script_bytes + stdin_bytes)) >"$dir/payload"
} 2>&1) || undo "$problem"
[ "$(size "$dir/payload")" = $((script_bytes + stdin_bytes)) ] || undo 'the command arrived incomplete'
dd bs="$script_bytes" count=1 <"$dir/payload" >"$dir/script" 2>/dev/null
[ "$(size "$dir/script")" = "$script_bytes" ] || undo 'no room on the disk for the command'
if [ "$stdin" = given ]; then
  dd bs="$script_bytes" skip=1 <"$dir/payload" >"$dir/input" 2>/dev/null
  [ "$(size "$dir/input")" = "$stdin_bytes" ] || undo 'no room on the disk for the input'
else
  # Without a FIFO, the command has no input.
  mkfifo "$dir/stdin" 2>/dev/null
fi
rm -f "$dir/payload"
shell=${program:-${SHELL:-/bin/sh}}
case $shell in /*) ;; *) shell=$(command -v "$shell") ;; esac
[ -x "$shell" ] || undo "the login shell $shell cannot be run"
newline='
'
case $dir in *[\'\\!]* | *"$newline"*) undo "a path with quotes, backslashes or the like cannot be used: $dir" ;; esac
case $reads in
posix) text="eval \"\$(command cat '$dir/script'; command rm -f '$dir/script')\"" ;;
source) text="source '$dir/script'" ;;
argument) text=$(cat "$dir/script") ;;
esac
# A shell lets a process in the background ignore SIGINT, and the command would inherit that. setsid makes its process
# otherwise: it forks where it leads a process group, which the setsid before it sees to.
set -- "$dir" "$shell" "$text" "$mask" "$this_host" "$limit"
if command -v setsid >/dev/null; then
  setsid /bin/sh -c 'exec setsid /bin/sh "$0" $$ "$@"' "$dir/supervisor.sh" "$@"
else
  /bin/sh "$dir/supervisor.sh" fork "$@"
fi </dev/null >/dev/null 2>&1
tries=0
until [ -f "$dir/process" ] || [ ! -d "$dir" ] || [ $tries -ge 200 ]; do
  sleep 0.05 2>/dev/null || sleep 1
  tries=$((tries + 1))
done
[ -f "$dir/process" ] || undo
say done
finish
