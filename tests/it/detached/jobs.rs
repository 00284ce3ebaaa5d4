//! Detached jobs against the real sshd: what they outlive, and what is left of them.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{
    checks::{code, eventually, plain, random, status, whole_output},
    fixture::{ConnectedHost, TestHost},
    mcp_client::McpClient,
    open_sshd::OpenSshd,
    processes::{self, running},
    program::Program,
};

impl ConnectedHost<OpenSshd> {
    /// Starts a detached job and returns its name.
    pub(crate) async fn detach(&mut self, command: &str, mut more: Value) -> String {
        more["detach"] = true.into();
        self.start(command, more).await
    }

    /// Where the jobs are on the remote machine.
    pub(crate) fn jobs(&self) -> PathBuf {
        self.remote(".local/state/mcp-ssh-sessions/jobs")
    }

    /// The names of the jobs that are there.
    pub(crate) fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.jobs()).into_iter().flatten();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// Another process on the same store, in place of this one; the old one is returned.
    pub(crate) async fn another_process(&mut self) -> McpClient {
        let new = self.client().await;
        std::mem::replace(&mut self.mcp, new)
    }
}

#[tokio::test]
async fn a_detached_command_is_reported_as_usual_and_leaves_nothing() {
    let mut bench = TestHost::openssh().connect().await;
    let more = json!({"cwd": "/", "env": {"V": "it's"}, "detach": true, "waitMs": 60_000, "stdin": "in\u{0}put"});
    let result = bench
        .exec("pwd; echo \"$V\"; cat; echo oops >&2; exit 3", more)
        .await;

    assert_eq!(
        (status(&result), code(&result)),
        ("exited", Some(3)),
        "{result:?}"
    );

    assert_eq!(
        (result.stdout().as_str(), result.stderr().as_str()),
        ("/\nit's\nin\u{0}put", "oops\n")
    );

    eventually("nothing is left", || bench.left().is_empty()).await;

    let job = bench.detach("kill -9 $$", plain()).await;
    let result = bench.job(&job, plain()).await;
    assert_eq!(
        (status(&result), result.outcome()["signal"].as_str()),
        ("signaled", Some("KILL")),
        "{result:?}"
    );

    assert!(result.status_line().contains(" · detached"), "{result:?}");

    eventually("nothing is left", || bench.left().is_empty()).await;

    // It is there for whoever asks again.
    assert_eq!(status(&bench.job(&job, plain()).await), "signaled");

    assert!(
        bench
            .mcp
            .call("ssh_job", plain())
            .await
            .ok()
            .text()
            .contains(&format!("{job}: signaled, host, detached"))
    );
}

#[tokio::test]
async fn what_cannot_be_detached_is_refused() {
    let mut bench = TestHost::openssh().connect().await;

    for (more, part) in [
        (json!({"pty": true}), "terminal"),
        (json!({"sudo": true}), "as root"),
        (json!({"env": {"A=": "b"}}), "\"A=\""),
        (json!({"session": "nowhere"}), "there is no session"),
    ] {
        let mut arguments = json!({"command": "true", "detach": true});
        arguments
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());

        let refused = bench.mcp.call("ssh_exec", arguments).await;

        assert!(
            refused.is_error()
                && refused.text().contains(part)
                && refused.text().contains("hint: "),
            "{refused:?}"
        );
    }

    fs::write(bench.remote(".local"), "a file in the way").unwrap();
    let refused = bench
        .mcp
        .call("ssh_exec", json!({"command": "true", "detach": true}))
        .await;

    assert!(
        refused.is_error() && refused.text().contains("mkdir") && refused.text().contains("hint: "),
        "{refused:?}"
    );
}

