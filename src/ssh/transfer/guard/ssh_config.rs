//! The files of the SSH configuration, and the files named in it. Sections for all hosts count,
//! because an attack is not limited to the host of the session.

use std::{
    collections::HashSet,
    env, fs,
    path::{Path, PathBuf},
};

use crate::{
    openssh::config_file::ConfigLine, policy::GuardReason, ssh::config::expand::local_user,
};

/// Upper limit of nested `Include` options, as in `ssh`.
const MAX_INCLUDE: usize = 16;
/// Upper limit of files read. A user's configuration has fewer.
const MAX_FILES: usize = 1_000;
/// Upper limit of a configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Paths guarded because of the configuration. A `*` in a last name matches any text.
#[derive(Debug, Default)]
pub(super) struct ConfiguredPaths {
    pub(super) files: Vec<(PathBuf, GuardReason)>,
}

/// Reads the configuration of the user and of the system, or the given file instead of both.
/// Unreadable or invalid parts are skipped; `ssh` reports them when it is used.
pub(super) fn read(config: Option<&Path>, homes: &[PathBuf]) -> ConfiguredPaths {
    let mut reader = GuardedPathReader {
        homes,
        named: ConfiguredPaths::default(),
        read: HashSet::new(),
    };

    match config {
        // As with `ssh -F none`, no file is read.
        Some(none) if none.as_os_str() == "none" => {}
        Some(file) => {
            let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
            reader.file(&file, 0);
        }
        None => {
            for home in homes {
                reader.file(&home.join(".ssh/config"), 0);
            }

            reader.file(Path::new("/etc/ssh/ssh_config"), 0);
            if let Some(folder) = env::var_os("ProgramData").filter(|_| cfg!(windows)) {
                reader.file(&PathBuf::from(folder).join("ssh/ssh_config"), 0);
            }
        }
    }

    reader.named
}

/// Reader of configuration files, which collects the guarded paths.
struct GuardedPathReader<'a> {
    homes: &'a [PathBuf],
    named: ConfiguredPaths,
    read: HashSet<PathBuf>,
}

impl GuardedPathReader<'_> {
    /// Guards a configuration file and the paths named in it, and follows its `Include` options.
    fn file(&mut self, path: &Path, depth: usize) {
        self.named
            .files
            .push((path.to_owned(), GuardReason::SshConfig));

        if depth > MAX_INCLUDE || self.read.len() > MAX_FILES || !self.read.insert(path.to_owned())
        {
            return;
        }

        // A device or pipe might never end.
        if !fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() <= MAX_FILE_BYTES) {
            return;
        }

        let text = fs::read(path).unwrap_or_default();
        // An invalid line must not hide the valid lines after it.
        let lines = String::from_utf8_lossy(&text)
            .lines()
            .filter_map(|line| ConfigLine::read(line).ok()?)
            .collect::<Vec<_>>();

        for line in lines {
            match line {
                ConfigLine::Include(patterns) => patterns
                    .iter()
                    .for_each(|pattern| self.include(pattern, path, depth)),
                ConfigLine::Option(keyword, values) => self.option(&keyword, &values),
                ConfigLine::Match(criteria) => self.programs(&criteria),
                ConfigLine::Host(_) => {}
            }
        }
    }

    /// Reads the files of an `Include` pattern. The pattern itself is guarded too, because a new
    /// file there would be read as well.
    fn include(&mut self, pattern: &str, including: &Path, depth: usize) {
        let system = including
            .starts_with("/etc/ssh")
            .then(|| PathBuf::from("/etc/ssh"));

        // ssh_config(5): relative paths begin at `~/.ssh`, or at `/etc/ssh` in the system's
        // configuration.
        let folders: Vec<PathBuf> = match system {
            Some(folder) => vec![folder],
            None => self.homes.iter().map(|home| home.join(".ssh")).collect(),
        };

        for pattern in self.expanded(pattern, None) {
            for folder in &folders {
                let pattern = folder.join(&pattern);
                // The file is guarded even if it cannot be read, since it may appear later.
                self.named
                    .files
                    .push((until_a_pattern(&pattern), GuardReason::SshConfig));

                let found = glob::glob(&pattern.to_string_lossy())
                    .into_iter()
                    .flatten()
                    .flatten();

                for file in found.take(MAX_FILES) {
                    self.file(&file, depth + 1);
                }
            }
        }
    }

    /// Guards the paths in the values of an option.
    fn option(&mut self, keyword: &str, values: &[String]) {
        // These options name files that are trusted. The commands are run, so their programs count
        // as configuration.
        let why = match keyword {
            "identityfile" | "certificatefile" => GuardReason::KeyFile,
            "userknownhostsfile" | "globalknownhostsfile" | "revokedhostkeys" => {
                GuardReason::KnownHosts
            }
            "proxycommand"
            | "localcommand"
            | "knownhostscommand"
            | "pkcs11provider"
            | "securitykeyprovider"
            | "xauthlocation" => return self.programs(values),
            _ => return,
        };

        for value in values {
            for path in self.expanded(value, Some('*')) {
                let is_like = path
                    .file_name()
                    .is_some_and(|name| name.to_string_lossy().contains('*'));

                // A token stands for any host. Existing files are guarded by identity, so that
                // other paths to them count as well.
                if path.to_string_lossy().contains('*') {
                    let found = glob::glob(&path.to_string_lossy())
                        .into_iter()
                        .flatten()
                        .flatten();
                    self.named
                        .files
                        .extend(found.take(MAX_FILES).map(|file| (file, why)));
                }

                // A name that consists only of a token would match every file of the directory.
                if !is_like || path.file_name().is_some_and(|name| name != "*") {
                    self.named.files.push((until_a_pattern(&path), why));
                }
            }
        }
    }

    /// Guards the words of commands which are absolute paths, such as a program or a script.
    fn programs(&mut self, commands: &[String]) {
        for word in commands
            .iter()
            .flat_map(|command| command.split_whitespace())
        {
            let word = word.trim_matches(['"', '\'']);
            // A bare name is looked up in `PATH`, whose directories are guarded anyway. Devices
            // hold nothing.
            if word.starts_with(['/', '~']) && !word.starts_with("/dev/") {
                let paths = self.expanded(word, None);
                self.named
                    .files
                    .extend(paths.into_iter().map(|path| (path, GuardReason::SshConfig)));
            }
        }
    }

    /// Returns the paths for a value, a path for each home. Tokens which depend on the host become
    /// `any`; without `any`, tokens are not expanded.
    fn expanded(&self, value: &str, any: Option<char>) -> Vec<PathBuf> {
        if value == "none" || value == "/dev/null" {
            return Vec::new();
        }

        let expand = |home: &PathBuf| {
            let home = home.to_string_lossy();

            let value = match value.strip_prefix('~') {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                    home.clone().into_owned() + rest
                }
                _ => value.to_owned(),
            };

            // A path with an unset variable leads nowhere: `ssh` refuses it.
            let value = with_variables(&value)?;
            let (mut path, mut letters) = (String::new(), value.chars());

            while let Some(letter) = letters.next() {
                match any {
                    Some(any) if letter == '%' => match letters.next()? {
                        '%' => path.push('%'),
                        'd' => path.push_str(&home),
                        'u' => path.push_str(&local_user()),
                        _ => path.push(any),
                    },
                    _ => path.push(letter),
                }
            }

            Some(PathBuf::from(path))
        };

        self.homes.iter().filter_map(expand).collect()
    }
}

