//! `ssh_job` goes on where the client's last answer ended.

use std::{fs, time::Instant};

use serde_json::json;

use crate::support::{
    checks::{code, counted, eventually, plain, status, whole_output},
    daemon::Daemon,
    fixture::{ConnectedHost, TestHost},
    http_client::{Dialect, HttpClient},
    mcp_client::ToolResult,
};

/// A part of a command that waits until the file is there.
fn until(file: &str) -> String {
    format!("until [ -e {file} ]; do sleep 0.05; done")
}

fn job_of(result: &ToolResult) -> String {
    result.outcome()["job"].as_str().expect("a job").to_owned()
}

impl<S> ConnectedHost<S> {
    /// Lets a command go on that waits for this file.
    fn touch(&self, file: &str) {
        fs::write(self.remote(file), "").unwrap();
    }
}

#[tokio::test]
async fn each_answer_has_what_the_client_has_not_seen() {
    let mut bench = TestHost::openssh().connect().await;
    let command = format!(
        "echo one; echo wrong >&2; {}; echo two; echo worse >&2; {}; echo three; exit 3",
        until("a"),
        until("b")
    );

    for tool in ["ssh_exec", "ssh_shell"] {
        let command = format!("cd; {command}");
        let arguments = json!({"command": command, "waitMs": 1500});
        let first = bench.mcp.call(tool, arguments).await.ok();
        assert_eq!(
            (first.stdout().as_str(), first.stderr().as_str()),
            ("one\n", "wrong\n"),
            "{first:?}"
        );
        let line = first.status_line();
        let job = job_of(&first);
        assert!(
            line.starts_with(&format!("[running · job {job} · "))
                && line.ends_with(" s · ssh_job continues]"),
            "{line}"
        );
        assert_eq!(first.outcome()["nextOffset"], 4);

        let nothing = bench.job(&job, json!({"waitMs": 0})).await;
        assert_eq!(nothing.blocks().len(), 1, "{nothing:?}");
        assert!(!nothing.status_line().contains("from byte"), "{nothing:?}");

        bench.touch("a");
        let second = bench.job(&job, json!({"waitMs": 1500})).await;
        assert_eq!(
            (
                status(&second),
                second.stdout().as_str(),
                second.stderr().as_str()
            ),
            ("running", "two\n", "worse\n"),
            "{second:?}"
        );
        assert!(
            second
                .status_line()
                .contains(" · stdout from byte 4 · stderr from byte 6 · "),
            "{second:?}"
        );

        bench.touch("b");
        let end = bench.job(&job, plain()).await;
        assert_eq!(
            (code(&end), end.stdout().as_str(), end.stderr().as_str()),
            (Some(3), "three\n", ""),
            "{end:?}"
        );
        assert_eq!(end.outcome()["stdoutBytes"], 14);

        let again = bench.job(&job, plain()).await;
        assert_eq!((again.blocks().len(), code(&again)), (1, Some(3)));
        assert!(
            again
                .status_line()
                .contains("nothing new; offset: 0 reads it again"),
            "{again:?}"
        );

        let all = bench.job(&job, json!({"offset": 0})).await;
        assert_eq!(
            (all.stdout().as_str(), all.stderr().as_str()),
            ("one\ntwo\nthree\n", "wrong\nworse\n"),
            "{all:?}"
        );

        let part = bench.job(&job, json!({"offset": 4})).await;
        assert_eq!(part.stdout(), "two\nthree\n", "{part:?}");

        for file in ["a", "b"] {
            fs::remove_file(bench.remote(file)).unwrap();
        }
    }
}

#[tokio::test]
async fn output_of_background_processes_is_shown_with_the_end_once() {
    let mut bench = TestHost::openssh().connect().await;
    let background = format!("cd; ({}; echo bg; touch done) &", until("a"));
    bench.shell(&background, plain()).await;
    bench.touch("a");
    let done = bench.remote("done");
    eventually("it has printed", || done.exists()).await;

    let command = format!("echo one; {}", until("b"));
    let begun = bench.shell(&command, json!({"waitMs": 1500})).await;
    let job = job_of(&begun);
    bench.touch("b");
    let end = bench.job(&job, plain()).await;
    assert!(
        end.blocks()[0].starts_with("[background") && end.blocks()[0].ends_with("bg\n"),
        "{end:?}"
    );
    assert_eq!(bench.job(&job, plain()).await.blocks().len(), 1);
}

#[tokio::test]
async fn a_cancelled_wait_loses_nothing() {
    let mut bench = TestHost::openssh().connect().await;
    let command = format!("{}; echo one; {}; echo two", until("a"), until("b"));
    let job = bench
        .start(&command, json!({"cwd": "~", "background": true}))
        .await;

    let waiting = bench.mcp.begin_call("ssh_job", json!({"job": job})).await;
    bench.touch("a");

    // The output has arrived while the call waits.
    loop {
        let listed = bench.mcp.call("ssh_job", plain()).await;
        if listed.structured()["jobs"][0]["stdoutBytes"] == 4 {
            break;
        }
    }

    bench.mcp.cancel(waiting).await;
    let next = bench.job(&job, json!({"waitMs": 0})).await;
    assert_eq!(next.stdout(), "one\n", "{next:?}");
    bench.touch("b");
    assert_eq!(bench.job(&job, plain()).await.stdout(), "two\n");
}

