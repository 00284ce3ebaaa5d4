//! A real sudo that wants a password, without touching this machine's accounts: an sshd, and so all that its log-ins run,
//! that sees files of its own in place of `/etc/passwd`, `/etc/shadow`, `/etc/sudoers` and sudo's PAM service.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{
    checks::skipped,
    open_sshd::{OpenSshd, OpenSshdSettings},
    processes,
};

/// The account that logs in.
pub(crate) const USER: &str = "mcp-sudo-test";
/// Its password, with what shells, formats and encodings could damage.
pub(crate) const PASSWORD: &str = " it's \"a\" \\n $PATH !1 %p s3kr1t-W0rd €";
/// The line of `sshd_config` that lets the account log in with its password.
pub(crate) const BY_PASSWORD: &str = "PasswordAuthentication yes";
/// A part of the password that occurs nowhere else.
pub(crate) const TELLTALE: &str = "s3kr1t-W0rd";
/// The password as crypt(5) keeps it.
const HASH: &str = "$6$mcpsshsessions$o093o/WnXqsmA4JjMXwgHpxYWM.m8U2F.RfJtdlWCaajVgWEpC3JmFxtSQ2tfZgpB04UlG9y6mek05DE6YIT7.";
/// `changed` in the same form.
const CHANGED: &str = "$6$mcpsshsessions$eC3L0FRvXLrHaanH8/8cAIS15.9q6RXvfekxpUAVDUbxgVtk0Jh2zcx1NaEkxsiyUKRuagOXt0zuo7P45d0Og1";
/// Its user and group id.
pub(crate) const ID: u32 = 64_321;

/// Asks for the password, without a delay after a wrong one.
const ASKS: &str = "auth required pam_unix.so nodelay\n";
/// The rest of sudo's PAM service.
const PAM: &str = "account required pam_unix.so\nsession required pam_permit.so\n";

/// Puts the files in their places, for this process and those that it starts, and becomes the program.
const IN_ITS_PLACE: &str = r#"set -e
etc=$0
for file in passwd group shadow sudoers; do mount --bind "$etc/$file" "/etc/$file"; done
if [ -f /etc/pam.d/sudo ]; then mount --bind "$etc/pam" /etc/pam.d/sudo; fi
exec "$@""#;

/// What a `SudoHost` is.
pub(crate) struct SudoHostSettings {
    /// What the account may do: the part of the line of `sudoers(5)` after its name.
    pub(crate) rule: &'static str,
    /// More `Defaults`.
    pub(crate) defaults: &'static str,
    /// The account's login shell.
    pub(crate) shell: &'static str,
    /// As in [`OpenSshdSettings`].
    pub(crate) extra_config: &'static str,
    /// As in [`OpenSshdSettings`].
    pub(crate) sftp: &'static str,
}

impl Default for SudoHostSettings {
    fn default() -> Self {
        Self {
            rule: "ALL=(ALL:ALL) ALL",
            defaults: "",
            shell: "/bin/sh",
            extra_config: "",
            sftp: "internal-sftp",
        }
    }
}

/// A running sshd with such a sudo. Dropping it kills it and all that was started in it.
pub(crate) struct SudoHost {
    pub(crate) sshd: OpenSshd,
    etc: tempfile::TempDir,
}

