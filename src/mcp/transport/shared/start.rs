//! Starts the shared daemon, detached from the process that starts it.

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

/// Time limit for a new daemon to report on stdout.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// Line on the stdout of a daemon which serves.
pub(super) const READY: &str = "ready";
/// Line on the stdout of a daemon which ends because another process has the lock.
pub(super) const BUSY: &str = "busy";

/// Command which starts a daemon: this program, with arguments.
#[derive(Debug, Clone)]
pub struct DaemonStart {
    /// Path of this program.
    program: PathBuf,
    /// Arguments which make this program the daemon.
    arguments: Vec<OsString>,
}

/// Result of starting a daemon.
#[derive(Debug)]
pub(super) enum Started {
    /// A daemon serves now.
    Ready,
    /// Another process has the lock. Its daemon is about to serve or to end.
    Busy,
    /// No daemon could be started, with the reason.
    Failed(String),
}

impl DaemonStart {
    /// Creates the command of this program with these arguments.
    ///
    /// # Errors
    /// The system does not tell the path of the program.
    pub fn new(arguments: Vec<OsString>) -> io::Result<Self> {
        let program = env::current_exe()?;

        // An update may have replaced the file. Linux still has the program that runs (proc(5)).
        let running = Path::new("/proc/self/exe");
        let program = if !program.exists() && running.exists() {
            running.to_owned()
        } else {
            program
        };

        Ok(Self { program, arguments })
    }

    /// Adds an argument to the command.
    #[must_use]
    pub fn with(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Starts the daemon and waits until the daemon reports. An intermediate process starts the
    /// daemon and ends at once. So the daemon outlives the terminal, and clients that end the
    /// processes which they started.
    pub(super) async fn daemon(&self, location: &DaemonLocation) -> Started {
        // A daemon without a log is better than none.
        let log = open_log(&location.log).map_or_else(|_| Stdio::null(), Stdio::from);
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
        // Waiting in the background leaves no zombie, however long the process takes.
        tokio::spawn(async move { child.wait().await });

        // A daemon that cannot serve prints the reason in place of the two words.
        match (said, line.trim()) {
            (Err(_), _) => {
                Started::Failed(format!("it is not ready after {} s", READY_LIMIT.as_secs()))
            }
            (Ok(_), READY) => Started::Ready,
            (Ok(_), BUSY) => Started::Busy,
            (Ok(_), "") => {
                Started::Failed(format!("it ended at once; see {}", location.log.display()))
            }
            (Ok(_), words) => Started::Failed(words.to_owned()),
        }
    }

    /// Starts the daemon from the intermediate process. The process makes a session of its own
    /// first (setsid(2)). The daemon does not lead this session, so it can get no terminal.
    ///
    /// # Errors
    /// The daemon cannot be started.
    pub fn detach(&self) -> io::Result<()> {
        #[cfg(unix)]
        {
            // This fails for a process that leads a session already, which is as good.
            let _ = nix::unistd::setsid();
        }

        // The daemon reports on the stdout of the process that was started first.
        self.command()
            .into_std()
            .stdout(Stdio::inherit())
            .stderr(Stdio::inherit())
            .spawn()
            .map(drop)
    }

    /// Returns the command without the settings that are meant for a stdio proxy only.
    fn command(&self) -> Command {
        let mut command = child::command(&self.program);
        command.args(&self.arguments).stdin(Stdio::null());

        // These variables set options of the stdio proxy, which the daemon would obey, too.
        for name in ["SHARED", "HTTP", "LISTEN", "SOCKET", "TOKEN_FILE"] {
            command.env_remove(format!("MCP_SSH_{name}"));
        }

        // Sockets that were handed over are not the daemon's, and it must not end with npx.
        for name in [
            "LISTEN_FDS",
            "LISTEN_PID",
            "LISTEN_FDNAMES",
            "npm_lifecycle_event",
        ] {
            command.env_remove(name);
        }

        // A working directory cannot be removed or unmounted as long as the daemon runs.
        if let Some(home) = home().filter(|home| home.is_dir()) {
            command.current_dir(home);
        }

        #[cfg(windows)]
        {
            // The daemon gets neither the console of the proxy nor its Ctrl+C.
            const DETACHED_PROCESS: u32 = 0x0000_0008;
            const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;

            command.creation_flags(DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP);
        }

        command
    }
}

/// Opens the log for appending, with access for this user only. Several processes may append at the
/// same time.
fn open_log(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
