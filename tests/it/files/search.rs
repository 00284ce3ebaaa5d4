//! `ssh_search` by the programs of the host: contents, names, and what the answer says about them.

use std::{
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::Path,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::last_line;
use crate::support::{
    checks::{assert_refused, plain},
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
    open_sshd::OpenSshd,
    programs,
};

/// Programs on the `PATH` of a host: those of this machine's searches, or fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Programs {
    Rg,
    Grep,
    Busybox,
    /// A shell and nothing that searches.
    None,
}

impl Programs {
    /// All that are here. `rg` is tested where it is installed.
    pub(super) fn all() -> Vec<Self> {
        let has_rg = Path::new("/usr/bin/rg").exists();
        [Self::Rg, Self::Grep, Self::Busybox, Self::None]
            .into_iter()
            .filter(|programs| has_rg || *programs != Self::Rg)
            .collect()
    }

    /// A folder with links to the programs.
    fn folder(self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let link = |name: &str, to: &Path| symlink(to, folder.path().join(name)).unwrap();
        let own = |names: &[&str]| {
            for name in names {
                let place = ["/usr/bin", "/bin"].map(|place| Path::new(place).join(name));
                let place = place.iter().find(|place| place.exists());
                link(name, place.unwrap_or_else(|| panic!("{name} is missing")));
            }
        };

        match self {
            Self::Rg => own(&["env", "sh", "rg", "xargs", "stat"]),
            Self::Grep => own(&["env", "sh", "grep", "find", "stat"]),
            Self::Busybox => {
                let busybox = programs::shell("busybox");
                for name in ["env", "sh", "grep", "find", "stat", "head", "tr", "wc"] {
                    link(name, &busybox);
                }
            }
            Self::None => own(&["env", "sh"]),
        }

        folder
    }

    /// The name of the engine in an answer about contents.
    pub(super) fn engine(self) -> &'static str {
        match self {
            Self::Rg => "rg",
            Self::Grep | Self::Busybox => "grep",
            Self::None => "SFTP",
        }
    }

    /// A host with these programs, to which a client is connected.
    pub(super) async fn connect(self) -> Searched {
        let folder = self.folder();
        let path = folder.path().to_owned();
        let host = TestHost::openssh_with(|settings| {
            settings.extra_config += " PATH=";
            settings.extra_config += path.to_str().unwrap();
        });

        Searched {
            host: host.connect().await,
            _folder: folder,
        }
    }
}

/// A host that is searched, and the folder with its programs.
pub(super) struct Searched {
    pub(super) host: ConnectedHost<OpenSshd>,
    _folder: TempDir,
}

impl Searched {
    /// Writes a file in the home of the log-ins, with the directories above.
    pub(super) fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.host.home.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// `ssh_search`, which may fail.
    pub(super) async fn search(&mut self, parameters: Value) -> ToolResult {
        self.host.mcp.call("ssh_search", parameters).await
    }

    /// The lines of an answer before the last one.
    pub(super) async fn found(&mut self, parameters: Value) -> Vec<String> {
        let result = self.search(parameters).await.ok();
        lines(&result)
    }
}

/// The lines of an answer before the last one.
pub(super) fn lines(result: &ToolResult) -> Vec<String> {
    let mut lines: Vec<String> = result.text().lines().map(str::to_owned).collect();
    lines.pop();
    lines
}

