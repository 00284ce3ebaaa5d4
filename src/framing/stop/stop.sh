# `stop` sends a command each signal of a ladder in turn, and says what is left.
stop() {
  select_command "$@"
  rows; find_processes
  for signal in $8; do
    # Each time: the shell may not have begun the command at the first signal.
    [ -n "$spare" ] && is_still "$spare" && kill -URG "${spare%%/*}" 2>/dev/null
    send_signal $signal
    # One that was stopped does not heed the others.
    send_signal CONT
    waited=0
    while
      while live && [ $waited -lt $9 ]; do
        sleep 0.1 2>/dev/null || sleep 1
        waited=$((waited+1))
      done
      # What was seen once stays in mind: a shell that ends leaves its children to another parent.
      rows; find_processes
      [ -n "$processes" ] && [ $waited -lt $9 ]
    do :; done
    [ -n "$processes" ] || break
  done
  [ -n "$rows" ] || return
  if [ -n "$processes" ]; then echo "mcp-ssh-sessions:$key:alive"
  else echo "mcp-ssh-sessions:$key:gone"; fi
  [ -z "$doubted" ] || echo "mcp-ssh-sessions:$key:strays"
}
live() {
  for each in $processes; do
    is_still "$each" || continue
    case $state in Z*|X*) ;; *) return 0;; esac
  done
  return 1
}
