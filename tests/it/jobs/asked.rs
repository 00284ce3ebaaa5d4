//! Secrets that the person types into a running program.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::{Value, json};

use crate::support::{
    checks::{code, plain, status},
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
    open_sshd::OpenSshd,
    page::Page,
    program::Program,
    questions::{client_with, reply, result, stateless},
    sudo_host::SudoHostSettings,
};

/// What the encoding of a form, a shell or a terminal could damage.
const SECRET: &str = " it's \"a\" \\n $PATH !1 %p s3kr1t-W0rd € ";
/// A part of it that occurs nowhere else.
const TELLTALE: &str = "s3kr1t-W0rd";
/// The notice about a prompt for a secret.
const NOTICE: &str = "waits for a secret: ssh_job(job, ask) lets the person type it";

/// A client whose person is asked through pages, connected to a real sshd.
async fn asked() -> ConnectedHost<OpenSshd> {
    with_capabilities(json!({"elicitation": {"url": {}}})).await
}

async fn with_capabilities(capabilities: Value) -> ConnectedHost<OpenSshd> {
    let mut bench = TestHost::openssh().connect().await;
    bench.mcp = client_with(capabilities, &bench.config, bench.folder()).await;
    bench
        .mcp
        .call("ssh_connect", json!({"host": "host"}))
        .await
        .ok();
    bench
}

fn job_of(result: &ToolResult) -> String {
    result.outcome()["job"].as_str().expect("a job").to_owned()
}

fn assert_shows_no_secret(result: &ToolResult) {
    assert!(!result.0.to_string().contains(TELLTALE), "{result:?}");
}

/// Asserts that no file of the folder has the secret.
fn assert_in_no_file(folder: &Path) {
    let found = std::process::Command::new("grep")
        .args(["-rlF", TELLTALE])
        .arg(folder)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    assert_eq!(found.status.code(), Some(1));
}

impl<S> ConnectedHost<S> {
    /// `ssh_job` with `ask`, which the person answers with this secret.
    async fn typed(&mut self, job: &str, secret: &str) -> ToolResult {
        let call = self.ask(job).await;
        let (id, page) = Page::next(&mut self.mcp).await;
        reply(&mut self.mcp, &id, json!({"action": "accept"})).await;
        page.type_in(secret).await;
        result(&mut self.mcp, call).await
    }

    async fn ask(&mut self, job: &str) -> u64 {
        let arguments = json!({"job": job, "ask": "Password for <admin>"});
        self.mcp.begin_call("ssh_job", arguments).await
    }
}

