//! Finds out if the login shell is cmd.exe or PowerShell, by testing it.

use super::WindowsShell;

/// Probe answered by both shells of Windows. No other shell takes harm, and none answers so.
///
/// cmd.exe replaces the names between `%`, and PowerShell what follows `$`. For PowerShell the rest
/// after `#` is a comment. cmd.exe prints it, and then runs `ver` and `chcp`.
pub const WINDOWS_PROBE: &str = "echo \"mcp-ssh-sessions:%OS%:%PROCESSOR_ARCHITECTURE%:$($env:OS):$($env:PROCESSOR_ARCHITECTURE):\
     $($PSVersionTable.PSVersion):$([Environment]::OSVersion.Version):$([Console]::OutputEncoding.CodePage);\" # & ver & chcp";

/// Beginning of the answer of cmd.exe, to this probe and to [`OTHER_PROBE`](super::super::OTHER_PROBE).
const CMD: &str = "mcp-ssh-sessions:Windows_NT:";
/// Beginning of the answer of every other shell.
const NOT_CMD: &str = "mcp-ssh-sessions:%OS%:";

/// Facts about a host whose login shell is one of Windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowsFacts {
    /// Login shell.
    pub shell: WindowsShell,
    /// Name of the shell, with the version of PowerShell.
    pub program: String,
    /// Version of Windows, such as `10.0.20348`; empty if the shell did not say it.
    pub version: String,
    /// Hardware, such as `AMD64`.
    pub machine: String,
    /// Code page in which programs of the console print; `None` if the shell did not say it.
    pub code_page: Option<u16>,
}

/// Returns true if the answer to [`OTHER_PROBE`](super::super::OTHER_PROBE) may be that of a shell of
/// Windows. cmd.exe replaces the name of a variable, and PowerShell takes two single quotes for one.
#[must_use]
pub fn may_be_windows(answer: &[u8]) -> bool {
    let answer = String::from_utf8_lossy(answer);
    answer.contains(CMD) || answer.contains("mcp-ssh-sessions:%OS%:a'b;")
}

impl WindowsFacts {
    /// Reads the answer to [`WINDOWS_PROBE`], which a profile may have surrounded with other output.
    /// `None` if no shell of Windows has answered.
    #[must_use]
    pub fn read(answer: &[u8]) -> Option<Self> {
        let answer = String::from_utf8_lossy(answer);
        if let Some((_, answer)) = answer.split_once(CMD) {
            return Some(Self::of_cmd(answer));
        }

        let (fields, _) = answer.split_once(NOT_CMD)?.1.split_once(';')?;
        // The first field is a name that only cmd.exe would have replaced.
        let fields: Vec<&str> = fields.split(':').collect();
        let [
            "%PROCESSOR_ARCHITECTURE%",
            "Windows_NT",
            machine,
            version,
            windows,
            code_page,
        ] = fields[..]
        else {
            return None;
        };

        Some(Self {
            shell: WindowsShell::PowerShell,
            program: format!("PowerShell {version}"),
            version: windows.to_owned(),
            machine: machine.to_owned(),
            code_page: code_page.parse().ok().filter(|page| *page > 0),
        })
    }

