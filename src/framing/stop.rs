//! The script that ends a running command, and only that: SIGINT, SIGTERM, SIGKILL in turn, then a look at what is left.

/// Which processes belong to the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A command on a channel of its own: this process, its descendants, its process group and its session.
    Exec {
        /// The process id of the login shell that runs the command, which leads its process group.
        pid: u32,
    },
    /// A command that sudo runs: this process, its descendants, and the process groups of both. sudo is left alone: it
    /// passes on what it is sent, and ends when the command does.
    Sudo {
        /// The process id of the shell that runs the command.
        pid: u32,
        /// The process id of sudo, which leads its process group.
        sudo: u32,
    },
    /// The foreground command of a persistent shell: the shell's descendants, except its earlier background jobs and
    /// theirs. The shell itself gets SIGURG alone, which makes it give up the command.
    Shell {
        /// The shell's process id.
        pid: u32,
        /// The process ids of jobs that were in the background before the command.
        jobs: &'a [u32],
    },
}

/// A signal for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// One that stops it; where it does not, the harder ones follow.
    Stop(Rung),
    /// Any other, sent once; its name as kill(1) takes it, without `SIG`.
    Once(&'static str),
}

/// Where the ladder of signals that stop a command begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rung {
    /// SIGINT, then SIGTERM, then SIGKILL.
    Int,
    /// SIGTERM, then SIGKILL.
    Term,
    /// SIGKILL.
    Kill,
}

/// The signals that are sent once.
const ONCE: [&str; 12] =
    ["HUP", "QUIT", "USR1", "USR2", "STOP", "CONT", "TSTP", "WINCH", "ALRM", "ABRT", "PIPE", "URG"];

impl Signal {
    /// Reads a signal's name, such as `TERM` or `SIGUSR1`, in any case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.trim().to_ascii_uppercase();
        match name.strip_prefix("SIG").unwrap_or(&name) {
            "INT" => Some(Self::Stop(Rung::Int)),
            "TERM" => Some(Self::Stop(Rung::Term)),
            "KILL" => Some(Self::Stop(Rung::Kill)),
            other => ONCE.iter().find(|known| **known == other).map(|known| Self::Once(known)),
        }
    }

    /// Every name that [`parse`](Self::parse) reads.
    #[must_use]
    pub fn names() -> String {
        format!("INT, TERM, KILL, {}", ONCE.join(", "))
    }
}

impl Rung {
    /// Its signal's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Int => "INT",
            Self::Term => "TERM",
            Self::Kill => "KILL",
        }
    }

    fn and_above(self) -> &'static str {
        match self {
            Self::Int => "INT TERM KILL",
            Self::Term => "TERM KILL",
            Self::Kill => "KILL",
        }
    }
}

/// What the script prints as its last line when no process of the command is left.
pub const GONE: &str = "mcp-ssh-sessions:gone";

/// What it prints when some are.
pub const ALIVE: &str = "mcp-ssh-sessions:alive";

/// A script for `/bin/sh`, to be read from stdin, which stops a command. It waits up to `grace_tenths` tenths of a second
/// after each signal.
///
/// Processes are read from `/proc` where there is one (minimal images have no `ps`), else from `ps`.
#[must_use]
pub fn script(target: Target<'_>, first: Rung, grace_tenths: u32) -> String {
    format!("{}ladder='{}'; grace={grace_tenths}\n{FIND}{STOP}", of(target), first.and_above())
}

/// A script that sends a signal to all processes of a command, once.
#[must_use]
pub fn send(target: Target<'_>, signal: &str) -> String {
    format!("{}{FIND}seen=; kill -{signal} $(left)\n", of(target))
}

/// The ladder from SIGINT on, for a process of which the script that reads this knows the id as `root`.
pub(super) fn ladder_for_root(grace_tenths: u32) -> String {
    let ladder = Rung::Int.and_above();
    format!("group=$root; spare=; keep=; ladder='{ladder}'; grace={grace_tenths}\n{FIND}{STOP}")
}

fn of(target: Target<'_>) -> String {
    let (pid, groups, spare, jobs) = match target {
        Target::Exec { pid } => (pid, pid.to_string(), String::new(), String::new()),
        Target::Sudo { pid, sudo } => (pid, format!("{pid} {sudo}"), String::new(), sudo.to_string()),
        Target::Shell { pid, jobs } => {
            let jobs = jobs.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
            (pid, String::new(), pid.to_string(), jobs)
        }
    };
    format!("root={pid}; groups=' {groups} '; spare={spare}; keep=' {jobs} '\n")
}

/// `table` prints `pid parent group session state` a line; `left` prints the command's processes that live.
///
/// sshd gives each command a session of its own (setsid(2)), which holds what job control has put in other groups. No
/// `ps` has the same name for it everywhere; there the group stands in.
const FIND: &str = r#"
table() {
  if [ -r /proc/self/stat ]; then
    for file in /proc/[0-9]*/stat; do
      line=; { read -r line <"$file"; } 2>/dev/null
      [ -n "$line" ] || continue
      set -- ${line##*) }
      echo "${line%% *} $2 $3 $4 $1"
    done
  else
    ps -A -o pid= -o ppid= -o pgid= -o pgid= -o stat=
  fi
}
left() {
  now=$(table); mine=" $root $seen"; more=y
  while [ $more = y ]; do
    more=n
    while read -r pid parent its_group its_session state; do
      case $keep$mine in *" $pid "*) continue;; esac
      case $mine in
        *" $parent "*) ;;
        *) case $groups in *" $its_group "* | *" $its_session "*) ;; *) continue;; esac;;
      esac
      mine="$mine$pid "; more=y
    done <<END
