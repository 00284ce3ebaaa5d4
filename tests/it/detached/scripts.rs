//! The scripts of detached jobs, run by every shell that may be `/bin/sh` somewhere, without SSH.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mcp_ssh_sessions::framing::{
    detached::{
        self, DetachedStart,
        answer::{self, DetachedJob, DetachedState, JobId, Refusal},
        launch,
    },
    exec::LoginShell,
    sentinel::Sentinel,
    stream::Stream,
};

use crate::support::{
    checks::{random, skipped},
    processes,
};

/// A remote machine: a home, and a shell as its `/bin/sh`.
pub(super) struct Machine {
    folder: tempfile::TempDir,
    /// The login shell.
    shell: String,
    path: String,
}

/// Where a program is; tests of what is not installed are skipped aloud.
fn program(name: &str) -> Option<PathBuf> {
    let found = ["/bin", "/usr/bin", "/usr/local/bin"].map(|folder| Path::new(folder).join(name));
    let found = found.into_iter().find(|path| path.is_file());
    if found.is_none() {
        skipped(&format!("{name} is not installed"));
    }
    found
}

/// A machine for each shell that may be `/bin/sh`.
pub(super) fn machines() -> Vec<Machine> {
    let shells = ["dash", "bash", "busybox"].into_iter().filter_map(program);
    shells
        .map(|shell| Machine::new(&shell, "/bin/sh"))
        .collect()
}

impl Machine {
    fn new(sh: &Path, login_shell: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("home dir")).unwrap();
        symlink(sh, folder.path().join("sh")).unwrap();
        let path = std::env::var("PATH").unwrap();

