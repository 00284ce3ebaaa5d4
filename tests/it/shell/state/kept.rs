//! What comes back.

use std::fs;

use serde_json::json;

use super::{MAX_PAUSE, TAKING, in_time, leave_alone, lose, named, notice, over_a_loss};
use crate::support::{
    checks::{code, eventually, plain, status},
    fixture::TestHost,
};

/// A state, and a command that shows it: the same before and after.
const TABLE: &[(&str, &str)] = &[
    ("V='a b' E= N=$'\\n'", "printf '<%s>' \"$V\" \"$E\" \"$N\""),
    (
        "V=$'a\\nb\\tc\\'d\"e\\\\f$x`id`!g\\001\\037\\177\\200\\377 é日'",
        "printf %s \"$V\" | od -An -tx1",
    ),
    (
        "V=$'\\036deadbeef o\\n'; W='$(touch evil); `touch evil`'",
        "printf '%s' \"$V$W\" | od -An -tx1; ls evil 2>&1",
    ),
    (
        "V=$'trailing\\n\\n\\n'; W='  blank  '",
        "printf '<%s>' \"$V\" \"$W\" | od -An -tx1",
    ),
    (
        "export V='a  b' W; declare -x U",
        "declare -p V W U; sh -c 'echo \"$V\"'",
    ),
    (
        "declare -i N=41; declare -l L=ABC; declare -u C=abc",
        "N+=1; L=XYZ; C=xyz; echo $N $L $C",
    ),
    (
        "readonly R='a b'; declare -rx X=2; declare -ri I=3",
        "R=no; declare -p R X I",
    ),
    (
        "declare -n REF=TARGET; TARGET=seen",
        "echo $REF; REF=new; echo $TARGET; declare -p REF",
    ),
    (
        "A=(x 'y z' $'n\\nl' \"it's\" '' '*'); A[9]=sparse; declare -a EMPTY=() NONE",
        "declare -p A EMPTY NONE",
    ),
    (
        "declare -A M=([k]=v ['a b']='c d' [$'n\\nl']=$'x\\ny' [']']='[' ['$x']='\"' [é]=日); declare -A O=() P",
        "for k in k 'a b' $'n\\nl' ']' '$x' é; do printf '<%s>' \"${M[$k]}\"; done; echo ${#M[@]}; declare -p O P",
    ),
    (
        "declare -ax XA=(1 2); declare -ir RI=5; declare -ra RA=(a b)",
        "declare -p XA RI RA",
    ),
    (
        "f() { local x=$1; echo \"f:$x\"; }; g() { f \"$@\"; return 3; }",
        "g 'a  b'; echo $?; declare -f f g",
    ),
    (
        "h() { cat <<END\n$1 \"it's\"\nEND\n}",
        "h 'a  b'; declare -f h",
    ),
    (
        "shopt -s extglob; e() { case $1 in @(a|b)) echo yes;; *) echo no;; esac; }; shopt -u extglob",
        "e a; e c; shopt extglob",
    ),
    (
        "a-b() { echo ab; }; x.y() { echo xy; }; function ünder { echo u; }",
        "a-b; x.y; ünder",
    ),
    ("ex() { echo exported; }; export -f ex", "bash -c ex"),
    ("ro() { echo ro; }; readonly -f ro", "ro() { :; }; ro"),
    (
        "printf() { echo mine; }; declare() { echo mine; }; set() { echo mine; }; cd() { echo mine; }; alias() { echo mine; }",
        "printf x; declare x; set x; cd; alias; builtin pwd",
    ),
    (
        "trap() { echo t; }; shopt() { echo s; }; umask() { echo u; }; pushd() { echo p; }; false() { echo f; }",
        "trap; shopt; umask; pushd; false",
    ),
    ("exit() { echo \"my exit $1\"; }", "exit 7"),
    (
        "shopt -s expand_aliases; alias ll='echo \"it'\\''s\" a' a.b='echo dot' g++='echo plus' two='echo 1; echo 2'",
        "ll; a.b; g++; two\nalias",
    ),
    (
        "alias if=false for=true echo='echo aliased' set=true declare=true trap=true",
        "alias; \\echo x",
    ),
    (
        "shopt -u expand_aliases; alias nothing=echo",
        "shopt expand_aliases; alias",
    ),
    (
        "set -o noglob -o pipefail +o braceexpand",
        "echo * {a,b}; false | true; echo $?; echo $-",
    ),
    ("set -u; set -a; NEW=1", "echo $-; sh -c 'echo $NEW'"),
    ("set -e; V=kept", "echo $- $V"),
    ("set -C; set -x; set +x; set -b", "echo $-"),
    (
        "set -o posix; V=p",
        "echo $V; set -o | grep posix; declare -p POSIXLY_CORRECT",
    ),
    ("export POSIXLY_CORRECT=7", "declare -p POSIXLY_CORRECT"),
    (
        "shopt -s nullglob dotglob globstar; shopt -u checkwinsize sourcepath",
        "shopt",
    ),
    ("umask 027", "umask; umask -S"),
    ("umask 0; umask 777", "umask"),
    (
        "set -- one 'two  three' '' $'f\\nour' '*'",
        "printf '<%s>' \"$#\" \"$@\"",
    ),
    ("set -- --; set -- \"$@\" -x", "printf '<%s>' \"$#\" \"$@\""),
    (
        "cd /usr; pushd /tmp >/dev/null; pushd /usr/lib >/dev/null",
        "dirs -p; popd >/dev/null; pwd; echo $OLDPWD",
    ),
    ("cd /usr/lib; cd /tmp", "echo $OLDPWD; cd - >/dev/null; pwd"),
    ("cd \"$HOME\"; mkdir -p \"a'b\n c\"; cd \"a'b\n c\"", "pwd"),
    (
        "cd \"$HOME\"; mkdir -p real; ln -sfn real link; cd link",
        "pwd; pwd -P",
    ),
    (
        "trap 'echo \"usr $V\"' USR1; trap '' HUP; trap 'V=1' EXIT; trap - TERM",
        "trap -p USR1 HUP EXIT; kill -USR1 $$",
    ),
    (
        "trap 'D=$((D+1))' DEBUG; trap 'E=1' ERR; trap ': ret' RETURN",
        "trap -p DEBUG ERR RETURN",
    ),
    (
        "IFS=:; readonly IFS",
        "x=a:b; printf '<%s>' $x; IFS=no; printf %s \"$IFS\"",
    ),
    (
        "IFS=0123456789abcdef; PATH=/no/such",
        "printf '<%s>' \"$IFS\" \"$PATH\"",
    ),
    (
        "PS4='> '; PROMPT_COMMAND='P=1'; OPTIND=3; REPLY=r; TMOUT=0",
        "declare -p PS4 PROMPT_COMMAND OPTIND REPLY TMOUT",
    ),
    (
        "unset LANG HOME; export LC_ALL=C",
        "declare -p LC_ALL; echo \"${HOME-none} ${LANG-none}\"; env | grep ^HOME",
    ),
    (
        "B=$(printf '%300000s' x); S=$(printf \"%0.s'\" {1..5000})",
        "echo ${#B} ${#S}; printf '%s' \"$S\" | md5sum",
    ),
    (
        "for i in {1..2000}; do eval \"v$i='value $i'; w$i() { echo $i; }\"; done",
        "echo $v1 $v2000; w7; declare -F | wc -l",
    ),
    (
        "C=$'\\n\\n' D=$'\\r\\n' F=$'a\\\\'",
        "printf %s \"$C$D$F\" | od -An -c",
    ),
    (": nothing", "echo ${V-none}"),
];

