//! Facts about a host: system, machine, login shell, sudo and tools. They come with the answer of
//! the login shell to the probe.

use super::probe::{POSIX_MARK, ShellProbe};
use crate::foreign_text::ForeignText;

/// Tools that [`POSIX_PROBE`](super::POSIX_PROBE) looks for, in the order in which they are shown.
const TOOLS: [&str; 8] = [
    "rg",
    "git",
    "python3",
    "docker",
    "podman",
    "kubectl",
    "systemctl",
    "jq",
];

/// Longest name of a system, in bytes.
const MAX_OS_BYTES: usize = 40;
/// Longest name of a machine or a shell, in bytes.
const MAX_NAME_BYTES: usize = 20;

/// Facts about a host as its login shell gave them. Every fact may be missing, and none of them
/// decides anything in this program: the host may say what it likes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// Operating system and version, such as `Debian 12`.
    pub os: Option<ForeignText>,
    /// Hardware, such as `x86_64`.
    pub machine: Option<ForeignText>,
    /// Name of the login shell, such as `bash` or `BusyBox ash`.
    pub shell: Option<ForeignText>,
    /// True if there is a `sudo` program and the account is not root's. Only an attempt would show
    /// whether sudo lets the account in, and sudo logs each attempt.
    pub has_sudo: bool,
    /// Tools on the `PATH`, of a fixed list.
    pub tools: Vec<&'static str>,
}

impl HostFacts {
    /// Reads the facts in the answer to [`POSIX_PROBE`](super::POSIX_PROBE). `probe` is what all
    /// answers said about the shell.
    #[must_use]
    pub fn read(probe: &ShellProbe, answer: &[u8]) -> Self {
        let answer = String::from_utf8_lossy(answer);
        let after_mark = answer.split_once(POSIX_MARK).map(|(_, rest)| rest);
        // A last line without an end may have been cut off.
        let whole = after_mark.and_then(|rest| rest.rsplit_once('\n'));
        let lines = whole.map_or("", |(lines, _)| lines).lines();

        let (mut name, mut version, mut uname) = (None, None, None);
        let mut programs = Vec::new();

        for line in lines {
            if let Some(words) = line.strip_prefix("uname:") {
                uname.get_or_insert(words);
            } else if let Some(value) = line.strip_prefix("NAME=") {
                name.get_or_insert(value);
            } else if let Some(value) = line.strip_prefix("VERSION_ID=") {
                version.get_or_insert(value);
            } else {
                programs.push(line.rsplit('/').next().unwrap_or_default());
            }
        }

        let words: Vec<&str> = uname.unwrap_or_default().split_whitespace().collect();
        let named = name.map(|name| distribution(name, version.unwrap_or_default()));
        let (os, machine) = match words[..] {
            [system, release, machine] => (Some(kernel(system, release)), Some(machine)),
            _ => (None, None),
        };

        Self {
            os: named.or(os).and_then(|os| short(&os, MAX_OS_BYTES)),
            machine: machine.and_then(|machine| short(machine, MAX_NAME_BYTES)),
            shell: shell(probe),
            has_sudo: programs.contains(&"sudo"),
            tools: TOOLS
                .into_iter()
                .filter(|tool| programs.contains(tool))
                .collect(),
        }
    }
}

/// Returns a distribution as in `Debian 12`, from two values of `os-release(5)`.
fn distribution(name: &str, version: &str) -> String {
    let name = unquoted(name);
    let name = name.strip_suffix(" GNU/Linux").unwrap_or(&name);

    format!("{name} {}", unquoted(version))
}

/// Returns a value of `os-release(5)` without the quotes that a shell would remove.
fn unquoted(value: &str) -> String {
    value.replace(['"', '\'', '\\'], "")
}

/// Returns the system of a kernel, for a system without `os-release(5)`.
fn kernel(system: &str, release: &str) -> String {
    let release = release.split('-').next().unwrap_or_default();
    let major = release.split('.').next().and_then(|it| it.parse().ok());

    match (system, major) {
        // Each version of macOS has a version of Darwin, the kernel.
        ("Darwin", Some(major @ 25_u32..=99)) => format!("macOS {}", major + 1),
        ("Darwin", Some(major @ 20..=24)) => format!("macOS {}", major - 9),
        _ => format!("{system} {release}"),
    }
}

/// Returns the name of the shell, and whose it is if it is part of BusyBox.
fn shell(probe: &ShellProbe) -> Option<ForeignText> {
    let name = probe.program.as_deref()?.rsplit('/').next()?;
    let owner = if probe.is_busybox { "BusyBox " } else { "" };

    short(&format!("{owner}{name}"), MAX_NAME_BYTES)
}

/// Returns the words of a text, cut after this number of bytes; `None` without a word.
fn short(text: &str, max_bytes: usize) -> Option<ForeignText> {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!words.is_empty()).then(|| ForeignText::from(words).cut(max_bytes))
}
