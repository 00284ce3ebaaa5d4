//! Starts the shared daemon, detached from whoever starts it.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::timeout,
};

use super::location::DaemonLocation;
use crate::{child, local::home::home};

/// How long a daemon may take until it says that it is ready.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// What it says on stdout when it serves.
pub(super) const READY: &str = "ready";
/// What it says when another one has the lock.
pub(super) const BUSY: &str = "busy";

/// How a daemon is started.
#[derive(Debug, Clone)]
pub struct DaemonStart {
    /// This program.
    program: PathBuf,
    /// What makes it the daemon.
    arguments: Vec<OsString>,
}

/// How a start ended.
#[derive(Debug)]
pub(super) enum Started {
    /// There is a daemon.
    Ready,
    /// Another process is starting one, or has one that ends.
    Busy,
    /// In its own words.
    Failed(String),
}

impl DaemonStart {
    /// This program with these arguments.
    ///
    /// # Errors
    /// The system does not tell where the program is.
    pub fn new(arguments: Vec<OsString>) -> io::Result<Self> {
        let program = env::current_exe()?;

        // An update has replaced it: Linux still has the one that runs (proc(5)).
        let running = Path::new("/proc/self/exe");
        let program = if !program.exists() && running.exists() {
            running.to_owned()
        } else {
            program
        };

        Ok(Self { program, arguments })
    }

    /// The same with one more argument.
    #[must_use]
    pub fn with(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Starts a process that starts the daemon and ends: what a terminal, or a client that ends all that it has
    /// started, takes with it, the daemon is no part of.
    pub(super) async fn daemon(&self, place: &DaemonLocation) -> Started {
        let log = open_log(&place.log).map_or_else(|_| Stdio::null(), Stdio::from);
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(log);
        let failed = |error: io::Error| {
            Started::Failed(format!("cannot start {}: {error}", self.program.display()))
        };

        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return failed(error),
        };

        let Some(stdout) = child.stdout.take() else {
            return Started::Failed("it has no stdout".to_owned());
        };
        let mut line = String::new();
        let said = timeout(READY_LIMIT, BufReader::new(stdout).read_line(&mut line)).await;
        tokio::spawn(async move { child.wait().await });

        match (said, line.trim()) {
            (Err(_), _) => {
                Started::Failed(format!("it is not ready after {} s", READY_LIMIT.as_secs()))
            }
            (Ok(_), READY) => Started::Ready,
            (Ok(_), BUSY) => Started::Busy,
            (Ok(_), "") => {
                Started::Failed(format!("it ended at once; see {}", place.log.display()))
            }
            (Ok(_), words) => Started::Failed(words.to_owned()),
        }
    }

    /// In the first of the two processes: makes a session of its own (setsid(2)) and starts the second, which is not
    /// the first of that session and so can get no terminal.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn detach(&self) -> io::Result<()> {
        #[cfg(unix)]
        {
            // It fails for one that has a session already, which is as good.
            let _ = nix::unistd::setsid();
        }

        self.command()
            .into_std()
            .stdout(Stdio::inherit())
            .stderr(Stdio::inherit())
            .spawn()
            .map(drop)
    }

    fn command(&self) -> Command {
        let mut command = child::command(&self.program);
        command.args(&self.arguments).stdin(Stdio::null());

        // What is for a front alone: where it serves, sockets handed over to it, that npx started it.
        for name in ["SHARED", "HTTP", "LISTEN", "SOCKET", "TOKEN_FILE"] {
            command.env_remove(format!("MCP_SSH_{name}"));
        }

        for name in [
            "LISTEN_FDS",
            "LISTEN_PID",
            "LISTEN_FDNAMES",
            "npm_lifecycle_event",
        ] {
            command.env_remove(name);
        }

        // It must keep nobody from removing a folder.
        if let Some(home) = home().filter(|home| home.is_dir()) {
            command.current_dir(home);
        }

        #[cfg(windows)]
        {
            const DETACHED_PROCESS: u32 = 0x0000_0008;
            const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;

            command.creation_flags(DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP);
        }

        command
    }
}

/// For its owner alone; each process adds to it.
fn open_log(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
