//! A table of local paths, each refused or moved.

use std::{fs, path::Path};

use serde_json::json;

use super::{AtHome, assert_guarded};

const KEYS: &str = "SSH keeps its keys";
const SECRETS: &str = "passwords or tokens";
const STARTUP: &str = "when they start";
const AGENT: &str = "agents and their tools";
const VERSIONS: &str = "version control";

/// A path, in which `~` is the home and `@` the folder of the test, and why it is refused.
type Row = (&'static str, Option<&'static str>);

const SENT: &[Row] = &[
    ("~/.ssh", Some(KEYS)),
    ("~/.ssh/", Some(KEYS)),
    ("~/.ssh/.", Some(KEYS)),
    ("~/.ssh/config", Some(KEYS)),
    ("~/.ssh/id_ed25519", Some(KEYS)),
    ("~/project/../.ssh/config", Some(KEYS)),
    ("~//./project/..//.ssh/config", Some(KEYS)),
    ("~/linked/config", Some(KEYS)),
    ("~/linked", Some(KEYS)),
    ("~/project/linked key", Some(KEYS)),
    ("~/project/hard", Some("under another name")),
    ("~/project/hard netrc", Some(SECRETS)),
    ("/proc/self/root~/.ssh/config", Some(KEYS)),
    ("~/notes.txt", Some("private key (OpenSSH)")),
    ("~/.aws", Some(SECRETS)),
    ("~/.aws/credentials", Some(SECRETS)),
    ("~/.netrc", Some(SECRETS)),
    ("~/.npmrc", Some(SECRETS)),
    ("~/.kube/config", Some(SECRETS)),
    ("~/.claude.json", Some(SECRETS)),
    ("~/.codex/auth.json", Some(SECRETS)),
    ("@/token", Some("own data")),
    ("~/.ssh-mcp-sessions.json", Some("own data")),
    ("/etc/shadow", Some("who may log in")),
    ("/proc/self/environ", Some("environment of a process")),
    (
        "/proc/self/task/../environ",
        Some("environment of a process"),
    ),
    ("~/project/readme", None),
    ("~/project/.npmrc", None),
    ("~/project/.git/config", None),
    ("~/.dotfiles/bashrc", None),
    ("~/.bashrc", None),
    ("/proc/self/status", None),
    ("@/linked config", None),
];

const WRITTEN: &[Row] = &[
    ("~/.ssh/config", Some(KEYS)),
    ("~/.ssh/new", Some(KEYS)),
    ("~/.ssh", Some(KEYS)),
    ("~/linked/config", Some(KEYS)),
    ("~/project/linked key", Some(KEYS)),
    ("~/project/hard", Some("under another name")),
    ("~/.bashrc", Some(STARTUP)),
    ("~/.dotfiles/bashrc", Some(STARTUP)),
    ("~/.BASHRC", Some(STARTUP)),
    ("~/project/../.zshenv", Some(STARTUP)),
    ("~/.profile", Some(STARTUP)),
    ("~/.gitconfig", Some(VERSIONS)),
    ("~/.config/git/config", Some(VERSIONS)),
    ("~/.mcp.json", Some(AGENT)),
    ("~/.claude.json", Some(AGENT)),
    ("~/AGENTS.md", Some(AGENT)),
    ("~/.codex/config.toml", Some(AGENT)),
    ("~/project/.mcp.json", Some(AGENT)),
    ("~/project/.git/config", Some(VERSIONS)),
    ("~/project/.git/hooks/pre-commit", Some(VERSIONS)),
    ("~/project/.git/hooks/new", Some(VERSIONS)),
    ("~/project/.git/hooks", Some(VERSIONS)),
    ("~/tools/ls", Some("by their name")),
    ("~/tools", Some("by their name")),
    ("~/.kube/config", Some(SECRETS)),
    ("@/linked config", Some("SSH configuration")),
    ("@/more/new.conf", Some("SSH configuration")),
    ("@/token", Some("own data")),
    ("~/.ssh-mcp-sessions.json", Some("own data")),
    ("~/..ssh-mcp-sessions.json.lock", Some("own data")),
    ("~/.ssh-mcp-sessions.json.unreadable-1", Some("own data")),
    ("~/state/mcp-ssh-sessions/output/x", Some("own data")),
    ("/etc/cron.d/mcp-ssh-sessions-test", Some("by itself")),
    ("~/project/new", None),
    ("~/project/AGENTS.md", None),
    ("~/project/.git/description", None),
    ("~/project", None),
    ("~/.config/other", None),
    ("@/more/new.txt", None),
];

fn path(row: &str, at: &AtHome) -> String {
    row.replace('~', &at.home.display().to_string())
        .replace('@', &at.bench.folder().display().to_string())
}

#[tokio::test]
async fn each_path_is_sent_or_refused() {
    let mut at = AtHome::new().await;

    for (row, why) in SENT {
        let path = path(row, &at);

        // Not every system has these.
        if !Path::new(&path).exists() && (row.starts_with("/etc") || row.starts_with("/proc")) {
            continue;
        }

        let result = at.upload(&path).await;
        match why {
            Some(why) => assert_guarded(&result, why),
            None => assert!(!result.is_error(), "{row}: {}", result.text()),
        }

        let arrived = at.bench.remote("arrived");
        assert_eq!(arrived.exists(), why.is_none(), "{row}");
        let _ = fs::remove_file(arrived);
    }

    // What a command has printed is the agent's already.
    let output = at
        .program
        .call("ssh_exec", json!({"command": "seq 100000"}))
        .await
        .ok();

    let file = output.outcome()["outputFile"].as_str().unwrap().to_owned();
    at.upload(&file).await.ok();

    // Here the home of the list of users is another than that of the environment.
    let listed = nix_home();

    if listed.join(".ssh").is_dir() {
        assert_guarded(
            &at.upload(&listed.join(".ssh").display().to_string()).await,
            KEYS,
        );
    }
}

#[tokio::test]
async fn each_path_is_written_to_or_refused() {
    let mut at = AtHome::new().await;

    for (row, why) in WRITTEN {
        let path = path(row, &at);
        let before = fs::read(&path).ok();

        if Path::new(&path)
            .parent()
            .is_none_or(|folder| !folder.is_dir())
            && path.starts_with("/etc")
        {
            continue;
        }

        let _ = fs::create_dir_all(Path::new(&path).parent().unwrap());
        let result = at.download("payload", &path).await;
        let now = fs::read(&path).ok();

        match why {
            Some(why) => {
                assert_guarded(&result, why);
                assert_eq!(now, before, "{row}");
            }
            None => assert!(!result.is_error(), "{row}: {}", result.text()),
        }
    }

    assert!(!at.home.join("tools/payload").exists() && !at.home.join(".ssh/payload").exists());
    assert!(at.home.join("project/payload").exists());

    // OpenSSH looks into the home of the list of users, whatever the environment says.
    let listed = nix_home().join(".bashrc");
    let before = fs::read(&listed).ok();
    assert_guarded(
        &at.download("payload", &listed.display().to_string()).await,
        STARTUP,
    );

    assert_eq!(fs::read(&listed).ok(), before);
}

fn nix_home() -> std::path::PathBuf {
    nix::unistd::User::from_uid(nix::unistd::Uid::effective())
        .unwrap()
        .unwrap()
        .dir
}
