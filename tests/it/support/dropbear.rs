//! Dropbear, the SSH server of small systems, run in the foreground by the user who runs the tests.
//!
//! It takes home and login shell from the password file alone. `nss_wrapper`, a library to preload, shows it another one,
//! so that the person's own home and `~/.ssh` are not touched.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use russh::keys::PublicKey;

use super::{
    keys,
    listening::{Listening, output, program},
    ssh_config,
};

/// Found by the dynamic linker where it looks for libraries.
pub(super) const NSS_WRAPPER: &str = "libnss_wrapper.so";

/// A running Dropbear on 127.0.0.1 that accepts one key. Dropping it kills it, its connections and their processes.
pub(crate) struct Dropbear {
    listening: Listening,
    user: String,
    folder: tempfile::TempDir,
}

impl Dropbear {
    /// Starts it on a free port, for a user with this home and this login shell (one of `/etc/shells`).
    /// The words of `before` begin its command line.
    pub(crate) fn start(home: &Path, login_shell: &Path, before: &[String]) -> Self {
        let dropbear =
            program("dropbear").expect("dropbear is missing: install it (Debian: dropbear-bin)");

        assert!(
            output(
                "sh",
                &["-c", &format!("LD_PRELOAD={NSS_WRAPPER} true 2>&1")]
            )
            .is_empty(),
            "{NSS_WRAPPER} is missing: install it (Debian: libnss-wrapper)"
        );

        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str| folder.path().join(name);
        let [user, uid, gid] = ["-un", "-u", "-g"].map(|option| output("id", &[option]));
        let passwd = format!(
            "{user}:x:{uid}:{gid}::{}:{}\n",
            home.display(),
            login_shell.display()
        );

        fs::write(file("passwd"), passwd).expect("a writable folder");
        fs::write(file("group"), format!("{user}:x:{gid}:\n")).expect("a writable folder");
        keys::write_private_key(&file("id_ed25519"), &keys::ed25519(), None);
        authorize(home, &file("id_ed25519.pub"));

        let host_key = output(
            "dropbearkey",
            &[
                "-t",
                "ed25519",
                "-f",
                file("host_key").to_str().expect("a plain path"),
            ],
        );

        let host_key = host_key
            .lines()
            .find_map(|line| PublicKey::from_openssh(line).ok());
        let log = file("log");

        let listening = Listening::start(&log, |port| {
            let mut words = before.iter().map(OsStr::new).chain([dropbear.as_os_str()]);
            let mut command = Command::new(words.next().expect("a program"));
            command.args(words).env("LD_PRELOAD", NSS_WRAPPER);
            command
                .env("NSS_WRAPPER_PASSWD", file("passwd"))
                .env("NSS_WRAPPER_GROUP", file("group"));

            command.args(["-F", "-E", "-m", "-s", "-p", &format!("127.0.0.1:{port}")]);
            command
                .arg("-r")
                .arg(file("host_key"))
                .arg("-P")
                .arg(file("pid"));

            command
        });

        let Some(listening) = listening else {
            panic!(
                "dropbear does not start: {}",
                fs::read_to_string(log).unwrap_or_default()
            )
        };

        let known_hosts = keys::known_hosts_line(
            listening.port(),
            &host_key.expect("dropbearkey prints the public key"),
        );

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

    /// How often somebody has logged in.
    pub(crate) fn logins(&self) -> usize {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.matches("auth succeeded").count()
    }

    /// Writes an `ssh_config` with which `ssh -F PATH alias` logs in.
    pub(crate) fn write_ssh_config(&self, alias: &str) -> PathBuf {
        let folder = self.folder.path();
        let extra = format!("IdentityFile {}", folder.join("id_ed25519").display());

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

/// Lets a key in. Dropbear wants home, folder and file to be writable by nobody else.
pub(super) fn authorize(home: &Path, public_key: &Path) {
    let ssh = home.join(".ssh");
    fs::create_dir(&ssh).expect("a home without .ssh");
    fs::copy(public_key, ssh.join("authorized_keys")).expect("a public key");
    for path in [home, &ssh, &ssh.join("authorized_keys")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("a file of ours");
    }
}
