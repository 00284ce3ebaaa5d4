//! One command in many sessions: answers that are the same are shown once, patterns name sessions, and few log in at a time.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::{
    checks::{all_is_saved, eventually},
    fake_sshd::FakeSshdSettings,
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
    open_sshd::OpenSshd,
    processes::running,
};

/// The real sshd, and saved sessions of these names, in whose commands `$NAME` is the name.
async fn fleet(names: &[String]) -> ConnectedHost<OpenSshd> {
    let bench = TestHost::openssh_with(|settings| {
        settings.extra_config.push_str("\nAcceptEnv NAME");
        settings.max_startups = "100";
    })
    .connect()
    .await;

    let host = fs::read_to_string(&bench.config).unwrap();
    let blocks = names
        .iter()
        .map(|name| format!("Host {name}\nSetEnv NAME={name}\n"));

    let each = format!("Host host {}\n", names.join(" "));
    let config = blocks.collect::<String>() + &host.replace("Host host\n", &each);
    fs::write(&bench.config, config).unwrap();
    all_is_saved(&bench.local("sessions.json")).await;
    save(bench.folder(), names, |name| name);

    bench
}

fn names(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("w{number:02}")).collect()
}

/// Saves sessions as another process would.
fn save<'a>(folder: &Path, names: &'a [String], host: impl Fn(&'a str) -> &'a str) {
    let sessions = names
        .iter()
        .map(|name| json!({"name": name, "host": host(name)}));

    let store = json!({"version": 1, "sessions": sessions.collect::<Vec<_>>()});
    fs::write(folder.join("sessions.json"), store.to_string()).unwrap();
}

fn outcomes(result: &ToolResult) -> Vec<Value> {
    result.0["_meta"]["mcp-ssh-sessions/outcomes"]
        .as_array()
        .unwrap()
        .clone()
}

