//! Several processes that write one log, and processes that end in the middle of a call.

use std::fs;

use futures_util::future::join_all;
use serde_json::json;

use super::{Audited, audit};
use crate::support::{checks::eventually, fixture::TestHost};

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_write_one_chain() {
    const PROCESSES: usize = 4;
    const CALLS: usize = 15;

    // A small limit, so that they also rotate the file under each other.
    let audited = Audited::new(TestHost::openssh(), "max_mib = 1");
    let long = "#".repeat(40_000);

    join_all((0..PROCESSES).map(async |process| {
        let mut program = audited.connected().await;
        for call in 0..CALLS {
            let command = format!("echo {process} {call} {long}");
            program
                .call("ssh_exec", json!({"command": command}))
                .await
                .ok();
        }
    }))
    .await;

    let calls = PROCESSES * (CALLS + 1);
    let full = audited.log.with_extension("jsonl.1");
    assert!(full.exists());

    let (status, report) = audited.audit(&["verify"]).await;
    assert_eq!(status, Some(0), "{report}");
    assert!(
        report.starts_with(&format!("{} lines,", calls * 2)),
        "{report}"
    );

    let (_, shown) = audited.audit(&[]).await;
    assert_eq!(shown.lines().count(), calls);
    assert!(!shown.contains("no end recorded"), "{shown}");

    for process in 0..PROCESSES {
        for call in 0..CALLS {
            assert_eq!(
                shown.matches(&format!("echo {process} {call} #")).count(),
                1
            );
        }
    }

    // A full file that is gone is noticed.
    fs::rename(&full, audited.host.local("away")).unwrap();
    let (status, report) = audited.audit(&["verify"]).await;
    assert_eq!(status, Some(1), "{report}");
    assert!(report.contains("entries 1 to"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_killed_has_no_end() {
    let audited = Audited::new(TestHost::openssh(), "");
    let mut program = audited.connected().await;
    let arguments = json!({"name": "ssh_exec", "arguments": {"command": "sleep 60.25"}});
    program.begin("tools/call", arguments).await;
    let runs = || audited.host.runs("60.25");
    eventually("the command runs", runs).await;
    program.signal_and_forget("KILL").await;

    let (_, shown) = audited.audit(&["--tool", "exec"]).await;
    assert!(
        shown.contains("sleep 60.25") && shown.contains("no end recorded"),
        "{shown}"
    );

    // The next process goes on after a line that broke off.
    let mut log = fs::read(&audited.log).unwrap();
    log.extend_from_slice(b"{\"prev\":\"12");
    fs::write(&audited.log, log).unwrap();
    audited.connected().await;

    let (status, report) = audited.audit(&["verify"]).await;
    assert_eq!(status, Some(0), "{report}");
    assert!(
        report.contains("line 4 broke off, as in a crash"),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_given_up_says_so() {
    let audited = Audited::new(TestHost::openssh(), "");
    let mut program = audited.connected().await;
    let arguments = json!({"name": "ssh_exec", "arguments": {"command": "sleep 60.75"}});
    let id = program.begin("tools/call", arguments).await;
    let runs = || audited.host.runs("60.75");
    eventually("the command runs", runs).await;

    let params = json!({"requestId": id});
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
    program.send(&cancel).await;
    let ended = || audited.last_end()["tool"] == "ssh_exec";
    eventually("the end is recorded", ended).await;

    let end = audited.last_end();
    assert_eq!(
        (&end["cancelled"], &end["parts"][0]["status"]),
        (&json!(true), &json!("cancelled"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (status, said) = audit(folder.path(), &[], &["verify"]).await;
    assert_eq!(status, Some(1));
    assert!(
        said.contains("state/mcp-ssh-sessions/audit.jsonl cannot be read"),
        "{said}"
    );
}