#[tokio::test]
async fn each_program_finds_the_same_lines() {
    for programs in Programs::all() {
        let mut host = programs.connect().await;
        host.write("conf/a.conf", "one\nlisten 80;\nthree\n\n  listen 443;\n");
        host.write("conf/deep/b.conf", "# listens\r\nlisten 8080;\r\n");
        host.write("conf/.hidden", "listen\n");
        host.write("conf/notes.txt", "listen to music\n");
        host.write("conf/.git/config", "listen\n");

        let result = host
            .search(json!({"pattern": r"listen\s+\d+", "path": "conf"}))
            .await
            .ok();
        assert_eq!(
            lines(&result),
            [
                "conf/a.conf:2: listen 80;",
                "conf/a.conf:5:   listen 443;",
                "conf/deep/b.conf:2: listen 8080;"
            ],
            "{programs:?}"
        );
        let root = host.host.home.join("conf");
        assert_eq!(
            last_line(&result),
            format!(
                "[3 matches in 2 files · {} · {}]",
                root.display(),
                programs.engine()
            )
        );
        assert_eq!(
            result.structured(),
            &json!({"path": root, "engine": programs.engine(), "matches": 3, "files": 2, "shown": 3, "complete": true})
        );

        for (parameters, expected) in [
            (
                json!({"pattern": 8080, "path": "conf", "glob": "*.conf", "limit": 1}),
                &["conf/deep/b.conf:2: listen 8080;"][..],
            ),
            (
                json!({"pattern": "LISTEN", "path": "conf/", "glob": "deep/*", "ignoreCase": true}),
                &[
                    "conf/deep/b.conf:1: # listens",
                    "conf/deep/b.conf:2: listen 8080;",
                ],
            ),
            (
                json!({"pattern": "^listen$", "path": "~/conf"}),
                &["~/conf/.hidden:1: listen"],
            ),
            (
                json!({"pattern": "80;$", "path": "conf", "context": "1"}),
                &[
                    "conf/a.conf-1- one",
                    "conf/a.conf:2: listen 80;",
                    "conf/a.conf-3- three",
                    "conf/deep/b.conf-1- # listens",
                    "conf/deep/b.conf:2: listen 8080;",
                ],
            ),
            (
                json!({"pattern": "listen", "path": "conf", "filesOnly": true, "glob": "!*.txt"}),
                &["conf/.hidden: 1", "conf/a.conf: 2", "conf/deep/b.conf: 2"],
            ),
            (
                json!({"pattern": "LISTEN|muse?ic", "path": "conf/notes.txt"}),
                &["conf/notes.txt:1: listen to music"],
            ),
            (json!({"pattern": "nothing like it", "path": "conf"}), &[]),
        ] {
            let found = host.found(parameters.clone()).await;
            assert_eq!(found, expected, "{programs:?} {parameters}");
        }
    }
}

#[tokio::test]
async fn each_program_lists_names_newest_first() {
    for programs in Programs::all() {
        let mut host = programs.connect().await;
        for (name, seconds) in [
            ("a.log", 3),
            ("d/b.log", 9),
            ("d/two\nlines.log", 6),
            ("c.txt", 7),
        ] {
            host.write(name, "x");
            let time =
                std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000 + seconds);
            let file = fs::File::options()
                .append(true)
                .open(host.host.home.join(name))
                .unwrap();
            file.set_modified(time).unwrap();
        }

        let result = host.search(json!({"glob": "*.log"})).await.ok();
        assert_eq!(
            lines(&result),
            ["d/b.log", "d/two\\nlines.log", "a.log"],
            "{programs:?}"
        );
        assert!(
            last_line(&result).starts_with("[3 files · /"),
            "{}",
            last_line(&result)
        );

        let first = host
            .search(json!({"glob": "*.{log,txt}", "limit": 2}))
            .await
            .ok();
        assert_eq!(lines(&first), ["d/b.log", "c.txt"], "{programs:?}");
        assert!(
            last_line(&first).starts_with("[newest 2 of 4 files"),
            "{}",
            last_line(&first)
        );

        let absolute = format!("{}/d/*.log", host.host.home.display());
        assert_eq!(
            host.found(json!({"glob": absolute})).await.len(),
            2,
            "{programs:?}"
        );
    }
}

#[tokio::test]
async fn names_are_any_bytes() {
    let names: [&[u8]; 7] = [
        b"a:1:b",
        b"two\nlines:7:x",
        b"\xff\xfe",
        b"-rf",
        b"; touch bad",
        b"$(touch bad)",
        b"it's \"quoted\"",
    ];

    for programs in Programs::all() {
        let mut host = programs.connect().await;
        for name in names {
            host.write(
                Path::new("d").join(std::ffi::OsStr::from_bytes(name)),
                "needle\n",
            );
        }

        let mut found = host.found(json!({"pattern": "needle", "path": "d"})).await;
        found.sort();
        let mut expected: Vec<String> = names
            .iter()
            .map(|name| match std::str::from_utf8(name) {
                Ok(name) => format!("d/{}:1: needle", name.replace('\n', "\\n")),
                Err(_) => "d/\\xff\\xfe:1: needle".to_owned(),
            })
            .collect();
        expected.sort();
        assert_eq!(found, expected, "{programs:?}");

        for (typed, shown) in [
            ("d/-rf", "d/-rf"),
            ("d/two\nlines:7:x", "d/two\\nlines:7:x"),
            ("d/\\xff\\xfe", "d/\\xff\\xfe"),
            ("d/$(touch bad)", "d/$(touch bad)"),
        ] {
            let found = host
                .found(json!({"pattern": "needle", "path": typed}))
                .await;
            assert_eq!(found, [format!("{shown}:1: needle")], "{programs:?}");
        }
        assert!(!host.host.home.join("bad").exists() && !host.host.home.join("d/bad").exists());
    }
}