fn sessions(result: &ToolResult) -> Vec<String> {
    outcomes(result)
        .iter()
        .map(|outcome| outcome["session"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn same_answers_are_shown_once_and_failures_first() {
    let mut bench = fleet(&names(6)).await;
    let command = "case $NAME in w02|w05) echo out; echo bad >&2; exit 3;; w04) exec sleep 7320;; \
                   w06) echo other;; *) echo same;; esac";
    let asked = ["w06", "w01", "none", "w02", "w03", "w04", "w05"];
    let arguments = json!({"command": command, "sessions": asked, "waitMs": 6000});
    let result = bench.mcp.call("ssh_exec", arguments).await.ok();

    assert_eq!(sessions(&result), asked);
    let outcomes = outcomes(&result);
    assert_eq!(
        (&outcomes[3]["exitCode"], &outcomes[5]["status"]),
        (&json!(3), &json!("running"))
    );
    let job = outcomes[5]["job"].as_str().unwrap().to_owned();

    let kinds = &result.0["_meta"]["mcp-ssh-sessions/blocks"];
    let expected = [
        ("session", "[session none]"),
        ("error", "there is no session \"none\""),
        ("session", "[sessions w02, w05]"),
        ("stdout", "out\n"),
        ("stderr", "[stderr]\nbad\n"),
        ("status", "[exit 3]"),
        ("session", "[session w04]"),
        ("status", &format!("[running · job {job} · ")),
        ("session", "[sessions w01, w03]"),
        ("stdout", "same\n"),
        ("status", "[exit 0]"),
        ("session", "[session w06]"),
        ("stdout", "other\n"),
        ("status", "[exit 0"),
    ];

    let blocks = result.blocks();
    assert_eq!(blocks.len(), expected.len(), "{blocks:?}");
    for ((place, block), (kind, beginning)) in blocks.iter().enumerate().zip(expected) {
        assert_eq!(kinds[place], kind);
        assert!(
            block.starts_with(beginning),
            "{block:?} is not {beginning:?}"
        );
    }

    bench.job(&job, json!({"signal": "KILL"})).await;
}

#[tokio::test]
async fn each_job_of_a_group_is_named_beside_its_session() {
    let mut bench = fleet(&names(3)).await;
    let command = "echo begun; exec sleep 7321";
    let arguments = json!({"command": command, "sessions": ["w*"], "waitMs": 6000});
    let result = bench.mcp.call("ssh_exec", arguments).await.ok();

    let outcomes = outcomes(&result);
    let each: Vec<_> = outcomes
        .iter()
        .map(|outcome| {
            let [session, job] = ["session", "job"].map(|key| outcome[key].as_str().unwrap());
            format!("{session} (job {job})")
        })
        .collect();

    let blocks = result.blocks();
    assert_eq!(
        blocks[..2],
        [
            format!("[sessions {}]", each.join(", ")),
            "begun\n".to_owned()
        ]
    );
    assert!(
        blocks[2].starts_with("[running · ") && blocks[2].contains("ssh_job"),
        "{blocks:?}"
    );
    assert!(
        !blocks[2].contains(" s ·") && blocks.len() == 3,
        "{blocks:?}"
    );

    for outcome in &outcomes {
        let ended = bench
            .job(outcome["job"].as_str().unwrap(), json!({"signal": "KILL"}))
            .await;
        assert_eq!(ended.outcome()["session"], outcome["session"]);
    }

    assert_eq!(running(bench.sshd.port(), "7321"), [0; 0]);
}

#[tokio::test]
async fn a_common_timeout_says_when_and_a_common_exit_does_not() {
    let mut bench = fleet(&names(2)).await;
    for (command, beginning) in [
        (
            "exec sleep 7322",
            "[timed out and was stopped, its processes are gone · ",
        ),
        ("exit 9", "[exit 9]"),
    ] {
        let arguments = json!({"command": command, "sessions": ["w01", "w02"], "timeoutMs": 2500});
        let result = bench.mcp.call("ssh_exec", arguments).await.ok();
        let blocks = result.blocks();
        assert_eq!(
            (blocks.len(), blocks[0].as_str()),
            (2, "[sessions w01, w02]"),
            "{blocks:?}"
        );
        assert!(blocks[1].starts_with(beginning), "{blocks:?}");
    }
}

#[tokio::test]
async fn a_common_answer_is_whole_and_different_ones_share() {
    let names = names(12);
    let mut bench = fleet(&names).await;
    let whole = (1..=4000)
        .map(|number| number.to_string() + "\n")
        .collect::<String>();
    let arguments = json!({"command": "seq 4000", "sessions": ["w*"]});
    let result = bench.mcp.call("ssh_exec", arguments).await.ok();
    let heading = format!("[sessions {}]", names.join(", "));
    assert_eq!(result.blocks(), [&heading, &whole, "[exit 0]"]);
    assert!(
        outcomes(&result)
            .iter()
            .all(|outcome| outcome["truncated"] == false)
    );

    let arguments = json!({"command": "seq 100000; echo $NAME; exit 4", "sessions": ["w*"]});
    let result = bench.mcp.call("ssh_exec", arguments).await.ok();
    let length = result.text().len();
    assert!((35_000..=40_000).contains(&length), "{length}");
    assert_eq!(sessions(&result), names);

    for (blocks, outcome) in result.blocks().chunks(3).zip(outcomes(&result)) {
        let session = outcome["session"].as_str().unwrap();
        let file = outcome["outputFile"].as_str().unwrap();
        assert_eq!(blocks[0], format!("[session {session}]"));
        assert!(
            blocks[1].ends_with(&format!("100000\n{session}\n")),
            "{blocks:?}"
        );
        assert!(
            blocks[2].starts_with("[exit 4 · ") && blocks[2].contains(file),
            "{blocks:?}"
        );
        assert_eq!(outcome["truncated"], true);
        assert!(
            fs::read_to_string(file)
                .unwrap()
                .ends_with(&format!("100000\n{session}\n"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_stand_for_sessions_and_hosts_of_ssh_config() {
    let world = TestHost::fake();
    let saved = ["web2", "web1", "db", "web10"].map(str::to_owned);
    save(world.folder(), &saved, |_| "box");
    let mut client = world.client().await;
    let connected = json!({"host": "box", "name": "web3"});
    client.call("ssh_connect", connected).await.ok();

    for (asked, ran) in [
        (json!(["web*"]), &["web1", "web10", "web2", "web3"][..]),
        (json!(["web?"]), &["web1", "web2", "web3"]),
        (
            json!(["web2", "*b*", "web2"]),
            &["web2", "box", "db", "web1", "web10", "web3"],
        ),
        (json!(["none", "d?"]), &["none", "db"]),
    ] {
        let arguments = json!({"command": "true", "sessions": asked});
        let result = client.call("ssh_exec", arguments).await.ok();
        assert_eq!(sessions(&result), ran, "{asked}");
    }

    let run = json!({"command": "echo ran-nowhere", "sessions": ["db", "mail*"]});
    let refused = client.call("ssh_exec", run).await;
    assert!(refused.is_error() && refused.text().contains("no session matches \"mail*\""));
    assert!(refused.text().contains("\nhint: call ssh_sessions"));
    assert_eq!(world.received("ran-nowhere"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_for_too_many_sessions_runs_nowhere() {
    let world = TestHost::fake();
    let saved: Vec<_> = (0..201).map(|number| format!("s{number}")).collect();
    save(world.folder(), &saved, |_| "box");
    let mut client = world.client().await;
    let run = |sessions: &[&str]| json!({"command": "true", "sessions": sessions});

    let refused = client.call("ssh_exec", run(&["s*"])).await;
    let text = refused.text();
    assert!(
        refused.is_error() && text.contains("1 to 200 sessions"),
        "{text}"
    );
    assert!(text.contains("these are 201"), "{text}");
    assert_eq!(world.sshd.connections(), 0);

    // A session counts once, however often it is named.
    client.call("ssh_exec", run(&["s1"; 201])).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_needs_a_store_that_can_be_read() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    client
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok();
    let store = world.folder().join("sessions.json");
    all_is_saved(&store).await;
    fs::remove_file(&store).unwrap();
    fs::create_dir(&store).unwrap();

    let run = |session: &str| json!({"command": "true", "sessions": [session]});
    let refused = client.call("ssh_exec", run("b*")).await;
    assert!(
        refused.is_error() && refused.text().contains("sessions.json"),
        "{}",
        refused.text()
    );
    client.call("ssh_exec", run("box")).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_sixteen_log_in_at_a_time() {
    let let_in = Arc::new(Notify::new());
    let world = TestHost::fake_with(
        FakeSshdSettings {
            no_proof_after: Some(Arc::clone(&let_in)),
            ..FakeSshdSettings::default()
        },
        "",
    );

    let names = names(40);
    save(world.folder(), &names, |_| "box");
    let mut client = world.client().await;
    let first = client
        .begin_call("ssh_connect", json!({"host": "box", "name": "here"}))
        .await;
    let_in.notify_one();
    client.finish(first).await.ok();

    let here = world.sshd.home().join("here");
    let arguments = json!({"command": "touch here; echo ran", "sessions": ["w*", "here"]});
    let call = client.begin_call("ssh_exec", arguments).await;

    // One log-in has ended before: that of the session which is connected already, and which waits
    // for nobody.
    let log_ins = || world.sshd.attempts().len() - 1;
    eventually("16 wait to be let in", || log_ins() == 16).await;
    eventually("the connected session ran", || here.exists()).await;

    for admitted in 1..=24 {
        assert_eq!(world.sshd.connections() - 1, 15 + admitted);
        let_in.notify_one();
        eventually("the next logs in", || log_ins() == 16 + admitted).await;
    }

    let deadline = Instant::now() + Duration::from_secs(60);
    let finish = client.finish(call);
    tokio::pin!(finish);
    let result = loop {
        let_in.notify_one();
        assert!(Instant::now() < deadline, "not all were let in");
        tokio::select! {
            result = &mut finish => break result.ok(),
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
    };

    assert_eq!(outcomes(&result).len(), 41);
    assert!(
        outcomes(&result)
            .iter()
            .all(|outcome| outcome["exitCode"] == 0)
    );
}
