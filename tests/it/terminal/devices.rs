//! Shell channels: hosts without commands, such as routers, switches and menus.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::{Value, json};

use super::{gives_terminals, job, pty, terminals};
use crate::support::{
    checks::{assert_refused, code, eventually, plain, status},
    fake_sshd::{FakeSshd, FakeSshdSettings, device::Device},
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
};

/// A server that opens a shell and refuses commands.
async fn connected(device: Device) -> ConnectedHost<FakeSshd> {
    let settings = FakeSshdSettings {
        refuses_commands: true,
        device: Some(device),
        ..FakeSshdSettings::default()
    };

    TestHost::fake_with(settings, "").connect().await
}

impl<S> ConnectedHost<S> {
    /// Opens a shell channel.
    async fn open_shell(&mut self) -> ToolResult {
        self.exec("", pty()).await
    }

    /// Types into the job, and asserts at which prompt it waits then. Returns the answer.
    async fn types(&mut self, job: &str, input: &str, prompt: &str) -> ToolResult {
        let answer = self.job(job, json!({"input": input})).await;
        assert_waits_at(&answer, prompt);
        answer
    }
}

fn assert_waits_at(answer: &ToolResult, prompt: &str) {
    assert_eq!(status(answer), "running", "{answer:?}");
    assert_eq!(answer.outcome()["prompt"], prompt, "{answer:?}");
    assert!(answer.outcome()["awaitingInput"] == true, "{answer:?}");
}

