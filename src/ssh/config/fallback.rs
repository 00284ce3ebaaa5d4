//! Reads the configuration if there is no `ssh` program to ask (`ssh -G`), as in slim containers or
//! on some Windows machines.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    expand::{local_user, with_tokens},
    target::{Target, parse_hop},
};
use crate::{
    local::home::home,
    openssh::{
        config_file::{ConfigLine, Settings, host_matches},
        destination::host_part,
        effective_config::EffectiveConfig,
        forwardings::Forwardings,
        tokens::expand,
    },
    ssh::error::SshError,
};

/// Limit of the depth at which files include each other, as in `ssh`.
const MAX_INCLUDE: usize = 16;

/// Reads the user's and the system's configuration file, or only the file named by the target. The
/// notices of the result list the limits of this reading.
///
/// # Errors
/// A file cannot be read, a line cannot be parsed, or a `Match` needs `ssh` for its decision.
pub fn read(target: &Target) -> Result<EffectiveConfig, SshError> {
    let destination = target.destination.as_str();

    // As in `ssh`, only an `ssh://` address can carry a port; otherwise a colon is part of the
    // host.
    let parts = if destination.starts_with("ssh://") {
        parse_hop(destination).map_err(|source| SshError::Hop {
            hop: destination.to_owned(),
            source,
        })?
    } else {
        let (user, host) = destination
            .rsplit_once('@')
            .map_or((None, destination), |(user, host)| (Some(user), host));
        let parsed = crate::openssh::destination::Destination::parse(host);
        let parsed = parsed.map_err(|source| SshError::Hop {
            hop: destination.to_owned(),
            source,
        })?;

        Target {
            destination: parsed,
            user: user.map(str::to_owned),
            port: None,
            config_file: None,
        }
    };

    // `Host` patterns match the host as typed, without user and port.
    let host = parts.destination.as_str();
    let mut reader = FallbackReader {
        host,
        settings: Settings::default(),
        any_match: false,
    };

    reader.files(target)?;
    // Options which cannot be honoured here must not go unnoticed.
    let mut notices = vec![
        "there is no `ssh` program, so this program read the SSH configuration; Match (except \
         `Match all`) and CanonicalizeHostname are not supported, and file permissions are not checked"
            .to_owned(),
    ];

    if !reader.settings.unknown.is_empty() {
        notices.push(format!(
            "unknown options in the SSH configuration: {}",
            reader.settings.unknown.join(", ")
        ));
    }

    // As in `ssh`, an explicit user or port wins over the destination, and the destination over the
    // files.
    let user = target.user.as_deref().or(parts.user.as_deref());
    let text =
        reader
            .settings
            .to_config_dump(host, user, target.port.or(parts.port), &local_user());

    // The settings are printed as `ssh -G` would, so both ways share a parser.
    let mut config = EffectiveConfig::parse(&text).map_err(|source| SshError::Config {
        destination: destination.to_owned(),
        source,
    })?;

    notices.append(&mut config.notices);
    // Unlike `ssh -G`, the settings have the tokens in paths as they were written.
    let forwardings = with_tokens(&config, destination, |tokens| {
        Forwardings::parse(&text, &|path| expand(path, tokens))
    });

    Ok(EffectiveConfig {
        forwardings,
        notices,
        ..config
    })
}

/// Returns true if the files set the option `keyword`, in lower case, for the target. Every `Match`
/// counts as applying, and an unreadable file counts as empty.
#[must_use]
pub fn sets(target: &Target, keyword: &str) -> bool {
    let mut reader = FallbackReader {
        host: host_part(target.destination.as_str()),
        settings: Settings::default(),
        any_match: true,
    };
    let _ = reader.files(target);
    reader.settings.first(keyword).is_some()
}

/// Reader of configuration files, which collects the settings for a host.
struct FallbackReader<'a> {
    /// Host as the user typed it.
    host: &'a str,
    /// Settings collected so far.
    settings: Settings,
    /// True if every `Match` applies. Otherwise a `Match` which needs `ssh` for its decision is an
    /// error.
    any_match: bool,
}

