//! A log that somebody has changed.

use std::fs;

use serde_json::json;

use super::Audited;
use crate::support::fixture::TestHost;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_changes_a_line_is_found_out() {
    let audited = Audited::new(TestHost::openssh(), "");
    let mut program = audited.connected().await;
    for number in 0..3 {
        let command = format!("echo number {number}");
        program
            .call("ssh_exec", json!({"command": command}))
            .await
            .ok();
    }

    let (status, report) = audited.audit(&["verify"]).await;
    assert_eq!(status, Some(0), "{report}");
    let head = report
        .lines()
        .find_map(|line| line.strip_prefix("head: "))
        .unwrap();

    let log = fs::read_to_string(&audited.log).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    let but = |left_out: usize| {
        let rest = lines.iter().enumerate().filter(|(at, _)| *at != left_out);
        rest.map(|(_, line)| format!("{line}\n"))
            .collect::<Vec<_>>()
            .concat()
    };
    let mut swapped = lines.clone();
    swapped.swap(3, 5);

    for (changed, words) in [
        (
            log.replacen("echo number 1", "echo number 7", 1),
            "line 5 was changed",
        ),
        (but(0), "line 1: entry 1 is missing before it"),
        (but(4), "line 5: entry 5 is missing before it"),
        (swapped.join("\n") + "\n", "was moved"),
        (
            log.replacen('\n', &format!("\n{}\n", lines[6]), 1),
            "was added or moved there",
        ),
    ] {
        fs::write(&audited.log, changed).unwrap();
        let (status, report) = audited.audit(&["verify"]).await;
        assert_eq!(status, Some(1), "{words}: {report}");
        assert!(report.contains(words), "{words}: {report}");
    }

    // Only the head shows that the end was cut off.
    fs::write(&audited.log, but(lines.len() - 1)).unwrap();
    let (status, report) = audited.audit(&["verify"]).await;
    assert_eq!(status, Some(0), "{report}");
    assert!(report.contains("verify --head HASH"), "{report}");
    let (status, report) = audited.audit(&["verify", "--head", head]).await;
    assert_eq!(status, Some(1), "{report}");
    assert!(report.contains("no line has that head"), "{report}");

    // A log that has grown since still has the head.
    fs::write(&audited.log, &log).unwrap();
    program.call("ssh_sessions", json!({})).await.ok();
    let (status, report) = audited.audit(&["verify", "--head", head]).await;
    assert_eq!(status, Some(0), "{report}");
    assert!(report.contains("with 2 lines after it"), "{report}");
}
