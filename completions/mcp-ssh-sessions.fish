# fish completion for mcp-ssh-sessions. Nothing that the program prints is evaluated, and fish quotes what it inserts.

function __mcp_ssh_sessions_complete
    set -l word (commandline --current-token --cut-at-cursor)
    set -l before (commandline --current-process --tokenize --cut-at-cursor)
    set --erase before[1]
    set -l lines (command mcp-ssh-sessions complete "--word=$word" -- $before 2>/dev/null)
    set -l expected $lines[1]
    set --erase lines[1]

    if test "$expected" = files
        set -l option (string match --regex -- '^--[a-z-]+=' "$word")
        for path in (__fish_complete_path (string replace -- "$option" '' "$word"))
            printf '%s\n' "$option$path"
        end
    else if set --query lines[1]
        printf '%s\n' $lines
    end
end

complete --command mcp-ssh-sessions --no-files --arguments '(__mcp_ssh_sessions_complete)'
