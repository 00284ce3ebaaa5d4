//! Shells that are not bash: what they can tell of themselves comes back.

use serde_json::json;

use super::{MAX_PAUSE, TAKING, in_time, leave_alone, lose, notice};
use crate::{
    shell::other_shells::without_bash,
    support::{
        checks::{code, plain},
        fixture::ConnectedHost,
        open_sshd::OpenSshd,
    },
};

/// A state, and a command that shows it: the same before and after.
const TABLE: &[(&str, &str)] = &[
    ("V='a b'; E=; N='\n'", "printf '<%s>' \"$V\" \"$E\" \"$N\""),
    (
        "V=\"it's \\\"x\\\" \\$y \\`z\\` \\\\ *\"; W=' a '",
        "printf '<%s>' \"$V\" \"$W\"",
    ),
    (
        "V=$(printf 'a\\001\\037\\177\\200\\377\\036 b'); L='x\n\n\ny'",
        "printf '%s' \"$V$L\" | od -An -tx1",
    ),
    (
        "export V='a  b'; export U",
        "sh -c 'printf %s \"$V\"'; export -p | grep -c U",
    ),
    (
        "readonly R='a b'; readonly X=1; export X",
        "(R=no) 2>/dev/null; echo $?$R; sh -c 'echo $X'",
    ),
    (
        "alias ll='echo \"it'\\''s\"' g='echo 1; echo 2'",
        "ll; g\nalias ll g",
    ),
    (
        "alias if=false printf=false set=false",
        "alias if; \\printf x",
    ),
    (
        "set -f; set -C; set -a; NEW=1",
        "echo $- *; sh -c 'echo $NEW'",
    ),
    ("set -u", "echo $-"),
    ("set -e", "echo $-"),
    ("umask 027", "umask"),
    (
        "IFS=:",
        "x=a:b; printf '<%s>' $x; printf %s \"$IFS\" | od -An -c",
    ),
    (
        "mkdir -p \"a'b\n c\"; cd \"a'b\n c\"; cd .",
        "pwd; echo $OLDPWD",
    ),
    (
        "i=0; while [ $i -lt 300 ]; do i=$((i+1)); eval \"v$i='value $i'\"; done",
        "echo $v1 $v300",
    ),
    ("B=$(head -c 100000 /dev/zero | tr '\\0' b)", "echo ${#B}"),
    (": nothing", "echo ${V-none}"),
];

#[tokio::test]
async fn a_shell_that_is_not_bash_is_as_it_was_as_far_as_it_can_tell() {
    for sh in ["dash", "busybox"] {
        let (bench, _programs) = without_bash(sh).await;
        comes_back(bench).await;
    }
}

async fn comes_back(mut bench: ConnectedHost<OpenSshd>) {
    let mut pause = TAKING * 3;

    loop {
        let mut before = Vec::new();

        for (state, shows) in TABLE {
            bench
                .shell(&format!("{state}\nf() {{ :; }}"), json!({"shell": state}))
                .await;

            let shown = bench
                .shell(&format!("({shows}\n) 2>&1"), json!({"shell": state}))
                .await;

            assert!(
                !shown.stdout().is_empty() && code(&shown) == Some(0),
                "{state:?}: {shown:?}"
            );

            before.push(shown.stdout());
        }

        leave_alone(pause).await;
        lose(&mut bench).await;
        let (mut wrong, mut late) = (Vec::new(), false);

        for ((state, shows), before) in TABLE.iter().zip(before) {
            let shown = bench
                .shell(&format!("({shows}\n) 2>&1"), json!({"shell": state}))
                .await;
            late |= !in_time(&shown);

            if shown.stdout() != before
                || !notice(&shown).contains("; not restored: functions, traps;")
            {
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

            break;
        }

        bench.mcp.call("ssh_disconnect", json!({})).await.ok();
        pause *= 2;
    }

    let large = bench
        .shell(
            "L=$(head -c 3000000 /dev/zero | tr '\\0' b); echo ${#L}",
            plain(),
        )
        .await;

    assert_eq!(large.stdout(), "3000000\n");
    leave_alone(TAKING).await;

    for round in 0..5 {
        assert_eq!(
            bench
                .shell(&format!("echo {round}"), plain())
                .await
                .stdout(),
            format!("{round}\n")
        );
    }
}
