//! `ssh_shell` against the real sshd: what stays from one command to the next.

mod descriptors;
mod ending;
mod lines;
mod other_shells;
mod state;
mod stop;
pub(crate) mod torture;

use std::fs;

use serde_json::json;

use crate::support::{
    checks::{code, counted, eventually, plain, random, status, whole_output},
    fixture::{ConnectedHost, TestHost},
    open_sshd::OpenSshd,
    processes::running,
};

/// Runs each command and expects this stdout, no stderr and status 0.
async fn each_prints(bench: &mut ConnectedHost<OpenSshd>, commands: &[(&str, &str)]) {
    for (command, stdout) in commands {
        let result = bench.shell(command, plain()).await;
        assert_eq!(
            (result.stdout().as_str(), result.stderr().as_str()),
            (*stdout, ""),
            "{command}: {result:?}"
        );

        assert_eq!(
            (status(&result), code(&result)),
            ("exited", Some(0)),
            "{command}: {result:?}"
        );
    }
}

#[tokio::test]
async fn directory_variables_functions_and_options_stay() {
    let mut bench = TestHost::openssh().connect().await;
    each_prints(
        &mut bench,
        &[
            ("cd /usr/lib; V='a b'; export E=1; A=(x 'y z'); declare -A M=([k]=v); f() { echo \"f:$1\"; }", ""),
            ("pwd; echo \"$V|${A[1]}|${#A[@]}|${M[k]}\"; f x; sh -c 'echo $E'", "/usr/lib\na b|y z|2|v\nf:x\n1\n"),
            ("umask 027; set -o noglob; shopt -s nullglob; alias ll='echo aliased'; shopt -s expand_aliases", ""),
            ("umask; echo *; shopt -q nullglob && echo nullglob", "0027\n*\nnullglob\n"),
            ("ll", "aliased\n"),
            ("set +o noglob; set -- one two; printf 'q\\n' > /dev/shm/$$.q; exec 3</dev/shm/$$.q", ""),
            ("echo \"$2\"; read l <&3; echo $l; rm /dev/shm/$$.q", "two\nq\n"),
            ("trap 'echo got-usr1' USR1", ""),
            ("kill -USR1 $$; trap - USR1", "got-usr1\n"),
            ("declare -i n=3; readonly R=4; n+=2", ""),
            ("echo $n $R", "5 4\n"),
            ("pushd /tmp >/dev/null; pushd / >/dev/null", ""),
            ("popd >/dev/null; pwd", "/tmp\n"),
            ("echo $OLDPWD", "/\n"),
        ],
    )
    .await;

    assert_eq!(bench.shell("true", plain()).await.outcome()["cwd"], "/tmp");
}

#[tokio::test]
async fn the_exit_status_is_there_for_the_next_command() {
    let mut bench = TestHost::openssh().connect().await;

    for status in [0, 1, 7, 255] {
        let result = bench.shell(&format!("(exit {status})"), plain()).await;
        assert_eq!(code(&result), Some(status));
        assert_eq!(
            bench.shell("echo $?", plain()).await.stdout(),
            format!("{status}\n")
        );
    }

    let result = bench.shell("sh -c 'kill -KILL $$'", plain()).await;
    assert_eq!(
        code(&result),
        Some(137),
        "as every shell says it: {result:?}"
    );
}

#[tokio::test]
async fn named_shells_have_their_own_state_and_do_not_wait() {
    let mut bench = TestHost::openssh().connect().await;

    for (shell, folder) in [("a", "/usr"), ("b", "/var"), ("it's \"c\" é", "/tmp")] {
        let result = bench
            .shell(&format!("cd {folder}; V={folder}"), json!({"shell": shell}))
            .await;
        assert_eq!(
            (&result.outcome()["shell"], &result.outcome()["cwd"]),
            (&json!(shell), &json!(folder))
        );
    }

    for (shell, folder) in [("a", "/usr"), ("b", "/var"), ("it's \"c\" é", "/tmp")] {
        let result = bench.shell("echo $V $PWD", json!({"shell": shell})).await;
        assert_eq!(result.stdout(), format!("{folder} {folder}\n"));
    }

    let main = bench.shell("echo ${V-none}", plain()).await;
    assert_eq!(
        (main.stdout().as_str(), &main.outcome()["shell"]),
        ("none\n", &json!("main"))
    );

    let file = bench.home.join("go").display().to_string();
    let waits = format!("while [ ! -e '{file}' ]; do sleep 0.05; done; echo went");
    let waiting = bench
        .begin("ssh_shell", &waits, json!({"shell": "a"}))
        .await;

    bench
        .shell(&format!("touch '{file}'"), json!({"shell": "b"}))
        .await;

    assert_eq!(bench.mcp.finish(waiting).await.ok().stdout(), "went\n");
}

