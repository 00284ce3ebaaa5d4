//! The scripts that change files, run by every shell that may be `/bin/sh` somewhere, without SSH.

mod contents;
mod faults;
mod kept;
mod loading;
mod names;

use std::{
    fs,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use mcp_ssh_sessions::framing::edit_file::{self, ChangeAnswer, ChangeEnd, FoundKind, LoadedBytes};
use tempfile::TempDir;

use crate::support::{checks::skipped, other_user::OTHER};

/// A shell with its programs, and a folder.
struct Host {
    shell: Vec<String>,
    /// `PATH` of the shell.
    programs: String,
    folder: TempDir,
}

/// A script that runs.
struct Running {
    child: Child,
    writer: std::thread::JoinHandle<()>,
}

/// A host for each shell that may be `/bin/sh`. That of busybox has no other programs than its own.
fn hosts() -> Vec<Host> {
    let mut hosts = Vec::new();
    for shell in ["dash", "bash", "busybox"] {
        let folders = ["/bin", "/usr/bin"].map(|folder| Path::new(folder).join(shell));
        let Some(program) = folders.iter().find(|path| path.is_file()) else {
            skipped(&format!("{shell} is not installed"));
            continue;
        };
        hosts.push(Host::new(program));
    }
    hosts
}

impl Host {
    fn new(program: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        fs::create_dir(&home).unwrap();
        // Other users reach what is in it.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(folder.path(), open).unwrap();

        let mut shell = vec![program.display().to_string()];
        let mut programs = std::env::var("PATH").unwrap();
        if program.ends_with("busybox") {
            let applets = folder.path().join("applets");
            fs::create_dir(&applets).unwrap();
            let installed = Command::new(program)
                .args(["--install", "-s"])
                .arg(&applets)
                .status();
            assert!(installed.unwrap().success());
            shell.push("sh".to_owned());
            programs = applets.display().to_string();
        }

        Self {
            shell,
            programs,
            folder,
        }
    }

    fn name(&self) -> String {
        self.shell.join(" ")
    }

    fn is_busybox(&self) -> bool {
        self.shell.len() > 1
    }

    /// A folder of its own, which holds nothing else.
    fn work(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work().join(name)
    }

    /// Runs a script to its end.
    fn run(&self, script: &[u8]) -> Vec<u8> {
        self.begin(script, None).answer()
    }

    /// Runs a script as another user.
    fn run_as_other(&self, script: &[u8]) -> Vec<u8> {
        self.begin(script, Some(OTHER)).answer()
    }

    fn begin(&self, script: &[u8], user: Option<u32>) -> Running {
        let (program, arguments) = self.shell.split_first().unwrap();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", &self.programs)
            .env("HOME", self.folder.path().join("home"))
            .current_dir(self.work())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(user) = user {
            command.uid(user).gid(user);
        }

        let mut child = command.spawn().unwrap();
        let (mut stdin, script) = (child.stdin.take().unwrap(), script.to_vec());
        let writer = std::thread::spawn(move || drop(stdin.write_all(&script)));

        Running { child, writer }
    }

    /// Gives a file that still has this content other content.
    fn write(&self, path: &Path, old: &[u8], new: &[u8]) -> Change {
        Change::read(&self.run(&write_script(path, old, new)))
    }

    /// The answer to a change of a plain file.
    fn rewritten(&self) -> Change {
        Change::in_place(self.reason_before(""))
    }

    /// The reason to write in place: `BusyBox` does not show if a file has an ACL, or this one.
    fn reason_before<'a>(&self, reason: &'a str) -> &'a str {
        if self.is_busybox() { "unseen" } else { reason }
    }

    fn create(&self, path: &Path, content: &[u8], may_make: bool) -> Change {
        let script = edit_file::create(bytes(path), content, may_make, "0123abc");
        Change::read(&self.run(&script))
    }

    /// Asserts that nothing is in the folder but these files.
    fn assert_only(&self, names: &[&str]) {
        let found = crate::support::disk::names(&self.work());
        assert_eq!(found, names, "{}", self.name());
    }
}

impl Running {
    fn answer(self) -> Vec<u8> {
        let output = self.child.wait_with_output().unwrap();
        self.writer.join().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(said, "", "{}", output.stdout.escape_ascii());
        output.stdout
    }
}

/// An answer to a script, in a form that can be compared.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    end: ChangeEnd,
    reason: String,
    lost: Vec<String>,
    made: Vec<String>,
    message: String,
}

impl Change {
    fn read(answer: &[u8]) -> Self {
        let Some(ChangeAnswer {
            end,
            message,
            reason,
            lost,
            made,
            ..
        }) = edit_file::parse_change(answer)
        else {
            panic!("no answer: {}", answer.escape_ascii());
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();

        Self {
            end,
            reason: text(reason.unwrap_or_default()),
            lost: lost.into_iter().map(text).collect(),
            made: made.into_iter().map(text).collect(),
            message: text(message),
        }
    }

    /// The answer to a change that was made without remark.
    fn done() -> Self {
        Self::ended(ChangeEnd::Done)
    }

    fn ended(end: ChangeEnd) -> Self {
        Self {
            end,
            reason: String::new(),
            lost: Vec::new(),
            made: Vec::new(),
            message: String::new(),
        }
    }

    fn in_place(reason: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            ..Self::done()
        }
    }

    /// Asserts that the host has refused a step with this message.
    fn assert_failed(&self, message: &str) {
        assert_eq!(self.end, ChangeEnd::Failed, "{self:?}");
        assert!(self.message.contains(message), "{message}: {self:?}");
    }
}

fn bytes(path: &Path) -> &[u8] {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())
}

fn loaded<'a>(path: &'a Path, content: &'a [u8]) -> LoadedBytes<'a> {
    LoadedBytes {
        path: bytes(path),
        content,
    }
}

fn write_script(path: &Path, old: &[u8], new: &[u8]) -> Vec<u8> {
    edit_file::write(loaded(path, old), new, "0123abc")
}
