//! SSH servers of other makes, for SFTP alone, run in the foreground by the user who runs the tests. Each does something
//! otherwise than OpenSSH's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use russh::keys::PublicKey;

use super::{
    keys,
    listening::{Listening, output, program},
    ssh_config,
};

/// One of them.
#[derive(Debug)]
pub(crate) enum Make {
    /// asyncssh, which refuses what is named: a method of its SFTP server, or one of those that `asyncssh_server.py` knows.
    Asyncssh(&'static [&'static str]),
    /// The daemon of Erlang/OTP.
    Erlang,
    /// `ProFTPD` with `mod_sftp`.
    Proftpd,
    /// rclone, which is Go's `pkg/sftp` over a cache of this mode (`--vfs-cache-mode`) that knows a directory for this time
    /// (`--dir-cache-time`). Its root directory is the home.
    Rclone(&'static str, &'static str),
    /// tinysshd, which takes one command over a connection, and has no SFTP.
    Tinyssh,
    /// ssh2 from npm, with handlers that are asynchronous.
    Ssh2,
}

/// A running server on 127.0.0.1 that accepts one key. Dropping it kills it, its connections and their processes.
pub(crate) struct OtherSshd {
    listening: Listening,
    user: String,
    folder: tempfile::TempDir,
}

impl OtherSshd {
    /// Starts it on a free port, with relative paths that begin at `home`.
    pub(crate) fn start(make: &Make, home: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str| folder.path().join(name);
        let kind = if let Make::Erlang | Make::Proftpd = make {
            "rsa"
        } else {
            "ed25519"
        };

        let host_key = if let Make::Tinyssh = make {
            tinyssh_key(&file)
        } else {
            keys::ssh_keygen(&file("host_key"), kind, "")
        };
        keys::ssh_keygen(&file("id"), "ed25519", "");
        let user = output("id", &["-un"]);
        let log = file("log");

        let listening = Listening::start(&log, |port| match make {
            Make::Asyncssh(refused) => asyncssh(&file, port, home, refused),
            Make::Erlang => erlang(&file, port, home),
            Make::Proftpd => proftpd(&file, port, home, &user),
            Make::Rclone(mode, known_for) => rclone(&file, port, home, mode, known_for),
            Make::Tinyssh => tinyssh(&file, port, home, &user),
            Make::Ssh2 => ssh2(&file, port, home),
        });

        let Some(listening) = listening else {
            panic!(
                "the server does not start: {}",
                fs::read_to_string(log).unwrap_or_default()
            )
        };

        let known_hosts = keys::known_hosts_line(listening.port(), &host_key);
        fs::write(file("known_hosts"), known_hosts).expect("a writable folder");

        Self {
            listening,
            user,
            folder,
        }
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.listening.port()
    }

    /// How often somebody has connected to tinysshd.
    pub(crate) fn connections(&self) -> usize {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.matches("accepted").count()
    }

    /// Writes an `ssh_config` with which `ssh -F PATH alias` logs in, with these further lines.
    pub(crate) fn write_ssh_config(&self, alias: &str, extra: &str) -> PathBuf {
        let folder = self.folder.path();
        let extra = format!("IdentityFile {}\n{extra}", folder.join("id").display());

        let host = ssh_config::host(
            alias,
            &extra,
            self.port(),
            &self.user,
            &folder.join("known_hosts"),
        );

        ssh_config::write(folder, alias, &host)
    }
}

type File<'a> = &'a dyn Fn(&str) -> PathBuf;

/// Where the programs of these servers are.
fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/support/other_sshd")
        .join(name)
}

fn asyncssh(file: File<'_>, port: u16, home: &Path, refused: &[&str]) -> Command {
    // Debian's own Python, which has Debian's packages.
    let python = Path::new("/usr/bin/python3");
    let imports = Command::new(python)
        .args(["-c", "import asyncssh"])
        .output()
        .is_ok_and(|ran| ran.status.success());

    assert!(
        imports,
        "asyncssh is missing: install it (Debian: python3-asyncssh)"
    );

    let mut command = Command::new(python);
    command
        .arg(source("asyncssh_server.py"))
        .arg(port.to_string());

    command
        .arg(file("host_key"))
        .arg(file("id.pub"))
        .arg(home)
        .args(refused);

    command
}

fn ssh2(file: File<'_>, port: u16, home: &Path) -> Command {
    let installed =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/installed/ssh2/node_modules");
    assert!(
        installed.join("ssh2").is_dir(),
        "ssh2 is missing: install it (node scripts/ssh2.mjs)"
    );

    let node = program("node").expect("node is missing: install Node.js");
    let mut command = Command::new(node);
    command
        .env("NODE_PATH", installed)
        .arg(source("ssh2.cjs"))
        .arg(port.to_string());

    command.arg(file("host_key")).arg(file("id.pub")).arg(home);

    command
}

