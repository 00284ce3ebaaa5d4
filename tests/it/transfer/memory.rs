//! What a transfer takes of memory, however long the file is.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::support::{
    daemon::Daemon,
    http_client::{Dialect, HttpClient},
    link::Link,
    open_sshd::{OpenSshd, OpenSshdSettings},
};

/// Many times what may be in flight.
const LENGTH: u64 = 400_000_000;
/// What a transfer may take, in kibibytes.
const MOST: u64 = 32 * 1024;

#[tokio::test]
async fn a_long_file_and_a_large_tree_take_little_memory() {
    for delay in [Duration::ZERO, Duration::from_millis(10)] {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let sshd = OpenSshd::start(&OpenSshdSettings {
            extra_config: format!("SetEnv HOME={}", folder.path().display()),
            ..OpenSshdSettings::default()
        });

        let link = Link::to(sshd.port(), delay, &[]).await;
        let through = link.options(sshd.port());

        let daemon =
            Daemon::start(&sshd.write_ssh_config("host", &through), folder.path(), &[]).await;
        let mut client = HttpClient::connect(&daemon.address, Dialect::Stateless).await;
        client
            .call("ssh_connect", json!({"host": "host"}))
            .await
            .ok();

        let sparse =
            |name: &str, length| fs::File::create(at(name)).unwrap().set_len(length).unwrap();
        sparse("long", LENGTH);
        fs::create_dir(at("tree")).unwrap();

        for (kind, length) in [
            ("short", 200_000),
            ("medium", 3_000_000),
            ("large", 10_000_000),
        ] {
            (0..20).for_each(|number| sparse(&format!("tree/{kind}{number}"), length));
        }

        let before = held(daemon.pid(), "VmRSS");

        for what in ["long", "tree"] {
            let (up, down) = (at(&format!("{what}.up")), at(&format!("{what}.down")));
            for (tool, local, remote) in [
                ("ssh_upload", at(what), up),
                ("ssh_download", down, at(what)),
            ] {
                let paths = json!({"localPath": local, "remotePath": remote});
                client.call(tool, paths).await.ok();
                let taken = held(daemon.pid(), "VmHWM") - before;
                assert!(taken <= MOST, "{tool} of {what} at {delay:?}: {taken} KiB");
            }
        }
    }
}

/// A field of `proc_pid_status(5)`, in kibibytes.
fn held(process: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));

    line.and_then(|line| line.trim().strip_suffix(" kB"))
        .unwrap()
        .parse()
        .unwrap()
}
