//! Commands that outlive the calls that started them, against the real sshd.

mod asked;
mod continued;
mod fan_out;
mod many;
mod queue;

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::{
    checks::{code, counted, eventually, plain, status, whole_output},
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
    processes::running,
};

impl<S> ConnectedHost<S> {
    /// Starts a command that is left running, and returns the name of its job.
    pub(crate) async fn start(&mut self, command: &str, more: Value) -> String {
        let result = self.exec(command, more).await;
        assert_eq!(
            (status(&result), code(&result)),
            ("running", None),
            "{result:?}"
        );
        job(&result)
    }

    /// `ssh_job` on a job, with further parameters.
    pub(crate) async fn job(&mut self, job: &str, mut more: Value) -> ToolResult {
        more["job"] = job.into();
        self.mcp.call("ssh_job", more).await.ok()
    }
}

fn job(result: &ToolResult) -> String {
    let job = result.outcome()["job"]
        .as_str()
        .unwrap_or_else(|| panic!("no job: {result:?}"))
        .to_owned();

    assert!(
        result.status_line().contains(&format!("job {job}")),
        "{result:?}"
    );

    job
}

#[tokio::test]
async fn a_call_answers_in_time_and_its_command_goes_on() {
    let mut bench = TestHost::openssh().connect().await;
    let go = bench.remote("go").display().to_string();
    let waits =
        format!("echo begun; while [ ! -e '{go}' ]; do sleep 0.05; done; echo went; exit 3");

    for tool in ["ssh_exec", "ssh_shell"] {
        let result = bench
            .mcp
            .call(tool, json!({"command": waits, "waitMs": 700}))
            .await
            .ok();

        assert_eq!(
            (status(&result), result.stdout().as_str()),
            ("running", "begun\n"),
            "{result:?}"
        );

        assert!(
            result.status_line().starts_with("[running · job "),
            "{result:?}"
        );

        let job = job(&result);
        let still = bench.job(&job, json!({"waitMs": 0})).await;
        assert_eq!(
            (status(&still), still.stdout().as_str()),
            ("running", ""),
            "{still:?}"
        );

        bench.exec(&format!("touch '{go}'"), plain()).await;
        let ended = bench.job(&job, plain()).await;
        assert_eq!(
            (status(&ended), code(&ended), ended.stdout().as_str()),
            ("exited", Some(3), "went\n")
        );

        // It is there for whoever asks again.
        let again = bench.job(&job, json!({"offset": 0})).await;
        assert_eq!(again.stdout(), "begun\nwent\n");
        bench.exec(&format!("rm '{go}'"), plain()).await;
    }

    let result = bench.shell("echo next", plain()).await;
    assert_eq!(
        (result.stdout().as_str(), result.outcome()["job"].as_str()),
        ("next\n", None),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_background_command_is_answered_for_as_soon_as_it_is_sent() {
    let mut bench = TestHost::openssh().connect().await;
    let started = Instant::now();
    let job = bench.start("sleep 7300", json!({"background": true})).await;
    assert!(started.elapsed().as_secs() < 20);
    let port = bench.sshd.port();
    eventually("the command runs", || !running(port, "7300").is_empty()).await;
    let stopped = bench.job(&job, json!({"signal": "TERM"})).await;
    assert_eq!(
        (status(&stopped), stopped.outcome()["signal"].as_str()),
        ("signaled", Some("TERM")),
        "{stopped:?}"
    );

    assert_eq!(stopped.outcome()["processGone"], true);
    assert_eq!(running(port, "7300"), [0; 0]);

    let refused = bench
        .mcp
        .call(
            "ssh_exec",
            json!({"command": "true", "background": true, "env": {"A=": "b"}}),
        )
        .await;

    assert!(
        refused.is_error() && refused.text().contains("\"A=\""),
        "{refused:?}"
    );
}

#[tokio::test]
async fn jobs_are_listed_with_what_they_do() {
    let mut bench = TestHost::openssh().connect().await;
    assert_eq!(
        bench.mcp.call("ssh_job", json!({})).await.ok().text(),
        "no jobs"
    );

    let long = bench.start("sleep 7301", json!({"background": true})).await;
    let short = bench.start("echo done", json!({"background": true})).await;
    bench.job(&short, plain()).await;
    let listed = bench
        .mcp
        .call("ssh_job", json!({"session": "host"}))
        .await
        .ok();

    let jobs = listed.structured()["jobs"].as_array().unwrap().clone();

    let seen: Vec<_> = jobs
        .iter()
        .map(|job| {
            (
                job["job"].as_str().unwrap(),
                job["status"].as_str().unwrap(),
            )
        })
        .collect();

    assert_eq!(
        seen,
        [(long.as_str(), "running"), (short.as_str(), "exited")]
    );

    assert_eq!(
        (&jobs[0]["command"], &jobs[0]["session"]),
        (&json!("sleep 7301"), &json!("host"))
    );

    assert!(
        listed
            .text()
            .contains(&format!("{long}: running, host, since ")),
        "{}",
        listed.text()
    );

    let unknown = bench.mcp.call("ssh_job", json!({"session": "other"})).await;
    assert!(
        unknown.is_error() && unknown.text().contains("there is no session"),
        "{unknown:?}"
    );

    for (arguments, part) in [
        (json!({"job": "ffffffff"}), "there is no job \"ffffffff\""),
        (
            json!({"job": long, "session": "other"}),
            "there is no session",
        ),
        (json!({"input": "x"}), "which job?"),
        (
            json!({"job": long, "signal": "BOOM"}),
            "\"BOOM\" is not a signal",
        ),
        (json!({"job": short, "input": "x"}), "has ended"),
    ] {
        let refused = bench.mcp.call("ssh_job", arguments.clone()).await;
        assert!(
            refused.is_error() && refused.text().contains(part),
            "{arguments}: {}",
            refused.text()
        );

        assert!(refused.text().contains("hint: "), "{}", refused.text());
    }

    bench.job(&long, json!({"signal": "kill"})).await;
}

#[tokio::test]
async fn output_is_read_from_any_byte_during_and_after_the_job() {
    let mut bench = TestHost::openssh().connect().await;
    let go = bench.remote("go").display().to_string();
    let command =
        format!("seq 100000; while [ ! -e '{go}' ]; do sleep 0.05; done; printf 'é→ end'");
    let job = bench.start(&command, json!({"background": true})).await;
    let whole = counted(100_000, |n| format!("{}\n", n + 1));
    let (mut offset, mut read) = (0, String::new());

    while read.len() < whole.len() {
        let part = bench
            .job(&job, json!({"offset": offset, "waitMs": 0}))
            .await;
        assert_eq!(status(&part), "running", "{part:?}");
        read.push_str(&part.stdout());
        offset = part.outcome()["nextOffset"].as_u64().unwrap();
        assert_eq!(offset, read.len() as u64);
    }

    assert!(read == whole);
    bench.exec(&format!("touch '{go}'"), plain()).await;
    let end = bench
        .job(&job, json!({"offset": offset, "waitMs": 20_000}))
        .await;

    assert_eq!(
        (status(&end), end.stdout().as_str()),
        ("exited", "é→ end"),
        "{end:?}"
    );

    assert_eq!(
        bench
            .job(&job, json!({"offset": offset + 9}))
            .await
            .stdout(),
        ""
    );

    let all = bench.job(&job, json!({"offset": 0})).await;
    assert_eq!(all.outcome()["truncated"], true);
    assert!(whole_output(&all) == format!("{whole}é→ end").as_bytes());
}

#[tokio::test]
async fn a_job_is_fed_and_answers_when_it_has_answered() {
    let mut bench = TestHost::openssh().connect().await;

    let job = bench
        .start(
            "while read -r line; do echo \"got $line\"; done; echo over",
            json!({"background": true}),
        )
        .await;

    for line in ["one", "it's \"two\" \\ é"] {
        let answer = bench.job(&job, json!({"input": format!("{line}\n")})).await;
        assert!(
            answer.stdout().ends_with(&format!("got {line}\n")),
            "{answer:?}"
        );
        assert_eq!(status(&answer), "running");
    }

    let ended = bench.job(&job, json!({"input": "last\n\u{4}"})).await;
    assert_eq!(
        (status(&ended), ended.stdout().lines().last()),
        ("exited", Some("over")),
        "{ended:?}"
    );

    assert!(ended.stdout().contains("got last\n"));

    // Without a terminal and not in the background, stdin is empty from the start.
    assert_eq!(bench.exec("cat; echo end", plain()).await.stdout(), "end\n");

    assert_eq!(
        bench
            .exec(
                "cat",
                json!({"stdin": "all of it", "background": true, "waitMs": 20_000})
            )
            .await
            .stdout(),
        "all of it"
    );
}

#[tokio::test]
async fn a_job_that_does_not_read_its_input_says_so() {
    let mut bench = TestHost::openssh().connect().await;
    let job = bench.start("sleep 7302", json!({"background": true})).await;
    let portion = "x".repeat(1_000_000);

    let refused = loop {
        let result = bench
            .mcp
            .call(
                "ssh_job",
                json!({"job": job, "input": portion, "waitMs": 0}),
            )
            .await;

        if result.is_error() {
            break result.text();
        }
    };

    assert!(refused.contains("does not read its input"), "{refused}");
    assert_eq!(bench.exec("echo alive", plain()).await.stdout(), "alive\n");
    bench.job(&job, json!({"signal": "KILL"})).await;

    let job = bench
        .shell("sleep 7302", json!({"waitMs": 300}))
        .await
        .outcome()["job"]
        .as_str()
        .unwrap()
        .to_owned();

    let refused = bench
        .mcp
        .call("ssh_job", json!({"job": job, "input": "x"}))
        .await
        .text();

    assert!(
        refused.contains("stdin of job") && refused.contains("pty or background"),
        "{refused}"
    );

    bench.job(&job, json!({"signal": "INT"})).await;
    assert_eq!(
        bench.shell("echo in step", plain()).await.stdout(),
        "in step\n"
    );
}

#[tokio::test]
async fn a_wait_that_is_given_up_leaves_the_job_alone() {
    let mut bench = TestHost::openssh().connect().await;
    let job = bench
        .start("sleep 7303; echo slept", json!({"background": true}))
        .await;
    let port = bench.sshd.port();
    eventually("the command runs", || !running(port, "7303").is_empty()).await;
    let wait = bench.mcp.begin_call("ssh_job", json!({"job": job})).await;
    bench.mcp.cancel(wait).await;
    let still = bench.job(&job, json!({"waitMs": 0})).await;
    assert_eq!(
        (status(&still), running(port, "7303").len()),
        ("running", 1)
    );

    // Disconnecting the session ends it.
    bench.mcp.call("ssh_disconnect", json!({})).await.ok();
    assert_eq!(status(&bench.job(&job, plain()).await), "cancelled");
    assert_eq!(running(port, "7303"), [0; 0]);
}

#[tokio::test]
async fn a_job_is_cut_off_with_its_connection_and_says_so() {
    let mut bench = TestHost::openssh().connect().await;
    let job = bench
        .start("echo before; sleep 7304", json!({"background": true}))
        .await;
    let port = bench.sshd.port();
    eventually("the command runs", || !running(port, "7304").is_empty()).await;
    bench.sshd.kill_connections();
    let lost = bench.job(&job, plain()).await;
    assert_eq!(
        (status(&lost), lost.stdout().as_str()),
        ("connectionLost", "before\n"),
        "{lost:?}"
    );
}

#[tokio::test]
async fn a_signal_that_does_not_stop_is_sent_once_and_the_job_goes_on() {
    let mut bench = TestHost::openssh().connect().await;
    let command = "trap 'echo usr1' USR1; trap 'echo hup; exit 4' HUP; echo ready; while :; do sleep 0.05; done";
    let job = bench.start(command, json!({"background": true})).await;
    bench.wait_for_output(&job, "ready\n").await;
    let reply = bench.job(&job, json!({"signal": "SIGUSR1"})).await;
    assert_eq!(status(&reply), "running", "{reply:?}");
    if reply.stdout().is_empty() {
        bench.wait_for_output(&job, "usr1\n").await;
    }

    let reply = bench
        .job(&job, json!({"signal": "hup", "waitMs": 20_000}))
        .await;

    assert_eq!(
        (status(&reply), code(&reply)),
        ("exited", Some(4)),
        "{reply:?}"
    );
}

impl<S> ConnectedHost<S> {
    /// Waits until a job's stdout ends so.
    pub(crate) async fn wait_for_output(&mut self, job: &str, end: &str) {
        let started = Instant::now();
        let mut seen = String::new();
        while !seen.ends_with(end) {
            seen += &self.job(job, json!({"waitMs": 0})).await.stdout();
            assert!(started.elapsed().as_secs() < 30, "{end:?} is not printed");
        }
    }
}
