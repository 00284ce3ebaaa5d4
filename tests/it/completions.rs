//! Completion in the real shells: what is typed with TAB, and with which words the program is then run.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
};
use std::{io::Write as _, path::PathBuf, thread};

use serde_json::json;

use crate::support::{checks::eventually, daemon, programs};

/// Name of a session that would run something in every shell if it stood in a line without quotes.
const HOSTILE: &str =
    r#"evil $(touch owned)`touch owned`;touch owned&|>owned '"\ *?[a]{b,c} !x #y ~ (touch owned)"#;

/// A person with an SSH configuration, saved sessions, and the program in `PATH`.
struct Person {
    folder: tempfile::TempDir,
}

impl Person {
    fn new() -> Self {
        let person = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let here = person.path("").display().to_string();

        // Neither may run: completion contacts nobody.
        person.write(
            "ssh_config",
            &format!(
                "Include {here}more\n# mcp: the shop\nHost web db-*\nMatch exec \"touch {here}matched\"\nUser x\n"
            ),
        );
        person.write("more", "Host *.example.org included\n");
        person.program("ssh", &format!("touch {here}asked"));

        let sessions = ["my server", HOSTILE, "-x", "ssh://deploy@shop:22"]
            .map(|name| json!({"name": name, "host": "web"}));
        let store = json!({"version": 1, "sessions": sessions});
        person.write("sessions.json", &store.to_string());

        // Answers the scripts; otherwise it writes down the words with which it is run.
        let real = daemon::program();
        person.program(
            "mcp-ssh-sessions",
            &format!(
                "case $1 in complet*) exec {real} \"$@\";; esac\n\
                 printf '<%s>' \"$@\" > {here}words; mv {here}words {here}ran"
            ),
        );

        person
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Puts a program in `PATH`.
    fn program(&self, name: &str, script: &str) {
        fs::create_dir_all(self.path("bin")).unwrap();
        let file = self.path("bin").join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let others = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command
            .env("PATH", format!("{}/bin:{others}", self.path("").display()))
            .env("HOME", self.folder.path())
            .env("ZDOTDIR", self.folder.path())
            .env("XDG_DATA_HOME", self.folder.path())
            .env("XDG_CONFIG_HOME", self.folder.path())
            .env("TERM", "dumb")
            .env("MCP_SSH_CONFIG", self.path("ssh_config"))
            .env("MCP_SSH_STORE", self.path("sessions.json"))
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());

        command
    }

    /// Starts an interactive shell in a terminal of its own, with the settings that `rc` names.
    async fn terminal(&self, shell: &str, arguments: &[&str]) -> Terminal {
        let python = "import pty, sys; pty.spawn(sys.argv[1:])";
        let mut child = self
            .command("python3")
            .args(["-c", python])
            .arg(programs::shell(shell))
            .args(arguments)
            .spawn()
            .unwrap();

        let mut output = child.stdout.take().unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let copy = Arc::clone(&screen);
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut piece) {
                let text = String::from_utf8_lossy(&piece[..length]).into_owned();
                copy.lock().unwrap().push_str(&text);
            }
        });

        let stdin = child.stdin.take().unwrap();
        let terminal = Terminal {
            child,
            stdin,
            screen,
        };
        eventually("the prompt", || terminal.screen().contains("READY")).await;

        terminal
    }

    /// Whether one of the files is there that only a command which must not run would have made.
    #[track_caller]
    fn has_run_nothing(&self) {
        for trace in ["owned", "asked", "matched"] {
            assert!(!self.path(trace).exists(), "{trace}");
        }
    }

    /// What is typed before TAB, and the words with which the program is run after Enter.
    fn lines(&self) -> Vec<(String, String)> {
        let store = self.path("sessions.json").display().to_string();
        let begun = store.strip_suffix("ions.json").unwrap();

        [
            ("doc", "<doctor>"),
            ("doctor inc", "<doctor><included>"),
            ("doctor root@inc", "<doctor><root@included>"),
            ("settings my", "<settings><my server>"),
            ("audit --host evil", &format!("<audit><--host><{HOSTILE}>")),
            ("doctor evil", &format!("<doctor><{HOSTILE}>")),
            ("doctor ssh://dep", "<doctor><ssh://deploy@shop:22>"),
            ("audit --host=inc", "<audit><--host=included>"),
            ("status --js", "<status><--json>"),
            ("--log tr", "<--log><trace>"),
            (&format!("--store {begun}"), &format!("<--store><{store}>")),
        ]
        .map(|(typed, words)| (typed.to_owned(), words.to_owned()))
        .into()
    }

    /// Types each line with TAB, and the keys that accept and run it.
    async fn completes(&self, terminal: &mut Terminal, enter: &str) {
        for (typed, words) in self.lines() {
            terminal.send(&format!("mcp-ssh-sessions {typed}\t{enter}"));
            let ran = self.path("ran");
            let what = format!("{typed:?} to run");
            if !ran.exists() {
                eventually(&what, || ran.exists()).await;
            }

            assert_eq!(
                fs::read_to_string(&ran).unwrap(),
                words,
                "{typed:?}: {}",
                terminal.screen()
            );
            fs::remove_file(&ran).unwrap();
        }

        self.has_run_nothing();
    }
}

