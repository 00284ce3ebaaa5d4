//! The real sshd, run in the foreground by the user who runs the tests, in a temporary folder of its own.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::{
    keys,
    listening::{Listening, output, program},
    processes, ssh_config,
};

/// What an `OpenSshd` is.
pub(crate) struct OpenSshdSettings {
    /// Types of the host keys, as `ssh-keygen -t` names them.
    pub(crate) host_key_types: Vec<&'static str>,
    /// Files of more host keys, made by the test; `known_hosts_path` does not have them.
    pub(crate) host_keys: Vec<PathBuf>,
    /// `sshd_config` `MaxSessions`.
    pub(crate) max_sessions: usize,
    /// `sshd_config` `MaxStartups`, of which sshd takes the last line and not the first.
    pub(crate) max_startups: &'static str,
    /// A command that runs another one, which is sshd's.
    pub(crate) before: Vec<String>,
    /// The user it lets in, if that is not who runs the tests.
    pub(crate) user: Option<&'static str>,
    /// The command of `Subsystem sftp`. Empty for a server without that line.
    pub(crate) sftp: String,
    /// More lines of `sshd_config`, before the others, so that they win; no `Match`, which would take the others in.
    pub(crate) extra_config: String,
}

impl Default for OpenSshdSettings {
    fn default() -> Self {
        Self {
            host_key_types: vec!["ed25519"],
            host_keys: Vec::new(),
            max_sessions: 10,
            max_startups: "100",
            before: Vec::new(),
            user: None,
            sftp: "internal-sftp".to_owned(),
            extra_config: String::new(),
        }
    }
}

/// A running sshd on 127.0.0.1 that accepts one key. Dropping it kills it, its connections and their processes.
pub(crate) struct OpenSshd {
    listening: Listening,
    /// The program with its arguments.
    words: Vec<OsString>,
    user: String,
    folder: tempfile::TempDir,
}