#[tokio::test]
async fn commands_on_one_shell_run_in_order() {
    let mut bench = TestHost::openssh().connect().await;
    bench.shell("n=0", plain()).await;
    let mut calls = Vec::new();

    for _ in 0..30 {
        calls.push(
            bench
                .begin("ssh_shell", "n=$((n+1)); sleep 0.01; echo $n", plain())
                .await,
        );
    }

    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(
            bench.mcp.finish(call).await.ok().stdout(),
            format!("{}\n", number + 1)
        );
    }
}

#[tokio::test]
async fn stdin_arrives_byte_for_byte_and_then_ends() {
    let mut bench = TestHost::openssh().connect().await;

    for stdin in [
        "",
        "\n",
        "text",
        "a\0b\0",
        "it's \\n \\0 %s $x `id`\r\n\u{1e}é日\n\n",
        "-n",
        "\\c",
    ] {
        let result = bench.shell("cat; echo -n .", json!({"stdin": stdin})).await;
        assert_eq!(
            (result.stdout(), result.stderr()),
            (format!("{stdin}."), String::new()),
            "{stdin:?}"
        );
    }

    let result = bench
        .shell(
            "read -r a; read -r b; V=$a-$b; cat",
            json!({"stdin": "1\n2\n3\n"}),
        )
        .await;

    assert_eq!(result.stdout(), "3\n");

    assert_eq!(
        bench
            .shell("echo $V; cat; read x || echo end", plain())
            .await
            .stdout(),
        "1-2\nend\n"
    );

    let long = counted(300_000, |n| format!("{n:06}é"));
    let result = bench.shell("cat", json!({"stdin": long})).await;
    assert!(whole_output(&result) == long.as_bytes());

    // What is not read is nobody's: neither the next command's stdin nor its script.
    assert_eq!(
        bench
            .shell("head -c 2", json!({"stdin": "12echo no\nexit 9\n"}))
            .await
            .stdout(),
        "12"
    );

    let result = bench.shell("true", json!({"stdin": long})).await;
    assert_eq!((code(&result), result.stdout()), (Some(0), String::new()));
    assert_eq!(
        bench.shell("cat; echo in step", plain()).await.stdout(),
        "in step\n"
    );
}

#[tokio::test]
async fn fifty_megabytes_and_binary_are_whole_in_a_file() {
    let mut bench = TestHost::openssh().connect().await;
    let source = bench.local("source");
    fs::write(&source, random(50_000_000)).unwrap();

    let result = bench
        .shell(
            &format!("cat {0}; head -c 100000 {0} >&2", source.display()),
            plain(),
        )
        .await;

    assert_eq!(result.outcome()["stdoutBytes"], 50_000_000);
    assert_eq!(result.outcome()["stderrBytes"], 100_000);
    assert!(whole_output(&result) == fs::read(&source).unwrap());
    assert!(result.0.to_string().len() < 300_000);

    let result = bench
        .shell(
            "i=0; while [ $i -lt 20000 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done",
            plain(),
        )
        .await;

    let expected: u64 = (0..20_000_u32)
        .map(|n| n.to_string().len() as u64 + 2)
        .sum();

    assert_eq!(
        (
            &result.outcome()["stdoutBytes"],
            &result.outcome()["stderrBytes"]
        ),
        (&json!(expected), &json!(expected))
    );

    assert_eq!(
        bench.shell("echo in step", plain()).await.stdout(),
        "in step\n"
    );
}