#[tokio::test]
async fn the_person_sees_the_program_and_only_the_program_gets_it() {
    let bench = asked().await;
    let Some(mut bench) = crate::terminal::given(bench) else {
        return;
    };

    let command =
        "bash -c 'read -rsp \"Password: \" p; printf %s \"$p\" > got; echo; echo \"[$p]\"; exit 4'";
    let asks = bench.exec(command, json!({"pty": true, "cwd": "~"})).await;
    assert!(asks.status_line().contains(NOTICE), "{asks:?}");
    assert_eq!(asks.outcome()["notice"], NOTICE);
    let job = job_of(&asks);

    let call = bench.ask(&job).await;
    let (id, page) = Page::next(&mut bench.mcp).await;
    reply(&mut bench.mcp, &id, json!({"action": "accept"})).await;
    assert!(
        page.message
            .starts_with("Secret for a running program for ")
            && page.message.contains("the program on that host"),
        "{}",
        page.message
    );

    let shown = page.get().await.body;
    for part in [
        "in the session <strong>host</strong>:",
        "<blockquote>bash -c &#39;read -rsp",
        "<p>It shows:</p><blockquote>Password:</blockquote>",
        "<p>The agent says what to type:</p><blockquote>Password for &lt;admin&gt;</blockquote>",
        "type=\"password\"",
        "sends it to this program alone",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    page.type_in(SECRET).await;
    let end = result(&mut bench.mcp, call).await.ok();
    assert_eq!(
        fs::read_to_string(bench.remote("got")).unwrap(),
        SECRET.trim_matches(' '),
        "read removes spaces at both ends"
    );
    fs::remove_file(bench.remote("got")).unwrap();

    // The program prints it, which is hidden.
    assert_eq!(code(&end), Some(4), "{end:?}");
    assert_shows_no_secret(&end);
}

#[tokio::test]
async fn an_echo_is_hidden_in_answers_progress_and_files() {
    let bench = asked().await;
    let Some(mut bench) = crate::terminal::given(bench) else {
        return;
    };

    for more in [
        json!({"pty": true, "cwd": "~"}),
        json!({"background": true, "cwd": "~"}),
    ] {
        let command = "printf 'Token: '; IFS= read -r p; echo \"$p\"; echo \"$p\" >&2; printf 'More? '; read x";
        let begun = bench.exec(command, more).await;
        let job = job_of(&begun);
        if begun.stdout().is_empty() {
            bench.wait_for_output(&job, "Token: ").await;
        }

        let answered = bench.typed(&job, SECRET).await.ok();
        assert_shows_no_secret(&answered);
        let text = answered.stdout() + &answered.stderr();
        assert!(text.contains("********"), "{answered:?}");
        assert!(text.contains("More?"), "{answered:?}");

        let again = bench.job(&job, json!({"offset": 0, "waitMs": 0})).await;
        assert!(again.stdout().contains("********"), "{again:?}");
        assert_shows_no_secret(&again);
        let end = bench.job(&job, json!({"input": "y\n"})).await;
        assert_eq!(code(&end), Some(0), "{end:?}");
        assert_shows_no_secret(&end);
    }

    assert_in_no_file(bench.folder());
}

#[tokio::test]
async fn a_key_gets_a_passphrase_by_ssh_keygen() {
    let bench = asked().await;
    let Some(mut bench) = crate::terminal::given(bench) else {
        return;
    };

    let make = "ssh-keygen -q -t ed25519 -N '' -f key";
    assert_eq!(code(&bench.exec(make, json!({"cwd": "~"})).await), Some(0));
    let change = "ssh-keygen -p -f key";
    let mut asks = bench.exec(change, json!({"pty": true, "cwd": "~"})).await;
    let job = job_of(&asks);

    for _ in 0..2 {
        assert!(asks.status_line().contains(NOTICE), "{asks:?}");
        asks = bench.typed(&job, "s3kr1t-W0rd").await.ok();
        assert_shows_no_secret(&asks);
    }
    assert_eq!(code(&asks), Some(0), "{asks:?}");

    // The key has the passphrase now.
    let opened = std::process::Command::new("ssh-keygen")
        .args(["-y", "-P", "s3kr1t-W0rd", "-f"])
        .arg(bench.remote("key"))
        .output()
        .unwrap();
    assert!(opened.status.success(), "{opened:?}");
}

#[tokio::test]
async fn sudo_and_an_inner_ssh_take_the_password() {
    let settings = SudoHostSettings {
        extra_config: "PasswordAuthentication yes\nKbdInteractiveAuthentication no",
        ..SudoHostSettings::default()
    };
    let Some(mut bench) =
        crate::sudo::open(settings, json!({"elicitation": {"url": {}}}), json!({})).await
    else {
        return;
    };

    let port = bench.port;
    for command in [
        "sudo -k; sudo id -un".to_owned(),
        format!(
            "ssh -p {port} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o PubkeyAuthentication=no \
             -o LogLevel=ERROR 127.0.0.1 'sudo -n true || id -un'"
        ),
    ] {
        let asks = bench.exec(&command, json!({"pty": true})).await;
        assert!(asks.status_line().contains(NOTICE), "{asks:?}");
        let password = crate::support::sudo_host::PASSWORD;
        let end = bench.typed(&job_of(&asks), password).await.ok();
        assert_eq!(code(&end), Some(0), "{command}: {end:?}");
        assert!(
            !end.0
                .to_string()
                .contains(crate::support::sudo_host::TELLTALE),
            "{end:?}"
        );
    }
}

#[tokio::test]
async fn a_detached_job_gets_it_without_a_file() {
    let mut bench = asked().await;
    let command = "printf 'PIN: '; IFS= read -r p; printf '%s' \"$p\" | od -An -c > got; echo done";
    let job = bench.detach(command, json!({"cwd": "~"})).await;
    bench.wait_for_output(&job, "PIN: ").await;
    let mut end = bench.typed(&job, SECRET).await.ok();
    if status(&end) == "running" {
        end = bench.job(&job, plain()).await;
    }
    assert_eq!(code(&end), Some(0), "{end:?}");
    assert_shows_no_secret(&end);

    let got: String = fs::read_to_string(bench.remote("got"))
        .unwrap()
        .split_whitespace()
        .collect();
    assert!(got.contains("s3kr1t-W0rd"), "{got}");
    assert_in_no_file(bench.folder());
}

#[tokio::test]
async fn the_person_may_decline_and_the_program_goes_on() {
    let mut bench = asked().await;
    let command = "printf 'Password: '; read p; echo \"[$p]\"";
    let job = bench.start(command, json!({"background": true})).await;
    bench.wait_for_output(&job, "Password: ").await;

    for answer in [json!({"action": "decline"}), json!({"action": "cancel"})] {
        let call = bench.ask(&job).await;
        let (id, page) = Page::next(&mut bench.mcp).await;
        reply(&mut bench.mcp, &id, answer).await;
        let declined = result(&mut bench.mcp, call).await.ok();
        assert_eq!(
            (status(&declined), &declined.outcome()["notice"]),
            (
                "running",
                &json!("nothing was typed: the person did not answer")
            )
        );
        page.assert_gone().await;
    }

    let unfit = bench.typed(&job, "a\u{3}b").await.ok();
    assert!(
        unfit.status_line().contains("nothing was sent"),
        "{unfit:?}"
    );

    // Nothing has reached the program.
    let end = bench.job(&job, json!({"input": "x\n"})).await;
    assert_eq!(end.stdout(), "[x]\n");
}

#[tokio::test]
async fn a_page_closes_when_the_job_ends_or_the_call_is_cancelled() {
    let mut bench = asked().await;
    let command = "printf 'Password: '; until [ -e go ]; do sleep 0.05; done";
    let job = bench
        .start(command, json!({"cwd": "~", "background": true}))
        .await;

    let call = bench.ask(&job).await;
    let (_, page) = Page::next(&mut bench.mcp).await;
    bench.mcp.cancel(call).await;
    page.assert_gone().await;

    // The client learns that the question has ended.
    let cancelled = bench.mcp.message().await.unwrap();
    assert_eq!(cancelled["method"], "notifications/cancelled");

    let call = bench.ask(&job).await;
    let (_, page) = Page::next(&mut bench.mcp).await;
    fs::write(bench.remote("go"), "").unwrap();
    page.assert_gone().await;
    let ended = bench.mcp.finish(call).await.ok();
    assert!(
        ended
            .status_line()
            .contains("nothing was typed: the job ended first"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn it_is_refused_where_it_cannot_work() {
    let mut bench = asked().await;
    let open = bench.start("cat", json!({"background": true})).await;
    let closed = bench.start("sleep 7451", json!({"waitMs": 0})).await;
    let ended = bench.start("true", json!({"background": true})).await;
    bench.job(&ended, plain()).await;

    for (more, part) in [
        (
            json!({"job": open, "input": "x"}),
            "neither input nor signal",
        ),
        (
            json!({"job": open, "signal": "INT"}),
            "neither input nor signal",
        ),
        (json!({"job": closed}), "is closed"),
        (json!({"job": ended}), "has ended"),
        (json!({}), "which job?"),
    ] {
        let mut arguments = more;
        arguments["ask"] = "Password".into();
        let refused = bench.mcp.call("ssh_job", arguments).await;
        assert!(
            refused.is_error() && refused.text().contains(part),
            "{part}: {}",
            refused.text()
        );
    }

    bench.job(&closed, json!({"signal": "KILL"})).await;
    bench.job(&open, json!({"signal": "KILL"})).await;
}

#[tokio::test]
async fn a_client_that_cannot_ask_is_told_what_to_do() {
    for capabilities in [json!({}), json!({"elicitation": {"form": {}}})] {
        let mut bench = with_capabilities(capabilities).await;
        let command = "printf 'Password: '; read p";
        let more = json!({"background": true, "waitMs": 30_000});
        let asks = bench.exec(command, more).await;
        assert!(
            asks.status_line()
                .contains("waits for a secret, which this client cannot ask the person for"),
            "{asks:?}"
        );

        let arguments = json!({"job": job_of(&asks), "ask": "Password"});
        let refused = bench.mcp.call("ssh_job", arguments).await;
        assert!(
            refused.is_error()
                && refused.text().contains("cannot ask the person")
                && refused.text().contains("SSH_ASKPASS"),
            "{}",
            refused.text()
        );
        bench.job(&job_of(&asks), json!({"input": "x\n"})).await;
    }
}

#[tokio::test]
async fn a_client_without_initialize_is_asked_in_the_result() {
    let mut bench = TestHost::openssh().connect().await;
    let pages = json!({"elicitation": {"url": {}}});
    let command = "printf 'Password: '; read -r p; echo \"[$p]\"";
    let job = bench.start(command, json!({"background": true})).await;
    let mut arguments = json!({"name": "ssh_job", "arguments": {"job": job, "ask": "Password"}});
    let asked = bench
        .mcp
        .request("tools/call", stateless(&pages, arguments.clone()))
        .await;
    let asked = &asked["result"];
    Page::from_params(&asked["inputRequests"]["person"]["params"])
        .type_in(SECRET)
        .await;

    arguments["requestState"] = asked["requestState"].clone();
    arguments["inputResponses"] = json!({"person": {"action": "accept"}});
    let end = bench
        .mcp
        .request("tools/call", stateless(&pages, arguments))
        .await;
    let end = ToolResult(end["result"].clone()).ok();
    assert_eq!(code(&end), Some(0), "{end:?}");
    assert!(end.stdout().contains('['), "{end:?}");
    assert_shows_no_secret(&end);
}

#[tokio::test]
async fn the_log_at_its_most_talkative_does_not_have_it() {
    let bench = TestHost::openssh().connect().await;
    let folder = tempfile::tempdir().unwrap();
    let secrets = tempfile::tempdir().unwrap();
    let (askpass, question) = (
        secrets.path().join("askpass"),
        secrets.path().join("question"),
    );
    let script = format!(
        "#!/bin/sh\nprintf '%s' \"$1\" > '{}'\necho '{TELLTALE}'\n",
        question.display()
    );
    fs::write(&askpass, script).unwrap();
    fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)).unwrap();
    let environment = [
        ("SSH_ASKPASS", askpass.as_os_str()),
        ("SSH_ASKPASS_REQUIRE", std::ffi::OsStr::new("force")),
    ];
    let mut program = Program::start_with(Some(&bench.config), folder.path(), &environment).await;
    program
        .call("ssh_connect", json!({"host": "host"}))
        .await
        .ok();

    let command = "printf 'Password: '; read -r p; echo \"$p\"; head -c 100000 /dev/zero | tr '\\0' x; echo \"$p\"";
    let arguments = json!({"command": command, "background": true, "waitMs": 30_000});
    let asks = program.call("ssh_exec", arguments).await.ok();
    let arguments = json!({"job": job_of(&asks), "ask": "Password for admin"});
    let end = program.call("ssh_job", arguments).await.ok();
    assert_eq!(code(&end), Some(0), "{end:?}");
    assert!(end.stdout().contains("********"), "{end:?}");
    assert_shows_no_secret(&end);

    let asked = fs::read_to_string(&question).unwrap();
    for part in [
        "for a program in the session host\n",
        "The agent calls it: Password for admin\n",
        "The program shows: Password:\n",
        "The command: printf",
    ] {
        assert!(asked.contains(part), "{part}: {asked}");
    }

    let log = fs::read_to_string(folder.path().join("stderr.log")).unwrap();
    assert!(log.contains("tool=ssh_job"), "{log}");
    assert_in_no_file(folder.path());
}