/// A shell in a terminal. Dropping it ends it.
struct Terminal {
    child: std::process::Child,
    stdin: ChildStdin,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    fn send(&mut self, text: &str) {
        self.stdin.write_all(text.as_bytes()).unwrap();
        self.stdin.flush().unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn bash_completes_what_it_then_runs() {
    // bash 3, which macOS has, knows no compopt.
    for older in ["", "enable -n compopt\n"] {
        let person = Person::new();
        let script = r#"eval "$(mcp-ssh-sessions completions bash)""#;
        person.write("rc", &format!("{older}{script}\nPS1='READY> '\n"));
        let rc = person.path("rc").display().to_string();
        let mut terminal = person
            .terminal("bash", &["--noprofile", "--rcfile", &rc, "-i"])
            .await;

        person.completes(&mut terminal, "\r").await;
    }
}

#[tokio::test]
async fn zsh_completes_what_it_then_runs() {
    let person = Person::new();
    person.write(
        ".zshrc",
        "PS1='READY> '\nautoload -Uz compinit\ncompinit -u -D\nsource <(mcp-ssh-sessions completions zsh)\n",
    );
    let mut terminal = person.terminal("zsh", &["-i"]).await;

    person.completes(&mut terminal, "\r").await;
}

#[tokio::test]
async fn zsh_finds_the_script_in_a_folder() {
    let person = Person::new();
    fs::create_dir(person.path("functions")).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions/_mcp-ssh-sessions");
    fs::copy(script, person.path("functions/_mcp-ssh-sessions")).unwrap();
    person.write(
        ".zshrc",
        "PS1='READY> '\nfpath=(~/functions $fpath)\nautoload -Uz compinit\ncompinit -u -D\n",
    );
    let mut terminal = person.terminal("zsh", &["-i"]).await;

    person.completes(&mut terminal, "\r").await;
}

#[tokio::test]
async fn elvish_completes_what_it_then_runs() {
    let person = Person::new();
    person.write(
        "rc.elv",
        "eval (mcp-ssh-sessions completions elvish | slurp)\nset edit:prompt = { put 'READY> ' }\n",
    );
    let rc = person.path("rc.elv").display().to_string();
    let mut terminal = person.terminal("elvish", &["-rc", &rc]).await;

    // The first Enter accepts the candidate where elvish shows a list. An empty line does nothing.
    person.completes(&mut terminal, "\r\r").await;
}

#[test]
fn fish_completes_what_it_then_runs() {
    let person = Person::new();

    for (typed, words) in person.lines() {
        // As if it was typed: fish itself replaces the last word of the line by the quoted candidate.
        let script = "mcp-ssh-sessions completions fish | source
            set -l found (complete --escape -C \"mcp-ssh-sessions $argv[1]\")
            set -l before (string match --regex -- '^(?:.* )?' \"$argv[1]\")
            eval mcp-ssh-sessions $before(string split --max 1 \\t -- $found[1])[1]";
        let status = person
            .command(programs::shell("fish"))
            .args(["--no-config", "-c", script, "--", &typed])
            .status()
            .unwrap();
        assert!(status.success(), "{typed:?}");

        assert_eq!(
            fs::read_to_string(person.path("ran")).unwrap(),
            words,
            "{typed:?}"
        );
        fs::remove_file(person.path("ran")).unwrap();
    }

    person.has_run_nothing();
}

/// What a script is told for `word` after the words `before`.
fn told(person: &Person, word: &str, before: &[&str]) -> String {
    let output = person
        .command(daemon::program())
        .args(["complete", &format!("--word={word}"), "--"])
        .args(before)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");

    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn hosts_come_with_their_purpose_and_no_options() {
    let person = Person::new();
    let hosts = told(&person, "", &["doctor"]);

    assert_eq!(
        hosts,
        format!(
            "words\nmy server\tsession of web\n{HOSTILE}\tsession of web\n\
             ssh://deploy@shop:22\tsession of web\nincluded\nweb\tthe shop\n"
        )
    );
    assert_eq!(told(&person, "", &["audit", "--host"]), hosts);
    assert_eq!(told(&person, "", &["doctor", "--json"]), hosts);
    assert_eq!(told(&person, "", &["doctor", "--"]), hosts);
    person.has_run_nothing();
}

#[test]
fn the_files_of_the_line_are_read() {
    let person = Person::new();
    person.write("other", "Host elsewhere\n");

    for before in [
        &["--ssh-config", "~/other", "--store=/missing", "doctor"][..],
        &["doctor", "--store", "/missing", "--ssh-config=~/other"],
    ] {
        assert_eq!(
            told(&person, "", before),
            "words\nelsewhere\n",
            "{before:?}"
        );
    }
}

#[test]
fn a_purpose_cannot_control_the_terminal() {
    let person = Person::new();
    person.write("ssh_config", "# mcp: \u{1b}[2Jx\ty\u{202e}z\nHost web\n");

    let hosts = told(&person, "", &["--store", "/missing", "doctor"]);
    assert!(hosts.contains("web\t"), "{hosts:?}");
    assert_eq!(hosts.matches('\t').count(), 1, "{hosts:?}");
    let is_bad = |letter: char| letter == '\u{1b}' || letter == '\u{202e}';
    assert!(!hosts.contains(is_bad), "{hosts:?}");
}

#[test]
fn only_what_can_follow_is_offered() {
    let person = Person::new();

    for (word, before, has, has_not) in [
        ("", &[][..], "\ndoctor\t", "shared-daemon"),
        ("", &[], "\naudit\t", "\ncomplete\t"),
        ("-", &[], "\n--store\t", "doctor"),
        ("-", &["status"], "\n--json\t", "\ndoctor"),
        ("", &["status"], "\n--json\t", "\ndoctor"),
        ("", &["doctor", "web"], "\n--json\t", "included"),
        ("", &["audit"], "\nverify\t", "--host"),
        ("-", &["audit"], "\n--host\t", "verify"),
        ("", &["completions"], "\nzsh\t", "--"),
        ("--log=", &[], "\n--log=trace\t", "doctor"),
        ("-x", &["doctor", "--"], "\nincluded\n", "--json"),
    ] {
        let told = told(&person, word, before);
        assert!(told.starts_with("words\n"), "{word:?} {before:?}: {told}");
        assert!(told.contains(has), "{word:?} {before:?}: {told}");
        assert!(!told.contains(has_not), "{word:?} {before:?}: {told}");
    }

    for (word, before) in [
        ("", &["--store"][..]),
        ("--store=x", &[]),
        ("", &["audit", "--file"]),
        ("", &["doctor", "web", "--settings"]),
    ] {
        assert_eq!(
            told(&person, word, before),
            "files\n",
            "{word:?} {before:?}"
        );
    }
}
