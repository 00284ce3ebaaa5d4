//! Our process is killed in the middle: what it was writing is old or new, and what it leaves goes with the next one.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::Rig;
use crate::support::{
    checks::{eventually, random},
    disk::{names, part},
    link::{Break, Direction},
    processes,
    program::Program,
};

fn kill(program: &Program) {
    assert!(processes::signal("KILL", &[program.pid().to_string()]));
}

/// The files of the store, without the log of the program.
fn stores(folder: &Path) -> Vec<String> {
    names(folder)
        .into_iter()
        .filter(|name| name.contains("sessions.json"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_writer_leaves_the_old_store_or_the_new_one() {
    let rig = Rig::new();
    let line = rig.line().await;
    let folder = line.folder.path();
    let store = folder.join("sessions.json");
    let mut program = Program::start(&line.config, folder).await;

    for name in ["one", "two"] {
        program
            .call("ssh_connect", json!({"host": "host", "name": name}))
            .await
            .ok();
    }

    for round in 0..8 {
        let before = fs::read(&store).unwrap();

        for number in 0..60 {
            let name = ["one", "two"][number % 2];
            program
                .begin(
                    "tools/call",
                    json!({"name": "ssh_set_default", "arguments": {"session": name}}),
                )
                .await;
        }

        eventually("it writes", || fs::read(&store).unwrap() != before).await;
        // Each round at another moment of the writing, which nobody can see from outside.
        tokio::time::sleep(Duration::from_millis(round)).await;
        kill(&program);
        drop(program);
        let now: serde_json::Value =
            serde_json::from_slice(&fs::read(&store).unwrap()).expect("whole");
        assert_eq!(now["sessions"].as_array().unwrap().len(), 2, "{now}");
        program = Program::start(&line.config, folder).await;
        let listed = program.call("ssh_sessions", json!({})).await.ok();

        assert_eq!(
            listed.structured()["sessions"].as_array().unwrap().len(),
            2,
            "{}",
            listed.text()
        );

        assert!(
            listed.structured().get("notice").is_none(),
            "{}",
            listed.text()
        );
    }

    // The moment in which it has begun a file and not put it in place, and what is not ours.
    fs::write(folder.join(".sessions.json.Ab12Cd.tmp"), "{ half").unwrap();
    fs::write(folder.join(".sessions.json.backup"), "the person's").unwrap();

    for name in ["one", "two"] {
        program
            .call("ssh_set_default", json!({"session": name}))
            .await
            .ok();
    }

    assert_eq!(
        stores(folder),
        [
            ".sessions.json.backup",
            ".sessions.json.lock",
            "sessions.json"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_download_leaves_the_old_file_and_the_next_cleans_up() {
    let rig = Rig::new();
    let content = random(3_000_000);
    fs::write(rig.home.join("file"), &content).unwrap();

    for old in [Some("old"), None] {
        // Its stall is not noticed before it is killed.
        let line = rig.line_with("").await;
        let here = line.folder.path().join("here");
        fs::create_dir(&here).unwrap();
        let target = here.join("target");
        if let Some(old) = old {
            fs::write(&target, old).unwrap();
        }

        let download = json!({"remotePath": "file", "localPath": target});
        let mut program = Program::start(&line.config, line.folder.path()).await;
        program
            .call("ssh_connect", json!({"host": "host"}))
            .await
            .ok();

        line.link
            .break_after(Direction::Down, 1_000_000, Break::Stall);

        program
            .begin(
                "tools/call",
                json!({"name": "ssh_download", "arguments": download}),
            )
            .await;

        eventually("it is in the middle", || {
            line.link.has_broken() && part(&here).is_some()
        })
        .await;

        kill(&program);
        drop(program);
        assert_eq!(fs::read_to_string(&target).ok().as_deref(), old);
        let left = part(&here).expect("nobody could remove it").0;

        // One that another process writes, and one that only looks alike.
        let others = [
            ".mcp-ssh-sessions.0123456789abcdef0123456789abcdef.part",
            ".mcp-ssh-sessions.mine.part",
        ];

        let age = SystemTime::now() - Duration::from_secs(3600);
        let written = others.map(|name| fs::File::create(here.join(name)).unwrap());
        written[0].lock().unwrap();

        for file in written
            .iter()
            .chain([&fs::File::options().append(true).open(&left).unwrap()])
        {
            file.set_modified(age).unwrap();
        }

        let mut program = Program::start(&line.config, line.folder.path()).await;
        program.call("ssh_download", download).await.ok();
        assert!(fs::read(&target).unwrap() == content);
        assert_eq!(names(&here), [others[0], others[1], "target"]);
    }
}