impl OpenSshd {
    /// Starts sshd on a free port and waits until it answers.
    pub(crate) fn start(settings: &OpenSshdSettings) -> Self {
        let program = program("sshd")
            .expect("sshd is missing: install the OpenSSH server (Debian: openssh-server)");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let own = output("id", &["-un"]);
        if own == "root" {
            // Where sshd's unprivileged half is locked in; distributions create it when their own sshd starts.
            let _ = fs::create_dir_all("/run/sshd");
        }

        let client_key = keys::ed25519();
        keys::write_private_key(&folder.path().join("id_ed25519"), &client_key, None);
        fs::copy(
            folder.path().join("id_ed25519.pub"),
            folder.path().join("authorized_keys"),
        )
        .expect("a public key");

        if settings.user.is_some() {
            // sshd reads the keys as the user who logs in.
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711))
                .expect("our own folder");
            fs::set_permissions(
                folder.path().join("authorized_keys"),
                fs::Permissions::from_mode(0o644),
            )
            .expect("our own file");
        }

        let user = settings.user.map_or(own, str::to_owned);
        let host_keys: Vec<_> = settings
            .host_key_types
            .iter()
            .map(|kind| keys::ssh_keygen(&host_key(folder.path(), kind), kind, ""))
            .collect();

        let log = folder.path().join("log");
        let config = folder.path().join("sshd_config");
        let words: Vec<OsString> = settings
            .before
            .iter()
            .map(OsString::from)
            .chain([program.clone().into()])
            .chain(["-D", "-e", "-f"].map(OsString::from))
            .chain([config.clone().into()])
            .collect();

        let listening = Listening::start(&log, |port| {
            fs::write(
                &config,
                sshd_config(&program, folder.path(), port, settings),
            )
            .expect("a writable folder");

            command(&words)
        });

        let Some(listening) = listening else {
            panic!(
                "sshd does not start: {}",
                fs::read_to_string(log).unwrap_or_default()
            )
        };

        let known_hosts: String = host_keys
            .iter()
            .map(|key| keys::known_hosts_line(listening.port(), key))
            .collect();

        fs::write(folder.path().join("known_hosts"), known_hosts).expect("a writable folder");

        Self {
            listening,
            words,
            user,
            folder,
        }
    }

    /// Kills it with its connections and their processes, as a host that goes down.
    pub(crate) fn stop(&mut self) {
        self.listening.stop();
    }

    /// Starts it again after [`stop`](Self::stop), on the same port.
    pub(crate) fn start_again(&mut self) {
        let log = self.dir().join("log");
        self.listening.start_again(command(&self.words), &log);
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.listening.port()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.listening.pid()
    }

    /// The user it lets in.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// The folder of its files.
    pub(crate) fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// The key that it accepts.
    pub(crate) fn private_key_path(&self) -> PathBuf {
        self.dir().join("id_ed25519")
    }

    /// Its host keys, for a client.
    pub(crate) fn known_hosts_path(&self) -> PathBuf {
        self.dir().join("known_hosts")
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir().join("log")).unwrap_or_default()
    }

    /// Writes an `ssh_config` with which `ssh -F PATH alias` logs in; `extra` lines come first, so that they win.
    pub(crate) fn write_ssh_config(&self, alias: &str, extra: &str) -> PathBuf {
        let extra = format!(
            "{extra}\nIdentityFile {}",
            self.private_key_path().display()
        );

        let host = ssh_config::host(
            alias,
            &extra,
            self.port(),
            &self.user,
            &self.known_hosts_path(),
        );

        ssh_config::write(self.dir(), alias, &host)
    }

    /// The processes that serve connections. Needs /proc.
    pub(crate) fn serving(&self) -> Vec<u32> {
        processes::descendants(self.listening.pid(), "sshd")
    }

    /// Kills the processes that serve connections, not the listener nor the commands, and waits for their end. Needs
    /// /proc.
    pub(crate) fn kill_connections(&self) {
        let pids: Vec<_> = self.serving().iter().map(u32::to_string).collect();
        let cut = processes::connections(self.port());
        processes::signal("KILL", &pids);
        let deadline = Instant::now() + Duration::from_secs(5);
        let lives = || {
            processes::connections(self.port())
                .iter()
                .any(|connection| cut.contains(connection))
        };

        while lives() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn command(words: &[OsString]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

fn sshd_config(program: &Path, folder: &Path, port: u16, settings: &OpenSshdSettings) -> String {
    let OpenSshdSettings {
        host_key_types,
        host_keys,
        max_sessions,
        max_startups,
        sftp,
        extra_config,
        ..
    } = settings;

    let host_keys: Vec<_> = host_key_types
        .iter()
        .map(|kind| host_key(folder, kind))
        .chain(host_keys.clone())
        .collect();

    let subsystem = if sftp.is_empty() {
        String::new()
    } else {
        format!("Subsystem sftp {sftp}\n")
    };

    let mut config = format!(
        "{extra_config}\nListenAddress 127.0.0.1\nPort {port}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\nPrintMotd no\nLogLevel VERBOSE\n\
         MaxStartups {max_startups}\nMaxSessions {max_sessions}\n{subsystem}SetEnv HOME={}\n",
        folder.join("authorized_keys").display(),
        folder.display()
    );

    for key in &host_keys {
        let _ = writeln!(config, "HostKey {}", key.display());
    }

    // Since 9.8 sshd locks out an address that fails too often; an older one does not know the option.
    let mut check = Command::new(program);
    check.args(["-t", "-f", "/dev/null", "-o", "PerSourcePenalties=no"]);
    check.args(
        host_keys
            .iter()
            .map(|key| format!("-oHostKey={}", key.display())),
    );

    if check.output().is_ok_and(|output| output.status.success()) {
        config.push_str("PerSourcePenalties no\n");
    }

    config
}

fn host_key(folder: &Path, kind: &str) -> PathBuf {
    folder.join(format!("host_{kind}"))
}
