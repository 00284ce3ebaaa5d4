# What all scripts for files begin with.
LC_ALL=C
export LC_ALL
unset CDPATH
set -f
exec 2>/dev/null
newline='
'

# Sets `here` to the real name of the current directory, with a slash at the end.
real() {
  here=$(pwd -P && printf .)
  here=${here%"$newline".}
  here=${here%/}/
}
