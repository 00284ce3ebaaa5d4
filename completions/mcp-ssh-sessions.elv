# elvish completion for mcp-ssh-sessions. elvish quotes what it inserts.
use str

set edit:completion:arg-completer[mcp-ssh-sessions] = {|@words|
    var lines = [(try {
        e:mcp-ssh-sessions complete --word=$words[-1] -- (all $words[1..-1]) 2>/dev/null | from-lines
    } catch { })]

    if (eq $lines []) {
        nop
    } elif (eq $lines[0] files) {
        edit:complete-filename $@words
    } else {
        for line $lines[1..] {
            var fields = [(str:split "\t" $line)]
            edit:complex-candidate $fields[0] &display=(str:join '  ' $fields)
        }
    }
}
