//! What terminals share, and what each has for itself.

use std::{collections::BTreeSet, fs};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::Shared;
use crate::support::{
    checks::eventually,
    daemon,
    fixture::TestHost,
    mcp_client::ToolResult,
    processes,
    program::Program,
    wire::{DaemonAddress, ask, request},
};

#[tokio::test(flavor = "multi_thread")]
async fn ten_terminals_at_once_share_a_daemon_connection_and_shell() {
    let shared = Shared::new();
    let mut fronts: Vec<Program> = (0..10).map(|_| shared.silent()).collect();
    join_all(fronts.iter_mut().map(Program::initialize)).await;
    assert_eq!(shared.daemons().len(), 1);

    let connect = async |proxy: &mut Program| {
        proxy
            .call("ssh_connect", json!({"host": "box"}))
            .await
            .ok()
            .text()
    };

    join_all(fronts.iter_mut().map(connect)).await;

    let shell = async |proxy: &mut Program| {
        proxy
            .call("ssh_shell", json!({"command": "echo $$"}))
            .await
            .stdout()
    };

    let shells: BTreeSet<String> = join_all(fronts.iter_mut().map(shell))
        .await
        .into_iter()
        .collect();

    assert_eq!(shells.len(), 1, "{shells:?}");
    assert_eq!(shared.world.sshd.connections(), 1);
    assert_eq!(shared.daemons().len(), 1);
    for proxy in fronts {
        assert_eq!(proxy.close().await.0.code(), Some(0));
    }

    assert_eq!(shared.daemons().len(), 1, "it waits for the next one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_given_in_one_terminal_serves_the_other() {
    let shared = Shared::with_world(TestHost::fake_with_password("correct horse"));
    let (mut one, mut other) = (shared.proxy().await, shared.proxy().await);

    one.call(
        "ssh_connect",
        json!({"host": "box", "password": "correct horse"}),
    )
    .await
    .ok();

    assert_eq!(
        other
            .call("ssh_exec", json!({"command": "echo here"}))
            .await
            .stdout(),
        "here\n"
    );

    one.close().await;
    shared.world.sshd.drop_connections();

    // Over a new connection, with the password that is in memory.
    let again = async |proxy: &mut Program| {
        proxy
            .call("ssh_exec", json!({"command": "echo again"}))
            .await
    };

    let mut answer = again(&mut other).await;
    if answer.is_error() || answer.stdout().is_empty() {
        answer = again(&mut other).await;
    }

    assert_eq!(answer.stdout(), "again\n");
    assert!(shared.world.sshd.connections() >= 2);
    assert!(
        !fs::read_to_string(shared.file("log"))
            .unwrap()
            .contains("horse")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_terminal_ends_only_its_own_calls() {
    let shared = Shared::new();
    let (mut one, mut other) = (shared.proxy().await, shared.proxy().await);
    one.call("ssh_connect", json!({"host": "box"})).await.ok();
    one.call("ssh_shell", json!({"command": "kept=here"}))
        .await
        .ok();

    let exec = |command: &str| json!({"name": "ssh_exec", "arguments": {"command": command}});

    one.call(
        "ssh_exec",
        json!({"command": "sleep 41.25; echo done", "background": true}),
    )
    .await
    .ok();

    one.begin("tools/call", exec("sleep 42.25")).await;
    let theirs = other
        .begin("tools/call", exec("sleep 43.25; echo over"))
        .await;

    for marker in ["41.25", "42.25", "43.25"] {
        eventually(marker, || shared.world.runs(marker)).await;
    }

    assert_eq!(one.close().await.0.code(), Some(0));
    eventually("its own call is stopped", || !shared.world.runs("42.25")).await;

    assert!(shared.world.runs("41.25") && shared.world.runs("43.25"));
    let pids = processes::of_connections_to(shared.world.sshd.port());
    let sleeps = pids.iter().filter(|pid| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"sleep\x0043.25\0")
    });

    assert!(processes::signal(
        "TERM",
        &sleeps.map(u32::to_string).collect::<Vec<_>>()
    ));

    let answer = other.message().await;
    assert_eq!(
        (&answer["id"], ToolResult(answer["result"].clone()).stdout()),
        (&json!(theirs), "over\n".to_owned())
    );

    assert_eq!(
        other
            .call("ssh_shell", json!({"command": "echo $kept"}))
            .await
            .stdout(),
        "here\n"
    );

    let jobs = other.call("ssh_job", json!({})).await.ok().text();
    assert!(jobs.contains("sleep 41.25"), "{jobs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_and_progress_pass_both_ways() {
    let shared = Shared::unknown();
    let mut proxy = shared.silent();
    let initialize_params = json!({
        "protocolVersion": "2025-11-25", "capabilities": {"elicitation": {"form": {}}},
        "clientInfo": {"name": "test", "version": "0"},
    });

    assert!(proxy.request("initialize", initialize_params).await["result"].is_object());
    proxy
        .send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .await;

    let call = proxy
        .begin(
            "tools/call",
            json!({"name": "ssh_connect", "arguments": {"host": "box"}}),
        )
        .await;

    let question = proxy.message().await;
    assert_eq!(question["method"], "elicitation/create", "{question}");
    let trust = json!({"action": "accept", "content": {"trust": true}});
    proxy
        .send(&json!({"jsonrpc": "2.0", "id": question["id"], "result": trust}))
        .await;

    let answer = proxy.message().await;
    assert_eq!(
        (&answer["id"], &answer["result"]["isError"]),
        (&json!(call), &json!(false)),
        "{answer}"
    );

    let arguments = json!({"command": "echo first line; sleep 44.25"});
    let params =
        json!({"name": "ssh_exec", "arguments": arguments, "_meta": {"progressToken": "mine"}});
    let call = proxy.begin("tools/call", params).await;
    let progress = proxy.message().await;
    assert_eq!(
        (&progress["method"], &progress["params"]["progressToken"]),
        (&json!("notifications/progress"), &json!("mine"))
    );

    let cancelled = json!({"requestId": call, "reason": "enough"});
    proxy
        .send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled}))
        .await;

    eventually("the command is stopped", || !shared.world.runs("44.25")).await;

    assert_eq!(shared.daemons().len(), 1);
}

