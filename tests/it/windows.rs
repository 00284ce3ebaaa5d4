//! Hosts that run Windows. The shells and the SFTP server are fakes that follow the documentation of cmd.exe, PowerShell
//! and OpenSSH's server for Windows (`support/fake_sshd/windows_shell.py`).

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::{Value, json};

use crate::support::{
    checks::{assert_refused, code, plain, status, whole_output},
    fake_sshd::{FakeSshd, FakeSshdSettings},
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
    processes,
};

pub(crate) const SOFTWARE: &str = "SSH-2.0-OpenSSH_for_Windows_9.5";
const SHELLS: [&str; 2] = ["cmd", "powershell"];

/// A host with this login shell, and the folder of a program that runs it.
pub(crate) fn windows(
    shell: &str,
    software: &'static str,
) -> (TestHost<FakeSshd>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("shell");
    let settings = FakeSshdSettings {
        software,
        login_shell: program.display().to_string(),
        is_windows: true,
        // A process group is not what such a signal ends there.
        honour_signals: false,
        ..FakeSshdSettings::default()
    };

    let host = TestHost::fake_with(settings, "");
    let fake =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/fake_sshd/windows_shell.py");
    let text = format!(
        "#!/bin/sh\nexec python3 {} {shell} \"$HOME\" \"$2\"\n",
        fake.display()
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for made in ["C/Users/me", "C/Program Files"] {
        fs::create_dir_all(host.sshd.home().join(made)).unwrap();
    }

    (host, folder)
}

async fn connected(shell: &str) -> (ConnectedHost<FakeSshd>, tempfile::TempDir) {
    let (host, folder) = windows(shell, SOFTWARE);
    (host.connect().await, folder)
}

async fn exec(bench: &mut ConnectedHost<FakeSshd>, arguments: Value) -> ToolResult {
    bench.mcp.call("ssh_exec", arguments).await
}

#[tokio::test]
async fn commands_get_directory_environment_and_stdin() {
    for shell in SHELLS {
        let (mut bench, _folder) = connected(shell).await;
        let (command, input) = match shell {
            "cmd" => ("set A&cd&status.exe 5", "more.com"),
            _ => ("$env:A\n(Get-Location).Path\nstatus.exe 5", "$input"),
        };

        for directory in [r"C:\Program Files", "/C:/Program Files", "C:/Program Files"] {
            let more = json!({"cwd": directory, "env": {"A": "it's ^ %OS% (x)!"}});
            let result = bench.exec(command, more).await;
            assert_eq!(
                (result.stdout().trim_start_matches("A="), code(&result)),
                ("it's ^ %OS% (x)!\r\nC:\\Program Files\r\n", Some(5)),
                "{shell}: {result:?}"
            );
        }

        let missing = bench.exec(command, json!({"cwd": r"C:\nowhere"})).await;
        assert_eq!(
            (missing.stdout().as_str(), code(&missing)),
            ("", Some(1)),
            "{missing:?}"
        );

        let fed = bench.exec(input, json!({"stdin": "one\ntwo\n"})).await;
        assert_eq!(
            (fed.stdout().as_str(), code(&fed)),
            ("one\ntwo\n", Some(0)),
            "{fed:?}"
        );

        let unknown = bench.exec("nosuch", plain()).await;
        assert_eq!(code(&unknown), Some(1));
        assert!(!unknown.stderr().contains("nul"), "{unknown:?}");
    }
}

#[tokio::test]
async fn a_time_limit_ends_all_processes() {
    for shell in SHELLS {
        let (mut bench, folder) = connected(shell).await;
        let result = bench.exec("ping -n 7433", json!({"timeoutMs": 500})).await;
        assert_eq!(status(&result), "timedOut", "{result:?}");
        assert_eq!(result.outcome()["processGone"], true, "{result:?}");
        assert!(processes::running(bench.port, "7433").is_empty());

        // An account that may not list processes.
        fs::write(bench.sshd.home().join("no-rights"), "").unwrap();
        let result = bench.exec("ping -n 7434", json!({"timeoutMs": 500})).await;
        assert_eq!(status(&result), "timedOut", "{result:?}");
        assert!(result.status_line().contains("is not known"), "{result:?}");
        drop(folder);
    }
}

#[tokio::test]
async fn jobs_run_in_the_background() {
    for shell in SHELLS {
        let (mut bench, _folder) = connected(shell).await;
        let begun = bench
            .exec("status.exe 4", json!({"background": true}))
            .await;
        let job = begun.outcome()["job"].as_str().unwrap().to_owned();
        let ended = bench.mcp.call("ssh_job", json!({"job": job})).await.ok();
        assert_eq!(
            (status(&ended), code(&ended)),
            ("exited", Some(4)),
            "{shell}: {ended:?}"
        );

        let begun = bench
            .exec("ping -n 7435", json!({"background": true}))
            .await;
        let job = begun.outcome()["job"].as_str().unwrap().to_owned();
        let stopped = bench
            .mcp
            .call("ssh_job", json!({"job": job, "signal": "TERM"}))
            .await
            .ok();
        assert_eq!(stopped.outcome()["processGone"], true, "{stopped:?}");
    }
}

#[tokio::test]
async fn what_windows_lacks_is_said() {
    for shell in SHELLS {
        let (mut bench, _folder) = connected(shell).await;
        let refused = exec(&mut bench, json!({"command": "whoami", "sudo": true})).await;
        assert_refused(&refused, &["Windows", "sudo", "administrator"]);
        let refused = exec(&mut bench, json!({"command": "whoami", "detach": true})).await;
        assert_refused(&refused, &["Windows", "background: true", "schtasks"]);
        let refused = bench
            .mcp
            .call("ssh_shell", json!({"command": "whoami"}))
            .await;
        assert_refused(&refused, &["Windows", "ssh_exec", "powershell"]);
        let sudo = json!({"path": r"C:\x", "sudo": true});
        let refused = bench.mcp.call("ssh_read", sudo).await;
        assert_refused(&refused, &["Windows", "sudo"]);
        bench.mcp.call("ssh_job", plain()).await.ok();
    }

    let (mut bench, _folder) = connected("cmd").await;
    let refused = exec(&mut bench, json!({"command": "cd x\ndir"})).await;
    assert_refused(&refused, &["several lines", ".ps1"]);
}

#[tokio::test]
async fn output_is_decoded() {
    for shell in SHELLS {
        let (mut bench, _folder) = connected(shell).await;
        let bytes = b"Gr\x94\xe1e\r\n";
        fs::write(bench.sshd.home().join("C/Users/me/a.txt"), bytes).unwrap();

        let result = bench.exec("type a.txt", plain()).await;
        assert_eq!(result.stdout(), "Größe\r\n", "{result:?}");
        assert!(
            result
                .status_line()
                .contains("stdout is code page 850, as it came in")
        );
        assert_eq!(whole_output(&result), bytes);

        let result = bench.exec("wmic os get Name", plain()).await;
        assert_eq!(result.stdout(), "Name  \r\nBüro\r\n", "{result:?}");
        assert!(
            result.status_line().contains("stdout is UTF-16"),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn files_have_the_paths_of_windows() {
    let (mut bench, _folder) = connected("cmd").await;
    let there = bench.sshd.home().join("C/Users/me");
    let local = bench.local("local.txt");
    fs::write(&local, "hello\n").unwrap();

    for (path, name) in [
        (r"C:\Users\me\a.txt", "a.txt"),
        ("/C:/Users/me/b.txt", "b.txt"),
        ("C:/Users/me/c.txt", "c.txt"),
        (r"~\d.txt", "d.txt"),
    ] {
        let local = local.display().to_string();
        let up = json!({"localPath": local, "remotePath": path});
        bench.mcp.call("ssh_upload", up.clone()).await.ok();
        assert_eq!(fs::read_to_string(there.join(name)).unwrap(), "hello\n");

        // Once more, over the file that is there.
        bench.mcp.call("ssh_upload", up).await.ok();

        let read = bench.mcp.call("ssh_read", json!({"path": path})).await.ok();
        assert!(read.text().contains("hello"), "{read:?}");

        let edit = json!({"path": path, "oldText": "hello", "newText": "bye"});
        bench.mcp.call("ssh_edit", edit).await.ok();
        assert_eq!(fs::read_to_string(there.join(name)).unwrap(), "bye\n");

        let back = bench.local(name);
        let down = json!({"localPath": back, "remotePath": path});
        bench.mcp.call("ssh_download", down).await.ok();
        assert_eq!(fs::read_to_string(back).unwrap(), "bye\n");
    }

    let names: Vec<_> = fs::read_dir(&there)
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 4, "nothing else is left: {names:?}");

    let search = json!({"pattern": "by.", "path": r"C:\Users\me"});
    let found = bench.mcp.call("ssh_search", search).await.ok();
    assert!(
        found.text().contains("a.txt") && found.text().contains("d.txt"),
        "{found:?}"
    );
    // No program of a Unix host was looked for.
    let commands = bench.sshd.commands();
    assert!(
        commands.iter().all(|it| !it.contains("/bin/sh")),
        "{commands:?}"
    );
}

#[tokio::test]
async fn variables_of_the_call_are_those_of_the_command() {
    let (mut bench, _folder) = connected("cmd").await;
    let more = json!({"env": {"OS": "mine"}, "cwd": r"C:\Program Files"});
    let result = bench.exec("echo %OS% %CD%", more).await;
    assert_eq!(result.stdout(), "mine C:\\Program Files\r\n", "{result:?}");
}

#[tokio::test]
async fn the_shell_is_found_whatever_the_server() {
    for (shell, name) in [
        ("cmd", "cmd.exe"),
        ("powershell", "PowerShell 5.1.20348.2110"),
    ] {
        for software in [SOFTWARE, "SSH-2.0-8.49 FlowSsh: Bitvise SSH Server"] {
            let (host, _folder) = windows(shell, software);
            let mut bench = host.connect().await;
            let result = bench
                .exec("status.exe 7", json!({"cwd": r"C:\Program Files"}))
                .await;
            assert_eq!(code(&result), Some(7), "{shell} of {software}: {result:?}");
            let up = bench.mcp.call("ssh_sessions", plain()).await.ok();
            assert!(up.text().contains("host"), "{up:?}");

            let connect = bench.mcp.connect(json!({"host": "host"})).await.ok();
            let line = connect.text();
            assert!(
                line.contains("Windows 10.0.20348") && line.contains(name),
                "{line}"
            );
        }
    }
}

#[tokio::test]
async fn nothing_windows_is_sent_to_other_hosts() {
    let mut bench = TestHost::fake().connect().await;
    assert_eq!(bench.exec("echo hi", plain()).await.stdout(), "hi\n");
    let commands = bench.sshd.commands();
    assert!(
        commands.iter().all(|it| !it.contains("%OS%")),
        "{commands:?}"
    );

    let odd = bench.remote(r"C:\x");
    fs::write(&odd, "odd").unwrap();
    let read = bench
        .mcp
        .call("ssh_read", json!({"path": r"C:\x"}))
        .await
        .ok();
    assert!(read.text().contains("odd"), "{read:?}");
}