        Self {
            folder,
            shell: login_shell.to_owned(),
            path,
        }
    }

    /// Whether its `/bin/sh` can run this program.
    fn finds(&self, program: &str) -> bool {
        let mut shell = Command::new(self.folder.path().join("sh"));
        shell
            .args(["-c", &format!("command -v {program}")])
            .env("PATH", &self.path);
        shell.output().unwrap().status.success()
    }

    /// What its `/bin/sh` is.
    fn name(&self) -> PathBuf {
        fs::read_link(self.folder.path().join("sh")).unwrap()
    }

    pub(super) fn home(&self) -> PathBuf {
        self.folder.path().join("home dir")
    }

    pub(super) fn jobs(&self) -> PathBuf {
        self.home().join(".local/state/mcp-ssh-sessions/jobs")
    }

    pub(super) fn directory(&self, id: &JobId) -> PathBuf {
        self.jobs().join(id.as_str())
    }

    /// Runs a script as a server would, until everything it has started has closed its output.
    fn ask(&self, question: &[u8]) -> Vec<u8> {
        let sh = self.folder.path().join("sh").display().to_string();
        let question = replace(question, b"/bin/sh", sh.as_bytes());
        let mut command = Command::new(&self.shell);
        command
            .args(["-c", &launch().replace("/bin/sh", &sh)])
            .process_group(0)
            .current_dir(self.home());

        command
            .env_clear()
            .env("HOME", self.home())
            .env("SHELL", &self.shell)
            .env("PATH", &self.path);

        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();

        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || drop(stdin.write_all(&question)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();

        // bash says that when a file is not text.
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let said: Vec<_> = said
            .lines()
            .filter(|line| !line.ends_with("ignored null byte in input"))
            .collect();

        assert_eq!(said, [""; 0], "{}", String::from_utf8_lossy(&output.stdout));

        output.stdout
    }

    pub(super) fn start(&self, command: &str, stdin: Option<&[u8]>) -> JobId {
        let id = new_id();
        self.try_start(&id, command, stdin).unwrap();
        id
    }

    pub(super) fn try_start(
        &self,
        id: &JobId,
        command: &str,
        stdin: Option<&[u8]>,
    ) -> Result<(), Refusal> {
        self.begin(DetachedStart {
            stdin,
            ..self.with(id, command)
        })
    }

    pub(super) fn with<'a>(&self, id: &'a JobId, command: &'a str) -> DetachedStart<'a> {
        let shell = LoginShell::by_name(&self.shell);
        let environment = &[("V", "a 'b'")];
        DetachedStart {
            id,
            shell,
            program: None,
            command,
            directory: None,
            environment,
            stdin: None,
            limit: 0,
            again: false,
        }
    }

    pub(super) fn begin(&self, start: DetachedStart<'_>) -> Result<(), Refusal> {
        let mark = mark();
        answer::done(&self.ask(&detached::start(start, &mark).unwrap()), &mark)
    }

    pub(super) fn wait(
        &self,
        id: &JobId,
        seconds: u64,
        beyond: Option<(u64, u64)>,
    ) -> Result<DetachedJob, Refusal> {
        let mark = mark();
        answer::job(
            &self.ask(&detached::wait(id, seconds, beyond, &mark)),
            id,
            &mark,
        )
    }

    pub(super) fn end(&self, id: &JobId) -> DetachedState {
        self.wait(id, 60, None).unwrap().state
    }

    pub(super) fn list(&self) -> Vec<DetachedJob> {
        self.try_list().unwrap()
    }

    pub(super) fn try_list(&self) -> Result<Vec<DetachedJob>, Refusal> {
        let mark = mark();
        answer::jobs(&self.ask(&detached::list(&mark)), &mark)
    }

    pub(super) fn read(
        &self,
        id: &JobId,
        stream: Stream,
        offset: u64,
        count: u64,
    ) -> Result<Vec<u8>, Refusal> {
        let mark = mark();
        let answer = self.ask(&detached::read(id, stream, offset, count, &mark));
        answer::portion(&answer, offset, count, &mark).map(<[u8]>::to_vec)
    }

    fn stdout(&self, id: &JobId) -> String {
        String::from_utf8(self.read(id, Stream::Stdout, 0, 1_000_000).unwrap()).unwrap()
    }

    pub(super) fn feed(
        &self,
        id: &JobId,
        input: &[u8],
        close: bool,
        patience_tenths: u32,
    ) -> Result<(), Refusal> {
        let mark = mark();
        answer::done(
            &self.ask(&detached::feed(
                id,
                input,
                &detached::FeedOptions {
                    close,
                    is_secret: false,
                    patience_tenths,
                },
                &mark,
            )),
            &mark,
        )
    }

    fn signal(&self, id: &JobId, signal: &'static str) -> DetachedJob {
        self.try_signal(id, signal).unwrap()
    }

    pub(super) fn try_signal(
        &self,
        id: &JobId,
        signal: &'static str,
    ) -> Result<DetachedJob, Refusal> {
        let mark = mark();
        answer::job(
            &self.ask(&detached::record_signal(id, signal, &mark)),
            id,
            &mark,
        )
    }

    pub(super) fn remove(&self, id: &JobId) -> Result<(), Refusal> {
        let mark = mark();
        answer::done(&self.ask(&detached::remove(id, &mark)), &mark)
    }

    /// The processes that have this machine's home in their environment.
    pub(super) fn processes(&self) -> Vec<u32> {
        let home = format!("HOME={}", self.home().display());
        let lives_here = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == home.as_bytes())
        };

        fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
            .filter(lives_here)
            .collect()
    }

    fn assert_no_process_is_left(&self, what: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.processes().is_empty() {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.processes());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let pids: Vec<_> = self.processes().iter().map(u32::to_string).collect();
        processes::signal("KILL", &pids);
    }
}

pub(super) fn new_id() -> JobId {
    JobId::from_random(random(4).try_into().unwrap())
}

fn mark() -> Sentinel {
    Sentinel::from_random(random(16).try_into().unwrap())
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;

    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(from) {
            out.extend_from_slice(to);
            rest = after;
        } else {
            out.push(rest[0]);
            rest = &rest[1..];
        }
    }

    out
}

fn exited(state: &DetachedState) -> Option<u32> {
    if let DetachedState::Exited { code, .. } = state {
        Some(*code)
    } else {
        None
    }
}

fn signal_of(state: &DetachedState) -> &str {
    if let DetachedState::Signaled { signal, .. } = state {
        signal
    } else {
        "none"
    }
}

#[test]
fn a_command_runs_as_it_is_and_says_how_it_ended() {
    for machine in machines() {
        let id = machine.start("echo \"out $V\"; echo err >&2; pwd; exit 3", Some(b""));
        assert_eq!(exited(&machine.end(&id)), Some(3));
        assert_eq!(
            machine.stdout(&id),
            format!("out a 'b'\n{}\n", machine.home().display())
        );

        assert_eq!(machine.read(&id, Stream::Stderr, 0, 100).unwrap(), b"err\n");

        let row = machine.list().pop().unwrap();
        assert_eq!((&row.id, row.stderr, row.takes_input), (&id, 4, false));
        assert!(
            row.command.raw().starts_with("echo \"out") && row.started > 1_600_000_000,
            "{row:?}"
        );

        machine.remove(&id).unwrap();

        assert_eq!(
            (
                machine.list(),
                fs::read_dir(machine.jobs()).unwrap().count()
            ),
            (Vec::new(), 0)
        );

        machine.assert_no_process_is_left("after the end");
    }
}

