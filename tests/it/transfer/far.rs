//! A long way takes more than one channel, where the server grants them, and no round trip twice.

use std::fs;
use std::time::Duration;

use serde_json::json;

use super::{resume::behind_with, sftp_server};
use crate::support::{
    checks::{random, skipped},
    disk::names,
    fixture::TestHost,
};

/// Each direction; the round trip is twice that.
const DELAY: Duration = Duration::from_millis(10);
/// Long enough for a second connection.
const LENGTH: usize = 70_000_000;

#[tokio::test]
async fn a_long_link_is_filled_over_as_many_channels_as_granted() {
    for (max_sessions, several) in [(10, true), (1, false)] {
        let (mut bench, _link) = behind_with(DELAY, &[], max_sessions).await;
        let content = random(LENGTH);
        fs::write(bench.local("file"), &content).unwrap();
        let channels = |log: &str| log.matches("subsystem 'sftp'").count();
        bench.try_upload(&bench.local("file"), "target").await.ok();
        assert!(fs::read(bench.remote("target")).unwrap() == content);
        let after_upload = channels(&bench.sshd.log());
        bench
            .try_download("target", &bench.local("back"))
            .await
            .ok();

        assert!(fs::read(bench.local("back")).unwrap() == content);
        let after_download = channels(&bench.sshd.log());

        if several {
            assert!(
                after_upload > 2 && after_download > after_upload + 1,
                "{}",
                bench.sshd.log()
            );

            assert!(
                bench.sshd.log().matches("Accepted publickey").count() > 1,
                "a second connection"
            );
        }

        assert_eq!(names(&bench.home), ["target"]);
    }
}

#[tokio::test]
async fn a_very_long_file_goes_over_three_connections() {
    /// Long enough for a third connection.
    const LENGTH: u64 = 300_000_000;

    let (mut bench, _link) = behind_with(DELAY, &[], 10).await;
    let source = fs::File::create(bench.local("file")).unwrap();
    source.set_len(LENGTH).unwrap();

    let sent = bench.try_upload(&bench.local("file"), "target").await.ok();
    assert_eq!(sent.structured()["bytes"], LENGTH);
    assert_eq!(fs::metadata(bench.remote("target")).unwrap().len(), LENGTH);
    assert_eq!(names(&bench.home), ["target"]);

    let log = bench.sshd.log();
    assert!(log.matches("Accepted publickey").count() >= 3, "{log}");
}

#[tokio::test]
async fn a_server_is_asked_for_its_limits_once_per_log_in() {
    let Some(program) = sftp_server() else {
        return skipped("sftp-server is missing");
    };

    let host = TestHost::openssh_at(|settings, home| {
        let sent = home.with_file_name("sent");
        // sshd runs the command by the login shell.
        settings.sftp = format!(
            "tee -a {} | {program} -d {}",
            sent.display(),
            home.display()
        );
    });
    let sent = host.home.with_file_name("sent");
    let asked = || {
        let sent = fs::read(&sent).unwrap();
        let limits = b"limits@openssh.com".as_slice();
        sent.windows(limits.len())
            .filter(|part| *part == limits)
            .count()
    };

    let mut bench = host.connect().await;
    let content = random(300_000);
    fs::write(bench.local("file"), &content).unwrap();
    for number in 0..2 {
        let name = format!("target{number}");
        bench.try_upload(&bench.local("file"), &name).await.ok();
        assert!(fs::read(bench.remote(&name)).unwrap() == content);
        assert_eq!(asked(), 1, "upload {number}");
    }

    bench
        .mcp
        .call("ssh_disconnect", json!({"session": "host"}))
        .await
        .ok();
    bench.try_upload(&bench.local("file"), "again").await.ok();
    assert!(fs::read(bench.remote("again")).unwrap() == content);
    assert_eq!(asked(), 2);
}