#[tokio::test]
async fn a_call_with_an_offset_waits_for_the_end() {
    let mut bench = TestHost::openssh().connect().await;
    let command = format!("echo one; {}; echo two", until("a"));
    let first = bench
        .exec(&command, json!({"cwd": "~", "waitMs": 1500}))
        .await;
    let job = job_of(&first);
    let polled = bench.job(&job, json!({"offset": 4, "waitMs": 0})).await;
    assert_eq!((status(&polled), polled.blocks().len()), ("running", 1));

    let waiting = bench
        .mcp
        .begin_call("ssh_job", json!({"job": job, "offset": 4}))
        .await;
    bench.touch("a");
    let end = bench.mcp.finish(waiting).await.ok();
    assert_eq!(
        (code(&end), end.stdout().as_str()),
        (Some(0), "two\n"),
        "{end:?}"
    );

    // What was read by offset without a gap has been seen.
    assert_eq!(bench.job(&job, plain()).await.blocks().len(), 1);
}

#[tokio::test]
async fn long_news_are_bounded_and_whole_in_the_file() {
    let mut bench = TestHost::openssh().connect().await;
    let command = format!("echo one; {}; seq 100000; {}", until("a"), until("b"));
    let job = bench
        .start(&command, json!({"cwd": "~", "waitMs": 1500}))
        .await;

    bench.touch("a");
    let long = bench.job(&job, json!({"waitMs": 3000})).await;
    let text = long.stdout();
    assert!(
        text.starts_with("1\n2\n")
            && text.ends_with("\n99999\n100000\n")
            && text.contains("bytes left out …]")
            && (20_000..30_000).contains(&text.len()),
        "{} bytes",
        text.len()
    );
    assert!(
        long.status_line().contains("stdout from byte 4"),
        "{long:?}"
    );
    let whole = "one\n".to_owned() + &counted(100_000, |n| format!("{}\n", n + 1));
    assert!(whole_output(&long) == whole.as_bytes());

    // Portions that are full already are answered for at once.
    let started = Instant::now();
    let part = bench.job(&job, json!({"offset": 4})).await;
    assert!(started.elapsed().as_secs() < 30, "{part:?}");
    assert!(part.stdout().starts_with("1\n2\n"), "{part:?}");
    assert!(
        part.status_line().contains("more from offset "),
        "{}",
        part.status_line()
    );

    bench.touch("b");
    assert_eq!(bench.job(&job, plain()).await.blocks().len(), 1);
}

#[tokio::test]
async fn no_character_is_cut_between_two_answers() {
    let mut bench = TestHost::openssh().connect().await;
    let command = format!("printf 'a\\303'; {}; printf '\\244b\\n'", until("a"));
    let first = bench
        .exec(&command, json!({"cwd": "~", "waitMs": 1500}))
        .await;
    assert_eq!(
        (first.stdout().as_str(), &first.outcome()["nextOffset"]),
        ("a", &json!(1))
    );
    bench.touch("a");
    let end = bench.job(&job_of(&first), plain()).await;
    assert_eq!(end.stdout(), "äb\n");
    assert!(end.status_line().contains("stdout from byte 1"), "{end:?}");
}

#[tokio::test]
async fn binary_output_is_named_in_each_answer() {
    let mut bench = TestHost::openssh().connect().await;
    let command = format!(
        "head -c 5000 /dev/zero; {}; head -c 3000 /dev/zero",
        until("a")
    );
    let first = bench
        .exec(&command, json!({"cwd": "~", "waitMs": 1500}))
        .await;
    assert!(first.stdout().contains("5000 bytes in all"), "{first:?}");
    let job = job_of(&first);
    assert_eq!(bench.job(&job, json!({"waitMs": 0})).await.stdout(), "");
    bench.touch("a");
    let end = bench.job(&job, plain()).await;
    assert!(end.stdout().contains("8000 bytes in all"), "{end:?}");
    assert!(whole_output(&end) == vec![0; 8000]);
}

