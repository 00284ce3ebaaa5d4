//! The command `hook`: the answer to each call that a client describes.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

const SETTINGS: &str = "
    host.'prod-*'.access = 'read'
    host.staging.run = 'ask'
    host.closed.connect = 'never'
";

const SSH_CONFIG: &str = "
Host web
HostName web.example.com
Host prod-1
HostName 10.0.0.1
Host staging
HostName staging.example.com
Host closed
HostName 192.0.2.9
Host db
HostName prod-db
Host behind
HostName behind.example.com
ProxyJump bob@closed:22
Host far
HostName far.example.com
ProxyJump behind
";

/// Settings, an SSH configuration and saved sessions.
struct Files {
    folder: TempDir,
    settings: Option<PathBuf>,
}

/// The client that describes a call.
#[derive(Debug, Clone, Copy)]
enum Client {
    Claude,
    Codex,
    /// Codex when it is about to ask.
    CodexAsks,
}

impl Files {
    /// With these settings, or without a file.
    fn new(settings: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("ssh_config"), SSH_CONFIG).unwrap();

        let sessions = [
            ("api", "web"),
            ("live", "bob@prod-1"),
            ("plain", "10.0.0.1"),
        ]
        .map(|(name, host)| json!({"name": name, "host": host}));
        let store = json!({"version": 1, "sessions": sessions});
        fs::write(path("sessions.json"), store.to_string()).unwrap();

        let settings = settings.map(|text| {
            let file = path("settings.toml");
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            file
        });

        Self { folder, settings }
    }

    /// Runs the hook with this input.
    fn run(&self, input: &[u8]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-ssh-sessions"));
        command
            .env_clear()
            .env("HOME", self.folder.path())
            .env("MCP_SSH_CONFIG", self.folder.path().join("ssh_config"))
            .env("MCP_SSH_STORE", self.folder.path().join("sessions.json"))
            .arg("hook");

        if let Some(settings) = &self.settings {
            command.arg("--settings").arg(settings);
        }

        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();

        child.wait_with_output().unwrap()
    }

    /// The answer in short: a decision and its reason, or `nothing`.
    fn answer(&self, client: Client, tool: &str, input: &Value) -> String {
        let mut call = json!({
            "session_id": "s",
            "cwd": "/",
            "permission_mode": "default",
            "hook_event_name": "PreToolUse",
            "tool_name": tool,
            "tool_input": input,
        });

        match client {
            Client::Claude => {}
            Client::Codex => call["turn_id"] = json!("t"),
            Client::CodexAsks => {
                call["turn_id"] = json!("t");
                call["hook_event_name"] = json!("PermissionRequest");
            }
        }

        let output = self.run(call.to_string().as_bytes());
        assert!(output.status.success(), "{output:?}");
        if output.stdout.is_empty() {
            return "nothing".to_owned();
        }

        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let answer = &answer["hookSpecificOutput"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        [
            text(&answer["permissionDecision"]),
            text(&answer["permissionDecisionReason"]),
            text(&answer["decision"]["behavior"]),
            text(&answer["decision"]["message"]),
        ]
        .join(" ")
        .trim()
        .to_owned()
    }

    /// The decision for Claude Code.
    fn decision(&self, tool: &str, input: &Value) -> String {
        let answer = self.answer(Client::Claude, tool, input);
        answer.split(' ').next().unwrap().to_owned()
    }
}

