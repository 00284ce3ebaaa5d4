//! A server program in the foreground, run by the user who runs the tests.

use std::fs::File;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::processes;

/// How long it may take to answer: it starts in a tenth of a second, or does not start.
const START_DEADLINE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

/// A server that greets on a port of 127.0.0.1. Dropping it kills it, its connections and their processes.
pub(super) struct Listening {
    daemon: Child,
    port: u16,
}

impl Listening {
    /// Runs the command that `on` makes for a free port, with stderr in the file `log`; `None` when it does not greet.
    pub(super) fn start(log: &Path, on: impl Fn(u16) -> Command) -> Option<Self> {
        // Another process may take the port between its choice and the server's start.
        for _ in 0..5 {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            let port = listener
                .local_addr()
                .expect("a bound listener has an address")
                .port();

            drop(listener);
            let mut daemon = spawn(on(port), log);
            if answers(&mut daemon, port) {
                return Some(Self { daemon, port });
            }

            let _ = daemon.kill();
            let _ = daemon.wait();
        }

        None
    }

    /// Kills it, its connections and their processes.
    pub(super) fn stop(&mut self) {
        let mut pids = processes::descendants(self.daemon.id(), "");
        pids.extend(processes::of_connections_to(self.port));
        let mut targets: Vec<_> = pids.iter().map(u32::to_string).collect();
        targets.push(format!("-{}", self.daemon.id()));
        processes::signal("KILL", &targets);
        let _ = self.daemon.wait();
    }

    /// Runs the command after [`stop`](Self::stop), for the same port.
    pub(super) fn start_again(&mut self, command: Command, log: &Path) {
        self.daemon = spawn(command, log);
        assert!(answers(&mut self.daemon, self.port), "it does not start");
    }

    /// The port it listens on.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The process that listens.
    pub(super) fn pid(&self) -> u32 {
        self.daemon.id()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts a server with stderr in the file `log`.
fn spawn(mut command: Command, log: &Path) -> Child {
    let log = File::create(log).expect("a writable folder");
    command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the server is executable")
}

/// A program in the PATH or where distributions keep servers, by its absolute path: sshd re-executes itself.
pub(super) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths("/usr/sbin").chain(std::env::split_paths(&path));
    folders
        .map(|folder| folder.join(name))
        .find(|program| program.is_absolute() && program.is_file())
}

/// What a program prints, without white space around it.
pub(super) fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect("the program exists");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Waits until an SSH server greets on `port`; `false` when it has ended instead.
fn answers(daemon: &mut Child, port: u16) -> bool {
    let deadline = Instant::now() + START_DEADLINE;
    while Instant::now() < deadline && matches!(daemon.try_wait(), Ok(None)) {
        if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            let _ = stream.set_read_timeout(Some(START_DEADLINE));
            let mut identification = [0; 4];
            return stream.read_exact(&mut identification).is_ok() && identification == *b"SSH-";
        }
        std::thread::sleep(POLL);
    }

    false
}
