look || unknown
case $word in running | elsewhere) fail running ;; esac
problem=$(discard 2>&1) || fail trouble "$problem"
say done
finish
