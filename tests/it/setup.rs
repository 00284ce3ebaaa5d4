//! `setup` and `doctor` without a host, in a home of their own.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A home in which Cursor and Zed were used, and whose `PATH` has only what is put there.
struct Home {
    folder: tempfile::TempDir,
}

/// How the program ended.
struct Ended {
    status: Option<i32>,
    text: String,
}

impl Home {
    fn new() -> Self {
        let home = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for folder in ["programs", ".cursor", ".config/zed"] {
            fs::create_dir_all(home.path(folder)).unwrap();
        }
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a program into `PATH`.
    fn add_program(&self, name: &str, script: &str) {
        let file = self.path("programs").join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        let output = Command::new(env!("CARGO_BIN_EXE_mcp-ssh-sessions"))
            .args(arguments)
            .env_clear()
            .env("HOME", self.folder.path())
            .env("PATH", self.path("programs"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();

        Ended {
            status: output.status.code(),
            text: String::from_utf8(text).unwrap(),
        }
    }

    /// The files below the home and their content, without our record.
    fn files(&self) -> Vec<(PathBuf, String)> {
        fn walk(folder: &Path, files: &mut Vec<(PathBuf, String)>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, files);
                } else {
                    files.push((path.clone(), fs::read_to_string(&path).unwrap()));
                }
            }
        }

        let mut files = Vec::new();
        walk(self.folder.path(), &mut files);
        files.sort();
        files
    }
}

#[test]
fn without_a_terminal_setup_only_shows() {
    let home = Home::new();
    let before = home.files();
    let ended = home.run(&["setup"]);

    assert_eq!(ended.status, Some(0), "{}", ended.text);
    assert!(ended.text.contains("+    \"ssh\": {"), "{}", ended.text);
    assert!(ended.text.contains("again with --yes"), "{}", ended.text);
    assert!(
        ended.text.contains("Not found: Claude Code, Codex"),
        "{}",
        ended.text
    );
    assert_eq!(home.files(), before);
}

#[test]
fn setup_and_undo_leave_no_trace() {
    let home = Home::new();
    let cursor = "\u{feff}{\r\n\t\"mcpServers\": {\r\n\t\t\"x\": {} // mine\r\n\t},\r\n}";
    fs::write(home.path(".cursor/mcp.json"), cursor).unwrap();
    home.add_program("code", "exit 1");
    let before = home.files();

    let ended = home.run(&["setup", "--yes", "--shared"]);
    assert_eq!(ended.status, Some(0), "{}", ended.text);
    assert!(
        ended
            .text
            .contains("VS Code: its own command did not add it"),
        "{}",
        ended.text
    );
    let own = env!("CARGO_BIN_EXE_mcp-ssh-sessions");
    for file in [
        ".cursor/mcp.json",
        ".config/zed/settings.json",
        ".config/Code/User/mcp.json",
    ] {
        let text = fs::read_to_string(home.path(file)).unwrap();
        assert!(
            text.contains(own) && text.contains("\"--shared\""),
            "{file}: {text}"
        );
    }

    let again = home.run(&["setup", "--yes"]);
    assert!(
        again.text.ends_with("Nothing to change.\n"),
        "{}",
        again.text
    );

    let undone = home.run(&["setup", "--undo"]);
    assert_eq!(undone.status, Some(0), "{}", undone.text);
    assert_eq!(home.files(), before);
    assert!(!home.path(".config/Code").exists());
}

#[test]
fn what_is_in_the_way_stays_and_is_named() {
    let home = Home::new();
    let theirs = "{\"mcpServers\": {\"ssh\": {\"command\": \"theirs\"}}}";
    fs::write(home.path(".cursor/mcp.json"), theirs).unwrap();
    fs::write(home.path(".config/zed/settings.json"), "{\n  \"a\": \n}").unwrap();
    let before = home.files();

    let ended = home.run(&["setup", "--yes"]);
    assert_eq!(ended.status, Some(1), "{}", ended.text);
    assert!(
        ended
            .text
            .contains("Cursor: another server has the name ssh"),
        "{}",
        ended.text
    );
    assert!(
        ended.text.contains("line 3 is not valid JSON"),
        "{}",
        ended.text
    );
    assert_eq!(home.files(), before);
}

