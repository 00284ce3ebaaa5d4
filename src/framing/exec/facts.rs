//! Facts about a host: system, machine, login shell, sudo and tools. They come with the answer of
//! the login shell to the probe.

use super::{
    probe::{POSIX_MARK, ShellProbe},
    windows::WindowsFacts,
};
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
/// Most that is kept of an answer, in bytes.
const MAX_PART_BYTES: usize = 2048;
/// Longest name of a machine or a shell, in bytes.
const MAX_NAME_BYTES: usize = 25;

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

impl HostFacts {
    /// Returns the part of an answer to [`POSIX_PROBE`](super::POSIX_PROBE) that [`read`](Self::read)
    /// needs, without what startup files printed before it. Empty if the part is too long.
    #[must_use]
    pub fn part(answer: &[u8]) -> String {
        let answer = String::from_utf8_lossy(answer);
        let after_mark = answer.split_once(POSIX_MARK).map(|(_, rest)| rest);
        let part = after_mark.map_or_else(String::new, |rest| format!("{POSIX_MARK}{rest}"));

        if part.len() > MAX_PART_BYTES {
            String::new()
        } else {
            part
        }
    }

    /// Returns the facts that a login shell of Windows gave.
    #[must_use]
    pub fn of_windows(facts: &WindowsFacts) -> Self {
        Self {
            os: short(&format!("Windows {}", facts.version), MAX_OS_BYTES),
            machine: short(&facts.machine, MAX_NAME_BYTES),
            shell: short(&facts.program, MAX_NAME_BYTES),
            has_sudo: false,
            tools: Vec::new(),
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

/// Returns the name of the shell, and says so if the shell is part of `BusyBox`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::exec::POSIX_PROBE;

    const BASH: &str = "mcp-ssh-sessions:42:/bin/bash:/usr/bin/bash:/usr/bin/bash;\n";

    /// Returns the facts in a few words, unknown ones as `-`.
    fn facts(answer: &str) -> String {
        let probe = ShellProbe::posix(answer.as_bytes()).unwrap_or_else(ShellProbe::unknown);
        let facts = HostFacts::read(&probe, answer.as_bytes());
        let word = |word: Option<ForeignText>| word.map_or("-".to_owned(), |it| it.to_string());
        let sudo = if facts.has_sudo { "sudo" } else { "-" };

        [
            word(facts.os),
            word(facts.machine),
            word(facts.shell),
            sudo.to_owned(),
            facts.tools.join(" "),
        ]
        .join("|")
    }

    #[test]
    fn a_whole_answer_has_every_fact() {
        let answer = format!(
            "{BASH}uname:Linux 6.1.0-18-amd64 x86_64\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n\
             /usr/bin/sudo\n/usr/bin/git\n/home/me/.cargo/bin/rg\njq\n"
        );
        assert_eq!(facts(&answer), "Debian 12|x86_64|bash|sudo|rg git jq");

        // Startup files print before the answer, and what ends a shell after it.
        let noisy =
            format!("NAME=Noise\n/bin/docker\nuname:a b c\n\x1b[1m{answer}Bye\nNAME=Late\n");
        assert_eq!(facts(&noisy), facts(&answer));

        let part = HostFacts::part(noisy.as_bytes());
        assert!(part.starts_with(POSIX_MARK) && !part.contains("Noise"));
        assert_eq!(facts(&part), facts(&answer));
        let endless = answer + &"x".repeat(MAX_PART_BYTES);
        assert_eq!(HostFacts::part(endless.as_bytes()), "");
    }

    #[test]
    fn systems_have_the_names_that_people_use() {
        for (lines, os) in [
            (
                "uname:Linux 6.8.0-31 x86_64\nNAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\n",
                "Ubuntu 24.04",
            ),
            (
                "uname:Linux 6.6 x86_64\nNAME=\"Alpine Linux\"\nVERSION_ID=3.19.1\n",
                "Alpine Linux 3.19.1",
            ),
            (
                "uname:Linux 5.15.150 mips\nNAME='OpenWrt'\nVERSION_ID='23.05.3'\n",
                "OpenWrt 23.05.3",
            ),
            (
                "uname:Linux 6.9 x86_64\nNAME=\"Arch Linux\"\n",
                "Arch Linux",
            ),
            ("uname:Linux 3.10.49-perf armv7l\n", "Linux 3.10.49"),
            ("uname:OpenBSD 7.5 amd64\n", "OpenBSD 7.5"),
            ("uname:Darwin 19.6.0 x86_64\n", "Darwin 19.6.0"),
            ("uname:Darwin 23.5.0 arm64\n", "macOS 14"),
            ("uname:Darwin 25.0.0 arm64\n", "macOS 26"),
            ("uname:Darwin 4294967295.0 arm64\n", "Darwin 4294967295.0"),
            // Without a `uname`.
            ("uname:\nNAME=Minimal\n", "Minimal"),
            ("uname:\n", "-"),
            ("uname:Linux 6.1 x86 64\n", "-"),
            ("NAME=\"\"\nVERSION_ID=\n", "-"),
        ] {
            let facts = facts(&format!("{BASH}{lines}"));
            assert_eq!(facts.split('|').next(), Some(os), "{lines}");
        }
    }

    #[test]
    fn a_shell_of_busybox_is_named_so() {
        let answer =
            "mcp-ssh-sessions:42:/bin/ash:/bin/busybox:/bin/busybox;\nuname:Linux 5.15 mips\n";
        assert_eq!(facts(answer), "Linux 5.15|mips|BusyBox ash|-|");
        assert_eq!(facts("mcp-ssh-sessions:42:::;\n"), "-|-|-|-|");
    }

    #[test]
    fn a_shell_of_another_family_has_a_name_alone() {
        let answer = b"mcp-ssh-sessions:a\\b:/root:/root:/usr/bin/fish;";
        let probe = ShellProbe::other(true, b"fish: expected a command", answer);
        let facts = HostFacts::read(&probe, b"fish: expected a command\nNAME=Debian\n/bin/git\n");

        assert_eq!(
            facts,
            HostFacts {
                shell: Some("fish".into()),
                ..HostFacts::default()
            }
        );
        assert_eq!(
            HostFacts::read(&ShellProbe::unknown(), POSIX_PROBE.as_bytes()),
            HostFacts::default()
        );
    }

    #[test]
    fn an_answer_that_was_cut_off_has_only_whole_facts() {
        let answer = format!(
            "{BASH}uname:Linux 6.1 x86_64\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n/usr/bin/git\n"
        );
        let mut seen: Vec<String> = (0..=answer.len())
            .map(|end| facts(answer.get(..end).unwrap()))
            .collect();
        seen.dedup();

        assert_eq!(
            seen,
            [
                "-|-|-|-|",
                "-|-|bash|-|",
                "Linux 6.1|x86_64|bash|-|",
                "Debian|x86_64|bash|-|",
                "Debian 12|x86_64|bash|-|",
                "Debian 12|x86_64|bash|-|git",
            ]
        );
    }

    #[test]
    fn hostile_facts_are_short_and_stay_in_a_line() {
        let long = "x".repeat(100_000);
        let facts = facts(&format!(
            "mcp-ssh-sessions:42:/bin/{long}:{long}:;\nuname:Linux 1 \x1b[2Jevil\u{202e}{long}\n\
             NAME=\"a\tb\u{9b}31m \r{long}\"\nVERSION_ID={long}\n/bin/{long}\n/bin/evil\n/bin/git\n/bin/git\n"
        ));

        let [os, machine, shell, _, tools] = facts.split('|').collect::<Vec<_>>()[..] else {
            panic!("{facts}");
        };
        assert!(os.starts_with("a b\\u{9b}31m xxx") && os.len() < 60, "{os}");
        assert!(
            machine.starts_with("\\u{1b}[2Jevil\\u{202e}x") && machine.len() < 60,
            "{machine}"
        );
        assert!(shell.starts_with("xxx") && shell.len() < 30, "{shell}");
        assert_eq!(tools, "git");

        let _ = HostFacts::read(
            &ShellProbe::unknown(),
            b"mcp-ssh-sessions:42:\xff;\nNAME=\xff\n",
        );
    }

    #[test]
    fn the_probe_looks_for_every_tool() {
        assert!(POSIX_PROBE.contains(&format!(" in {}; do", TOOLS.join(" "))));
    }
}
