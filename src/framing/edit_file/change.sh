store= made=0 reason= said=
new=$name.new old=$name.old

say() {
  printf '%s\0%s\0' "$1" "$2"
}

# Ends the script with a result and a message.
finish() {
  say "$1" "$2"
  exit
}

# Ends the script after the directories that it has made are removed.
give_up() {
  clean
  while [ "$made" -gt 0 ]; do
    rmdir "${innermost%/}"
    innermost=${innermost%/*/}/
    made=$((made - 1))
  done
  finish "$@"
}

# Removes the private directory. No other program has files of these names, so no other file is
# removed even if the directory was never entered.
clean() {
  trap '' HUP INT TERM PIPE
  [ -n "$store" ] || return 0
  rm -f "./$new" "./$old"
  cd /
  rmdir "$store"
  store=
}

trap clean EXIT
trap 'exit 1' HUP INT TERM PIPE

# Enters the directory of the file. Another one may have taken its place since.
enter() {
  target=./$base
  cd -P "$dir" && real && [ "$here" = "$dir" ]
}

# Fails if no directory could be made. Ends the script if there is one, because another edit of the
# file has not ended. If that one began long ago, it was interrupted, and what it left makes room for
# the next one. Old content stays.
unless_taken() {
  case $said in
    *' exists') ;;
    *) [ -e "./$name" ] || [ -L "./$name" ] || return ;;
  esac
  if [ -n "$(find "./$name" -prune -mmin +1)" ]; then
    if [ -d "./$name" ] && [ ! -L "./$name" ]; then
      rm -f "./$name/$new"
      rmdir "./$name" || mv "./$name" "./$name.$$"
    else
      rm -f "./$name"
    fi
  fi
  finish busy "$here$name"
}

# Makes a directory in the current one, and enters it. Nobody else can change anything in it. Whoever
# owns the outer directory may exchange the new one before it is entered, or later exchange the outer
# one: what is reached by relative names stays.
stage() {
  real
  # Before the directory is there, so that a signal leaves none behind.
  store=$here$name
  said=$(mkdir -m 700 "./$name" 2>&1) || { store=; unless_taken; return; }

  cd -P "./$name" && real && [ "$here" = "$store/" ] || { store=; finish changed; }
  set -- $(ls -ldn .)
  if [ "$3" = "$(id -u)" ]; then
    case $1 in
      d????-??-*) target=../$base; return 0 ;;
    esac
  fi

  cd -P ..
  rmdir "./$name"
  store= said='Permission denied'
  return 1
}

# Makes such a directory elsewhere.
stage_elsewhere() {
  { cd -P "$HOME" && stage; } || { cd -P /tmp && stage; } || return
  target=$path
}

# Compares a file with the old content.
same() {
  for sum in sha256sum 'openssl dgst -sha256 -r' 'shasum -a 256' 'sha256 -q'; do
    digest=$($sum <"$1")
    digest=${digest%% *}
    if [ "${#digest}" -eq 64 ]; then
      [ "$digest" = "$sha256" ]
      return
    fi
  done
  command -v cksum >/dev/null || finish failed 'neither sha256sum nor cksum is installed'
  [ "$(cksum <"$1")" = "$crc" ]
}

is_as_loaded() {
  [ -f "$1" ] && [ ! -L "$1" ] && same "$1"
}

# Prints what a file has besides its content: mode with a mark for an ACL, user, group, extended
# attributes.
look() {
  attributes=$(getfattr -d -m - "$1" | tail -n +2 | sort)
  set -- $(ls -ldn "$1")
  printf '%s %s %s %s' "$1" "$3" "$4" "$attributes"
}

# Writes the new content into a file.
fill() {
  said=$( { content | cat >"$1"; } 2>&1 ) || return
  [ "$(wc -c <"$1")" -eq "$length" ]
}

# Gives a file the bits that writing takes away.
restore_bits() {
  case $was in
    ???[sS]*) chmod u+s "$1" ;;
  esac
  case $was in
    ??????[sS]*) chmod g+s "$1" ;;
  esac
}

flush() {
  sync "$1" || sync
}

# Replaces the file by a copy of it with the new content. Fails, with the reason in `reason`, if
# that would lose something.
replace() {
  if ! stage; then
    case $said in
      *'ermission denied' | *'not permitted') reason=directory; return 1 ;;
      *) finish failed "$said" ;;
    esac
  fi

  if ! cp --preserve=all "$target" "./$new"; then
    # The other programs for Linux neither keep nor show what a file has besides mode and owner.
    if [ "$(uname)" = Linux ] && ! command -v getfattr >/dev/null; then
      reason=unseen
      return 1
    fi
    said=$(cp -p "$target" "./$new" 2>&1)
  fi
  [ -f "./$new" ] || finish failed "$said"

  now=$(look "./$new")
  if [ "$now" != "$was" ]; then
    set -- $now
    now="$2 $3"
    set -- $was
    [ "$now" = "$2 $3" ] && reason=attributes || reason=owner
    return 1
  fi

  fill "./$new" || finish failed "$said"
  restore_bits "./$new"
  flush "./$new"

  is_as_loaded "$target" || finish changed
  mv -f -T "./$new" "$target" && return
  [ ! -d "$target" ] && said=$(mv -f "./$new" "$target" 2>&1) && return
  reason=rename
  return 1
}

# Writes into the file, while its old content is in another one. The file is on descriptor 3, so
# that whoever exchanges it meanwhile cannot have another file written.
overwrite() {
  [ -n "$store" ] || stage || stage_elsewhere || finish failed "$said"
  file=$target
  [ ! -e /proc/self/fd/3 ] || file=/proc/self/fd/3

  said=$( { cat "$file" >"./$old"; } 2>&1 ) || finish failed "$said"
  same "./$old" || finish changed
  flush "./$old"

  # From here on, a signal would leave half of the content.
  trap '' HUP INT TERM PIPE
  is_as_loaded "$target" && same "$file" || finish changed
  if fill "$file"; then
    restore_bits "$file"
    flush "$file"
    return 0
  fi

  message=$said
  same "$file" || cat "./$old" >"$file"
  same "$file" && finish failed "$message"
  say old "$store/$old"
  store=
  finish incomplete "$message"
}

write() {
  enter && is_as_loaded "$target" || finish changed
  [ -w "$target" ] || said=$( { : >>"$target"; } 2>&1 ) || finish failed "$said"

  was=$(look "$target")
  set -- $(ls -ldn "$target")
  [ "$2" -le 1 ] || reason=links
  if [ -n "$reason" ] || ! replace; then
    { overwrite; } 3<"$target" || finish changed
  fi

  [ -z "$reason" ] || say reason "$reason"
  lost "$was" "$(look "$target")"
  finish done
}

# Says in which respects the second look differs from the first.
lost() {
  [ "$1" != "$2" ] || return 0
  before=$1 after=$2
  set -- $before
  mode=$1 user=$2 group=$3
  set -- $after
  [ "$mode" = "$1" ] || say lost mode
  [ "$user" = "$2" ] || say lost owner
  [ "$group" = "$3" ] || say lost group
  [ "${before#* * * }" = "${after#* * * }" ] || say lost attributes
}

# Sets the umask for new files in a directory: only the owner gets at those in a private one.
mask() {
  set -- $(ls -ldn "$1")
  case $1 in
    d???-?[-S]-?[-T]*) umask 077 ;;
    *) umask "$(printf %o "$((0$(umask) | 022))")" ;;
  esac
}

# Makes a directory, and those around it.
parents() {
  if [ -d "$1" ]; then
    mask "$1"
    return
  fi
  [ -n "$may_make" ] || finish nodirectory

  parents "${1%/*/}/"
  said=$(mkdir "${1%/}" 2>&1) || give_up failed "$said"
  made=$((made + 1)) innermost=$1
  say made "$1"
}

# Gives a file another name, but not that of another file.
place() {
  if [ ! -e "$2" ] && [ ! -L "$2" ]; then
    if ln -T "$1" "$2" || { [ ! -d "$2" ] && ln "$1" "$2"; }; then
      rm -f "$1"
      [ -e "$1" ] || return 0
      rm -f "$2"
    fi
    [ -e "$2" ] || [ -L "$2" ] || said=$(mv -n "$1" "$2" 2>&1)
    [ -e "$1" ] || return 0
  fi

  if [ -e "$2" ] || [ -L "$2" ]; then
    give_up exists
  fi
  give_up failed "$said"
}

create() {
  parents "$dir"
  enter || give_up changed
  mask .
  stage || give_up failed "$said"

  fill "./$new" || give_up failed "$said"
  flush "./$new"
  place "./$new" "$target"
  finish done
}

rename() {
  enter && is_as_loaded "$target" || finish changed
  parents "${to%/*}/"
  place "$target" "$to"
  finish done
}

delete() {
  enter && is_as_loaded "$target" || finish changed
  said=$(rm -f "$target" 2>&1) || finish failed "$said"
  finish done
}

printf 'mcp-ssh-sessions:change:\0'
