//! Keeping the state changes nothing and disturbs nobody.

use std::{fs, time::Duration};

use super::{TAKING, leave_alone, lose, notice, over_a_loss};
use crate::support::{
    checks::{eventually, plain},
    clock,
    fixture::{ConnectedHost, TestHost},
    open_sshd::OpenSshd,
};

async fn shows(bench: &mut ConnectedHost<OpenSshd>, command: &str, stdout: &str) {
    let result = bench.shell(command, plain()).await;
    assert_eq!(
        (result.stdout().as_str(), result.stderr().as_str()),
        (stdout, ""),
        "{command}: {result:?}"
    );
}

#[tokio::test]
async fn the_shell_does_not_notice() {
    let mut bench = TestHost::openssh().connect().await;
    let file = bench.home.join("trapped").display().to_string();
    bench
        .shell("S=$$; A=(1 2); sleep 7711 & P=$!", plain())
        .await;

    for (state, shown, stdout) in [
        ("(exit 7)", "echo $?", "7\n"),
        (":", "[ $! = $P ] && jobs -p | wc -l", "1\n"),
        ("set -eu", "echo alive; set +eu", "alive\n"),
        ("set -x", "{ set +x; } 2>/dev/null; echo off", "off\n"),
        (
            "set -euETo pipefail",
            "set +euETo pipefail; echo alive",
            "alive\n",
        ),
        ("set -fabkmC", "set +fabkmC; echo alive", "alive\n"),
        ("set -- a b", "echo $#; set --", "2\n"),
        (
            "umask 077; IFS=:",
            "umask; printf %s \"$IFS\"; unset IFS; umask 022",
            "0077\n:",
        ),
        (
            "true & wait $!",
            "echo ${#A[@]}; [ $S = $$ ] && echo same",
            "2\nsame\n",
        ),
        (
            "readonly __mcp_v __mcp_n __mcp_l __mcp_i",
            "echo alive",
            "alive\n",
        ),
        (
            "alias builtin=false set=false if=false while=false",
            "unalias -a; echo alive",
            "alive\n",
        ),
        (
            "declare() { :; }; printf() { :; }; trap() { :; }",
            "unset -f declare printf trap; echo alive",
            "alive\n",
        ),
        (
            "enable -n printf declare set",
            "enable printf declare set; echo alive",
            "alive\n",
        ),
    ] {
        bench.shell(state, plain()).await;
        leave_alone(TAKING).await;
        let result = bench.shell(shown, plain()).await;
        assert_eq!(result.stdout(), stdout, "{state}: {result:?}");
        assert!(
            result.outcome().get("notice").is_none(),
            "{state}: {result:?}"
        );

        assert!(
            !result.text().contains("[background"),
            "{state}: {result:?}"
        );
    }

    // Traps do not run in the process that tells the state.
    let write = format!("echo $BASHPID >>'{file}'");

    bench
        .shell(
            &format!("trap \"{write}\" ERR EXIT RETURN; set -ET"),
            plain(),
        )
        .await;

    leave_alone(TAKING).await;

    let shell = bench
        .shell(
            "set +ET; trap - ERR EXIT RETURN; [ $S = $$ ] && echo $S",
            plain(),
        )
        .await
        .stdout();

    let others = fs::read_to_string(&file)
        .unwrap_or_default()
        .replace(&shell, "");
    assert!(shell.len() > 1 && others.is_empty(), "{shell}{others}");
}

#[tokio::test]
async fn no_value_is_written_even_if_commands_are_traced() {
    let mut bench = TestHost::openssh().connect().await;
    let secret = "hunter2-in-a-variable";
    let trace = bench.home.join("trace");
    let traced = format!("exec 7>>'{}'", trace.display());

    let kept = [
        "TOKEN=hunter2-in-a-variable",
        &traced,
        "exec 7>&-; true",
        "set -x; BASH_XTRACEFD=9",
    ];

    let result = over_a_loss(&mut bench, &kept, "set +x; echo $TOKEN").await;
    assert_eq!(result.stdout(), format!("{secret}\n"), "{result:?}");
    let to_file = format!(
        "exec 7>>'{}' 8>&7; BASH_XTRACEFD=7; set -x; trap 'echo $BASH_COMMAND >&7' DEBUG; set -T",
        trace.display()
    );

    bench
        .shell(&format!("{{ {to_file}; sleep 1; }}"), plain())
        .await;

    leave_alone(TAKING).await;
    bench.shell("set +x; trap - DEBUG", plain()).await;

    for place in [bench.folder(), bench.home.as_path()] {
        for entry in walk(place) {
            let text = fs::read(&entry).unwrap_or_default();
            let found = text
                .windows(secret.len())
                .any(|some| some == secret.as_bytes());
            assert!(!found, "{}", entry.display());
        }
    }
}

/// All files below a folder.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());

    entries
        .flat_map(|path| {
            if path.is_dir() {
                walk(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[tokio::test]
async fn background_output_meanwhile_is_not_lost_mixed_in_or_run() {
    let mut bench = TestHost::openssh().connect().await;
    let (go, evil) = (bench.home.join("go"), bench.home.join("evil"));
    fs::write(&go, "").unwrap();

    // Lines, parts of lines, bytes like marks, and text that would be run if it were taken for state.
    let writer = format!(
        "n=0; while [ -e '{0}' ]; do n=$((n+1)); printf '<%d>' $n; printf '\\036'; echo \"declare -- X=1; touch '{1}'\"; \
         sleep 0.02; done; echo $n >'{0}.last'",
        go.display(),
        evil.display()
    );

    let begun = bench
        .shell(&format!("V=kept; f() {{ echo f; }}; ({writer}) &"), plain())
        .await;
    let mut seen = begun.text();
    for round in 0..10 {
        leave_alone(TAKING).await;
        let result = bench.shell(&format!("R={round}; echo $R"), plain()).await;
        seen += &result.text();
    }

    fs::remove_file(&go).unwrap();
    let last = bench.home.join("go.last");
    eventually("the writer has ended", || {
        fs::read_to_string(&last).is_ok_and(|text| text.ends_with('\n'))
    })
    .await;

    for _ in 0..2 {
        seen += &bench.shell("sleep 0.2", plain()).await.text();
    }

    let last: usize = fs::read_to_string(&last).unwrap().trim().parse().unwrap();

    // What came before a command stands behind its own output.
    let mut numbers: Vec<usize> = seen
        .split('<')
        .filter_map(|text| text.split_once('>')?.0.parse().ok())
        .collect();

    numbers.sort_unstable();
    assert_eq!(numbers, (1..=last).collect::<Vec<_>>());
    leave_alone(TAKING).await;
    lose(&mut bench).await;
    let result = bench.shell("echo $V ${X-none}; f", plain()).await;
    assert!(notice(&result).contains("restored: "), "{result:?}");
    assert_eq!(result.stdout(), "kept none\nf\n");
    assert!(!fs::exists(&evil).unwrap());
}

#[tokio::test]
async fn commands_that_follow_at_once_are_not_held_up_by_a_snapshot() {
    let mut bench = TestHost::openssh().connect().await;
    bench.shell("V=$(printf '%800000s' x); n=0", plain()).await;

    // Each begins at another moment before, at or during the taking.
    for round in 0..40_u64 {
        clock::pass(Duration::from_millis(235)).await;
        tokio::time::sleep(Duration::from_millis(round)).await;
        shows(
            &mut bench,
            "n=$((n+1)); echo $n",
            &format!("{}\n", round + 1),
        )
        .await;
    }
}
