# Processes that have left their parents are no descendants any more. Those of the same log-in are known by a variable in
# their environment, and may be the command's if they are not older; `doubt` looks for them when everything is over, because
# what is being stopped may leave its parent on the way. `know` keeps what is known of a command while it runs.
# Where its first process has ended already, its log-in is taken for the one of this script.
know() {
  of "$@"
  [ -n "$seen" ] || return
  server=$PPID since=$((${root#*/} + age)) login=${SSH_CONNECTION-}
  if row_of "${root%%/*}" && [ "$pid/$start" = "$root" ]; then
    server=$parent
    { login=$(cat "/proc/$pid/environ"); } 2>/dev/null
    case $login in *SSH_CONNECTION=*) login=${login##*SSH_CONNECTION=};; *) login=;; esac
  fi
  eval "since_$key=\$since server_$key=\$server login_$key=\$login"
}
doubt() {
  of "$@"
  eval "since=\${since_$key-} server=\${server_$key-}; set -f; set -- \${login_$key-}; set +f"
  [ $# -ge 3 ] && [ -n "$since" ] || return
  marked=' '
  for file in $(grep -l -F "SSH_CONNECTION=$1 $2 $3 " /proc/[0-9]*/environ 2>/dev/null); do
    file=${file#/proc/}
    marked="$marked${file%/environ} "
  done
  # What is detached is a command of its own, with its keeper and both their sessions, even where it is this one.
  detached=' '
  for file in $(grep -l -F /mcp-ssh-sessions/jobs/ /proc/[0-9]*/cmdline 2>/dev/null); do
    file=${file#/proc/}
    detached="$detached${file%/cmdline} "
  done
  keepers=$detached
  for row in $rows; do
    fields "$row"
    case $keepers in *" $parent "*) detached="$detached$pid ";; esac
  done
  for row in $rows; do
    pid=${row%%/*}
    case $marked in *" $pid "*) ;; *) continue;; esac
    case $keep in *" $pid "*) continue;; esac
    fields "$row"
    case " $server $PPID$marked" in *" $parent "*) continue;; esac
    case $detached in *" $pid "* | *" $session "*) continue;; esac
    case $state in Z*|X*) continue;; esac
    [ "$start" -lt "$since" ] || { echo "mcp-ssh-sessions:$key:strays"; return; }
  done
}