/// Expands `${NAME}`. Returns `None` if a variable is not set.
fn with_variables(value: &str) -> Option<String> {
    let (mut out, mut rest) = (String::new(), value);
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}')?;
        out = out + before + &env::var(name).ok()?;
        rest = after;
    }
    Some(out + rest)
}

/// Returns the path up to the first name with a wildcard (glob(7)), in which the wildcards become a
/// single `*`.
fn until_a_pattern(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        let name = component.as_os_str().to_string_lossy();
        let Some(at) = name.find(['*', '?', '[']) else {
            out.push(component);
            continue;
        };

        let beginning = name.get(..at).unwrap_or_default();
        let end = name
            .rfind(['*', '?', ']'])
            .and_then(|at| name.get(at + 1..))
            .unwrap_or_default();

        out.push(format!("{beginning}*{end}"));
        break;
    }

    out
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_a_configuration_names_is_found() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::create_dir_all(at(".ssh/conf.d")).unwrap();
        fs::create_dir(at("keys")).unwrap();
        fs::write(at("keys/prod"), "").unwrap();
        fs::write(
            at(".ssh/conf.d/one"),
            "Include ../again\nHost a\nIdentityFile ~/one key\n",
        )
        .unwrap();

        fs::write(
            at("config"),
            "Include conf.d/*\nHost b\n  IdentityFile \"~/with blank\"\n  identityfile=%d/%u-key\nMatch host c\n\
             CertificateFile ~/keys/%h\nIdentityFile ~/%r.key\nUserKnownHostsFile ~/known /dev/null ~/more\n\
             ProxyCommand exec ~/bin/go %h\nIdentityFile none\nnonsense\nUser \"x\nMatch exec \"~/bin/test %h\"\n",
        )
        .unwrap();

        let named = read(Some(&at("config")), &[home.path().to_owned()]);
        let found = |name: &str, why: GuardReason| named.files.contains(&(at(name), why));

        for (name, why) in [
            ("config", GuardReason::SshConfig),
            (".ssh/conf.d/*", GuardReason::SshConfig),
            (".ssh/conf.d/one", GuardReason::SshConfig),
            (".ssh/../again", GuardReason::SshConfig),
            ("with blank", GuardReason::KeyFile),
            ("keys/prod", GuardReason::KeyFile),
            ("*.key", GuardReason::KeyFile),
            ("known", GuardReason::KnownHosts),
            ("more", GuardReason::KnownHosts),
            ("bin/go", GuardReason::SshConfig),
        ] {
            assert!(found(name, why), "{name}: {:#?}", named.files);
        }

        assert!(
            found(&format!("{}-key", local_user()), GuardReason::KeyFile),
            "{:#?}",
            named.files
        );

        assert!(
            !named
                .files
                .iter()
                .any(|(path, _)| path.ends_with("null") || path.ends_with("none"))
        );
    }
}
