//! What is recorded of each tool's calls, and what is not.

use std::fs;

use serde_json::{Value, json};

use super::Audited;
use crate::support::{
    fixture::{TestHost, registry},
    mcp_client::McpClient,
};

/// In all that must not be recorded.
const SECRET: &str = "hunter2-s3cret";

/// Calls every tool. All that is confidential about the arguments and answers contains the secret.
async fn call_every_tool(audited: &Audited<crate::support::open_sshd::OpenSshd>) {
    let host = &audited.host;
    fs::write(host.local("up.txt"), format!("{SECRET}\n")).unwrap();
    fs::write(host.remote("there.txt"), format!("old {SECRET}\n")).unwrap();
    let (up, down) = (host.local("up.txt"), host.local("down.txt"));
    let [there, whole, patched, target] =
        ["there.txt", "whole.txt", "patched.txt", "up.txt"].map(|name| host.remote(name));
    let patched = patched.display();
    let patch = format!("*** Begin Patch\n*** Add File: {patched}\n+{SECRET}\n*** End Patch");
    let mut program = audited.program().await;

    for (tool, arguments) in [
        (
            "ssh_connect",
            json!({"host": "host", "password": SECRET, "passphrase": SECRET}),
        ),
        // These fail, and have secrets where none belong.
        (
            "ssh_connect",
            json!({"host": format!("nobody:{SECRET}@127.0.0.1:1")}),
        ),
        ("ssh_connect", json!({"host": "host", "secret": SECRET})),
        ("ssh_exec", json!({"command": {"text": SECRET}})),
        ("ssh_exec", json!({"command": "true", "timeoutMs": SECRET})),
        (
            "ssh_exec",
            json!({"command": "cat; echo $TOKEN; exit 3", "stdin": SECRET, "env": {"TOKEN": SECRET}}),
        ),
        (
            "ssh_shell",
            json!({"command": format!("cat {}; cat", there.display()), "stdin": SECRET}),
        ),
        ("ssh_read", json!({"path": there})),
        ("ssh_search", json!({"pattern": "old", "path": host.home})),
        (
            "ssh_edit",
            json!({"path": there, "oldText": format!("old {SECRET}"), "newText": format!("new {SECRET}")}),
        ),
        (
            "ssh_edit",
            json!({"path": there, "oldText": "not there", "newText": SECRET}),
        ),
        ("ssh_edit", json!({"path": whole, "content": SECRET})),
        ("ssh_edit", json!({"patch": patch})),
        ("ssh_upload", json!({"localPath": up, "remotePath": target})),
        (
            "ssh_download",
            json!({"localPath": down, "remotePath": target}),
        ),
        ("ssh_forward", json!({})),
        ("ssh_sessions", json!({})),
        ("ssh_set_default", json!({"session": "host"})),
        ("ssh_reconnect", json!({})),
    ] {
        program.call(tool, arguments).await;
    }

    let command = json!({"command": "read it; echo $it", "background": true});
    let started = program.call("ssh_exec", command).await.ok();
    let job = &started.outcome()["job"];
    let input = format!("{SECRET}\n");
    program
        .call("ssh_job", json!({"job": job, "input": input}))
        .await
        .ok();
    program.call("ssh_job", json!({})).await.ok();
    program.call("ssh_disconnect", json!({})).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_is_recorded_and_no_secret() {
    let audited = Audited::new(TestHost::openssh(), "");
    call_every_tool(&audited).await;

    let text = fs::read_to_string(&audited.log).unwrap();
    assert!(!text.contains("hunter2"), "{text}");

    // Two lines for each call, with the same id.
    let records = audited.records();
    for pair in records.chunks(2) {
        let [begin, end] = pair else {
            panic!("{pair:?}")
        };
        assert_eq!(
            (&begin["event"], &end["event"]),
            (&json!("begin"), &json!("end"))
        );
        assert_eq!(
            (&begin["call"], &begin["tool"]),
            (&end["call"], &end["tool"])
        );
        assert_eq!(begin["client"], "test 0");
    }

    for tool in [
        "connect",
        "exec",
        "shell",
        "job",
        "read",
        "search",
        "edit",
        "upload",
        "download",
        "forward",
        "sessions",
        "reconnect",
        "disconnect",
        "set_default",
    ] {
        let tool = format!("ssh_{tool}");
        assert!(
            records.iter().any(|record| record["tool"] == tool),
            "{tool}"
        );
        let (status, shown) = audited.audit(&["--tool", &tool]).await;
        assert_eq!(status, Some(0), "{shown}");
        assert!(shown.lines().count() > 0 && shown.lines().all(|line| line.contains(&tool)));
    }

    let (status, report) = audited.audit(&["verify"]).await;
    assert_eq!(status, Some(0), "{report}");
    assert!(report.contains("none of them changed"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_says_what_was_done_where_and_with_what_end() {
    let audited = Audited::new(TestHost::openssh(), "");
    fs::write(audited.host.local("up.txt"), "12345").unwrap();
    let mut program = audited.connected().await;
    let (port, user) = (audited.host.port, whoami());
    let acting = |more: Value| {
        let host = json!({"asked": "host", "host_name": "127.0.0.1", "user": user, "port": port});
        let mut entry = json!({"session": "host", "hosts": [host], "allowed": ["settings"]});
        entry
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!([entry])
    };

    let command = json!({"cmd": "echo 1234567; exit 3", "env": {"A": "b"}, "stdin": "xyz"});
    program.call("ssh_exec", command).await.ok();
    let records = audited.records();
    assert_eq!(
        records[records.len() - 2]["arguments"],
        json!({"command": "echo 1234567; exit 3", "env": ["A"], "stdinBytes": 3})
    );
    let end = audited.last_end();
    assert_eq!(end["outcome"], "ok", "a command that fails is a result");
    assert_eq!(
        end["parts"],
        acting(json!({"status": "exited", "exit": 3, "output": 8}))
    );

    program
        .call(
            "ssh_edit",
            json!({"path": audited.host.remote("new.txt"), "content": "x"}),
        )
        .await
        .ok();
    let end = audited.last_end();
    assert_eq!(end["parts"], acting(json!({})));
    assert!(
        end["files"][0].as_str().unwrap().ends_with("new.txt"),
        "{end}"
    );

    let (local, remote) = (audited.host.local("up.txt"), audited.host.remote("up.txt"));
    let arguments = json!({"localPath": local, "remotePath": remote});
    program.call("ssh_upload", arguments).await.ok();
    let end = audited.last_end();
    assert_eq!((&end["moved"], &end["bytes"]), (&json!(1), &json!(5)));
    assert_eq!(end["parts"], acting(json!({})));

    for (tool, arguments, kind) in [
        ("ssh_read", json!({"path": "nothing"}), "files"),
        (
            "ssh_exec",
            json!({"command": "true", "session": "nowhere"}),
            "no session",
        ),
        ("ssh_exec", json!({"colour": "red"}), "request"),
        (
            "ssh_connect",
            json!({"host": "127.0.0.1", "port": 1}),
            "connection",
        ),
    ] {
        assert!(program.call(tool, arguments).await.is_error());
        let end = audited.last_end();
        assert_eq!(
            (&end["outcome"], &end["error"]),
            (&json!("error"), &json!(kind))
        );
    }

    // The host is found by each of its names.
    for name in ["host", "HOST", "127.0.0.1"] {
        let (_, shown) = audited.audit(&["--host", name, "--tool", "exec"]).await;
        assert_eq!(
            shown.matches("exit 3, 8 bytes on host").count(),
            1,
            "{name}: {shown}"
        );
    }

    let (_, shown) = audited.audit(&["--host", "elsewhere"]).await;
    assert_eq!(shown, "");
    for (since, until, is_shown) in [
        ("1h", "2999-01-01", true),
        ("2999-01-01", "2999-01-02", false),
    ] {
        let (_, shown) = audited.audit(&["--since", since, "--until", until]).await;
        assert_eq!(!shown.is_empty(), is_shown, "{since}");
    }

    let (_, json) = audited.audit(&["--json", "--tool", "upload"]).await;
    let call: Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!(call["end"]["bytes"], 5, "{call}");

    let (status, wrong) = audited.audit(&["--since", "yesterday"]).await;
    assert_eq!(status, Some(2), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_for_many_hosts_has_a_part_for_each() {
    let audited = Audited::new(TestHost::openssh(), "");
    let mut program = audited.connected().await;
    let more = json!({"host": "host", "name": "other"});
    program.call("ssh_connect", more).await.ok();

    let command = json!({"command": "exit 4", "sessions": ["host", "other", "nowhere"]});
    program.call("ssh_exec", command).await.ok();
    let end = audited.last_end();
    let parts = end["parts"].as_array().unwrap();
    let part = |name: &str| parts.iter().find(|part| part["session"] == name).unwrap();

    assert_eq!(parts.len(), 3, "{end}");
    for name in ["host", "other"] {
        assert_eq!(part(name)["exit"], 4, "{end}");
        assert_eq!(part(name)["hosts"][0]["port"], audited.host.port, "{end}");
    }
    assert_eq!(
        part("nowhere"),
        &json!({"session": "nowhere", "failed": true})
    );

    let (_, shown) = audited.audit(&["--host", "nowhere"]).await;
    assert!(shown.contains("not run on nowhere"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_to_many_hosts_is_recorded_with_all_of_it() {
    let audited = Audited::new(TestHost::openssh(), "");
    let mut program = audited.connected().await;
    let source = audited.host.local("source");
    fs::write(&source, "12345").unwrap();
    let more = json!({"host": "host", "name": "other"});
    program.call("ssh_connect", more).await.ok();

    let target = audited.host.remote("target");
    let upload = json!({"localPath": source, "remotePath": target, "sessions": ["host", "other"]});
    program.call("ssh_upload", upload).await.ok();
    let end = audited.last_end();
    assert_eq!(
        (&end["moved"], &end["bytes"]),
        (&json!(2), &json!(10)),
        "{end}"
    );

    let parts = end["parts"].as_array().unwrap();
    let names: Vec<_> = parts.iter().map(|part| &part["session"]).collect();
    assert!(
        names.contains(&&json!("host")) && names.contains(&&json!("other")),
        "{end}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_words_move_no_cursor_and_forge_no_line() {
    let audited = Audited::new(TestHost::openssh(), "");
    let mut program = audited.connected().await;
    let command = "echo '\u{1b}[2J\u{9b}\u{202e}'\n# 2026-11-30T00:00:00.000Z ssh_exec forged";
    program
        .call("ssh_exec", json!({"command": command}))
        .await
        .ok();

    for text in [
        fs::read_to_string(&audited.log).unwrap(),
        audited.audit(&[]).await.1,
        audited.audit(&["--json"]).await.1,
    ] {
        assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{text:?}");
        assert!(text.lines().all(|line| !line.starts_with('#')), "{text}");
    }

    // And yet nothing of it is lost.
    let records = audited.records();
    assert_eq!(records[records.len() - 2]["arguments"]["command"], command);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_nothing_is_written() {
    let audited = Audited::new(TestHost::openssh(), "");
    fs::write(&audited.settings, "# nothing\n").unwrap();
    let mut program = audited.connected().await;
    assert!(!audited.log.exists());

    // Nor without a settings file at all.
    let mut without = McpClient::with_registry(registry(&audited.host.config));
    without.initialize().await;
    without.connect(json!({"host": "host"})).await;
    assert!(!audited.log.exists());

    // The setting counts from the next call on.
    fs::write(
        &audited.settings,
        format!("[audit]\nfile = {:?}\n", audited.log),
    )
    .unwrap();
    program
        .call("ssh_exec", json!({"command": "true"}))
        .await
        .ok();
    assert_eq!(audited.records().len(), 2);
}

/// The user of the log-ins.
fn whoami() -> String {
    let output = std::process::Command::new("id")
        .arg("-un")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
