//! What the last connection showed of an account saves round trips, and is checked each time.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::support::{
    checks::{code, eventually},
    fake_sshd::{FakeSshd, FakeSshdSettings},
    fixture::TestHost,
    keys,
    mcp_client::{McpClient, ToolResult},
    open_sshd::OpenSshd,
    programs,
};

/// The shells that announce a process.
const SHELLS: [&str; 6] = ["bash", "dash", "ksh", "zsh", "fish", "tcsh"];

/// One shell of each family.
const FAMILIES: [&str; 3] = ["dash", "fish", "tcsh"];

/// The real sshd with a login shell that the test can change.
struct Host {
    test: TestHost<OpenSshd>,
    /// What sshd runs for every command.
    front: PathBuf,
    /// The commands that were received, each on a line.
    log: PathBuf,
    /// Probes wait until this file is there.
    answers: PathBuf,
}

impl Host {
    fn start(shell: &str) -> Self {
        let mut front = PathBuf::new();
        let host = TestHost::openssh_at(|settings, home| {
            front = home.join("front");
            settings.extra_config.push_str("\nForceCommand ");
            settings.extra_config.push_str(front.to_str().unwrap());
        });

        let new = Self {
            front,
            log: host.remote("log"),
            answers: host.remote("answers"),
            test: host,
        };
        fs::write(&new.answers, "").unwrap();
        new.runs(&login(shell));

        new
    }