/// The first line of this number, and the last, that an answer shows.
fn shows_lines(answer: &ToolResult, first: u32, last: u32) -> bool {
    let text = answer.stdout();
    let has = |line: u32| text.lines().any(|shown| shown == format!("line {line}"));
    has(first) && has(last) && !has(last + 1) && (first == 1 || !has(first - 1))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_without_commands_is_used_over_its_shell() {
    let mut bench = connected(Device::Cisco).await;

    for tool in ["ssh_exec", "ssh_shell"] {
        let refused = bench
            .mcp
            .call(tool, json!({"command": "show version"}))
            .await;
        assert_refused(&refused, &["pty: true and command \"\"", "ssh_job"]);
    }

    let router = bench.open_shell().await;
    assert_waits_at(&router, "Router>");
    assert!(router.stdout().contains("User Access Verification"));
    let router = job(&router);

    let asks = bench.types(&router, "enable\n", "Password:").await;
    assert!(
        asks.status_line().contains("waits for a secret"),
        "{asks:?}"
    );
    bench.types(&router, "cisco\n", "Router#").await;

    // Page by page, by line, and to the prompt.
    let page = bench
        .types(&router, "show running-config\n", "--More--")
        .await;
    assert!(shows_lines(&page, 1, 39), "{page:?}");
    assert!(page.status_line().contains("input \" \" shows"), "{page:?}");
    let page = bench.types(&router, " ", "--More--").await;
    assert!(shows_lines(&page, 40, 78), "{page:?}");
    assert!(!page.status_line().contains("no newline"), "{page:?}");
    let line = bench.types(&router, "\r", "--More--").await;
    assert!(shows_lines(&line, 79, 79), "{line:?}");
    let end = bench.types(&router, "q", "Router#").await;
    assert!(!end.stdout().contains("line "), "{end:?}");

    bench.types(&router, "terminal length 0\n", "Router#").await;
    let whole = bench
        .types(&router, "show running-config\n", "Router#")
        .await;
    assert!(shows_lines(&whole, 1, 100), "{whole:?}");
    bench.types(&router, "sh\u{3}", "Router#").await;

    bench
        .types(&router, "reload\n", "Proceed with reload? [confirm]")
        .await;
    let gone = bench.job(&router, json!({"input": "\n"})).await;
    assert_eq!(
        (status(&gone), code(&gone)),
        ("exited", Some(0)),
        "{gone:?}"
    );

    // Nothing but the keys came, and each line feed as Enter.
    assert_eq!(
        bench.sshd.typed(),
        "enable\rcisco\rshow running-config\r \rqterminal length 0\rshow running-config\rsh\u{3}reload\r\r"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_that_redraws_its_line_is_read() {
    let mut bench = connected(Device::RouterOs).await;
    let router = bench.open_shell().await;
    assert_waits_at(&router, "[admin@MikroTik] >");
    assert!(router.stdout().contains("MikroTik RouterOS"), "{router:?}");
    let router = job(&router);

    let name = bench
        .types(&router, "/system/identity/print\n", "[admin@MikroTik] >")
        .await;
    assert!(
        name.stdout()
            .contains("/system/identity/print\n  name: MikroTik\n"),
        "{name:?}"
    );

    let log = bench
        .types(&router, "/log/print\n", "-- [Q quit|D dump|down]")
        .await;
    assert!(shows_lines(&log, 1, 39), "{log:?}");
    bench.types(&router, "q", "[admin@MikroTik] >").await;

    let asks = "Reboot, yes? [y/N]:";
    bench.types(&router, "/system/reboot\n", asks).await;
    let gone = bench.job(&router, json!({"input": "y\n"})).await;
    assert!(gone.stdout().contains("will reboot shortly"), "{gone:?}");
    assert_eq!(status(&gone), "exited", "{gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_menu_of_a_jump_server_leads_to_its_hosts() {
    let mut bench = connected(Device::Menu).await;

    // The first keys may come with the call.
    let menu = bench
        .exec("", json!({"pty": true, "stdin": "1\nhostname\n"}))
        .await;
    assert_waits_at(&menu, "ann@web1:~$");
    assert!(menu.stdout().contains("\nweb1\n"), "{menu:?}");
    let menu = job(&menu);
    bench.types(&menu, "exit\n", "Opt>").await;
    bench.types(&menu, "2\n", "ann@db1:~$").await;

    let listed = bench.mcp.call("ssh_job", plain()).await.ok();
    assert!(listed.text().contains("(shell channel)"), "{listed:?}");
    let ended = bench.job(&menu, json!({"signal": "TERM"})).await;
    assert_ne!(status(&ended), "running", "{ended:?}");
    assert_eq!(bench.sshd.typed(), "1\rhostname\rexit\r2\r");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_menu_of_the_real_sshd_is_used() {
    let mut bench = TestHost::openssh_at(|settings, home| {
        let menu = home.join("menu");
        let script = "#!/bin/sh\ni=0\nwhile :; do\nprintf '1) date\\n2) quit\\nChoice [1-2]: '\n\
                      read -r choice || exit 0\ncase $choice in\n1) echo today;;\n2) exit 3;;\nesac\ndone\n";
        fs::write(&menu, script).unwrap();
        fs::set_permissions(&menu, fs::Permissions::from_mode(0o755)).unwrap();
        settings.extra_config = format!("ForceCommand {}\n{}", menu.display(), settings.extra_config);
    })
    .connect()
    .await;

    let refused = bench
        .mcp
        .call("ssh_exec", json!({"command": "uptime"}))
        .await;
    assert_refused(&refused, &["was not run", "pty: true and command \"\""]);

    if gives_terminals(&bench) {
        let menu = bench.open_shell().await;
        assert_waits_at(&menu, "Choice [1-2]:");
        let menu = job(&menu);
        let today = bench.types(&menu, "1\n", "Choice [1-2]:").await;
        assert!(today.stdout().contains("\ntoday\n"), "{today:?}");
        let ended = bench.job(&menu, json!({"input": "2\n"})).await;
        assert_eq!(code(&ended), Some(3), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_shell_is_opened_and_hung_up() {
    let Some(mut bench) = terminals().await else {
        return;
    };
    fs::write(bench.remote(".profile"), "PS1='here$ '\n").unwrap();
    fs::write(bench.remote(".bash_profile"), "PS1='here$ '\n").unwrap();

    let shell = bench.open_shell().await;
    assert!(shell.outcome()["awaitingInput"] == true, "{shell:?}");
    let shell = job(&shell);
    let answer = bench
        .job(
            &shell,
            json!({"input": "test -t 0 && echo $((40+2)); sleep 7431\n", "waitMs": 0}),
        )
        .await;
    assert_eq!(status(&answer), "running", "{answer:?}");
    let (host, word) = (&bench.host, "7431");
    eventually("the shell's command runs", || host.runs(word)).await;
    let printed = bench.job(&shell, json!({"offset": 0, "waitMs": 0})).await;
    assert!(printed.stdout().contains("42\n"), "{printed:?}");

    let ended = bench.job(&shell, json!({"signal": "KILL"})).await;
    assert_ne!(status(&ended), "running", "{ended:?}");
    let (host, word) = (&bench.host, "7431");
    eventually("the shell's command has ended", || !host.runs(word)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_channel_takes_nothing_that_needs_a_script() {
    let mut bench = connected(Device::Menu).await;
    let cases: [(Value, &str); 5] = [
        (json!({}), "the command is empty"),
        (json!({"pty": true, "cwd": "/"}), "no cwd, env or sudo"),
        (
            json!({"pty": true, "env": {"A": "b"}}),
            "no cwd, env or sudo",
        ),
        (json!({"pty": true, "sudo": true}), "no cwd, env or sudo"),
        (json!({"pty": true, "detach": true}), "cannot be detached"),
    ];

    for (mut call, words) in cases {
        call["command"] = json!(" ");
        assert_refused(&bench.mcp.call("ssh_exec", call).await, &[words]);
    }

    assert_eq!(bench.sshd.typed(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_shell_is_said() {
    let settings = FakeSshdSettings {
        login_shell: "/no/such/shell".to_owned(),
        ..FakeSshdSettings::default()
    };
    let mut bench = TestHost::fake_with(settings, "").connect().await;
    let refused = bench
        .mcp
        .call("ssh_exec", json!({"command": "", "pty": true}))
        .await;
    assert_refused(&refused, &["the server opens no shell"]);
}
