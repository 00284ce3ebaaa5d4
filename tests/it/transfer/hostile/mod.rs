//! Servers that lie, break the protocol or never end. Whatever one does: nothing outside the given path is written, what
//! was there before is whole, nothing half-made is left, memory and time are bounded, the session goes on, and what the
//! agent reads is short and harmless.

mod between_hosts;
mod dying;
mod editing;
pub(crate) mod faults;
mod reading;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{
    checks::{eventually, random},
    daemon::Daemon,
    fake_sshd::{FakeSshd, FakeSshdSettings, tampered::Fault},
    http_client::{Dialect, HttpClient},
    keys,
};

/// No call takes longer, however slow the machine.
const DEADLINE: Duration = Duration::from_secs(300);
/// How long a call that does not end is let go on.
const LONG_ENOUGH: Duration = Duration::from_secs(3);
/// Servers at once.
const AT_ONCE: usize = 4;
/// What a transfer may need, in MB, and some more for threads and buffers.
const GROWTH: u64 = 48;

/// A hostile server.
struct Row {
    name: &'static str,
    call: Call,
    ends: Ends,
    /// What it does, made anew for each of its channels.
    fault: fn(&Scenery) -> Fault,
    /// How much memory the call may need, in MB.
    growth: u64,
    /// It says that it is OpenSSH, which is asked for several things at once.
    poses_as_openssh: bool,
    /// What it prints instead of running a script that reads a file; `None` if it runs the script.
    prints: Option<&'static [u8]>,
}

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    /// `file` to `target`, which is there.
    DownloadFile,
    /// `tree` to `to`, which is not.
    DownloadTree,
    /// The same for the second time.
    DownloadTreeAgain,
    /// `file` to `target`, which is there.
    UploadFile,
    /// `tree` to `to`, which is not.
    UploadTree,
    /// `file` from its beginning.
    ReadFile,
    /// The last lines of `file`.
    ReadEnd,
    /// `tree` as a directory.
    ReadDirectory,
    /// A text of `file`.
    EditFile,
    /// The files of `tree`.
    SearchTree,
}

impl Call {
    /// The tool and its arguments; `work` is the folder of this machine.
    fn request(self, work: &Path) -> (&'static str, Value) {
        let transfer = |local: &str, remote: &str| json!({"localPath": work.join(local), "remotePath": remote});
        match self {
            Self::DownloadFile => ("ssh_download", transfer("inside/target", "file")),
            Self::DownloadTree | Self::DownloadTreeAgain => {
                ("ssh_download", transfer("inside/to", "tree/."))
            }
            Self::UploadFile => ("ssh_upload", transfer("source/file", "target")),
            Self::UploadTree => ("ssh_upload", transfer("source/tree", "to")),
            Self::ReadFile => ("ssh_read", json!({"path": "file"})),
            Self::ReadEnd => ("ssh_read", json!({"path": "file", "offset": -3})),
            Self::ReadDirectory => ("ssh_read", json!({"path": "tree/."})),
            Self::EditFile => (
                "ssh_edit",
                json!({"path": "file", "oldText": "abc", "newText": "xyz"}),
            ),
            Self::SearchTree => ("ssh_search", json!({"pattern": "abc", "path": "tree/."})),
        }
    }

    /// The longest text that an agent is given to read, in bytes.
    fn max_text_bytes(self) -> usize {
        match self {
            Self::ReadFile | Self::ReadEnd | Self::ReadDirectory | Self::SearchTree => 40_000,
            _ => 10_000,
        }
    }
}

