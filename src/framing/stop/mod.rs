//! The script that ends running commands, and only those. It sends SIGINT, SIGTERM and SIGKILL in
//! turn, and then looks at what is left.

mod process;

use std::{fmt::Write as _, time::Duration};

pub use self::process::Process;

/// Processes belonging to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopTarget<'a> {
    /// A command on a channel of the command's own: a process with all descendants, process group
    /// and session.
    Exec {
        /// Login shell of the command. It leads its process group.
        process: Process,
        /// Time for which the process is known to have lived.
        lived: Duration,
    },
    /// A command run by sudo: a process with all descendants, and the process groups of both. sudo
    /// itself is left alone, because it passes signals on and ends when the command does.
    Sudo {
        /// Shell of the command, started by sudo.
        process: Process,
        /// sudo, which leads a process group.
        sudo: Process,
        /// Time for which the shell is known to have lived.
        lived: Duration,
    },
    /// The foreground command of a persistent shell: the shell's descendants, except earlier
    /// background jobs and their descendants. The shell itself only gets SIGURG, which makes it
    /// give up the command.
    Shell {
        /// Persistent shell of the command.
        process: Process,
        /// Process ids of the background jobs from before the command.
        jobs: &'a [u32],
        /// Least time for which the shell had been running when the command came.
        age: Duration,
    },
}

impl StopTarget<'_> {
    /// Returns the process of the command, or of the shell around the command.
    #[must_use]
    pub fn process(&self) -> &Process {
        let (Self::Exec { process, .. } | Self::Sudo { process, .. } | Self::Shell { process, .. }) =
            self;
        process
    }

    /// Sets the time for which the process is known to have lived. Changes nothing for a shell.
    #[must_use]
    pub fn having_lived(mut self, time: Duration) -> Self {
        match &mut self {
            Self::Exec { lived, .. } | Self::Sudo { lived, .. } => *lived = time,
            Self::Shell { .. } => {}
        }
        self
    }
}

/// Findings of a stop script about a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReport {
    /// No process of the command is left.
    Gone,
    /// Some processes of the command are left.
    Alive,
    /// No known process of the command is left. But some processes have left their parents
    /// meanwhile, which may belong to the command.
    Unsure,
}

/// Signal for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// A signal to stop the command. If it has no effect, the harder signals follow.
    Stop(FirstSignal),
    /// Any other signal, sent once. The name is that of kill(1), without `SIG`.
    Once(&'static str),
}

/// First signal of the ladder for stopping a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstSignal {
    /// SIGINT, then SIGTERM, then SIGKILL.
    Int,
    /// SIGTERM, then SIGKILL.
    Term,
    /// SIGKILL.
    Kill,
}

/// Signals to send once.
const ONCE: [&str; 12] = [
    "HUP", "QUIT", "USR1", "USR2", "STOP", "CONT", "TSTP", "WINCH", "ALRM", "ABRT", "PIPE", "URG",
];

impl Signal {
    /// Reads a signal's name, such as `TERM` or `SIGUSR1`, in upper or lower case. `None` for a
    /// name that is not supported.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.trim().to_ascii_uppercase();
        match name.strip_prefix("SIG").unwrap_or(&name) {
            "INT" => Some(Self::Stop(FirstSignal::Int)),
            "TERM" => Some(Self::Stop(FirstSignal::Term)),
            "KILL" => Some(Self::Stop(FirstSignal::Kill)),
            other => ONCE
                .iter()
                .find(|known| **known == other)
                .map(|known| Self::Once(known)),
        }
    }

    /// Lists every name known to [`parse`](Self::parse).
    #[must_use]
    pub fn names() -> String {
        format!("INT, TERM, KILL, {}", ONCE.join(", "))
    }
}

impl FirstSignal {
    /// Returns the name of the signal, without `SIG`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Int => "INT",
            Self::Term => "TERM",
            Self::Kill => "KILL",
        }
    }

    /// Returns the names from this signal to the end of the ladder.
    fn and_above(self) -> &'static str {
        match self {
            Self::Int => "INT TERM KILL",
            Self::Term => "TERM KILL",
            Self::Kill => "KILL",
        }
    }
}

/// Request to stop one command: names the processes and the signals, as arguments of the functions
/// in the stop script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopRequest(String);

impl StopRequest {
    /// Describes a command to stop. The script begins with the signal `first`, and waits up to
    /// `grace_tenths` tenths of a second after each signal.
    #[must_use]
    pub fn new(target: &StopTarget<'_>, first: FirstSignal, grace_tenths: u32) -> Self {
        Self(format!(
            "{} '{}' {grace_tenths}",
            script_arguments(target),
            first.and_above()
        ))
    }
}