#[test]
fn the_hook_decides_by_the_rules_of_the_host() {
    let files = Files::new(Some(SETTINGS));
    let run = |session: &str| json!({"command": "id", "session": session});

    for (tool, input, expected) in [
        ("exec", run("web"), "allow"),
        ("exec", run("api"), "allow"),
        ("exec", run("live"), "deny"),
        // The address is that of an alias, which has a rule.
        ("exec", run("plain"), "deny"),
        // The host name has a rule.
        ("exec", run("db"), "deny"),
        // The jump host has a rule.
        ("exec", run("behind"), "deny"),
        ("read", json!({"path": "/a", "session": "behind"}), "deny"),
        ("read", json!({"path": "/a", "session": "far"}), "deny"),
        ("exec", run("staging"), "ask"),
        ("exec", run("closed"), "deny"),
        ("exec", run("nobody"), "ask"),
        // The default session is one of the saved ones.
        ("exec", json!({"command": "id"}), "ask"),
        ("read", json!({"path": "/a"}), "allow"),
        (
            "exec",
            json!({"command": "id", "sessions": ["web", "api"]}),
            "allow",
        ),
        (
            "exec",
            json!({"command": "id", "sessions": ["web", "l*"]}),
            "deny",
        ),
        (
            "exec",
            json!({"command": "id", "sessions": ["a*"]}),
            "allow",
        ),
        // Other names of parameters are understood as the server understands them.
        ("exec", json!({"cmd": "id", "session_name": "live"}), "deny"),
        ("shell", run("live"), "deny"),
        (
            "edit",
            json!({"path": "/a", "content": "", "session": "live"}),
            "deny",
        ),
        ("read", json!({"path": "/a", "session": "live"}), "allow"),
        (
            "read",
            json!({"path": "/a", "session": "live", "sudo": true}),
            "deny",
        ),
        (
            "search",
            json!({"pattern": "a", "session": "live"}),
            "allow",
        ),
        (
            "download",
            json!({"remotePath": "/a", "localPath": "a", "session": "live"}),
            "nothing",
        ),
        (
            "download",
            json!({"remotePath": "/a", "localPath": "live:/a", "session": "api"}),
            "deny",
        ),
        (
            "upload",
            json!({"localPath": "live:/a", "remotePath": "/a", "session": "api"}),
            "allow",
        ),
        (
            "upload",
            json!({"localPath": "a", "remotePath": "/a", "session": "live"}),
            "deny",
        ),
        ("forward", json!({"to": "80", "session": "live"}), "deny"),
        ("forward", json!({"session": "live"}), "nothing"),
        // Its address may be that of `closed`.
        ("connect", json!({"host": "bob@prod-7"}), "ask"),
        ("connect", json!({"host": "bob@10.0.0.1"}), "allow"),
        ("connect", json!({"host": "ssh -p 22 bob@closed"}), "deny"),
        ("connect", json!({"host": "192.0.2.9"}), "deny"),
        ("reconnect", json!({"session": "closed"}), "deny"),
        ("job", json!({"job": "j1"}), "nothing"),
        ("sessions", json!({}), "nothing"),
        ("exec", json!({"nonsense": 1}), "nothing"),
    ] {
        let name = format!("mcp__ssh__ssh_{tool}");
        assert_eq!(files.decision(&name, &input), expected, "{tool} {input}");
    }

    for (tool, expected) in [
        ("mcp__my_ssh__ssh_exec", "deny"),
        ("mcp__plugin_ssh_ssh__ssh_exec", "deny"),
        ("mcp__other__create_issue", "nothing"),
        ("ssh_exec", "nothing"),
        ("Read", "nothing"),
    ] {
        assert_eq!(files.decision(tool, &run("live")), expected, "{tool}");
    }
}

#[test]
fn plain_ssh_to_a_host_with_a_rule_does_not_pass() {
    let files = Files::new(Some(SETTINGS));
    for (command, expected) in [
        ("ls -l", "nothing"),
        ("ssh web uptime", "nothing"),
        ("ssh prod-1 uptime", "deny"),
        ("cd /x && ssh -p 22 bob@PROD-1. 'rm -rf /'", "deny"),
        ("ssh 10.0.0.1", "deny"),
        ("ssh -J closed web", "deny"),
        ("ssh -o HostName=prod-1 web", "deny"),
        ("ssh web -o ProxyJump=closed", "deny"),
        ("scp f prod-9:", "deny"),
        ("rsync -a prod-9:/x .", "deny"),
        ("sftp closed", "deny"),
        ("echo $(ssh db id)", "deny"),
        ("ssh staging uptime", "ask"),
        ("ssh $HOST uptime", "ask"),
        ("ssh -F other web", "ask"),
    ] {
        let input = json!({"command": command});
        assert_eq!(files.decision("Bash", &input), expected, "{command}");
    }
}

#[test]
fn codex_gets_only_what_it_understands() {
    let files = Files::new(Some(SETTINGS));
    let exec = |session: &str| {
        (
            "mcp__ssh__ssh_exec",
            json!({"command": "id", "session": session}),
        )
    };
    let shell = |command: &str| ("Bash", json!({"command": command}));

    for ((tool, input), before, asking) in [
        (exec("web"), "nothing", "allow"),
        (exec("staging"), "nothing", "nothing"),
        (exec("nobody"), "nothing", "nothing"),
        (exec("live"), "deny", "deny"),
        (shell("ssh web"), "nothing", "nothing"),
        (shell("ssh staging"), "deny", "deny"),
        (shell("ssh $HOST"), "nothing", "nothing"),
        (shell("ssh prod-1"), "deny", "deny"),
    ] {
        for (client, expected) in [(Client::Codex, before), (Client::CodexAsks, asking)] {
            let answer = files.answer(client, tool, &input);
            let decision = answer.split(' ').next().unwrap();
            assert_eq!(decision, expected, "{client:?} {tool} {input}");
        }
    }
}

#[test]
fn the_reason_names_the_host_and_the_setting() {
    let files = Files::new(Some(SETTINGS));
    for (tool, input, parts) in [
        (
            "mcp__ssh__ssh_exec",
            json!({"command": "id", "session": "live"}),
            &[
                "prod-1",
                "access = \"read\" in [host.\"prod-*\"]",
                "ssh_read",
            ][..],
        ),
        (
            "mcp__ssh__ssh_exec",
            json!({"command": "id", "session": "staging"}),
            &["staging", "run = \"ask\" in [host.staging]"],
        ),
        (
            "Bash",
            json!({"command": "ssh prod-1"}),
            &["plain ssh", "prod-1", "access = \"read\""],
        ),
    ] {
        let answer = files.answer(Client::Claude, tool, &input);
        for part in parts {
            assert!(answer.contains(part), "{part}: {answer}");
        }
    }

    let hostile = json!({"command": "ssh 'prod-\u{202e}\u{1b}[2J'"});
    let answer = files.answer(Client::Claude, "Bash", &hostile);
    assert!(!answer.contains(['\u{202e}', '\u{1b}']), "{answer:?}");
}