#[test]
fn every_login_shell_runs_it() {
    for shell in ["bash", "dash", "zsh", "fish", "tcsh", "csh"]
        .into_iter()
        .filter_map(program)
    {
        let machine = Machine::new(Path::new("/bin/sh"), shell.to_str().unwrap());
        let long = format!("echo {}\n", "x".repeat(300)).repeat(1000);
        let id = machine.start(
            &format!("{long}echo it\\'s done; cat; exit 4"),
            Some(b"in\0put\xff"),
        );

        assert_eq!(exited(&machine.end(&id)), Some(4), "{}", shell.display());
        let output = machine.read(&id, Stream::Stdout, 300_000, 10_000).unwrap();

        assert!(
            output.ends_with(b"it's done\nin\0put\xff"),
            "{}: {output:?}",
            shell.display()
        );
    }
}

#[test]
fn what_the_command_begins_with_is_what_an_ordinary_one_has() {
    for machine in machines() {
        let look = "umask; ls /proc/self/fd | wc -l; grep SigIgn /proc/self/status; env | grep -v -e ^_= -e ^SHLVL= | sort";
        let id = machine.start(&format!("{look}; ps -o sid= -p $$"), None);
        machine.end(&id);
        let mut ordinary = Command::new(&machine.shell);
        ordinary
            .args(["-c", &format!("export V=\"a 'b'\"; {look}")])
            .current_dir(machine.home())
            .env_clear();

        ordinary
            .env("HOME", machine.home())
            .env("SHELL", &machine.shell)
            .env("PATH", &machine.path);

        let expected = String::from_utf8(ordinary.output().unwrap().stdout).unwrap();
        let stdout = machine.stdout(&id);
        assert!(
            stdout.starts_with(&expected),
            "{stdout}\ninstead of\n{expected}"
        );

        let row = machine.list().pop().unwrap();
        assert_eq!(
            stdout.lines().last().unwrap().trim(),
            row.process.pid().to_string()
        );
    }
}

#[test]
fn a_signal_is_told_from_an_exit_status_that_looks_like_one() {
    for machine in machines() {
        for (command, signal, code) in [
            ("kill -TERM $$", "TERM", None),
            ("kill -KILL $$", "KILL", None),
            ("exit 143", "none", Some(143)),
            ("exit 130", "none", Some(130)),
            ("sh -c 'kill -9 $$'", "none", Some(137)),
        ] {
            let id = machine.start(&format!("{command}; exit"), None);
            let end = machine.end(&id);
            assert_eq!(
                (signal_of(&end), exited(&end)),
                (signal, code),
                "{command} {:?}",
                machine.name()
            );
        }

        // A sleep that ends at the very moment of the signal would have bash go on.
        let id = machine.start("while :; do sleep 600; done", None);
        let pid = machine.signal(&id, "INT").process.pid();
        assert!(processes::signal("INT", &[format!("-{pid}")]));
        assert_eq!(signal_of(&machine.end(&id)), "INT");
        let id = machine.start(
            "trap 'exit 5' INT; echo ready; while :; do sleep 600; done",
            None,
        );

        machine.wait(&id, 60, Some((0, 0))).unwrap();
        let pid = machine.signal(&id, "INT").process.pid();
        assert!(processes::signal("INT", &[format!("-{pid}")]));
        assert_eq!(exited(&machine.end(&id)), Some(5));
        machine.assert_no_process_is_left("after signals");
    }
}