/// How the call ends.
#[derive(Debug, Clone, Copy)]
enum Ends {
    /// Well, and both sides are the same.
    Same,
    /// Well, with this in its text.
    Well(&'static str),
    /// Not well, with this in its text.
    Badly(&'static str),
    /// When it is given up.
    Never,
}

/// What a fault can refer to.
struct Scenery {
    /// A directory that nothing may be written into.
    outside: PathBuf,
    /// The content of the file that is fetched.
    content: Vec<u8>,
    /// How many channels there were before.
    channel: usize,
}

/// Everything of one row.
struct Scene {
    folder: tempfile::TempDir,
    _sshd: FakeSshd,
    daemon: Daemon,
    client: HttpClient,
}

async fn hold(rows: Vec<Row>) {
    // Each as a task, so that all that are broken are named.
    let ends =
        stream::iter(rows).map(async |row| (row.name, tokio::spawn(holds(row)).await.is_err()));
    let broken = ends
        .buffer_unordered(AT_ONCE)
        .filter_map(async |(name, is_broken)| is_broken.then_some(name));
    assert_eq!(broken.collect::<Vec<_>>().await, [""; 0]);
}

async fn holds(row: Row) {
    let Row {
        name,
        call,
        ends,
        growth,
        ..
    } = row;

    let mut scene = Scene::set(row.fault, row.poses_as_openssh, row.prints).await;
    let (before, memory) = (scene.untouched(), scene.memory());

    if call == Call::DownloadTreeAgain {
        drop(
            timeout(DEADLINE, scene.call(call))
                .await
                .expect("the first one ends"),
        );
    }

    let limit = if let Ends::Never = ends {
        LONG_ENOUGH
    } else {
        DEADLINE
    };

    let ended = timeout(limit, scene.call(call)).await.ok();

    if let Some((is_error, text)) = &ended {
        let (expected, part) = match ends {
            Ends::Same => (false, ""),
            Ends::Well(part) => (false, part),
            Ends::Badly(part) => (true, part),
            Ends::Never => panic!("{name}: it has ended: {text}"),
        };

        assert!(
            *is_error == expected && text.contains(part),
            "{name}: {text}"
        );

        assert!(
            text.len() < call.max_text_bytes(),
            "{name}: {} bytes of text: {text:.500}",
            text.len()
        );

        harmless(name, text);
    } else {
        assert!(
            matches!(ends, Ends::Never),
            "{name}: it has not ended after {limit:?}"
        );
    }

    for message in &scene.client.others {
        let message = message["params"]["message"].as_str().unwrap_or_default();
        harmless(name, message);
        assert!(
            message.len() < 1_000,
            "{name}: {} bytes of progress: {message:.500}",
            message.len()
        );
    }

    let grown = scene.memory().saturating_sub(memory);
    assert!(grown <= growth, "{name}: {grown} MB more than before");
    let work = scene.folder.path().join("work");
    let home = scene.folder.path().join("home");
    eventually("nothing half-made is left", || {
        litter(&work).is_empty() && litter(&home).is_empty()
    })
    .await;

    assert_eq!(scene.untouched(), before, "{name}");

    match (ends, call) {
        (Ends::Same, Call::DownloadFile) => assert!(
            same(&home.join("file"), &work.join("inside/target")),
            "{name}"
        ),
        (Ends::Same, Call::UploadFile) => assert!(
            same(&work.join("source/file"), &home.join("target")),
            "{name}"
        ),
        (Ends::Same, Call::UploadTree) => {
            assert!(same(&work.join("source/tree"), &home.join("to")), "{name}");
        }
        (Ends::Same, _) => assert!(same(&home.join("tree"), &work.join("inside/to")), "{name}"),
        (Ends::Badly(_) | Ends::Never, _) => {
            for target in [work.join("inside/target"), home.join("target")] {
                assert_eq!(fs::read(target).unwrap(), b"old", "{name}");
            }
        }
        (Ends::Well(_), _) => {}
    }

    let alive = scene
        .client
        .call("ssh_exec", json!({"command": "echo alive"}))
        .await;

    assert_eq!(alive.stdout(), "alive\n", "{name}");
}

impl Scene {
    async fn set(
        fault: fn(&Scenery) -> Fault,
        poses_as_openssh: bool,
        prints: Option<&[u8]>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let content = random(1_000_000);

        for side in ["home", "work/source"] {
            fs::create_dir_all(at(side).join("tree/sub")).unwrap();
            fs::write(at(side).join("file"), &content).unwrap();
            fs::write(at(side).join("tree/long"), &content).unwrap();
            fs::write(at(side).join("tree/short"), "short").unwrap();
            fs::write(at(side).join("tree/sub/short"), "another").unwrap();
            std::os::unix::fs::symlink("short", at(side).join("tree/link")).unwrap();
        }

        for path in ["work/outside/victim", "work/inside/target", "home/target"] {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), "old").unwrap();
        }

        let (outside, channels) = (at("work/outside"), AtomicUsize::new(0));

        let make = move || {
            let channel = channels.fetch_add(1, Ordering::SeqCst);
            let fault = fault(&Scenery {
                outside: outside.clone(),
                content: content.clone(),
                channel,
            });

            if poses_as_openssh {
                faults::posing_as_openssh(fault)
            } else {
                fault
            }
        };

        let key = keys::ed25519();
        keys::write_private_key(&at("id_ed25519"), &key, None);

        let mut settings = FakeSshdSettings::default();
        if let Some(answer) = prints {
            settings.login_shell = shell_that_prints(folder.path(), answer);
        }

        let sshd = FakeSshd::start(FakeSshdSettings {
            authorized_keys: vec![key.public_key().clone()],
            home: Some(at("home")),
            fault: Some(Box::new(make)),
            software: if poses_as_openssh {
                "SSH-2.0-OpenSSH_9.9"
            } else {
                settings.software
            },
            ..settings
        });

        let identity = format!("IdentityFile {}", at("id_ed25519").display());
        let config = sshd.write_ssh_config(folder.path(), "host", &identity);
        let daemon = Daemon::start(&config, folder.path(), &[]).await;
        let mut client = HttpClient::connect(&daemon.address, Dialect::Stateless).await;
        client
            .call("ssh_connect", json!({"host": "host"}))
            .await
            .ok();

        Self {
            folder,
            _sshd: sshd,
            daemon,
            client,
        }
    }

