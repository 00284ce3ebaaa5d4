//! Disks that are full or read-only, on either side.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{Rig, assert_helpful};
use crate::support::{
    checks::{all_is_saved, status, whole_output},
    disk::{SmallDisk, names},
    mcp_client::McpClient,
};

/// More than is shown, so that it goes to a file.
const LONG: usize = 200_000;

/// How a disk comes to take nothing, and takes it again.
fn spoil(how: &str, disk: &Path, spoilt: bool) {
    match (how, spoilt) {
        ("full", true) => {
            let filled = fs::write(disk.join("filler"), vec![0; 2 << 20]);
            assert!(filled.is_err(), "two megabytes do not fit");
        }
        ("full", false) => fs::remove_file(disk.join("filler")).unwrap(),
        (_, spoilt) => {
            let options = if spoilt { "remount,ro" } else { "remount,rw" };
            assert!(
                Command::new("mount")
                    .args(["-o", options])
                    .arg(disk)
                    .status()
                    .unwrap()
                    .success()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_for_store_and_outputs_everything_else_works() {
    let rig = Rig::new();
    for how in ["full", "read-only"] {
        let disk = rig.folder.path().join(how);
        let Some(_disk) = SmallDisk::mount(&disk) else {
            return;
        };
        let mut line = rig.line().await;
        line.mcp = McpClient::start(&line.config, &disk).await;
        line.call("ssh_connect", json!({"host": "host"})).await.ok();
        let store = disk.join("sessions.json");
        all_is_saved(&store).await;
        let (saved, before) = (fs::read(&store).unwrap(), names(&disk));
        spoil(how, &disk, true);
        let connected = line
            .call("ssh_connect", json!({"host": "host", "name": "second"}))
            .await
            .ok();

        assert!(
            connected.text().contains("could not be saved"),
            "{how}: {}",
            connected.text()
        );

        assert_eq!(fs::read(&store).unwrap(), saved, "{how}: the old one");
        let long = json!({"command": format!("head -c {LONG} /dev/zero | tr '\\0' x")});

        for tool in ["ssh_exec", "ssh_shell"] {
            let result = line.call(tool, long.clone()).await.ok();
            assert_eq!(
                (status(&result), &result.outcome()["stdoutBytes"]),
                ("exited", &json!(LONG)),
                "{how}"
            );

            let said = if how == "full" {
                "No space left"
            } else {
                "Read-only"
            };

            let line = result.status_line();
            assert!(
                line.contains(said) && !line.contains("all of it"),
                "{how}: {line}"
            );
        }

        line.works("ssh_shell").await;
        spoil(how, &disk, false);
        line.call("ssh_connect", json!({"host": "host", "name": "third"}))
            .await
            .ok();

        assert!(
            fs::read_to_string(&store).unwrap().contains("third"),
            "{how}"
        );

        let after: Vec<_> = names(&disk)
            .into_iter()
            .filter(|name| name != "output")
            .collect();

        assert_eq!(after, before, "{how}: no litter");
        assert_eq!(
            whole_output(&line.call("ssh_exec", long).await.ok()).len(),
            LONG,
            "{how}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_full_remote_home_commands_run_and_the_rest_says_why() {
    for how in ["full", "read-only"] {
        let rig = Rig::new();
        fs::remove_dir(&rig.home).unwrap();
        let Some(_disk) = SmallDisk::mount(&rig.home) else {
            return;
        };
        fs::write(rig.home.join("target"), "old").unwrap();
        let mut line = rig.connected().await;
        spoil(how, &rig.home, true);
        for tool in ["ssh_exec", "ssh_shell"] {
            line.works(tool).await;
        }

        let file = line.folder.path().join("file");
        fs::write(&file, vec![1; 100_000]).unwrap();

        let refused = line
            .call(
                "ssh_upload",
                json!({"localPath": file, "remotePath": "target"}),
            )
            .await;

        assert_helpful(&refused);
        let detach = json!({"command": "echo ran > /dev/null", "detach": true, "waitMs": 60_000});
        let job = line.call("ssh_exec", detach.clone()).await;
        assert_helpful(&job);
        assert_eq!(fs::read(rig.home.join("target")).unwrap(), b"old");
        spoil(how, &rig.home, false);

        line.call(
            "ssh_upload",
            json!({"localPath": file, "remotePath": "target"}),
        )
        .await
        .ok();

        assert_eq!(
            status(&line.call("ssh_exec", detach).await.ok()),
            "exited",
            "{how}"
        );

        let left: Vec<_> = names(&rig.home)
            .into_iter()
            .filter(|name| name != ".local")
            .collect();

        assert_eq!(left, ["target"], "{how}");
    }
}
