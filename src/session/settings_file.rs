//! The settings file: found, read on change, and refused if it cannot be trusted.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, SystemTime},
};

use crate::{
    local::{home, trust::trusted_path},
    lock::lock,
    settings::{Settings, SettingsError},
};

/// Limit of the size of the file, in bytes. That is room for thousands of hosts.
const MAX_SIZE: u64 = 256 * 1024;
/// Age from which a file counts as written, and not as being written. It is longer than a tick of
/// the clock of a file system, so a later change has another time.
const SETTLED: Duration = Duration::from_millis(20);
/// Limit of the attempts to read a file that is being written.
const ATTEMPTS: usize = 5;

/// The settings file of a process. It is examined anew for each call, and read when it has changed.
///
/// The default is a process without a settings file.
#[derive(Debug, Default)]
pub struct SettingsFile {
    /// Absolute path; `None` if there is no place for such a file.
    path: Option<PathBuf>,
    /// True if the person named the file, which then has to be there.
    is_named: bool,
    /// Locked for look-ups and assignments only.
    seen: Mutex<Seen>,
}

/// What is known of the file.
#[derive(Debug, Default)]
struct Seen {
    /// True if the file was there once.
    was_there: bool,
    /// Last content that was read, and the state of the file at that time.
    content: Option<(Stamp, Arc<Settings>)>,
}

/// State of a file. A file with the same state has the same content.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: Option<SystemTime>,
    /// Device, inode, and time of the last change in seconds and nanoseconds (stat(2)).
    #[cfg(unix)]
    inode: (u64, u64, i64, i64),
}

/// A settings file that cannot be used. Until it can, nothing is done on any host: a rule that
/// could not be read might have forbidden it.
#[derive(Debug, thiserror::Error)]
#[error("the settings file {} cannot be used, so nothing is done on any host: {problem}", path.display())]
pub struct SettingsFileError {
    /// Absolute path of the file.
    pub path: PathBuf,
    /// What is wrong with it, in one line.
    pub problem: SettingsProblem,
}

/// What is wrong with a settings file.
#[derive(Debug, thiserror::Error)]
pub enum SettingsProblem {
    /// The person named a file that is not there.
    #[error("there is no such file; --settings or MCP_SSH_SETTINGS names it")]
    Missing,
    /// The file was there and is gone. Its rules may have been lifted by somebody else.
    #[error("it has been removed; put it back, or restart this program to go without it")]
    Removed,
    /// The file or a directory on the way belongs to others, or others may write to it.
    #[error("{0}")]
    Untrusted(String),
    /// The system does not let the file be read.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    /// A directory, device, pipe or socket takes its place.
    #[error("it is not a regular file")]
    NotAFile,
    /// The file is longer than 256 KiB.
    #[error("it is longer than {} KiB", MAX_SIZE / 1024)]
    TooLong,
    /// The file is empty, as while a program writes it.
    #[error("it is empty; write at least a comment, such as `# no rules`")]
    Empty,
    /// The file is not UTF-8.
    #[error("it is not UTF-8 text")]
    NotText,
    /// The file changed each time it was read.
    #[error("it is being written all the time")]
    Changing,
    /// A line cannot be understood.
    #[error(transparent)]
    Content(#[from] SettingsError),
}

impl SettingsFile {
    /// Returns the file that the person named. A relative path is relative to the working
    /// directory.
    #[must_use]
    pub fn named(path: PathBuf) -> Self {
        Self {
            path: Some(std::path::absolute(&path).unwrap_or(path)),
            is_named: true,
            seen: Mutex::default(),
        }
    }

    /// Returns the file in its usual place, `mcp-ssh-sessions/settings.toml` in the configuration
    /// directory of the user. It need not be there.
    #[must_use]
    pub fn usual() -> Self {
        Self {
            path: home::configuration().map(|folder| folder.join("mcp-ssh-sessions/settings.toml")),
            is_named: false,
            seen: Mutex::default(),
        }
    }

    /// Returns the absolute path of the file, which need not be there.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Returns the settings as they are now; `None` if there is no file in its usual place. Without
    /// a file, that costs one look at the file system.
    ///
    /// A file that has just been written is awaited for 20 ms.
    ///
    /// # Errors
    /// The file is there and cannot be used, or is missing although the person named it, or was
    /// there before. A process that has followed rules does not drop them because the file is gone:
    /// some editors replace a file by removing it first, and the agent may be able to remove it.
    pub fn current(&self) -> Result<Option<Arc<Settings>>, SettingsFileError> {
        let Some(path) = &self.path else {
            return Ok(None);
        };

        self.read(path).map_err(|problem| SettingsFileError {
            path: path.clone(),
            problem,
        })
    }