impl StopReport {
    /// Reads the findings of a [`script`] about the command of the request at `index`. `None` if
    /// there are none, because the script could not find out or did not end.
    #[must_use]
    pub fn read(answer: &str, index: usize) -> Option<Self> {
        // Only whole lines count: startup files of the login shell may print as well.
        let says = |what: &str| {
            answer
                .lines()
                .any(|line| line == format!("mcp-ssh-sessions:{index}:{what}"))
        };

        match (says("gone"), says("strays")) {
            (true, false) => Some(Self::Gone),
            (true, true) => Some(Self::Unsure),
            (false, _) => says("alive").then_some(Self::Alive),
        }
    }

    /// Returns true if the processes are gone, false if not, and `None` if unknown.
    #[must_use]
    pub fn gone(self) -> Option<bool> {
        match self {
            Self::Gone => Some(true),
            Self::Alive => Some(false),
            Self::Unsure => None,
        }
    }
}

/// Units of a process start time in `/proc` per second (proc(5)). The number is the same on every
/// machine in use today.
const TICKS: u32 = 100;

/// Writes a script for `/bin/sh`, read from stdin, which stops commands side by side.
///
/// Processes are read from `/proc` where there is one (minimal images have no `ps`), else from
/// `ps`.
#[must_use]
pub fn script(requests: &[StopRequest]) -> String {
    // Identities are recorded before the first signal and orphans sought after the last. So a
    // process that leaves its parent on the way is found by what was known before.
    let (mut record, mut stop, mut find) = (String::new(), String::new(), String::new());

    for (index, StopRequest(arguments)) in requests.iter().enumerate() {
        let _ = writeln!(record, "record_identity {index} {arguments}");
        let _ = writeln!(stop, "stop {index} {arguments} &");
        let _ = writeln!(find, "find_orphans {index} {arguments}");
    }

    format!("{FIND}{STOP}{ORPHANS}rows\n{record}{stop}wait\nrows\n{find}")
}

/// Writes a script for sending a signal once to all processes of a command.
#[must_use]
pub fn send(target: &StopTarget<'_>, signal: &str) -> String {
    format!(
        "{FIND}select_command 0 {}\nrows\nfind_processes\nsend_signal {signal}\n",
        script_arguments(target)
    )
}

/// Writes a script for interrupting only this process.
#[must_use]
pub fn interrupt(process: &Process) -> String {
    format!("{FIND}processes={}\nsend_signal INT\n", process.word())
}

/// Writes the ladder from SIGINT on for the process in the variable `root` of the surrounding
/// script. `root` is process id and start time with a slash between. The output ends with `:gone`
/// or `:alive`, and then perhaps `:strays`.
pub(super) fn ladder_for_root(grace_tenths: u32) -> String {
    let ladder = FirstSignal::Int.and_above();
    format!("{FIND}{STOP}stop 0 \"$root\" 0 \"$root\" '' '' 0 '{ladder}' {grace_tenths}\n")
}

/// Returns the arguments of the script's functions after the key. They are the root, its lifetime,
/// the leaders of the groups, the shell to spare, the processes to keep, and the age.
fn script_arguments(target: &StopTarget<'_>) -> String {
    match target {
        StopTarget::Exec { process, lived } => {
            format!("{0} {1} {0} '' '' 0", process.word(), ticks(*lived))
        }
        StopTarget::Sudo {
            process,
            sudo,
            lived,
        } => {
            let (root, sudo, pid) = (process.word(), sudo.word(), sudo.pid());
            format!("{root} {} '{root} {sudo}' '' {pid} 0", ticks(*lived))
        }
        StopTarget::Shell { process, jobs, age } => {
            let (root, jobs) = (
                process.word(),
                jobs.iter()
                    .map(u32::to_string)
                    .collect::<Vec<_>>()
                    .join(" "),
            );

            format!("{root} 0 '' {root} '{jobs}' {}", ticks(*age))
        }
    }
}

/// Converts a time into the units of a process start time.
fn ticks(time: Duration) -> u128 {
    time.as_millis() / u128::from(1000 / TICKS)
}

/// Line printed by [`look`] about a process which computes.
pub const BUSY: &str = "mcp-ssh-sessions:busy";

