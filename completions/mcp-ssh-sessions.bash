# bash completion for mcp-ssh-sessions. Nothing that the program prints is evaluated.

_mcp_ssh_sessions() {
    local rest=${COMP_LINE:0:COMP_POINT} words=() count=0 part

    # bash also splits words at characters such as `:` and `@`, which hosts have. Here only blanks separate words.
    for part in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        if [[ $count == 0 || $rest == [[:blank:]]* ]]; then
            rest=${rest#"${rest%%[![:blank:]]*}"}
            words[count++]=
        fi
        part=${part:0:${#rest}}
        words[count-1]+=$part
        rest=${rest:${#part}}
    done
    ((count > 1)) || return

    local word=${words[count-1]} before=("${words[@]:1:count-2}")

    # Readline replaces only what stands after the last such character, and an `@` with it.
    local breaks= stem=
    for part in : = @; do
        [[ $COMP_WORDBREAKS == *"$part"* ]] && breaks+=$part
    done
    [[ $breaks ]] && stem=${word%"${word##*[$breaks]}"}
    stem=${stem%@}

    local expected value quoted
    {
        read -r expected || return
        if [[ $expected == files ]]; then
            compopt -o default 2>/dev/null && return
            # bash 3, the one of macOS, has no compopt.
            while read -r value; do
                printf -v quoted %q "$value"
                COMPREPLY+=("$quoted")
            done < <(compgen -f -- "${word#"$stem"}")
            return
        fi

        while IFS=$'\t' read -r value _; do
            if [[ $word == [\"\']* ]]; then
                # Inside quotes, only what needs no escape there.
                if [[ $value != *[!A-Za-z0-9\ _.:/@%+-]* && ${word:0:1}$value == "$word"* ]]; then
                    COMPREPLY+=("$value")
                fi
            else
                printf -v quoted %q "$value"
                [[ $quoted == "$word"* ]] && COMPREPLY+=("${quoted#"$stem"}")
            fi
        done
    } < <(command mcp-ssh-sessions complete "--word=$word" -- ${before[@]+"${before[@]}"} 2>/dev/null)
}

complete -F _mcp_ssh_sessions mcp-ssh-sessions
