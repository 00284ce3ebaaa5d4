began=$(date +%s)
rounds=0
while :; do
  look || unknown
  [ "$word" = running ] || break
  [ "$(size "$dir/out")" -gt "$out" ] && break
  [ "$(size "$dir/err")" -gt "$err" ] && break
  [ $(($(date +%s) - began)) -ge "$seconds" ] && break
  # Fails when nobody is there to hear the answer any more.
  echo || exit
  if [ $rounds -lt 20 ]; then pause=0.1; else pause=0.5; fi
  sleep $pause 2>/dev/null || sleep 1
  rounds=$((rounds + 1))
done
row
finish