fn erlang(file: File<'_>, port: u16, home: &Path) -> Command {
    let erl =
        program("erl").expect("erl is missing: install it (Debian: erlang-base and erlang-ssh)");
    fs::copy(file("host_key"), file("ssh_host_rsa_key")).expect("a host key");
    fs::copy(file("id.pub"), file("authorized_keys")).expect("a public key");
    let folder = file("");

    let run = format!(
        "{{ok, _}} = application:ensure_all_started(ssh), {{ok, _}} = ssh:daemon({{127, 0, 0, 1}}, {port}, \
         [{{system_dir, \"{folder}\"}}, {{user_dir, \"{folder}\"}}, {{shell, disabled}}, {{exec, disabled}}, \
         {{subsystems, [ssh_sftpd:subsystem_spec([{{cwd, \"{home}\"}}])]}}]).",
        folder = folder.display(),
        home = home.display(),
    );

    let mut command = Command::new(erl);

    // It is killed in the end, and would write down in the folder of the project what it was doing.
    command.env("ERL_CRASH_DUMP_SECONDS", "0");
    command.args(["+S", "2:2", "-noshell", "-noinput", "-eval", &run]);

    command
}

fn proftpd(file: File<'_>, port: u16, home: &Path, user: &str) -> Command {
    let proftpd = program("proftpd")
        .expect("proftpd is missing: install it (Debian: proftpd-core, proftpd-mod-crypto)");
    let [uid, gid, group] = [&["-u"][..], &["-g"], &["-gn"]].map(|option| output("id", option));

    // Nobody logs in with a password.
    let passwd = format!("{user}:!:{uid}:{gid}::{}:/bin/sh\n", home.display());
    fs::write(file("passwd"), passwd).expect("a writable folder");
    set_private(&file("passwd"));

    let public = output(
        "ssh-keygen",
        &[
            "-e",
            "-m",
            "RFC4716",
            "-f",
            &file("id.pub").display().to_string(),
        ],
    );

    fs::write(file("authorized"), public + "\n").expect("a writable folder");

    let config = format!(
        "LoadModule mod_sftp.c\nServerType standalone\nDefaultAddress 127.0.0.1\nPort {port}\nSocketBindTight on\n\
         User {user}\nGroup {group}\nRootLogin on\nUseFtpUsers off\nRequireValidShell off\nAuthOrder mod_auth_file.c\n\
         AuthUserFile {folder}/passwd\nPidFile {folder}/pid\nScoreboardFile {folder}/scoreboard\n\
         DelayTable none\nUseReverseDNS off\nWtmpLog off\nTransferLog none\nSystemLog {folder}/system-log\n\
         SFTPEngine on\nSFTPHostKey {folder}/host_key\nSFTPAuthorizedUserKeys file:{folder}/authorized\n\
         AllowOverwrite on\nAllowStoreRestart on\n",
        folder = file("").display(),
    );

    fs::write(file("proftpd.conf"), config).expect("a writable folder");
    let mut command = Command::new(proftpd);
    command
        .args(["--nodaemon", "-q", "-c"])
        .arg(file("proftpd.conf"));

    command
}

fn rclone(file: File<'_>, port: u16, home: &Path, mode: &str, known_for: &str) -> Command {
    let rclone = program("rclone").expect("rclone is missing: install it (Debian: rclone)");
    let mut command = Command::new(rclone);

    command.args([
        "serve",
        "sftp",
        "--config",
        "",
        "--addr",
        &format!("127.0.0.1:{port}"),
        "--vfs-cache-mode",
        mode,
        "--dir-cache-time",
        known_for,
    ]);

    // It says this of all files and directories, and a busy machine is given time to take in order what was sent in order.
    command.args([
        "--file-perms",
        "0644",
        "--dir-perms",
        "0755",
        "--umask",
        "022",
        "--vfs-write-wait",
        "2s",
    ]);

    command
        .arg("--cache-dir")
        .arg(file("cache"))
        .arg("--key")
        .arg(file("host_key"));

    command
        .arg("--authorized-keys")
        .arg(file("id.pub"))
        .arg(home);

    command
}

/// Makes a host key for tinysshd.
fn tinyssh_key(file: File<'_>) -> PublicKey {
    program("tinysshd").expect("tinysshd is missing: install it (Debian: tinysshd)");
    let folder = file("host_keys").display().to_string();
    output("tinysshd-makekey", &["-q", &folder]);
    let printed = output("tinysshd-printkey", &[&folder]);
    let mut keys = printed.lines().map(PublicKey::from_openssh);
    keys.find_map(Result::ok).expect("tinysshd prints its key")
}

/// As with Dropbear, a library shows it a password file of its own.
fn tinyssh(file: File<'_>, port: u16, home: &Path, user: &str) -> Command {
    let [uid, gid] = ["-u", "-g"].map(|option| output("id", &[option]));
    let passwd = format!("{user}:x:{uid}:{gid}::{}:/bin/sh\n", home.display());
    fs::write(file("passwd"), passwd).expect("a writable folder");
    fs::write(file("group"), format!("{user}:x:{gid}:\n")).expect("a writable folder");
    super::dropbear::authorize(home, &file("id.pub"));

    let mut command = Command::new("/usr/bin/python3");
    command.arg(source("tinysshd.py"));
    command.arg(port.to_string()).arg(file("host_keys"));
    command.env("LD_PRELOAD", super::dropbear::NSS_WRAPPER);
    command.env("NSS_WRAPPER_PASSWD", file("passwd"));
    command.env("NSS_WRAPPER_GROUP", file("group"));

    command
}

fn set_private(path: &Path) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(path, mode).expect("a file of ours");
}