#[tokio::test]
async fn a_message_of_megabytes_and_one_that_is_none_pass_as_they_are() {
    let shared = Shared::new();
    let mut proxy = shared.proxy().await;
    proxy.call("ssh_connect", json!({"host": "box"})).await.ok();
    let stdin = "é".repeat(1_500_000);
    let counted = proxy
        .call("ssh_exec", json!({"command": "wc -c", "stdin": stdin}))
        .await;
    assert_eq!(counted.stdout().trim(), "3000000");
    proxy.garbage("this is not JSON").await;

    assert_eq!(
        proxy
            .call("ssh_exec", json!({"command": "echo alive"}))
            .await
            .stdout(),
        "alive\n"
    );
}

#[tokio::test]
async fn a_revision_without_hello_is_served_too() {
    let shared = Shared::new();
    let mut proxy = shared.silent();
    let list = json!({"_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }});

    for _ in 0..2 {
        let tools = proxy.request("tools/list", list.clone()).await;
        assert!(
            tools["result"]["tools"]
                .as_array()
                .is_some_and(|tools| tools.len() >= 9),
            "{tools}"
        );

        shared.kill().await;
    }
}

#[tokio::test]
async fn local_paths_begin_where_the_terminal_is() {
    let shared = Shared::new();
    let here = shared.folder().join("here");
    fs::create_dir(&here).unwrap();
    fs::write(here.join("note"), "from here").unwrap();
    shared.proxy().await.close().await;
    let mut command = shared.command();
    command.current_dir(&here);
    let mut proxy = Program::spawn(command, shared.folder());
    proxy.initialize().await;

    proxy
        .call(
            "ssh_connect",
            json!({"host": "box", "keyPath": "../id_ed25519"}),
        )
        .await
        .ok();

    proxy
        .call(
            "ssh_upload",
            json!({"localPath": "note", "remotePath": "note"}),
        )
        .await
        .ok();

    proxy
        .call(
            "ssh_download",
            json!({"localPath": "./back", "remotePath": "note"}),
        )
        .await
        .ok();

    assert_eq!(fs::read_to_string(here.join("back")).unwrap(), "from here");
}

#[tokio::test]
async fn terminals_with_other_stores_or_configurations_share_nothing() {
    let shared = Shared::new();
    let mut proxy = shared.proxy().await;
    proxy.call("ssh_connect", json!({"host": "box"})).await.ok();
    let store = shared.folder().join("other.json");

    let mut other = Program::spawn(
        {
            let mut command = shared.command();
            command.arg("--store").arg(&store);
            command
        },
        shared.folder(),
    );

    other.initialize().await;
    let sessions = other.call("ssh_sessions", json!({})).await.ok();
    assert_eq!(sessions.structured()["sessions"], json!([]));
    assert_eq!(shared.daemons().len(), 2);
    assert!(fs::read_dir(shared.address()).unwrap().count() >= 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_is_no_part_of_the_terminal_that_started_it() {
    let shared = Shared::new();
    let proxy = shared.proxy().await;
    let daemon = shared.only_daemon();

    // proc(5): pid (name) state ppid pgrp session tty_nr
    let stat = fs::read_to_string(format!("/proc/{daemon}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let (parent, session, terminal) = (fields[1], fields[3], fields[4]);
    assert_ne!(parent, proxy.pid().to_string());
    assert_ne!(
        session,
        daemon.to_string(),
        "one that leads its session can get a terminal"
    );

    let ours = fs::read_to_string(format!("/proc/{}/stat", proxy.pid())).unwrap();
    assert_ne!(
        Some(session),
        ours.rsplit_once(") ").unwrap().1.split(' ').nth(3)
    );

    assert_eq!(terminal, "0");

    for (number, open) in [(0, "/dev/null"), (2, ".log")] {
        let file = fs::read_link(format!("/proc/{daemon}/fd/{number}")).unwrap();
        assert!(file.to_str().unwrap().ends_with(open), "{number}: {file:?}");
    }

    proxy.signal("TERM").await;
    assert_eq!(shared.only_daemon(), daemon);
}

#[tokio::test]
async fn an_idle_daemon_ends_and_one_with_a_client_or_a_job_does_not() {
    let shared = Shared::new();
    let (mut daemon, said) = shared.daemon("3000").await;
    assert_eq!(said, "ready");
    let mut proxy = shared.proxy().await;
    proxy.call("ssh_connect", json!({"host": "box"})).await.ok();

    proxy
        .call(
            "ssh_exec",
            json!({"command": "sleep 45.25", "background": true}),
        )
        .await
        .ok();

    // A daemon with neither, begun later, has ended: this one would have ended before.
    let idle_time_passes = async || {
        let others = Shared::new();
        let (mut unused, _) = others.daemon("3000").await;
        assert_eq!(unused.wait().await.unwrap().code(), Some(0));
    };

    idle_time_passes().await;
    assert!(daemon.try_wait().unwrap().is_none(), "a client");
    proxy.close().await;
    idle_time_passes().await;
    assert!(daemon.try_wait().unwrap().is_none(), "a job");
    assert!(shared.world.runs("45.25"));
    let mut proxy = shared.proxy().await;
    assert_eq!(Some(shared.only_daemon()), daemon.id(), "it still listens");
    let jobs = proxy.call("ssh_job", json!({})).await.ok().text();
    let listed: Vec<&str> = jobs
        .split(|c: char| !c.is_ascii_hexdigit())
        .filter(|word| word.len() == 8)
        .collect();

    proxy
        .call("ssh_job", json!({"job": listed[0], "signal": "KILL"}))
        .await
        .ok();

    proxy.close().await;
    assert_eq!(daemon.wait().await.unwrap().code(), Some(0));

    assert!(
        fs::read_dir(shared.address()).unwrap().all(|entry| entry
            .unwrap()
            .path()
            .extension()
            .unwrap()
            != "sock")
    );

    let mut proxy = shared.proxy().await;
    let sessions = proxy.call("ssh_sessions", json!({})).await.ok();
    assert_eq!(sessions.structured()["sessions"][0]["state"], "saved");
}

#[tokio::test]
async fn status_finds_the_shared_daemon() {
    let shared = Shared::new();
    let (code, _, stderr) = daemon::output(shared.plain().args(["--shared", "status"])).await;
    assert_eq!(
        (code, stderr.contains("no daemon answers")),
        (Some(1), true),
        "{stderr}"
    );

    assert!(shared.daemons().is_empty(), "asking starts none");
    let mut proxy = shared.proxy().await;
    proxy.call("ssh_connect", json!({"host": "box"})).await.ok();

    for words in [
        &["status"][..],
        &["--shared", "status"],
        &["status", "--shared"],
    ] {
        let (code, stdout, stderr) = daemon::output(shared.plain().args(words)).await;
        assert_eq!(
            (code, stdout.contains("box"), stderr.as_str()),
            (Some(0), true, ""),
            "{words:?}: {stdout}"
        );
    }
}

#[tokio::test]
async fn the_shared_daemon_admits_a_browser_at_its_open_port() {
    let shared = Shared::new();
    let mut proxy = shared.proxy().await;
    proxy.call("ssh_connect", json!({"host": "box"})).await.ok();
    let mut ports = Vec::new();

    for _ in 0..2 {
        // No browser: the link is printed all the same.
        let (code, stdout, stderr) =
            daemon::output(shared.plain().args(["status", "--open"]).env("PATH", "")).await;
        assert_eq!(
            (code, stderr.contains("open the link in one yourself")),
            (Some(0), true),
            "{stderr}"
        );

        let (port, path) = stdout
            .trim()
            .strip_prefix("http://127.0.0.1:")
            .unwrap()
            .split_once('/')
            .unwrap();

        let address = DaemonAddress::Tcp(port.parse().unwrap());
        let host = address.host();

        let entered = ask(
            &address,
            request("GET", &format!("/{path}"), &[("Host", &host)], ""),
        )
        .await
        .unwrap();

        let cookie = entered
            .header("set-cookie")
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .to_owned();

        let page = ask(
            &address,
            request("GET", "/", &[("Host", &host), ("Cookie", &cookie)], ""),
        )
        .await
        .unwrap();

        assert!(page.status == 200 && page.body.contains("box"), "{page:?}");
        ports.push(port.to_owned());
    }

    assert_eq!(ports[0], ports[1]);
}

#[tokio::test]
async fn shared_goes_without_addresses_and_has_an_environment_twin() {
    let shared = Shared::new();
    for arguments in [&["--http", "0"][..], &["--socket", "x.sock"]] {
        let (code, stdout, stderr) = daemon::output(shared.command().args(arguments)).await;
        assert_eq!(
            (code, stdout.as_str(), stderr.lines().count()),
            (Some(2), "", 1),
            "{stderr}"
        );

        assert!(stderr.contains("--shared"), "{stderr}");
    }

    for (value, daemons) in [("0", 0), ("", 0), ("false", 0), ("1", 1)] {
        let mut command = shared.plain();
        command.env("MCP_SSH_SHARED", value);
        let mut proxy = Program::spawn(command, shared.folder());
        proxy.initialize().await;
        assert_eq!(shared.daemons().len(), daemons, "{value:?}");

        assert_eq!(
            proxy
                .call("ssh_sessions", json!({}))
                .await
                .ok()
                .structured()["sessions"],
            Value::Array(vec![])
        );

        proxy.close().await;
    }
}