impl FallbackReader<'_> {
    /// Reads the user's file and the system's file, or only the file named by the target.
    fn files(&mut self, target: &Target) -> Result<(), SshError> {
        let home = home_or_root().join(".ssh");
        // The user's file comes first, because the first value of an option wins. `-F none` reads
        // no file.
        match &target.config_file {
            Some(none) if none.as_os_str() == "none" => Ok(()),
            Some(file) => self.file(file, &home, true, 0),
            None => {
                self.file_if_there(&home.join("config"), &home)?;
                let system = system_folder();
                self.file_if_there(&system.join("ssh_config"), &system)
            }
        }
    }

    /// Reads a file, unless the file is missing.
    fn file_if_there(&mut self, path: &Path, folder: &Path) -> Result<(), SshError> {
        if path.exists() {
            self.file(path, folder, true, 0)
        } else {
            Ok(())
        }
    }

    /// Reads a file. The lines before its first `Host` apply if `applies` is true. `folder` is the
    /// base of relative paths in `Include`.
    fn file(
        &mut self,
        path: &Path,
        folder: &Path,
        applies: bool,
        depth: usize,
    ) -> Result<(), SshError> {
        let in_file = |number: usize, message: String| SshError::ConfigFile {
            file: path.to_owned(),
            number,
            message,
        };

        let text = fs::read(path).map_err(|error| in_file(0, error.to_string()))?;
        // A block inside of an included file applies only if the block with the `Include` does.
        let mut active = applies;

        for (index, line) in String::from_utf8_lossy(&text).lines().enumerate() {
            let wrong = |message: String| in_file(index + 1, message);
            match ConfigLine::read(line).map_err(|error| wrong(error.to_string()))? {
                Some(ConfigLine::Host(patterns)) => {
                    active = applies && host_matches(&patterns, self.host);
                }
                Some(ConfigLine::Match(criteria)) if self.any_match || criteria == ["all"] => {
                    active = applies;
                }
                // A guess could lead to the wrong host. In a file included from a block which does
                // not apply, the answer does not matter.
                Some(ConfigLine::Match(criteria)) if applies => {
                    return Err(wrong(format!(
                        "only ssh itself can decide `Match {}`",
                        criteria.join(" ")
                    )));
                }
                // Without a limit, a file which includes itself would never end.
                Some(ConfigLine::Include(_)) if depth + 1 >= MAX_INCLUDE => {
                    return Err(wrong("too many files include each other".to_owned()));
                }
                Some(ConfigLine::Include(paths)) => {
                    for pattern in paths {
                        let unreadable = |error: io::Error| wrong(error.to_string());
                        for included in included(&pattern, folder).map_err(unreadable)? {
                            let included = included.map_err(unreadable)?;
                            self.file(&included, folder, active, depth + 1)?;
                        }
                    }
                }
                Some(ConfigLine::Option(keyword, arguments)) if active => {
                    self.settings
                        .add(&keyword, &arguments)
                        .map_err(|error| wrong(error.to_string()))?;
                }
                None | Some(ConfigLine::Match(_) | ConfigLine::Option(..)) => {}
            }
        }

        Ok(())
    }
}

/// Returns the files of an `Include` pattern, in order. A missing file is skipped.
pub(super) fn included(
    pattern: &str,
    folder: &Path,
) -> io::Result<impl Iterator<Item = io::Result<PathBuf>>> {
    let path = match pattern.strip_prefix("~/") {
        Some(rest) => home_or_root().join(rest),
        None => folder.join(pattern),
    };

    // As in glob(3), `*` leaves out hidden files.
    let options = glob::MatchOptions {
        require_literal_leading_dot: true,
        ..glob::MatchOptions::default()
    };

    let found = glob::glob_with(&path.to_string_lossy(), options).map_err(io::Error::other)?;
    Ok(found
        .map(|path| path.map_err(io::Error::from))
        .filter(|path| !path.as_ref().is_ok_and(|path| path.is_dir())))
}

/// Returns the home directory, or the root directory if none is known. Only root writes there,
/// unlike in the working directory.
pub(super) fn home_or_root() -> PathBuf {
    home().unwrap_or_else(|| PathBuf::from("/"))
}

/// Returns the directory of the system-wide configuration.
pub(super) fn system_folder() -> PathBuf {
    match std::env::var_os("ProgramData") {
        Some(folder) if cfg!(windows) => PathBuf::from(folder).join("ssh"),
        _ => PathBuf::from("/etc/ssh"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openssh::destination::Destination;

    #[test]
    fn an_option_is_set_where_a_line_for_the_host_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let (file, included) = (folder.path().join("config"), folder.path().join("included"));
        fs::write(&included, "Host other\nServerAliveInterval 0\n").unwrap();
        let include = format!("Include {}", included.display());

        for (text, destination, expected) in [
            ("ServerAliveInterval 0\n", "box", true),
            ("serveraliveinterval=0\n", "box", true),
            ("Host box\nServerAliveInterval 0\n", "box", true),
            ("Host box\nServerAliveInterval 0\n", "me@box", true),
            ("Host box\nServerAliveInterval 0\n", "ssh://box:22", true),
            ("Host box\nServerAliveInterval 0\n", "other", false),
            ("Host * !box\nServerAliveInterval 0\n", "box", false),
            ("Match exec \"true\"\nServerAliveInterval 0\n", "box", true),
            (
                "# ServerAliveInterval 0\nServerAliveCountMax 5\n",
                "box",
                false,
            ),
            (&include, "other", true),
            (&include, "box", false),
            ("nonsense \"\nServerAliveInterval 0\n", "box", false),
            ("", "box", false),
        ] {
            fs::write(&file, text).unwrap();
            let target = Target {
                destination: Destination::parse(destination).unwrap(),
                user: None,
                port: None,
                config_file: Some(file.clone()),
            };

            assert_eq!(
                sets(&target, "serveraliveinterval"),
                expected,
                "{text:?} {destination}"
            );
        }
    }
}
