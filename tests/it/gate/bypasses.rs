//! Bypasses of lists of commands, as they were published for other programs, against `access = "read"`.
//!
//! Each row does its work as a command on a free host, which shows that the row is a real one. On the host that may only
//! be read, the row is refused as a command, and does nothing as a path, pattern or glob.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::support::{
    checks::assert_refused, fixture::TestHost, mcp_client::ToolResult, open_sshd::OpenSshd,
    program::Program,
};

/// What would be written. No row contains it otherwise.
const MARK: &str = "MARK";

/// Rows by the idea behind them: the program that a row needs, and the command. They come from public advisories and
/// reports about agents and MCP servers: CVE-2025-11491 of Desktop Commander and its issues 217, 218, 421, 422, 497 and
/// 555; CVE-2025-54795, CVE-2025-64755 and CVE-2025-66032 of Claude Code; CVE-2025-54131 and CVE-2026-22708 of Cursor;
/// the reports about Gemini CLI, Roo Code and opencode; and the options that `GTFOBins` lists.
const BYPASSES: &[(&str, &[(&str, &str)])] = &[
    (
        "more than one command",
        &[
            ("", "id; touch MARK"),
            ("", "id && touch MARK"),
            ("", "false || touch MARK"),
            ("", "id | touch MARK"),
            ("", "id & touch MARK"),
            ("", "id\ntouch MARK"),
            ("", "id\r\ntouch MARK"),
            ("", "# comment\ntouch MARK"),
            ("", "(touch MARK)"),
            ("", "case x in x) touch MARK;; esac"),
            ("", "echo \"\\\"\"; touch MARK; echo \"\\\"\""),
            ("", "coproc touch MARK; wait"),
            ("", "trap 'touch MARK' EXIT"),
        ],
    ),
    (
        "quotes and names of programs",
        &[
            ("", "\"touch\" MARK"),
            ("", "t'o'uch MARK"),
            ("", "to\\uch MARK"),
            ("", "$'\\x74ouch' MARK"),
            ("", "${X:-touch} MARK"),
            ("", "X=touch; $X MARK"),
            ("", "/usr/bin/touch MARK"),
            ("", "/usr/bin/tou?h MARK"),
            ("", "shopt -s expand_aliases\nalias ls=touch\nls MARK"),
            ("", "function ls { touch MARK; }; ls"),
        ],
    ),
    (
        "blanks that are none",
        &[
            ("", "touch\tMARK"),
            ("", "touch${IFS}MARK"),
            ("", "IFS=,;X=touch,MARK;$X"),
            ("", "{touch,MARK}"),
        ],
    ),
    (
        "substitutions",
        &[
            ("", "echo $(touch MARK)"),
            ("", "echo `touch MARK`"),
            ("", "echo \"$(touch MARK)\""),
            ("", "cat <(touch MARK)"),
            ("", "read -r x < <(touch MARK)"),
            ("", "X='$(touch MARK)'; : \"${X@P}\""),
            ("", "echo $((a[$(touch MARK)]))"),
            ("", "let 'a[$(touch MARK)]=1'"),
            ("", "[[ 'a[$(touch MARK)]' -eq 0 ]]"),
        ],
    ),
    (
        "builtins",
        &[
            ("", "typeset -i x='a[$(touch MARK)]'"),
            ("", "declare -n r='a[$(touch MARK)]'; : \"$r\""),
            ("", "printf -v 'a[$(touch MARK)]' x"),
            ("", "compgen -C 'touch MARK' x"),
            ("", "mapfile -C 'touch MARK #' -c 1 <<<x"),
            ("", "eval 'touch MARK'"),
            ("", ". /dev/stdin <<<'touch MARK'"),
            ("", "exec 3>MARK"),
            ("", ": >| MARK"),
            ("", "<>MARK"),
            ("", "printf x &> MARK"),
        ],
    ),
    (
        "encodings",
        &[
            ("", "$(echo dG91Y2g= | base64 -d) MARK"),
            ("rev", "$(rev <<<hcuot) MARK"),
            ("", "sh -c \"$(printf 'touc%s MARK' h)\""),
            ("", "echo 'touch MARK' | sh"),
            ("", "bash <<E\ntouch MARK\nE"),
        ],
    ),
    (
        "programs that start programs",
        &[
            ("", "env touch MARK"),
            ("", "env -S 'touch MARK'"),
            ("", "env X=1 touch MARK"),
            ("", "command -p touch MARK"),
            ("", "nohup touch MARK"),
            ("", "timeout 5 touch MARK"),
            ("", "xargs touch <<<MARK"),
            ("", "xargs -I{} sh -c 'touch {}' <<<MARK"),
            ("busybox", "busybox touch MARK"),
            ("flock", "flock /tmp touch MARK"),
            ("find", "find . -maxdepth 0 -exec touch MARK \\;"),
            ("awk", "awk 'BEGIN{system(\"touch MARK\")}'"),
            ("perl", "perl -e 'open F,\">MARK\"'"),
            ("python3", "python3 -c \"open('MARK','w')\""),
            ("vim", "vim -es -c ':silent !touch MARK' -c q"),
            ("ed", "ed -s <<<'!touch MARK'"),
            ("split", "split --filter='touch MARK' /etc/passwd"),
            ("ssh", "ssh -o ProxyCommand='touch MARK' nowhere"),
            ("sed", "sed '1e touch MARK' /etc/passwd"),
            ("sed", "sed 's|.*|touch MARK|e' <<<x"),
            ("git", "git -c 'alias.x=!touch MARK' x"),
            ("git", "git ls-remote --upload-pack='touch MARK;' /tmp"),
            (
                "tar",
                "tar -cf /dev/null --checkpoint=1 --checkpoint-action=exec='touch MARK' /etc/passwd",
            ),
            (
                "tar",
                "tar -cf /dev/null --use-compress-program='touch MARK' /etc/passwd",
            ),
        ],
    ),
    (
        "programs that write files",
        &[
            ("find", "find . -maxdepth 0 -fprintf MARK x"),
            ("find", "find . -maxdepth 0 -fls MARK"),
            ("sed", "sed -n 'w MARK' <<<x"),
            ("sort", "sort -o MARK <<<x"),
            ("uniq", "uniq /etc/passwd MARK"),
            ("shuf", "shuf -o MARK -e x"),
            (
                "git",
                "git diff --no-index --output=MARK /etc/passwd /dev/null",
            ),
            ("tar", "tar -cf MARK /etc/passwd"),
            ("curl", "curl -so MARK file:///etc/passwd"),
            ("iconv", "iconv -o MARK /etc/passwd"),
            ("openssl", "openssl rand -out MARK 1"),
            ("dd", "dd of=MARK </dev/null"),
            ("tee", "tee MARK </dev/null"),
            ("install", "install /dev/null MARK"),
            ("cp", "cp /etc/passwd MARK"),
            ("ln", "ln -s / MARK"),
            ("truncate", "truncate -s 0 MARK"),
            ("mkfifo", "mkfifo MARK"),
        ],
    ),
];