#[test]
fn the_command_of_a_client_is_used_and_keeps_the_format() {
    let home = Home::new();
    fs::create_dir(home.path(".codex")).unwrap();
    let config = home.path(".codex/config.toml");
    let before = "# mine\r\nmodel = 'x'\r\n";
    fs::write(&config, before).unwrap();

    // Like Codex, it writes LF.
    home.add_program(
        "codex",
        r#"echo "$*" > "$HOME/said"
printf '# mine\nmodel = "x"\n\n[mcp_servers.ssh]\ncommand = "%s"\nargs = []\n' "$5" > "$HOME/.codex/config.toml""#,
    );

    let ended = home.run(&["setup", "--yes", "codex"]);
    assert_eq!(ended.status, Some(0), "{}", ended.text);
    let said = fs::read_to_string(home.path("said")).unwrap();
    assert!(said.starts_with("mcp add ssh -- /"), "{said}");
    let text = fs::read_to_string(&config).unwrap();
    assert!(
        text.starts_with(before) && text.contains("[mcp_servers.ssh]\r\n"),
        "{text:?}"
    );

    // Of a file that was edited since, only the entry goes.
    fs::write(&config, format!("{text}\r\n[later]\r\n")).unwrap();
    let undone = home.run(&["setup", "--undo"]);
    assert!(undone.text.contains("was changed since"), "{}", undone.text);
    let text = fs::read_to_string(&config).unwrap();
    assert_eq!(text, format!("{before}\r\n[later]\r\n"));
}

#[test]
fn undo_leaves_every_file_as_it_was() {
    let rows = [
        ("", 0o644),
        ("{}", 0o600),
        ("// mine\n", 0o640),
        ("{\r\n\t\"a\": 1, // mine\r\n}", 0o755),
        ("\u{feff}{ \"mcpServers\": { /* none */ } }\n\n", 0o664),
        ("{\"mcpServers\": {\"x\": {\"command\": \"y\"},},}", 0o604),
    ];
    for (before, mode) in rows {
        let home = Home::new();
        let file = home.path(".cursor/mcp.json");
        fs::write(&file, before).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();

        let done = home.run(&["setup", "--yes", "cursor"]);
        assert_eq!(done.status, Some(0), "{}", done.text);
        assert_ne!(fs::read_to_string(&file).unwrap(), before);
        assert_eq!(mode_of(&file), mode);

        let undone = home.run(&["setup", "--undo"]);
        assert_eq!(undone.status, Some(0), "{}", undone.text);
        assert_eq!(fs::read_to_string(&file).unwrap(), before);
        assert_eq!(mode_of(&file), mode);
        assert!(!home.path(".local").exists());
    }
}

fn mode_of(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_configuration_that_is_a_link_stays_one() {
    let home = Home::new();
    fs::create_dir_all(home.path(".codex")).unwrap();
    home.add_program(
        "codex",
        "rm .codex/config.toml; echo theirs > .codex/config.toml",
    );
    let (target, link) = (home.path("dotfiles.toml"), home.path(".codex/config.toml"));
    fs::write(&target, "model = 'x'").unwrap();
    symlink("../dotfiles.toml", &link).unwrap();

    let done = home.run(&["setup", "--yes", "codex"]);
    assert_eq!(done.status, Some(0), "{}", done.text);
    assert!(link.is_symlink());
    let text = fs::read_to_string(&target).unwrap();
    assert!(text.contains("[mcp_servers.ssh]"), "{text}");

    // Only the first line is edited, so the missing end of line is missing again.
    fs::write(&target, text.replace("'x'", "'y'")).unwrap();
    home.run(&["setup", "--undo"]);
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(&target).unwrap(), "model = 'y'");
}