    fn read(&self, path: &Path) -> Result<Option<Arc<Settings>>, SettingsProblem> {
        if is_missing(path).map_err(SettingsProblem::Unreadable)? {
            return match self.is_named {
                true => Err(SettingsProblem::Missing),
                false if lock(&self.seen).was_there => Err(SettingsProblem::Removed),
                false => Ok(None),
            };
        }

        lock(&self.seen).was_there = true;

        // The directories may have changed although the file has not.
        let path =
            trusted_path(path).map_err(|error| SettingsProblem::Untrusted(error.to_string()))?;
        let found = fs::metadata(&path).map_err(SettingsProblem::Unreadable)?;
        let stamp = Stamp::of(&found);

        if let Some((known, settings)) = &lock(&self.seen).content
            && *known == stamp
        {
            return Ok(Some(Arc::clone(settings)));
        }

        let (stamp, text) = read_settled(&path)?;
        let settings = Arc::new(Settings::parse(&text)?);
        lock(&self.seen).content = Some((stamp, Arc::clone(&settings)));

        Ok(Some(settings))
    }
}

/// Returns true if there is no file. A link that leads nowhere is one: its rules are out of reach.
///
/// # Errors
/// The system does not say.
fn is_missing(path: &Path) -> io::Result<bool> {
    use io::ErrorKind::{NotADirectory, NotFound};

    match fs::symlink_metadata(path) {
        Ok(_) => Ok(false),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Reads a file that nobody is writing.
fn read_settled(path: &Path) -> Result<(Stamp, String), SettingsProblem> {
    for _ in 0..ATTEMPTS {
        let (file, stamp) = open(path)?;

        // Half a file has half of the rules. A program that writes one does so within a moment.
        if stamp.is_recent() {
            thread::sleep(SETTLED);
        }

        let mut bytes = Vec::new();
        file.take(MAX_SIZE + 1)
            .read_to_end(&mut bytes)
            .map_err(SettingsProblem::Unreadable)?;

        let (_, now) = open(path)?;
        if now != stamp {
            continue;
        }

        if bytes.len() as u64 > MAX_SIZE {
            return Err(SettingsProblem::TooLong);
        }

        if bytes.trim_ascii().is_empty() {
            return Err(SettingsProblem::Empty);
        }

        let text = String::from_utf8(bytes).map_err(|_| SettingsProblem::NotText)?;
        return Ok((stamp, text));
    }

    Err(SettingsProblem::Changing)
}

/// Opens a regular file, and returns it with its state.
fn open(path: &Path) -> Result<(File, Stamp), SettingsProblem> {
    // Opening a pipe would wait for a writer, and opening a device may do anything.
    let found = fs::metadata(path).map_err(SettingsProblem::Unreadable)?;
    if !found.is_file() {
        return Err(SettingsProblem::NotAFile);
    }

    if found.len() > MAX_SIZE {
        return Err(SettingsProblem::TooLong);
    }

    let file = File::open(path).map_err(SettingsProblem::Unreadable)?;
    let found = file.metadata().map_err(SettingsProblem::Unreadable)?;
    let stamp = Stamp::of(&found);

    Ok((file, stamp))
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt as _;

        Self {
            size: found.len(),
            modified: found.modified().ok(),
            #[cfg(unix)]
            inode: (found.dev(), found.ino(), found.ctime(), found.ctime_nsec()),
        }
    }

    /// Returns true if the file may be being written. A time in the future tells nothing.
    fn is_recent(&self) -> bool {
        let age = self.modified.and_then(|time| time.elapsed().ok());
        age.is_none_or(|age| age < SETTLED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a file that counts as settled.
    fn write(path: &Path, content: &[u8]) {
        fs::write(path, content).unwrap();
        thread::sleep(SETTLED);
    }

    fn error(file: &SettingsFile) -> String {
        let error = file.current().unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    }

    #[test]
    fn a_file_that_cannot_be_read_as_settings_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        let long = vec![b'#'; 1_000_000];
        let rows: [(&[u8], &str); 9] = [
            (b"[host.a]\nacess = 'read'", "line 2: the key `acess`"),
            (b"", "it is empty"),
            (b" \r\n\t\n", "it is empty"),
            (&long, "longer than 256 KiB"),
            (b"\xff\xfe[\0d\0", "not UTF-8"),
            (b"# \xe9", "not UTF-8"),
            (b"# a\0", "not TOML"),
            (b"-----BEGIN OPENSSH PRIVATE KEY-----", "line 1"),
            (b"{\"default\": 1}", "not TOML"),
        ];

        for (content, words) in rows {
            write(&path, content);
            let shown = error(&SettingsFile::named(path.clone()));
            assert!(shown.contains(words), "{shown}");
            assert!(shown.contains(&path.display().to_string()), "{shown}");
        }

        for content in ["\u{feff}[default]\r\nrun = 'ask'\r\n", "# nothing"] {
            write(&path, content.as_bytes());
            let read = SettingsFile::named(path.clone()).current().unwrap();
            assert_eq!(*read.unwrap(), Settings::parse(content).unwrap());
        }
    }

    #[test]
    fn a_change_is_seen_at_the_next_call() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        let file = SettingsFile::named(path.clone());
        let now = |file: &SettingsFile| file.current().unwrap().unwrap();
        let of = |text: &str| Settings::parse(text).unwrap();

        assert!(error(&file).contains("there is no such file"));

        write(&path, b"default.run = 'ask'  ");
        let first = now(&file);
        assert_eq!(*first, of("default.run = 'ask'"));
        assert!(Arc::ptr_eq(&first, &now(&file)), "it is read once");

        // The size is the same, and the file is read at once.
        fs::write(&path, b"default.run = 'never'").unwrap();
        assert_eq!(*now(&file), of("default.run = 'never'"));

        // As editors replace a file.
        let other = folder.path().join("other");
        write(&other, b"default.run = 'allow'");
        fs::rename(&other, &path).unwrap();
        assert_eq!(*now(&file), of("default.run = 'allow'"));

        fs::write(&path, b"default.run = 'alow'").unwrap();
        assert!(error(&file).contains("`run` in [default]"));

        fs::remove_file(&path).unwrap();
        assert!(error(&file).contains("there is no such file"));

        write(&path, b"default.run = 'allow'");
        assert_eq!(*now(&file), of("default.run = 'allow'"));
    }

    #[test]
    fn a_file_in_its_usual_place_need_not_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/settings.toml");
        let file = SettingsFile {
            path: Some(path.clone()),
            ..SettingsFile::default()
        };

        assert!(file.current().unwrap().is_none());
        fs::write(folder.path().join("a"), "in the way").unwrap();
        assert!(file.current().unwrap().is_none());
        fs::remove_file(folder.path().join("a")).unwrap();

        fs::create_dir(folder.path().join("a")).unwrap();
        write(&path, b"default.run = 'ask'");
        assert!(file.current().unwrap().is_some());

        // Rules that held once do not end because their file is gone.
        fs::remove_file(&path).unwrap();
        assert!(error(&file).contains("it has been removed"));
        write(&path, b"default.run = 'ask'");
        assert!(file.current().unwrap().is_some());

        assert!(SettingsFile::default().current().unwrap().is_none());
    }

    #[test]
    #[cfg(unix)]
    fn only_a_regular_file_of_this_user_is_read() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};

        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name);
        let mode = |name: &str, mode: u32| {
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        let current = |name: &str| SettingsFile::named(at(name)).current();

        fs::create_dir(at("real")).unwrap();
        write(&at("real/file"), b"# rules");
        symlink("real/file", at("link")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();

        assert!(current("real/file").is_ok() && current("link").is_ok());

        for (name, words) in [
            ("real", "not a regular file"),
            ("pipe", "not a regular file"),
            ("dangling", "cannot be examined"),
            ("real/file/x", "there is no such file"),
        ] {
            let shown = error(&SettingsFile::named(at(name)));
            assert!(shown.contains(words), "{name}: {shown}");
        }

        // One that was good is examined again.
        let file = SettingsFile::named(at("link"));
        assert!(file.current().is_ok());
        for (changed, bad, good) in [("real/file", 0o620, 0o600), ("real", 0o777, 0o755)] {
            mode(changed, bad);
            assert!(error(&file).contains("other users may write"), "{changed}");
            mode(changed, good);
            assert!(file.current().is_ok(), "{changed}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_link_to_nowhere_is_a_file_out_of_reach() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        std::os::unix::fs::symlink("nowhere", &path).unwrap();

        let file = SettingsFile {
            path: Some(path),
            ..SettingsFile::default()
        };
        assert!(error(&file).contains("cannot be examined"));
    }
}
