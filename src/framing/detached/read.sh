look || unknown
file=$dir/$stream
[ -f "$file" ] && [ ! -h "$file" ] || fail trouble "$file is no longer a regular file"
say "bytes $(size "$file")"
dd bs=4096 skip="$skip" count="$count" <"$file" 2>/dev/null
finish