#[test]
fn what_may_not_be_changed_stays() {
    let home = Home::new();
    let file = home.path(".cursor/mcp.json");
    fs::write(&file, "{}").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
    fs::write(home.path(".config/zed/settings.json"), [0xff, 0xfe]).unwrap();

    let refused = home.run(&["setup", "--yes"]);
    assert_eq!(refused.status, Some(1), "{}", refused.text);
    for words in ["mcp.json is read-only", "settings.json is not UTF-8"] {
        assert!(refused.text.contains(words), "{}", refused.text);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "{}");

    // After a change by setup it is made read-only: the undo waits until it may write.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    home.run(&["setup", "--yes", "cursor"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
    assert_eq!(home.run(&["setup", "--undo"]).status, Some(1));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(home.run(&["setup", "--undo"]).status, Some(0));
    assert_eq!(fs::read_to_string(&file).unwrap(), "{}");
}

#[test]
fn an_entry_that_was_added_by_hand_stays() {
    let home = Home::new();
    let file = home.path(".cursor/mcp.json");
    let by_hand = format!(
        r#"{{"mcpServers": {{"hosts": {{"command": "{}", "env": {{"A": "b"}}}}}}}}"#,
        env!("CARGO_BIN_EXE_mcp-ssh-sessions")
    );
    fs::write(&file, &by_hand).unwrap();

    let done = home.run(&["setup", "--yes", "cursor"]);
    assert!(
        done.text.contains("has it already, as hosts"),
        "{}",
        done.text
    );
    let undone = home.run(&["setup", "--undo"]);
    assert!(undone.text.contains("nothing to undo"), "{}", undone.text);
    assert_eq!(fs::read_to_string(&file).unwrap(), by_hand);

    // Only the missing argument is added, and taken out again.
    fs::write(&file, by_hand.replace("\"env\"", "\"args\": [], \"env\"")).unwrap();
    let before = home.files();
    home.run(&["setup", "--yes", "--shared", "cursor"]);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(r#""args": ["--shared"], "env""#), "{text}");
    home.run(&["setup", "--undo"]);
    assert_eq!(home.files(), before);
}

#[test]
fn a_change_between_the_look_and_the_write_is_kept() {
    let home = Home::new();
    fs::write(home.path(".cursor/mcp.json"), "{}").unwrap();
    home.add_program("code", r#"echo '{"theirs": 1}' > "$HOME/.cursor/mcp.json""#);

    let ended = home.run(&["setup", "--yes", "vscode", "cursor"]);
    assert_eq!(ended.status, Some(1), "{}", ended.text);
    assert!(
        ended.text.contains("changed by another program meanwhile"),
        "{}",
        ended.text
    );
    let text = fs::read_to_string(home.path(".cursor/mcp.json")).unwrap();
    assert_eq!(text, "{\"theirs\": 1}\n");
}

#[test]
fn a_setup_that_was_killed_can_be_undone() {
    let home = Home::new();
    fs::create_dir(home.path(".codex")).unwrap();
    let config = home.path(".codex/config.toml");
    fs::write(&config, "model = 'x'\n").unwrap();
    home.add_program(
        "codex",
        r#"printf '\n[mcp_servers.ssh]\ncommand = "%s"\nargs = []\n' "$5" >> "$HOME/.codex/config.toml"
kill -9 $PPID"#,
    );

    let killed = home.run(&["setup", "--yes", "codex"]);
    assert_eq!(killed.status, None, "{}", killed.text);
    let undone = home.run(&["setup", "--undo"]);
    assert_eq!(undone.status, Some(0), "{}", undone.text);
    assert_eq!(fs::read_to_string(&config).unwrap(), "model = 'x'\n");
}

#[test]
fn the_hook_that_setup_adds_answers_from_the_settings() {
    let home = Home::new();
    for folder in [".claude", ".codex"] {
        fs::create_dir(home.path(folder)).unwrap();
    }
    let theirs = "{\n  \"model\": \"x\" // mine\n}";
    fs::write(home.path(".claude/settings.json"), theirs).unwrap();
    let before = home.files();

    let done = home.run(&["setup", "--yes", "--hook", "claude", "codex"]);
    assert_eq!(done.status, Some(0), "{}", done.text);
    assert!(
        done.text.contains("allow it in Codex with /hooks"),
        "{}",
        done.text
    );
    let again = home.run(&["setup", "--yes", "--hook", "claude", "codex"]);
    assert!(
        again.text.ends_with("Nothing to change.\n"),
        "{}",
        again.text
    );
    let codex: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(home.path(".codex/hooks.json")).unwrap()).unwrap();
    let hook = &codex["hooks"]["PreToolUse"][0];
    assert_eq!(hook["matcher"], "^(mcp__ssh__.*|Bash)$");

    let settings = home.path(".config/mcp-ssh-sessions/settings.toml");
    fs::create_dir(settings.parent().unwrap()).unwrap();
    fs::write(&settings, "[host.closed]\nconnect = 'never'\n").unwrap();
    fs::set_permissions(&settings, fs::Permissions::from_mode(0o600)).unwrap();
    let call = r#"{"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": "ssh closed uptime"}}"#;
    fs::write(home.path("call"), call).unwrap();
    let answer = Command::new("/bin/sh")
        .args(["-c", hook["hooks"][0]["command"].as_str().unwrap()])
        .env_clear()
        .env("HOME", home.folder.path())
        .stdin(fs::File::open(home.path("call")).unwrap())
        .output()
        .unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(answer["hookSpecificOutput"]["permissionDecision"], "deny");

    fs::remove_file(home.path("call")).unwrap();
    fs::remove_dir_all(settings.parent().unwrap()).unwrap();
    home.run(&["setup", "--undo"]);
    assert_eq!(home.files(), before);
}

#[test]
fn a_name_of_no_client_is_refused() {
    let ended = Home::new().run(&["setup", "emacs"]);
    assert_eq!(ended.status, Some(2));
    assert!(ended.text.contains("emacs"), "{}", ended.text);
}

#[test]
fn doctor_without_a_host_says_what_to_fix() {
    let home = Home::new();
    home.run(&["setup", "--yes", "zed"]);
    let broken = "{\"mcpServers\": {\"ssh\": {\"command\": \"/none/mcp-ssh-sessions\"}}}";
    fs::write(home.path(".cursor/mcp.json"), broken).unwrap();
    fs::write(home.path(".ssh-mcp-sessions.json"), "{").unwrap();
    let settings = home.path(".config/mcp-ssh-sessions/settings.toml");
    fs::create_dir(settings.parent().unwrap()).unwrap();
    fs::write(&settings, "[default]\nrun = 'perhaps'\n").unwrap();
    fs::set_permissions(&settings, fs::Permissions::from_mode(0o600)).unwrap();

    let ended = home.run(&["doctor"]);
    assert_eq!(ended.status, Some(1), "{}", ended.text);
    for line in [
        "✗ ssh: there is no ssh program",
        "✗ sessions: the session store",
        "settings.toml cannot be used: line 2",
        "✗ Cursor: starts /none/mcp-ssh-sessions, which is not there",
        "    run: npx -y mcp-ssh-sessions setup cursor",
        "✓ Zed: starts `",
        "✗ 4 things to fix",
    ] {
        assert!(ended.text.contains(line), "{line} in\n{}", ended.text);
    }

    let json: serde_json::Value =
        serde_json::from_str(&home.run(&["doctor", "--json"]).text).unwrap();
    assert_eq!(json["works"], false);
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    let checks = json["checks"].as_array().unwrap();
    let cursor = checks
        .iter()
        .find(|check| check["name"] == "Cursor")
        .unwrap();
    assert_eq!(cursor["health"], "bad");
}
