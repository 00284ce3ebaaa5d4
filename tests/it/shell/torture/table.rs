//! The commands that are run in every kind of shell, over every server.

use super::Language::{self, Any, Bash, OwnGroup};

/// Any text on stderr, or none.
pub(super) const ANY: &str = "*";
/// Any exit status but 0.
pub(super) const FAILS: i64 = -1;
/// Any exit status, or none.
pub(super) const WHATEVER: i64 = -2;
/// In the place of an expected stdout: not looked at.
pub(super) const WHICHEVER: &str = "\0";

/// A command, what it prints on stdout, what stderr holds ("" is nothing at all), and its exit status.
///
/// In the command, `{LONG}` stands for 300,000 letters, and `{SSH}` for an `ssh` that logs in to the same server.
pub(super) type Step = (&'static str, &'static str, &'static str, i64);

/// What is tried, in which shells, and the commands for it, which are run one after the other in a new shell.
pub(super) const TABLE: &[(&str, Language, &[Step])] = &[
    (
        "nothing at all",
        Any,
        &[
            ("", "", "", 0),
            ("   \n\n", "", "", 0),
            ("# only a comment", "", "", 0),
        ],
    ),
    (
        "state",
        Any,
        &[
            (
                "cd /usr/lib; V='a b'; f() { echo \"f:$1\"; }; export E=1; umask 027",
                "",
                "",
                0,
            ),
            (
                "pwd; echo \"$V\"; f x; sh -c 'echo $E; umask'",
                "/usr/lib\na b\nf:x\n1\n0027\n",
                "",
                0,
            ),
        ],
    ),
    (
        "a comment behind a command",
        Any,
        &[("echo x # c", "x\n", "", 0)],
    ),
    (
        "several lines",
        Any,
        &[(
            "echo a\n\nfor i in 1 2\ndo\n  echo $i\ndone\n\n# end\n",
            "a\n1\n2\n",
            "",
            0,
        )],
    ),
    (
        "300 kB of script",
        Any,
        &[("x='{LONG}'; echo ${#x}; unset x", "300000\n", "", 0)],
    ),
    (
        "no final newline",
        Any,
        &[("printf abc; printf err >&2", "abc", "err", 0)],
    ),
    (
        "trailing backslash",
        Any,
        &[("echo hi \\", WHICHEVER, "", 0)],
    ),
    (
        "unbalanced single quote",
        Any,
        &[("echo 'abc", "", ANY, FAILS)],
    ),
    (
        "unbalanced double quote",
        Any,
        &[("echo \"abc", "", ANY, FAILS)],
    ),
    (
        "unbalanced back quote",
        Any,
        &[("echo `abc", WHICHEVER, ANY, WHATEVER)],
    ),
    ("unbalanced $(", Any, &[("echo $(abc", "", ANY, FAILS)]),
    ("unbalanced ${", Any, &[("echo ${abc", "", ANY, FAILS)]),
    (
        "unfinished here-document",
        Bash,
        &[("cat <<EOF\nline", "line\n", ANY, 0)],
    ),
    (
        "unfinished here-document of ours",
        Any,
        &[("cat <<'EOF' >&8\nline", WHICHEVER, ANY, WHATEVER)],
    ),
    ("stray )", Any, &[(")", "", ANY, FAILS)]),
    ("stray }", Any, &[("}", "", ANY, FAILS)]),
    ("stray done", Any, &[("done", "", ANY, FAILS)]),
    ("unfinished if", Any, &[("if true; then", "", ANY, FAILS)]),
    ("unfinished function", Any, &[("f() {", "", ANY, FAILS)]),
    (
        "syntax error in the middle",
        Any,
        &[("echo a\necho b )\necho c", WHICHEVER, ANY, FAILS)],
    ),
    (
        "here-document",
        Any,
        &[("cat <<EOF\nl1\n$((1+1))\nEOF\necho z", "l1\n2\nz\n", "", 0)],
    ),
    (
        "here-document inside quotes of quotes",
        Any,
        &[("cat <<'E'\nit's \"x\" \\\nE\n", "it's \"x\" \\\n", "", 0)],
    ),
    ("here-string", Bash, &[("cat <<<\"it's\"", "it's\n", "", 0)]),
    ("cat", Any, &[("cat; echo after", "after\n", "", 0)]),
    (
        "read",
        Any,
        &[("read x; echo \"[$x] $?\"", "[] 1\n", "", 0)],
    ),
    (
        "while read",
        Any,
        &[(
            "while read x; do echo \"$x\"; done; echo end",
            "end\n",
            "",
            0,
        )],
    ),
    (
        "mapfile",
        Bash,
        &[("mapfile x; echo ${#x[@]}", "0\n", "", 0)],
    ),
    (
        "shells and head",
        Any,
        &[(
            "sh; sh -c cat; head -c 10; cat /dev/stdin; cat <&0; echo e",
            "e\n",
            "",
            0,
        )],
    ),
    (
        "thieves in the background and behind pipes",
        Any,
        &[(
            "cat & (cat; read x) & dd of=/dev/null 2>/dev/null; cat | cat; wait; echo after",
            "after\n",
            ANY,
            0,
        )],
    ),
    (
        "ssh",
        Any,
        &[(
            "{SSH} 'cat; echo there'; {SSH} 'exit 5'; echo $?",
            "there\n5\n",
            "",
            0,
        )],
    ),
    (
        "ssh in a loop that reads",
        Any,
        &[(
            "cd; printf '1\\n2\\n' >list; while read x; do echo $x; {SSH} cat; done <list",
            "1\n2\n",
            "",
            0,
        )],
    ),
    (
        "/proc/$$/fd/0",
        Any,
        &[("timeout 1 cat /proc/$$/fd/0; echo after", "after\n", "", 0)],
    ),
    (
        "reading our descriptors",
        Any,
        &[("read x <&8; read x <&9; echo after", "after\n", ANY, 0)],
    ),
    (
        "invalid UTF-8",
        Any,
        &[(
            "printf '\\377\\376'; printf '\\200' >&2",
            "\u{fffd}\u{fffd}",
            "\u{fffd}",
            0,
        )],
    ),
    (
        "NUL bytes",
        Any,
        &[("printf 'a\\000b\\000'", "a\0b\0", "", 0)],
    ),
    (
        "terminal sequences",
        Any,
        &[(
            "printf '\\033[2J\\033[1;31mred\\033[0m\\033]0;t\\007\\b\\r\\n'",
            "red\u{8}\r\n",
            "",
            0,
        )],
    ),
    (
        "record separators",
        Any,
        &[(
            "printf '\\036\\036x\\036'; printf '\\036' >&2",
            "\u{1e}\u{1e}x\u{1e}",
            "\u{1e}",
            0,
        )],
    ),
    (
        "text like a trailer",
        Any,
        &[(
            "M=deadbeefdeadbeefdeadbeefdeadbeef; printf \"\\036$M:0::/\\036$M;\"; echo x",
            "\u{1e}deadbeefdeadbeefdeadbeefdeadbeef:0::/\u{1e}deadbeefdeadbeefdeadbeefdeadbeef;x\n",
            "",
            0,
        )],
    ),
    (
        "status of a subshell",
        Any,
        &[
            ("(exit 7)", "", "", 7),
            ("exit_status=$?; echo $exit_status", "7\n", "", 0),
        ],
    ),
    (
        "exit 3 keeps the shell",
        Bash,
        &[
            ("V=1; exit 3; echo no", "", "", 3),
            ("echo $V", "1\n", "", 0),
        ],
    ),
    ("exit 3", Any, &[("echo a; exit 3; echo no", "a\n", "", 3)]),
    (
        "exit without a status",
        Bash,
        &[
            ("(exit 4); exit; echo no", "", "", 4),
            ("exit", "", "", 4),
            ("true; exit", "", "", 0),
        ],
    ),
    (
        "exit in a function",
        Any,
        &[("f() { exit 5; echo no; }; f; echo no", "", "", 5)],
    ),
    (
        "exit in a subshell",
        Any,
        &[("(echo a; exit 6); echo $?", "a\n6\n", "", 0)],
    ),
    (
        "exit in a pipeline",
        Any,
        &[("echo a | { cat; exit 6; }; echo $?", "a\n6\n", "", 0)],
    ),
    (
        "exit in $(...)",
        Any,
        &[("x=$(echo a; exit 6); echo $x $?", "a 6\n", "", 0)],
    ),
    (
        "exit with any number",
        Bash,
        &[
            ("V=1; exit abc", "", "abc", FAILS),
            ("exit 300", "", "", 44),
            ("exit -1", "", "", 255),
            ("echo $V", "1\n", "", 0),
        ],
    ),
    ("logout", Any, &[("logout", "", ANY, WHATEVER)]),
    (
        "set -e with a success",
        Any,
        &[
            ("set -e", "", "", 0),
            ("true; echo a", "a\n", "", 0),
            ("set +e", "", "", 0),
        ],
    ),
    (
        "set -e and exit",
        Bash,
        &[
            ("set -e; exit 3", "", "", 3),
            ("exit 0", "", "", 0),
            ("set +e", "", "", 0),
        ],
    ),
    (
        "set -eu -o pipefail -ET",
        Bash,
        &[
            ("set -euETo pipefail", "", "", 0),
            ("echo a", "a\n", "", 0),
            ("set +euETo pipefail", "", "", 0),
        ],
    ),
    (
        "set -e with a failure",
        Any,
        &[
            ("set -e; false; echo no", "", ANY, 1),
            ("set +e", "", "", 0),
        ],
    ),
    (
        "set -u",
        Any,
        &[
            ("set -u; echo $NOPE; echo no", "", "NOPE", FAILS),
            ("set +u", "", "", 0),
        ],
    ),
    (
        "set -u left on",
        Any,
        &[
            ("set -u", "", "", 0),
            ("echo a", "a\n", "", 0),
            ("set +u", "", "", 0),
        ],
    ),
    (
        "set -x",
        Any,
        &[("set -x; echo hi; set +x", "hi\n", "+ echo hi\n", 0)],
    ),
    (
        "set -x left on",
        Any,
        &[
            ("set -x", "", "", 0),
            ("echo hi", "hi\n", "+ echo hi\n", 0),
            ("set +x", "", "+ set +x\n", 0),
        ],
    ),
    (
        "set -v left on",
        Any,
        &[
            ("set -v", "", "", 0),
            ("echo hi", "hi\n", ANY, 0),
            ("set +v", "", ANY, 0),
        ],
    ),
    (
        "set -n",
        Bash,
        &[("set -n; echo hi", WHICHEVER, ANY, WHATEVER)],
    ),
    (
        "set -t",
        Any,
        &[("set -t; echo hi", WHICHEVER, ANY, WHATEVER)],
    ),
    (
        "set -f, -b, -a, -k, -m",
        Bash,
        &[
            ("set -fabkm; echo hi", "hi\n", ANY, 0),
            ("set +fabkm", "", ANY, 0),
        ],
    ),
    (
        "set -o posix",
        Bash,
        &[
            ("set -o posix", "", "", 0),
            ("echo hi", "hi\n", "", 0),
            ("set +o posix", "", "", 0),
        ],
    ),
    (
        "set -C",
        Any,
        &[("set -C", "", "", 0), ("echo hi", "hi\n", "", 0)],
    ),
    (
        "POSIXLY_CORRECT",
        Any,
        &[
            ("POSIXLY_CORRECT=1", "", "", 0),
            ("echo $POSIXLY_CORRECT", "1\n", "", 0),
        ],
    ),
    (
        "exported POSIXLY_CORRECT",
        Any,
        &[
            ("export POSIXLY_CORRECT=7", "", "", 0),
            ("sh -c 'echo $POSIXLY_CORRECT'", "7\n", "", 0),
        ],
    ),
    (
        "left over from other languages",
        Any,
        &[
            ("@echo off", "", ANY, FAILS),
            ("Get-ChildItem", "", ANY, 127),
        ],
    ),
    (
        "${x:?boom}",
        Any,
        &[("echo ${NOPE:?boom}; echo no", "", "boom", FAILS)],
    ),
    (
        "exec 1>&-",
        Any,
        &[("exec 1>&-; echo hidden", "", ANY, FAILS)],
    ),
    (
        "exec >/dev/null",
        Any,
        &[("exec >/dev/null; echo hidden", "", "", 0)],
    ),
    ("exec 2>&1", Any, &[("exec 2>&1; echo e >&2", "e\n", "", 0)]),
    (
        "exec </dev/zero",
        Any,
        &[("exec </dev/null; cat", "", "", 0)],
    ),
    (
        "exec 8>&- 9>&-",
        Any,
        &[("exec 8>&- 9>&-; echo a", "a\n", "", 0)],
    ),
    (
        "exec 8>/dev/null",
        Any,
        &[("exec 8>/dev/null 9>/dev/null; echo a", "a\n", "", 0)],
    ),
    (
        "writing to our descriptors",
        Any,
        &[("echo a >&8; echo b >&9", WHICHEVER, ANY, WHATEVER)],
    ),
    ("exec true", Any, &[("exec true", "", "", 0)]),
    (
        "exec of nothing",
        Any,
        &[("exec /no/such", "", "/no/such", FAILS)],
    ),
    (
        "a child killed by a signal",
        Any,
        &[
            ("sh -c 'kill -KILL $$'", "", ANY, 137),
            (
                "sh -c 'kill -TERM $$' | cat; sleep 5 & kill $!; wait $!; echo x",
                "x\n",
                ANY,
                0,
            ),
        ],
    ),
    (
        "a writer in the background",
        Any,
        &[
            (
                "(sleep 0.3; printf late; printf late-e >&2) & printf now",
                "now",
                ANY,
                0,
            ),
            (
                "sleep 1.2; printf next; printf next-e >&2",
                "latenext",
                "late-enext-e",
                0,
            ),
        ],
    ),
    ("kill -9 $$", Any, &[("kill -9 $$", "", ANY, WHATEVER)]),
    (
        "kill -INT $$",
        Any,
        &[(
            "sh -c \"kill -INT $$\"; sleep 0.1; echo x",
            WHICHEVER,
            ANY,
            WHATEVER,
        )],
    ),
    (
        "kill -TERM $$",
        Any,
        &[("kill -TERM $$; echo alive", "alive\n", "", 0)],
    ),
    (
        "kill 0",
        OwnGroup,
        &[(
            "trap '' TERM; kill -TERM 0; trap - TERM; echo a",
            "a\n",
            ANY,
            0,
        )],
    ),
    (
        "kill -STOP of a child",
        Any,
        &[(
            "sleep 5 & kill -STOP $!; kill -KILL $!; echo a",
            "a\n",
            ANY,
            0,
        )],
    ),
    (
        "trap DEBUG",
        Bash,
        &[
            ("trap 'echo DBG' DEBUG", "", "", 0),
            ("true", "DBG\n", "", 0),
            ("trap - DEBUG", ANY, "", 0),
        ],
    ),
    (
        "trap ERR",
        Bash,
        &[
            ("trap 'echo ERR' ERR", "", "", 0),
            ("false", "ERR\n", "", 1),
            ("trap - ERR", "", "", 0),
        ],
    ),
    (
        "trap RETURN",
        Bash,
        &[
            ("trap 'echo RET' RETURN", "", "", 0),
            ("true", "", "", 0),
            ("trap - RETURN", "", "", 0),
        ],
    ),
    (
        "trap EXIT",
        Any,
        &[
            ("trap 'echo bye' EXIT; true", "", "", 0),
            ("exit 4", WHICHEVER, "", 4),
        ],
    ),
    (
        "trap INT",
        Any,
        &[
            ("trap 'echo int' INT; V=1", "", "", 0),
            ("exit 4", WHICHEVER, ANY, WHATEVER),
            ("trap - INT", "", "", 0),
        ],
    ),
    (
        "trap '' INT, then exit",
        Any,
        &[
            ("trap '' INT; exit 4; echo no", WHICHEVER, ANY, WHATEVER),
            ("trap - INT", "", "", 0),
        ],
    ),
    (
        "aliases",
        Any,
        &[(
            "alias eval=false command=false unset=false printf=false exec=false jobs=false",
            "",
            "",
            0,
        )],
    ),
    (
        "aliases of ours",
        Bash,
        &[(
            "shopt -s expand_aliases; alias eval=false command=false unset=false printf=false exec=false jobs=false builtin=false set=false __mcp_s=false",
            "",
            "",
            0,
        )],
    ),
    (
        "alias of a reserved word",
        Any,
        &[
            ("alias case=false if=false then=false echo=false", "", "", 0),
            ("unalias -a", "", "", 0),
        ],
    ),
    (
        "redefined echo and printf",
        Any,
        &[
            ("printf() { :; }; echo() { :; }", "", "", 0),
            ("ls -d /", "/\n", "", 0),
            ("unset -f printf echo", "", "", 0),
        ],
    ),
    (
        "redefined eval",
        Bash,
        &[("eval() { echo no; }", "", "", 0)],
    ),
    (
        "redefined exit",
        Bash,
        &[("exit() { echo mine; }; exit 3", "mine\n", "", 0)],
    ),
    (
        "redefined command, printf, read and jobs",
        Any,
        &[(
            "command() { :; }; printf() { :; }; read() { :; }; jobs() { echo 1; }",
            "",
            "",
            0,
        )],
    ),
    (
        "redefined command and builtin",
        Bash,
        &[("command() { :; }; builtin() { :; }", "", "", 0)],
    ),
    (
        "redefined unset",
        Bash,
        &[("unset() { :; }; exit 3", "", "", 3), ("true", "", "", 0)],
    ),
    (
        "redefined kill",
        Any,
        &[
            ("kill() { :; }; exit 3; echo no", "", "", 3),
            ("unset -f kill", "", "", 0),
        ],
    ),
    ("redefined jobs", Any, &[("jobs() { echo 1; }", "", "", 0)]),
    (
        "redefined return, set, exec, trap",
        Bash,
        &[(
            "return() { :; }; set() { :; }; exec() { :; }; trap() { :; }",
            "",
            "",
            0,
        )],
    ),
    (
        "redefined : and [ and test",
        Any,
        &[(
            "[() { false; }; test() { false; }; :() { false; }",
            "",
            ANY,
            WHATEVER,
        )],
    ),
    (
        "redefined everything we name",
        Bash,
        &[(
            "unset -f __mcp_s; unset __mcp_r __mcp_x __mcp_q",
            "",
            ANY,
            0,
        )],
    ),
    (
        "our names taken",
        Bash,
        &[(
            "__mcp_s() { echo no; }; __mcp_r=7 __mcp_q=n",
            "",
            ANY,
            WHATEVER,
        )],
    ),
    (
        "our functions unset",
        Bash,
        &[("unset -f __mcp_s __mcp_t __mcp_e", "", ANY, FAILS)],
    ),
    (
        "our status forged",
        Bash,
        &[("__mcp_x=9", "", "", WHATEVER)],
    ),
    (
        "our status forged for good",
        Bash,
        &[("readonly __mcp_x=9", WHICHEVER, ANY, WHATEVER)],
    ),
    (
        "our names read-only",
        Bash,
        &[
            ("readonly __mcp_r __mcp_x __mcp_c __mcp_q", "", "", 0),
            ("exit 3 # __mcp_x", "", ANY, FAILS),
        ],
    ),
    (
        "our names read-only with a value",
        Bash,
        &[("readonly __mcp_r=4 __mcp_c=5 __mcp_q=8", "", "", WHATEVER)],
    ),
    (
        "our names with attributes",
        Bash,
        &[(
            "declare -A __mcp_r __mcp_c; declare -n __mcp_q=z; declare -u __mcp_x",
            "",
            "",
            0,
        )],
    ),
    (
        "every variable read-only",
        Bash,
        &[
            ("V=1; readonly $(compgen -v); true", "", ANY, 0),
            ("[ $V = 1 ]", "", ANY, 0),
            ("kill -9 $$", "", ANY, WHATEVER),
        ],
    ),
    (
        "read-only POSIXLY_CORRECT",
        Bash,
        &[
            ("readonly POSIXLY_CORRECT", "", "", 0),
            ("exit 3", "", "", 3),
        ],
    ),
    (
        "read-only POSIXLY_CORRECT with a value",
        Bash,
        &[
            ("readonly POSIXLY_CORRECT=1", "", "", 0),
            ("false", "", "", 1),
        ],
    ),
    (
        "read-only POSIXLY_CORRECT and redefined words",
        Bash,
        &[(
            "readonly POSIXLY_CORRECT; builtin() { :; }; unset() { :; }; echo a",
            WHICHEVER,
            ANY,
            0,
        )],
    ),
    (
        "a read-only function in our way",
        Bash,
        &[(
            "builtin() { :; }; readonly -f builtin; false",
            WHICHEVER,
            ANY,
            1,
        )],
    ),
    (
        "enable -n printf, echo, kill",
        Bash,
        &[
            ("V=1; enable -n printf echo kill", "", "", 0),
            ("exit 3; echo $V", "", ANY, 3),
        ],
    ),
    (
        "enable -n command",
        Bash,
        &[
            ("V=1; enable -n command", "", "", 0),
            ("echo $V; false", "1\n", "", 1),
        ],
    ),
    (
        "enable -n builtin",
        Bash,
        &[
            ("V=1; enable -n builtin", "", "", 0),
            ("echo $V; false", "1\n", "", 1),
        ],
    ),
    (
        "enable -n unset",
        Bash,
        &[
            ("V=1; enable -n unset", "", "", 0),
            ("echo $V; false", "1\n", "", 1),
        ],
    ),
    (
        "enable -n eval",
        Bash,
        &[
            ("V=1; enable -n eval", "", "", 0),
            ("echo $V; false", "1\n", "", 1),
        ],
    ),
    (
        "enable -n of all that we need",
        Bash,
        &[
            (
                "V=1; enable -n builtin command eval exit jobs kill printf read return set shopt unset",
                "",
                "",
                0,
            ),
            ("echo $V", "1\n", "", 0),
        ],
    ),
    (
        "enable -n of all there is",
        Bash,
        &[("enable -n $(compgen -b)", WHICHEVER, ANY, WHATEVER)],
    ),
    (
        "enable -n enable",
        Bash,
        &[
            ("V=1; enable -n enable", "", "", 0),
            ("echo $V; exit 3", "1\n", "", 3),
        ],
    ),
    (
        "enable -n enable, printf",
        Bash,
        &[("enable -n enable printf; echo a; false", WHICHEVER, ANY, 1)],
    ),
    (
        "enable -n enable, eval",
        Bash,
        &[("enable -n enable eval; false", WHICHEVER, ANY, 1)],
    ),
    (
        "enable -n enable, builtin",
        Bash,
        &[("enable -n enable builtin", WHICHEVER, ANY, 0)],
    ),
    (
        "enable -n unset, and builtin redefined",
        Bash,
        &[("enable -n unset; builtin() { :; }", WHICHEVER, ANY, 0)],
    ),
    (
        "redefined enable",
        Bash,
        &[
            ("enable() { :; }; enable -n builtin", "", "", 0),
            ("unset -f enable; exit 3", "", "", 3),
        ],
    ),
    (
        "hash -p",
        Bash,
        &[(
            "hash -p /bin/false printf; hash -p /bin/false command",
            "",
            ANY,
            WHATEVER,
        )],
    ),
    (
        "no descriptors left",
        Bash,
        &[("ulimit -Sn 5; true", WHICHEVER, ANY, WHATEVER)],
    ),
    (
        "FUNCNEST",
        Bash,
        &[
            ("FUNCNEST=1; f() { echo f; }; f", "f\n", "", 0),
            ("exit 3", "", "", 3),
        ],
    ),
    (
        "words taken by PROMPT_COMMAND",
        Bash,
        &[
            ("PROMPT_COMMAND='unset() { :; }; eval() { :; }'", "", "", 0),
            ("unset PROMPT_COMMAND; echo a", "a\n", "", 0),
        ],
    ),
    (
        "command_not_found_handle",
        Bash,
        &[
            ("command_not_found_handle() { kill -9 $$; }", "", "", 0),
            ("exit 3", "", "", 3),
        ],
    ),
    (
        "set -e and a redefined command",
        Any,
        &[
            ("command() { :; }; set -e", "", "", 0),
            ("set +e", "", "", 0),
        ],
    ),
    (
        "shopt -u expand_aliases",
        Bash,
        &[
            ("shopt -u expand_aliases", "", "", 0),
            ("shopt -q expand_aliases", "", "", 1),
        ],
    ),
    (
        "PATH gone",
        Bash,
        &[
            ("OP=$PATH; unset PATH", "", "", 0),
            ("pwd >/dev/null; echo ok; exit 3", "ok\n", "", 3),
            ("PATH=$OP", "", "", 0),
        ],
    ),
    (
        "PATH empty",
        Bash,
        &[
            ("OP=$PATH; PATH=", "", "", 0),
            ("exit 3", "", "", 3),
            ("PATH=$OP", "", "", 0),
        ],
    ),
    (
        "PATH spoiled",
        Any,
        &[
            ("OP=$PATH; PATH=/nonexistent", "", "", 0),
            ("pwd >/dev/null; echo ok", "ok\n", "", 0),
            ("PATH=$OP", "", "", 0),
        ],
    ),
    (
        "IFS spoiled",
        Bash,
        &[
            ("IFS=0123456789abcdef:", "", "", 0),
            ("echo \"ok\"; false", "ok\n", "", 1),
            ("exit 3", "", "", 3),
            ("unset IFS", "", "", 0),
        ],
    ),
    (
        "IFS spoiled, in any shell",
        Any,
        &[
            ("IFS=0123456789abcdef:", "", "", 0),
            ("echo \"ok\"; false", "ok\n", "", 1),
            ("unset IFS", "", "", 0),
        ],
    ),
    (
        "IFS read-only as it is",
        Bash,
        &[("readonly IFS", "", "", 0), ("exit 3", "", "", 3)],
    ),
    ("IFS read-only", Any, &[("readonly IFS=:1", "", "", 0)]),
    (
        "PS1, PROMPT_COMMAND, PS0",
        Any,
        &[
            (
                "PS1='p> '; PS2=q; PS0=r; PROMPT_COMMAND='echo pc'",
                "",
                "",
                0,
            ),
            ("echo a", "a\n", ANY, 0),
            ("unset PS0 PROMPT_COMMAND", "", ANY, 0),
        ],
    ),
    (
        "TMOUT",
        Any,
        &[
            ("TMOUT=1", "", "", 0),
            ("sleep 1.5; unset TMOUT; echo a", "a\n", "", 0),
        ],
    ),
    (
        "BASH_ENV and ENV",
        Any,
        &[
            ("export BASH_ENV=/no/such ENV=/no/such", "", "", 0),
            ("echo a", "a\n", "", 0),
        ],
    ),
    (
        "LC_ALL",
        Any,
        &[
            ("export LC_ALL=C; printf 'é\\n'", "é\n", "", 0),
            ("unset LC_ALL", "", "", 0),
        ],
    ),
    (
        "read-only variables",
        Any,
        &[("readonly RO=1; RO=2; echo after", WHICHEVER, "RO", WHATEVER)],
    ),
    (
        "readonly PWD",
        Any,
        &[("readonly PWD OLDPWD; cd /usr; true", "", ANY, WHATEVER)],
    ),
    (
        "break, continue, return",
        Any,
        &[
            ("break", "", ANY, WHATEVER),
            ("continue", "", ANY, WHATEVER),
            ("return 5", "", ANY, WHATEVER),
        ],
    ),
    ("shift too far", Bash, &[("shift 9; echo $?", "1\n", "", 0)]),
    ("shift much too far", Any, &[("shift 99", "", ANY, FAILS)]),
    (
        "nothing of that name",
        Any,
        &[
            ("command -v no-such-program", "", "", FAILS),
            ("no-such-program", "", ANY, 127),
        ],
    ),
    (
        "history expansion",
        Any,
        &[("echo \"hi!x\" '!!' !x", "hi!x !! !x\n", "", 0)],
    ),
    (
        "quotes and backslashes",
        Any,
        &[(
            "printf '%s\\n' 'it'\\''s'\" \\$x\"' é日🚀 'a\\\\b",
            "it's $x é日🚀 a\\b\n",
            "",
            0,
        )],
    ),
    (
        "carriage returns",
        Any,
        &[("echo a\r\necho b\r\n", "a\r\nb\r\n", "", 0)],
    ),
    ("tabs", Any, &[("\techo\t'a\tb'", "a\tb\n", "", 0)]),
    (
        "control characters",
        Any,
        &[(
            "printf '%s' '\u{1}\u{3}\u{4}\u{7f}\u{1a}' | wc -c",
            "5\n",
            "",
            0,
        )],
    ),
    (
        "no terminal",
        Any,
        &[(
            "tty; [ -t 0 ] || [ -t 1 ] || [ -t 2 ] || echo none",
            "not a tty\nnone\n",
            "",
            0,
        )],
    ),
    (
        "nested eval and source",
        Any,
        &[(
            "eval 'eval \"echo a\"'; . /dev/stdin <<E\necho b\nE",
            "a\nb\n",
            "",
            0,
        )],
    ),
    (
        "source of nothing",
        Any,
        &[(". /no/such", "", "/no/such", FAILS)],
    ),
    (
        "coproc",
        Bash,
        &[(
            "coproc cat; echo x >&${COPROC[1]}; read y <&${COPROC[0]}; kill $COPROC_PID; echo $y",
            "x\n",
            ANY,
            0,
        )],
    ),
    (
        "process substitution",
        Bash,
        &[(
            "cat <(echo a) <(echo b); echo c > >(cat); wait; sleep 0.1",
            "a\nb\nc\n",
            "",
            0,
        )],
    ),
    (
        "set -m jobs",
        Bash,
        &[
            ("set -m; sleep 0.1 & fg", "sleep 0.1\n", ANY, 0),
            ("set +m", "", ANY, 0),
        ],
    ),
    ("suspend", Any, &[("suspend", "", ANY, FAILS)]),
    (
        "ulimit -f 0",
        Any,
        &[("(ulimit -f 0; echo a)", "a\n", "", 0)],
    ),
    (
        "bash, and exit of it",
        Bash,
        &[
            ("bash -i -c 'exit 3'", "", ANY, 3),
            ("bash -c 'kill -9 $$'", "", ANY, 137),
        ],
    ),
];
