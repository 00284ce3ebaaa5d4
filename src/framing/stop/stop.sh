# `stop` sends a command each signal of a ladder in turn, and says what is left.
stop() {
  of "$@"
  left
  for signal in $6; do
    # Each time: the shell may not have begun the command when it was told first.
    [ -n "$spare" ] && kill -URG "$spare" 2>/dev/null
    kill -$signal $processes 2>/dev/null
    # One that was stopped does not heed the others.
    kill -CONT $processes 2>/dev/null
    waited=0
    while
      while live && [ $waited -lt $7 ]; do
        sleep 0.1 2>/dev/null || sleep 1
        waited=$((waited+1))
      done
      # What was seen once stays in mind: a shell that ends leaves its children to another parent.
      rows; left
      [ -n "$processes" ] && [ $waited -lt $7 ]
    do :; done
    [ -n "$processes" ] || break
  done
  [ -n "$rows" ] || return
  if [ -n "$processes" ]; then echo "mcp-ssh-sessions:$root:alive"
  else echo "mcp-ssh-sessions:$root:gone"; fi
}
live() {
  for pid in $processes; do
    line=
    if [ -r /proc/self/stat ]; then { read -r line <"/proc/$pid/stat"; } 2>/dev/null
    else kill -0 "$pid" 2>/dev/null && line=') '; fi
    line=${line##*") "}
    case $line in Z*|X*|'') ;; *) return 0;; esac
  done
  return 1
}
