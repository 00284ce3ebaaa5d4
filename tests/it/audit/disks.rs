//! Places that take no line: a full disk, and files that are not for this user alone.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
};

use serde_json::json;

use super::Audited;
use crate::support::{disk::SmallDisk, fixture::TestHost};

/// A file of the remote host, and the command that writes it.
fn trace<S>(host: &TestHost<S>) -> (PathBuf, String) {
    let ran = host.remote("ran");
    let command = format!("echo ran >> {}", ran.display());
    (ran, command)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_calls_only_if_records_are_required() {
    for required in [false, true] {
        let host = TestHost::openssh();
        let disk = host.local("disk");
        let Some(_disk) = SmallDisk::mount(&disk) else {
            return;
        };

        let more = format!("required = {required}");
        let audited = Audited::in_file(host, disk.join("audit/audit.jsonl"), &more);
        let mut program = audited.connected().await;
        assert!(fs::write(disk.join("filler"), vec![0; 2 << 20]).is_err());

        // The rest of the last page of the file may still take some lines.
        let (ran, touch) = trace(&audited.host);
        let long = format!("{touch} # {}", "x".repeat(5_000));
        let refused = program.call("ssh_exec", json!({"command": long})).await;
        assert_eq!(refused.is_error(), required, "{}", refused.text());
        assert_eq!(ran.exists(), !required, "nothing runs without its record");

        let before = audited.records().len();
        let listed = program.call("ssh_sessions", json!({})).await;

        if required {
            let text = refused.text();
            assert!(
                text.contains("cannot be written") && text.contains("required"),
                "{text}"
            );
        } else {
            let text = listed.text();
            assert!(text.contains("calls are not recorded"), "{text}");
        }

        fs::remove_file(disk.join("filler")).unwrap();
        program
            .call("ssh_exec", json!({"command": touch}))
            .await
            .ok();
        assert!(ran.exists());

        // The next line that found room says that some did not.
        let records = audited.records();
        let lost = records[before..]
            .iter()
            .map(|line| line["lost"].as_u64().unwrap_or_default());
        assert!(lost.sum::<u64>() >= 1, "{records:?}");

        let (status, report) = audited.audit(&["verify"]).await;
        assert_eq!(status, Some(0), "{report}");
        let (_, shown) = audited.audit(&[]).await;
        assert!(shown.contains("before could not be written"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_others_may_change_takes_no_line() {
    let audited = Audited::new(TestHost::openssh(), "required = true");
    let mut program = audited.connected().await;
    let (ran, touch) = trace(&audited.host);
    let folder = audited.log.parent().unwrap().to_owned();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&audited.log), mode(&folder)), (0o600, 0o700));

    let chmod = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };

    for (path, open, closed) in [(&audited.log, 0o620, 0o600), (&folder, 0o777, 0o700)] {
        chmod(path, open);
        let refused = program.call("ssh_exec", json!({"command": touch})).await;
        assert!(
            refused.is_error() && refused.text().contains("chmod go-w"),
            "{}",
            refused.text()
        );
        chmod(path, closed);
        program
            .call("ssh_exec", json!({"command": "true"}))
            .await
            .ok();
    }

    let elsewhere = audited.host.local("elsewhere");
    fs::rename(&audited.log, &elsewhere).unwrap();
    symlink(&elsewhere, &audited.log).unwrap();
    let length = fs::metadata(&elsewhere).unwrap().len();
    let refused = program.call("ssh_exec", json!({"command": touch})).await;
    assert!(
        refused.is_error() && refused.text().contains("it is a link"),
        "{}",
        refused.text()
    );
    assert_eq!(fs::metadata(&elsewhere).unwrap().len(), length);
    assert!(!ran.exists());
}
