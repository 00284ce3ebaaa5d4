# Finds orphans: processes of the command that have left their parents, and so are not its descendants any more. Those of the
# same log-in have the same SSH_CONNECTION in their environment. They may belong to the command if they are not older.
# `record_identity` keeps what is known of a command while it runs. `find_orphans` runs after the last signal, because a
# process may leave its parent while the command is being stopped.
# If the first process has ended already, the log-in of this script is taken for its log-in.
record_identity() {
  select_command "$@"
  [ -n "$last_seen" ] || return
  server=$PPID since=$((${root#*/} + age)) login=${SSH_CONNECTION-}
  if row_of "${root%%/*}" && [ "$pid/$start" = "$root" ]; then
    server=$parent
    { login=$(cat "/proc/$pid/environ"); } 2>/dev/null
    case $login in *SSH_CONNECTION=*) login=${login##*SSH_CONNECTION=};; *) login=;; esac
  fi
  eval "since_$key=\$since server_$key=\$server login_$key=\$login"
}
find_orphans() {
  select_command "$@"
  eval "since=\${since_$key-} server=\${server_$key-}; set -f; set -- \${login_$key-}; set +f"
  [ $# -ge 3 ] && [ -n "$since" ] || return
  marked=' '
  for file in $(grep -l -F "SSH_CONNECTION=$1 $2 $3 " /proc/[0-9]*/environ 2>/dev/null); do
    file=${file#/proc/}
    marked="$marked${file%/environ} "
  done
  # A detached job is a command of its own, with its supervisor and the sessions of both, even if this is one.
  detached=' '
  for file in $(grep -l -F /mcp-ssh-sessions/jobs/ /proc/[0-9]*/cmdline 2>/dev/null); do
    file=${file#/proc/}
    detached="$detached${file%/cmdline} "
  done
  supervisors=$detached
  for row in $rows; do
    fields "$row"
    case $supervisors in *" $parent "*) detached="$detached$pid ";; esac
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