$now
END
  done
  while read -r pid parent its_group its_session state; do
    case $mine in *" $pid "*) ;; *) continue;; esac
    [ "$pid" = "$spare" ] && continue
    case $state in Z*|X*) ;; *) echo "$pid";; esac
  done <<END
$now
END
}
"#;

const STOP: &str = r#"
# What was seen once stays in mind: a shell that ends leaves its children to another parent.
seen=
for signal in $ladder; do
  processes=$(left); seen=$(printf '%s ' $processes)
  # Each time: the shell may not have begun the command when it was told first.
  [ -n "$spare" ] && kill -URG "$spare" 2>/dev/null
  kill -$signal $processes 2>/dev/null
  waited=0
  while processes=$(left); [ -n "$processes" ] && [ $waited -lt $grace ]; do
    sleep 0.1 2>/dev/null || sleep 1
    waited=$((waited+1))
  done
  [ -n "$processes" ] || break
done
if [ -n "$processes" ]; then echo mcp-ssh-sessions:alive; else echo mcp-ssh-sessions:gone; fi
"#;

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::{
        io::Write as _,
        os::unix::process::CommandExt as _,
        process::{Command, Stdio},
    };

    use super::*;

    fn run(shell: &str, script: &str) -> String {
        let mut child =
            Command::new(shell).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_command_that_ignores_int_and_term_is_gone_with_its_children() {
        for command in
            ["sleep 97", "sleep 97 | sleep 97", "trap '' INT TERM; sleep 97; sleep 97", "(sleep 97 & sleep 97)"]
        {
            let mut child = Command::new("sh").args(["-c", command]).process_group(0).spawn().unwrap();
            let pid = child.id();
            let reaper = std::thread::spawn(move || child.wait().unwrap());
            assert_eq!(run("sh", &script(Target::Exec { pid }, Rung::Int, 3)).trim(), GONE, "{command}");
            assert!(!reaper.join().unwrap().success());
        }
    }

    #[test]
    fn a_shell_keeps_itself_and_its_earlier_jobs() {
        let mut shell = Command::new("sh")
            .args(["-c", "trap : URG; sleep 98 & echo $!; sleep 98; sleep 98"])
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut job = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(shell.stdout.take().unwrap()), &mut job).unwrap();
        let job: u32 = job.trim().parse().unwrap();
        let answer = run("sh", &script(Target::Shell { pid: shell.id(), jobs: &[job] }, Rung::Int, 3));
        let job_lives = Command::new("kill").args(["-0", &job.to_string()]).status().unwrap().success();
        run("sh", &script(Target::Exec { pid: shell.id() }, Rung::Int, 3));
        shell.kill().ok();
        shell.wait().unwrap();
        assert!(job_lives, "the earlier job was killed: {answer}");
    }

    #[test]
    fn what_a_shell_leaves_behind_when_it_ends_of_the_signal_is_stopped_too() {
        let mut shell = Command::new("sh")
            .args(["-c", "trap 'exit 0' URG; (trap '' INT; exec sleep 96) & echo $!; wait"])
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut child = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(shell.stdout.take().unwrap()), &mut child).unwrap();
        assert_eq!(run("sh", &script(Target::Shell { pid: shell.id(), jobs: &[] }, Rung::Int, 3)).trim(), GONE);
        shell.wait().unwrap();
        // The arguments of a process that has ended but was not waited for are empty.
        let arguments = std::fs::read(format!("/proc/{}/cmdline", child.trim())).unwrap_or_default();
        assert!(arguments.is_empty(), "{}", String::from_utf8_lossy(&arguments));
    }

    #[test]
    fn what_stands_between_a_command_and_its_channel_is_left_to_end_by_itself() {
        // The first shell has sudo's part: it is told nothing, and ends after the command.
        let mut sudo = Command::new("sh")
            .args(["-c", "trap 'exit 9' INT TERM; sh -c 'trap \"\" INT TERM; echo $$; sleep 95 & sleep 95; :'; exit 5"])
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pid = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(sudo.stdout.take().unwrap()), &mut pid).unwrap();
        let target = Target::Sudo { pid: pid.trim().parse().unwrap(), sudo: sudo.id() };
        assert_eq!(run("sh", &script(target, Rung::Int, 3)).trim(), GONE);
        assert_eq!(sudo.wait().unwrap().code(), Some(5));
    }

    #[test]
    fn what_has_ended_already_is_gone() {
        let mut child = Command::new("true").process_group(0).spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert_eq!(run("sh", &script(Target::Exec { pid }, Rung::Int, 1)).trim(), GONE);
    }
}
