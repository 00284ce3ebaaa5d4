//! Arguments as real clients send them, each against a real server.

use serde_json::{Value, json};

use crate::support::{
    checks::{code, status},
    fixture::TestHost,
};

#[tokio::test]
async fn arguments_are_taken_as_real_clients_send_them() {
    let mut bench = TestHost::openssh().connect().await;
    let whoami = json!({"command": "echo \"$A-$B\"; pwd"});

    for (tool, arguments, stdout) in [
        (
            "ssh_exec",
            json!({"command": "echo ok", "timeoutMs": "20000", "pty": "false"}),
            "ok\n",
        ),
        (
            "ssh_exec",
            json!({"command": "echo ok", "timeout_ms": 20_000.0, "waitMs": "30704.0"}),
            "ok\n",
        ),
        (
            "ssh_exec",
            json!({"cmd": "pwd", "working_directory": "/tmp"}),
            "/tmp\n",
        ),
        (
            "ssh_exec",
            json!({"command": "pwd", "workdir": "/tmp", "session": "", "stdin": ""}),
            "/tmp\n",
        ),
        (
            "ssh_exec",
            json!({"command": whoami["command"], "cwd": "/tmp", "env": "{\"A\": \"x\", \"B\": \"y\"}"}),
            "x-y\n/tmp\n",
        ),
        (
            "ssh_exec",
            json!({"command": whoami["command"], "cwd": "/tmp", "environment": {"A": 8080, "B": true}}),
            "8080-true\n/tmp\n",
        ),
        ("ssh_exec", json!({"command": "cat", "input": "fed"}), "fed"),
        (
            "ssh_exec",
            json!({"command": "echo ok", "env": "", "sessions": "", "timeoutMs": "", "sudo": "", "cwd": null}),
            "ok\n",
        ),
        (
            "ssh_shell",
            json!({"cmd": "echo ok", "sessionName": "host", "shell": ""}),
            "ok\n",
        ),
    ] {
        let result = bench.mcp.call(tool, arguments.clone()).await.ok();
        assert_eq!(
            (code(&result), result.stdout().as_str()),
            (Some(0), stdout),
            "{arguments}: {}",
            result.text()
        );
    }

    let many = bench
        .mcp
        .call(
            "ssh_exec",
            json!({"command": "echo ok", "sessions": "[\"host\"]"}),
        )
        .await
        .ok();

    assert!(
        many.text().starts_with("[session host]\nok\n"),
        "{}",
        many.text()
    );

    let job = bench.start("sleep 30", json!({"background": "true"})).await;

    let stopped = bench
        .mcp
        .call(
            "ssh_job",
            json!({"job_id": job, "signal": 9, "offset": "0"}),
        )
        .await
        .ok();

    assert_eq!(status(&stopped), "signaled", "{}", stopped.text());
    let (file, back) = (bench.local("file"), bench.local("back"));
    std::fs::write(&file, "content").unwrap();

    bench
        .mcp
        .call(
            "ssh_upload",
            json!({"source": file, "destination": "copy", "exclude": "[]"}),
        )
        .await
        .ok();

    bench
        .mcp
        .call(
            "ssh_download",
            json!({"source": "copy", "destination": back, "skip_unchanged": "true"}),
        )
        .await
        .ok();

    assert_eq!(std::fs::read_to_string(back).unwrap(), "content");
}

#[tokio::test]
async fn what_has_no_certain_meaning_is_refused() {
    let mut bench = TestHost::openssh().connect().await;
    for (tool, arguments, part) in [
        (
            "ssh_exec",
            json!({"command": "true", "timeout": 5}),
            "unknown parameter \"timeout\"",
        ),
        (
            "ssh_exec",
            json!({"command": "true", "timeoutMs": "5s"}),
            "parameter timeoutMs",
        ),
        (
            "ssh_exec",
            json!({"command": "true", "timeoutMs": 1.5}),
            "parameter timeoutMs",
        ),
        (
            "ssh_exec",
            json!({"command": "true", "pty": "maybe"}),
            "parameter pty",
        ),
        (
            "ssh_exec",
            json!({"command": "true", "sessions": "host"}),
            "expected a list, such as [\"a\"]",
        ),
        (
            "ssh_exec",
            json!({"command": "true", "env": "A=b"}),
            "expected an object",
        ),
        (
            "ssh_exec",
            json!({"command": "", "cwd": "/"}),
            "the command is empty",
        ),
        (
            "ssh_exec",
            json!({"command": "true", "cmd": "false"}),
            "\"command\" is given twice",
        ),
        (
            "ssh_connect",
            json!({"host": "h", "privateKey": "k"}),
            "unknown parameter \"privateKey\"",
        ),
        ("ssh_connect", json!({"host": "ssh -J jump h"}), "\"-J\""),
        (
            "ssh_connect",
            json!({"host": "ssh h uptime"}),
            "run the command with ssh_exec",
        ),
    ] {
        let refused = bench.mcp.call(tool, arguments.clone()).await;
        assert!(
            refused.is_error() && refused.text().contains(part),
            "{arguments}: {}",
            refused.text()
        );
    }
}

#[tokio::test]
async fn a_destination_is_understood_as_people_write_it() {
    let mut bench = TestHost::openssh().connect().await;
    let (user, port) = (bench.sshd.user().to_owned(), bench.sshd.port());
    let key = bench.sshd.private_key_path().display().to_string();
    let known = |host: &str| format!("{host}:{port}");

    // The host key is known for `127.0.0.1` as for the alias: only the configuration of the alias would be missing.
    let config = std::fs::read_to_string(&bench.config)
        .unwrap()
        .replace("Host host\n", "Host host 127.0.0.1\n");
    std::fs::write(&bench.config, config).unwrap();

    for (host, name) in [
        (
            format!("{user}@127.0.0.1:{port}"),
            format!("{user}@{}", known("127.0.0.1")),
        ),
        (format!("127.0.0.1:{port}"), known("127.0.0.1")),
        (
            format!("ssh -p {port} {user}@127.0.0.1"),
            format!("{user}@{}", known("127.0.0.1")),
        ),
        (
            format!("ssh {user}@127.0.0.1 -p{port} -i '{key}'"),
            format!("{user}@{}", known("127.0.0.1")),
        ),
        (
            format!("ssh://{user}@127.0.0.1:{port}"),
            format!("ssh://{user}@{}", known("127.0.0.1")),
        ),
        (" host ".to_owned(), "host".to_owned()),
    ] {
        let connected = bench
            .mcp
            .call("ssh_connect", json!({"hostname": host}))
            .await
            .ok();

        let session = &connected.structured()["session"];

        assert_eq!(
            (&session["name"], &session["port"]),
            (&json!(name), &json!(port)),
            "{host}: {}",
            connected.text()
        );

        let ran: Value = bench
            .exec("true", json!({"session": name}))
            .await
            .outcome()
            .clone();

        assert_eq!(ran["exitCode"], 0, "{host}");
    }
}