/// Arguments that a careless server would hand to `rg`, `grep`, `find` or a shell. They do nothing as commands.
const ARGUMENTS: &[&str] = &[
    "--pre=touch MARK",
    "--pre=touch",
    "--hostname-bin=touch",
    "--search-zip",
    "--files-from=MARK",
    "--file=MARK",
    "-fMARK",
    "-f",
    "-e",
    "-C 4 --pre=sh",
    "--",
    "-exec touch MARK ;",
    "-fprintf MARK x",
    "-delete",
    "-o -exec touch MARK ;",
    "'; touch MARK; '",
    "\"; touch MARK; \"",
    "x'$(touch MARK)'x",
    "\\'; touch MARK; \\'",
    "x\n; touch MARK",
    "x\r\ntouch MARK",
    "$(touch MARK)",
    "`touch MARK`",
    "${IFS}touch${IFS}MARK",
    "|touch MARK",
    ">MARK",
    "(?{ system 'touch MARK' })",
    "!touch MARK",
    "%{touch MARK}",
    // Characters that some filters take for others.
    "id\u{2028}touch MARK",
    "id\u{ff1b}touch MARK",
    "touch\u{a0}MARK",
    "to\u{200b}uch MARK",
    "\u{202e}KRAM hcuot",
];

/// Names of files on the host, which a search hands on to other programs.
const FILE_NAMES: &[&str] = &[
    "--pre=sh",
    "-exec",
    "-fMARK",
    "; touch mark",
    "$(touch mark)",
    "`touch mark`",
    "' ; touch mark; '",
    "line\ntouch mark",
    "*",
];

/// A host under two aliases: `host` is free, `look` may only be read.
struct World {
    host: TestHost<OpenSshd>,
    config: PathBuf,
    settings: PathBuf,
}

