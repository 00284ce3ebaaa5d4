//! The person is asked for the password.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::{as_root, assert_not_run, open};
use crate::support::{
    checks::{code, eventually, plain, status},
    clock,
    fixture::{ConnectedHost, TestHost},
    keys,
    mcp_client::{McpClient, ToolResult},
    page::Page,
    questions::{client_with, reply, result, stateless},
    sudo_host::{BY_PASSWORD, PASSWORD, SudoHost, SudoHostSettings, USER},
};

fn pages() -> Value {
    json!({"elicitation": {"url": {}}})
}

/// A client whose person is asked through pages.
async fn asked() -> Option<ConnectedHost<SudoHost>> {
    open(SudoHostSettings::default(), pages(), plain()).await
}

/// The next page, which the client says it will show.
async fn page(mcp: &mut McpClient) -> Page {
    let (id, page) = Page::next(mcp).await;
    reply(mcp, &id, json!({"action": "accept"})).await;
    page
}

/// `ssh_exec` as root, in which the person answers each question with one of these.
async fn answered(
    bench: &mut ConnectedHost<SudoHost>,
    command: &str,
    more: Value,
    answers: &[&str],
) -> ToolResult {
    let call = bench.begin("ssh_exec", command, as_root(more)).await;
    for answer in answers {
        page(&mut bench.mcp).await.type_in(answer).await;
    }
    result(&mut bench.mcp, call).await
}