#[tokio::test]
async fn it_survives_connection_loss_disconnect_and_cancelled_call() {
    let mut bench = TestHost::openssh().connect().await;
    let port = bench.sshd.port();

    let job = bench
        .detach(
            "while read -r line; do echo \"<$line>\"; done; sleep 7400; exit 4",
            plain(),
        )
        .await;

    bench.sshd.kill_connections();
    let answer = bench.job(&job, json!({"input": "one\n"})).await;
    assert_eq!(
        (status(&answer), answer.stdout().as_str()),
        ("running", "<one>\n"),
        "{answer:?}"
    );

    bench.mcp.call("ssh_disconnect", json!({})).await.ok();
    let answer = bench.job(&job, json!({"input": "two\n\u{4}"})).await;
    assert_eq!(
        (status(&answer), answer.stdout().as_str()),
        ("running", "<two>\n"),
        "{answer:?}"
    );

    eventually("it sleeps", || running(port, "7400").len() == 1).await;

    let wait = bench.mcp.begin_call("ssh_job", json!({"job": job})).await;
    bench.mcp.cancel(wait).await;
    let arguments = json!({"command": "echo begun; sleep 7401", "detach": true, "waitMs": 60_000});
    let started = bench.mcp.begin_call("ssh_exec", arguments).await;
    eventually("it runs", || running(port, "7401").len() == 1).await;
    bench.mcp.cancel(started).await;
    assert_eq!(
        status(&bench.job(&job, json!({"waitMs": 0})).await),
        "running"
    );

    assert_eq!(
        (running(port, "7400").len(), running(port, "7401").len()),
        (1, 1)
    );

    let stopped = bench.job(&job, json!({"signal": "INT"})).await;
    assert_eq!(
        (status(&stopped), stopped.outcome()["processGone"].as_bool()),
        ("signaled", Some(true)),
        "{stopped:?}"
    );

    assert_eq!(running(port, "7400"), [0; 0]);
    let listed = bench.mcp.call("ssh_job", plain()).await.ok();

    let other = listed.structured()["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|job| job["status"] == "running")
        .unwrap();

    assert_eq!(
        (&other["detached"], other["command"].as_str()),
        (&json!(true), Some("echo begun; sleep 7401"))
    );

    bench
        .job(other["job"].as_str().unwrap(), json!({"signal": "KILL"}))
        .await;

    eventually("nothing is left", || {
        bench.left().is_empty() && processes::of_connections_to(port).is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_wait_goes_on_over_a_new_connection() {
    let mut bench = TestHost::openssh().connect().await;
    let go = bench.remote("go");
    let command = format!(
        "echo begun; while [ ! -e '{}' ]; do sleep 0.05; done; echo went; exit 5",
        go.display()
    );

    let job = bench.detach(&command, plain()).await;
    let wait = bench
        .mcp
        .begin_call("ssh_job", json!({"job": job, "waitMs": 60_000}))
        .await;

    let port = bench.sshd.port();
    let scripts = || running(port, "IFS= read -r line; eval \"$line\"");

    for _ in 0..2 {
        eventually("it waits", || !scripts().is_empty()).await;
        let before = scripts();
        bench.sshd.kill_connections();
        eventually("it waits anew", || {
            scripts().iter().any(|pid| !before.contains(pid))
        })
        .await;
    }

    fs::write(&go, "").unwrap();
    let ended = bench.mcp.finish(wait).await.ok();
    assert_eq!(
        (status(&ended), code(&ended), ended.stdout().as_str()),
        ("exited", Some(5), "begun\nwent\n")
    );
}

#[tokio::test]
async fn disconnecting_ends_the_wait_and_not_the_job() {
    let mut bench = TestHost::openssh().connect().await;
    let port = bench.sshd.port();
    let job = bench.detach("echo begun; sleep 7402", plain()).await;
    bench.wait_for_output(&job, "begun\n").await;
    let wait = bench
        .mcp
        .begin_call("ssh_job", json!({"job": job, "waitMs": 60_000}))
        .await;

    // The pause of a script that has been waiting for a while.
    eventually("it waits", || !running(port, "0.5").is_empty()).await;
    bench.mcp.call("ssh_disconnect", json!({})).await.ok();
    let ended = bench.mcp.finish(wait).await.ok();
    assert_eq!(
        (status(&ended), ended.stdout().as_str()),
        ("running", ""),
        "{ended:?}"
    );

    assert!(
        ended.outcome()["notice"]
            .as_str()
            .unwrap()
            .contains("it lives on"),
        "{ended:?}"
    );

    assert_eq!(running(port, "7402").len(), 1);
}

#[tokio::test]
async fn a_new_process_finds_it_and_reads_all_of_it() {
    let mut bench = TestHost::openssh().connect().await;
    let bytes = random(20 * 1024 * 1024);
    fs::write(bench.remote("big"), &bytes).unwrap();
    let big = bench.remote("big").display().to_string();

    let job = bench
        .detach(
            &format!("cat '{big}'; echo done >&2; read -r line; echo \"$line\" >&2; exit 6"),
            plain(),
        )
        .await;

    let before = bench.another_process().await;
    let listed = bench.mcp.call("ssh_job", plain()).await.ok();
    let found = listed.structured()["jobs"][0].clone();
    assert_eq!(
        (found["job"].as_str(), &found["status"], &found["detached"]),
        (Some(&*job), &json!("running"), &json!(true))
    );

    assert!(
        found["command"]
            .as_str()
            .unwrap()
            .starts_with(&format!("cat '{big}';")),
        "{found}"
    );

    let ended = bench
        .job(
            &job,
            json!({"input": "over\n", "waitMs": 60_000, "session": "host"}),
        )
        .await;

    let ended = if status(&ended) == "running" {
        bench.job(&job, plain()).await
    } else {
        ended
    };

    assert_eq!(
        (status(&ended), code(&ended), ended.stderr().as_str()),
        ("exited", Some(6), "done\nover\n"),
        "{ended:?}"
    );

    assert_eq!(ended.outcome()["stdoutBytes"], bytes.len());
    assert!(whole_output(&ended) == bytes);
    eventually("nothing is left", || bench.left().is_empty()).await;
    let part = bench.job(&job, json!({"offset": bytes.len() - 5})).await;
    assert_eq!(part.outcome()["nextOffset"], bytes.len());

    // The process that started it knows that another one has read it.
    bench.mcp = before;
    let gone = bench.job(&job, plain()).await;
    assert_eq!((status(&gone), code(&gone)), ("exited", None), "{gone:?}");

    assert!(
        gone.outcome()["notice"]
            .as_str()
            .unwrap()
            .contains("another process has read it"),
        "{gone:?}"
    );

    let unknown = bench.mcp.call("ssh_job", json!({"job": "0badf00d"})).await;
    assert!(
        unknown.is_error() && unknown.text().contains("there is no job \"0badf00d\""),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn it_survives_the_sudden_end_of_the_program() {
    let bench = TestHost::openssh().connect().await;
    let config = bench.sshd.write_ssh_config("host", "");
    let mut program = Program::start(&config, bench.folder()).await;
    let command = "trap '' HUP; echo begun; sleep 7403; echo never";
    let arguments = json!({"command": command, "session": "host", "detach": true, "waitMs": 700});
    let result = program.call("ssh_exec", arguments).await.ok();
    let job = result.outcome()["job"].as_str().unwrap().to_owned();
    drop(program);
    let port = bench.sshd.port();
    eventually("it runs", || running(port, "7403").len() == 1).await;

    let mut program = Program::start(&config, bench.folder()).await;
    let result = program
        .call("ssh_job", json!({"job": job, "signal": "TERM"}))
        .await
        .ok();

    assert_eq!(
        (status(&result), result.stdout().as_str()),
        ("signaled", "begun\n"),
        "{result:?}"
    );

    assert_eq!(
        (
            result.outcome()["processGone"].as_bool(),
            running(port, "7403").len()
        ),
        (Some(true), 0)
    );

    eventually("nothing is left", || bench.left().is_empty()).await;
}

#[tokio::test]
async fn all_of_its_processes_are_signalled_and_no_others() {
    let mut bench = TestHost::openssh().connect().await;
    let port = bench.sshd.port();
    let attached = bench
        .begin("ssh_exec", "sleep 7408", json!({"background": true}))
        .await;

    let attached = bench.mcp.finish(attached).await.ok().outcome()["job"]
        .as_str()
        .unwrap()
        .to_owned();

    eventually("it runs", || running(port, "7408").len() == 1).await;
    let other = bench.detach("sleep 7405", plain()).await;
    eventually("so does what is no part of it", || {
        running(port, "7405").len() == 1
    })
    .await;

    let stopped = bench
        .job(&attached, json!({"signal": "INT", "waitMs": 60_000}))
        .await;
    assert_eq!(stopped.outcome()["processGone"], true, "{stopped:?}");
    let stubborn = "trap '' INT TERM; (sleep 7404 & sleep 7404) | cat & nohup sleep 7404 & sleep 7404; sleep 7404";
    let job = bench.detach(stubborn, plain()).await;
    eventually("all run", || {
        running(port, "7404").len() == 4 && running(port, "7405").len() == 1
    })
    .await;

    let stopped = bench
        .job(&job, json!({"signal": "INT", "waitMs": 60_000}))
        .await;

    assert_eq!(
        (status(&stopped), stopped.outcome()["processGone"].as_bool()),
        ("signaled", Some(true)),
        "{stopped:?}"
    );

    assert_eq!(
        (running(port, "7404").len(), running(port, "7405").len()),
        (0, 1)
    );

    let traps = bench.detach(
        "trap 'echo usr1' USR1; trap 'exit 9' HUP; echo ready; while :; do sleep 0.05; done",
        plain(),
    );

    let traps = traps.await;
    bench.wait_for_output(&traps, "ready\n").await;
    let reply = bench.job(&traps, json!({"signal": "USR1"})).await;
    if reply.stdout().is_empty() {
        bench.wait_for_output(&traps, "usr1\n").await;
    }

    let ended = bench
        .job(&traps, json!({"signal": "HUP", "waitMs": 60_000}))
        .await;

    assert_eq!(
        (status(&ended), code(&ended)),
        ("exited", Some(9)),
        "{ended:?}"
    );

    bench.job(&other, json!({"signal": "KILL"})).await;
    eventually("no process is left", || {
        processes::of_connections_to(port).is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_time_limit_holds_there_too() {
    let mut bench = TestHost::openssh().connect().await;

    let job = bench
        .detach(
            "trap '' INT TERM; echo begun; sleep 7406; sleep 7406",
            json!({"timeoutMs": 1000}),
        )
        .await;

    let before = bench.another_process().await;
    let ended = bench.job(&job, json!({"waitMs": 60_000})).await;
    assert_eq!(
        (status(&ended), ended.outcome()["processGone"].as_bool()),
        ("timedOut", Some(true)),
        "{ended:?}"
    );

    assert_eq!(running(bench.sshd.port(), "7406"), [0; 0]);
    drop(before);
}

#[tokio::test]
async fn a_program_that_waits_at_a_prompt_is_noticed() {
    let mut bench = TestHost::openssh().connect().await;

    let job = bench
        .detach(
            "printf 'Name? '; read -r name; echo \"hello $name\"",
            plain(),
        )
        .await;

    let waits = bench.job(&job, json!({"waitMs": 60_000})).await;
    assert_eq!(
        (status(&waits), &waits.outcome()["awaitingInput"]),
        ("running", &json!(true)),
        "{waits:?}"
    );

    let ended = bench
        .job(&job, json!({"input": "you\n", "waitMs": 60_000}))
        .await;

    assert_eq!(
        (status(&ended), ended.stdout().as_str()),
        ("exited", "hello you\n"),
        "{ended:?}"
    );

    let refused = bench
        .mcp
        .call("ssh_job", json!({"job": job, "input": "x"}))
        .await;

    assert!(
        refused.is_error() && refused.text().contains("has ended"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn what_it_does_not_read_is_an_error_in_time() {
    let mut bench = TestHost::openssh().connect().await;
    let job = bench.detach("sleep 7407", plain()).await;
    let refused = bench
        .mcp
        .call("ssh_job", json!({"job": job, "input": "x".repeat(200_000)}))
        .await;

    assert!(
        refused.is_error() && refused.text().contains("does not read its input"),
        "{refused:?}"
    );

    let given = bench.detach("sleep 7407", json!({"stdin": ""})).await;
    let refused = bench
        .mcp
        .call("ssh_job", json!({"job": given, "input": "x"}))
        .await;

    assert!(
        refused.is_error() && refused.text().contains("is closed"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn many_at_once_are_started_and_listed() {
    let mut bench = TestHost::openssh().connect().await;
    let mut calls = Vec::new();

    // A second name for the same machine does not list them twice.
    bench
        .mcp
        .call("ssh_connect", json!({"host": "host", "name": "twin"}))
        .await
        .ok();

    for n in 0..12 {
        calls.push(
            bench
                .begin("ssh_exec", &format!("echo {n}"), json!({"detach": true}))
                .await,
        );
    }

    for call in calls {
        assert_eq!(status(&bench.mcp.finish(call).await.ok()), "running");
    }

    let before = bench.another_process().await;
    let text = bench.mcp.call("ssh_job", plain()).await.ok().text();
    assert!(
        text.starts_with("no jobs\nto list detached jobs, name a session"),
        "{text}"
    );

    for name in ["host", "twin"] {
        bench
            .mcp
            .call("ssh_reconnect", json!({"session": name}))
            .await
            .ok();
    }

    let listed = bench.mcp.call("ssh_job", plain()).await.ok();
    let jobs = listed.structured()["jobs"].as_array().unwrap().clone();
    assert_eq!(jobs.len(), 12);
    let mut numbers = Vec::new();
    for job in jobs {
        let ended = bench.job(job["job"].as_str().unwrap(), plain()).await;
        numbers.push(ended.stdout().trim().parse::<u32>().unwrap());
    }

    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..12));
    eventually("nothing is left", || bench.left().is_empty()).await;
    drop(before);
}
