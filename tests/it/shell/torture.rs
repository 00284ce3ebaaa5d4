//! Nothing that a command does breaks the framing: each leaves its own stdout, stderr and status right, and the next
//! command in step.

use crate::commands::{code, counted, open_with, plain, status};

/// Any text on stderr, or none.
const ANY: &str = "*";
/// Any exit status but 0.
const FAILS: i64 = -1;
/// Any exit status, or none.
const WHATEVER: i64 = -2;
/// In the place of an expected stdout: not looked at.
const WHICHEVER: &str = "\0";

/// A command, what it prints on stdout, what stderr holds ("" is nothing at all), and its exit status.
type Step = (&'static str, &'static str, &'static str, i64);

const TABLE: &[(&str, &[Step])] = &[
    ("nothing at all", &[("", "", "", 0), ("   \n\n", "", "", 0), ("# only a comment", "", "", 0)]),
    ("a comment behind a command", &[("echo x # c", "x\n", "", 0)]),
    ("no final newline", &[("printf abc; printf err >&2", "abc", "err", 0)]),
    ("trailing backslash", &[("echo hi \\", WHICHEVER, "", 0)]),
    ("unbalanced single quote", &[("echo 'abc", "", ANY, FAILS)]),
    ("unbalanced double quote", &[("echo \"abc", "", ANY, FAILS)]),
    ("unbalanced back quote", &[("echo `abc", WHICHEVER, ANY, WHATEVER)]),
    ("unbalanced $(", &[("echo $(abc", "", ANY, FAILS)]),
    ("unbalanced ${", &[("echo ${abc", "", ANY, FAILS)]),
    ("unfinished here-document", &[("cat <<EOF\nline", "line\n", ANY, 0)]),
    ("unfinished here-document of ours", &[("cat <<'EOF' >&8\nline", WHICHEVER, ANY, WHATEVER)]),
    ("stray )", &[(")", "", ANY, FAILS)]),
    ("stray }", &[("}", "", ANY, FAILS)]),
    ("stray done", &[("done", "", ANY, FAILS)]),
    ("unfinished if", &[("if true; then", "", ANY, FAILS)]),
    ("unfinished function", &[("f() {", "", ANY, FAILS)]),
    ("syntax error in the middle", &[("echo a\necho b )\necho c", WHICHEVER, ANY, FAILS)]),
    ("here-document", &[("cat <<EOF\nl1\n$((1+1))\nEOF\necho z", "l1\n2\nz\n", "", 0)]),
    ("here-document inside quotes of quotes", &[("cat <<'E'\nit's \"x\" \\\nE\n", "it's \"x\" \\\n", "", 0)]),
    ("here-string", &[("cat <<<\"it's\"", "it's\n", "", 0)]),
    ("cat", &[("cat; echo after", "after\n", "", 0)]),
    ("read", &[("read x; echo \"[$x] $?\"", "[] 1\n", "", 0)]),
    ("while read", &[("while read x; do echo \"$x\"; done; echo end", "end\n", "", 0)]),
    ("mapfile", &[("mapfile x; echo ${#x[@]}", "0\n", "", 0)]),
    ("sh, bash, head", &[("sh; bash; head -c 10; cat /dev/stdin; cat <&0; echo e", "e\n", "", 0)]),
    ("/proc/$$/fd/0", &[("timeout 1 cat /proc/$$/fd/0; echo after", "after\n", "", 0)]),
    ("reading our descriptors", &[("read x <&8; read x <&9; echo after", "after\n", ANY, 0)]),
    ("invalid UTF-8", &[("printf '\\377\\376'; printf '\\200' >&2", "\u{fffd}\u{fffd}", "\u{fffd}", 0)]),
    ("NUL bytes", &[("printf 'a\\000b\\000'", "a\0b\0", "", 0)]),
    ("record separators", &[("printf '\\036\\036x\\036'; printf '\\036' >&2", "\u{1e}\u{1e}x\u{1e}", "\u{1e}", 0)]),
    (
        "text like a trailer",
        &[(
            "M=deadbeefdeadbeefdeadbeefdeadbeef; printf \"\\036$M:0::/\\036$M;\"; echo x",
            "\u{1e}deadbeefdeadbeefdeadbeefdeadbeef:0::/\u{1e}deadbeefdeadbeefdeadbeefdeadbeef;x\n",
            "",
            0,
        )],
    ),
    ("status of a subshell", &[("(exit 7)", "", "", 7), ("exit_status=$?; echo $exit_status", "7\n", "", 0)]),
    ("exit 3 keeps the shell", &[("V=1; exit 3; echo no", "", "", 3), ("echo $V", "1\n", "", 0)]),
    (
        "exit without a status",
        &[("(exit 4); exit; echo no", "", "", 4), ("exit", "", "", 4), ("true; exit", "", "", 0)],
    ),
    ("exit in a function", &[("f() { exit 5; echo no; }; f; echo no", "", "", 5)]),
    ("exit in a subshell", &[("(echo a; exit 6); echo $?", "a\n6\n", "", 0)]),
    ("exit in a pipeline", &[("echo a | { cat; exit 6; }; echo $?", "a\n6\n", "", 0)]),
    ("exit in $(...)", &[("x=$(echo a; exit 6); echo $x $?", "a 6\n", "", 0)]),
    (
        "exit with any number",
        &[
            ("V=1; exit abc", "", "abc", FAILS),
            ("exit 300", "", "", 44),
            ("exit -1", "", "", 255),
            ("echo $V", "1\n", "", 0),
        ],
    ),
    ("logout", &[("logout", "", ANY, WHATEVER)]),
    ("set -e with a success", &[("set -e", "", "", 0), ("true; echo a", "a\n", "", 0), ("set +e", "", "", 0)]),
    ("set -e and exit", &[("set -e; exit 3", "", "", 3), ("exit 0", "", "", 0), ("set +e", "", "", 0)]),
    (
        "set -eu -o pipefail -ET",
        &[("set -euETo pipefail", "", "", 0), ("echo a", "a\n", "", 0), ("set +euETo pipefail", "", "", 0)],
    ),
    ("set -e with a failure", &[("set -e; false; echo no", "", ANY, 1), ("set +e", "", "", 0)]),
    ("set -u", &[("set -u; echo $NOPE; echo no", "", "NOPE", FAILS), ("set +u", "", "", 0)]),
    ("set -u left on", &[("set -u", "", "", 0), ("echo a", "a\n", "", 0), ("set +u", "", "", 0)]),
    ("set -x", &[("set -x; echo hi; set +x", "hi\n", "+ echo hi\n", 0)]),
    (
        "set -x left on",
        &[("set -x", "", "", 0), ("echo hi", "hi\n", "+ echo hi\n", 0), ("set +x", "", "+ set +x\n", 0)],
    ),
    ("set -v left on", &[("set -v", "", "", 0), ("echo hi", "hi\n", ANY, 0), ("set +v", "", ANY, 0)]),
    ("set -n", &[("set -n; echo hi", WHICHEVER, ANY, WHATEVER)]),
    ("set -t", &[("set -t; echo hi", WHICHEVER, ANY, WHATEVER)]),
    ("set -f, -b, -a, -k, -m", &[("set -fabkm; echo hi", "hi\n", ANY, 0), ("set +fabkm", "", ANY, 0)]),
    ("set -o posix", &[("set -o posix", "", "", 0), ("echo hi", "hi\n", "", 0), ("set +o posix", "", "", 0)]),
    ("set -C", &[("set -C", "", "", 0), ("echo hi", "hi\n", "", 0)]),
    ("POSIXLY_CORRECT", &[("POSIXLY_CORRECT=1", "", "", 0), ("echo $POSIXLY_CORRECT", "1\n", "", 0)]),
    (
        "exported POSIXLY_CORRECT",
        &[("export POSIXLY_CORRECT=7", "", "", 0), ("sh -c 'echo $POSIXLY_CORRECT'", "7\n", "", 0)],
    ),
    ("${x:?boom}", &[("echo ${NOPE:?boom}; echo no", "", "boom", FAILS)]),
    ("exec 1>&-", &[("exec 1>&-; echo hidden", "", ANY, FAILS)]),
    ("exec >/dev/null", &[("exec >/dev/null; echo hidden", "", "", 0)]),
    ("exec 2>&1", &[("exec 2>&1; echo e >&2", "e\n", "", 0)]),
    ("exec </dev/zero", &[("exec </dev/null; cat", "", "", 0)]),
    ("exec 8>&- 9>&-", &[("exec 8>&- 9>&-; echo a", "a\n", "", 0)]),
    ("exec 8>/dev/null", &[("exec 8>/dev/null 9>/dev/null; echo a", "a\n", "", 0)]),
    ("writing to our descriptors", &[("echo a >&8; echo b >&9", WHICHEVER, ANY, WHATEVER)]),
    ("exec true", &[("exec true", "", "", 0)]),
    ("exec of nothing", &[("exec /no/such", "", "/no/such", FAILS)]),
    (
        "a child killed by a signal",
        &[
            ("sh -c 'kill -KILL $$'", "", "", 137),
            ("sh -c 'kill -TERM $$' | cat; sleep 5 & kill $!; wait $!; echo x", "x\n", ANY, 0),
        ],
    ),
    ("kill -9 $$", &[("kill -9 $$", "", ANY, WHATEVER)]),
    ("kill -INT $$", &[("sh -c \"kill -INT $$\"; sleep 0.1; echo x", WHICHEVER, ANY, WHATEVER)]),
    ("kill -TERM $$", &[("kill -TERM $$; echo alive", "alive\n", "", 0)]),
    ("kill 0", &[("trap '' TERM; kill -TERM 0; trap - TERM; echo a", "a\n", ANY, 0)]),
    ("kill -STOP of a child", &[("sleep 5 & kill -STOP $!; kill -KILL $!; echo a", "a\n", ANY, 0)]),
    ("trap DEBUG", &[("trap 'echo DBG' DEBUG", "", "", 0), ("true", "DBG\n", "", 0), ("trap - DEBUG", ANY, "", 0)]),
    ("trap ERR", &[("trap 'echo ERR' ERR", "", "", 0), ("false", "ERR\n", "", 1), ("trap - ERR", "", "", 0)]),
    ("trap RETURN", &[("trap 'echo RET' RETURN", "", "", 0), ("true", "", "", 0), ("trap - RETURN", "", "", 0)]),
    ("trap EXIT", &[("trap 'echo bye' EXIT; true", "", "", 0), ("exit 4", WHICHEVER, "", 4)]),
    (
        "trap INT",
        &[("trap 'echo int' INT; V=1", "", "", 0), ("exit 4", WHICHEVER, ANY, WHATEVER), ("trap - INT", "", "", 0)],
    ),
    (
        "trap '' INT, then exit",
        &[("trap '' INT; exit 4; echo no", WHICHEVER, ANY, WHATEVER), ("trap - INT", "", "", 0)],
    ),
    (
        "aliases",
        &[(
            "shopt -s expand_aliases; alias eval=false command=false unset=false printf=false exec=false jobs=false __mcp_s=false",
            "",
            "",
            0,
        )],
    ),
    (
        "alias of a reserved word",
        &[
            ("shopt -s expand_aliases; alias case=false if=false then=false echo=false", "", "", 0),
            ("unalias -a", "", "", 0),
        ],
    ),
    (
        "redefined echo and printf",
        &[
            ("printf() { :; }; echo() { :; }", "", "", 0),
            ("ls -d /", "/\n", "", 0),
            ("unset -f printf echo", "", "", 0),
        ],
    ),
    ("redefined eval", &[("eval() { echo no; }", "", "", 0)]),
    ("redefined exit", &[("exit() { echo mine; }; exit 3", "mine\n", "", 0)]),
    ("redefined command and builtin", &[("command() { :; }; builtin() { :; }", "", "", 0)]),
    ("redefined unset", &[("unset() { :; }; exit 3", "", "", 3), ("true", "", "", 0)]),
    ("redefined kill", &[("kill() { :; }; exit 3; echo no", "", "", 3), ("unset -f kill", "", "", 0)]),
    ("redefined jobs", &[("jobs() { echo 1; }", "", "", 0)]),
    (
        "redefined return, set, exec, trap",
        &[("return() { :; }; set() { :; }; exec() { :; }; trap() { :; }", "", "", 0)],
    ),
    ("redefined : and [ and test", &[("[() { false; }; test() { false; }; :() { false; }", "", ANY, WHATEVER)]),
    ("redefined everything we name", &[("unset -f __mcp_s; unset __mcp_r __mcp_x __mcp_q", "", ANY, 0)]),
    ("our names taken", &[("__mcp_s() { echo no; }; __mcp_r=7 __mcp_q=n", "", ANY, WHATEVER)]),
    ("our functions unset", &[("unset -f __mcp_s __mcp_t __mcp_e", "", ANY, FAILS)]),
    ("our status forged", &[("__mcp_x=9", "", "", WHATEVER)]),
    ("our status forged for good", &[("readonly __mcp_x=9", WHICHEVER, ANY, WHATEVER)]),
    (
        "our names read-only",
        &[("readonly __mcp_r __mcp_x __mcp_c __mcp_q", "", "", 0), ("exit 3 # __mcp_x", "", ANY, FAILS)],
    ),
    ("our names read-only with a value", &[("readonly __mcp_r=4 __mcp_c=5 __mcp_q=8", "", "", WHATEVER)]),
    (
        "our names with attributes",
        &[("declare -A __mcp_r __mcp_c; declare -n __mcp_q=z; declare -u __mcp_x", "", "", 0)],
    ),
    (
        "every variable read-only",
        &[
            ("V=1; readonly $(compgen -v); true", "", ANY, 0),
            ("[ $V = 1 ]", "", ANY, 0),
            ("kill -9 $$", "", ANY, WHATEVER),
        ],
    ),
    ("read-only POSIXLY_CORRECT", &[("readonly POSIXLY_CORRECT", "", "", 0), ("exit 3", "", "", 3)]),
    ("read-only POSIXLY_CORRECT with a value", &[("readonly POSIXLY_CORRECT=1", "", "", 0), ("false", "", "", 1)]),
    (
        "read-only POSIXLY_CORRECT and redefined words",
        &[("readonly POSIXLY_CORRECT; builtin() { :; }; unset() { :; }; echo a", WHICHEVER, ANY, 0)],
    ),
    ("a read-only function in our way", &[("builtin() { :; }; readonly -f builtin; false", WHICHEVER, ANY, 1)]),
    (
        "enable -n printf, echo, kill",
        &[("V=1; enable -n printf echo kill", "", "", 0), ("exit 3; echo $V", "", ANY, 3)],
    ),
    ("enable -n command", &[("V=1; enable -n command", "", "", 0), ("echo $V; false", "1\n", "", 1)]),
    ("enable -n builtin", &[("V=1; enable -n builtin", "", "", 0), ("echo $V; false", "1\n", "", 1)]),
    ("enable -n unset", &[("V=1; enable -n unset", "", "", 0), ("echo $V; false", "1\n", "", 1)]),
    ("enable -n eval", &[("V=1; enable -n eval", "", "", 0), ("echo $V; false", "1\n", "", 1)]),
    (
        "enable -n of all that we need",
        &[
            ("V=1; enable -n builtin command eval exit jobs kill printf read return set shopt unset", "", "", 0),
            ("echo $V", "1\n", "", 0),
        ],
    ),
    ("enable -n of all there is", &[("enable -n $(compgen -b)", WHICHEVER, ANY, WHATEVER)]),
    ("enable -n enable", &[("V=1; enable -n enable", "", "", 0), ("echo $V; exit 3", "1\n", "", 3)]),
    ("enable -n enable, printf", &[("enable -n enable printf; echo a; false", WHICHEVER, ANY, 1)]),
    ("enable -n enable, eval", &[("enable -n enable eval; false", WHICHEVER, ANY, 1)]),
    ("enable -n enable, builtin", &[("enable -n enable builtin", WHICHEVER, ANY, 0)]),
    ("enable -n unset, and builtin redefined", &[("enable -n unset; builtin() { :; }", WHICHEVER, ANY, 0)]),
    ("redefined enable", &[("enable() { :; }; enable -n builtin", "", "", 0), ("unset -f enable; exit 3", "", "", 3)]),
    ("hash -p", &[("hash -p /bin/false printf; hash -p /bin/false command", "", ANY, WHATEVER)]),
    ("no descriptors left", &[("ulimit -Sn 5; true", WHICHEVER, ANY, WHATEVER)]),
    ("FUNCNEST", &[("FUNCNEST=1; f() { echo f; }; f", "f\n", "", 0), ("exit 3", "", "", 3)]),
    (
        "words taken by PROMPT_COMMAND",
        &[
            ("PROMPT_COMMAND='unset() { :; }; eval() { :; }'", "", "", 0),
            ("unset PROMPT_COMMAND; echo a", "a\n", "", 0),
        ],
    ),
    ("command_not_found_handle", &[("command_not_found_handle() { kill -9 $$; }", "", "", 0), ("exit 3", "", "", 3)]),
    (
        "shopt -u expand_aliases",
        &[("shopt -u expand_aliases", "", "", 0), ("shopt expand_aliases", "expand_aliases \toff\n", "", 1)],
    ),
    (
        "PATH gone",
        &[
            ("OP=$PATH; unset PATH", "", "", 0),
            ("pwd >/dev/null; echo ok; exit 3", "ok\n", "", 3),
            ("PATH=$OP", "", "", 0),
        ],
    ),
    ("PATH empty", &[("OP=$PATH; PATH=", "", "", 0), ("exit 3", "", "", 3), ("PATH=$OP", "", "", 0)]),
    (
        "PATH spoiled",
        &[
            ("OP=$PATH; PATH=/nonexistent", "", "", 0),
            ("pwd >/dev/null; echo ok", "ok\n", "", 0),
            ("PATH=$OP", "", "", 0),
        ],
    ),
    (
        "IFS spoiled",
        &[
            ("IFS=0123456789abcdef:", "", "", 0),
            ("echo \"ok\"; false", "ok\n", "", 1),
            ("exit 3", "", "", 3),
            ("unset IFS", "", "", 0),
        ],
    ),
    ("IFS read-only as it is", &[("readonly IFS", "", "", 0), ("exit 3", "", "", 3)]),
    ("IFS read-only", &[("readonly IFS=:1", "", "", 0)]),
    (
        "PS1, PROMPT_COMMAND, PS0",
        &[
            ("PS1='p> '; PS2=q; PS0=r; PROMPT_COMMAND='echo pc'", "", "", 0),
            ("echo a", "a\n", ANY, 0),
            ("unset PS0 PROMPT_COMMAND", "", ANY, 0),
        ],
    ),
    ("TMOUT", &[("TMOUT=1", "", "", 0), ("sleep 1.5; unset TMOUT; echo a", "a\n", "", 0)]),
    ("BASH_ENV and ENV", &[("export BASH_ENV=/no/such ENV=/no/such", "", "", 0), ("echo a", "a\n", "", 0)]),
    ("LC_ALL", &[("export LC_ALL=C; printf 'é\\n'", "é\n", "", 0), ("unset LC_ALL", "", "", 0)]),
    ("read-only variables", &[("readonly RO=1; RO=2; echo after", WHICHEVER, "RO", WHATEVER)]),
    ("readonly PWD", &[("readonly PWD OLDPWD; cd /usr; true", "", ANY, WHATEVER)]),
    (
        "break, continue, return",
        &[("break", "", ANY, WHATEVER), ("continue", "", ANY, WHATEVER), ("return 5", "", ANY, WHATEVER)],
    ),
    ("shift too far", &[("shift 9; echo $?", "1\n", "", 0)]),
    ("history expansion", &[("echo \"hi!x\" '!!' !x", "hi!x !! !x\n", "", 0)]),
    ("quotes and backslashes", &[("printf '%s\\n' 'it'\\''s'\" \\$x\"' é日🚀 'a\\\\b", "it's $x é日🚀 a\\b\n", "", 0)]),
    ("carriage returns", &[("echo a\r\necho b\r\n", "a\r\nb\r\n", "", 0)]),
    ("tabs", &[("\techo\t'a\tb'", "a\tb\n", "", 0)]),
    ("control characters", &[("printf '%s' '\u{1}\u{3}\u{4}\u{7f}\u{1a}' | wc -c", "5\n", "", 0)]),
    ("no terminal", &[("tty; [ -t 0 ] || [ -t 1 ] || [ -t 2 ] || echo none", "not a tty\nnone\n", "", 0)]),
    ("nested eval and source", &[("eval 'eval \"echo a\"'; source /dev/stdin <<<'echo b'", "a\nb\n", "", 0)]),
    ("source of nothing", &[("source /no/such; echo $?", "1\n", "/no/such", 0), (". /no/such", "", "/no/such", 1)]),
    (
        "coproc",
        &[("coproc cat; echo x >&${COPROC[1]}; read y <&${COPROC[0]}; kill $COPROC_PID; echo $y", "x\n", ANY, 0)],
    ),
    ("process substitution", &[("cat <(echo a) <(echo b); echo c > >(cat); wait; sleep 0.1", "a\nb\nc\n", "", 0)]),
    ("set -m jobs", &[("set -m; sleep 0.1 & fg", "sleep 0.1\n", ANY, 0), ("set +m", "", ANY, 0)]),
    ("suspend", &[("suspend", "", ANY, FAILS)]),
    ("ulimit -f 0", &[("(ulimit -f 0; echo a)", "a\n", "", 0)]),
    ("bash, and exit of it", &[("bash -i -c 'exit 3'", "", ANY, 3), ("bash -c 'kill -9 $$'", "", ANY, 137)]),
];

#[tokio::test]
async fn no_command_breaks_the_framing() {
    let mut bench = open_with(|settings| settings.max_sessions = 1000).await;
    let mut wrong = Vec::new();
    for (name, steps) in TABLE {
        let shell = serde_json::json!({"shell": name, "timeoutMs": 10_000});
        // Two commands in step: the one may still have had what was meant for the other.
        let after: [Step; 2] = [("echo in step; echo e >&2", "in step\n", "e\n", 0), ("sh -c 'exit 2'", "", "", 2)];
        for (number, (command, stdout, stderr, exit)) in steps.iter().chain(&after).enumerate() {
            let result = bench.shell(command, shell.clone()).await;
            let right = [WHICHEVER, ANY].contains(stdout) || result.stdout() == *stdout;
            let right = right
                && match *stderr {
                    "" => result.stderr().is_empty(),
                    ANY => true,
                    text => result.stderr().contains(text),
                };
            let seen = code(&result);
            let right = right
                && match *exit {
                    WHATEVER => true,
                    FAILS => seen.is_some_and(|code| code != 0),
                    exact => seen == Some(exact),
                };
            // At once, and not because its time was up.
            let right = right && ["exited", "signaled"].contains(&status(&result));
            let ours = ["__mcp", "POSIXLY_CORRECT;"].iter().any(|word| result.stderr().contains(word));
            let ours = ours && !command.contains("__mcp");
            if !right || ours || (number >= steps.len() && result.stderr().len() > 2) {
                wrong.push(format!("{name}, {command:?}: {:?}", result.blocks()));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), TABLE.len(), wrong.join("\n"));
}

#[tokio::test]
async fn scripts_of_megabytes_run() {
    let mut bench = open_with(|_| {}).await;
    let value = |length| format!("x='{}'; echo ${{#x}}; unset x", "y".repeat(length));
    let lines = counted(20_000, |n| format!(": line {n} \"it's\"\n"));
    let quotes = format!("printf %s \"{}\" | wc -c", "'".repeat(100_000));
    let both = format!("yes | head -c 3000000; : '{}'; yes | head -c 3000000 >&2; echo end", "z".repeat(3_000_000));
    for (script, ends) in [
        (value(300_000), "300000\n"),
        (value(3_000_000), "3000000\n"),
        (format!("{lines}echo done"), "done\n"),
        (quotes, "100000\n"),
        (both, "end\n"),
    ] {
        let result = bench.shell(&script, plain()).await;
        assert!(result.stdout().ends_with(ends) && code(&result) == Some(0), "{}", result.status_line());
        assert_eq!(bench.shell("echo in step", plain()).await.stdout(), "in step\n");
    }
}

#[tokio::test]
async fn a_nul_byte_in_a_command_is_refused_and_changes_nothing() {
    let mut bench = open_with(|_| {}).await;
    bench.shell("V=1", plain()).await;
    let refused = bench.mcp.call("ssh_shell", serde_json::json!({"command": "V=2\0"})).await;
    assert!(refused.is_error() && refused.text().contains("NUL"), "{refused:?}");
    assert_eq!(bench.shell("echo $V", plain()).await.stdout(), "1\n");
}

#[tokio::test]
async fn a_directory_of_any_name_is_reported_and_kept() {
    let mut bench = open_with(|_| {}).await;
    let home = bench.home.display().to_string();
    for (name, shown) in [
        ("a'b\nc \"d\"", "a'b\\nc \"d\""),
        ("a:b;c\u{1e}d", "a:b;c\\u{1e}d"),
        ("-n", "-n"),
        ("é日🚀", "é日🚀"),
        ("$x`id`\\", "$x`id`\\"),
    ] {
        std::fs::create_dir(bench.home.join(name)).unwrap();
        let quoted = name.replace('\'', "'\\''");
        let result = bench.shell(&format!("cd '{home}/{quoted}'"), plain()).await;
        assert_eq!((code(&result), &result.outcome()["cwd"]), (Some(0), &format!("{home}/{shown}").into()), "{name:?}");
        assert_eq!(bench.shell("pwd", plain()).await.stdout(), format!("{home}/{name}\n"));
        bench.shell("kill -9 $$", plain()).await;
        assert_eq!(bench.shell("pwd", plain()).await.stdout(), format!("{home}/{name}\n"), "after a new start");
    }
}