impl World {
    fn new() -> Self {
        let host = TestHost::openssh();
        let config = host.sshd.write_ssh_config("host look", "");
        let settings = host.local("settings.toml");
        fs::write(&settings, "[host.look]\naccess = 'read'\n").unwrap();
        fs::write(host.home.join("app.conf"), "listen 80\n").unwrap();

        Self {
            host,
            config,
            settings,
        }
    }

    async fn program(&self) -> Program {
        let settings = ("MCP_SSH_SETTINGS", self.settings.as_os_str());
        let store = self.host.local("sessions.json");
        let environment = [settings, ("MCP_SSH_STORE", store.as_os_str())];
        Program::start_with(Some(&self.config), self.host.folder(), &environment).await
    }

    /// The file of which nothing may be seen on the host.
    fn mark(&self) -> PathBuf {
        self.host.home.join("mark")
    }

    /// A row with the path of the mark.
    fn row(&self, text: &str) -> String {
        text.replace(MARK, self.mark().to_str().unwrap())
    }

    /// Everything below the home on the host, with what a change would change.
    fn files(&self) -> String {
        let mut seen = String::new();
        add_files(&self.host.home, &mut seen);
        seen
    }
}

fn add_files(folder: &Path, seen: &mut String) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();

    for path in entries {
        let found = fs::symlink_metadata(&path).unwrap();
        let (mode, size, time) = (found.mode(), found.size(), found.mtime_nsec());
        let path_text = path.to_string_lossy();
        writeln!(seen, "{path_text} {mode:o} {size} {time}").unwrap();
        if found.is_dir() {
            add_files(&path, seen);
        }
    }
}

/// Whatever a tool says, it answers.
fn assert_answered(result: &ToolResult, row: &str) {
    assert!(!result.text().is_empty(), "{row:?}");
}

/// Gives a text to each parameter of the tools that a host serves which may only be read.
async fn look_with(program: &mut Program, text: &str, local: &Path) {
    let target = local.join("downloaded");
    for (tool, arguments) in [
        ("ssh_read", json!({"path": text})),
        ("ssh_read", json!({"path": format!("./{text}")})),
        ("ssh_search", json!({"pattern": text})),
        (
            "ssh_search",
            json!({"pattern": text, "ignoreCase": true, "context": 1}),
        ),
        ("ssh_search", json!({"pattern": "listen", "path": text})),
        ("ssh_search", json!({"pattern": "listen", "glob": text})),
        ("ssh_search", json!({"glob": text})),
        ("ssh_search", json!({"glob": format!("**/{text}")})),
        (
            "ssh_download",
            json!({"remotePath": text, "localPath": target}),
        ),
        (
            "ssh_download",
            json!({"remotePath": ".", "localPath": local.join("tree"), "exclude": [text]}),
        ),
    ] {
        let mut arguments: Value = arguments;
        arguments["session"] = json!("look");
        let result = program.call(tool, arguments).await;
        assert_answered(&result, text);
    }
}

fn is_installed(program: &str) -> bool {
    ["/usr/bin", "/bin"].map(|place| Path::new(place).join(program).exists()) != [false, false]
}

#[tokio::test]
async fn bypasses_work_on_a_free_host() {
    let world = World::new();
    let mut program = world.program().await;

    for (idea, rows) in BYPASSES {
        for (needs, row) in *rows {
            if !needs.is_empty() && !is_installed(needs) {
                continue;
            }

            let arguments = json!({
                "session": "host",
                "command": "bash -s",
                "stdin": world.row(row) + "\n",
                "cwd": world.host.home,
            });

            program.call("ssh_exec", arguments).await;
            let is_there = fs::symlink_metadata(world.mark()).is_ok();
            assert!(is_there, "{idea}: {row:?} does nothing");
            fs::remove_file(world.mark()).unwrap();
        }
    }
}

#[tokio::test]
async fn no_bypass_runs_where_one_may_only_read() {
    let world = World::new();
    let mut program = world.program().await;
    let before = world.files();

    for (idea, rows) in BYPASSES {
        for (_, row) in *rows {
            let row = world.row(row);
            let arguments = json!({"session": "look", "command": row});
            let result = program.call("ssh_exec", arguments).await;
            assert_refused(&result, &["access = \"read\"", "[host.look]"]);

            look_with(&mut program, &row, world.host.folder()).await;
            assert_eq!(world.files(), before, "{idea}: {row:?}");
        }
    }
}

#[tokio::test]
async fn no_argument_becomes_an_option_or_a_command() {
    let world = World::new();
    let mut program = world.program().await;
    let before = world.files();

    for row in ARGUMENTS {
        let row = world.row(row);
        look_with(&mut program, &row, world.host.folder()).await;
        assert_eq!(world.files(), before, "{row:?}");
    }
}