    /// Whether it failed, and what it says. Dropped, it is given up.
    async fn call(&mut self, call: Call) -> (bool, String) {
        let (tool, arguments) = call.request(&self.folder.path().join("work"));
        let params = json!({"name": tool, "arguments": arguments, "_meta": {"progressToken": "p"}});
        let pending = self.client.begin("tools/call", params).await;
        let result = self.client.finish(pending).await;
        (result.is_error(), result.text())
    }

    /// What no call may change on this machine, byte by byte.
    fn untouched(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = snapshot(&self.folder.path().join("work"), Path::new("inside/to"));
        found.remove(Path::new("inside/target"));
        found
    }

    /// The most memory that the program has had, in MB; 0 where that cannot be told.
    fn memory(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.daemon.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.map_or(0, |line| {
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1000
        })
    }
}

/// A login shell that prints an answer instead of running a script that reads a file.
fn shell_that_prints(folder: &Path, answer: &[u8]) -> String {
    let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    fs::write(at("answer"), answer).unwrap();
    let script = format!(
        "#!/bin/sh\ncase $2 in 'exec env LC_ALL=C /bin/sh') exec cat {} ;; esac\nexec /bin/sh \"$@\"\n",
        at("answer")
    );
    fs::write(at("shell"), script).unwrap();
    fs::set_permissions(at("shell"), fs::Permissions::from_mode(0o755)).unwrap();

    at("shell")
}

/// Whether two files or trees are the same.
fn same(one: &Path, other: &Path) -> bool {
    if one.is_file() {
        return fs::read(one).unwrap() == fs::read(other).unwrap();
    }
    snapshot(one, Path::new("-")) == snapshot(other, Path::new("-"))
}

/// Everything below a directory, but for one path: the content of files, the targets of links.
fn snapshot(root: &Path, except: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn visit(root: &Path, at: &Path, except: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(root.join(at)).unwrap() {
            let entry = entry.unwrap();
            let (path, kind) = (at.join(entry.file_name()), entry.file_type().unwrap());
            if path == except {
                continue;
            }

            let content = if kind.is_symlink() {
                fs::read_link(entry.path())
                    .unwrap()
                    .as_os_str()
                    .as_bytes()
                    .to_vec()
            } else if kind.is_dir() {
                visit(root, &path, except, found);
                Vec::new()
            } else {
                fs::read(entry.path()).unwrap()
            };

            found.insert(path, content);
        }
    }

    let mut found = BTreeMap::new();
    visit(root, Path::new(""), except, &mut found);

    found
}

/// Temporary files, as far down as paths reach.
fn litter(root: &Path) -> Vec<PathBuf> {
    let (mut found, mut directories) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                directories.push(entry.path());
            } else if entry.path().extension().is_some_and(|end| end == "part") {
                found.push(entry.path());
            }
        }
    }

    found
}

/// Nothing that a terminal obeys, and nothing that makes text read otherwise than it is.
fn harmless(name: &str, text: &str) {
    let bad = |letter: char| {
        letter.is_control() && !matches!(letter, '\n' | '\t')
            || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.contains(bad), "{name}: {text:?}");
}