    /// Reads the answer of cmd.exe after the beginning. The words are in the language of Windows.
    fn of_cmd(answer: &str) -> Self {
        let (machine, rest) = answer.split_once(':').unwrap_or_default();
        let mut lines = rest.lines().skip(1).filter(|line| !line.trim().is_empty());

        let is_digit = |letter: char| letter.is_ascii_digit();
        // As in `Microsoft Windows [Version 10.0.20348.2113]`.
        let version = lines.next().unwrap_or_default();
        let version = version
            .split(|letter: char| !is_digit(letter) && letter != '.')
            .find(|word| word.starts_with(is_digit) && word.contains('.'));
        // As in `Active code page: 850`.
        let code_page = lines.next().unwrap_or_default();
        let code_page = code_page
            .trim_end_matches(|letter: char| !is_digit(letter))
            .rsplit(|letter: char| !is_digit(letter))
            .next();

        Self {
            shell: WindowsShell::Cmd,
            program: "cmd.exe".to_owned(),
            version: version.unwrap_or_default().to_owned(),
            machine: machine.to_owned(),
            code_page: code_page
                .and_then(|page| page.parse().ok())
                .filter(|page| *page > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::exec::OTHER_PROBE;

    /// Returns what cmd.exe prints for a line, as far as names between `%` go.
    fn by_cmd(line: &str) -> String {
        line.trim_start_matches("echo ")
            .split(" & ")
            .next()
            .unwrap()
            .replace("%OS%", "Windows_NT")
            .replace("%PROCESSOR_ARCHITECTURE%", "AMD64")
    }

    #[test]
    fn cmd_is_known_in_each_language() {
        for (rest, version, code_page) in [
            (
                "\r\n\r\nMicrosoft Windows [Version 10.0.20348.2113]\r\nActive code page: 437\r\n",
                "10.0.20348.2113",
                Some(437),
            ),
            (
                "\r\n\r\nMicrosoft Windows [version 6.3.9600]\r\nPage de codes active : 850\r\n",
                "6.3.9600",
                Some(850),
            ),
            (
                "\r\n\r\nMicrosoft Windows 6.1.7601\r\nActive code page: 0\r\n",
                "6.1.7601",
                None,
            ),
            ("\r\n", "", None),
            ("", "", None),
            ("\r\n\r\nx\r\n99999999\r\n", "", None),
        ] {
            let answer = format!("Welcome!\r\n{}{rest}", by_cmd(WINDOWS_PROBE));
            let facts = WindowsFacts::read(answer.as_bytes()).unwrap();
            assert_eq!(
                facts,
                WindowsFacts {
                    shell: WindowsShell::Cmd,
                    program: "cmd.exe".to_owned(),
                    version: version.to_owned(),
                    machine: "AMD64".to_owned(),
                    code_page,
                },
                "{rest:?}"
            );
        }
    }

    #[test]
    fn powershell_says_everything() {
        let answer = b"profile\r\nmcp-ssh-sessions:%OS%:%PROCESSOR_ARCHITECTURE%:Windows_NT:AMD64:\
            5.1.20348.2110:10.0.20348.0:437;\r\n";
        assert_eq!(
            WindowsFacts::read(answer),
            Some(WindowsFacts {
                shell: WindowsShell::PowerShell,
                program: "PowerShell 5.1.20348.2110".to_owned(),
                version: "10.0.20348.0".to_owned(),
                machine: "AMD64".to_owned(),
                code_page: Some(437),
            })
        );
    }

    #[test]
    fn no_other_shell_counts() {
        for answer in [
            WINDOWS_PROBE,
            "mcp-ssh-sessions:%OS%:%PROCESSOR_ARCHITECTURE%::OS):::;",
            // PowerShell on Linux.
            "mcp-ssh-sessions:%OS%:%PROCESSOR_ARCHITECTURE%:::7.4.1:6.1.0.0:65001;",
            "mcp-ssh-sessions:%OS%:a'b;",
            "% Invalid input detected at '^' marker.",
            "",
        ] {
            assert_eq!(WindowsFacts::read(answer.as_bytes()), None, "{answer}");
        }
    }

    #[test]
    fn the_probe_for_others_shows_windows() {
        for (answer, may) in [
            (by_cmd(OTHER_PROBE).as_str(), true),
            ("mcp-ssh-sessions:%OS%:a'b;\r\nprintf : The term", true),
            (
                "mcp-ssh-sessions:%OS%:ab;\nmcp-ssh-sessions:a\\b:/root:",
                false,
            ),
            (OTHER_PROBE, false),
            ("", false),
        ] {
            assert_eq!(may_be_windows(answer.as_bytes()), may, "{answer}");
        }
    }
}
