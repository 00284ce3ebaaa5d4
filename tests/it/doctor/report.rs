//! The report: as JSON, of saved sessions, with hosts on which not everything works, and wrong usage.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{doctor, doctor_of};
use crate::{
    support::{
        fake_sshd::{FakeSshd, FakeSshdSettings},
        keys,
        open_sshd::{OpenSshd, OpenSshdSettings},
    },
    transfer::without_sftp::failing_paths::failing_at_paths,
};

#[tokio::test]
async fn programs_get_the_same_as_json() {
    let sshd = OpenSshd::start(&OpenSshdSettings::default());
    for (options, connects) in [("", true), ("UserKnownHostsFile /dev/null", false)] {
        let output = doctor_of(
            &sshd.write_ssh_config("box", options),
            &[],
            &["box", "--json"],
            |_| {},
        )
        .await;

        let report: Value = serde_json::from_str(&output.text).unwrap();
        assert_eq!(output.code, Some(i32::from(!connects)));
        assert_eq!(
            (&report["host"], &report["connects"]),
            (&json!("box"), &json!(connects))
        );

        assert_eq!(report["next"].is_null(), connects, "{report}");
        let stages = report["stages"].as_array().unwrap();
        let host_key = stages
            .iter()
            .find(|stage| stage["stage"] == "hostKey")
            .unwrap();

        let expected = if connects { "passed" } else { "failed" };
        assert_eq!(host_key["outcome"], expected, "{report}");
        assert!(
            host_key["summary"].as_str().unwrap().contains("SHA256:"),
            "{report}"
        );

        assert!(
            stages
                .iter()
                .all(|stage| stage["summary"].is_string() && stage["details"].is_array()),
            "{report}"
        );

        assert_eq!(
            stages.iter().any(|stage| stage["outcome"] == "skipped"),
            !connects,
            "{report}"
        );
    }
}

#[tokio::test]
async fn a_saved_session_is_explained_and_a_broken_store_stays() {
    let sshd = OpenSshd::start(&OpenSshdSettings::default());
    let config = sshd.write_ssh_config("box", "IdentityAgent none");
    let key = sshd.dir().join("no-such-key");
    let saved = json!({"version": 1, "sessions": [
        {"name": "work", "host": "box", "keyPath": key, "passwordAuth": false}
    ]});

    let store =
        |text: String| move |home: &Path| fs::write(home.join("sessions.json"), &text).unwrap();

    doctor_of(&config, &[], &["work"], store(saved.to_string()))
        .await
        .says(
            false,
            &[
                "work is a saved session of host box",
                "no-such-key",
                "✓ host key",
                "✗ log-in: the key file ",
                "work does not connect",
            ],
        );

    let output = doctor_of(&config, &[], &["box"], store("{ broken".to_owned())).await;
    output.says(true, &["sessions.json cannot be read", "✓ box connects"]);
}

#[tokio::test]
async fn a_host_without_sftp_is_reported_with_its_shell_for_files() {
    for (sftp, reason) in [
        ("", "the server has no SFTP"),
        (
            "/nowhere/sftp",
            "the server ended at once (exit status 127)",
        ),
    ] {
        let sshd = OpenSshd::start(&OpenSshdSettings {
            sftp: sftp.to_owned(),
            ..OpenSshdSettings::default()
        });
        let config = sshd.write_ssh_config("box", "");
        let output = doctor(&config, &[]).await;
        output.says(
            true,
            &[
                &format!("{reason}; files are moved by /bin/sh instead"),
                "✓ box connects",
            ],
        );
        assert!(!output.text.contains("but this"), "{}", output.text);
    }

    let failing = failing_at_paths("/bin/sh");
    doctor(&failing.config, &[]).await.says(
        true,
        &["– files (SFTP): SFTP does not start on the server: it fails at every path: 'Account' object has no attribute 'path'; files are moved by /bin/sh instead"],
    );
}

#[tokio::test]
async fn what_does_not_work_on_a_host_that_connects_is_told() {
    let sshd = OpenSshd::start(&OpenSshdSettings {
        sftp: "/bin/cat".to_owned(),
        ..OpenSshdSettings::default()
    });

    let config = sshd.write_ssh_config("box", "");

    doctor(&config, &[]).await.says(
        true,
        &[
            "✓ ssh_shell",
            "✗ files (SFTP)",
            "✓ box connects, but this does not work",
        ],
    );

    let folder = tempfile::tempdir().unwrap();
    let (key, path) = (keys::ed25519(), folder.path().join("key"));
    keys::write_private_key(&path, &key, None);

    for (max_sessions, connects, part) in [
        (0, false, "✗ channel: the server refused"),
        (2, true, " at once over a connection (MaxSessions)"),
    ] {
        let sshd = FakeSshd::start(FakeSshdSettings {
            max_sessions,
            authorized_keys: vec![key.public_key().clone()],
            ..FakeSshdSettings::default()
        });

        let options = format!("IdentityAgent none\nIdentityFile {}", path.display());
        let config = sshd.write_ssh_config(folder.path(), "box", &options);
        doctor(&config, &[folder.path()])
            .await
            .says(connects, &["✓ log-in", part]);
    }
}

#[tokio::test]
async fn wrong_usage_is_a_line_and_status_2() {
    for arguments in [
        &["-oProxyCommand=x"][..],
        &["a b"],
        &["host", "more"],
        &["host", "--bogus"],
        &["u:p@h"],
    ] {
        let output = doctor_of(Path::new("/dev/null"), &[], arguments, |_| {}).await;
        assert_eq!(
            (output.code, output.text.as_str()),
            (Some(2), ""),
            "{arguments:?}"
        );
    }
}
