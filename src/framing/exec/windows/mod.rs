//! Commands for the login shells of Windows: cmd.exe and PowerShell.
//!
//! OpenSSH's server for Windows passes the command of an exec request to `cmd.exe /c` or to
//! `powershell.exe -c`. Neither tells a process id at no cost. So each command line holds a random
//! mark, by which [`stop_script`] finds the process.

mod path;
mod probe;
mod quoting;
mod stop;

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use self::{
    path::native_path,
    quoting::{quote_for_cmd, quote_for_powershell},
};
pub use self::{
    path::{may_be_windows_path, sftp_path},
    probe::{WINDOWS_PROBE, WindowsFacts, may_be_windows},
    stop::{read_stop_report, stop_script},
};
use super::{ExecScript, ExecScriptError};
use crate::framing::sentinel::Sentinel;

/// Longest command line of cmd.exe, in UTF-16 units: 8191 with the path and options of cmd.exe.
const MAX_CMD_UNITS: usize = 8_000;
/// Longest command line of PowerShell, in UTF-16 units: 32,767 with the path, options and escapes.
const MAX_POWERSHELL_UNITS: usize = 32_000;

/// Login shell of Windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WindowsShell {
    /// cmd.exe.
    Cmd,
    /// Windows PowerShell or PowerShell 7.
    PowerShell,
}

impl WindowsShell {
    /// Writes the script for `command`, run in `directory` with `environment` added. Names and
    /// values hold no NUL byte.
    ///
    /// # Errors
    /// Fails for a script that is too long and, with cmd.exe, for a text of several lines.
    pub(super) fn script(
        self,
        command: &str,
        directory: Option<&str>,
        environment: &[(&str, &str)],
        mark: &Sentinel,
    ) -> Result<ExecScript, ExecScriptError> {
        let directory = directory.map(native_path);
        let line = match self {
            Self::Cmd => cmd_line(command, directory.as_deref(), environment, mark)?,
            Self::PowerShell => powershell_text(command, directory.as_deref(), environment, mark),
        };

        // Each double quote gets a backslash on the way to PowerShell.
        let (units, most) = match self {
            Self::Cmd => (line.encode_utf16().count(), MAX_CMD_UNITS),
            Self::PowerShell => (
                line.encode_utf16().count() + line.matches('"').count(),
                MAX_POWERSHELL_UNITS,
            ),
        };
        if units > most {
            return Err(ExecScriptError::TooLongForWindows { units, most });
        }

        Ok(ExecScript {
            line: line.into_bytes(),
            ..ExecScript::default()
        })
    }
}

/// Writes the line for cmd.exe, which reads no second line.
///
/// cmd.exe replaces the variables of a line before the line runs. So a command that is to see
/// another directory or environment is run by a second cmd.exe.
fn cmd_line(
    command: &str,
    directory: Option<&str>,
    environment: &[(&str, &str)],
    mark: &Sentinel,
) -> Result<String, ExecScriptError> {
    let is_several = |text: &str| text.contains(['\r', '\n']);
    let command = command.trim_matches(['\r', '\n']);
    for (what, is_refused) in [
        ("the command", is_several(command)),
        ("the directory", directory.is_some_and(is_several)),
        (
            "the environment",
            environment.iter().any(|(_, value)| is_several(value)),
        ),
    ] {
        if is_refused {
            return Err(ExecScriptError::SeveralLines(what));
        }
    }

    let mut line = format!("echo>nul {}&", mark.as_str());
    if let Some(directory) = directory {
        line.push_str("cd /d ");
        quote_for_cmd(&mut line, directory);
        line.push_str("&(if errorlevel 1 exit 1)&");
    }
    for (name, value) in environment {
        let _ = write!(line, "set {name}=");
        quote_for_cmd(&mut line, value);
        line.push('&');
    }
    if directory.is_none() && environment.is_empty() {
        line.push_str(command);
    } else {
        line.push_str("cmd /s /c ");
        quote_for_cmd(&mut line, &format!("\"{command}\""));
    }

    Ok(line)
}