#[test]
fn stdin_stays_open_until_it_is_closed() {
    for machine in machines() {
        let id = machine.start(
            "while read -r line; do echo \"<$line>\"; done; echo end",
            None,
        );

        assert!(machine.list().pop().unwrap().takes_input);
        machine.feed(&id, b"one\ntwo\n", false, 100).unwrap();
        let row = machine.wait(&id, 60, Some((11, 0))).unwrap();
        assert_eq!((row.state, row.stdout), (DetachedState::Running, 12));
        machine.feed(&id, b"three\n", true, 100).unwrap();
        assert_eq!(exited(&machine.end(&id)), Some(0));
        assert_eq!(machine.stdout(&id), "<one>\n<two>\n<three>\nend\n");
        assert_eq!(machine.feed(&id, b"x", false, 1), Err(Refusal::Ended));
        machine.assert_no_process_is_left("after its stdin");

        let id = machine.start("exec sleep 600", None);
        assert_eq!(
            machine.feed(&id, &random(200_000), false, 3),
            Err(Refusal::Unread)
        );

        machine.feed(&id, b"", true, 3).unwrap();
        assert_eq!(machine.feed(&id, b"x", false, 3), Err(Refusal::Closed));
        let id = machine.start("exec sleep 600", Some(b"given"));
        assert_eq!(machine.feed(&id, b"x", false, 3), Err(Refusal::Closed));
    }
}

#[test]
fn output_is_read_byte_for_byte_from_any_offset() {
    for machine in machines() {
        let bytes = random(300_001);
        let id = machine.start("cat; cat /no/such", Some(&bytes));
        assert_eq!(exited(&machine.end(&id)), Some(1));

        for (offset, count) in [
            (0, 400_000),
            (0, 1),
            (4095, 2),
            (4096, 4096),
            (5000, 100_000),
            (300_000, 9),
            (300_001, 9),
        ] {
            let end = usize::try_from(offset + count).unwrap().min(bytes.len());
            let expected = &bytes[usize::try_from(offset).unwrap()..end];
            assert_eq!(
                machine.read(&id, Stream::Stdout, offset, count).unwrap(),
                expected,
                "{offset} {count}"
            );
        }

        assert_eq!(machine.read(&id, Stream::Stdout, 999_999, 10).unwrap(), b"");
    }
}

#[test]
fn only_what_has_ended_is_removed() {
    for machine in machines() {
        let id = machine.start("sleep 600", None);
        assert_eq!(machine.remove(&id), Err(Refusal::Running));
        assert_eq!(
            machine.wait(&id, 0, None).unwrap().state,
            DetachedState::Running
        );

        assert_eq!(machine.remove(&new_id()), Err(Refusal::Unknown));

        assert_eq!(
            machine
                .try_start(&id, "true", None)
                .map_err(|error| error.to_string().contains("exist")),
            Err(true)
        );

        assert_eq!(
            machine.wait(&id, 0, None).unwrap().state,
            DetachedState::Running
        );
    }
}

#[test]
fn a_job_without_processes_is_lost_even_if_its_id_is_reused() {
    for machine in machines() {
        let id = machine.start("sleep 600", None);
        let row = machine.list().pop().unwrap();
        let pids: Vec<_> = machine.processes().iter().map(u32::to_string).collect();
        processes::signal("KILL", &pids);
        machine.assert_no_process_is_left("killed");
        assert_eq!(machine.end(&id), DetachedState::Lost);
        let process = machine.directory(&id).join("process");
        let text = fs::read_to_string(&process).unwrap();
        let ours = std::process::id().to_string();
        fs::write(
            &process,
            text.replace(&row.process.pid().to_string(), &ours),
        )
        .unwrap();

        assert_eq!(machine.end(&id), DetachedState::Lost);
        fs::write(
            &process,
            text.replace(text.split(' ').next_back().unwrap().trim(), "other-host"),
        )
        .unwrap();

        assert_eq!(
            machine.end(&id),
            DetachedState::Elsewhere("other-host".into())
        );

        fs::write(&process, text).unwrap();
        machine.remove(&id).unwrap();
    }
}

#[test]
fn the_command_outlives_its_supervisor() {
    for machine in machines() {
        let id = machine.start("read -r line; echo \"$line\"; read -r line", None);
        let supervisor = fs::read_to_string(machine.directory(&id).join("process")).unwrap();
        assert!(processes::signal(
            "KILL",
            &[supervisor.split(' ').nth(2).unwrap().to_owned()]
        ));

        machine.feed(&id, b"still here\n", false, 100).unwrap();
        let row = machine.wait(&id, 60, Some((10, 0))).unwrap();
        assert_eq!(
            (row.state, machine.stdout(&id).as_str()),
            (DetachedState::Running, "still here\n")
        );

        machine.feed(&id, b"", true, 100).unwrap();
        assert_eq!(machine.end(&id), DetachedState::Lost);
        machine.remove(&id).unwrap();
        machine.assert_no_process_is_left("its stdin closed");
    }
}