/// Writes a script for finding out if a process computes. A shell does not compute while it waits
/// for its next line or until it can write. A process computes if its processor time grows by two
/// ticks or more within half a second.
#[must_use]
pub fn look(process: &Process) -> String {
    let pid = process.pid();
    format!(
        "time() {{ read -r line </proc/{pid}/stat; set -- ${{line##*\") \"}}; ticks=$((${{12}} + ${{13}})); }}\n\
         time; before=$ticks; sleep 0.5; time; [ $((ticks - before)) -lt 2 ] || echo {BUSY}\n"
    )
}

const FIND: &str = include_str!("find.sh");
const STOP: &str = include_str!("stop.sh");
const ORPHANS: &str = include_str!("orphans.sh");

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        os::unix::process::CommandExt as _,
        process::{Child, Command, Stdio},
        sync::atomic::{AtomicU32, Ordering},
    };

    use super::*;

    fn run(script: &str) -> String {
        let mut child = Command::new("sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();

        child
            .stdin
            .take()
            .unwrap()
            .write_all(script.as_bytes())
            .unwrap();

        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");

        String::from_utf8(output.stdout).unwrap()
    }

    fn stop(target: &StopTarget<'_>) -> Option<StopReport> {
        StopReport::read(
            &run(&script(&[StopRequest::new(target, FirstSignal::Int, 3)])),
            0,
        )
    }

    fn exec(pid: u32) -> StopTarget<'static> {
        StopTarget::Exec {
            process: Process::now(pid),
            lived: Duration::ZERO,
        }
    }

    fn shell(pid: u32, jobs: &[u32]) -> StopTarget<'_> {
        StopTarget::Shell {
            process: Process::now(pid),
            jobs,
            age: Duration::ZERO,
        }
    }

    /// Runs a command which first prints a process id, as if over a connection of the command's
    /// own.
    fn start(command: &str) -> (Child, u32) {
        static CONNECTIONS: AtomicU32 = AtomicU32::new(0);

        let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        let mut child = Command::new("sh");
        child.stdin(Stdio::piped()).args(["-c", command]).env(
            "SSH_CONNECTION",
            format!("{} {connection} ::1 22", std::process::id()),
        );

        let mut child = child
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();

        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();

        (child, line.trim().parse().unwrap())
    }

    fn lives(pid: u32) -> bool {
        if let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            return stat
                .rsplit_once(") ")
                .is_some_and(|(_, rest)| !rest.starts_with('Z'));
        }

        // Where there is no /proc, there is this.
        let ps = Command::new("ps")
            .args(["-o", "stat=", "-p", &pid.to_string()])
            .output();
        ps.is_ok_and(|listed| !listed.stdout.is_empty() && !listed.stdout.starts_with(b"Z"))
    }

    fn kill(pid: u32) {
        assert!(
            Command::new("kill")
                .args(["-9", &pid.to_string()])
                .status()
                .unwrap()
                .success()
        );
    }

    #[test]
    fn commands_that_ignore_signals_are_killed_with_their_children() {
        let commands = [
            "sleep 97",
            "sleep 97 | sleep 97",
            "trap '' INT TERM; sleep 97; sleep 97",
            "(sleep 97 & sleep 97)",
        ];

        let (mut requests, mut reapers) = (Vec::new(), Vec::new());
        for command in commands {
            let (mut child, pid) = start(&format!("echo $$; {command}"));
            requests.push(StopRequest::new(&exec(pid), FirstSignal::Int, 3));
            reapers.push(std::thread::spawn(move || child.wait().unwrap()));
        }

        let answer = run(&script(&requests));

        for (index, reaper) in reapers.into_iter().enumerate() {
            assert_eq!(
                StopReport::read(&answer, index),
                Some(StopReport::Gone),
                "{answer}"
            );
            assert!(!reaper.join().unwrap().success());
        }
    }

    #[test]
    fn a_shell_keeps_itself_and_its_earlier_jobs() {
        let (mut child, job) = start("trap : URG; sleep 98 & echo $!; sleep 98; sleep 98");
        assert_eq!(stop(&shell(child.id(), &[job])), Some(StopReport::Gone));
        assert!(lives(job));
        stop(&exec(child.id()));
        child.wait().unwrap();
        assert!(!lives(job));
    }

    #[test]
    fn processes_that_a_shell_leaves_after_the_signal_are_stopped() {
        let (mut child, left) =
            start("trap 'exit 0' URG; (trap '' INT; exec sleep 96) & echo $!; wait");
        assert_eq!(stop(&shell(child.id(), &[])), Some(StopReport::Gone));
        child.wait().unwrap();
        assert!(!lives(left));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn orphans_are_stopped_if_known_and_doubted_otherwise() {
        // The shell that starts it has ended when its process id comes.
        let away = "$(sleep 95 >/dev/null & echo $!)";
        let (mut child, pid) = start(&format!("echo {away}; sleep 95"));
        assert_eq!(
            stop(&exec(child.id())),
            Some(StopReport::Gone),
            "it is in the process group"
        );

        child.wait().unwrap();
        assert!(!lives(pid));
        let (mut child, pid) = start(&format!("trap : URG; echo {away}; sleep 95; sleep 95"));
        assert_eq!(stop(&shell(child.id(), &[])), Some(StopReport::Unsure));
        let later = StopTarget::Shell {
            process: Process::now(child.id()),
            jobs: &[],
            age: Duration::from_secs(60),
        };

        assert_eq!(
            stop(&later),
            Some(StopReport::Gone),
            "it is older than the command"
        );

        assert!(lives(pid));
        kill(pid);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn processes_between_command_and_channel_end_by_themselves() {
        // The first shell stands for sudo: it gets no signal, and ends after the command.
        let (mut sudo, pid) = start(
            "trap 'exit 9' INT TERM; sh -c 'trap \"\" INT TERM; echo $$; sleep 95 & sleep 95; :'; exit 5",
        );
        let lived = Duration::ZERO;
        let target = StopTarget::Sudo {
            process: Process::now(pid),
            sudo: Process::now(sudo.id()),
            lived,
        };

        assert_eq!(stop(&target), Some(StopReport::Gone));
        assert_eq!(sudo.wait().unwrap().code(), Some(5));
    }

    #[test]
    fn what_has_ended_already_is_gone() {
        let (mut child, _) = start("echo 0; read line");
        let target = exec(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(stop(&target), Some(StopReport::Gone));
    }

    #[test]
    fn what_may_not_be_signalled_lives() {
        let (mut child, _) = start("echo 0; exec sleep 94");
        let script = script(&[StopRequest::new(&exec(child.id()), FirstSignal::Int, 1)]);
        assert_eq!(
            StopReport::read(&run(&format!("kill() {{ false; }}\n{script}")), 0),
            Some(StopReport::Alive)
        );

        // Nothing is said where processes cannot be listed.
        let blind = format!("PATH=/no/such\n{}", script.replace("/proc", "/no/such"));
        assert_eq!(StopReport::read(&run(&blind), 0), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_reuses_the_id_is_not_stopped() {
        let (mut child, pid) = start("trap 'exit 7' URG INT TERM; sleep 930 & echo $!; wait");
        let process = Process::now(child.id());
        let before = process.predecessor();
        let lived = Duration::from_secs(3600);

        let targets = [
            StopTarget::Exec {
                process: before.clone(),
                lived,
            },
            StopTarget::Sudo {
                process: before.clone(),
                sudo: before.clone(),
                lived,
            },
            StopTarget::Sudo {
                process: Process::now(pid).predecessor(),
                sudo: before.clone(),
                lived,
            },
            StopTarget::Shell {
                process: before.clone(),
                jobs: &[],
                age: Duration::ZERO,
            },
        ];

        for target in targets {
            assert_eq!(stop(&target), Some(StopReport::Gone), "{target:?}");
            run(&send(&target, "KILL"));
            assert!(lives(child.id()) && lives(pid), "{target:?}");
        }

        run(&interrupt(&before));
        assert!(lives(child.id()));
        run(&interrupt(&process));
        assert_eq!(child.wait().unwrap().code(), Some(7));
        kill(pid);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_group_is_stopped_after_its_first_process_has_ended() {
        let started = std::time::Instant::now();
        let (mut child, pid) = start("sleep 0.1; sleep 920 & echo $!; read line");
        let process = Process::now(child.id());

        // Start times are whole ticks, so that two of them may differ by one more than the time between.
        let lived = started.elapsed() + Duration::from_millis(20);
        child.kill().unwrap();
        child.wait().unwrap();

        // It may be another group, of a process of the same id that has ended since.
        let short = StopTarget::Exec {
            process: process.clone(),
            lived: Duration::ZERO,
        };

        assert_eq!(stop(&short), Some(StopReport::Unsure));
        assert!(lives(pid));
        assert_eq!(
            stop(&StopTarget::Exec { process, lived }),
            Some(StopReport::Gone)
        );

        assert!(!lives(pid));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_is_busy_or_waits() {
        for (command, is_busy) in [("while :; do :; done", true), ("read line", false)] {
            let mut child = Command::new("sh")
                .args(["-c", command])
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();

            let busy = || run(&look(&Process::now(child.id()))).contains(BUSY);

            assert!(
                if is_busy {
                    (0..100).any(|_| busy())
                } else {
                    !busy()
                },
                "{command}"
            );

            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