/// Writes the text for PowerShell.
///
/// Error messages of PowerShell quote the line of the error, so the command shares no line with the
/// environment. The last line makes the exit status of a program that of PowerShell, which would
/// only say 0 or 1.
fn powershell_text(
    command: &str,
    directory: Option<&str>,
    environment: &[(&str, &str)],
    mark: &Sentinel,
) -> String {
    let mut text = String::new();
    if let Some(directory) = directory {
        text.push_str("Set-Location -ErrorAction Stop -LiteralPath ");
        quote_for_powershell(&mut text, directory);
        text.push(';');
    }
    for (name, value) in environment {
        let _ = write!(text, "$env:{name}=");
        quote_for_powershell(&mut text, value);
        text.push(';');
    }
    // The server puts no quotes around a text that begins with a single quote.
    if !text.is_empty() {
        text.push('\n');
    } else if command.starts_with('\'') {
        text.push(' ');
    }

    text.push_str(command);
    let _ = write!(
        text,
        "\nif(!$?){{if($LASTEXITCODE){{exit $LASTEXITCODE}}exit 1}} <#{}#>",
        mark.as_str()
    );

    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(
        shell: WindowsShell,
        command: &str,
        directory: Option<&str>,
        environment: &[(&str, &str)],
    ) -> Result<String, ExecScriptError> {
        let mark = Sentinel::from_random([0xab; 16]);
        let script = shell.script(command, directory, environment, &mark)?;
        assert!(script.settings.is_empty() && !script.says_ready);
        let line = String::from_utf8(script.line).unwrap();
        assert!(line.contains(mark.as_str()), "the mark finds the process");
        Ok(line.replace(mark.as_str(), "MARK"))
    }

    #[test]
    fn cmd_gets_one_line() {
        for (command, directory, environment, line) in [
            ("dir", None, &[][..], "echo>nul MARK&dir"),
            ("dir\r\n", None, &[], "echo>nul MARK&dir"),
            (
                "dir",
                Some("/C:/Program Files"),
                &[],
                "echo>nul MARK&cd /d C:\\Program^ Files&(if errorlevel 1 exit 1)&cmd /s /c ^\"dir^\"",
            ),
            (
                "echo %A%",
                Some("~"),
                &[("A", "x & y"), ("B", "")],
                "echo>nul MARK&cd /d .&(if errorlevel 1 exit 1)&set A=x^ ^&^ y&set B=&cmd /s /c ^\"echo^ ^%^A^%^\"",
            ),
        ] {
            let written = script(WindowsShell::Cmd, command, directory, environment);
            assert_eq!(written.as_deref(), Ok(line));
        }
    }

    #[test]
    fn powershell_keeps_line_numbers_where_it_can() {
        let end = "\nif(!$?){if($LASTEXITCODE){exit $LASTEXITCODE}exit 1} <#MARK#>";
        for (command, directory, environment, text) in [
            ("Get-Date", None, &[][..], "Get-Date"),
            ("a\nb # c", None, &[], "a\nb # c"),
            ("'a b'.Length", None, &[], " 'a b'.Length"),
            (
                "gci",
                Some(r"C:\it's"),
                &[("A", "$x")],
                "Set-Location -ErrorAction Stop -LiteralPath ('C:\\it'+[char]39+'s');$env:A=('$x');\ngci",
            ),
        ] {
            let written = script(WindowsShell::PowerShell, command, directory, environment);
            assert_eq!(written, Ok(format!("{text}{end}")));
        }
    }

    #[test]
    fn what_a_shell_cannot_take_is_refused() {
        use ExecScriptError::{SeveralLines, TooLongForWindows};
        use WindowsShell::{Cmd, PowerShell};

        assert_eq!(
            script(Cmd, "a\nb", None, &[]),
            Err(SeveralLines("the command"))
        );
        assert_eq!(
            script(Cmd, "a", Some("x\ny"), &[]),
            Err(SeveralLines("the directory"))
        );
        assert_eq!(
            script(Cmd, "a", None, &[("A", "x\ry")]),
            Err(SeveralLines("the environment"))
        );
        assert!(script(PowerShell, "a\nb", Some("x"), &[("A", "x\ny")]).is_ok());

        for (shell, long, too_long) in [
            (Cmd, "x".repeat(7_900), "x".repeat(8_100)),
            (PowerShell, "x".repeat(31_800), "\"".repeat(16_001)),
        ] {
            assert!(script(shell, &long, None, &[]).is_ok());
            let refused = script(shell, &too_long, None, &[]);
            assert!(matches!(refused, Err(TooLongForWindows { .. })));
        }
    }
}