#[test]
fn what_ended_more_than_a_week_ago_is_swept_and_nothing_else() {
    for machine in machines() {
        let ended: Vec<_> = (0..3).map(|_| machine.start("true", None)).collect();
        let running = machine.start("sleep 600", None);
        for id in &ended {
            assert_eq!(exited(&machine.end(id)), Some(0));
        }

        for (id, age) in [
            (&ended[0], "8 days ago"),
            (&ended[1], "6 days ago"),
            (&running, "30 days ago"),
        ] {
            let status = machine.directory(id).join("status");
            assert!(
                Command::new("touch")
                    .args(["-d", age])
                    .arg(status)
                    .status()
                    .unwrap()
                    .success()
            );
        }

        let left: Vec<_> = machine.list().into_iter().map(|job| job.id).collect();

        assert_eq!(
            (
                left.len(),
                left.contains(&ended[0]),
                left.contains(&running)
            ),
            (3, false, true)
        );

        let status = machine.directory(&ended[1]).join("status");

        assert!(
            Command::new("touch")
                .args(["-d", "8 days ago"])
                .arg(status)
                .status()
                .unwrap()
                .success()
        );

        machine.start("sleep 600", None);
        assert!(!machine.directory(&ended[1]).exists());
    }
}

#[test]
fn a_start_that_fails_says_why_and_leaves_nothing() {
    for machine in machines() {
        let id = new_id();
        fs::write(machine.home().join(".local"), "a file").unwrap();
        let error = machine.try_start(&id, "true", None).unwrap_err();
        assert!(
            matches!(&error, Refusal::Failed(said) if said.raw().contains("mkdir")),
            "{error:?}"
        );

        fs::remove_file(machine.home().join(".local")).unwrap();

        let start = DetachedStart {
            stdin: Some(b"all of this"),
            ..machine.with(&id, "echo never")
        };

        let mark = mark();
        let whole = detached::start(start, &mark).unwrap();

        for cut in [whole.len() - 1, whole.len() - 15] {
            let error = answer::done(&machine.ask(&whole[..cut]), &mark).unwrap_err();
            assert!(
                matches!(&error, Refusal::Failed(said) if said.raw().contains("incomplete")),
                "{error:?}"
            );
        }

        for cut in (0..whole.len() - 30).step_by(500) {
            let error = answer::done(&machine.ask(&whole[..cut]), &mark).unwrap_err();
            assert!(matches!(&error, Refusal::Garbled(_)), "{error:?}");
        }

        assert_eq!(fs::read_dir(machine.jobs()).unwrap().count(), 0);
    }
}