#[tokio::test]
async fn a_shell_is_as_it_was_before_its_connection_was_lost() {
    let mut bench = TestHost::openssh_with(|settings| settings.max_sessions = 1000)
        .connect()
        .await;
    let mut pause = TAKING * 3;
    loop {
        let mut before = Vec::new();

        for (state, shows) in TABLE {
            bench.shell(state, named(state)).await;

            // In a subshell, so that it changes nothing.
            let shown = bench
                .shell(&format!("({shows}\n) 2>&1"), named(state))
                .await;

            assert!(
                !shown.stdout().is_empty() || shows.contains("trap"),
                "{state:?}: {shown:?}"
            );

            before.push((shown.stdout(), code(&shown)));
        }

        leave_alone(pause).await;
        lose(&mut bench).await;
        let (mut wrong, mut late) = (Vec::new(), false);

        for ((state, shows), before) in TABLE.iter().zip(before) {
            let shown = bench
                .shell(&format!("({shows}\n) 2>&1"), named(state))
                .await;
            late |= !in_time(&shown);
            if (shown.stdout(), code(&shown)) != before || notice(&shown).contains("not restored") {
                wrong.push(format!("{state:?}: {before:?}\n{:?}", shown.blocks()));
            }
        }

        if !late || pause > MAX_PAUSE {
            assert!(
                wrong.is_empty() && !late,
                "{} of {}:\n{}",
                wrong.len(),
                TABLE.len(),
                wrong.join("\n")
            );

            return;
        }

        bench.mcp.call("ssh_disconnect", json!({})).await.ok();
        pause *= 2;
    }
}