impl SudoHost {
    /// Starts it; `None`, aloud, where this user cannot.
    pub(crate) fn start(settings: &SudoHostSettings) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skipped(
                "only root can give an sshd accounts of its own; run the tests as root to see sudo used",
            );
            return None;
        }

        let mut unshare = Command::new("unshare");
        let able = unshare
            .args(["-m", "true"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());

        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        if !able || status.contains("NoNewPrivs:\t1") {
            skipped("root may not mount here, or sudo not become root");
            return None;
        }

        assert!(
            ["/usr/bin/sudo", "/usr/local/bin/sudo"]
                .iter()
                .any(|path| Path::new(path).exists()),
            "sudo is missing: install it (Debian: sudo)"
        );

        let etc = tempfile::tempdir().expect("a temporary folder");
        let home = etc.path().join("home");
        fs::create_dir(&home).expect("a writable folder");
        fs::create_dir(etc.path().join("root")).expect("a writable folder");
        chown(&home, Some(ID), Some(ID)).expect("root may");
        fs::set_permissions(etc.path(), fs::Permissions::from_mode(0o711)).expect("root may");
        write_accounts(etc.path(), settings.shell);
        write_sudoers(etc.path(), settings.rule, settings.defaults);

        let before = [
            "unshare",
            "-m",
            "sh",
            "-c",
            IN_ITS_PLACE,
            &etc.path().display().to_string(),
        ];

        let sshd = OpenSshd::start(&OpenSshdSettings {
            before: before.map(str::to_owned).to_vec(),
            user: Some(USER),
            max_sessions: 100,
            sftp: settings.sftp.to_owned(),
            extra_config: format!("{}\nSetEnv HOME={}", settings.extra_config, home.display()),
            ..OpenSshdSettings::default()
        });

        Some(Self { sshd, etc })
    }

    /// From now on the account may do this.
    pub(crate) fn allow(&self, rule: &str, defaults: &str) {
        write_sudoers(self.etc.path(), rule, defaults);
    }

    /// From now on the account's password is `changed`.
    pub(crate) fn change_password(&self) {
        self.rewrite_shadow(HASH, CHANGED);
    }

    /// From now on the account has no password, which is less than one that cannot be right.
    pub(crate) fn clear_password(&self) {
        self.rewrite_shadow(HASH, "");
    }

    /// From now on the account's password has expired.
    pub(crate) fn expire_password(&self) {
        self.rewrite_shadow(":19000:", ":0:");
    }

    fn rewrite_shadow(&self, old: &str, new: &str) {
        let shadow = self.etc.path().join("shadow");
        let text = fs::read_to_string(&shadow).expect("our own file");

        let lines: Vec<_> = text
            .lines()
            .map(|line| {
                if line.starts_with(USER) {
                    line.replace(old, new)
                } else {
                    line.to_owned()
                }
            })
            .collect();

        fs::write(shadow, lines.join("\n") + "\n").expect("our own file");
    }

    /// From now on sudo asks for something more, and is content with anything.
    pub(crate) fn ask_more(&self) {
        fs::write(
            self.etc.path().join("pam"),
            format!("{ASKS}auth optional pam_ftp.so\n{PAM}"),
        )
        .expect("our own file");
    }

    /// The account's home.
    pub(crate) fn home(&self) -> PathBuf {
        self.etc.path().join("home")
    }

    /// What sudo has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.etc.path().join("log")).unwrap_or_default()
    }

    /// The processes of log-ins, root's too, that have `word` among their arguments.
    pub(crate) fn running(&self, word: &str) -> Vec<u32> {
        self.processes()
            .into_iter()
            .filter(|pid| processes::has_argument(*pid, word))
            .collect()
    }

    /// All processes that see the account.
    pub(crate) fn processes(&self) -> Vec<u32> {
        processes::sharing_mounts(self.sshd.pid())
    }
}

impl Drop for SudoHost {
    fn drop(&mut self) {
        let own = self.sshd.pid();
        let all = self
            .processes()
            .into_iter()
            .filter(|pid| *pid != own)
            .map(|pid| pid.to_string());
        processes::signal("KILL", &all.collect::<Vec<_>>());
    }
}

fn write_accounts(etc: &Path, shell: &str) {
    let home = etc.join("home");
    let here = |file: &str| fs::read_to_string(Path::new("/etc").join(file)).unwrap_or_default();

    // root's own startup files are not the test's.
    let here_passwd = here("passwd");
    let accounts: Vec<_> = here_passwd
        .lines()
        .filter(|line| !line.starts_with("root:"))
        .collect();

    let accounts = accounts.join(
        "
",
    );

    let root = etc.join("root");

    let lines = [
        (
            "passwd",
            format!(
                "root:x:0:0::{}:/bin/sh\n{accounts}\n{USER}:x:{ID}:{ID}::{}:{shell}\n",
                root.display(),
                home.display()
            ),
        ),
        ("group", format!("{}{USER}:x:{ID}:\n", here("group"))),
        (
            "shadow",
            format!("{}{USER}:{HASH}:19000:0:99999:7:::\n", here("shadow")),
        ),
        ("pam", format!("{ASKS}{PAM}")),
    ];

    for (file, content) in lines {
        fs::write(etc.join(file), content).expect("a writable folder");
    }

    fs::set_permissions(etc.join("shadow"), fs::Permissions::from_mode(0o600)).expect("root may");
}

/// In place: another file of the same name would not be the one that is mounted.
fn write_sudoers(etc: &Path, rule: &str, defaults: &str) {
    let own = etc.display();
    let rule = if rule.is_empty() {
        String::new()
    } else {
        format!("{USER} {rule}\n")
    };

    let sudoers = format!(
        "Defaults env_reset, !fqdn, !mail_badpass, !mail_no_user, !syslog, logfile={own}/log\n\
         Defaults timestampdir={own}/timestamps, lecture_status_dir={own}, lecture=always\n\
         Defaults secure_path=\"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"\n\
         {defaults}\nroot ALL=(ALL:ALL) ALL\n{rule}"
    );

    fs::write(etc.join("sudoers"), sudoers).expect("a writable folder");
    fs::set_permissions(etc.join("sudoers"), fs::Permissions::from_mode(0o440)).expect("root may");
}
