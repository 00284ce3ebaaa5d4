# Answers with the kind, the path, the facts and a message.
show() {
  printf 'mcp-ssh-sessions:file:\0%s\0%s\0%s\0%s\0' "$1" "$2" "$facts" "$3"
}

# Answers for a directory that cannot be entered. What exists of it is resolved.
nowhere() {
  said=$(ls -ld "$dir." 2>&1)
  case $said in
    *': No such file or directory') ;;
    *': Too many levels of symbolic links') show loop "$dir$base"; return ;;
    *) show failed "$dir$base" "$said"; return ;;
  esac

  rest=$base dir=${dir%/}
  until cd -P "${dir%/*}/"; do
    [ -z "${dir##*/}" ] || rest=${dir##*/}/$rest
    dir=${dir%/*}
  done
  real
  rest=${dir##*/}/$rest

  case /$rest in
    */../* | */./* | */) show failed "$here$rest" "$said" ;;
    *) [ "$links" -eq 0 ] && show nodirectory "$here$rest" || show dangling "$here$rest" ;;
  esac
}

load() {
  facts= links=0
  while :; do
    case $path in
      /*) ;;
      *) path=./$path ;;
    esac
    dir=${path%/*}/ base=${path##*/}
    cd -P "$dir" || { nowhere; return; }
    [ -L "./$base" ] || break

    links=$((links + 1))
    [ "$links" -le 40 ] || { real; show loop "$here$base"; return; }
    path=$(readlink "./$base" && printf .)
    path=${path%"$newline".}
  done

  real
  path=$here$base
  if [ -d "./$base" ]; then show directory "$path"
  elif [ -p "./$base" ]; then show fifo "$path"
  elif [ -S "./$base" ]; then show socket "$path"
  elif [ -b "./$base" ] || [ -c "./$base" ]; then show device "$path"
  elif [ ! -e "./$base" ] && [ "$links" -gt 0 ]; then show dangling "$path"
  elif [ ! -e "./$base" ]; then show missing "$path"
  elif [ ! -r "./$base" ]; then show denied "$path"
  else
    facts=$(stat -c '%f %s %Y %u %g' "./$base" || stat -f '%Xp %z %m %u %g' "./$base")
    size=${facts#* }
    size=${size%% *}
    [ -n "$size" ] || size=$(wc -c <"./$base")
    if [ "$size" -gt "$most" ]; then
      show long "$path" "$((size))"
    else
      show file "$path"
      head -c "$((most + 1))" <"./$base"
    fi
  fi
}

load </dev/null