#[tokio::test]
async fn a_terminals_screen_is_repeated_only_when_it_has_changed() {
    let bench = TestHost::openssh().connect().await;
    let Some(mut bench) = crate::terminal::given(bench) else {
        return;
    };

    // A screen of three rows, of which one is drawn anew.
    let command = format!(
        "printf '\\033[2J\\033[Hfirst\\r\\nsecond\\r\\nthird'; {}; printf '\\033[2;1HSECOND'; sleep 7441",
        until("a")
    );
    let screen = bench
        .exec(&command, json!({"pty": true, "cwd": "~", "waitMs": 1500}))
        .await;
    assert_eq!(screen.stdout(), "first\nsecond\nthird", "{screen:?}");
    let job = job_of(&screen);
    let same = bench.job(&job, json!({"waitMs": 300})).await;
    assert_eq!(same.blocks().len(), 1, "{same:?}");
    bench.touch("a");
    let changed = bench.job(&job, json!({"waitMs": 1500})).await;
    assert!(changed.stdout().contains("SECOND"), "{changed:?}");
    bench.job(&job, json!({"signal": "KILL"})).await;
}

#[tokio::test]
async fn a_conversation_on_a_terminal_is_shown_once() {
    let bench = TestHost::openssh().connect().await;
    let Some(mut bench) = crate::terminal::given(bench) else {
        return;
    };
    let command = "printf 'Name? '; read name; echo \"Hello, $name\"; printf 'Age? '; read age";
    let first = bench.exec(command, json!({"pty": true})).await;
    assert_eq!(first.stdout(), "Name? ");
    let job = job_of(&first);
    let second = bench.job(&job, json!({"input": "Ann\n"})).await;
    assert_eq!(second.stdout(), "Ann\nHello, Ann\nAge? ", "{second:?}");
    let end = bench.job(&job, json!({"input": "9\n"})).await;
    assert_eq!((end.stdout().as_str(), code(&end)), ("9\n", Some(0)));
}

#[tokio::test]
async fn a_detached_job_continues_and_another_process_sees_all() {
    let mut bench = TestHost::openssh().connect().await;
    let command = format!("echo one; {}; echo two; {}", until("a"), until("b"));
    let job = bench
        .detach(&command, json!({"cwd": "~", "waitMs": 0}))
        .await;
    bench.wait_for_output(&job, "one\n").await;
    bench.touch("a");
    bench.wait_for_output(&job, "two\n").await;

    let old = bench.another_process().await;
    let found = bench.job(&job, json!({"waitMs": 0})).await;
    assert_eq!(found.stdout(), "one\ntwo\n", "{found:?}");
    bench.touch("b");
    let end = bench.job(&job, plain()).await;
    assert_eq!((end.blocks().len(), code(&end)), (1, Some(0)), "{end:?}");
    old.close().await;
}

#[tokio::test]
async fn each_client_of_a_daemon_sees_everything_once() {
    let bench = TestHost::openssh().connect().await;
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&bench.config, folder.path(), &[]).await;

    for dialect in Dialect::KINDS {
        let mut one = HttpClient::connect(&daemon.address, dialect).await;
        let mut other = HttpClient::connect(&daemon.address, dialect).await;
        one.call("ssh_connect", json!({"host": "host"})).await.ok();

        let command = format!("echo one; {}; echo two", until("a"));
        let arguments = json!({"command": command, "cwd": "~", "waitMs": 1500});
        let begun = one.call("ssh_exec", arguments).await.ok();
        assert_eq!(begun.stdout(), "one\n", "{begun:?}");
        let job = job_of(&begun);
        let poll = json!({"job": job, "waitMs": 0});

        // Without sessions, clients cannot be told apart.
        let theirs = other.call("ssh_job", poll.clone()).await.ok();
        let expected = if dialect == Dialect::Stateless {
            ""
        } else {
            "one\n"
        };
        assert_eq!(theirs.stdout(), expected, "{dialect:?}");
        assert_eq!(one.call("ssh_job", poll).await.stdout(), "", "{dialect:?}");

        bench.touch("a");
        let waits = json!({"job": job});
        let first = one.call("ssh_job", waits.clone()).await.ok();
        assert_eq!(first.stdout(), "two\n", "{dialect:?}");
        let expected = if dialect == Dialect::Stateless {
            ""
        } else {
            "two\n"
        };
        assert_eq!(other.call("ssh_job", waits).await.stdout(), expected);
        fs::remove_file(bench.remote("a")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_terminal_of_a_shared_daemon_sees_everything_once() {
    let shared = crate::shared::Shared::new();
    let (mut one, mut other) = (shared.proxy().await, shared.proxy().await);
    one.call("ssh_connect", json!({"host": "box"})).await.ok();
    let arguments = json!({"command": "echo one; read line; echo $line", "background": true});
    let job = job_of(&one.call("ssh_exec", arguments).await.ok());

    // The command waits for input after its first line.
    for terminal in [&mut one, &mut other] {
        let mut seen = String::new();
        while seen != "one\n" {
            seen += &terminal
                .call("ssh_job", json!({"job": job, "waitMs": 100}))
                .await
                .stdout();
        }
    }

    let input = json!({"job": job, "input": "two\n"});
    assert_eq!(one.call("ssh_job", input).await.stdout(), "two\n");
    let rest = other.call("ssh_job", json!({"job": job})).await;
    assert_eq!(rest.stdout(), "two\n", "{rest:?}");
}
