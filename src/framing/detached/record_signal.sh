look || unknown
[ "$word" = running ] && printf " %s " "$signal" >>"$dir/asked"
row
finish