    /// From now on, this script gets each command.
    fn runs(&self, script: &str) {
        let (log, answers) = (self.log.display(), self.answers.display());
        let text = format!(
            "#!/bin/sh\n\
             printf '%s\\n' \"$SSH_ORIGINAL_COMMAND\" >>{log}\n\
             case $SSH_ORIGINAL_COMMAND in *mcp-ssh-sessions:*)\n\
             i=0; while [ ! -e {answers} ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done; sleep 0.2;;\n\
             esac\n{script}\n"
        );
        fs::write(&self.front, text).unwrap();
        fs::set_permissions(&self.front, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Waits until the store knows the login shell, or knows that there is none.
    async fn knows_shell(&self, known: bool) {
        eventually("the store has what answered", || {
            account(&self.test).is_some_and(|account| account["shell"].is_object() == known)
        })
        .await;
    }

    /// Returns the last received line that contains a text.
    fn last(&self, text: &str) -> Option<String> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let line = log.lines().rfind(|line| line.contains(text));
        line.map(str::to_owned)
    }

    /// Counts the received lines that contain a text.
    fn received(&self, text: &str) -> usize {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter(|line| line.contains(text)).count()
    }
}

/// A script that runs a command as sshd runs it with this login shell.
fn login(shell: &str) -> String {
    let shell = programs::shell(shell);
    format!("exec {} -c \"$SSH_ORIGINAL_COMMAND\"", shell.display())
}

/// What a shell is called by the facts. `SHELL` is another one here, and csh does not tell its program.
fn name(shell: &str) -> &str {
    if shell == "tcsh" { "csh" } else { shell }
}

/// What the store holds of the only account of the only server.
fn account<S>(host: &TestHost<S>) -> Option<Value> {
    let store = fs::read(host.local("sessions.json")).ok()?;
    let store: Value = serde_json::from_slice(&store).ok()?;
    let (_, server) = store["servers"].as_object()?.iter().next()?;
    let (_, account) = server["accounts"].as_object()?.iter().next()?;
    Some(account.clone())
}

/// Runs a command in a session that is not connected yet.
async fn first(mcp: &mut McpClient, command: &str) -> ToolResult {
    mcp.call("ssh_exec", json!({"session": "host", "command": command}))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_command_does_not_wait_for_a_known_shell() {
    for shell in SHELLS {
        let host = Host::start(shell);
        let mut mcp = host.test.client().await;
        assert_eq!(first(&mut mcp, "echo one").await.stdout(), "one\n");
        host.knows_shell(true).await;

        fs::remove_file(&host.answers).unwrap();
        let mut again = host.test.client().await;
        let connected = again.call("ssh_connect", json!({"host": "host"})).await;
        let facts = connected.structured()["session"].clone();
        let program = facts["shell"].as_str().unwrap_or_default();
        assert!(program.starts_with(name(shell)), "{shell}: {facts}");

        let result = first(&mut again, "echo two; sh -c 'echo err >&2; exit 3'").await;
        assert_eq!(
            (
                result.stdout().as_str(),
                result.stderr().as_str(),
                code(&result)
            ),
            ("two\n", "err\n", Some(3)),
            "{shell}: {result:?}"
        );

        // What something else could read still waits for the answer.
        let input = json!({"session": "host", "command": "cat", "stdin": "input"});
        let waiting = again.begin_call("ssh_exec", input).await;
        assert_eq!(host.received("cat"), 0, "{shell}");
        fs::write(&host.answers, "").unwrap();
        let answered = again.finish(waiting).await;
        assert_eq!(answered.stdout(), "input", "{shell}: {answered:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_shell_runs_the_first_command_once() {
    for old in FAMILIES {
        let host = Host::start(old);
        let mut mcp = host.test.client().await;
        first(&mut mcp, "echo one").await;
        host.knows_shell(true).await;

        for new in FAMILIES {
            host.runs(&login(old));
            let mut mcp = host.test.client().await;
            first(&mut mcp, "true").await;
            eventually("the old shell is known", || {
                let known = account(&host.test).unwrap_or_default();
                known["shell"]["probe"]["program"]
                    .to_string()
                    .contains(name(old))
            })
            .await;

            host.runs(&login(new));
            let ran = host.test.remote("ran");
            let _ = fs::remove_file(&ran);
            let command = format!("echo hi; sh -c 'echo once >>{}'", ran.display());
            let mut mcp = host.test.client().await;

            for number in 0..2 {
                let result = first(&mut mcp, &command).await;
                assert_eq!(
                    (result.stdout().as_str(), code(&result)),
                    ("hi\n", Some(0)),
                    "{old} to {new}: {result:?}"
                );

                // csh complains about the lines for fish, and goes on with the command.
                let complains = number == 0 && (old, new) == ("fish", "tcsh");
                assert_eq!(
                    !result.stderr().is_empty(),
                    complains,
                    "{old} to {new}: {result:?}"
                );
            }

            assert_eq!(
                fs::read_to_string(&ran).unwrap(),
                "once\nonce\n",
                "{old} to {new}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_lines_wait_for_the_answer_of_the_shell() {
    let host = Host::start("bash");
    let mut mcp = host.test.client().await;
    first(&mut mcp, "true").await;
    host.knows_shell(true).await;

    // csh would run the second line after an error in the first.
    host.runs(&login("tcsh"));
    let mut again = host.test.client().await;
    let result = first(&mut again, "echo one\necho two").await;
    assert_eq!(result.stdout(), "one\ntwo\n", "{result:?}");
    assert_eq!(host.received("echo two"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_forced_since_then_is_sent_no_second_one() {
    for (script, stdout, status) in [
        (
            "case $SSH_ORIGINAL_COMMAND in *nproc) echo forced;; *) echo other;; esac",
            "forced\n",
            Some(0),
        ),
        ("echo 'not for you'; exit 4", "not for you\n", Some(4)),
    ] {
        let host = Host::start("bash");
        let mut mcp = host.test.client().await;
        first(&mut mcp, "true").await;
        host.knows_shell(true).await;

        host.runs(script);
        let mut again = host.test.client().await;
        let result = first(&mut again, "nproc").await;
        assert_eq!(
            (result.stdout().as_str(), code(&result)),
            (stdout, status),
            "{result:?}"
        );
        assert_eq!(host.received("nproc"), 1, "{script}");
        let says_why = result.text().contains("of the last connection")
            || result.text().contains("or only certain ones");
        assert!(says_why, "{result:?}");

        first(&mut again, "nproc").await;
        assert_eq!(host.last("nproc").as_deref(), Some("nproc"));
        host.knows_shell(false).await;

        // Nothing is sent on trust any more.
        let mut third = host.test.client().await;
        first(&mut third, "nproc --all").await;
        assert_eq!(host.last("nproc --all").as_deref(), Some("nproc --all"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_answers_all_alike_is_no_shell() {
    let host = Host::start("bash");
    let mut mcp = host.test.client().await;
    first(&mut mcp, "true").await;
    host.knows_shell(true).await;

    host.runs("echo 'a menu'");
    let mut again = host.test.client().await;
    let result = first(&mut again, "nproc").await;
    assert!(
        result.is_error() && result.text().contains("was not run"),
        "{result:?}"
    );
    assert_eq!(host.received("nproc"), 1);
}

#[tokio::test]
async fn damage_in_the_memory_costs_nothing() {
    let host = Host::start("bash");
    let mut mcp = host.test.client().await;
    first(&mut mcp, "true").await;
    host.knows_shell(true).await;
    let store = host.test.local("sessions.json");
    let whole: Value = host.test.store();

    let damages: [fn(&mut Value); 6] = [
        |server| *server = json!(7),
        |server| server["accounts"] = json!(["x"]),
        |server| each_account(server, |account| account["shell"] = json!({"probe": 1})),
        |server| {
            each_account(server, |account| {
                account["shell"]["probe"]["shell"] = "fish".into();
            });
        },
        |server| {
            each_account(server, |account| {
                account["shell"]["answer"] = "\u{1b}[2J".into();
            });
        },
        |server| {
            each_account(server, |account| {
                account["key"]["accepted"] = "SHA256:x".into();
            });
        },
    ];

    for (number, damage) in damages.into_iter().enumerate() {
        let mut broken = whole.clone();
        broken["servers"]
            .as_object_mut()
            .unwrap()
            .values_mut()
            .for_each(damage);
        write_private(&store, &broken.to_string());

        let mut again = host.test.client().await;
        let result = first(&mut again, "echo hi").await;
        assert_eq!(result.stdout(), "hi\n", "{number}: {result:?}");
    }
}

fn each_account(server: &mut Value, change: impl Fn(&mut Value)) {
    let accounts = server["accounts"].as_object_mut().unwrap();
    accounts.values_mut().for_each(change);
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn the_key_that_was_accepted_is_shown_first() {
    let bench = TestHost::fake_with(FakeSshdSettings::default(), "");
    let (first_key, second_key) = (bench.local("first"), bench.local("second"));
    for path in [&first_key, &second_key] {
        keys::write_private_key(path, &keys::ed25519(), None);
    }
    let identity = |path: &Path| format!("IdentityFile {}\n", path.display());
    let config = fs::read_to_string(&bench.config).unwrap();
    let with_keys = |more: &str| format!("{more}{config}");
    let tried = |bench: &TestHost<FakeSshd>, from: usize| bench.sshd.attempts()[from..].join(" ");

    // The configured order, as nothing is known.
    fs::write(&bench.config, with_keys(&identity(&first_key))).unwrap();
    let mut mcp = bench.client().await;
    assert!(!first(&mut mcp, "true").await.is_error());
    assert_eq!(tried(&bench, 0), "none offer offer publickey");
    eventually("the store has the key", || {
        account(&bench).is_some_and(|account| account["key"]["refused"].is_array())
    })
    .await;

    let before = bench.sshd.attempts().len();
    let mut again = bench.client().await;
    assert!(!first(&mut again, "true").await.is_error());
    assert_eq!(tried(&bench, before), "offer publickey");

    // A key that the server has not seen keeps its place before the known one.
    let both = identity(&second_key) + &identity(&first_key);
    fs::write(&bench.config, with_keys(&both)).unwrap();
    let before = bench.sshd.attempts().len();
    let mut third = bench.client().await;
    assert!(!first(&mut third, "true").await.is_error());
    assert_eq!(tried(&bench, before), "none offer offer offer publickey");
    eventually("the store has both refused keys", || {
        account(&bench).is_some_and(|account| account["key"]["refused"][1].is_string())
    })
    .await;

    let before = bench.sshd.attempts().len();
    let mut fourth = bench.client().await;
    assert!(!first(&mut fourth, "true").await.is_error());
    assert_eq!(tried(&bench, before), "offer publickey");

    // Another host key is another server, of which nothing is known.
    let new = bench.sshd.replace_host_key();
    bench.sshd.drop_connections();
    let line = keys::known_hosts_line(bench.port, &new);
    fs::write(bench.local("known_hosts"), line).unwrap();
    let before = bench.sshd.attempts().len();
    let mut fifth = bench.client().await;
    assert!(!first(&mut fifth, "true").await.is_error());
    assert_eq!(tried(&bench, before), "none offer offer offer publickey");
}

#[tokio::test]
async fn a_key_that_is_refused_now_leads_to_the_others() {
    let accepted = keys::ed25519();
    let settings = FakeSshdSettings {
        authorized_keys: vec![accepted.public_key().clone()],
        ..FakeSshdSettings::default()
    };
    let bench = TestHost::fake_with(settings, "");
    let other = bench.local("other");
    keys::write_private_key(&other, &accepted, None);

    let mut mcp = bench.client().await;
    assert!(!first(&mut mcp, "true").await.is_error());
    eventually("the store has the key", || {
        account(&bench).is_some_and(|account| account["key"].is_object())
    })
    .await;

    // Another key in the same place, and then the one that the server accepts, too.
    keys::write_private_key(&bench.key(), &keys::ed25519(), None);
    let config = fs::read_to_string(&bench.config).unwrap();
    let own = format!("IdentityFile {}\n", bench.key().display());
    let both = config.replace(&own, &format!("{own}IdentityFile {}\n", other.display()));
    fs::write(&bench.config, both).unwrap();
    let mut again = bench.client().await;
    let result = first(&mut again, "echo hi").await;
    assert_eq!(result.stdout(), "hi\n", "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_accounts_of_a_host_are_apart() {
    let host = Host::start("bash");
    let mut mcp = host.test.client().await;
    assert_eq!(first(&mut mcp, "echo one").await.stdout(), "one\n");
    host.knows_shell(true).await;

    // The same server and key, and another account.
    let mut store = host.test.store();
    let (_, server) = store["servers"]
        .as_object_mut()
        .unwrap()
        .iter_mut()
        .next()
        .unwrap();
    let accounts = server["accounts"].as_object_mut().unwrap();
    let known: Vec<Value> = accounts.values().cloned().collect();
    accounts.clear();
    accounts.insert("somebody".to_owned(), known[0].clone());
    write_private(&host.test.local("sessions.json"), &store.to_string());

    fs::remove_file(&host.answers).unwrap();
    let mut again = host.test.client().await;
    let waiting = json!({"session": "host", "command": "echo waits"});
    let waiting = again.begin_call("ssh_exec", waiting).await;
    eventually("the shell is asked", || {
        host.received("mcp-ssh-sessions:") > 1
    })
    .await;
    assert_eq!(host.received("waits"), 0);

    fs::write(&host.answers, "").unwrap();
    assert_eq!(again.finish(waiting).await.stdout(), "waits\n");
    eventually("both accounts are known", || {
        let store = host.test.store();
        let servers = store["servers"].as_object().unwrap().clone();
        let accounts = servers.into_iter().next().unwrap().1["accounts"].clone();
        accounts.as_object().unwrap().len() == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_log_in_forgets_what_was_known() {
    let host = Host::start("bash");
    let mut mcp = host.test.client().await;
    first(&mut mcp, "true").await;
    host.knows_shell(true).await;

    let before = host.received("mcp-ssh-sessions:");
    let fresh = json!({"session": "host", "fresh": true});
    assert!(!mcp.call("ssh_reconnect", fresh).await.is_error());
    let result = first(&mut mcp, "echo hi").await;
    assert_eq!(result.stdout(), "hi\n", "{result:?}");
    assert_eq!(host.received("mcp-ssh-sessions:"), before + 1);
}
