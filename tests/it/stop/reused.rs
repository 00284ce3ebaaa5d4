//! Process ids that belong to another process by now. The server has process ids of its own, so that the next one can be
//! chosen (`ns_last_pid`, proc(5)).

use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::{
    checks::{eventually, plain, skipped},
    fixture::{ConnectedHost, TestHost},
    open_sshd::OpenSshd,
    processes::running,
};

/// A server, as root, with a name space of its own for process ids.
async fn with_its_own_ids() -> Option<ConnectedHost<OpenSshd>> {
    let before = ["unshare", "-p", "-f", "--mount-proc", "--kill-child"];
    let mut able = Command::new(before[0]);
    able.args(&before[1..])
        .args(["sh", "-c", "echo 100 >/proc/sys/kernel/ns_last_pid"])
        .stderr(Stdio::null());

    if !able.status().is_ok_and(|status| status.success()) {
        skipped("process ids can be chosen by root alone, where unshare(1) is");
        return None;
    }

    Some(
        TestHost::openssh_with(|settings| settings.before = before.map(str::to_owned).to_vec())
            .connect()
            .await,
    )
}

/// Starts a job whose first process ends at once, while another one holds its channel open, and gives that process's id to
/// another one, which has `word` among its arguments and, for a group, has left its own process behind. Returns the job.
async fn job_whose_id_is_another_s(
    bench: &mut ConnectedHost<OpenSshd>,
    word: &str,
    whole_group: bool,
) -> String {
    let first = bench.remote("first");
    let _ = std::fs::remove_file(&first);
    let command =
        "echo $$ >~/first; setsid sh -c 'while :; do echo tick; sleep 0.3; done' & exit 0";

    let job = bench
        .exec(command, json!({"background": true}))
        .await
        .outcome()["job"]
        .as_str()
        .unwrap()
        .to_owned();

    eventually("it has told its id", || {
        std::fs::read_to_string(&first).is_ok_and(|id| id.ends_with('\n'))
    })
    .await;

    let id = std::fs::read_to_string(first).unwrap().trim().to_owned();

    // A daemon that was started in the usual way leads a session no more: its parent did.
    let foreign = if whole_group {
        format!("sh -c 'sleep {word} & echo begun'")
    } else {
        format!("sleep {word}")
    };

    let take = format!(
        "while kill -0 {id} 2>/dev/null; do sleep 0.05; done\n\
         # No system comes round to the same id sooner of itself.\n\
         sleep 0.3\n\
         for try in $(seq 1000); do\n\
           echo $(({id} - 1)) >/proc/sys/kernel/ns_last_pid\n\
           sh -c '[ $$ = {id} ] || exit; exec setsid {}' >/dev/null 2>&1 </dev/null &\n\
           [ $! = {id} ] && exit\n\
         done; exit 1",
        foreign.replace('\'', "'\\''")
    );

    let taken = bench.exec(&take, plain()).await;
    assert_eq!(taken.outcome()["exitCode"], 0, "{taken:?}");
    eventually("the other one runs", || !all_running(word).is_empty()).await;

    job
}

/// The processes that have `word` among their arguments.
fn all_running(word: &str) -> Vec<u32> {
    let has_word = |pid: &u32| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments
            .split(|byte| *byte == 0)
            .any(|argument| argument == word.as_bytes())
    };

    crate::support::processes::all()
        .into_iter()
        .filter(has_word)
        .collect()
}

#[tokio::test]
async fn another_process_that_has_a_job_s_id_by_now_is_left_alone() {
    let Some(mut bench) = with_its_own_ids().await else {
        return;
    };

    for (word, whole_group) in [("7811", false), ("7812", true)] {
        let job = job_whose_id_is_another_s(&mut bench, word, whole_group).await;
        bench
            .mcp
            .call("ssh_job", json!({"job": job, "signal": "USR1"}))
            .await
            .ok();

        let stopped = bench
            .mcp
            .call("ssh_job", json!({"job": job, "signal": "KILL"}))
            .await
            .ok();

        assert_eq!(all_running(word).len(), 1, "{stopped:?}");

        // The loop has left its group: nothing shows whose it is.
        assert_eq!(
            stopped.outcome()["processGone"],
            serde_json::Value::Null,
            "{stopped:?}"
        );
    }

    job_whose_id_is_another_s(&mut bench, "7813", false).await;
    bench.mcp.call("ssh_disconnect", json!({})).await.ok();
    assert_eq!(all_running("7813").len(), 1);
}

#[tokio::test]
async fn processes_in_a_jobs_group_are_stopped_after_its_first_ended() {
    let Some(mut bench) = with_its_own_ids().await else {
        return;
    };
    let command = "sh -c 'while :; do echo tick; sleep 0.3; done' 7821 & exit 0";
    let started = bench.exec(command, json!({"background": true})).await;
    let port = bench.port;
    eventually("it runs", || !running(port, "7821").is_empty()).await;
    let job = started.outcome()["job"].clone();
    let stopped = bench
        .mcp
        .call("ssh_job", json!({"job": job, "signal": "KILL"}))
        .await
        .ok();

    assert_eq!(stopped.outcome()["processGone"], true, "{stopped:?}");
    assert_eq!(running(port, "7821"), [0; 0]);
}