#[tokio::test]
async fn background_output_between_commands_is_delivered_once() {
    let mut bench = TestHost::openssh().connect().await;
    let go = bench.home.join("go").display().to_string();
    let job = format!(
        "(while [ ! -e '{go}' ]; do sleep 0.02; done; echo LATE; echo LATE-ERR >&2; touch '{go}.done') & echo now"
    );
    let result = bench.shell(&job, plain()).await;
    assert_eq!(
        (result.stdout().as_str(), code(&result)),
        ("now\n", Some(0))
    );

    fs::write(&go, "").unwrap();
    eventually("the job has printed", || {
        fs::exists(format!("{go}.done")).unwrap()
    })
    .await;

    // The bytes may still be on their way when the next command begins; they are in one of the two.
    let first = bench.shell("sleep 0.2; echo one", plain()).await;
    let second = bench.shell("echo two", plain()).await;
    let text = first.text() + &second.text();

    assert_eq!(
        (
            text.matches("LATE\n").count(),
            text.matches("LATE-ERR").count()
        ),
        (1, 1),
        "{text}"
    );

    assert!(
        first.text().contains("one\n") && second.stdout() == "two\n",
        "{text}"
    );
}

#[tokio::test]
async fn a_background_job_does_not_hold_the_call_and_can_be_awaited() {
    let mut bench = TestHost::openssh().connect().await;
    let started = std::time::Instant::now();

    let result = bench
        .shell(
            "sleep 7401 & setsid sleep 7401 & nohup sleep 7401 2>/dev/null & echo now",
            plain(),
        )
        .await;

    assert!(started.elapsed().as_secs() < 10);
    assert_eq!(result.stdout(), "now\n");
    let port = bench.sshd.port();
    eventually("all three run", || running(port, "7401").len() == 3).await;
    bench
        .shell("sh -c 'sleep 0.3; exit 9' & P=$!", plain())
        .await;

    let result = bench.shell("wait $P; echo $?; jobs | wc -l", plain()).await;
    assert!(result.stdout().starts_with("9\n"), "{result:?}");

    assert_eq!(
        bench
            .shell("kill %1; kill %2; kill %3; wait; echo ok", plain())
            .await
            .stdout(),
        "ok\n"
    );
}

#[tokio::test]
async fn a_shell_that_has_ended_is_replaced_in_the_same_state() {
    let mut bench = TestHost::openssh().connect().await;
    for (command, stdout, exit) in [
        ("kill -9 $$", "", None),
        ("echo a; kill -KILL $BASHPID", "a\n", None),
        ("exec echo replaced", "replaced\n", Some(0)),
        ("exec sh -c 'exit 5'", "", Some(5)),
        ("exec sh", "", Some(0)),
        ("builtin exit 6", "", Some(6)),
    ] {
        bench.shell("cd /usr/lib; V=1", plain()).await;
        let result = bench.shell(command, plain()).await;
        assert_eq!(
            (result.stdout().as_str(), code(&result)),
            (stdout, exit),
            "{command}: {result:?}"
        );

        assert!(
            result.status_line().contains("the shell itself has ended"),
            "{command}: {result:?}"
        );

        let next = bench.shell("pwd; echo ${V-unset}", plain()).await;
        assert_eq!(
            (next.stdout().as_str(), next.stderr().as_str()),
            ("/usr/lib\n1\n", ""),
            "{command}"
        );

        assert!(
            next.outcome()["notice"]
                .as_str()
                .unwrap()
                .contains("new shell; restored: directory"),
            "{next:?}"
        );

        let third = bench.shell("true", plain()).await;
        assert!(
            third.outcome().get("notice").is_none(),
            "said once: {third:?}"
        );
    }
}

#[tokio::test]
async fn disconnecting_ends_shells_and_a_lost_directory_is_reported() {
    let mut bench = TestHost::openssh().connect().await;
    let folder = bench.home.join("gone");
    fs::create_dir(&folder).unwrap();
    bench
        .shell(&format!("cd '{}'", folder.display()), plain())
        .await;

    bench.shell("cd /usr", json!({"shell": "other"})).await;
    bench.mcp.call("ssh_disconnect", json!({})).await.ok();
    fs::remove_dir(&folder).unwrap();
    let port = bench.sshd.port();
    eventually("the shells have ended", || running(port, "bash").is_empty()).await;
    let result = bench.shell("echo here", plain()).await;
    assert_eq!(
        (result.stdout().as_str(), result.stderr().as_str()),
        ("here\n", ""),
        "{result:?}"
    );
}