#[test]
fn what_is_not_certain_is_asked() {
    for (settings, session, expected) in [
        // The address of a host with a name is not known here.
        ("host.'10.0.0.0/8'.access = 'read'", "web", "ask"),
        ("host.'10.0.0.0/8'.access = 'read'", "prod-1", "deny"),
        ("host.'10.0.0.0/8'.access = 'read'", "closed", "allow"),
        ("host.'10.0.0.0/8'.connect = 'ask'", "web", "allow"),
        ("host.'192.0.2.*'.run = 'never'", "web", "ask"),
        // It may be one for which another section opens what the default closes.
        (
            "default.run = 'never'\nhost.'10.0.0.0/8'.run = 'allow'",
            "web",
            "ask",
        ),
        (
            "default.run = 'never'\nhost.'10.0.0.0/8'.run = 'allow'",
            "prod-1",
            "allow",
        ),
        ("default.run = 'never'", "web", "deny"),
        ("default.run = 'never'", "nobody", "ask"),
        ("# no rules", "nobody", "allow"),
        ("host.'prod-*'.forward = 'never'", "nobody", "allow"),
    ] {
        let files = Files::new(Some(settings));
        let input = json!({"command": "id", "session": session});
        let decision = files.decision("mcp__ssh__ssh_exec", &input);
        assert_eq!(decision, expected, "{settings:?} {session}");
    }

    // A transfer of local files is free where the settings name the folders.
    let download = json!({"remotePath": "/a", "localPath": "a", "session": "web"});
    for (settings, expected) in [
        ("# no rules", "nothing"),
        ("local.roots = ['/work']", "allow"),
    ] {
        let files = Files::new(Some(settings));
        let decision = files.decision("mcp__ssh__ssh_download", &download);
        assert_eq!(decision, expected, "{settings}");
    }

    // A host that no alias names may be the host of one.
    let files = Files::new(Some("host.web.access = 'never'"));
    for (host, expected) in [("www.example.com", "ask"), ("198.51.100.1", "ask")] {
        let decision = files.decision("mcp__ssh__ssh_connect", &json!({"host": host}));
        assert_eq!(decision, expected, "{host}");
    }

    // What `Match` says depends on more than text.
    let files = Files::new(Some(SETTINGS));
    let config = format!("Match exec true\nHostName prod-9\n{SSH_CONFIG}");
    fs::write(files.folder.path().join("ssh_config"), config).unwrap();
    let input = json!({"command": "id", "session": "web"});
    assert_eq!(files.decision("mcp__ssh__ssh_exec", &input), "ask");
}

#[test]
fn without_settings_the_hook_says_nothing() {
    let files = Files::new(None);
    for (tool, input) in [
        (
            "mcp__ssh__ssh_exec",
            json!({"command": "id", "session": "live"}),
        ),
        ("Bash", json!({"command": "ssh prod-1"})),
    ] {
        for client in [Client::Claude, Client::Codex, Client::CodexAsks] {
            assert_eq!(files.answer(client, tool, &input), "nothing");
        }
    }

    for input in ["", "{", "[]", "x"] {
        let output = files.run(input.as_bytes());
        assert!(
            output.status.success() && output.stdout.is_empty(),
            "{output:?}"
        );
    }
}

#[test]
fn an_unusable_file_denies_each_call_to_a_host() {
    let unusable = Files::new(Some("[host.web]\nacces = 'read'"));
    let writable = Files::new(Some(SETTINGS));
    let path = writable.settings.clone().unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    let missing = Files::new(Some(SETTINGS));
    fs::remove_file(missing.settings.as_ref().unwrap()).unwrap();

    for files in [unusable, writable, missing] {
        let run = json!({"command": "id", "session": "web"});
        for (tool, input, expected) in [
            ("mcp__ssh__ssh_exec", &run, "deny"),
            ("mcp__ssh__ssh_sessions", &json!({}), "nothing"),
            ("Bash", &json!({"command": "ssh web"}), "deny"),
            ("Bash", &json!({"command": "ls"}), "nothing"),
        ] {
            assert_eq!(files.decision(tool, input), expected, "{tool} {input}");
        }
    }
}

#[test]
fn an_unreadable_description_blocks_the_call() {
    let files = Files::new(Some(SETTINGS));
    for input in [
        "",
        "{",
        "[]",
        r#"{"hook_event_name": "PreToolUse"}"#,
        r#"{"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": 1}}"#,
    ] {
        let output = files.run(input.as_bytes());
        assert_eq!(output.status.code(), Some(2), "{input:?} {output:?}");
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{output:?}"
        );
    }
}
