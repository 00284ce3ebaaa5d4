//! Login shells that differ, a home that is not as it should be, and job directories that somebody has been at.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::{
    checks::{code, eventually, plain, skipped, status},
    fixture::TestHost,
};

#[tokio::test(flavor = "multi_thread")]
async fn every_login_shell_has_them() {
    for shell in ["bash", "dash", "zsh", "fish", "tcsh"] {
        let path = ["/bin", "/usr/bin"].map(|folder| format!("{folder}/{shell}"));
        let Some(path) = path.iter().find(|path| Path::new(path).is_file()) else {
            skipped(&format!("{shell} is not installed"));
            continue;
        };

        let mut bench = TestHost::fake_with_shell(path).connect().await;
        fs::create_dir(bench.remote("a 'b' !x")).unwrap();
        let long = format!("true {}\n", "x".repeat(300)).repeat(300);
        let more =
            json!({"cwd": "~/a 'b' !x", "env": {"V": "v w"}, "detach": true, "waitMs": 60_000});
        let result = bench
            .exec(&format!("{long}echo \"$V\"; sh -c pwd; exit 3"), more)
            .await;
        let expected = format!("v w\n{}\n", bench.remote("a 'b' !x").display());
        assert_eq!(
            (result.stdout(), code(&result)),
            (expected, Some(3)),
            "{shell}: {result:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_any_length_is_taken_and_stands_in_no_argument() {
    let mut bench = TestHost::fake_with_shell("/bin/bash").connect().await;
    let secret = "a-word-that-stands-in-no-argument";
    let long = format!(": {}\n", "x".repeat(300)).repeat(1000);
    let look = "all=$(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n')";
    let command = format!(
        "{long}V={secret}; {look}; case $all in *$V*) echo seen ;; *supervisor.sh*) echo not seen ;; esac"
    );

    let result = bench
        .exec(&command, json!({"detach": true, "waitMs": 60_000}))
        .await;

    assert_eq!(
        (result.stdout().as_str(), status(&result)),
        ("not seen\n", "exited"),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_home_that_cannot_be_written_to_is_said() {
    let mut bench = TestHost::openssh().connect().await;

    if Command::new("id").arg("-u").output().unwrap().stdout == b"0\n" {
        // root may write everywhere, except where there is no directory.
        fs::write(bench.remote(".local"), "").unwrap();
    } else {
        fs::set_permissions(&bench.home, fs::Permissions::from_mode(0o500)).unwrap();
    }

    let refused = bench
        .mcp
        .call("ssh_exec", json!({"command": "true", "detach": true}))
        .await;

    let text = refused.text();
    assert!(
        refused.is_error() && text.contains("the remote machine could not do it: mkdir"),
        "{text}"
    );

    assert_eq!(bench.exec("echo alive", plain()).await.stdout(), "alive\n");
    fs::set_permissions(&bench.home, fs::Permissions::from_mode(0o700)).unwrap();
}

#[tokio::test]
async fn a_login_shell_that_runs_nothing_is_told_apart() {
    let mut bench = TestHost::fake_with_shell("/bin/echo").connect().await;
    let refused = bench
        .mcp
        .call("ssh_exec", json!({"command": "true", "detach": true}))
        .await;

    assert!(
        refused.is_error()
            && refused
                .text()
                .contains("its login shell does not run /bin/sh"),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn an_answer_of_another_making_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let shell = folder.path().join("bash");

    // It says that it is bash, and then answers a script of ours as it likes.
    let begin = "#!/bin/sh\ncase $2 in *mcp-ssh-sessions:*) echo 'mcp-ssh-sessions:42:/bin/bash:/bin/bash:/bin/bash;'; exit ;; esac\n\
                 mark=$(sed -n 's/^mark=\\([0-9a-f]*\\) .*/\\1/p')\nsay() { printf '\\036%s:%b' $mark \"$1\"; }\n\
                 end() { printf '\\036%s;' $mark; }\n";

    for (what, rest, part) in [
        ("nothing", "", "gave no answer that can be understood"),
        (
            "noise",
            "printf '\\033[2Jno such thing\\n'",
            "it said: \\u{1b}[2Jno such thing",
        ),
        (
            "without end",
            "exec cat /dev/zero",
            "gave no answer that can be understood",
        ),
        (
            "a cut answer",
            "say 'done\\n'",
            "gave no answer that can be understood",
        ),
        ("an unknown word", "say 'fine\\n'; end", "it said: fine"),
        (
            "two answers",
            "say 'done\\n'; say 'done\\n'; end",
            "gave no answer that can be understood",
        ),
        (
            "its own words",
            "say 'error trouble\\n\\033[2Jno\\nroom'; end",
            "could not do it: \\u{1b}[2Jno\\nroom",
        ),
        (
            "a crash",
            "kill -9 $$",
            "gave no answer that can be understood",
        ),
    ] {
        fs::write(&shell, format!("{begin}{rest}\n")).unwrap();
        fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).unwrap();
        let mut bench = TestHost::fake_with_shell(shell.to_str().unwrap())
            .connect()
            .await;
        let refused = bench
            .mcp
            .call("ssh_exec", json!({"command": "true", "detach": true}))
            .await;

        let text = refused.text();
        assert!(
            refused.is_error() && text.contains(part) && text.contains("\nhint: "),
            "{what}: {text}"
        );

        assert!(!text.contains('\u{1b}'), "{what}: {text}");
        let listed = bench.mcp.call("ssh_job", json!({})).await.ok().text();
        assert!(
            listed.starts_with("no jobs") && !listed.contains('\u{1b}'),
            "{what}: {listed}"
        );
    }

    // A job of another name, one that has ended twice, one that has more output than it gives.
    for (row, part) in [
        ("job 00000000 running - 42 7 1 0 0 0 open", "gave no answer"),
        (
            "job 0badf00d running - 42 7 1 0 18446744073709551615 0 open",
            "shorter than it was",
        ),
    ] {
        let answer = format!("case $script in *) say '{row}\\n'; end ;; esac");
        let bytes =
            "script=$(cat); case $script in *stream=out*) say 'bytes 0\\n'; end; exit ;; esac\n";
        let begin = begin.replace("mark=$(sed", "all=$(cat)\nmark=$(echo \"$all\" | sed");
        let bytes = bytes.replace("script=$(cat)", "script=$all");
        fs::write(&shell, format!("{begin}{bytes}{answer}\n")).unwrap();
        let mut bench = TestHost::fake_with_shell(shell.to_str().unwrap())
            .connect()
            .await;
        let refused = bench.mcp.call("ssh_job", json!({"job": "0badf00d"})).await;
        assert!(
            refused.is_error() && refused.text().contains(part),
            "{row}: {}",
            refused.text()
        );
    }

    // One that gives a byte at a time of more than it will ever have.
    let begin = begin.replace("mark=$(sed", "all=$(cat)\nmark=$(echo \"$all\" | sed");
    let count = folder.path().join("count");
    fs::write(&count, "0").unwrap();
    let byte = format!(
        "n=$(($(cat '{0}') + 1)); echo $n >'{0}'; say \"bytes $n\\\\n\"; head -c $(((n - 1) % 4096 + 1)) /dev/zero; end",
        count.display()
    );

    let row = "say 'job 0badf00d running - 42 7 1 0 18446744073709551615 0 open\\n'; end";
    fs::write(
        &shell,
        format!("{begin}case $all in *stream=out*) {byte} ;; *) {row} ;; esac\n"),
    )
    .unwrap();

    let mut bench = TestHost::fake_with_shell(shell.to_str().unwrap())
        .connect()
        .await;
    let answer = bench
        .mcp
        .call("ssh_job", json!({"job": "0badf00d", "waitMs": 0}))
        .await
        .ok();

    assert!(
        status(&answer) == "running" && answer.outcome()["stdoutBytes"].as_u64() > Some(0),
        "{answer:?}"
    );
}

#[tokio::test]
async fn what_ended_a_week_ago_is_swept() {
    let mut bench = TestHost::openssh().connect().await;
    let old = bench.detach("true", plain()).await;
    let kept = bench.detach("true", plain()).await;
    let ended = |job: &str| {
        fs::read_to_string(bench.jobs().join(job).join("status"))
            .unwrap()
            .starts_with("exited 0")
    };

    eventually("both have ended", || ended(&old) && ended(&kept)).await;
    let status_file = bench.jobs().join(&old).join("status");

    assert!(
        Command::new("touch")
            .args(["-d", "8 days ago"])
            .arg(status_file)
            .status()
            .unwrap()
            .success()
    );

    bench.another_process().await.close().await;
    bench
        .mcp
        .call("ssh_job", json!({"session": "host"}))
        .await
        .ok();

    assert_eq!(bench.left(), std::slice::from_ref(&kept));
    let unknown = bench.mcp.call("ssh_job", json!({"job": old})).await;
    assert!(
        unknown.is_error() && unknown.text().contains("there is no job"),
        "{unknown:?}"
    );

    assert_eq!(code(&bench.job(&kept, plain()).await), Some(0));
}

#[tokio::test]
async fn files_that_somebody_has_been_at_do_no_harm() {
    let mut bench = TestHost::openssh().connect().await;
    let job = bench.detach("echo out; sleep 7410", plain()).await;
    bench.wait_for_output(&job, "out\n").await;
    bench.another_process().await.close().await;
    let directory = bench.jobs().join(&job);
    let witness = bench.remote("witness");
    let code = format!(
        "$(touch '{0}') `touch '{0}'`; touch '{0}'",
        witness.display()
    );

    for (name, text) in [
        ("command", format!("\u{1b}[2J\n{code}\n\u{1e};[exit 0]")),
        ("status", format!("exited 0;{code} 12")),
        ("status", "exited 4294967296 1".to_owned()),
        ("holder", code.clone()),
        ("asked", code.clone()),
        ("status", "x".repeat(100_000)),
    ] {
        fs::write(directory.join(name), text).unwrap();
        let listed = bench.mcp.call("ssh_job", plain()).await.ok().text();
        assert!(
            !listed.contains('\u{1b}') && listed.lines().count() == 1,
            "{listed}"
        );
    }

    // Another process id in its place is not the job's.
    let process = fs::read_to_string(directory.join("process")).unwrap();
    let words: Vec<_> = process.split_whitespace().collect();
    let ours = std::process::id().to_string();
    let forged = format!(
        "{ours} {} {ours} {} {} {}\n",
        words[1], words[3], words[4], words[5]
    );

    fs::write(directory.join("process"), forged).unwrap();
    let lost = bench.job(&job, json!({"signal": "KILL"})).await;
    assert_eq!(
        (status(&lost), lost.stdout().as_str()),
        ("exited", "out\n"),
        "{lost:?}"
    );

    assert!(
        lost.outcome()["notice"]
            .as_str()
            .unwrap()
            .contains("nobody saw how it ended"),
        "{lost:?}"
    );

    assert!(!witness.exists());

    let endless = bench.detach("sleep 7411", plain()).await;
    let out = bench.jobs().join(&endless).join("out");
    fs::remove_file(&out).unwrap();
    symlink("/dev/zero", &out).unwrap();
    assert_eq!(
        bench.job(&endless, json!({"waitMs": 0})).await.outcome()["stdoutBytes"],
        0
    );
}
