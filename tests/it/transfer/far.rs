//! A long way takes more than one channel, where the server grants them.

use std::fs;
use std::time::Duration;

use super::resume::behind_with;
use crate::support::{checks::random, disk::names};

/// Each direction; the round trip is twice that.
pub(super) const DELAY: Duration = Duration::from_millis(10);
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