#[tokio::test]
async fn no_parameter_is_an_option_or_a_command() {
    for programs in Programs::all() {
        let mut host = programs.connect().await;
        for name in ["d/-rf", "d/--pre=touch", "-e"] {
            host.write(name, "-rf --pre=cmd ; touch x $(touch x) 'quoted' \\d\n");
        }
        for pattern in [
            "-rf",
            "--pre=cmd",
            "; touch x",
            r"\$\(touch x\)",
            "'quoted'",
            "-f/etc/passwd|-rf",
            r"\\d",
        ] {
            let found = host.found(json!({"pattern": pattern, "path": "d"})).await;
            assert_eq!(found.len(), 2, "{programs:?} {pattern}");
        }

        for (path, count) in [("./-e", 1), ("-e", 1)] {
            let found = host.found(json!({"pattern": "quoted", "path": path})).await;
            assert_eq!(found.len(), count, "{programs:?} {path}");
        }
        for glob in ["-rf", "--pre=*", "-*"] {
            let found = host.found(json!({"glob": glob, "path": "d"})).await;
            assert!(!found.is_empty(), "{programs:?} {glob}");
        }
        for bad in [
            "$(touch x)",
            "; touch x",
            "--files-from=/etc/passwd",
            "-exec rm {} +",
        ] {
            for key in ["path", "glob"] {
                host.search(json!({"pattern": "x", key: bad})).await;
            }
        }
        assert!(!host.host.home.join("x").exists() && !host.host.home.join("d/x").exists());
    }
}

#[tokio::test]
async fn what_cannot_be_searched_is_refused() {
    for programs in Programs::all() {
        let mut host = programs.connect().await;
        host.host.exec("exec 2>/dev/null; cd; echo", plain()).await;
        for (parameters, parts) in [
            (json!({}), &["pattern or glob is missing"][..]),
            (json!({"pattern": ""}), &["pattern or glob is missing"]),
            (
                json!({"pattern": "a(b"}),
                &["pattern \"a(b\"", "unclosed group", "put \\"],
            ),
            (json!({"pattern": "(?<=a)b"}), &["look-around"]),
            (json!({"pattern": "a\nb"}), &["within one line"]),
            (
                json!({"glob": "[a"}),
                &["glob \"[a\"", "bracket is not closed"],
            ),
            (json!({"pattern": "x", "limit": 0}), &["limit must be 1"]),
            (json!({"pattern": "x", "limit": -1}), &["limit"]),
            (
                json!({"pattern": "x", "context": 51}),
                &["context must be 50"],
            ),
            (
                json!({"pattern": "x", "path": "missing"}),
                &["no such file", "ssh_read"],
            ),
            (
                json!({"pattern": "x", "path": "~root"}),
                &["home directory"],
            ),
            (
                json!({"pattern": "x", "path": "/dev/null"}),
                &["not a regular file"],
            ),
            (
                json!({"glob": "x", "path": "missing\u{1b}[2J"}),
                &["missing\\u{1b}"],
            ),
            (json!({"pattern": "x", "colour": "red"}), &["colour"]),
        ] {
            assert_refused(&host.search(parameters.clone()).await, parts);
        }
    }
}

#[tokio::test]
async fn a_relative_path_starts_where_the_shell_stands() {
    let mut host = Programs::Grep.connect().await;
    host.write("project/src/a.rs", "fn main() {}\n");
    let home = host.host.home.display().to_string();
    host.host
        .shell(&format!("cd {home}/project"), plain())
        .await;

    let found = host
        .search(json!({"pattern": r"fn main\(\) \{", "glob": "*.rs"}))
        .await
        .ok();
    assert_eq!(lines(&found), ["src/a.rs:1: fn main() {}"]);
    let root = host.host.home.join("project");
    assert!(last_line(&found).contains(&format!("· {} ·", root.display())));

    let home = host.found(json!({"pattern": "main", "path": "~"})).await;
    assert_eq!(home, ["~/project/src/a.rs:1: fn main() {}"]);
}