#[tokio::test]
async fn what_belongs_to_the_connection_is_that_of_the_new_one() {
    let mut bench = TestHost::openssh().connect().await;
    let before = bench
        .shell("echo $SSH_CONNECTION $PPID $BASHPID", plain())
        .await
        .stdout();

    let setting = "SSH_CLIENT=old SSH_TTY=old SSH_AUTH_SOCK=old XDG_SESSION_ID=old XDG_RUNTIME_DIR=kept RANDOM=1";
    let shows = "echo $SSH_CONNECTION $PPID $BASHPID; cut -d' ' -f4 /proc/$$/stat; \
                 echo ${SSH_TTY-none} ${SSH_AUTH_SOCK-none} ${XDG_SESSION_ID-none} $XDG_RUNTIME_DIR; echo $SSH_CLIENT";
    let result = over_a_loss(&mut bench, &[&format!("export {setting}")], shows).await;
    let after = result.stdout();
    let lines: Vec<&str> = after.lines().collect();
    let (old, new): (Vec<&str>, Vec<&str>) =
        (before.split(' ').collect(), lines[0].split(' ').collect());
    assert!(
        old.iter().zip(&new).skip(4).all(|(old, new)| old != new),
        "{before}{after}"
    );

    let connection = bench.exec("echo $SSH_CONNECTION", plain()).await.stdout();
    assert!(
        lines[0].starts_with(connection.trim()),
        "{connection}{after}"
    );

    assert_eq!(
        (new[4], lines[2]),
        (lines[1], "none none none kept"),
        "{after}"
    );

    assert!(lines[3].starts_with("127.0.0.1 "), "{after}");

    // An agent that was started in the shell is the shell's.
    let agent = "export SSH_AUTH_SOCK=/tmp/own SSH_AGENT_PID=1";

    assert_eq!(
        over_a_loss(&mut bench, &[agent], "echo $SSH_AUTH_SOCK")
            .await
            .stdout(),
        "/tmp/own\n"
    );
}

#[tokio::test]
async fn the_notice_says_what_came_back_and_what_did_not() {
    let mut bench = TestHost::openssh().connect().await;
    let gone = bench.home.join("gone");
    fs::create_dir(&gone).unwrap();
    let enter = format!(
        "mkdir -p '{0}'; cd '{0}'; V=1; f() {{ :; }}; alias l=ls; sleep 7701 & J=$!; echo $J",
        gone.display()
    );

    let remove = format!("rmdir '{}'", gone.display());
    let result = over_a_loss(&mut bench, &[&enter, &remove], "echo $V $J; type -t f l").await;

    let job = result
        .stdout()
        .split([' ', '\n'])
        .nth(1)
        .unwrap()
        .to_owned();

    assert_eq!(result.stdout(), format!("1 {job}\nfunction\nalias\n"));
    let said = notice(&result);

    for part in [
        "this is a new shell over a new connection",
        "functions (1), aliases (1), options, umask",
        &format!("not restored: the directory {}", gone.display()),
        &format!("lost: background jobs (process {job}), open files"),
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }

    assert_eq!(notice(&bench.shell("true", plain()).await), "", "said once");
}