/// A file system of a few pages, on the home of a machine.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn on(machine: &Machine, kilobytes: u32) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &format!("size={kilobytes}k"), "none"])
            .arg(machine.home());

        let mounted = mount
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());

        mounted.then(|| Self(machine.home()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_a_start_and_keeps_the_status_of_others() {
    for machine in machines() {
        let mut refused = 0;
        for kilobytes in (4..60).step_by(4) {
            let Some(_disk) = SmallDisk::on(&machine, kilobytes) else {
                return skipped("only root can mount a small disk");
            };
            let id = new_id();

            match machine.try_start(&id, "cat /dev/zero; echo $?; exit 9", None) {
                Ok(()) => assert_eq!(exited(&machine.end(&id)), Some(9), "{kilobytes}"),
                Err(Refusal::Failed(_)) => {
                    refused += 1;
                    assert_eq!(
                        fs::read_dir(machine.jobs()).map_or(0, Iterator::count),
                        0,
                        "{kilobytes}"
                    );
                }
                Err(other) => panic!("{kilobytes}: {other}"),
            }

            machine.assert_no_process_is_left("a full disk");
        }

        assert!((2..13).contains(&refused), "{refused}");
    }
}

#[test]
fn without_setsid_and_mkfifo_it_works_with_less() {
    for mut machine in machines() {
        let bin = machine.folder.path().join("bin");
        fs::create_dir(&bin).unwrap();

        for name in [
            "cat", "dd", "ls", "find", "rm", "mv", "mkdir", "sleep", "date", "uname", "tr", "ps",
        ] {
            symlink(program(name).unwrap(), bin.join(name)).unwrap();
        }

        machine.path = bin.display().to_string();

        // Some builds of busybox, such as Debian's busybox-static, run their own setsid whatever PATH says.
        if machine.finds("setsid") {
            skipped("this busybox always has setsid");
            continue;
        }

        let id = machine.start("cat; sleep 600", None);
        let row = machine.wait(&id, 0, None).unwrap();
        assert_eq!(
            (row.state, row.takes_input),
            (DetachedState::Running, false)
        );

        machine.signal(&id, "TERM");
        assert!(processes::signal("TERM", &[row.process.pid().to_string()]));
        assert_eq!(signal_of(&machine.end(&id)), "TERM");
    }
}

#[test]
fn a_time_limit_stops_the_whole_command_there() {
    for machine in machines() {
        let id = new_id();
        let command = "trap '' INT TERM; (sleep 600 & sleep 600)";

        machine
            .begin(DetachedStart {
                limit: 1,
                ..machine.with(&id, command)
            })
            .unwrap();

        let end = machine.end(&id);
        assert!(
            matches!(end, DetachedState::TimedOut { gone: true, .. }),
            "{end:?} {:?}",
            machine.name()
        );

        machine.assert_no_process_is_left("its time was over");
        let id = new_id();

        machine
            .begin(DetachedStart {
                limit: 600,
                ..machine.with(&id, "exit 2")
            })
            .unwrap();

        assert_eq!(exited(&machine.end(&id)), Some(2));
        machine.assert_no_process_is_left("it was in time");
    }
}

#[test]
fn a_name_begins_one_job_however_often_it_is_sent() {
    for machine in machines() {
        let id = new_id();
        let start = DetachedStart {
            again: true,
            ..machine.with(&id, "echo once >>count; sleep 600")
        };

        for _ in 0..3 {
            machine.begin(start).unwrap();
        }

        let count = machine.home().join("count");
        let deadline = Instant::now() + Duration::from_secs(30);
        while fs::read_to_string(&count).unwrap_or_default().is_empty() && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(10));
        }

        assert_eq!(
            (
                fs::read_to_string(&count).unwrap().as_str(),
                machine.list().len()
            ),
            ("once\n", 1)
        );
    }
}

#[test]
fn the_directory_is_private() {
    for machine in machines() {
        let id = machine.start("sleep 600", None);
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o077;
        let directory = machine.directory(&id);
        assert_eq!((mode(&directory), mode(&machine.jobs())), (0, 0));
        for entry in fs::read_dir(directory).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), 0);
        }
    }
}

#[test]
fn hostile_files_do_no_harm() {
    for machine in machines() {
        let id = machine.start("true", None);
        assert_eq!(exited(&machine.end(&id)), Some(0));
        let directory = machine.directory(&id);
        let witness = machine.home().join("witness");
        let code = format!(
            "$(touch '{0}') `touch '{0}'`; touch '{0}' #",
            witness.display()
        );

        for name in ["status", "process", "command", "holder", "asked"] {
            for text in [
                &code,
                "* * *",
                "exited 999999999999999999999999 1",
                "1 2 3 4 5 6",
                "\u{1e}\u{1e};\n\0\0",
                "",
            ] {
                let kept = fs::read(directory.join(name)).unwrap_or_default();
                fs::write(directory.join(name), text).unwrap();
                machine.list();
                let _ = machine.wait(&id, 0, None);
                fs::write(directory.join(name), kept).unwrap();
            }
        }

        for name in ["status", "process", "out"] {
            let path = directory.join(name);
            fs::rename(&path, directory.join("aside")).unwrap();

            assert!(
                Command::new("mkfifo")
                    .arg(&path)
                    .status()
                    .unwrap()
                    .success()
            );

            machine.list();
            assert!(machine.read(&id, Stream::Stdout, 0, 10).is_err() || name != "out");
            fs::remove_file(&path).unwrap();
            symlink("/dev/zero", &path).unwrap();
            machine.list();
            fs::remove_file(&path).unwrap();
            fs::rename(directory.join("aside"), &path).unwrap();
        }

        symlink("/etc", machine.jobs().join("00000000")).unwrap();
        assert_eq!(machine.list().len(), 1);
        assert!(!witness.exists());
        machine.remove(&id).unwrap();
    }
}
