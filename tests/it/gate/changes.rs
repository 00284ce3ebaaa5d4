//! Settings that change while something goes on, and a settings file that cannot be used.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::json;

use super::{World, answer, call, forms, is_refused};
use crate::support::checks::eventually;

#[tokio::test]
async fn a_command_goes_on_when_its_host_is_closed_but_gets_no_input() {
    let world = World::new("");
    let mut client = world.client(forms()).await;
    client.connect(json!({"host": "host"})).await;

    let (first, second) = (world.host.remote("first"), world.host.remote("second"));
    let command = format!(
        "echo begun; while [ ! -e {0} ]; do sleep 0.05; done; touch {1}; read line",
        first.display(),
        second.display()
    );
    let arguments =
        json!({"session": "host", "command": command, "background": true, "waitMs": 300});
    let started = client.call("ssh_exec", arguments).await.ok();
    let job = started.outcome()["job"].clone();

    for setting in ["access = 'read'", "access = 'never'", "connect = 'never'"] {
        world.settings(&format!("[host.host]\n{setting}"));

        for (tool, arguments) in [
            (
                "ssh_exec",
                json!({"session": "host", "command": world.leaving("third")}),
            ),
            ("ssh_job", json!({"job": job, "input": "x\n"})),
            ("ssh_job", json!({"job": job, "signal": "HUP"})),
        ] {
            let refused = client.call(tool, arguments.clone()).await;
            assert!(
                is_refused(&refused),
                "{setting}, {arguments}: {}",
                refused.text()
            );
        }

        // Its output is shown all the same.
        let read = client
            .call("ssh_job", json!({"job": job, "waitMs": 0, "offset": 0}))
            .await;
        assert!(read.ok().text().contains("begun"));
    }
    assert!(!world.host.remote("third").exists());

    fs::write(&first, "").unwrap();
    eventually("the command goes on", || second.exists()).await;
    let stopped = client
        .call("ssh_job", json!({"job": job, "signal": "TERM"}))
        .await;
    assert!(!is_refused(&stopped), "{}", stopped.text());
}

#[tokio::test]
async fn settings_hold_from_the_next_call_on() {
    let world = World::new("");
    let mut client = world.client(json!({})).await;
    let arguments = json!({"session": "host", "command": "true"});

    for (settings, goes) in [
        ("[host.host]\naccess = 'read'", false),
        ("", true),
        ("[default]\nrun = 'never'", false),
        ("[default]\nrun = 'never'\n[host.'h*']\nrun = 'allow'", true),
        (
            "[host.'127.0.0.1']\nrun = 'never'\n[host.host]\nrun = 'allow'",
            false,
        ),
        ("[host.'127.0.0.0/8']\nrun = 'never'", false),
        ("[host.HOST]\nrun = 'never'", false),
    ] {
        world.settings(settings);
        let result = client.call("ssh_exec", arguments.clone()).await;
        assert_eq!(is_refused(&result), !goes, "{settings}: {}", result.text());
    }
}

#[tokio::test]
async fn an_unusable_file_closes_every_host() {
    let world = World::new("");
    let mut client = world.client(forms()).await;
    client.connect(json!({"host": "host"})).await;
    let file = world.host.local("settings.toml");

    for problem in ["typo", "key", "writable", "directory"] {
        world.settings("");
        match problem {
            "typo" => world.settings("[host.other]\nrun = never"),
            "key" => world.settings("[host.other]\nruns = 'never'"),
            "writable" => {
                fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
            }
            _ => {
                fs::remove_file(&file).unwrap();
                fs::create_dir(&file).unwrap();
            }
        }

        let started = world.started();
        for (tool, arguments) in [
            (
                "ssh_exec",
                json!({"session": "host", "command": world.leaving("mark")}),
            ),
            (
                "ssh_exec",
                json!({"session": "free", "command": world.leaving("mark")}),
            ),
            (
                "ssh_exec",
                json!({"sessions": ["host", "free"], "command": world.leaving("mark")}),
            ),
            (
                "ssh_shell",
                json!({"session": "host", "command": world.leaving("mark")}),
            ),
            ("ssh_read", json!({"session": "host", "path": "/etc/hosts"})),
            ("ssh_connect", json!({"host": "third"})),
            ("ssh_forward", json!({"session": "host", "to": "9"})),
        ] {
            let (questions, refused) =
                call(&mut client, tool, arguments.clone(), &answer("once")).await;
            assert!(questions.is_empty(), "{problem}: {questions:?}");
            assert!(
                is_refused(&refused) && refused.text().contains("settings.toml"),
                "{problem}, {tool}: {}",
                refused.text()
            );
        }
        assert_eq!(world.started(), started, "{problem}: nothing is started");

        // What is there is listed.
        let listed = client.call("ssh_sessions", json!({})).await.ok();
        assert!(listed.text().contains("host"), "{}", listed.text());

        if file.is_dir() {
            fs::remove_dir(&file).unwrap();
        }
    }

    assert!(!world.host.remote("mark").exists());
    world.settings("");
    let arguments = json!({"session": "host", "command": "true"});
    client.call("ssh_exec", arguments).await.ok();
}
