look || fail unknown
[ "$word" = running ] && printf " %s " "$signal" >>"$dir/asked"
row
end