#[tokio::test]
async fn the_person_sees_what_is_to_run_and_is_asked_once_a_session() {
    let Some(mut bench) = asked().await else {
        return;
    };
    let more = json!({"stdin": "mine", "cwd": "/usr", "env": {"A_B": "<i>\u{1b}"}});
    let call = bench
        .begin("ssh_exec", "echo '<b>' >&2; cat", as_root(more))
        .await;
    let page = page(&mut bench.mcp).await;
    let account = format!("{USER}@127.0.0.1");

    assert!(
        page.message
            .starts_with(&format!("Password to act as root (sudo) for {account}: ")),
        "{}",
        page.message
    );

    assert!(
        page.message.contains("sudo on that host") && !page.message.contains("log-in"),
        "{}",
        page.message
    );

    let shown = page.get().await.body;
    let label = format!("[sudo] password for {USER}: ");
    let command = "<blockquote>echo &#39;&lt;b&gt;&#39; &gt;&amp;2; cat</blockquote>";
    let directory = "<p>In the directory:</p><blockquote>/usr</blockquote>";
    let variable = "<p>With the variable:</p><blockquote>A_B=&lt;i&gt;\\u{1b}</blockquote>";
    let stdin = "<p>It reads 4 bytes from stdin:</p><blockquote>mine</blockquote>";

    for part in [
        "<title>Run as root</title>",
        &account,
        command,
        directory,
        variable,
        stdin,
        &label,
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    page.type_in(PASSWORD).await;
    let first = result(&mut bench.mcp, call).await.ok();
    assert_eq!(
        (first.stdout().as_str(), first.stderr().as_str()),
        ("mine", "<b>\n")
    );

    // Known by now, for every command of this session and over every connection of it.
    assert_eq!(
        answered(&mut bench, "id -u", plain(), &[])
            .await
            .ok()
            .stdout(),
        "0\n"
    );

    bench.sshd.sshd.kill_connections();
    let anew = answered(&mut bench, "id -u", plain(), &[]).await.ok();
    assert_eq!(anew.stdout(), "0\n", "{}", anew.text());

    // Until the session is disconnected.
    bench.mcp.call("ssh_disconnect", json!({})).await.ok();

    assert_eq!(
        answered(&mut bench, "id -u", plain(), &[PASSWORD])
            .await
            .ok()
            .stdout(),
        "0\n"
    );
}

#[tokio::test]
async fn a_wrong_password_is_asked_for_again_as_often_as_sudo_does() {
    let Some(mut bench) = asked().await else {
        return;
    };

    for wrong in [&["wrong"][..], &["wrong", "false"]] {
        let call = bench
            .begin("ssh_exec", "cat", as_root(json!({"stdin": "mine"})))
            .await;

        for (time, answer) in wrong.iter().chain(&[PASSWORD]).enumerate() {
            let page = page(&mut bench.mcp).await;
            assert_eq!(
                page.get().await.body.contains("Sorry, try again."),
                time > 0,
                "{time}"
            );

            page.type_in(answer).await;
        }

        let result = result(&mut bench.mcp, call).await.ok();

        assert_eq!(
            (
                result.stdout().as_str(),
                result.stderr().as_str(),
                code(&result)
            ),
            ("mine", "", Some(0))
        );

        bench.mcp.call("ssh_disconnect", json!({})).await.ok();
    }

    let refused = answered(
        &mut bench,
        "echo ran > ran",
        plain(),
        &["wrong", "false", "no"],
    )
    .await;

    assert_not_run(&refused, &["3 incorrect password attempts"]);
    for other in ["wrong", "false", "lecture", "Sorry"] {
        assert!(!refused.text().contains(other), "{}", refused.text());
    }

    assert!(!bench.remote("ran").exists());
}

#[tokio::test]
async fn an_outdated_password_is_asked_for_again_and_not_repeated() {
    let Some(mut bench) = asked().await else {
        return;
    };

    answered(&mut bench, "true", plain(), &[PASSWORD])
        .await
        .ok();

    bench.sshd.change_password();
    let call = bench.begin("ssh_exec", "id -u", as_root(plain())).await;
    let page = page(&mut bench.mcp).await;
    assert!(page.get().await.body.contains("Sorry, try again."));
    page.type_in("changed").await;
    assert_eq!(result(&mut bench.mcp, call).await.ok().stdout(), "0\n");

    assert_eq!(
        answered(&mut bench, "id -u", plain(), &[])
            .await
            .ok()
            .stdout(),
        "0\n"
    );
}

#[tokio::test]
async fn a_host_whose_key_has_changed_is_given_no_password() {
    let settings = SudoHostSettings {
        extra_config: BY_PASSWORD,
        ..SudoHostSettings::default()
    };

    let Some(mut host) = TestHost::sudo(&settings) else {
        return;
    };
    let known = host.local("known_hosts");
    fs::write(
        &known,
        keys::known_hosts_line(host.port, keys::ed25519().public_key()),
    )
    .unwrap();

    let lax = format!(
        "StrictHostKeyChecking no\nUserKnownHostsFile {}",
        known.display()
    );

    host.config = host.sshd.sshd.write_ssh_config("host", &lax);
    let mcp = client_with(pages(), &host.config, host.folder()).await;
    let mut bench = ConnectedHost { mcp, host };

    bench
        .mcp
        .call("ssh_connect", json!({"host": "host"}))
        .await
        .ok();

    assert_not_run(
        &answered(&mut bench, "id", plain(), &[]).await,
        &["whose key has changed", "known_hosts"],
    );

    bench.sshd.allow("ALL=(ALL) NOPASSWD: ALL", "");

    assert_eq!(
        answered(&mut bench, "id -u", plain(), &[])
            .await
            .ok()
            .stdout(),
        "0\n"
    );
}

#[tokio::test]
async fn nothing_runs_where_nobody_answers() {
    let Some(mut bench) = asked().await else {
        return;
    };

    for answer in [json!({"action": "decline"}), json!({"action": "cancel"})] {
        let call = bench
            .begin("ssh_exec", "echo ran > ran", as_root(plain()))
            .await;
        let (id, page) = Page::next(&mut bench.mcp).await;
        reply(&mut bench.mcp, &id, answer).await;
        assert_not_run(
            &result(&mut bench.mcp, call).await,
            &["asked for a password, and none was given", "SSH_ASKPASS"],
        );

        page.assert_gone().await;
    }

    let Some(mut bench) = open(SudoHostSettings::default(), plain(), plain()).await else {
        return;
    };

    for more in [
        plain(),
        json!({"pty": true}),
        json!({"background": true}),
        json!({"waitMs": 0}),
    ] {
        let result = bench.root("echo ran > ran", more.clone()).await;
        assert_not_run(&result, &["asked for a password, and none was given"]);
        eventually("sudo has ended", || bench.sshd.running("sudo").is_empty()).await;
        assert!(!bench.remote("ran").exists(), "{more}");
    }
}

#[tokio::test]
async fn a_password_that_was_typed_to_log_in_is_not_one_for_root() {
    let settings = SudoHostSettings {
        extra_config: BY_PASSWORD,
        ..SudoHostSettings::default()
    };

    let Some(mut host) = TestHost::sudo(&settings) else {
        return;
    };
    host.config = host
        .sshd
        .sshd
        .write_ssh_config("host", "PubkeyAuthentication no");
    let mut mcp = client_with(pages(), &host.config, host.folder()).await;
    let call = mcp.begin_call("ssh_connect", json!({"host": "host"})).await;
    page(&mut mcp).await.type_in(PASSWORD).await;
    result(&mut mcp, call).await.ok();

    let mut bench = ConnectedHost { mcp, host };

    assert_eq!(
        answered(&mut bench, "id -u", plain(), &[PASSWORD])
            .await
            .ok()
            .stdout(),
        "0\n"
    );

    drop(bench);

    // Nor is one that was given and not used.
    let given = json!({"password": PASSWORD});
    let Some(mut bench) = open(SudoHostSettings::default(), pages(), given).await else {
        return;
    };

    assert_eq!(
        answered(&mut bench, "id -u", plain(), &[PASSWORD])
            .await
            .ok()
            .stdout(),
        "0\n"
    );
}

#[tokio::test]
async fn a_given_password_goes_only_where_the_accounts_is_asked_for() {
    let settings = SudoHostSettings {
        extra_config: BY_PASSWORD,
        ..SudoHostSettings::default()
    };

    let Some(mut bench) = open(settings, pages(), json!({"password": PASSWORD})).await else {
        return;
    };

    assert_eq!(
        answered(&mut bench, "id -u", plain(), &[])
            .await
            .ok()
            .stdout(),
        "0\n"
    );

    bench.sshd.allow("ALL=(ALL) ALL", "Defaults rootpw");
    let call = bench.begin("ssh_exec", "id -u", as_root(plain())).await;

    for _ in 0..3 {
        let page = page(&mut bench.mcp).await;
        assert!(page.get().await.body.contains("[sudo] password for root: "));
        page.type_in("wrong").await;
    }

    assert_not_run(
        &result(&mut bench.mcp, call).await,
        &["3 incorrect password attempts"],
    );
}

#[tokio::test]
async fn the_time_of_a_person_is_not_the_commands() {
    let Some(mut bench) = asked().await else {
        return;
    };

    for limit in [
        json!({"timeoutMs": 1500}),
        json!({"waitMs": 0}),
        json!({"background": true}),
        json!({"waitMs": 1500}),
    ] {
        let call = bench
            .begin("ssh_exec", "id -u; sleep 600", as_root(limit.clone()))
            .await;
        let page = page(&mut bench.mcp).await;

        // Longer than any of these limits. A call that was over by now would be answered first.
        clock::pass(Duration::from_secs(30)).await;
        let next = bench.mcp.begin_call("ssh_sessions", plain()).await;
        let answer = bench.mcp.message().await.unwrap();
        assert_eq!(answer["id"], next, "{limit}: {answer}");
        page.type_in(PASSWORD).await;
        let result = result(&mut bench.mcp, call).await.ok();
        let expected = if limit["timeoutMs"].is_null() {
            "running"
        } else {
            "timedOut"
        };

        assert_eq!(status(&result), expected, "{limit}: {result:?}");
        if expected == "timedOut" {
            assert_eq!(result.stdout(), "0\n");
        }

        bench.mcp.call("ssh_disconnect", json!({})).await.ok();
        assert_eq!(bench.sshd.running("600"), [0; 0]);
    }
}

#[tokio::test]
async fn many_at_once_ask_once() {
    let Some(mut bench) = asked().await else {
        return;
    };
    let mut calls = Vec::new();
    for _ in 0..5 {
        calls.push(bench.begin("ssh_exec", "id -u", as_root(plain())).await);
    }

    page(&mut bench.mcp).await.type_in(PASSWORD).await;

    while !calls.is_empty() {
        let message = bench.mcp.message().await.unwrap();
        assert_ne!(message["method"], "elicitation/create", "{message}");

        if message["result"].is_object() {
            calls.retain(|call| message["id"] != *call);
            assert_eq!(ToolResult(message["result"].clone()).ok().stdout(), "0\n");
        }
    }
}

#[tokio::test]
async fn a_second_factor_is_another_question_and_is_not_kept() {
    let Some(mut bench) = asked().await else {
        return;
    };
    bench.sshd.ask_more();

    for _ in 0..2 {
        let call = bench
            .begin("ssh_exec", "id -u; cat", as_root(json!({"stdin": "mine"})))
            .await;

        for words in [
            "[sudo] password for ",
            "something more, such as a one-time code",
        ] {
            let page = page(&mut bench.mcp).await;
            let shown = page.get().await.body;
            assert!(
                shown.contains(words) && !shown.contains("Sorry"),
                "{words}: {shown}"
            );

            page.type_in(PASSWORD).await;
        }

        assert_eq!(result(&mut bench.mcp, call).await.ok().stdout(), "0\nmine");
    }
}

#[tokio::test]
async fn each_of_many_sessions_asks_for_itself() {
    let Some(mut bench) = asked().await else {
        return;
    };

    let call = bench
        .mcp
        .begin_call("ssh_connect", json!({"host": "host", "name": "other"}))
        .await;

    result(&mut bench.mcp, call).await.ok();
    let both = json!({"sessions": ["host", "other"]});
    let ran = answered(&mut bench, "id -u", both.clone(), &[PASSWORD, PASSWORD])
        .await
        .ok();
    assert_eq!(ran.blocks(), ["[sessions host, other]", "0\n", "[exit 0]"]);
    answered(&mut bench, "id -u", both, &[]).await.ok();
}

#[tokio::test]
async fn a_client_without_server_requests_comes_back_with_the_answer() {
    let Some(host) = TestHost::sudo(&SudoHostSettings::default()) else {
        return;
    };
    let mut mcp = McpClient::start_silent(&host.config, host.folder());
    let mut called = async |params: Value| {
        mcp.request("tools/call", stateless(&pages(), params)).await["result"].clone()
    };
    called(json!({"name": "ssh_connect", "arguments": {"host": "host"}})).await;
    let arguments = as_root(json!({"command": "id -u", "waitMs": 0}));
    let mut call = json!({"name": "ssh_exec", "arguments": arguments});
    let asks = called(call.clone()).await;
    assert_eq!(asks["resultType"], "input_required", "{asks}");
    Page::from_params(&asks["inputRequests"]["person"]["params"])
        .type_in(PASSWORD)
        .await;

    call["inputResponses"] = json!({"person": {"action": "accept"}});
    call["requestState"] = asks["requestState"].clone();
    // The output may be there before the command has ended.
    let begun = ToolResult(called(call).await).ok();
    let job = begun.outcome()["job"].clone();
    let done = called(json!({"name": "ssh_job", "arguments": {"job": job}})).await;
    let done = ToolResult(done).ok();
    assert_eq!(begun.stdout() + &done.stdout(), "0\n");
}

#[tokio::test]
async fn askpass_is_asked_where_the_client_cannot_be() {
    let Some(host) = TestHost::sudo(&SudoHostSettings::default()) else {
        return;
    };
    let (program, asked) = (host.local("askpass"), host.local("asked"));
    let answer = host.local("answer");
    fs::write(&answer, PASSWORD).unwrap();
    let script = format!(
        "#!/bin/sh\nprintf '%s' \"$1\" >> '{}'\ncat '{}'\n",
        asked.display(),
        answer.display()
    );

    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let mut mcp = McpClient::with_askpass(&host.config, host.folder(), &program).await;
    mcp.connect(json!({"host": "host"})).await;
    let mut bench = ConnectedHost { mcp, host };

    for _ in 0..2 {
        assert_eq!(bench.root("id -u", plain()).await.ok().stdout(), "0\n");
    }

    let words = format!("({USER}@127.0.0.1) to run as root: id -u\n[sudo] password for {USER}: ");
    assert_eq!(fs::read_to_string(&asked).unwrap(), words, "asked once");

    // All of what runs is shown, and the command can pass for nothing else.
    fs::write(&asked, "").unwrap();
    bench.mcp.call("ssh_disconnect", json!({})).await.ok();
    let long = format!("#!/bin/sh\n{}", "x".repeat(600));
    let more = json!({"cwd": "/", "env": {"LD_PRELOAD": "./a\n.so"}, "stdin": long});
    bench.root("true\nIn the directory: /safe", more).await.ok();

    let words = format!(
        "({USER}@127.0.0.1) to run as root\nIn the directory: /\nWith the variable: LD_PRELOAD=./a\\n.so\n\
         It reads 610 bytes from stdin: #!/bin/sh\\n{}… (111 more characters follow)\n\
         The command: true\nIn the directory: /safe\n[sudo] password for {USER}: ",
        "x".repeat(489)
    );

    assert_eq!(fs::read_to_string(asked).unwrap(), words);
}