#[tokio::test]
async fn an_interrupted_command_is_not_rerun_and_its_state_is_dropped() {
    let mut bench = TestHost::openssh().connect().await;
    let mut pause = TAKING;
    let ran = bench.home.join("ran");

    loop {
        let _ = fs::remove_file(&ran);
        bench.shell("V=before", plain()).await;
        leave_alone(pause).await;

        let cut = bench
            .begin(
                "ssh_shell",
                &format!("V=after; echo x >>'{}'; sleep 7702", ran.display()),
                plain(),
            )
            .await;

        eventually("it runs", || fs::exists(&ran).unwrap()).await;
        lose(&mut bench).await;
        let cut = bench.mcp.finish(cut).await.ok();
        assert_eq!(status(&cut), "connectionLost", "{cut:?}");
        let result = bench.shell("echo $V", plain()).await;
        assert_eq!(fs::read_to_string(&ran).unwrap(), "x\n");

        if notice(&result).contains("what the last command changed") || pause > MAX_PAUSE {
            assert_eq!(result.stdout(), "before\n", "{result:?}");
            return;
        }

        bench.mcp.call("ssh_disconnect", json!({})).await.ok();
        pause *= 2;
    }
}

#[tokio::test]
async fn what_was_kept_survives_one_loss_after_another() {
    let mut bench = TestHost::openssh().connect().await;

    assert_eq!(
        over_a_loss(&mut bench, &["V=1; cd /usr/lib"], "echo $V $PWD")
            .await
            .stdout(),
        "1 /usr/lib\n"
    );

    for _ in 0..3 {
        lose(&mut bench).await;
        let result = bench.shell("echo $V $PWD", plain()).await;
        assert_eq!(
            (
                result.stdout().as_str(),
                notice(&result).contains("restored: ")
            ),
            ("1 /usr/lib\n", true)
        );
    }

    bench.mcp.call("ssh_reconnect", json!({})).await.ok();
    assert_eq!(bench.shell("echo $V", plain()).await.stdout(), "1\n");
}

#[tokio::test]
async fn an_ended_shell_leaves_its_state_until_the_session_ends() {
    let mut bench = TestHost::openssh().connect().await;

    for command in ["kill -9 $$", "exec true", "builtin exit"] {
        bench.shell("V=1; cd /usr/lib", plain()).await;
        bench.shell(command, plain()).await;
        lose(&mut bench).await;
        let result = bench.shell("echo ${V-none} $PWD", plain()).await;
        assert_eq!(result.stdout(), "1 /usr/lib\n", "{command}: {result:?}");
        assert!(
            notice(&result).contains("the shell had ended"),
            "{result:?}"
        );
    }

    bench.shell("V=1", plain()).await;
    bench.mcp.call("ssh_disconnect", json!({})).await.ok();
    assert_eq!(
        bench.shell("echo ${V-none}", plain()).await.stdout(),
        "none\n"
    );
}

#[tokio::test]
async fn a_state_of_megabytes_is_not_kept_and_holds_nothing_up() {
    let mut bench = TestHost::openssh().connect().await;
    let mut pause = TAKING;
    let large = "cd /usr/lib; V=$(printf '%5000000s' x); f() { :; }";

    loop {
        bench.shell(large, plain()).await;
        leave_alone(pause).await;

        for number in 0..20 {
            assert_eq!(
                bench
                    .shell(&format!("echo {number}"), plain())
                    .await
                    .stdout(),
                format!("{number}\n")
            );
        }

        lose(&mut bench).await;
        let result = bench.shell("echo ${#V} $PWD", plain()).await;

        if notice(&result).contains("more than a mebibyte") || pause > MAX_PAUSE {
            assert_eq!(result.stdout(), "0 /usr/lib\n", "{result:?}");
            assert!(
                notice(&result).contains("same directory") && notice(&result).contains("mebibyte"),
                "{result:?}"
            );

            break;
        }

        bench.mcp.call("ssh_disconnect", json!({})).await.ok();
        pause *= 2;
    }

    // Once it is small again it is kept again.
    let mut kept = Vec::from([large, "unset V; W=small"]);
    kept.extend(["true"; 8]);
    assert_eq!(
        over_a_loss(&mut bench, &kept, "echo $W").await.stdout(),
        "small\n"
    );
}