#[tokio::test]
async fn no_file_name_becomes_an_option_or_a_command() {
    let world = World::new();
    for name in FILE_NAMES {
        let folder = world.host.home.join("names").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), "listen\n").unwrap();
        fs::write(folder.join("a.sh"), "touch mark\n").unwrap();
        symlink("a.sh", folder.join("link")).unwrap();
    }

    let before = world.files();
    let mut program = world.program().await;
    for (tool, arguments) in [
        ("ssh_search", json!({"pattern": "listen", "path": "names"})),
        (
            "ssh_search",
            json!({"pattern": "listen", "path": "names", "context": 2}),
        ),
        ("ssh_search", json!({"glob": "**/*", "path": "names"})),
        (
            "ssh_search",
            json!({"pattern": "touch", "glob": "*.sh", "path": "names"}),
        ),
        ("ssh_read", json!({"path": "names"})),
        (
            "ssh_download",
            json!({"remotePath": "names", "localPath": world.host.local("names")}),
        ),
    ] {
        let mut arguments: Value = arguments;
        arguments["session"] = json!("look");
        program.call(tool, arguments).await.ok();
    }

    for name in FILE_NAMES {
        look_with(&mut program, &format!("names/{name}"), world.host.folder()).await;
    }

    assert_eq!(world.files(), before);
}

#[tokio::test]
async fn nothing_but_reading_goes_where_one_may_only_read() {
    let world = World::new();
    let mut program = world.program().await;
    let local = world.host.local("local.txt");
    fs::write(&local, "x\n").unwrap();
    fs::write(world.host.home.join("other.txt"), "y\n").unwrap();
    let before = world.files();
    let refused = ["access = \"read\"", "[host.look]"];

    let command = world.row("touch MARK");
    for (tool, arguments) in [
        ("ssh_exec", json!({"command": command, "pty": true})),
        ("ssh_exec", json!({"command": command, "background": true})),
        ("ssh_exec", json!({"command": command, "detach": true})),
        ("ssh_exec", json!({"command": command, "sudo": true})),
        ("ssh_exec", json!({"command": "sh", "stdin": command})),
        (
            "ssh_exec",
            json!({"command": "id", "env": {"BASH_ENV": command}}),
        ),
        ("ssh_shell", json!({"command": "id"})),
        ("ssh_shell", json!({"command": "id", "sudo": true})),
        ("ssh_shell", json!({"command": "id", "user": "nobody"})),
        ("ssh_read", json!({"path": "app.conf", "sudo": true})),
        (
            "ssh_edit",
            json!({"path": "app.conf", "oldText": "80", "newText": "81"}),
        ),
        (
            "ssh_edit",
            json!({"patch": "*** Begin Patch\n*** Add File: mark\n+x\n*** End Patch\n"}),
        ),
        (
            "ssh_upload",
            json!({"localPath": local, "remotePath": "mark"}),
        ),
        (
            "ssh_upload",
            json!({"localPath": "host:~/other.txt", "remotePath": "mark"}),
        ),
        ("ssh_forward", json!({"to": "socks"})),
        ("ssh_forward", json!({"to": "22"})),
        ("ssh_forward", json!({"to": "22", "direction": "remote"})),
    ] {
        let mut arguments: Value = arguments;
        arguments["session"] = json!("look");
        let result = program.call(tool, arguments).await;
        assert_refused(&result, &refused);
    }

    // A copy to it from another host.
    let arguments = json!({
        "session": "host",
        "remotePath": "other.txt",
        "localPath": "look:~/mark",
    });
    assert_refused(&program.call("ssh_download", arguments).await, &refused);

    let arguments = json!({"sessions": ["look"], "command": command});
    let result = program.call("ssh_exec", arguments).await;
    assert!(
        result.text().contains("access = \"read\""),
        "{}",
        result.text()
    );

    assert_eq!(world.files(), before);

    // What is left does its work.
    for (tool, arguments, expected) in [
        ("ssh_read", json!({"path": "app.conf"}), "listen 80"),
        ("ssh_search", json!({"pattern": "listen"}), "listen 80"),
        (
            "ssh_download",
            json!({"remotePath": "app.conf", "localPath": world.host.local("copy")}),
            "",
        ),
    ] {
        let mut arguments: Value = arguments;
        arguments["session"] = json!("look");
        let result = program.call(tool, arguments).await.ok();
        assert!(
            result.text().contains(expected),
            "{tool}: {}",
            result.text()
        );
    }
}
